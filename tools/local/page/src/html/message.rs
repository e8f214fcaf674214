//! One message.

use std::time::SystemTime;

use maud::{Markup, html};
use ses_forwarder::delivery::Reason;
use ses_forwarder_local_aws::journal::{Entry, Event};
use ses_forwarder_local_template::deployment::Deployment;

use super::{
    frame::{Frame, framed},
    list::{sender, status},
    reader,
};
use crate::{
    headers::{self, Field, Marked, Row as HeaderRow},
    reader::read,
    row::{Row, Status},
    shown::{FIELD, Hostile, clock, length, size},
    way::{Step, Try},
};

/// Runs of at least so many unchanged fields are folded.
const FOLDED: usize = 4;

/// Longest text of a record, log line or notice shown, in characters.
const LONG: usize = 40_000;

/// Something sent about a message that can be shown beside the original, or a notice.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) ses_id: &'a str,
    pub(crate) from: &'a str,
    pub(crate) destinations: &'a [String],
    /// Its beginning.
    pub(crate) head: Vec<u8>,
}

/// An object and its text, if it is there.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) text: String,
}

/// What the page shows.
pub(crate) struct View<'a> {
    pub(crate) stack: &'a Deployment,
    pub(crate) row: &'a Row,
    pub(crate) steps: &'a [Step<'a>],
    /// As stored.
    pub(crate) original: Option<&'a [u8]>,
    pub(crate) forwarded: &'a [Outgoing<'a>],
    pub(crate) notices: &'a [Outgoing<'a>],
    /// Topic, subject and text.
    pub(crate) published: &'a [(&'a str, &'a str, &'a str)],
    pub(crate) index: Option<Record>,
    pub(crate) outcome: Option<Record>,
    /// What keeps it back, if its owner may have it sent all the same.
    pub(crate) releasable: Option<Reason>,
    /// Whether it can be answered from the alias that it came for.
    pub(crate) answerable: bool,
    /// Whether SES refused it and it is kept.
    pub(crate) refused: bool,
}

/// The page.
pub(crate) fn page(view: &View<'_>) -> Markup {
    let row = view.row;
    let live = format!("/messages/{}/live", row.id);
    let frame = Frame {
        title: "Message · SES Forwarder",
        stack: Some(view.stack),
        tab: "",
        live: Some(&live),
        refresh: matches!(row.status, Status::Received | Status::Invoked(_) | Status::Waiting(_)),
    };
    framed(
        &frame,
        &html! {
            (top(view))
            section.card #way { h2 { "Way" } ol.way { @for step in view.steps { (self::step(step)) } } }
            @if !view.published.is_empty() || !view.notices.is_empty() {
                section.card #notice {
                    h2 { "Notice" }
                    @for (topic, subject, text) in view.published {
                        h3 { "By SNS to " code { (topic) } }
                        p { b { (Hostile(subject, FIELD)) } }
                        pre tabindex="0" { (Hostile(text, LONG)) }
                    }
                    @for notice in view.notices {
                        h3 { "By mail to " (Hostile(&notice.destinations.join(", "), FIELD)) }
                        pre tabindex="0" { (Hostile(&notice_text(&notice.head), LONG)) }
                    }
                }
            }
            @if let Some(original) = view.original {
                @for outgoing in view.forwarded {
                    (comparison(row, original, outgoing))
                    (reader::section(&row.id, outgoing.ses_id, &read(&outgoing.head), &outgoing.head))
                    @if view.answerable { (answer(row, outgoing)) }
                }
                @if view.forwarded.is_empty() { (header_only(original)) }
            }
            section.card #records {
                h2 { "Records" }
                (record("Outcome", view.outcome.as_ref(), true))
                (record("Index", view.index.as_ref(), false))
            }
        },
    )
}

fn top(view: &View<'_>) -> Markup {
    let row = view.row;
    let path = format!("/messages/{}", row.id);
    html! {
        div.top-of-message #top {
            h1.subject {
                @if row.subject.trim().is_empty() { i { "No subject" } } @else { (Hostile(&row.subject, 300)) }
            }
            (status(&row.status))
            dl.facts {
                dt { "From" } dd { (sender(row.from.as_deref())) }
                dt { "To" } dd { (Hostile(&row.recipients.join(", "), FIELD)) }
                dt { "Received" } dd { (clock(row.at, true)) " UTC, " (size(row.size as u64)) }
                dt { "Verdicts" }
                dd {
                    @for (check, word) in &row.verdicts {
                        span.verdict.fail[word == "FAIL"].pass[word == "PASS"] { (check) " " (word) } " "
                    }
                }
                dt { "Id" } dd { code { (row.id) } }
            }
            div.buttons {
                form method="post" action={ (path) "/try-again" } { button { "Try again" } }
                @if let Some(reason) = view.releasable { (release(&path, reason)) }
                a.button href={ (path) "/original" } { "Original" }
                @if view.refused { a.button href={ (path) "/refused" } { "What SES refused" } }
            }
        }
    }
}

