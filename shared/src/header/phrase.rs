//! Display names as a header holds them (RFC 5322 section 3.2.5): atoms if they can be, else a
//! quoted string, else encoded-words.

use super::{
    address_spec::MAILBOX_OCTETS,
    encoded_word,
    folding::{column_of, fold_here},
};
use crate::address::is_atext;

/// Appends a display name. `column` is where `out` begins on its first line.
pub(super) fn append(out: &mut Vec<u8>, column: usize, name: &str) {
    let printable = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    // What looks like an encoded-word would be shown as what it encodes.
    if !printable || name.contains("=?") {
        encoded_word::encode(out, column, name);
    } else if name.split(' ').all(|word| !word.is_empty() && word.bytes().all(is_atext)) {
        out.extend_from_slice(name.as_bytes());
    } else {
        append_quoted(out, name);
    }
}

/// Appends a quoted string (RFC 5322 section 3.2.4) of printable ASCII.
fn append_quoted(out: &mut Vec<u8>, content: &str) {
    out.push(b'"');
    for byte in content.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Appends a mailbox on clean lines, the name cut at a character so that it stays within
/// [`MAILBOX_OCTETS`]. Returns how many it has.
pub(super) fn append_mailbox(out: &mut Vec<u8>, column: usize, name: &str, address: &str) -> usize {
    let column = column_of(out, column);
    let mut mailbox = Vec::with_capacity(MAILBOX_OCTETS + 2);
    let mut write = |name: &str| {
        mailbox.clear();
        append(&mut mailbox, column, name);
        append_angle(&mut mailbox, column, address.as_bytes());
        mailbox.len() <= MAILBOX_OCTETS
    };
    let whole = cut(name, MAILBOX_OCTETS);
    let mut is_written = !whole.is_empty() && write(whole);
    // The longest start of the name that fits, by halving: how long it becomes is known only when written.
    let (mut fits, mut too_long) = (0, whole.len());
    while !is_written && too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        let tried = cut(name, middle);
        if !tried.is_empty() && write(tried) {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    is_written = is_written || !cut(name, fits).is_empty() && write(cut(name, fits));
    if !is_written {
        out.extend_from_slice(address.as_bytes());
        return address.len();
    }
    if mailbox.starts_with(b"\r\n") {
        fold_here(out);
        mailbox.drain(..3);
    }
    out.extend_from_slice(&mailbox);
    mailbox.len()
}

/// The start of a text, at most so many octets, that splits no character; without white space at its end.
pub(super) fn cut(text: &str, octets: usize) -> &str {
    text[..text.floor_char_boundary(octets)].trim_end()
}

/// Appends ` <address>`, on a new line if the name's encoded-words leave no room.
fn append_angle(out: &mut Vec<u8>, column: usize, address: &[u8]) {
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
