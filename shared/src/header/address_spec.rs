//! One address as headers hold it (`addr-spec`, RFC 5322 sections 3.4.1 and 4.4).

use std::ops::Range;

use super::token::{Cursor, Token, push_unquoted};
use crate::address::{LocalPart, domain_to_ascii, is_dot_atom};

/// Longest mailbox in octets, display name included: SES refuses those over 320.
pub(super) const MAILBOX_OCTETS: usize = 319;
/// Longest label in characters of which an A-label could come: one of 63 octets, twice as long where
/// accents are characters of their own.
const LABEL_CHARACTERS: usize = 126;

/// An address of a header: local part without quotes, domain in its ASCII form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HeaderAddress {
    pub(super) local: String,
    pub(super) domain: String,
}

/// An address and how it is written.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) address: HeaderAddress,
    /// Without route, white space and comments around it.
    pub(super) written: Range<usize>,
    /// Whether SES can read it as it stands.
    pub(super) strict: bool,
}

/// What was read last.
#[derive(PartialEq, Eq)]
enum Last {
    Nothing,
    Word,
    Dot,
    At,
    Literal,
}

/// Reads an address as written between brackets or without them. Routes and `mailto:`, comments, and white
/// space beside dots and `@` go. `None` if it is none: no local part, no domain, white space between two words,
/// an encoded-word, or a domain that no mail system could use.
pub(super) fn read(cursor: &mut Cursor<'_>, range: Range<usize>) -> Option<Spec> {
    let text = cursor.text;
    let (mut local, mut domain) = (Vec::with_capacity(32), Vec::with_capacity(32));
    let mut last = Last::Nothing;
    let (mut in_domain, mut in_route, mut quoted, mut is_uri) = (false, false, false, false);
    let (mut strict, mut gap) = (true, false);
    let mut written = range.start..range.start;
    let mut at = range.start;
    while at < range.end {
        let (token, end) = cursor.token(at);
        let start = std::mem::replace(&mut at, end);
        if in_route {
            in_route = token != Token::Colon;
            continue;
        }
        if matches!(token, Token::White | Token::Comment) {
            gap = last != Last::Nothing;
            continue;
        }
        strict &= !gap;
        gap = false;
        if last == Last::Nothing {
            written.start = start;
        }
        let is_local = !local.is_empty() || quoted;
        let is_mailto = local.eq_ignore_ascii_case(b"mailto");
        let part = if in_domain { &mut domain } else { &mut local };
        last = match token {
            Token::Atom | Token::HalfEncoded if !matches!(last, Last::Word | Last::Literal) => {
                strict &= token == Token::Atom;
                part.extend_from_slice(&text[start..end]);
                Last::Word
            }
            Token::Quoted if !in_domain && last != Last::Word => {
                quoted = true;
                strict &= last == Last::Nothing;
                push_unquoted(part, &text[start..end]);
                Last::Word
            }
            Token::Dot if last != Last::Literal => {
                strict &= !quoted || in_domain;
                part.push(b'.');
                Last::Dot
            }
            Token::At if last == Last::Nothing => {
                (in_route, strict) = (true, false);
                Last::Nothing
            }
            Token::At if !in_domain && is_local => {
                in_domain = true;
                Last::At
            }
            Token::Colon if !in_domain && is_mailto => {
                part.clear();
                (strict, is_uri) = (false, true);
                Last::Nothing
            }
            Token::Literal if last == Last::At => {
                part.extend_from_slice(&text[start..end]);
                Last::Literal
            }
            _ => return None,
        };
        written.end = end;
    }
    if !in_domain || in_route {
        return None;
    }
    if is_uri {
        // What a mail program should fill in besides (RFC 6068 section 2).
        domain.truncate(domain.iter().position(|&byte| byte == b'?').unwrap_or(domain.len()));
    }
    if quoted {
        // Folding white space (RFC 5322 section 3.2.4) on one line.
        local.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        local.iter_mut().filter(|byte| **byte == b'\t').for_each(|byte| *byte = b' ');
    }
    let local = String::from_utf8(local).ok()?;
    let (domain, as_written) = ascii_domain(String::from_utf8(domain).ok()?)?;
    let is_encoded = local.find("=?").is_some_and(|start| local[start + 2..].contains("?="));
    if local.is_empty() || is_encoded {
        return None;
    }
    let address = HeaderAddress { local, domain };
    strict &= as_written && (quoted || is_dot_atom(&address.local)) && address.is_sendable();
    Some(Spec { address, written, strict })
}

impl HeaderAddress {
    /// Reads an address that stands alone, such as an envelope sender.
    pub(super) fn read(text: &str) -> Option<HeaderAddress> {
        read(&mut Cursor::over(text.as_bytes()), 0..text.len()).map(|spec| spec.address)
    }

    /// Whether the local part needs no quotes. One that could be half an encoded-word gets them.
    fn is_plain(&self) -> bool {
        is_dot_atom(&self.local) && !self.local.split('.').any(|atom| atom.starts_with("=?"))
    }

    /// Whether SES takes it in a header: its local part has a form in ASCII, its domain is made of letters,
    /// digits and hyphens.
    pub(super) fn is_sendable(&self) -> bool {
        self.local.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && !self.domain.contains('_')
            && self.local.len() + self.domain.len() < MAILBOX_OCTETS
            && (self.is_plain() || self.to_string().len() <= MAILBOX_OCTETS)
    }
}

/// The same for all spellings of an address that no mail system tells apart.
pub(super) fn key(local: &str, domain: &str) -> String {
    let mut key = [local, domain].join("@");
    key.make_ascii_lowercase();
    key
}

/// The wire form.
impl std::fmt::Display for HeaderAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if is_dot_atom(&self.local) && !self.is_plain() {
            return write!(f, "\"{}\"@{}", self.local, self.domain);
        }
        write!(f, "{}@{}", LocalPart(&self.local), self.domain)
    }
}

/// The domain in its ASCII form, in the case it was written in if it is so already; and whether it is as it
/// was written.
fn ascii_domain(mut written: String) -> Option<(String, bool)> {
    let domain = written.trim_end_matches('.');
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
        let (length, as_written) = (domain.len(), domain.len() == written.len());
        written.truncate(length);
        return Some((written, as_written));
    }
    // Punycode takes time quadratic in the length of a label.
    let is_dot = |char| matches!(char, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}');
    if domain.is_ascii() || domain.split(is_dot).any(|label| label.chars().nth(LABEL_CHARACTERS).is_some()) {
        return None;
    }
    domain_to_ascii(domain).ok().map(|domain| (domain, false))
}