/// What sends a message that was dropped, and all others that were dropped from its sender. A virus goes out by itself
/// alone.
fn release(path: &str, reason: Reason) -> Markup {
    let is_virus = reason == Reason::Virus;
    html! {
        form method="post" action={ (path) "/release" } {
            @if is_virus { input type="hidden" name="virus" value="true"; }
            button { @if is_virus { "Release, virus and all" } @else { "Release" } }
        }
        @if !is_virus {
            form method="post" action={ (path) "/release" } {
                input type="hidden" name="all" value="true";
                button { "Release all from this sender" }
            }
        }
    }
}

fn step(step: &Step<'_>) -> Markup {
    match step {
        Step::Event(entry) => event(entry),
        Step::Try(one) => a_try(one),
    }
}

/// Something that happened, in words and a colour.
fn event(entry: &Entry) -> Markup {
    let (kind, words) = match &entry.event {
        Event::Received { size: bytes, .. } => {
            ("good", html! { b { "Received" } " by SMTP, " (size(*bytes as u64)) })
        }
        Event::Stored { bucket, key } => {
            ("good", html! { b { "Stored" } " as " code { "s3://" (bucket) "/" (key) } })
        }
        Event::ActionFailed { error } => {
            ("bad", html! { b { "Rule action failed" } ": " (Hostile(error, FIELD)) })
        }
        Event::Called { action, resource, status, error, took, .. } => {
            // Objects that need not be there are looked for too: that one is absent is no failure.
            let kind = match status {
                Some(404) => "neutral",
                Some(status) if *status < 400 => "good",
                _ => "bad",
            };
            let words = html! {
                span.call {
                    code.action { (action) }
                    span.code.bad[kind == "bad"].absent[kind == "neutral"] { @match status { Some(status) => (status), None => "cut" } }
                    span.took { (length(*took)) }
                    span.resource { (Hostile(short(resource), FIELD)) }
                    @if let Some(error) = error { span.error { (Hostile(error, FIELD)) } }
                }
            };
            (kind, words)
        }
        Event::Logged { line, .. } => ("neutral", html! { code { (Hostile(line, FIELD)) } }),
        Event::Sent { from, destinations, ses_id, .. } => (
            "good",
            html! {
                b { "Sent" } " from " (Hostile(from, FIELD)) " to " (Hostile(&destinations.join(", "), FIELD))
                " " span.quiet { (ses_id) }
            },
        ),
        Event::Delivered { destination, to } => (
            "good",
            html! { b { "Delivered" } " to " (Hostile(destination, FIELD)) " " span.quiet { (Hostile(to, FIELD)) } },
        ),
        Event::Undelivered { destination, error } => (
            "bad",
            html! { b { "Not delivered" } " to " (Hostile(destination, FIELD)) ": " (Hostile(error, FIELD)) },
        ),
        Event::Feedback { event, destination, code, to } => (
            if event == "Delivery" { "good" } else { "waiting" },
            html! {
                b { (event) } " at " (Hostile(destination, FIELD))
                @if let Some(code) = code { " (" (code) ")" }
                " " span.quiet { @if to.is_empty() { "told to nobody" } @else { "told to " (to.join(", ")) } }
            },
        ),
        Event::Returned { function, result, .. } => match result {
            Ok(answer) => {
                ("good", html! { b { (function) " returned" } " " code { (Hostile(answer, FIELD)) } })
            }
            Err(error) => ("bad", html! { b { (function) " failed" } ": " (Hostile(error, FIELD)) }),
        },
        Event::DeadLettered { queue, error } => {
            ("bad", html! { b { "Dead-lettered" } " to " (queue) ": " (Hostile(error, FIELD)) })
        }
        Event::Published { topic, subject, .. } => (
            "good",
            html! { b { "Notice published" } ": " (Hostile(subject, FIELD)) " " span.quiet { (topic) } },
        ),
        Event::Lost { function, error } => {
            ("bad", html! { b { "Lost" } " by " (function) ": " (Hostile(error, FIELD)) })
        }
        Event::Fault { what } => ("waiting", html! { b { "Fault injected" } ": " (Hostile(what, FIELD)) }),
        Event::Invoked { function, attempt, .. } => ("busy", html! { b { (function) } ", try " (attempt) }),
    };
    html! { li.(kind) { (clock(entry.at, true)) div { (words) } } }
}

