//! What is in a message: its first text, and the rest as a list.

use mail_parser::decoders::{charsets::map::charset_decoder, html::html_to_text};

use super::{TEXT_OCTETS, attachments::Attachments};
use crate::{
    body::{
        decoding::Decoder,
        mime::{Leaf, Leaves, Transfer},
    },
    header::{self, HeaderBlock, PartFacts, utf8_or_windows_1252},
    steps,
};

/// How much of an encoded text is decoded, in octets: the most that [`TEXT_OCTETS`] of text take, where each octet is
/// written as three (RFC 2045 section 6.7), or where most of it is markup.
const ENCODED_OCTETS: usize = 3 * TEXT_OCTETS;

/// Parts that are looked at: SES takes no more in a message.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
const PARTS: usize = 500;

/// What is in a message.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Its first text, as much as there is room for.
    pub(super) text: String,
    /// Whether that is not all of it.
    pub(super) is_cut: bool,
    /// All else.
    pub(super) attachments: Attachments,
}

impl Content {
    /// Looks through the message that begins with `block`.
    pub(super) fn of(block: &HeaderBlock<'_>) -> Content {
        let body = block.body();
        let parts: Vec<(Leaf, PartFacts)> = Leaves::to_read(block, body)
            .take(PARTS)
            .map(|leaf| {
                let own = header::split(&body[leaf.header.clone()]);
                let facts = PartFacts::of(if leaf.is_message { block } else { &own });
                (leaf, facts)
            })
            .collect();
        // HTML that stands beside plain text says the same.
        let first =
            |kind: fn(&PartFacts) -> bool| parts.iter().position(|(_, facts)| is_text(facts) && kind(facts));
        let plain = first(|facts| facts.media_type != HTML);
        let shown = plain.or_else(|| first(|facts| facts.media_type == HTML));
        let mut content = Content::default();
        for (at, (leaf, facts)) in parts.iter().enumerate() {
            let text = &body[leaf.body.clone()];
            if Some(at) == shown {
                (content.text, content.is_cut) = text_of(leaf, facts, text);
            } else if !is_alternative(facts) {
                content.attachments.add(facts, decoded_length(leaf.transfer, text));
            }
        }
        content
    }
}

const HTML: &str = "text/html";

/// Whether a part is text that a reader shows.
fn is_text(facts: &PartFacts) -> bool {
    let shown = matches!(&*facts.media_type, "" | "text/plain" | HTML | "text/enriched")
        || !facts.media_type.contains('/');
    shown && !facts.is_attachment && facts.file_name.is_none()
}

/// Whether a part is the same text in another form, which nobody misses.
fn is_alternative(facts: &PartFacts) -> bool {
    is_text(facts) && facts.media_type == HTML
}

/// The text of a part, and whether that is not all of it.
fn text_of(leaf: &Leaf, facts: &PartFacts, encoded: &[u8]) -> (String, bool) {
    let taken = &encoded[..encoded.len().min(ENCODED_OCTETS)];
    steps::count(taken.len());
    let decoded = match leaf.transfer {
        Transfer::Base64 => base64(taken),
        Transfer::QuotedPrintable => Decoder::all(taken, leaf.transfer),
        Transfer::Identity | Transfer::Other => taken.to_vec(),
    };
    let decoder = facts.charset.as_deref().and_then(|charset| charset_decoder(charset.as_bytes()));
    // What claims to be UTF-8 and is not is read as far as it is.
    let mut text = match decoder {
        Some(decoder) if std::str::from_utf8(&decoded).is_err() || !is_utf_8(facts) => decoder(&decoded),
        _ => utf8_or_windows_1252(&decoded),
    };
    if facts.media_type == HTML {
        text = html_to_text(&text);
    }
    let cut = text.floor_char_boundary(TEXT_OCTETS);
    let is_cut = taken.len() < encoded.len() || cut < text.len();
    text.truncate(cut);
    (text, is_cut)
}

fn is_utf_8(facts: &PartFacts) -> bool {
    facts.charset.as_deref().is_some_and(|charset| {
        ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
    })
}

/// Bytes of a part, decoded, as good as they can be told without decoding it.
fn decoded_length(transfer: Transfer, encoded: &[u8]) -> usize {
    steps::count(encoded.len());
    match transfer {
        Transfer::Base64 => encoded.iter().filter(|&&byte| is_base64(byte)).count() / 4 * 3,
        Transfer::QuotedPrintable | Transfer::Identity | Transfer::Other => encoded.len(),
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Decodes as far as it goes: what is cut off, or has strange bytes in it, still says something.
fn base64(encoded: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> =
        encoded.iter().copied().take_while(|&byte| byte != b'=').filter(|&byte| is_base64(byte)).collect();
    // One digit over is not even an octet.
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    base64_simd::forgiving_decode_to_vec(&digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_decoded_as_far_as_it_goes() {
        for (encoded, expected) in [
            ("SGVsbG8=", "Hello"),
            ("SGVs\r\nbG8", "Hello"),
            ("SGVsb!G8", "Hello"),
            ("SGVsbG8hI", "Hello!"),
            ("SGVs=bG8", "Hel"),
            ("=", ""),
            ("A", ""),
        ] {
            assert_eq!(base64(encoded.as_bytes()), expected.as_bytes(), "{encoded}");
        }
        for (encoded, expected) in
            [("a=\r\nb=\nc=3D=", "abc=="), ("50%=zz =c3=A9", "50%=zz \u{e9}"), ("a =20\r\nb", "a  \r\nb")]
        {
            assert_eq!(
                Decoder::all(encoded.as_bytes(), Transfer::QuotedPrintable),
                expected.as_bytes(),
                "{encoded}"
            );
        }
    }
}
