//! A stub: what reaches a reader in place of a message that SES refuses for its content, or that a mailbox
//! does not take for its size.
//!
//! It has the header that the message would have had, so that it stands in the same thread and is answered
//! the same way, and a text of its own: why the message is not there, where it is, what was attached, by name
//! and size, and the first text in it, up to [`TEXT_OCTETS`].
//!
//! What comes out is a message that SES takes, whatever went in: ASCII, short lines, one part of plain text,
//! no file, at most [`STUB_OCTETS`]. Time is linear in the message, and memory does not grow with it.
//!
//! Not supported: text in `uuencode` and other encodings that are not MIME's is shown as it stands.

mod attachments;
mod content;

use std::fmt::Write;

use crate::{
    body::coding::{Coding, Progress},
    header::{self, HeaderBlock, without_controls},
};

/// Longest text of a message that is shown, in octets of UTF-8.
pub const TEXT_OCTETS: usize = 1 << 20;

/// Longest header of a stub, in octets. That of real mail has a few thousand; SES refuses very long ones too.
pub const HEADER_OCTETS: usize = 1 << 18;

/// Longest stub, in octets: text and header as long as they may be, the text in base64, and what stands around it.
pub const STUB_OCTETS: usize = HEADER_OCTETS + TEXT_OCTETS / 3 * 4 + (1 << 18);

/// The field that marks a stub; its value is [`Why::word`].
pub const FIELD: &str = "X-Forwarder-Stub";

/// How much of what SES says is shown, in characters.
const WORDS_SHOWN: usize = 500;

/// Why the message itself is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// SES takes no message of its size.
    TooLarge,
    /// SES refuses what is in it, such as a file of a kind that it does not send.
    Content,
    /// The mailbox that it was forwarded to takes no message of its size.
    MailboxTooSmall,
}

/// What a stub tells beside what the message does.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Why the message itself is not there.
    pub why: Why,
    /// What SES, or the mailbox's server, said.
    pub words: &'a str,
    /// Size of the message as it is stored, in bytes.
    pub bytes: usize,
    /// Where the message is, such as `s3://bucket/messages/ID`.
    pub original: &'a str,
}

/// A stub: header with the empty line, and body.
#[derive(Debug)]
pub struct Stub {
    /// All fields in CRLF lines, and the empty line.
    pub header: Vec<u8>,
    /// The text, encoded.
    pub body: Vec<u8>,
}

impl Why {
    /// As the field writes it.
    pub fn word(self) -> &'static str {
        match self {
            Why::TooLarge => "too-large",
            Why::Content => "content",
            Why::MailboxTooSmall => "too-large-for-mailbox",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Why::TooLarge => "This message is too large to be forwarded by mail.",
            Why::Content => {
                "This message could not be forwarded: Amazon SES does not send what is in it, such as a file of \
                 a kind that may do harm."
            }
            Why::MailboxTooSmall => "This message is too large for the mailbox that it was forwarded to.",
        }
    }
}

/// Writes the stub of the message that begins with `block` and has been given the header `rewritten`.
///
/// ```
/// use ses_forwarder::{header::split, stub::{About, Why, stub}};
///
/// let message = b"Subject: Hello\r\nContent-Type: text/x; name=a.exe\r\n\r\nHi\r\n";
/// let about = About { why: Why::Content, words: "Illegal filename", bytes: 60, original: "s3://mail/messages/m1" };
/// let block = split(message);
/// let stub = stub(&block, &message[..block.body_at], &about);
/// let header = String::from_utf8(stub.header).unwrap();
/// assert!(header.starts_with("X-Forwarder-Stub: content\r\nSubject: Hello\r\n"));
/// assert!(!header.contains("a.exe"));
/// assert!(String::from_utf8(stub.body).unwrap().contains("s3://mail/messages/m1"));
/// ```
pub fn stub(block: &HeaderBlock<'_>, rewritten: &[u8], about: &About<'_>) -> Stub {
    let text = text(block, about);
    let text = text.as_bytes();
    let coding =
        [Coding::QuotedPrintable, Coding::Base64].into_iter().min_by_key(|coding| coding.length(text));
    let coding = coding.unwrap_or(Coding::Base64);
    let mut body = Vec::with_capacity(usize::try_from(coding.length(text)).unwrap_or_default() + 2);
    coding.encode(text, &mut Progress::default(), &mut body, usize::MAX);
    if !body.ends_with(b"\n") {
        body.extend_from_slice(b"\r\n");
    }
    let mut out = format!("{FIELD}: {}\r\n", about.why.word()).into_bytes();
    fields(rewritten, &mut out);
    out.extend_from_slice(b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
    out.extend_from_slice(coding.declaration().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    Stub { header: out, body }
}

/// Appends the fields of a header, those left out that say what the body is, and those that there is no room for.
fn fields(rewritten: &[u8], out: &mut Vec<u8>) {
    let mut left = HEADER_OCTETS;
    for field in header::split(rewritten).fields() {
        let describes_body = field.name.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"Content-"))
            || field.is("MIME-Version")
            || field.is(FIELD);
        let length = field.name.len() + field.value.len() + 3;
        // From is short, as it was made here, and a message needs one.
        if describes_body || length > left && !field.is("From") {
            continue;
        }
        left = left.saturating_sub(length);
        out.extend_from_slice(field.name);
        out.push(b':');
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the reader sees.
fn text(block: &HeaderBlock<'_>, about: &About<'_>) -> String {
    let content::Content { text, is_cut, attachments } = content::Content::of(block);
    let words: String = without_controls(about.words).chars().take(WORDS_SHOWN).collect();
    let mut out = String::with_capacity(text.len() + 4096);
    let _ = write!(
        out,
        "{}\r\n\r\nWhy: {words}\r\nSize: {}\r\nThe message itself: {}\r\n",
        about.why.sentence(),
        size(about.bytes),
        about.original,
    );
    attachments.list(&mut out);
    match text.trim() {
        "" => out.push_str("\r\nThere is no text in it.\r\n"),
        _ => {
            out.push_str("\r\n-------- Its text --------\r\n\r\n");
            append_lines(&mut out, &text);
        }
    }
    if is_cut {
        out.push_str("-------- The text goes on; there is no room for the rest. --------\r\n");
    }
    out
}

/// Appends text with CRLF at the end of each line, and spaces for other control characters.
fn append_lines(out: &mut String, text: &str) {
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        out.extend(line.chars().map(|char| if char.is_control() && char != '\t' { ' ' } else { char }));
        out.push_str("\r\n");
    }
}

/// A size for people.
fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_001, "2 kB"),
            (999_999, "1000 kB"),
            (1_000_000, "1.0 MB"),
            (33_554_432, "33.5 MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
