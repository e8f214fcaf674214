//! The list of messages.

use std::net::SocketAddr;

use maud::{Markup, html};
use ses_forwarder_local_aws::faults::Fault;
use ses_forwarder_local_template::deployment::Deployment;

use super::frame::{Frame, framed};
use crate::{
    row::{Row, Status},
    samples::SAMPLES,
    search::{GROUPS, Search},
    shown::{Hostile, LINE, clock, grouped, size},
};

/// Operations that faults are usually wanted for; any other can be typed.
const OPERATIONS: [&str; 6] = ["ses:SendEmail", "s3:GetObject", "s3:PutObject", "s3:*", "sns:Publish", "*"];

/// How a call can go wrong, and in words.
const EFFECTS: [(&str, &str); 14] = [
    ("throttle", "is throttled"),
    ("500", "gets an internal error (500)"),
    ("503", "finds the service unavailable (503)"),
    ("access-denied", "is not allowed"),
    ("not-found", "finds nothing (404)"),
    ("reject", "is refused for good (400)"),
    ("slow:5000", "waits for five seconds first"),
    ("held", "waits until all faults are taken back"),
    ("hang", "gets no answer"),
    ("reset-before", "is cut off, without effect"),
    ("reset-after", "is cut off after it took effect"),
    ("truncate", "gets half an answer"),
    ("kill-before", "kills the function, without effect"),
    ("kill-after", "kills the function after it took effect"),
];

/// What the page shows.
pub(crate) struct View<'a> {
    pub(crate) stack: &'a Deployment,
    /// Where mail comes in.
    pub(crate) smtp: SocketAddr,
    /// A command that sends a message there.
    pub(crate) curl: &'a str,
    pub(crate) search: &'a Search,
    /// Oldest first.
    pub(crate) rows: &'a [&'a Row],
    pub(crate) total: usize,
    /// Whether these are the newest.
    pub(crate) newest: bool,
    /// Whether there are older ones.
    pub(crate) older: bool,
    pub(crate) faults: &'a [Fault],
}

/// The page.
pub(crate) fn page(view: &View<'_>) -> Markup {
    let frame = Frame {
        title: "Messages · SES Forwarder",
        stack: Some(view.stack),
        tab: "/",
        // What comes may not be what is looked for.
        live: (view.newest && view.search.is_empty()).then_some("/live"),
        refresh: false,
    };
    let first = view.rows.first().filter(|_| view.older);
    framed(
        &frame,
        &html! {
            div.tools #tools {
                form.sample method="post" action="/samples" {
                    label for="sample" { "Send a sample" }
                    select #sample name="sample" {
                        @for sample in SAMPLES { option value=(sample.name) { (sample.title) } }
                    }
                    button.primary { "Send" }
                }
                (faults(view.faults))
            }
            div.heading #heading {
                h1 { "Messages" }
                p.total { span #total { (grouped(view.total as u64)) } " received" }
            }
            (search_form(view.search))
            div #empty hidden[!view.rows.is_empty()] {
                @if view.search.is_empty() { (nothing_yet(view)) } @else { p { "No message is like that." } }
            }
            ol.messages #messages { @for row in view.rows.iter().rev() { (self::row(row)) } }
            nav.pages #pages aria-label="Pages" {
                @let search = view.search.parameters();
                @if !view.newest { a href={ "/" (search.replacen('&', "?", 1)) } { "Newest" } }
                @if let Some(first) = first { a rel="next" href={ "/?before=" (first.id) (search) } { "Older" } }
            }
        },
    )
}

fn search_form(search: &Search) -> Markup {
    html! {
        form.search #search role="search" method="get" action="/" {
            input type="search" name="q" value=(search.q) aria-label="Address or subject" placeholder="Address or subject";
            select name="status" aria-label="Status" {
                option value="" { "any status" }
                @for (name, words) in GROUPS { option value=(name) selected[search.status == name] { (words) } }
            }
            button { "Search" }
            @if !search.is_empty() { a href="/" { "All messages" } }
        }
    }
}

