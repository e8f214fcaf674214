//! The encodings that a part may get, a little at a time.

use base64_simd::STANDARD;
use memchr::memchr;

use super::LINE_OCTETS;

/// Octets on an encoded line, without its end (RFC 2045 sections 6.7 and 6.8).
pub(super) const ENCODED_LINE: usize = 76;
/// Octets that make a line of base64.
const GROUPS: usize = ENCODED_LINE / 4 * 3;
/// Bytes that may be written beyond what was asked for: a line that stays as it is, and its end.
pub(super) const OVERSHOOT: usize = LINE_OCTETS + 2;

/// What is done to a run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Into quoted-printable (RFC 2045 section 6.7).
    QuotedPrintable,
    /// Into base64 (RFC 2045 section 6.8).
    Base64,
    /// It is quoted-printable: soft line breaks where a line is too long.
    SoftBreaks,
    /// It is base64: line breaks where a line is too long.
    LineBreaks,
}

/// How far a run of bytes has been read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Offset of the next byte.
    at: usize,
    /// Octets on the line that is being written.
    column: usize,
    /// Where the line ends that is being broken up; 0 outside of one.
    line_end: usize,
}

impl Progress {
    /// Copies up to `until`, the length that `out` is to have; `true` if that was all.
    pub(super) fn copy(&mut self, source: &[u8], out: &mut Vec<u8>, until: usize) -> bool {
        let rest = &source[self.at..];
        let taken = rest.len().min(until.saturating_sub(out.len()));
        out.extend_from_slice(&rest[..taken]);
        self.at += taken;
        taken == rest.len()
    }
}

impl Coding {
    /// The field that a part has to declare; `None` if its own stays true.
    pub(crate) fn declaration(self) -> Option<&'static str> {
        match self {
            Coding::QuotedPrintable => Some("Content-Transfer-Encoding: quoted-printable\r\n"),
            Coding::Base64 => Some("Content-Transfer-Encoding: base64\r\n"),
            Coding::SoftBreaks | Coding::LineBreaks => None,
        }
    }

    /// Bytes that it makes of `source`.
    pub(crate) fn length(self, source: &[u8]) -> u64 {
        let mut progress = Progress::default();
        let mut out = Vec::with_capacity(2 * OVERSHOOT);
        let mut length = 0;
        loop {
            out.clear();
            let done = self.encode(source, &mut progress, &mut out, OVERSHOOT);
            length += out.len() as u64;
            if done {
                return length;
            }
        }
    }

    /// Appends what it makes of the next bytes until `out` has a length of `until` or little more; `true` if
    /// that was all.
    pub(crate) fn encode(
        self,
        source: &[u8],
        progress: &mut Progress,
        out: &mut Vec<u8>,
        until: usize,
    ) -> bool {
        while progress.at < source.len() {
            if out.len() >= until {
                return false;
            }
            match self {
                Coding::QuotedPrintable => quote(source, progress, out),
                Coding::Base64 => encode_line(source, progress, out),
                Coding::SoftBreaks => {
                    break_line(source, progress, out, b"=\r\n", ENCODED_LINE - 1, quoted_length);
                }
                Coding::LineBreaks => break_line(source, progress, out, b"\r\n", ENCODED_LINE, |_| 1),
            }
        }
        true
    }
}

/// Encodes one octet, or takes over one line end.
fn quote(source: &[u8], progress: &mut Progress, out: &mut Vec<u8>) {
    let rest = &source[progress.at..];
    let end = line_end_length(rest);
    if end > 0 {
        out.extend_from_slice(&rest[..end]);
        progress.at += end;
        progress.column = 0;
        return;
    }
    let byte = rest[0];
    let is_plain = match byte {
        // White space at the end of a line is lost (RFC 2045 section 6.7, rule 3).
        b' ' | b'\t' => rest.len() > 1 && line_end_length(&rest[1..]) == 0,
        byte => byte.is_ascii_graphic() && byte != b'=',
    };
    let length = if is_plain { 1 } else { 3 };
    // One column is left for the `=` of a soft line break.
    if progress.column + length > ENCODED_LINE - 1 {
        out.extend_from_slice(b"=\r\n");
        progress.column = 0;
    }
    if is_plain {
        out.push(byte);
    } else {
        push_quoted(byte, out);
    }
    progress.column += length;
    progress.at += 1;
}

/// Appends an octet as quoted-printable writes what is not plain.
pub(super) fn push_quoted(byte: u8, out: &mut Vec<u8>) {
    let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
    out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
}

/// Encodes one line of base64; a line end follows unless it is the last.
fn encode_line(source: &[u8], progress: &mut Progress, out: &mut Vec<u8>) {
    let rest = &source[progress.at..];
    let taken = rest.len().min(GROUPS);
    STANDARD.encode_append(&rest[..taken], out);
    progress.at += taken;
    if taken < rest.len() {
        out.extend_from_slice(b"\r\n");
    }
}

/// Takes over one line that is short enough, or puts what may not be parted of a longer one on the line
/// that is being written, or the next.
fn break_line(
    source: &[u8],
    progress: &mut Progress,
    out: &mut Vec<u8>,
    line_break: &[u8],
    columns: usize,
    unit: fn(&[u8]) -> usize,
) {
    let at = progress.at;
    if at >= progress.line_end {
        let end = memchr(b'\n', &source[at..]).map_or(source.len(), |length| at + length + 1);
        let line = &source[at..end];
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        if content.strip_suffix(b"\r").unwrap_or(content).len() <= LINE_OCTETS {
            out.extend_from_slice(&source[at..end]);
            progress.at = end;
            return;
        }
        *progress = Progress { at, column: 0, line_end: end };
    }
    let rest = &source[at..progress.line_end];
    let end = line_end_length(rest);
    if end > 0 {
        out.extend_from_slice(&rest[..end]);
        progress.at += end;
        return;
    }
    let length = unit(rest);
    if progress.column + length > columns {
        out.extend_from_slice(line_break);
        progress.column = 0;
    }
    out.extend_from_slice(&rest[..length]);
    progress.column += length;
    progress.at += length;
}

/// Octets of quoted-printable text that stand for one, or that end its line.
fn quoted_length(text: &[u8]) -> usize {
    match text {
        [b'=', first, second, ..] if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => 3,
        _ => 1,
    }
}

/// The length of the line end that a text begins with: CR LF, LF or none.
fn line_end_length(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => 0,
    }
}