/// The part of an ARN that tells one resource from another.
fn short(resource: &str) -> &str {
    resource.splitn(6, ':').last().unwrap_or(resource)
}

fn a_try(one: &Try<'_>) -> Markup {
    let end = one.end.map(|entry| &entry.event);
    let kind = match end {
        None => "busy",
        Some(Event::Returned { result: Ok(_), .. }) => "good",
        Some(_) => "bad",
    };
    html! {
        li.(kind) {
            (clock(one.at, true))
            div {
                p.try {
                    b { (one.function) } ", try " (one.attempt)
                    @if let Some(Event::Returned { took, memory, .. }) = end {
                        span.quiet {
                            " " (length(*took))
                            @if let Some(memory) = memory { ", " (size(*memory)) " of memory" }
                        }
                    } @else {
                        span.quiet { " running" }
                    }
                }
                @if !one.events.is_empty() { ol.way.inner { @for entry in &one.events { (event(entry)) } } }
                @if let Some(Event::Returned { result, retry_in, .. }) = end { (ending(one, result, retry_in.as_ref())) }
                (log(one))
            }
        }
    }
}

fn ending(one: &Try<'_>, result: &Result<String, String>, retry_in: Option<&std::time::Duration>) -> Markup {
    html! {
        @match result {
            Ok(answer) => details data-key=(key("answer", one)) { summary { "Its answer" } pre tabindex="0" { (Hostile(&pretty(answer), LONG)) } },
            Err(error) => p.error { (Hostile(error, LONG)) },
        }
        @if let Some(delay) = retry_in { p { "Lambda tries again after " (length(*delay)) "." } }
    }
}

fn log(one: &Try<'_>) -> Markup {
    html! {
        @if !one.log.is_empty() {
            details data-key=(key("log", one)) {
                summary { "Its log, " (one.log.len()) (if one.log.len() == 1 { " line" } else { " lines" }) }
                ul.log { @for (at, line) in &one.log { (log_line(*at, line)) } }
            }
        }
    }
}

/// What tells a folded part of one try from those of all others, whatever it comes to hold.
fn key(part: &str, one: &Try<'_>) -> String {
    format!("{part}-{}-{}", one.request_id, one.attempt)
}

/// A line, and what it says where it is in Lambda's JSON format.
fn log_line(at: SystemTime, line: &str) -> Markup {
    html! { li { (clock(at, true)) " " (Hostile(line, FIELD)) } }
}

fn pretty(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .map_or_else(|_| text.to_owned(), |value| format!("{value:#}"))
}

fn record(name: &str, record: Option<&Record>, open: bool) -> Markup {
    html! {
        @match record {
            None => p.quiet { "No " (name.to_lowercase()) " record." },
            Some(Record { key, text }) => {
                details open[open] data-key=(name) {
                    summary { (name) " " code { (key) } }
                    pre tabindex="0" { (Hostile(text, LONG)) }
                }
            }
        }
    }
}

/// Subject and text of a notice. The line ends of mail are no characters to point out.
fn notice_text(mail: &[u8]) -> String {
    let message = mail_parser::MessageParser::default().parse(mail);
    let text = message.as_ref().and_then(|message| {
        let text = message.body_text(0)?.replace("\r\n", "\n");
        Some(format!("{}\n\n{text}", message.subject().unwrap_or_default()))
    });
    text.unwrap_or_else(|| String::from_utf8_lossy(mail).into_owned())
}

