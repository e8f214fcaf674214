//! A message that was sent, as its reader's mail program has it: text, HTML, attachments.
//!
//! HTML is a page of its own, for a frame that may run and load nothing; it is as hostile as it was sent.

use axum::{
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::{access::Shared, outgoing::sent_as, problem::problem};

/// No script, no form, nothing from elsewhere; the frame that it is in is the page's own.
const POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

/// What a reader sees of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The plain text, if there is one.
    pub(crate) text: Option<String>,
    /// Whether there is HTML.
    pub(crate) has_html: bool,
    /// Name, type and size in bytes of each attachment.
    pub(crate) attachments: Vec<(String, String, u64)>,
}

/// Reads a message, or the beginning of one.
pub(crate) fn read(mail: &[u8]) -> Reading {
    let Some(message) = MessageParser::default().parse(mail) else {
        return Reading { text: None, has_html: false, attachments: vec![] };
    };
    let text = message.text_bodies().find_map(|part| match &part.body {
        PartType::Text(text) => Some(text.replace("\r\n", "\n")),
        _ => None,
    });
    Reading {
        text,
        has_html: html_of(&message).is_some(),
        attachments: message
            .attachments()
            .map(|part| (name_of(part), type_of(part), part.contents().len() as u64))
            .collect(),
    }
}

/// The HTML of what was sent.
pub(super) async fn html(State(page): Shared, Path((id, ses_id)): Path<(String, String)>) -> Response {
    let mail = sent_as(&page, &id, &ses_id).await.map(|(mail, _)| mail);
    let message = mail.as_deref().and_then(|mail| MessageParser::default().parse(mail));
    let Some(html) = message.as_ref().and_then(html_of) else {
        return problem(StatusCode::NOT_FOUND, "There is no HTML in it.");
    };
    let fields =
        [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (fields, html.to_owned()).into_response()
}

/// An attachment of what was sent, as a file: a browser must not show it as anything else.
pub(super) async fn attachment(
    State(page): Shared,
    Path((id, ses_id, number)): Path<(String, String, u32)>,
) -> Response {
    let mail = sent_as(&page, &id, &ses_id).await.map(|(mail, _)| mail);
    let message = mail.as_deref().and_then(|mail| MessageParser::default().parse(mail));
    let Some(part) = message.as_ref().and_then(|message| message.attachment(number)) else {
        return problem(StatusCode::NOT_FOUND, "There is no such attachment.");
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name_of(part).chars().map(plain).collect();
    let fields: [(HeaderName, String); 2] = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (fields, Bytes::copy_from_slice(part.contents())).into_response()
}

fn html_of<'m>(message: &'m Message<'_>) -> Option<&'m str> {
    message.html_bodies().find_map(|part| match &part.body {
        PartType::Html(html) => Some(html.as_ref()),
        _ => None,
    })
}

fn name_of(part: &MessagePart<'_>) -> String {
    part.attachment_name().unwrap_or(if part.is_message() { "message.eml" } else { "unnamed" }).to_owned()
}

fn type_of(part: &MessagePart<'_>) -> String {
    part.content_type().map_or_else(
        || "text/plain".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_sees() {
        let mixed = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n\
            --a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
            --b\r\n\r\nplain\r\ntext\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>rich</p>\r\n--b--\r\n\
            --a\r\nContent-Type: image/png; name=\"a.png\"\r\nContent-Disposition: attachment\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--a--\r\n";
        let reading = read(mixed);
        assert_eq!(reading.text.as_deref().map(str::trim_end), Some("plain\ntext"));
        assert!(reading.has_html);
        assert_eq!(reading.attachments, [("a.png".to_owned(), "image/png".to_owned(), 3)]);
        for (mail, text, has_html) in [
            (&b"Subject: a\r\n\r\nb\r\n"[..], Some("b\n"), false),
            (b"Content-Type: text/html\r\n\r\n<p>b</p>\r\n", None, true),
            (b"", None, false),
        ] {
            let reading = read(mail);
            assert_eq!(
                (reading.text.as_deref(), reading.has_html),
                (text, has_html),
                "{}",
                mail.escape_ascii()
            );
        }
    }
}
