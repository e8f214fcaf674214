//! The list of messages, kept up to date entry by entry.

use std::collections::HashMap;

use mail_parser::MessageParser;
use serde::Deserialize;
use ses_forwarder_local_aws::journal::{Entry, Event};

use crate::{
    row::{Row, Status},
    search::Search,
};

/// Bytes of a subject that are decoded: more than any line shows.
const SUBJECT: usize = 4_000;

/// Messages that are kept at least; twice as many at most.
const KEPT: usize = 10_000;

/// The latest messages, oldest first. A message keeps its place, however many before it are forgotten.
#[derive(Debug, Default)]
pub(super) struct List {
    rows: Vec<Row>,
    /// How many are forgotten.
    forgotten: usize,
    places: HashMap<String, usize>,
}

impl List {
    /// Takes in what happened; the place of the row that changed, if one did.
    pub(super) fn fold(&mut self, entry: &Entry) -> Option<usize> {
        let id = entry.message_id.as_deref()?;
        if let (Event::Received { from, recipients, size, verdicts, subject }, None) =
            (&entry.event, self.places.get(id))
        {
            let row = Row {
                id: id.to_owned(),
                at: entry.at,
                from: from.clone(),
                recipients: recipients.clone(),
                size: *size,
                verdicts: verdicts.clone(),
                subject: decoded(subject),
                status: Status::Received,
                function: None,
            };
            let place = self.len();
            self.places.insert(id.to_owned(), place);
            self.rows.push(row);
            if self.rows.len() == 2 * KEPT {
                self.forget();
            }
            return Some(place);
        }
        let place = *self.places.get(id)?;
        let row = &mut self.rows[place - self.forgotten];
        if let (Event::Invoked { function, .. }, None) = (&entry.event, &row.function) {
            row.function = Some(function.clone());
        }
        let status = after(row, &entry.event)?;
        (status != row.status).then(|| {
            row.status = status;
            place
        })
    }

    /// Leaves the latest.
    fn forget(&mut self) {
        for row in self.rows.drain(..KEPT) {
            self.places.remove(&row.id);
        }
        self.forgotten += KEPT;
    }

    /// How many there are, those that are forgotten included.
    pub(super) fn len(&self) -> usize {
        self.forgotten + self.rows.len()
    }

    /// A message by its messageId.
    pub(super) fn get(&self, id: &str) -> Option<&Row> {
        self.places.get(id).map(|&place| &self.rows[place - self.forgotten])
    }

    /// A message and all others that the function is done with without sending them, from the same envelope sender,
    /// oldest first.
    pub(super) fn of_same_sender(&self, id: &str) -> Vec<String> {
        let Some(Row { from, .. }) = self.get(id) else { return vec![] };
        let kept = |row: &&Row| row.id == id || matches!(row.status, Status::Kept(_));
        let rows = self.rows.iter().filter(|row| row.from == *from).filter(kept);
        rows.map(|row| row.id.clone()).collect()
    }

    /// A message by its place.
    pub(super) fn at(&self, place: usize) -> Option<&Row> {
        self.rows.get(place.checked_sub(self.forgotten)?)
    }

    /// The latest so many messages that are looked for, older than the one given, oldest first, and whether there are
    /// still older ones.
    pub(super) fn page(&self, before: Option<&str>, length: usize, search: &Search) -> (Vec<&Row>, bool) {
        let end =
            before.and_then(|id| self.places.get(id)).map_or(self.rows.len(), |place| place - self.forgotten);
        let found = self.rows[..end].iter().rev().filter(|row| search.is_empty() || search.finds(row));
        let mut rows: Vec<_> = found.take(length + 1).collect();
        let older = rows.len() > length;
        rows.truncate(length);
        rows.reverse();
        (rows, older)
    }
}

