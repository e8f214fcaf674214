//! Encoded-words (RFC 2047): text beyond ASCII in a header. Charsets and base64 are mail-parser's;
//! finding encoded-words is not, as it decodes each alone (and so breaks characters that careless
//! mailers split between two of them).
//!
//! Not supported: language tags (RFC 2231 section 5) are read and forgotten.

use mail_parser::decoders::{
    base64::base64_decode,
    charsets::{DecoderFnc, map::charset_decoder},
};
use memchr::{memchr, memmem};

use super::folding::{column_of, fold_here};
use crate::steps;

/// Longest encoded-word (RFC 2047 section 2).
const WORD_OCTETS: usize = 75;
/// Longest line that holds one (the same section).
const LINE_OCTETS: usize = 76;
/// `=?utf-8?q?` and `?=`.
const FRAME_OCTETS: usize = 12;
/// Room below which an encoded-word rather starts on a new line: it holds any one character.
const LEAST_OCTETS: usize = FRAME_OCTETS + 12;

/// Text of bytes in an unstated charset. Controls are spaces.
pub(super) fn text_of(bytes: &[u8]) -> String {
    without_controls(&utf8_or_windows_1252(bytes))
}

/// Text of bytes in an unstated charset: UTF-8, and what is not UTF-8 as windows-1252.
pub(crate) fn utf8_or_windows_1252(bytes: &[u8]) -> String {
    match charset_decoder(b"windows-1252") {
        Some(windows_1252) => utf8_or(windows_1252, bytes),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Text in UTF-8, and what is not UTF-8 as a decoder reads it.
pub(super) fn utf8_or(decoder: DecoderFnc, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(&decoder(chunk.invalid()));
    }
    text
}

/// Text with spaces for control characters.
pub(crate) fn without_controls(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// An encoded-word as it stands in a text.
pub(super) struct EncodedWord<'a> {
    charset: &'a [u8],
    base64: bool,
    payload: &'a [u8],
    /// Its length, frame included.
    pub(super) length: usize,
}

impl<'a> EncodedWord<'a> {
    /// The encoded-word that `text` begins with. White space in the payload is tolerated, as many
    /// mailers leave it there, and so is folding: who reads a field may unfold it first.
    ///
    /// Never looks behind the fourth `?`, so trying at every `=?` of a text takes linear time.
    pub(super) fn at(text: &'a [u8]) -> Option<EncodedWord<'a>> {
        let rest = text.strip_prefix(b"=?")?;
        let (charset, rest) = rest.split_at_checked(question_mark(rest)?)?;
        let (base64, rest) = match rest {
            [b'?', b'b' | b'B', b'?', rest @ ..] => (true, rest),
            [b'?', b'q' | b'Q', b'?', rest @ ..] => (false, rest),
            _ => return None,
        };
        let (payload, end) = rest.split_at_checked(question_mark(rest)?)?;
        let is_charset = !charset.is_empty() && charset.iter().all(u8::is_ascii_graphic);
        if !end.starts_with(b"?=") || !is_charset {
            return None;
        }
        let charset = charset.split(|&byte| byte == b'*').next().unwrap_or_default();
        Some(EncodedWord { charset, base64, payload, length: text.len() - end.len() + 2 })
    }

    fn decode_to(&self, bytes: &mut Vec<u8>) {
        steps::count(self.payload.len());
        if self.base64 {
            // A payload that is no base64 says nothing that could be shown.
            bytes.extend(base64_decode(self.payload).unwrap_or_default());
            return;
        }
        let mut rest = self.payload;
        while let [first, behind @ ..] = rest {
            rest = behind;
            match (first, behind) {
                (b'_', _) => bytes.push(b' '),
                (b'=', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    bytes.push(hex_value(*high) << 4 | hex_value(*low));
                    rest = behind;
                }
                (&byte, _) => bytes.push(byte),
            }
        }
    }
}

fn question_mark(text: &[u8]) -> Option<usize> {
    let found = memchr(b'?', text);
    steps::count(found.unwrap_or(text.len()));
    found
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Text with its encoded-words decoded, on one line.
///
/// They are found inside words and quotes too, where RFC 2047 section 5 (3) forbids them: readers
/// decode them there, and what a reader would show is what has to be made safe.
pub(super) fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut run = Run::default();
    let mut rest = bytes;
    while let Some(start) = memmem::find(rest, b"=?") {
        steps::count(start);
        let Some(word) = EncodedWord::at(&rest[start..]) else {
            run.end(&mut text);
            text.push_str(&text_of(&rest[..start + 2]));
            rest = &rest[start + 2..];
            continue;
        };
        let between = &rest[..start];
        // White space between two encoded-words is no text (RFC 2047 section 6.2).
        if run.charset.is_none() || !between.iter().all(u8::is_ascii_whitespace) {
            run.end(&mut text);
            text.push_str(&text_of(between));
        }
        run.add(&word, &mut text);
        rest = &rest[start + word.length..];
    }
    run.end(&mut text);
    text.push_str(&text_of(rest));
    text
}

/// Neighbouring encoded-words of one charset, whose bytes are decoded together.
#[derive(Default)]
struct Run<'a> {
    charset: Option<&'a [u8]>,
    bytes: Vec<u8>,
}

impl<'a> Run<'a> {
    fn add(&mut self, word: &EncodedWord<'a>, text: &mut String) {
        if self.charset.is_some_and(|charset| !charset.eq_ignore_ascii_case(word.charset)) {
            self.end(text);
        }
        self.charset = Some(word.charset);
        word.decode_to(&mut self.bytes);
    }

    fn end(&mut self, text: &mut String) {
        let Some(charset) = self.charset.take() else {
            return;
        };
        match charset_decoder(charset) {
            Some(decoder) if !charset.eq_ignore_ascii_case(b"utf-8") => {
                text.push_str(&without_controls(&decoder(&self.bytes)));
            }
            _ => text.push_str(&text_of(&self.bytes)),
        }
        self.bytes.clear();
    }
}

/// Appends text as encoded-words in UTF-8, folded so that no line that holds one exceeds 76 octets.
/// `column` is where `out` begins on its first line.
pub(super) fn encode(out: &mut Vec<u8>, column: usize, text: &str) {
    let quoted: usize = text.bytes().map(quoted_octets).sum();
    // The shorter; of two as long, Q, which can be read by eye.
    let base64 = text.len().div_ceil(3) * 4 < quoted;
    let mut rest = text;
    while !rest.is_empty() {
        if LINE_OCTETS < column_of(out, column) + LEAST_OCTETS {
            fold_here(out);
        }
        let room = (LINE_OCTETS - column_of(out, column)).min(WORD_OCTETS) - FRAME_OCTETS;
        let taken = if base64 { take(rest, room / 4 * 3, |_| 1) } else { take(rest, room, quoted_octets) };
        let (word, behind) = rest.split_at(taken);
        if base64 {
            out.extend_from_slice(b"=?utf-8?b?");
            append_base64(out, word.as_bytes());
        } else {
            out.extend_from_slice(b"=?utf-8?q?");
            append_quoted(out, word.as_bytes());
        }
        out.extend_from_slice(b"?=");
        rest = behind;
        if !rest.is_empty() {
            fold_here(out);
        }
    }
}

/// Length of the longest start of `text` whose octets cost at most `room` and that splits no character.
fn take(text: &str, room: usize, cost: impl Fn(u8) -> usize) -> usize {
    let mut spent = 0;
    let over = text.char_indices().find(|(at, char)| {
        spent += text.as_bytes()[*at..*at + char.len_utf8()].iter().map(|&byte| cost(byte)).sum::<usize>();
        spent > room
    });
    over.map_or(text.len(), |(at, _)| at)
}

/// What an octet needs in the Q encoding, in the alphabet that is safe in a phrase (RFC 2047 section 5 (3)).
fn quoted_octets(byte: u8) -> usize {
    if byte == b' ' || byte.is_ascii_alphanumeric() || b"!*+-/".contains(&byte) { 1 } else { 3 }
}

fn append_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b' ' => out.push(b'_'),
            _ if quoted_octets(byte) == 1 => out.push(byte),
            _ => out.extend([b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
        }
    }
}

fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for triple in bytes.chunks(3) {
        let bits =
            triple.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte)) << (8 * (3 - triple.len()));
        for digit in 0..4 {
            out.push(if digit > triple.len() { b'=' } else { DIGITS[bits >> (18 - 6 * digit) & 63] });
        }
    }
}
