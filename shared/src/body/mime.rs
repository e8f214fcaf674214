//! The structure of a body (RFC 2045, RFC 2046): its leaves in order, and how each is encoded.
//!
//! One pass from front to end, whatever stands there: a part ends where the next line of dashes is a delimiter of
//! a multipart that is open, the innermost or one around it. Nothing recurses, and multiparts nest
//! [`DEPTH`] deep at most; one that is deeper counts as sealed.

use std::ops::Range;

use memchr::{memchr, memmem};

use crate::{
    header::{self, Field, HeaderBlock},
    steps,
};

/// The field that says how a part is encoded.
pub(super) const TRANSFER_ENCODING: &str = "Content-Transfer-Encoding";

/// Multiparts within multiparts. Real mail has five or so.
const DEPTH: usize = 32;

/// A part that has no parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Its header in the body, without the empty line; nothing if it is the message itself.
    pub(crate) header: Range<usize>,
    /// Its content in the body.
    pub(crate) body: Range<usize>,
    /// What its content is.
    pub(crate) media: Media,
    /// How it is encoded.
    pub(crate) transfer: Transfer,
    /// Whether it is the message itself.
    pub(crate) is_message: bool,
}

/// What the content of a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// Lines of text.
    Text,
    /// Bytes.
    Other,
    /// Signed, encrypted, or of no structure that could be followed.
    Sealed,
}

/// `Content-Transfer-Encoding` (RFC 2045 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// `7bit`, `8bit`, `binary`, or none.
    Identity,
    QuotedPrintable,
    Base64,
    /// None that MIME defines.
    Other,
}

/// What a part is.
enum Part {
    Multipart(Multipart),
    /// A message in the message: its content begins with a header.
    Message,
    Leaf(Media),
}

/// A multipart that is open.
#[derive(Debug)]
struct Multipart {
    boundary: Vec<u8>,
    /// Whether its parts are messages unless they say otherwise (RFC 2046 section 5.1.5).
    is_digest: bool,
}

/// Walks the leaves of a body.
#[derive(Debug)]
pub(crate) struct Leaves<'a> {
    body: &'a [u8],
    open: Vec<Multipart>,
    next: Next,
    /// Whether what is signed is walked too, as it will not be touched.
    opens_signed: bool,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    /// A leaf whose end is not known yet.
    Leaf(Leaf),
    /// The header of a part, which is a message if it says nothing else.
    Part { at: usize, in_digest: bool },
    /// What stands before the first part of a multipart, or behind its last.
    Between(usize),
    /// Nothing.
    End,
}

/// A line that separates parts, or ends them.
struct Delimiter {
    /// Where the line before it ends: its line end belongs to the delimiter.
    start: usize,
    /// The next line.
    behind: usize,
    /// Which of the open multiparts it belongs to.
    depth: usize,
    is_last: bool,
}

impl<'a> Leaves<'a> {
    /// The leaves of `body`, which stands behind `block`.
    pub(super) fn of(block: &HeaderBlock<'_>, body: &'a [u8]) -> Leaves<'a> {
        Leaves::walk(block, body, false)
    }

    /// The leaves of what is signed too, for who only reads them.
    pub(crate) fn to_read(block: &HeaderBlock<'_>, body: &'a [u8]) -> Leaves<'a> {
        Leaves::walk(block, body, true)
    }

    fn walk(block: &HeaderBlock<'_>, body: &'a [u8], opens_signed: bool) -> Leaves<'a> {
        let mut leaves = Leaves { body, open: Vec::new(), next: Next::End, opens_signed };
        leaves.next = leaves.begin(block, 0..0, 0, false, true);
        leaves
    }

    /// What comes behind the header of a part, or of the message.
    fn begin(
        &mut self,
        block: &HeaderBlock<'_>,
        header: Range<usize>,
        body_at: usize,
        in_digest: bool,
        is_message: bool,
    ) -> Next {
        let transfer = transfer_of(block);
        let media = match part_of(block, in_digest, self.opens_signed) {
            Part::Multipart(multipart) if self.open.len() < DEPTH => {
                self.open.push(multipart);
                return Next::Between(body_at);
            }
            Part::Message if transfer == Transfer::Identity => {
                return Next::Part { at: body_at, in_digest: false };
            }
            Part::Multipart(_) => Media::Sealed,
            Part::Message => Media::Other,
            Part::Leaf(media) => media,
        };
        Next::Leaf(Leaf { header, body: body_at..self.body.len(), media, transfer, is_message })
    }

    /// What comes behind a delimiter, or the end.
    fn pass(&mut self, delimiter: Option<&Delimiter>) -> Next {
        let Some(&Delimiter { behind, depth, is_last, .. }) = delimiter else { return Next::End };
        let in_digest = self.open.get(depth).is_some_and(|multipart| multipart.is_digest);
        self.open.truncate(if is_last { depth } else { depth + 1 });
        if is_last { Next::Between(behind) } else { Next::Part { at: behind, in_digest } }
    }

    /// Where the header of a part ends at the latest: behind an empty line, or before a delimiter.
    fn header_limit(&self, from: usize) -> usize {
        let mut at = from;
        while at < self.body.len() {
            if let Some(delimiter) = self.delimiter_at(from, at) {
                return delimiter.start;
            }
            let end = memchr(b'\n', &self.body[at..]).map_or(self.body.len(), |length| at + length + 1);
            steps::count(end - at);
            let is_empty = matches!(&self.body[at..end], b"\n" | b"\r\n");
            at = end;
            if is_empty {
                break;
            }
        }
        at
    }

    /// The first delimiter at or behind a place, which is where a line starts or ends.
    fn delimiter(&self, from: usize) -> Option<Delimiter> {
        if self.open.is_empty() {
            return None;
        }
        let behind_line_ends = memmem::find_iter(&self.body[from..], b"\n--").map(|at| from + at + 1);
        let found = [from].into_iter().chain(behind_line_ends).find_map(|line| self.delimiter_at(from, line));
        steps::count(found.as_ref().map_or(self.body.len(), |delimiter| delimiter.behind) - from);
        found
    }

    /// The delimiter that a line is, if it is one (RFC 2046 section 5.1.1).
    fn delimiter_at(&self, from: usize, line: usize) -> Option<Delimiter> {
        let text = self.body[line..].strip_prefix(b"--")?;
        let length = memchr(b'\n', text).unwrap_or(text.len());
        let text = text[..length].trim_ascii_end();
        let behind = (line + 2 + length + 1).min(self.body.len());
        let before = &self.body[from..line];
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        let start = from + before.strip_suffix(b"\r").unwrap_or(before).len();
        self.open.iter().enumerate().rev().find_map(|(depth, multipart)| {
            steps::count(text.len().min(multipart.boundary.len()));
            let is_last = match text.strip_prefix(&*multipart.boundary)? {
                b"" => false,
                b"--" => true,
                _ => return None,
            };
            Some(Delimiter { start, behind, depth, is_last })
        })
    }
}