/// A message's status after one more event; `None` if that does not touch it.
fn after(Row { status, function: own, .. }: &Row, event: &Event) -> Option<Status> {
    match event {
        // Another function takes up what failed, and has it tried again, or what SES tells of what was sent. What it
        // is done with, and is failed still, has been told.
        Event::Invoked { function, .. } | Event::Returned { function, .. }
            if own.as_ref() != Some(function) =>
        {
            let is_told = matches!(event, Event::Returned { result: Ok(_), .. });
            (is_told && *status == Status::DeadLettered).then_some(Status::Noticed)
        }
        Event::Invoked { attempt, .. } => Some(Status::Invoked(*attempt)),
        Event::Returned { result: Ok(answer), .. } => Some(decision(answer)),
        Event::Returned { result: Err(_), retry_in: Some(_), attempt, .. } => Some(Status::Waiting(*attempt)),
        // After a try that the queue has made no dead letter comes.
        Event::Returned { result: Err(_), retry_in: None, .. } | Event::DeadLettered { .. } => {
            Some(Status::DeadLettered)
        }
        Event::ActionFailed { .. } | Event::Lost { .. } => Some(Status::Lost),
        _ => None,
    }
}

/// What `handle-email` decided, as its answer tells: a word for each record.
fn decision(answer: &str) -> Status {
    #[derive(Deserialize)]
    struct Answer {
        outcomes: Vec<String>,
    }
    match serde_json::from_str::<Answer>(answer).ok().and_then(|answer| answer.outcomes.into_iter().next()) {
        Some(word) if word == "forwarded" => Status::Forwarded,
        Some(word) => Status::Kept(word),
        None => Status::Kept("handled".to_owned()),
    }
}

