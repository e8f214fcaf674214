//! Lists of mailboxes as headers hold them (RFC 5322 sections 3.4 and 4.4): where each mailbox
//! begins and ends, its display name and its address.
//!
//! mail-parser reads addresses too, but does not say where they stand, and one mailbox of a To field
//! must be replaced while every other byte stays. This reader accepts whatever mail holds: display
//! names with dots, mailboxes without brackets behind a name, white space around `@`, brackets,
//! quotes and comments without an end (which are then ordinary characters). It does not recurse and
//! its time is linear: what has no end is looked for once.

use std::ops::Range;

use super::{
    encoded_word::{self, EncodedWord, text_of},
    text::{is_white, trim, unfold},
};
use crate::address::domain_to_ascii;

/// One element of a list: what stands between two commas, semicolons or group colons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Without white space around it.
    pub(super) span: Range<usize>,
    /// Display name as written: what stands before the address; all of a group's name.
    pub(super) phrase: Range<usize>,
    /// Address as written, without brackets.
    pub(super) address: Option<Range<usize>>,
    /// The content of a comment, which some mailers use for a display name.
    pub(super) comment: Option<Range<usize>>,
}

/// An address of a header: local part without quotes, domain in its ASCII form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderAddress {
    pub(super) local: String,
    pub(super) domain: String,
}

/// Walks the elements of a list, in clean text.
pub(super) struct Elements<'a> {
    cursor: Cursor<'a>,
    at: usize,
}

impl<'a> Elements<'a> {
    pub(super) fn of(text: &'a [u8]) -> Elements<'a> {
        Elements { cursor: Cursor::over(text), at: 0 }
    }
}

impl Iterator for Elements<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        let text = self.cursor.text;
        let separates = |byte: u8| is_white(byte) || matches!(byte, b',' | b';');
        let start = self.at + text[self.at..].iter().position(|&byte| !separates(byte))?;
        let mut at = start;
        let mut word: Option<Word> = None;
        let mut before: Option<Word> = None;
        let mut bare: Option<Range<usize>> = None;
        let mut angle: Option<(usize, Range<usize>)> = None;
        let mut comment = None;
        while at < text.len() {
            let (token, end) = self.cursor.token(at);
            match token {
                Token::Separator => break,
                // A colon ends a group's name, unless it is part of an address.
                Token::Colon
                    if angle.is_none()
                        && bare.is_none()
                        && !word.as_ref().is_some_and(|word| word.has_at) =>
                {
                    break;
                }
                Token::White | Token::Comment => {
                    if token == Token::Comment {
                        comment.get_or_insert(at + 1..end - 1);
                    }
                    if let Some(ended) = word.take() {
                        finish_word(text, ended, &mut before, &mut bare);
                    }
                }
                Token::Angle { ref address } => {
                    if let Some(ended) = word.take() {
                        before = Some(ended);
                    }
                    angle.get_or_insert((at, address.clone()));
                }
                Token::At | Token::Word | Token::Colon => {
                    let word = word.get_or_insert(Word { span: at..end, has_at: false });
                    word.span.end = end;
                    word.has_at |= token == Token::At;
                }
            }
            at = end;
        }
        if let Some(ended) = word.take() {
            finish_word(text, ended, &mut before, &mut bare);
        }
        // The separator itself, so that the next element starts behind a group's colon.
        self.at = (at + 1).min(text.len());
        let (name_end, address) = match (angle, bare) {
            (Some((open, address)), _) => (open, Some(address)),
            (None, Some(bare)) => (bare.start, Some(bare)),
            (None, None) => (at, None),
        };
        Some(Element {
            span: trimmed(text, start..at),
            phrase: trimmed(text, start..name_end),
            address,
            comment,
        })
    }
}

/// A run of characters without white space.
struct Word {
    span: Range<usize>,
    has_at: bool,
}

/// A word that holds an `@` is the address; where the `@` is first or last in it, so is the word
/// before or behind (white space around `@`: RFC 5322 section 4.4).
fn finish_word(text: &[u8], word: Word, before: &mut Option<Word>, address: &mut Option<Range<usize>>) {
    match address {
        Some(address) if text[address.end - 1] == b'@' => address.end = word.span.end,
        None if word.has_at => {
            let starts = before
                .as_ref()
                .filter(|_| text[word.span.start] == b'@')
                .map_or(word.span.start, |before| before.span.start);
            *address = Some(starts..word.span.end);
        }
        _ => {}
    }
    *before = Some(word);
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let start = range.start + text[range.clone()].iter().take_while(|&&byte| is_white(byte)).count();
    let end = start + trim(&text[start..range.end]).len();
    start..end
}

/// What stands at a place of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    White,
    /// With its parentheses.
    Comment,
    /// A comma or semicolon.
    Separator,
    Colon,
    At,
    /// `<…>`, or `<…` up to a separator.
    Angle {
        address: Range<usize>,
    },
    /// A quoted string, an encoded-word or ordinary characters.
    Word,
}

/// Reads tokens, and remembers which brackets have no end.
struct Cursor<'a> {
    text: &'a [u8],
    quotes_end: bool,
    comments_end: bool,
}