fn nothing_yet(view: &View<'_>) -> Markup {
    let domain = view.stack.email_domain().unwrap_or("in.example");
    html! {
        p {
            "Nothing has come yet. Send a sample, or a message of your own by SMTP on " b { (view.smtp) }
            " to any address at " b { (domain) } ":"
        }
        pre tabindex="0" { code { (view.curl) } }
    }
}

fn faults(waiting: &[Fault]) -> Markup {
    html! {
        details.faults data-key="faults" open[!waiting.is_empty()] {
            summary {
                "Inject a fault"
                @if !waiting.is_empty() { " " span.count { (waiting.len()) " waiting" } }
            }
            form method="post" action="/faults" {
                label { "Of the calls of" input name="operation" list="operations" value="ses:SendEmail" required; }
                select name="which" aria-label="Which calls" {
                    option value="*" { "the next" }
                    option value="@" { "only number" }
                }
                input name="count" type="number" min="1" max="1000" value="1" required aria-label="How many, or which number";
                datalist #operations { @for operation in OPERATIONS { option value=(operation) {} } }
                label {
                    "each"
                    select name="effect" { @for (effect, words) in EFFECTS { option value=(effect) { (words) } } }
                }
                button { "Inject" }
            }
            @if !waiting.is_empty() {
                form.waiting method="post" action="/faults/clear" {
                    ul { @for fault in waiting { li { code { (fault) } } } }
                    button { "Take all back" }
                }
            }
        }
    }
}

/// A message in the list.
pub(crate) fn row(row: &Row) -> Markup {
    html! {
        li #{ "m-" (row.id) } {
            a href={ "/messages/" (row.id) } {
                span.at { (clock(row.at, false)) }
                (status(&row.status))
                span.people {
                    span.from { (sender(row.from.as_deref())) }
                    span.to { span.arrow { "to " } (Hostile(&row.recipients.join(", "), LINE)) }
                }
                span.subject {
                    @if row.subject.trim().is_empty() { i { "no subject" } } @else { (Hostile(&row.subject, LINE)) }
                }
                span.verdicts { (verdicts(&row.verdicts)) }
                span.size { (size(row.size as u64)) }
            }
        }
    }
}

/// A reverse-path, the null one in words.
pub(crate) fn sender(from: Option<&str>) -> Markup {
    html! {
        @match from {
            Some(from) => (Hostile(from, LINE)),
            None => i { "null sender" },
        }
    }
}

/// A status as a coloured word.
pub(crate) fn status(status: &Status) -> Markup {
    let (kind, word) = match status {
        Status::Received => ("busy", "received".to_owned()),
        Status::Invoked(1) => ("busy", "in hand".to_owned()),
        Status::Invoked(attempt) => ("busy", format!("in hand, try {attempt}")),
        Status::Waiting(attempt) => ("waiting", format!("failed {attempt}×, will retry")),
        Status::Forwarded => ("good", "forwarded".to_owned()),
        Status::Kept(word) => ("neutral", word.clone()),
        Status::DeadLettered => ("bad", "failed".to_owned()),
        Status::Noticed => ("bad", "failed, notice sent".to_owned()),
        Status::Lost => ("bad", "lost".to_owned()),
    };
    html! { span.status.(kind) { (word) } }
}

/// Verdicts: those that passed as one, the others each.
fn verdicts(verdicts: &[(String, String)]) -> Markup {
    let passed: Vec<_> =
        verdicts.iter().filter(|(_, word)| word == "PASS").map(|(check, _)| check.as_str()).collect();
    html! {
        @for (check, word) in verdicts.iter().filter(|(_, word)| word != "PASS") {
            span.verdict.fail[word == "FAIL"] { (check) " " (word) } " "
        }
        @if passed.len() == verdicts.len() {
            span.verdict.pass title=(passed.join(", ")) { "all pass" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_form_offers_is_a_fault() {
        for operation in OPERATIONS {
            for (effect, words) in EFFECTS {
                for which in ["*3", "@3"] {
                    let text = format!("{operation}={effect}{which}");
                    assert_eq!(text.parse().map(|fault: Fault| fault.to_string()), Ok(text), "{words}");
                }
            }
        }
    }
}
