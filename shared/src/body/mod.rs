//! The body: sent byte for byte as it was stored, with one exception. A line of more than
//! [`LINE_OCTETS`] octets must not be sent (RFC 5322 section 2.1.1; SES's documentation forbids it, and
//! receivers bounce it), so the part that holds one is re-encoded, and says so in its
//! `Content-Transfer-Encoding`. What its reader decodes is the same.
//!
//! Looking for such a line reads every tenth byte or so ([`long_line`]). Only if there is one, the structure
//! of the message is walked ([`mime`]), and a [`Recoding`] made: which runs of the body stay, and which
//! go through a [`coding`] while they are sent. Nothing is copied.
//!
//! An answer's text may also go through a [`Cleaner`], which takes its owner's address out.
//!
//! Not touched, long lines or not: what is signed or encrypted (`multipart/signed`,
//! `multipart/encrypted`, S/MIME, PGP in the text), since a signature covers the encoding; parts in an
//! encoding that is not MIME's; headers of parts, and what stands between parts.

mod cleaning;
pub(crate) mod coding;
pub(crate) mod decoding;
pub(crate) mod mime;

use std::ops::Range;

use memchr::{memmem, memrchr};

pub use self::cleaning::Cleaner;
use self::{
    coding::{Coding, Progress},
    mime::{Leaf, Leaves, Media, Transfer},
};
use crate::{
    header::{self, HeaderBlock},
    steps,
};

/// Longest line in octets, without its end (RFC 5322 section 2.1.1).
pub const LINE_OCTETS: usize = 998;

/// Parts that are re-encoded at most: SES takes no more in a message.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
const PARTS: usize = 500;

/// How to send a body that has lines which are too long.
#[derive(Debug)]
pub struct Recoding {
    pieces: Vec<Piece>,
    /// What the header of the message has to declare, if the body is a single part.
    declared: Option<&'static str>,
    len: u64,
    /// What goes through the text of an answer.
    cleaner: Option<Cleaner>,
}

/// A run of what is sent.
#[derive(Debug)]
enum Piece {
    /// Of the stored body, as it is.
    Stored(Range<usize>),
    /// Of the stored body, in another form.
    Coded(Range<usize>, Coding),
    /// Of the stored body, a text without its owner's address.
    Cleaned(Range<usize>, Transfer),
    /// New.
    Text(&'static str),
}

/// How far the reading of a [`Recoding`] has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor {
    piece: usize,
    progress: Progress,
    cleaning: cleaning::State,
}

impl Recoding {
    /// What a message needs whose body, behind `block`, is `body`; `None` if it can go as it is, or no
    /// part with a line that is too long may be touched.
    pub fn of(block: &HeaderBlock<'_>, body: &[u8]) -> Option<Recoding> {
        long_line(body, 0)?;
        Recoding::make(block, body, None)
    }

    /// The same for an answer, whose text parts a cleaner goes through besides.
    pub fn cleaned(block: &HeaderBlock<'_>, body: &[u8], cleaner: Cleaner) -> Option<Recoding> {
        Recoding::make(block, body, Some(cleaner))
    }

    fn make(block: &HeaderBlock<'_>, body: &[u8], cleaner: Option<Cleaner>) -> Option<Recoding> {
        let mut long = long_line(body, 0);
        let mut recoding = Recoding { pieces: Vec::new(), declared: None, len: 0, cleaner };
        let mut kept = 0;
        let mut parts = 0;
        for leaf in Leaves::of(block, body) {
            if long.is_some_and(|long| long < leaf.body.start) {
                // In the header of a part, or between parts.
                long = long_line(body, leaf.body.start);
            }
            if parts == PARTS || (long.is_none() && recoding.cleaner.is_none()) {
                break;
            }
            let is_long = long.is_some_and(|long| long < leaf.body.end);
            let coded = if recoding.cleans(&leaf, body) {
                Some(Piece::Cleaned(leaf.body.clone(), leaf.transfer))
            } else {
                let coding = is_long.then(|| coding_for(&leaf, body)).flatten();
                coding.map(|coding| Piece::Coded(leaf.body.clone(), coding))
            };
            if let Some(piece) = coded {
                recoding.keep(kept..leaf.header.start);
                let (encoding, in_base64) = match &piece {
                    Piece::Coded(_, coding) => (coding.declaration(), *coding == Coding::Base64),
                    _ => (cleaning::declaration(leaf.transfer), leaf.transfer == Transfer::Base64),
                };
                recoding.declare(&leaf, body, encoding);
                kept = leaf.body.end;
                recoding.push(piece, body);
                if in_base64 && kept == body.len() {
                    recoding.push(Piece::Text("\r\n"), body);
                }
                parts += 1;
            }
            if is_long {
                long = long_line(body, leaf.body.end);
            }
        }
        if parts == 0 {
            return None;
        }
        recoding.keep(kept..body.len());
        Some(recoding)
    }

    /// Whether a part is text that a cleaner finds something in: not a file, and neither signed nor encrypted.
    fn cleans(&self, leaf: &Leaf, body: &[u8]) -> bool {
        let Some(cleaner) = &self.cleaner else { return false };
        let is_file = || {
            let block = header::split(&body[leaf.header.clone()]);
            let mut disposition = block.fields().filter(|field| field.is("Content-Disposition"));
            disposition
                .any(|field| field.value.trim_ascii_start().to_ascii_lowercase().starts_with(b"attachment"))
        };
        leaf.media == Media::Text
            && leaf.transfer != Transfer::Other
            && !is_file()
            && cleaner.finds(&body[leaf.body.clone()], leaf.transfer)
    }

