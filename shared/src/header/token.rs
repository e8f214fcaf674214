//! The tokens of a structured field (RFC 5322 section 3.2), in clean text.
//!
//! Total: whatever has no end (a quote, a comment, a bracket) is an ordinary character, as it is to those
//! who read mail. Linear: what has no end is looked for once, and a token never looks further than the next
//! place where one like it could begin.

use super::{encoded_word::EncodedWord, text::is_white};
use crate::{address::is_atext, steps};

/// What stands at a place of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A run of white space, folding included.
    White,
    /// With its parentheses.
    Comment,
    /// With its quotes.
    Quoted,
    /// An encoded-word (RFC 2047), whatever stands in it: readers decode it.
    Encoded,
    /// A run of `atext` and of characters beyond ASCII.
    Atom,
    /// An atom that begins as an encoded-word does, and is none: with what stands behind it, it could be one, if
    /// anything between them were left out.
    HalfEncoded,
    Dot,
    At,
    /// `<`
    Open,
    /// `>`
    Close,
    Comma,
    Semicolon,
    Colon,
    /// A domain literal with its brackets.
    Literal,
    /// One character that means nothing here, or two that `\` joins.
    Other,
}

/// Reads tokens, and remembers from where on which brackets have no end.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    no_quote_ends: usize,
    no_comment_ends: usize,
    no_literal_ends: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn over(text: &'a [u8]) -> Cursor<'a> {
        Cursor { text, no_quote_ends: usize::MAX, no_comment_ends: usize::MAX, no_literal_ends: usize::MAX }
    }

    /// The token at a place, and where it ends.
    pub(super) fn token(&mut self, at: usize) -> (Token, usize) {
        let (token, end) = self.read(at);
        steps::count(end - at);
        (token, end)
    }

    fn read(&mut self, at: usize) -> (Token, usize) {
        let run = |belongs: fn(u8) -> bool| {
            let rest = &self.text[at..];
            at + rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len())
        };
        let bracketed = |token, end: Option<usize>| end.map_or((Token::Other, at + 1), |end| (token, end));
        match self.text[at] {
            b'=' if self.text.get(at + 1) == Some(&b'?') => match EncodedWord::at(&self.text[at..]) {
                Some(word) => (Token::Encoded, at + word.length),
                None => (Token::HalfEncoded, run(is_in_atom)),
            },
            byte if is_in_atom(byte) => (Token::Atom, run(is_in_atom)),
            byte if is_white(byte) => (Token::White, run(is_white)),
            b'.' => (Token::Dot, at + 1),
            b'@' => (Token::At, at + 1),
            b'<' => (Token::Open, at + 1),
            b'>' => (Token::Close, at + 1),
            b',' => (Token::Comma, at + 1),
            b';' => (Token::Semicolon, at + 1),
            b':' => (Token::Colon, at + 1),
            b'"' => bracketed(Token::Quoted, self.quoted_end(at)),
            b'(' => bracketed(Token::Comment, self.comment_end(at)),
            b'[' => bracketed(Token::Literal, self.literal_end(at)),
            // White space can't be quoted: a line may end there.
            b'\\' if self.text.get(at + 1).is_some_and(|&next| !is_white(next)) => (Token::Other, at + 2),
            _ => (Token::Other, at + 1),
        }
    }

    fn quoted_end(&mut self, at: usize) -> Option<usize> {
        if at >= self.no_quote_ends {
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
        steps::count(self.text.len() - at);
        self.no_quote_ends = at;
        None
    }

    /// Comments nest (RFC 5322 section 3.2.2).
    fn comment_end(&mut self, at: usize) -> Option<usize> {
        if at >= self.no_comment_ends {
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
        steps::count(self.text.len() - at);
        self.no_comment_ends = at;
        None
    }

    fn literal_end(&mut self, at: usize) -> Option<usize> {
        if at >= self.no_literal_ends {
            return None;
        }
        for (offset, &byte) in self.text[at + 1..].iter().enumerate() {
            match byte {
                b']' => return Some(at + offset + 2),
                b'[' | b'\\' => {
                    steps::count(offset);
                    return None;
                }
                _ => {}
            }
        }
        steps::count(self.text.len() - at);
        self.no_literal_ends = at;
        None
    }
}

fn is_in_atom(byte: u8) -> bool {
    IN_ATOM[usize::from(byte)]
}

/// `atext` of RFC 5322, and every octet of a character beyond ASCII (RFC 6532 section 3.2).
static IN_ATOM: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = byte >= 0x80 || is_atext(byte as u8);
        byte += 1;
    }
    allowed
};

/// Appends the content of a quoted string as the cursor read it.
pub(super) fn push_unquoted(out: &mut Vec<u8>, quoted: &[u8]) {
    let content = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    let mut rest = content.iter();
    while let Some(&byte) = rest.next() {
        out.push(if byte == b'\\' { rest.next().copied().unwrap_or(byte) } else { byte });
    }
}
