//! The value of a field as clean text: CRLF only where a continuation follows, no control
//! characters, no blank continuations. What comes after may still hold 8-bit bytes and long lines.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use super::block::{Field, is_blank, is_space};

/// The value in clean text; borrowed if it is so as it came.
pub(super) fn clean<'a>(field: &Field<'a>) -> Cow<'a, [u8]> {
    if is_clean(field.value) {
        return Cow::Borrowed(field.value);
    }
    let mut text = Vec::with_capacity(field.value.len() + 16);
    for (index, line) in field.lines().enumerate() {
        let before = text.len();
        if index > 0 {
            text.extend_from_slice(b"\r\n");
        }
        let start = text.len();
        text.extend(line.iter().map(|&byte| if is_control(byte) { b' ' } else { byte }));
        if index > 0 && is_blank(&text[start..]) {
            text.truncate(before);
        }
    }
    Cow::Owned(text)
}

/// Clean text on one line.
pub(super) fn unfold(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\n', text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

/// The value on one line, trimmed; bytes that are not UTF-8 are replaced.
pub(super) fn unfolded(field: &Field<'_>) -> String {
    String::from_utf8_lossy(&unfold(&clean(field))).trim().to_owned()
}

/// The lines of clean text, each with the white space it starts with.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr(b'\n', text) {
            Some(line_feed) => {
                rest = Some(&text[line_feed + 1..]);
                Some(&text[..line_feed - 1])
            }
            None => rest.take(),
        }
    })
}

/// White space in clean text, folding included.
pub(super) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Clean text without white space at its ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_white(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_white(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Text in UTF-8 with a `?` for each character that is not ASCII.
pub(super) fn question_marks(text: &[u8]) -> impl Iterator<Item = u8> {
    let goes_on = |byte: u8| byte & 0xc0 == 0x80;
    text.iter().filter(move |&&byte| !goes_on(byte)).map(|&byte| if byte.is_ascii() { byte } else { b'?' })
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

fn is_clean(value: &[u8]) -> bool {
    let mut start = 0;
    for line_feed in memchr_iter(b'\n', value) {
        let line = &value[start..line_feed];
        let Some(content) = line.strip_suffix(b"\r") else {
            return false;
        };
        if has_control(content) || (start > 0 && !continues(content)) {
            return false;
        }
        start = line_feed + 1;
    }
    !has_control(&value[start..]) && (start == 0 || continues(&value[start..]))
}

fn continues(line: &[u8]) -> bool {
    line.first().is_some_and(|&byte| is_space(byte)) && !is_blank(line)
}

/// Without leaving early, so that the compiler can look at many bytes at once.
fn has_control(line: &[u8]) -> bool {
    line.iter().fold(false, |found, &byte| found | is_control(byte))
}
