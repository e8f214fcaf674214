//! Parameters of MIME fields (RFC 2045 section 5.1), and how text beyond ASCII is written in them (RFC 2231).

use std::collections::{BTreeMap, HashMap, HashSet};

use mail_parser::decoders::charsets::map::charset_decoder;

use super::{
    encoded_word::{self, text_of, without_controls},
    text::{is_white, question_marks, trim},
};
use crate::steps;

/// Longest line that a parameter is written on, in octets.
const LINE_OCTETS: usize = 76;
/// Longest name of a parameter that is written in pieces: each piece repeats it, so that a long one would
/// multiply what came.
const NAME_OCTETS: usize = 20;
/// Pieces that a value is put together from at most (RFC 2231 section 3).
const PIECES: usize = 100;

/// The media type in lower case, such as `text/plain`; empty if there is none.
pub(super) fn media_type(content_type: &[u8]) -> String {
    let first = Parts::of(content_type).next().unwrap_or_default();
    String::from_utf8_lossy(trim(first)).to_ascii_lowercase()
}

/// The value of a parameter, without quotes.
pub(super) fn value(field: &[u8], name: &str) -> Option<String> {
    let parts = Parts::of(field).skip(1);
    let found = parts.filter_map(named).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| String::from_utf8_lossy(&unquoted(value)).into_owned())
}

/// A parameter as it is written, name and all; in several pieces, each of them.
pub(super) fn written<'a>(field: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let is_it = move |part: &&[u8]| {
        named(part).is_some_and(|(found, _)| {
            let piece = found.iter().position(|&byte| byte == b'*').unwrap_or(found.len());
            found[..piece].eq_ignore_ascii_case(name.as_bytes())
        })
    };
    Parts::of(field).skip(1).filter(is_it).map(trim)
}

/// All parameters of a field whose names are ASCII, with their names in lower case and their values as a reader shows
/// them: put together from pieces, in a charset (RFC 2231), or, as most mail programs write it all the same, in
/// encoded-words.
pub(super) fn decoded(field: &[u8]) -> Vec<(String, String)> {
    let mut found: Vec<(String, Value)> = Vec::new();
    let mut places = HashMap::new();
    let is_name = |name: &[u8]| name.is_ascii() && !name.starts_with(b"*");
    for (name, value) in Parts::of(field).skip(1).filter_map(named).filter(|(name, _)| is_name(name)) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let (name, piece) = name.split_at(name.find('*').unwrap_or(name.len()));
        let place = *places.entry(name.to_owned()).or_insert(found.len());
        if place == found.len() {
            found.push((name.to_owned(), Value::default()));
        }
        found[place].1.add(piece, unquoted(value));
    }
    found.into_iter().filter_map(|(name, value)| Some((name, value.text()?))).collect()
}

/// A parameter's value, in each form that the field has of it.
#[derive(Default)]
struct Value {
    plain: Option<Vec<u8>>,
    /// In a charset, in one piece.
    encoded: Option<Piece>,
    pieces: BTreeMap<usize, Piece>,
}

/// A piece of a value.
struct Piece {
    is_encoded: bool,
    value: Vec<u8>,
}

impl Value {
    /// Adds what stands behind a name with such an end: none, `*`, or `*0` and `*0*`.
    fn add(&mut self, end: &str, value: Vec<u8>) {
        let is_encoded = end.ends_with('*');
        let number = end.trim_matches('*');
        match number.parse() {
            _ if end.is_empty() => _ = self.plain.get_or_insert(value),
            _ if end == "*" => _ = self.encoded.get_or_insert(Piece { is_encoded, value }),
            Ok(number) if number < PIECES => {
                self.pieces.entry(number).or_insert(Piece { is_encoded, value });
            }
            _ => {}
        }
    }

    fn text(self) -> Option<String> {
        let text = match (self.encoded, self.pieces) {
            (Some(piece), _) => joined([piece]),
            (None, pieces) if pieces.contains_key(&0) => {
                let follows = |(at, (number, piece))| (at == number).then_some(piece);
                joined(pieces.into_iter().enumerate().map_while(follows))
            }
            _ => encoded_word::decode(&self.plain?),
        };
        Some(without_controls(&text))
    }
}

