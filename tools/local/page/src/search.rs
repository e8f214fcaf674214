//! Which messages of the list are looked for: by how far they have come, and by a word in an address or the subject.

use serde::Deserialize;

use crate::row::{Row, Status};

/// What is looked for; nothing is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Search {
    /// In any address or the subject, whatever the case.
    #[serde(default)]
    pub(crate) q: String,
    /// One of [`GROUPS`], by its name; any other word is all of them.
    #[serde(default)]
    pub(crate) status: String,
}

/// What a reader tells apart, by name and in words.
pub(crate) const GROUPS: [(&str, &str); 4] = [
    ("forwarded", "forwarded"),
    ("kept", "not to be forwarded"),
    ("failed", "failed"),
    ("working", "in hand, or waiting"),
];

impl Search {
    /// Whether everything is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.q.trim().is_empty() && self.group().is_none()
    }

    fn group(&self) -> Option<&'static str> {
        GROUPS.iter().map(|(name, _)| *name).find(|name| *name == self.status)
    }

    /// Whether a message is one.
    pub(crate) fn finds(&self, row: &Row) -> bool {
        let wanted = self.q.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        self.group().is_none_or(|name| name == group(&row.status))
            && (wanted.is_empty()
                || has(&row.subject)
                || row.from.as_deref().is_some_and(has)
                || row.recipients.iter().any(|recipient| has(recipient)))
    }

    /// As the rest of an address of the list, behind its first parameter.
    pub(crate) fn parameters(&self) -> String {
        [("q", self.q.trim()), ("status", self.group().unwrap_or_default())]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("&{name}={}", encoded(value)))
            .collect()
    }
}

/// The name of the group that a status is of.
fn group(status: &Status) -> &'static str {
    match status {
        Status::Received | Status::Invoked(_) | Status::Waiting(_) => "working",
        Status::Forwarded => "forwarded",
        Status::Kept(_) => "kept",
        Status::DeadLettered | Status::Noticed | Status::Lost => "failed",
    }
}

/// Percent-encoded, RFC 3986, section 2.1.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_is_found() {
        let row = Row {
            id: "m".to_owned(),
            at: SystemTime::UNIX_EPOCH,
            from: Some("Ann@else.example".to_owned()),
            recipients: vec!["info@in.example".to_owned(), "sales@in.example".to_owned()],
            size: 1,
            verdicts: vec![],
            subject: "Große Öffnung".to_owned(),
            status: Status::Noticed,
            function: None,
        };
        for (q, status, found) in [
            ("", "", true),
            (" ", "no-group", true),
            ("ann@", "", true),
            ("SALES", "", true),
            ("öffnung", "", true),
            ("bob", "", false),
            ("", "failed", true),
            ("", "forwarded", false),
            ("ann", "kept", false),
        ] {
            let search = Search { q: q.to_owned(), status: status.to_owned() };
            assert_eq!(search.finds(&row), found, "{q:?} {status:?}");
        }
    }

    #[test]
    fn a_search_is_kept_in_addresses() {
        let search = |q: &str, status: &str| Search { q: q.to_owned(), status: status.to_owned() };
        assert_eq!(search("", "x").parameters(), "");
        assert_eq!(search(" a&b ö", "failed").parameters(), "&q=a%26b%20%C3%B6&status=failed");
    }
}