impl Iterator for Leaves<'_> {
    type Item = Leaf;

    fn next(&mut self) -> Option<Leaf> {
        loop {
            self.next = match std::mem::replace(&mut self.next, Next::End) {
                Next::End => return None,
                Next::Between(at) => {
                    let delimiter = self.delimiter(at);
                    self.pass(delimiter.as_ref())
                }
                Next::Part { at, in_digest } => {
                    let body = self.body;
                    let block = header::split(&body[at..self.header_limit(at)]);
                    self.begin(&block, at..at + block.len(), at + block.body_at, in_digest, false)
                }
                Next::Leaf(mut leaf) => {
                    let delimiter = self.delimiter(leaf.body.start);
                    if let Some(delimiter) = &delimiter {
                        leaf.body.end = delimiter.start;
                    }
                    self.next = self.pass(delimiter.as_ref());
                    return Some(leaf);
                }
            };
        }
    }
}

/// Where a field of `text`, a header, begins, and where the next line does.
pub(super) fn extent(text: &[u8], field: &Field<'_>) -> (usize, usize) {
    let start = field.name.as_ptr().addr() - text.as_ptr().addr();
    let end = field.value.as_ptr().addr() - text.as_ptr().addr() + field.value.len();
    (start, memchr(b'\n', &text[end..]).map_or(text.len(), |length| end + length + 1))
}

/// What a part is, by its Content-Type.
fn part_of(block: &HeaderBlock<'_>, in_digest: bool, opens_signed: bool) -> Part {
    let Some(field) = block.fields().find(|field| field.is("Content-Type")) else {
        return if in_digest { Part::Message } else { Part::Leaf(Media::Text) };
    };
    steps::count(field.value.len());
    let value = String::from_utf8_lossy(field.value);
    match &*word(&value) {
        "multipart/signed" if !opens_signed => Part::Leaf(Media::Sealed),
        "multipart/encrypted"
        | "application/pkcs7-mime"
        | "application/x-pkcs7-mime"
        | "application/pgp-encrypted" => Part::Leaf(Media::Sealed),
        "message/rfc822" | "message/global" => Part::Message,
        media if media.starts_with("multipart/") => match parameter(&value, "boundary") {
            Some(boundary) => Part::Multipart(Multipart { boundary, is_digest: media == "multipart/digest" }),
            None => Part::Leaf(Media::Sealed),
        },
        media if media.starts_with("text/") || media.starts_with("message/") => Part::Leaf(Media::Text),
        // RFC 2045 section 5.2: what has no type that can be read is text.
        media if !media.contains('/') => Part::Leaf(Media::Text),
        _ => Part::Leaf(Media::Other),
    }
}

fn transfer_of(block: &HeaderBlock<'_>) -> Transfer {
    let field = block.fields().find(|field| field.is(TRANSFER_ENCODING));
    match &*field.map_or(String::new(), |field| word(&String::from_utf8_lossy(field.value))) {
        "" | "7bit" | "8bit" | "binary" => Transfer::Identity,
        "quoted-printable" => Transfer::QuotedPrintable,
        "base64" => Transfer::Base64,
        _ => Transfer::Other,
    }
}

/// The word that a value begins with, in lower case.
fn word(value: &str) -> String {
    let value = value.trim_ascii_start();
    let end = value.find(|char: char| char.is_ascii_whitespace() || ";(,".contains(char));
    value[..end.unwrap_or(value.len())].to_ascii_lowercase()
}

/// The value of a parameter (RFC 2045 section 5.1), without quotes.
fn parameter(value: &str, name: &str) -> Option<Vec<u8>> {
    let mut quoted = false;
    let mut escaped = false;
    let ends = |char: char| {
        let is_end = char == ';' && !quoted;
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        is_end
    };
    value.split(ends).skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        if !found.trim_ascii().eq_ignore_ascii_case(name) {
            return None;
        }
        let value = value.trim_ascii();
        let content = match value.strip_prefix('"') {
            Some(quoted) => {
                let mut content = Vec::with_capacity(quoted.len());
                let mut bytes = quoted.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => content.extend(bytes.next()),
                        byte => content.push(byte),
                    }
                }
                content
            }
            None => {
                let ends = |char: char| char.is_ascii_whitespace() || char == '(';
                value.as_bytes()[..value.find(ends).unwrap_or(value.len())].to_vec()
            }
        };
        let content = content.trim_ascii_end().to_vec();
        (!content.is_empty()).then_some(content)
    })
}
