//! Raw text beyond ASCII, which no standard allows in a header but much mail has: in which charset it is.

use std::{borrow::Cow, cell::OnceCell};

use mail_parser::decoders::charsets::{DecoderFnc, map::charset_decoder};
use memchr::{memchr, memmem};

use super::{
    block::{Field, HeaderBlock, is_space, split},
    encoded_word::{self, utf8_or, utf8_or_windows_1252},
    parameters,
    text::{clean, lines, unfold},
};
use crate::steps;

/// How deep a first text part is looked for.
const DEPTH: usize = 8;
/// How many octets of the body are looked at for it.
const LOOK_OCTETS: usize = 1 << 20;

const ESCAPE: u8 = 0x1b;

/// Reads the text of fields.
pub(super) struct Reader<'a> {
    block: HeaderBlock<'a>,
    /// Of the charset that the message names; looked for when a field needs it.
    decoder: OnceCell<Option<DecoderFnc>>,
}

impl<'a> Reader<'a> {
    pub(super) fn of(block: &HeaderBlock<'a>) -> Reader<'a> {
        Reader { block: *block, decoder: OnceCell::new() }
    }

    /// The value of a field as clean text in UTF-8. A line that is UTF-8 already stays; any other is read in the
    /// charset that the message's text is in, or else in windows-1252.
    pub(super) fn text(&self, field: &Field<'a>) -> Cow<'a, [u8]> {
        let text = clean(field);
        // What has an escape is not clean as it came.
        if matches!(text, Cow::Owned(_))
            && let Some(value) = iso_2022_jp(field.value)
        {
            return Cow::Owned(clean(&Field { value: &value, ..*field }).into_owned());
        }
        if text.is_ascii() || std::str::from_utf8(&text).is_ok() {
            return text;
        }
        let decoder = self.decoder.get_or_init(|| named(&self.block).and_then(|name| decoder(&name)));
        let mut read = Vec::with_capacity(text.len() * 2);
        for (index, line) in lines(&text).enumerate() {
            if index > 0 {
                read.extend_from_slice(b"\r\n");
            }
            // The white space that a continuation begins with stays what it is.
            let white = line.iter().take_while(|&&byte| is_space(byte)).count();
            read.extend_from_slice(&line[..white]);
            let line = &line[white..];
            let decoded = match decoder {
                Some(decoder) if std::str::from_utf8(line).is_err() => read_in(*decoder, line),
                _ => utf8_or_windows_1252(line),
            };
            read.extend(encoded_word::without_controls(&decoded).bytes());
        }
        Cow::Owned(read)
    }
}

/// What is in ISO-2022-JP, in UTF-8. That charset has 7 bits and says so itself, by escapes, whatever the message
/// names; each line of it begins in ASCII (RFC 1468). What has an escape but is not that is none of it.
fn iso_2022_jp(value: &[u8]) -> Option<Vec<u8>> {
    memchr(ESCAPE, value).filter(|_| value.is_ascii())?;
    let decoder = charset_decoder(b"iso-2022-jp")?;
    let mut text = Vec::with_capacity(value.len() * 2);
    for line in value.split_inclusive(|&byte| byte == b'\n') {
        if memchr(ESCAPE, line).is_none() {
            text.extend_from_slice(line);
            continue;
        }
        let decoded = decoder(line);
        if decoded.contains(char::REPLACEMENT_CHARACTER) {
            return None;
        }
        text.extend(decoded.bytes());
    }
    Some(text)
}

/// The decoder of a charset in which ASCII means itself. UTF-7, UTF-16 and their like are no charsets for raw
/// text in a header, and would make syntax of what is none.
fn decoder(charset: &str) -> Option<DecoderFnc> {
    const ASCII: &str = "Jane <jane@x.example>, +AEA-~{AA~}$";
    let is_unstated =
        ["us-ascii", "ascii", "utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    charset_decoder(charset.as_bytes()).filter(|decoder| !is_unstated && decoder(ASCII.as_bytes()) == ASCII)
}

/// A line that is not UTF-8 as a whole. What of it is UTF-8 stays in the charsets of western Europe: their octets from
/// 0x80 to 0xbf are signs, which hardly follow a capital letter. Elsewhere words are UTF-8 by chance: `её` in KOI8-R,
/// most in Thai, many in charsets of several octets.
fn read_in(decoder: DecoderFnc, line: &[u8]) -> String {
    if decoder(b"\xdf\xe0\xe9\xf6\xfc") == "ßàéöü" { utf8_or(decoder, line) } else { decoder(line) }
}

/// The charset that the message's Content-Type names, or that of its first text part.
fn named(block: &HeaderBlock<'_>) -> Option<String> {
    let mut block = *block;
    let mut body = &block.body()[..block.body().len().min(LOOK_OCTETS)];
    let mut boundary = Vec::new();
    for _ in 0..DEPTH {
        let content_type = block.fields().find(|field| field.is("Content-Type"));
        let content_type = content_type.map(|field| unfold(&clean(&field)).into_owned()).unwrap_or_default();
        let media_type = parameters::media_type(&content_type);
        if media_type.is_empty() || media_type.starts_with("text/") {
            return parameters::value(&content_type, "charset");
        }
        if media_type.starts_with("multipart/") {
            boundary = [b"--", parameters::value(&content_type, "boundary")?.as_bytes()].concat();
        }
        // The part behind the next delimiter, be it the first of this multipart or the one after this leaf.
        let at = memmem::find(body, &boundary).filter(|_| !boundary.is_empty())?;
        steps::count(at);
        let behind = &body[at + boundary.len()..];
        let part = &behind[memchr::memchr(b'\n', behind)? + 1..];
        block = split(part);
        body = block.body();
    }
    None
}