/// A value from its pieces, of which the first names the charset.
fn joined(pieces: impl IntoIterator<Item = Piece>) -> String {
    let mut bytes = Vec::new();
    let mut charset = None;
    for (index, Piece { is_encoded, value }) in pieces.into_iter().enumerate() {
        if !is_encoded {
            bytes.extend(value);
            continue;
        }
        let mut value = &value[..];
        if index == 0 {
            let mut parts = value.splitn(3, |&byte| byte == b'\'');
            if let (Some(name), Some(_language), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                (charset, value) = (Some(name.to_vec()), rest);
            }
        }
        bytes.extend(percent_decoded(value));
    }
    match charset.as_deref().and_then(charset_decoder) {
        Some(decoder) => decoder(&bytes),
        None => text_of(&bytes),
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let octet = behind.get(..2).filter(|_| *first == b'%');
        let octet = octet.and_then(|digits| std::str::from_utf8(digits).ok());
        match octet.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) => {
                bytes.push(octet);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// Appends a parameter on a line of its own, in the form that its value needs.
pub(super) fn append(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b";\r\n ");
    if !value.is_ascii() && name.len() <= NAME_OCTETS {
        return append_extended(out, name.as_bytes(), value);
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in question_marks(value.as_bytes()) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// The field with each value that is not ASCII percent-encoded in UTF-8 (RFC 2231 section 4), in pieces where
/// it is long (section 3). Where the field has such a form of a parameter already or a name that is too long for it, and wherever else something
/// is not ASCII, `?` stands instead.
pub(super) fn ascii(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len() * 2);
    let extended: HashSet<Vec<u8>> = Parts::of(field)
        .filter_map(named)
        .filter_map(|(name, _)| {
            Some(name[..name.iter().position(|&byte| byte == b'*')?].to_ascii_lowercase())
        })
        .collect();
    for (index, part) in Parts::of(field).enumerate() {
        if index > 0 {
            out.push(b';');
        }
        match named(part).filter(|(name, _)| index > 0 && name.is_ascii() && name.len() <= NAME_OCTETS) {
            Some((name, value)) if !part.is_ascii() && !extended.contains(&name.to_ascii_lowercase()) => {
                let space = part.iter().take_while(|&&byte| is_white(byte)).count();
                out.extend_from_slice(if space > 0 { &part[..space] } else { b" " });
                append_extended(&mut out, name, &String::from_utf8_lossy(&unquoted(value)));
            }
            _ => out.extend(question_marks(part)),
        }
    }
    out
}

/// Appends `name*=utf-8''…`, or `name*0*=utf-8''…; name*1*=…` on lines of their own.
fn append_extended(out: &mut Vec<u8>, name: &[u8], value: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let octets = |char: char| if is_plain(char) { 1 } else { 3 * char.len_utf8() };
    let length: usize = value.chars().map(octets).sum();
    let in_pieces = name.len() + length + 12 > LINE_OCTETS;
    let mut left = 0;
    let mut piece = 0;
    for (index, char) in value.chars().enumerate() {
        if index == 0 || (in_pieces && octets(char) > left) {
            if index > 0 {
                out.extend_from_slice(b";\r\n ");
            }
            let before = out.len();
            out.extend_from_slice(name);
            if in_pieces {
                out.extend_from_slice(format!("*{piece}").as_bytes());
            }
            out.extend_from_slice(if piece == 0 { b"*=utf-8''" } else { b"*=" });
            piece += 1;
            // At least one character, with the longest name too.
            left = LINE_OCTETS.saturating_sub(out.len() - before + 3).max(12);
        }
        left = left.saturating_sub(octets(char));
        if is_plain(char) {
            out.extend(char.to_string().bytes());
            continue;
        }
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// `attribute-char` (RFC 2231 section 7).
fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$&+-.^_`{|}~".contains(char)
}

/// A parameter's name and its value as written.
fn named(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = part.iter().position(|&byte| byte == b'=')?;
    let name = trim(&part[..equals]);
    let is_name = !name.is_empty() && name.iter().all(|&byte| byte > b' ' && byte != b'"');
    is_name.then_some((name, trim(&part[equals + 1..])))
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    };
    let mut content = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'"' => break,
            b'\\' => content.extend(rest.find(|byte| !matches!(byte, b'\r' | b'\n'))),
            b'\r' | b'\n' => {}
            byte => content.push(byte),
        }
    }
    content
}

/// What stands between semicolons that no quotes hold. A quote without an end holds nothing.
struct Parts<'a> {
    text: &'a [u8],
    /// Where the next part begins.
    at: Option<usize>,
    quotes_end: bool,
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Parts<'a> {
        Parts { text, at: Some(0), quotes_end: true }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.at.take()?;
        let mut at = start;
        let mut quoted = false;
        let mut semicolon = None;
        while let Some(&byte) = self.text.get(at) {
            match byte {
                b'\\' if quoted => at += 1,
                b'"' if self.quotes_end => (quoted, semicolon) = (!quoted, None),
                b';' if !quoted => break,
                b';' => _ = semicolon.get_or_insert(at),
                _ => {}
            }
            at += 1;
        }
        steps::count(at - start);
        self.quotes_end &= !quoted;
        let at = if quoted { semicolon.unwrap_or(self.text.len()) } else { at.min(self.text.len()) };
        self.at = (at < self.text.len()).then_some(at + 1);
        Some(&self.text[start..at])
    }
}