    /// Bytes of the body as it is sent.
    #[expect(clippy::len_without_is_empty, reason = "a body with a long line is not empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The header block of the message, as rewriting made it, with the encoding that the body now has.
    pub fn declared_in(&self, header: Vec<u8>) -> Vec<u8> {
        let Some(encoding) = self.declared else { return header };
        let block = header::split(&header);
        let mut out = Vec::with_capacity(header.len() + 80);
        let mut written = 0;
        for field in block.fields().filter(|field| field.is(mime::TRANSFER_ENCODING)) {
            let (start, end) = mime::extent(&header, &field);
            out.extend_from_slice(&header[written..start]);
            written = end;
        }
        out.extend_from_slice(&header[written..block.len()]);
        if !block.fields().any(|field| field.is("MIME-Version")) {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        out.extend_from_slice(encoding.as_bytes());
        out.extend_from_slice(&header[block.len()..]);
        out
    }

    /// Appends the next bytes, some [`coding::OVERSHOOT`] more than `room` at most; `false` if none are left. `body` is the one
    /// that this was made of.
    pub fn read(&self, body: &[u8], cursor: &mut Cursor, out: &mut Vec<u8>, room: usize) -> bool {
        let until = out.len() + room;
        while let Some(piece) = self.pieces.get(cursor.piece) {
            let done = match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text.as_bytes());
                    true
                }
                Piece::Stored(range) => cursor.progress.copy(&body[range.clone()], out, until),
                Piece::Coded(range, coding) => {
                    coding.encode(&body[range.clone()], &mut cursor.progress, out, until)
                }
                Piece::Cleaned(range, transfer) => {
                    let cleaner = self.cleaner.as_ref().expect("it has made the piece");
                    cleaner.clean(&body[range.clone()], *transfer, &mut cursor.cleaning, out, until)
                }
            };
            if !done {
                return true;
            }
            *cursor = Cursor { piece: cursor.piece + 1, ..Cursor::default() };
            if out.len() >= until {
                return true;
            }
        }
        false
    }

    fn keep(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.len += range.len() as u64;
            self.pieces.push(Piece::Stored(range));
        }
    }

    fn push(&mut self, piece: Piece, body: &[u8]) {
        self.len += match &piece {
            Piece::Stored(range) => range.len() as u64,
            Piece::Text(text) => text.len() as u64,
            Piece::Coded(range, coding) => coding.length(&body[range.clone()]),
            Piece::Cleaned(range, transfer) => {
                let cleaner = self.cleaner.as_ref().expect("it has made the piece");
                cleaner.length(&body[range.clone()], *transfer)
            }
        };
        self.pieces.push(piece);
    }

    /// The header of a part, with the encoding that it gets.
    fn declare(&mut self, leaf: &Leaf, body: &[u8], encoding: Option<&'static str>) {
        let Some(encoding) = encoding else {
            return self.keep(leaf.header.start..leaf.body.start);
        };
        if leaf.is_message {
            self.declared = Some(encoding);
            return self.keep(leaf.header.start..leaf.body.start);
        }
        let mut kept = leaf.header.start;
        let header = &body[leaf.header.clone()];
        for field in header::split(header).fields().filter(|field| field.is(mime::TRANSFER_ENCODING)) {
            let (start, end) = mime::extent(header, &field);
            self.keep(kept..leaf.header.start + start);
            kept = leaf.header.start + end;
        }
        self.keep(kept..leaf.header.end);
        self.push(Piece::Text(encoding), body);
        if leaf.header.end == leaf.body.start {
            self.push(Piece::Text("\r\n"), body);
        }
        self.keep(leaf.header.end..leaf.body.start);
    }
}

/// What a part with a line that is too long goes through, if it may be touched.
fn coding_for(leaf: &Leaf, body: &[u8]) -> Option<Coding> {
    match (leaf.transfer, leaf.media) {
        (Transfer::Other, _) | (_, Media::Sealed) => None,
        (Transfer::QuotedPrintable | Transfer::Identity, Media::Text)
            if holds_pgp(&body[leaf.body.clone()]) =>
        {
            None
        }
        (Transfer::Identity, Media::Text) => Some(Coding::QuotedPrintable),
        (Transfer::Identity, Media::Other) => Some(Coding::Base64),
        (Transfer::QuotedPrintable, _) => Some(Coding::SoftBreaks),
        (Transfer::Base64, _) => Some(Coding::LineBreaks),
    }
}

/// Whether a text holds a message or signature of OpenPGP (RFC 9580 section 6.2).
fn holds_pgp(text: &[u8]) -> bool {
    memmem::find_iter(text, b"-----BEGIN PGP ").any(|at| at == 0 || text[at - 1] == b'\n')
}

/// Where the first line begins, of those that begin at `from` or behind it, that has more than [`LINE_OCTETS`] octets.
///
/// Instead of every line end it looks for the last one within reach, so it reads little of a text with
/// short lines.
pub fn long_line(text: &[u8], from: usize) -> Option<usize> {
    let mut start = from;
    loop {
        // The longest line that is allowed, with CR LF, fits exactly.
        let reach = start + LINE_OCTETS + 2;
        let window = text.get(start..reach.min(text.len()))?;
        match memrchr(b'\n', window) {
            Some(end) if is_short(&window[..end]) => {
                steps::count(window.len() - end);
                start += end + 1;
            }
            // The last line within reach is not the first.
            Some(end) => match memrchr(b'\n', &window[..end]) {
                Some(earlier) => {
                    steps::count(window.len() - earlier);
                    start += earlier + 1;
                }
                None => return Some(start),
            },
            None if reach < text.len() || !is_short(window) => return Some(start),
            None => return None,
        }
    }
}

/// Whether a line, or several, have so few octets that none can be too long.
fn is_short(line: &[u8]) -> bool {
    line.strip_suffix(b"\r").unwrap_or(line).len() <= LINE_OCTETS
}