/// A subject with its encoded words decoded (RFC 2047).
fn decoded(subject: &str) -> String {
    let mut end = subject.len().min(SUBJECT);
    while !subject.is_char_boundary(end) {
        end -= 1;
    }
    let header = format!("Subject: {}\r\n\r\n", subject[..end].trim().replace(['\r', '\n'], " "));
    let message = MessageParser::new().with_minimal_headers().parse_headers(header.as_bytes());
    let mut text =
        message.as_ref().and_then(|message| message.subject()).unwrap_or(subject.trim()).to_owned();
    text.push_str(&subject[end..]);
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn entry(id: &str, event: Event) -> Entry {
        Entry { at: SystemTime::UNIX_EPOCH, message_id: Some(id.to_owned()), event }
    }

    fn received(subject: &str) -> Event {
        Event::Received {
            from: Some("ann@else.example".to_owned()),
            recipients: vec!["info@in.example".to_owned()],
            size: 100,
            verdicts: vec![],
            subject: subject.to_owned(),
        }
    }

    fn invoked(attempt: u32) -> Event {
        Event::Invoked { function: "f".to_owned(), request_id: "r".to_owned(), attempt }
    }

    fn returned(result: Result<&str, &str>, retry: bool) -> Event {
        Event::Returned {
            function: "f".to_owned(),
            request_id: "r".to_owned(),
            attempt: 1,
            result: result.map(str::to_owned).map_err(str::to_owned),
            retry_in: retry.then_some(Duration::from_secs(60)),
            took: Duration::ZERO,
            memory: None,
        }
    }

    /// The same of the function that takes dead letters, and what SES tells of.
    fn of_other(mut event: Event) -> Event {
        if let Event::Invoked { function, .. } | Event::Returned { function, .. } = &mut event {
            *function = "g".to_owned();
        }
        event
    }

    fn dead() -> Event {
        Event::DeadLettered { queue: "q".to_owned(), error: "e".to_owned() }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut list = List::default();
        for number in 0..2 * KEPT {
            assert_eq!(list.fold(&entry(&format!("m{number}"), received("s"))), Some(number));
        }
        assert_eq!((list.len(), list.rows.len(), list.places.len()), (2 * KEPT, KEPT, KEPT));
        assert!(list.get("m0").is_none() && list.at(KEPT - 1).is_none());
        assert_eq!(list.at(KEPT).unwrap().id, format!("m{KEPT}"));
        // What happens to a message that is forgotten is nothing for the list; to another, it is.
        assert_eq!(list.fold(&entry("m0", invoked(1))), None);
        let last = 2 * KEPT - 1;
        assert_eq!(list.fold(&entry(&format!("m{last}"), invoked(1))), Some(last));
        let (rows, older) = list.page(Some(&format!("m{}", KEPT + 2)), 5, &Search::default());
        assert_eq!((rows.len(), older), (2, false));
    }

    #[test]
    fn a_status_follows_the_events() {
        let forwarded = r#"{"disposition":"CONTINUE","outcomes":["forwarded"]}"#;
        let dropped = r#"{"disposition":"CONTINUE","outcomes":["dropped"]}"#;
        let given_up =
            |then: Vec<Event>| [vec![invoked(3), returned(Err("x"), false), dead()], then].concat();
        let done = || of_other(returned(Ok("{}"), false));
        let cases = [
            ("received", vec![], Status::Received),
            ("invoked", vec![invoked(1)], Status::Invoked(1)),
            ("forwarded", vec![invoked(1), returned(Ok(forwarded), false)], Status::Forwarded),
            ("dropped", vec![invoked(1), returned(Ok(dropped), false)], Status::Kept("dropped".to_owned())),
            (
                "an answer of another kind",
                vec![invoked(1), returned(Ok("null"), false)],
                Status::Kept("handled".to_owned()),
            ),
            ("failed once", vec![invoked(1), returned(Err("x"), true)], Status::Waiting(1)),
            ("failed for good", given_up(vec![]), Status::DeadLettered),
            ("notice under way", given_up(vec![of_other(invoked(1))]), Status::DeadLettered),
            (
                "notice failed",
                given_up(vec![of_other(invoked(1)), of_other(returned(Err("x"), true))]),
                Status::DeadLettered,
            ),
            ("notice sent", given_up(vec![of_other(invoked(1)), done()]), Status::Noticed),
            ("tried again", given_up(vec![done(), invoked(1)]), Status::Invoked(1)),
            (
                "forwarded then",
                given_up(vec![done(), invoked(1), returned(Ok(forwarded), false)]),
                Status::Forwarded,
            ),
            (
                "forwarded by the queue's own try",
                given_up(vec![of_other(invoked(1)), invoked(1), returned(Ok(forwarded), false), done()]),
                Status::Forwarded,
            ),
            (
                "not even by that",
                given_up(vec![of_other(invoked(1)), invoked(1), returned(Err("x"), false)]),
                Status::DeadLettered,
            ),
            (
                "told of by SES",
                vec![invoked(1), returned(Ok(forwarded), false), of_other(invoked(1)), done()],
                Status::Forwarded,
            ),
            ("not stored", vec![Event::ActionFailed { error: "x".to_owned() }], Status::Lost),
        ];
        for (name, events, expected) in cases {
            let mut list = List::default();
            list.fold(&entry("m", received("s")));
            for event in events {
                list.fold(&entry("m", event));
            }
            assert_eq!(list.get("m").unwrap().status, expected, "{name}");
        }
    }

    #[test]
    fn rows_are_told_of_once_and_in_pages() {
        let mut list = List::default();
        for id in ["a", "b", "c", "d", "e"] {
            list.fold(&entry(id, received(id)));
        }
        assert_eq!(list.fold(&entry("b", invoked(1))), Some(1));
        assert_eq!(list.fold(&entry("b", invoked(1))), None, "nothing changed");
        assert_eq!(list.fold(&entry("x", invoked(1))), None, "not a message that came by SMTP");
        assert_eq!(list.fold(&Entry { message_id: None, ..entry("", invoked(1)) }), None);
        let pages =
            [(None, "de", true), (Some("d"), "bc", true), (Some("b"), "a", false), (Some("a"), "", false)];
        for (before, expected, expected_older) in pages {
            let (rows, older) = list.page(before, 2, &Search::default());
            let ids: String = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!((ids.as_str(), older), (expected, expected_older), "{before:?}");
        }
    }

    #[test]
    fn subjects_are_decoded() {
        let long = "x".repeat(100_000);
        let cases = [
            ("plain", "plain"),
            (" =?utf-8?q?Ren=C3=A9e?=\r\n folded ", "Renée folded"),
            ("=?utf-8?b?4oCubWFsbGF3?=", "\u{202e}mallaw"),
            ("=?utf-8?q?a=0D=0ABcc:_x?=", "a\r\nBcc: x"),
            ("a\u{202e}b é", "a\u{202e}b é"),
            ("a\u{202e}b =?utf-8?q?=C3=A9?=", "a\u{202e}b é"),
            ("=?utf-8?q?broken", "=?utf-8?q?broken"),
            ("", ""),
            (&long, &long),
        ];
        for (subject, expected) in cases {
            assert_eq!(decoded(subject), expected, "{:.40}", subject);
        }
    }
}
