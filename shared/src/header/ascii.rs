//! 8-bit text made ASCII, as SES takes nothing else in a header: by the syntax of the field.

use std::borrow::Cow;

use super::{
    encoded_word::{self, EncodedWord},
    folding::{column_of, fold_here},
    mailbox::{self, Element, Elements},
    phrase,
    rules::Syntax,
    text::{is_white, unfold},
};

/// Clean text in ASCII. `column` is where its first line begins.
pub(super) fn ascii(text: &[u8], column: usize, syntax: Syntax) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(match syntax {
        Syntax::Text => unstructured(text, column),
        Syntax::Mailboxes => mailboxes(text, column),
        Syntax::Tokens => question_marks(text).collect(),
    })
}

fn question_marks(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().map(|&byte| if byte.is_ascii() { byte } else { b'?' })
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

/// Elements that are not ASCII are written anew; all others stay, and what stands between them.
fn mailboxes(text: &[u8], column: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut copied = 0;
    for element in Elements::of(text) {
        let written = &text[element.span.clone()];
        if written.is_ascii() {
            continue;
        }
        out.extend(question_marks(&text[copied..element.span.start]));
        append_element(&mut out, column, text, &element);
        copied = element.span.end;
    }
    out.extend(question_marks(&text[copied..]));
    out
}

fn append_element(out: &mut Vec<u8>, column: usize, text: &[u8], element: &Element) {
    let name = mailbox::display_name(text, element);
    if !name.is_empty() {
        phrase::append(out, column, &name);
    }
    let Some(address) = &element.address else {
        return;
    };
    let address: Vec<u8> = question_marks(&unfold(&text[address.clone()])).collect();
    if name.is_empty() {
        out.extend_from_slice(&address);
        return;
    }
    append_angle(out, column, &address);
}

/// Appends ` <address>`, on a new line if the name's encoded-words leave no room.
pub(super) fn append_angle(out: &mut Vec<u8>, column: usize, address: &[u8]) {
    const LINE_OCTETS: usize = 76;
    if out.ends_with(b"?=") && column_of(out, column) + 3 + address.len() > LINE_OCTETS {
        fold_here(out);
    } else {
        out.push(b' ');
    }
    out.push(b'<');
    out.extend_from_slice(address);
    out.push(b'>');
}
