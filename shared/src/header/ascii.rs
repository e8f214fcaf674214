//! 8-bit text made ASCII, as SES takes nothing else in a header: by the syntax of the field.

use std::{borrow::Cow, ops::Range};

use super::{
    address_spec,
    encoded_word::{self, EncodedWord},
    mailbox, parameters,
    rules::Syntax,
    text::{is_white, question_marks, unfold},
    token::{Cursor, Token},
};

/// Clean text in ASCII; it is in UTF-8, unless its syntax has no place for more than ASCII. `column` is where its first line begins.
pub(super) fn ascii(text: &[u8], column: usize, syntax: Syntax) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(match syntax {
        Syntax::Text => unstructured(text, column),
        Syntax::Mailboxes => phrases(text, column),
        Syntax::Parameters => parameters::ascii(text),
        Syntax::Tokens => text.iter().map(|&byte| if byte.is_ascii() { byte } else { b'?' }).collect(),
    })
}

/// Words that are not ASCII become encoded-words, neighbours together, as white space between two
/// encoded-words would be lost; all other words stay.
fn unstructured(text: &[u8], column: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut words = Words { text, at: 0 }.peekable();
    let mut behind_encoded = false;
    while let Some(word) = words.next() {
        out.extend_from_slice(&text[word.space..word.start]);
        let written = &text[word.start..word.end];
        if written.is_ascii() {
            out.extend_from_slice(written);
            behind_encoded = is_encoded_word(written);
            continue;
        }
        let mut last = word.start..word.end;
        while let Some(next) = words.next_if(|next| !text[next.start..next.end].is_ascii()) {
            last = next.start..next.end;
        }
        let mut plain = encoded_word::decode(&unfold(&text[word.start..last.end]));
        if behind_encoded && !is_encoded_word(written) {
            plain.insert(0, ' ');
        }
        let next = words.peek().map(|next| &text[next.start..next.end]);
        if next.is_some_and(is_encoded_word) && !is_encoded_word(&text[last]) {
            plain.push(' ');
        }
        encoded_word::encode(&mut out, column, &plain);
        behind_encoded = false;
    }
    out
}

fn is_encoded_word(word: &[u8]) -> bool {
    EncodedWord::at(word).is_some() || word.ends_with(b"?=")
}

/// Walks words: the white space before each, folding included, and the word.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

struct WordSpan {
    space: usize,
    start: usize,
    end: usize,
}

impl Iterator for Words<'_> {
    type Item = WordSpan;

    fn next(&mut self) -> Option<WordSpan> {
        let space = self.at;
        let start = space + self.text[space..].iter().position(|&byte| !is_white(byte))?;
        let length = self.text[start..].iter().position(|&byte| is_white(byte));
        self.at = length.map_or(self.text.len(), |length| start + length);
        Some(WordSpan { space, start, end: self.at })
    }
}

/// Phrases and comments that are not ASCII are encoded, addresses get their form in ASCII where they have one; all
/// else stays.
fn phrases(text: &[u8], column: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut cursor = Cursor::over(text);
    let mut at = 0;
    while at < text.len() {
        let start = at;
        let (token, end) = cursor.token(at);
        at = end;
        match token {
            Token::Comment => {
                out.push(b'(');
                append_words(&mut out, column, &text[start + 1..end - 1]);
                out.push(b')');
                continue;
            }
            Token::Open => {
                while at < text.len() && !matches!(text[at], b'>' | b'<') {
                    at = cursor.token(at).1;
                }
                out.push(b'<');
                append_address(&mut out, &mut cursor, end..at);
                continue;
            }
            _ => {}
        }
        // A phrase, or an address without brackets.
        let (mut end, mut has_at) = (start, false);
        let (mut next, mut next_end) = (token, at);
        while !is_separator(next) {
            has_at |= next == Token::At;
            if next != Token::White {
                end = next_end;
            }
            at = next_end;
            if at == text.len() {
                break;
            }
            (next, next_end) = cursor.token(at);
        }
        if is_separator(token) {
            out.extend(question_marks(&text[start..at]));
            continue;
        }
        let white = text[start..end].iter().take_while(|&&byte| is_white(byte)).count();
        out.extend_from_slice(&text[start..start + white]);
        let written = start + white..end;
        if has_at {
            append_address(&mut out, &mut cursor, written);
        } else if text[written.clone()].is_ascii() {
            out.extend_from_slice(&text[written]);
        } else {
            append_words(&mut out, column, &mailbox::unquoted_phrase(&unfold(&text[written])));
        }
        out.extend_from_slice(&text[end..at]);
    }
    out
}

fn is_separator(token: Token) -> bool {
    matches!(
        token,
        Token::Comma | Token::Semicolon | Token::Colon | Token::Comment | Token::Open | Token::Close
    )
}

/// Appends text as it is, or as encoded-words if it is not ASCII.
fn append_words(out: &mut Vec<u8>, column: usize, text: &[u8]) {
    if text.is_ascii() {
        out.extend_from_slice(text);
    } else {
        encoded_word::encode(out, column, encoded_word::decode(&unfold(text)).trim());
    }
}

/// Appends what is written, or its form in ASCII if it is an address that has one.
fn append_address(out: &mut Vec<u8>, cursor: &mut Cursor<'_>, range: Range<usize>) {
    let written = &cursor.text[range.clone()];
    if !written.is_ascii()
        && let Some(spec) = address_spec::read(cursor, range).filter(|spec| spec.address.is_sendable())
    {
        out.extend_from_slice(spec.address.to_string().as_bytes());
        return;
    }
    out.extend(question_marks(written));
}