impl<'a> Cursor<'a> {
    fn over(text: &'a [u8]) -> Cursor<'a> {
        Cursor { text, quotes_end: true, comments_end: true }
    }

    /// The token at a place, and where it ends.
    fn token(&mut self, at: usize) -> (Token, usize) {
        let word = |end| (Token::Word, end);
        match self.text[at] {
            byte if is_white(byte) => (Token::White, at + 1),
            b',' | b';' => (Token::Separator, at + 1),
            b':' => (Token::Colon, at + 1),
            b'@' => (Token::At, at + 1),
            b'"' => word(self.quoted(at).unwrap_or(at + 1)),
            // A line end can't be quoted: an element must not end inside it.
            b'\\' if self.text.get(at + 1).is_some_and(|&next| !is_white(next)) => word(at + 2),
            b'(' => self.comment(at).map_or(word(at + 1), |end| (Token::Comment, end)),
            b'<' => self.angle(at),
            b'=' => word(EncodedWord::at(&self.text[at..]).map_or(at + 1, |word| at + word.length)),
            _ => word(at + 1),
        }
    }

    /// The end of a quoted string that begins here.
    fn quoted(&mut self, at: usize) -> Option<usize> {
        if !self.quotes_end {
            return None;
        }
        let mut end = at + 1;
        while let Some(&byte) = self.text.get(end) {
            match byte {
                b'"' => return Some(end + 1),
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.quotes_end = false;
        None
    }

    /// The end of a comment that begins here; comments nest (RFC 5322 section 3.2.2).
    fn comment(&mut self, at: usize) -> Option<usize> {
        if !self.comments_end {
            return None;
        }
        let mut depth = 0_usize;
        let mut end = at;
        while let Some(&byte) = self.text.get(end) {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 1 => return Some(end + 1),
                b')' => depth -= 1,
                b'\\' => end += 1,
                _ => {}
            }
            end += 1;
        }
        self.comments_end = false;
        None
    }

    /// `<…>`. If another `<` comes first, or nothing, the address ends with the element.
    fn angle(&mut self, at: usize) -> (Token, usize) {
        let opened = at + self.text[at..].iter().take_while(|&&byte| byte == b'<').count();
        let mut end = opened;
        while let Some(&byte) = self.text.get(end) {
            match byte {
                b'>' => return (Token::Angle { address: opened..end }, end + 1),
                b'<' => break,
                b'"' => end = self.quoted(end).unwrap_or(end + 1),
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let ends = |byte: &u8| matches!(byte, b',' | b';' | b'<');
        let end = self.text[opened..].iter().position(ends).map_or(self.text.len(), |length| opened + length);
        (Token::Angle { address: opened..end }, end)
    }
}

/// The display name: quotes, comments and encoded-words undone. Empty if there is none.
pub(super) fn display_name(text: &[u8], element: &Element) -> String {
    let name = encoded_word::decode(&unquoted_phrase(&unfold(&text[element.phrase.clone()])));
    match (name.trim(), &element.comment) {
        ("", Some(comment)) => encoded_word::decode(&unfold(&text[comment.clone()])).trim().to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// A phrase without quotes and comments, on one line, one space between words.
fn unquoted_phrase(phrase: &[u8]) -> Vec<u8> {
    let mut cursor = Cursor::over(phrase);
    let mut out = Vec::with_capacity(phrase.len());
    let mut at = 0;
    while at < phrase.len() {
        let (token, end) = match phrase[at] {
            b'<' => (Token::Word, at + 1),
            _ => cursor.token(at),
        };
        match token {
            Token::White | Token::Comment => {
                if !out.is_empty() && out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            Token::Word if phrase[at] == b'"' => {
                push_unquoted(&mut out, &phrase[at..end]);
            }
            _ => out.extend_from_slice(&phrase[at..end]),
        }
        at = end;
    }
    out
}

/// Appends the content of a quoted string; a quote without an end has none.
fn push_unquoted(out: &mut Vec<u8>, quoted: &[u8]) {
    let content = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or_default();
    let mut rest = content.iter();
    while let Some(&byte) = rest.next() {
        out.push(if byte == b'\\' { rest.next().copied().unwrap_or(byte) } else { byte });
    }
}

impl HeaderAddress {
    /// Reads an address as written between brackets or without them: routes (RFC 5322 section 4.4),
    /// comments and white space go. `None` if it is none: no local part, no domain, or a domain that
    /// no mail system could use.
    pub(super) fn read(written: &[u8]) -> Option<HeaderAddress> {
        let mut written = trim(written);
        if written.starts_with(b"@") {
            written = &written[written.iter().position(|&byte| byte == b':')? + 1..];
        }
        let mut cursor = Cursor::over(written);
        let mut plain = Vec::with_capacity(written.len());
        let mut split = None;
        let mut at = 0;
        while at < written.len() {
            let (token, end) = match written[at] {
                b'<' | b'=' => (Token::Word, at + 1),
                _ => cursor.token(at),
            };
            match token {
                Token::White | Token::Comment => {}
                Token::Word if written[at] == b'"' => {
                    push_unquoted(&mut plain, &written[at..end]);
                }
                _ => {
                    if token == Token::At {
                        split = Some(plain.len());
                    }
                    plain.extend_from_slice(&written[at..end]);
                }
            }
            at = end;
        }
        let (local, domain) = plain.split_at(split?);
        let domain = ascii_domain(&text_of(&domain[1..]))?;
        let local = text_of(local);
        (!local.is_empty()).then_some(HeaderAddress { local, domain })
    }
}

/// The domain in its ASCII form, in the case it was written in if it is so already.
fn ascii_domain(domain: &str) -> Option<String> {
    let domain = domain.trim_end_matches('.');
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_literal = || {
        let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.is_some_and(|inner| {
            !inner.is_empty()
                && inner
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-'))
        })
    };
    if domain.split('.').all(is_label) || is_literal() {
        return Some(domain.to_owned());
    }
    if domain.is_ascii() { None } else { domain_to_ascii(domain).ok() }
}
