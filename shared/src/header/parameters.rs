//! Parameters of MIME fields (RFC 2045 section 5.1), and how text beyond ASCII is written in them (RFC 2231).

use std::collections::HashSet;

use super::text::{is_white, question_marks, trim};
use crate::steps;

/// Longest line that a parameter is written on, in octets.
const LINE_OCTETS: usize = 76;
/// Longest name of a parameter that is written in pieces: each piece repeats it, so that a long one would
/// multiply what came.
const NAME_OCTETS: usize = 20;

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

/// A parameter as it stands in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// In lower case.
    pub(super) name: String,
    /// Without quotes.
    pub(super) value: Vec<u8>,
}

/// All parameters of a field whose names are ASCII.
pub(super) fn all(field: &[u8]) -> impl Iterator<Item = Parameter> {
    let named = Parts::of(field).skip(1).filter_map(named).filter(|(name, _)| name.is_ascii());
    named.map(|(name, value)| Parameter {
        name: String::from_utf8_lossy(name).to_ascii_lowercase(),
        value: unquoted(value),
    })
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
            b'\\' => content.extend(rest.next()),
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
