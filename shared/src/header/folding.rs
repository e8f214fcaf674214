//! Writing a field: lines of at most 998 octets (RFC 5322 section 2.1.1, enforced by SES).

use super::{
    block::{is_blank, is_space},
    text::{is_white, lines},
};
use crate::steps;

/// Longest line in octets, without its CRLF.
pub(super) const LINE_OCTETS: usize = 998;

/// What to do with a line that is too long and has no white space to fold it at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfoldable {
    /// Cut it, as nobody reads it by a grammar.
    Cut,
    /// Drop the field, as a cut would change what it says.
    Drop,
}

/// Appends `name:text` and CRLF. Returns whether that was possible; if not, nothing is appended.
///
/// `text` is clean and ASCII. Lines that are short enough stay as they are.
pub(super) fn append_field(out: &mut Vec<u8>, name: &[u8], text: &[u8], unfoldable: Unfoldable) -> bool {
    let start = out.len();
    if name.len() >= LINE_OCTETS {
        return false;
    }
    out.extend_from_slice(name);
    out.push(b':');
    let mut column = name.len() + 1;
    for (index, line) in lines(text).enumerate() {
        if index > 0 {
            // What was an invisible character may have left nothing behind.
            if is_blank(line) {
                continue;
            }
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        if column + line.len() <= LINE_OCTETS {
            out.extend_from_slice(line);
        } else if !append_folded(out, column, line, unfoldable) {
            out.truncate(start);
            return false;
        }
    }
    out.extend_from_slice(b"\r\n");
    true
}

/// Ends the line so that text can go on behind one space. White space before it goes, or a line of
/// nothing else could be left.
pub(super) fn fold_here(out: &mut Vec<u8>) {
    while out.last().is_some_and(|&byte| is_white(byte)) {
        out.pop();
    }
    out.extend_from_slice(b"\r\n ");
}

/// How many octets stand on the last line of `out`, which begins at `column`.
pub(super) fn column_of(out: &[u8], column: usize) -> usize {
    let column =
        memchr::memrchr(b'\n', out).map_or(column + out.len(), |line_feed| out.len() - line_feed - 1);
    steps::count(column);
    column
}

/// Whether the last line of `out`, which begins at `column`, has no room for so many octets more. Who asks before
/// each piece, and folds there, keeps the lines short, and the way back to where the last begins.
pub(super) fn is_full(out: &[u8], column: usize, octets: usize) -> bool {
    column + out.len() + octets > LINE_OCTETS && column_of(out, column) + octets > LINE_OCTETS
}

/// Appends one line as several: as many words on each as it holds, white space going with the word
/// behind it.
fn append_folded(out: &mut Vec<u8>, mut column: usize, line: &[u8], unfoldable: Unfoldable) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        let space = rest.iter().take_while(|&&byte| is_space(byte)).count();
        let (space, behind) = rest.split_at(space);
        let word = behind.iter().take_while(|&&byte| !is_space(byte)).count();
        let (mut word, behind) = behind.split_at(word);
        rest = behind;
        if word.is_empty() && column + space.len() > LINE_OCTETS {
            break;
        }
        if column + space.len() + word.len() <= LINE_OCTETS {
            out.extend_from_slice(space);
            out.extend_from_slice(word);
            column += space.len() + word.len();
            continue;
        }
        let fits = word.len() < LINE_OCTETS;
        if !fits && unfoldable == Unfoldable::Drop {
            return false;
        }
        if fits || column + space.len() >= LINE_OCTETS {
            let longest = if fits { LINE_OCTETS - word.len() } else { 1 };
            if column > 0 {
                out.extend_from_slice(b"\r\n");
            }
            let space = if space.is_empty() { b" " } else { &space[..space.len().min(longest)] };
            out.extend_from_slice(space);
            column = space.len();
        } else {
            out.extend_from_slice(space);
            column += space.len();
        }
        while column + word.len() > LINE_OCTETS {
            let (piece, behind) = word.split_at(LINE_OCTETS - column);
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n ");
            (word, column) = (behind, 1);
        }
        out.extend_from_slice(word);
        column += word.len();
    }
    true
}
