//! Parts decoded (RFC 2045 section 6), an octet at a time, as far as it goes: what is no encoding stands for itself,
//! or is passed over.

use super::mime::Transfer;

/// How far a part has been decoded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Decoder {
    /// Offset of the next byte.
    at: usize,
    /// Bits of base64 that make no octet yet, and how many.
    bits: u32,
    count: u32,
}

impl Decoder {
    /// All of a part.
    pub(crate) fn all(source: &[u8], transfer: Transfer) -> Vec<u8> {
        let mut decoder = Decoder::default();
        std::iter::from_fn(|| decoder.next(source, transfer)).collect()
    }

    /// The next octet.
    pub(super) fn next(&mut self, source: &[u8], transfer: Transfer) -> Option<u8> {
        match transfer {
            Transfer::Base64 => self.next_of_base64(source),
            Transfer::QuotedPrintable => self.next_of_quoted(source),
            Transfer::Identity | Transfer::Other => {
                let byte = *source.get(self.at)?;
                self.at += 1;
                Some(byte)
            }
        }
    }

    fn next_of_base64(&mut self, source: &[u8]) -> Option<u8> {
        loop {
            if self.count >= 8 {
                self.count -= 8;
                return Some((self.bits >> self.count) as u8);
            }
            let byte = *source.get(self.at)?;
            self.at += 1;
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    self.count = 0;
                    continue;
                }
                // RFC 2045 section 6.8: anything else is passed over.
                _ => continue,
            };
            self.bits = (self.bits << 6 | u32::from(sextet)) & 0xffff;
            self.count += 6;
        }
    }

    fn next_of_quoted(&mut self, source: &[u8]) -> Option<u8> {
        loop {
            let rest = source.get(self.at..)?;
            let digit = |byte: u8| (byte as char).to_digit(16);
            let (byte, length) = match rest {
                [b'=', b'\r', b'\n', ..] => {
                    self.at += 3;
                    continue;
                }
                [b'=', b'\n', ..] => {
                    self.at += 2;
                    continue;
                }
                [b'=', high, low, ..] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
                    _ => (b'=', 1),
                },
                [byte, ..] => (*byte, 1),
                [] => return None,
            };
            self.at += length;
            return Some(byte);
        }
    }

    /// What stands behind a text in lower case, if the source goes on with it.
    pub(super) fn begins(mut self, source: &[u8], transfer: Transfer, text: &[u8]) -> Option<Decoder> {
        let is_next =
            |byte: &u8| self.next(source, transfer).is_some_and(|next| next.to_ascii_lowercase() == *byte);
        text.iter().all(is_next).then_some(self)
    }
}
