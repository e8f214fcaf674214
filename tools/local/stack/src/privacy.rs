//! What a function's log must not hold: whole addresses, and what stands in subject and body of a mail.
//!
//! A stack that is [watched](crate::Config::watched), as those of tests are, looks at all its lines when it is
//! dropped, with all messages that are in its bucket then.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mail_parser::MessageParser;
use serde_json::Value;

/// Parts of a mail shorter than this stand in many a line by chance.
const SHORTEST: usize = 5;

/// The lines that hold an address, or text of the message.
pub fn leaks<L: AsRef<str>>(lines: impl IntoIterator<Item = L>, message: &[u8]) -> Vec<String> {
    leaks_of(lines, &texts(message))
}

/// The lines that hold an address, or text of a message that is stored or archived in a bucket's folder.
pub(crate) fn leaks_of_all<L: AsRef<str>>(lines: impl IntoIterator<Item = L>, bucket: &Path) -> Vec<String> {
    let mut private = BTreeSet::new();
    for file in files(&bucket.join("messages")) {
        private.append(&mut texts(&fs::read(file).unwrap_or_default()));
    }
    for file in files(&bucket.join("index")) {
        let notification: Value =
            serde_json::from_slice(&fs::read(file).unwrap_or_default()).unwrap_or_default();
        let subject = notification.pointer("/mail/commonHeaders/subject").and_then(Value::as_str);
        private.extend(subject.filter(|text| text.len() >= SHORTEST).map(str::to_owned));
    }
    leaks_of(lines, &private)
}

fn leaks_of<L: AsRef<str>>(lines: impl IntoIterator<Item = L>, private: &BTreeSet<String>) -> Vec<String> {
    let leaks = |line: &str| holds_address(line) || private.iter().any(|text| line.contains(text.as_str()));
    let lines = lines.into_iter().filter(|line| leaks(line.as_ref()));
    lines.map(|line| line.as_ref().to_owned()).collect()
}

/// The files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Subject, as it stands there and as it reads, and body lines.
fn texts(message: &[u8]) -> BTreeSet<String> {
    let Some(parsed) = MessageParser::new().parse(message) else { return BTreeSet::new() };
    let subject = parsed.header_raw("Subject").into_iter().chain(parsed.subject());
    let body = parsed.body_text(0).unwrap_or_default();
    let texts = subject.chain(body.lines()).map(str::trim).filter(|text| text.len() >= SHORTEST);
    texts.map(str::to_owned).collect()
}

/// Whether there is an `@` with a local part before it and a name of several labels behind it; logs have
/// `…@` instead.
fn holds_address(line: &str) -> bool {
    let in_local = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let in_domain = |c: char| c.is_alphanumeric() || "-.".contains(c);
    line.match_indices('@').any(|(at, _)| {
        let domain = line[at + 1..].split(|c| !in_domain(c)).next().unwrap_or_default();
        line[..at].ends_with(in_local) && domain.trim_end_matches('.').contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_subjects_and_bodies_are_private() {
        let message = b"From: a@x.example\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\n\r\nAt noon.\r\nOK\r\n";
        for (line, leaks_it) in [
            ("forwarded to …@out.example", false),
            (r#"allowed are \"user@domain\", \"@domain.example\""#, false),
            ("forwarded OK", false),
            ("forwarded to ann@out.example", true),
            ("ann+tag@in.example", true),
            ("subject: Café", true),
            ("subject: =?utf-8?q?Caf=C3=A9?=", true),
            ("says At noon.", true),
        ] {
            assert_eq!(!leaks([line], message).is_empty(), leaks_it, "{line}");
        }
    }

    #[test]
    fn what_is_in_a_bucket_is_private() {
        let bucket = tempfile::tempdir().unwrap();
        let put = |key: &str, content: &str| {
            let path = bucket.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("messages/m1", "Subject: Friday\r\n\r\nAt noon.\r\n");
        put("index/2026/11/23/m2.json", r#"{"mail":{"commonHeaders":{"subject":"Monday"}}}"#);
        put("outcome/2026/11/23/m2.json", r#"{"error":{"message":"Sunday"}}"#);
        let lines = ["forwarded", "At noon.", "for Friday", "for Monday", "for Sunday", "for a@x.example"];
        let found = leaks_of_all(lines, bucket.path());
        assert_eq!(found, ["At noon.", "for Friday", "for Monday", "for a@x.example"]);
    }
}
