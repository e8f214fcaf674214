//! Display names as a header holds them (RFC 5322 section 3.2.5): atoms if they can be, else a
//! quoted string, else encoded-words.

use super::encoded_word;
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
pub(super) fn append_quoted(out: &mut Vec<u8>, content: &str) {
    out.push(b'"');
    for byte in content.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
