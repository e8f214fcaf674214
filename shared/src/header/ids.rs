//! Ids of messages, as References and In-Reply-To list them (RFC 5322 section 3.6.4).

use super::text::is_white;
use crate::steps;

/// Longest line that ids are put on (RFC 5322 section 2.1.1).
pub(super) const PREFERRED_LINE_OCTETS: usize = 78;

/// The ids of a list without their brackets. What stands between them means nothing.
pub(super) fn ids(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'<').skip(1).filter_map(|rest| {
        steps::count(rest.len());
        let id = &rest[..rest.iter().position(|&byte| byte == b'>')?];
        (!id.is_empty() && !id.iter().any(|&byte| is_white(byte))).then_some(id)
    })
}

/// A list of ids for a field whose name and colon take `column` octets, folded where a line would be long.
pub(super) fn list<'i>(column: usize, ids: impl IntoIterator<Item = &'i [u8]>) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut column = column;
    for id in ids {
        let folds = column + id.len() + 3 > PREFERRED_LINE_OCTETS && !out.is_empty();
        column = if folds { 1 } else { column + 1 } + id.len() + 2;
        out.extend_from_slice(if folds { b"\r\n " } else { b" " });
        out.push(b'<');
        out.extend_from_slice(id);
        out.push(b'>');
    }
    out
}
