//! A mail as a mail program shows it, and the list of notices.

use std::time::SystemTime;

use mail_parser::{MessageParser, MimeHeaders};
use maud::{Markup, html};
use ses_forwarder_local_template::deployment::Deployment;

use super::frame::{Frame, framed};
use crate::shown::{FIELD, Hostile, LINE, clock, size};

/// Longest text shown, in characters: a stub's, and a digest's.
const LONG: usize = 1 << 20;

/// What the page shows.
pub(crate) struct View<'a> {
    pub(crate) stack: &'a Deployment,
    /// The message that it was made of, or is about.
    pub(crate) about: Option<&'a str>,
    pub(crate) at: SystemTime,
    /// Its envelope.
    pub(crate) from: &'a str,
    pub(crate) destinations: &'a [String],
    /// Its beginning.
    pub(crate) raw: &'a [u8],
}

/// A notice in the list.
pub(crate) struct Line<'a> {
    pub(crate) at: SystemTime,
    pub(crate) ses_id: &'a str,
    pub(crate) destinations: &'a [String],
    pub(crate) subject: String,
}

/// The subject of a mail, decoded.
pub(crate) fn subject(raw: &[u8]) -> String {
    let message = MessageParser::default().parse_headers(raw);
    message.and_then(|message| message.subject().map(str::to_owned)).unwrap_or_default()
}

/// The page of one mail.
pub(crate) fn page(view: &View<'_>) -> Markup {
    let frame = Frame {
        title: "Mail · SES Forwarder",
        stack: Some(view.stack),
        tab: "/notices",
        live: None,
        refresh: false,
    };
    let message = MessageParser::default().parse(view.raw);
    let field = |name: &str| {
        let value = message.as_ref().and_then(|message| message.header_raw(name)).map(str::trim);
        value.unwrap_or_default().replace("\r\n", " ")
    };
    let text =
        message.as_ref().and_then(|message| message.body_text(0)).map(|text| text.replace("\r\n", "\n"));
    let subject = subject(view.raw);
    framed(
        &frame,
        &html! {
            div.top-of-message {
                h1.subject { @if subject.is_empty() { i { "No subject" } } @else { (Hostile(&subject, FIELD)) } }
                dl.facts {
                    @for name in ["From", "To", "Cc", "Reply-To", "Date"] {
                        @let value = field(name);
                        @if !value.is_empty() { dt { (name) } dd { (Hostile(&value, FIELD)) } }
                    }
                    dt { "Delivered to" } dd { (Hostile(&view.destinations.join(", "), FIELD)) }
                    dt { "Sent" } dd { (clock(view.at, true)) " UTC from " (Hostile(view.from, FIELD)) }
                }
                @if let Some(id) = view.about {
                    div.buttons { a.button href={ "/messages/" (id) } { "Its message" } }
                }
            }
            section.card #text {
                pre { (Hostile(text.as_deref().unwrap_or_default(), LONG)) }
                @if let Some(message) = &message {
                    @if message.attachment_count() > 0 {
                        ul.plain {
                            @for attachment in message.attachments() {
                                li {
                                    (Hostile(attachment.attachment_name().unwrap_or("without a name"), LINE))
                                    ", " (size(attachment.len() as u64))
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// The list of notices, and the button for a digest.
pub(crate) fn notices(stack: &Deployment, notices: &[Line<'_>], can_run: bool) -> Markup {
    let frame = Frame {
        title: "Notices · SES Forwarder",
        stack: Some(stack),
        tab: "/notices",
        live: None,
        refresh: false,
    };
    framed(
        &frame,
        &html! {
            div.heading {
                h1 { "Notices" }
                @if can_run {
                    form method="post" action="/notices/digest" { button.primary { "Send the digest now" } }
                }
            }
            p.lead {
                "What the operator gets by mail. On AWS the digest comes at the hour that the template says; nothing \
                 is sent if there is nothing to tell."
            }
            section.card {
                @if notices.is_empty() { p.quiet { "None so far." } }
                ul.log {
                    @for notice in notices {
                        li {
                            (clock(notice.at, true)) " "
                            a href={ "/mail/" (notice.ses_id) } {
                                @if notice.subject.is_empty() { "No subject" } @else { (Hostile(&notice.subject, LINE)) }
                            }
                            " " span.quiet { "to " (Hostile(&notice.destinations.join(", "), LINE)) }
                        }
                    }
                }
            }
        },
    )
}
