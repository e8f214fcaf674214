//! A message that was sent, as its reader sees it.

use maud::{Markup, html};

use crate::{
    outgoing::SHOWN,
    reader::Reading,
    shown::{FIELD, Hostile, size},
};

/// Longest text that is shown, in characters.
const LONG: usize = 40_000;

/// A section of its own for one send.
pub(super) fn section(id: &str, ses_id: &str, reading: &Reading, raw: &[u8]) -> Markup {
    let path = format!("/messages/{id}/outgoing/{ses_id}");
    html! {
        section.card.reading #{ "read-" (ses_id) } {
            div.heading {
                h2 { "As its reader sees it" }
                a.button href=(path) { "Outgoing message" }
            }
            @if raw.len() as u64 >= SHOWN { p.quiet { "It is long: this is read from its beginning." } }
            @match &reading.text {
                Some(text) => pre tabindex="0" { (Hostile(text, LONG)) },
                None => p.quiet { "It has no plain text." },
            }
            // A frame in what is folded is loaded when it is opened.
            @if reading.has_html {
                details data-key={ "html-" (ses_id) } {
                    summary { "HTML" }
                    p.quiet { "No script of it runs, and pictures from elsewhere are not loaded." }
                    iframe sandbox="" loading="lazy" title="The message's HTML" src={ (path) "/html" } {}
                }
            }
            @if !reading.attachments.is_empty() {
                h3 { "Attachments" }
                ul {
                    @for (number, (name, kind, bytes)) in reading.attachments.iter().enumerate() {
                        li {
                            a href={ (path) "/attachments/" (number) } { (Hostile(name, FIELD)) }
                            " " span.quiet { (Hostile(kind, FIELD)) ", " (size(*bytes)) }
                        }
                    }
                }
            }
            details data-key={ "raw-" (ses_id) } {
                summary { "Raw" }
                pre tabindex="0" { (Hostile(&String::from_utf8_lossy(raw).replace("\r\n", "\n"), LONG)) }
            }
        }
    }
}