/// The header before and after, side by side.
fn comparison(row: &Row, original: &[u8], outgoing: &Outgoing<'_>) -> Markup {
    let rows = headers::compare(original, &outgoing.head);
    let count = |wanted: fn(&HeaderRow<'_>) -> bool| rows.iter().filter(|row| wanted(row)).count();
    html! {
        section.card.headers #{ "sent-" (outgoing.ses_id) } {
            div.heading {
                h2 { "Header, before and after" }
                a.button href={ "/mail/" (outgoing.ses_id) } { "Read it" }
                a.button href={ "/messages/" (row.id) "/outgoing/" (outgoing.ses_id) } { "Outgoing message" }
            }
            p.legend {
                span.mark.changed { (count(|row| matches!(row, HeaderRow::Changed { .. }))) " changed" } " "
                span.mark.added { (count(|row| matches!(row, HeaderRow::Added(_)))) " added" } " "
                span.mark.removed { (count(|row| matches!(row, HeaderRow::Removed(_)))) " removed" } " "
                span.quiet { (count(|row| matches!(row, HeaderRow::Same(_)))) " as they were" }
            }
            p.quiet {
                "Sent as " code { (outgoing.ses_id) } " from " (Hostile(outgoing.from, FIELD))
                " to " (Hostile(&outgoing.destinations.join(", "), FIELD))
            }
            div.compare role="table" aria-label="Header before and after" {
                div.pair.names role="row" {
                    span role="columnheader" { "Received" } span role="columnheader" { "Sent" }
                }
                @for (number, run) in rows.chunk_by(|a, b| same(a) == same(b)).enumerate() {
                    @if same(&run[0]) && run.len() >= FOLDED {
                        details data-key={ "fold-" (outgoing.ses_id) "-" (number) } {
                            summary { (run.len()) " fields as they were" }
                            @for row in run { (pair(row)) }
                        }
                    } @else {
                        @for row in run { (pair(row)) }
                    }
                }
            }
        }
    }
}

/// What answers a message as its reader's mail program would.
fn answer(row: &Row, outgoing: &Outgoing<'_>) -> Markup {
    let field = format!("answer-{}", outgoing.ses_id);
    html! {
        section.card.answer #{ "answering-" (outgoing.ses_id) } {
            h2 { "Answer" }
            p.quiet {
                "As " (Hostile(outgoing.destinations.first().map_or("", String::as_str), FIELD))
                " would, by a mail program that sends to Reply-To. What the other side gets is shown then."
            }
            form method="post" action={ "/messages/" (row.id) "/answer" } {
                input type="hidden" name="ses_id" value=(outgoing.ses_id);
                label for=(field) { "Text" }
                textarea id=(field) name="text" rows="4" required {}
                button { "Answer" }
            }
        }
    }
}

fn same(row: &HeaderRow<'_>) -> bool {
    matches!(row, HeaderRow::Same(_))
}

fn pair(row: &HeaderRow<'_>) -> Markup {
    let (kind, label) = match row {
        HeaderRow::Same(_) => ("same", None),
        HeaderRow::Added(_) => ("added", Some("added")),
        HeaderRow::Removed(_) => ("removed", Some("removed")),
        HeaderRow::Changed { .. } => ("changed", Some("changed")),
    };
    let field = |field: &Field<'_>| html! { b { (Hostile(&field.name, FIELD)) ":" } " " (Hostile(&field.value, FIELD)) };
    let marked = |name: &str, pieces: &[Marked]| {
        html! {
            b { (Hostile(name, FIELD)) ":" } " "
            @for piece in pieces {
                @if piece.differs { mark { (Hostile(&piece.text, FIELD)) } } @else { (Hostile(&piece.text, FIELD)) }
            }
        }
    };
    let (before, after) = match row {
        HeaderRow::Same(both) => (field(both), field(both)),
        HeaderRow::Added(new) => (html! {}, field(new)),
        HeaderRow::Removed(old) => (field(old), html! {}),
        HeaderRow::Changed { name, before, after } => (marked(name, before), marked(name, after)),
    };
    html! {
        div.pair.(kind) role="row" {
            div.before role="cell" { (before) }
            div.after role="cell" { (after) }
            @if let Some(label) = label { span.label { (label) } }
        }
    }
}

/// The header of a message that was not sent.
fn header_only(original: &[u8]) -> Markup {
    let rows = headers::compare(original, original);
    html! {
        section.card.headers #header {
            h2 { "Header" }
            p.quiet { "Nothing was sent, so there is nothing to compare it with." }
            div.compare.one { @for row in &rows { div.pair.same { div.before { (pair_text(row)) } } } }
        }
    }
}

fn pair_text(row: &HeaderRow<'_>) -> Markup {
    html! {
        @if let HeaderRow::Same(field) = row { b { (Hostile(&field.name, FIELD)) ":" } " " (Hostile(&field.value, FIELD)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_shown_as_text() {
        for (mail, expected) in [
            ("Subject: a\r\n\r\none\r\n\r\ntwo\r\n", "a\n\none\n\ntwo\n"),
            (
                "Subject: a\r\nContent-Transfer-Encoding: base64\r\n\r\nb25lDQp0d28NCg==\r\n",
                "a\n\none\ntwo\n",
            ),
            ("Subject: a\r\n\r\none\rtwo", "a\n\none\rtwo"),
        ] {
            assert_eq!(notice_text(mail.as_bytes()), expected, "{mail}");
        }
    }
}
