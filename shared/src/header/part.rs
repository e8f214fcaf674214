//! What the header of a part says of its content (RFC 2045, RFC 2183).

use mail_parser::decoders::charsets::map::charset_decoder;

use super::{
    block::{Field, HeaderBlock},
    encoded_word::{self, text_of, without_controls},
    parameters::{self, Parameter},
    text::{clean, unfold},
};

/// Longest field that is read: what is longer names no file that anybody could read.
const FIELD_OCTETS: usize = 1 << 16;

/// Longest file name, in characters: file systems have 255 octets.
const NAME_CHARACTERS: usize = 120;

/// Pieces that a name is put together from at most (RFC 2231 section 3).
const PIECES: usize = 100;

/// What a part says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartFacts {
    /// In lower case, such as `text/plain`; empty if it has none.
    pub(crate) media_type: String,
    /// The name of the charset that its text is in.
    pub(crate) charset: Option<String>,
    /// Whether it is to be kept apart rather than shown.
    pub(crate) is_attachment: bool,
    /// The name of its file, without control characters.
    pub(crate) file_name: Option<String>,
}

impl PartFacts {
    /// What a header says.
    pub(crate) fn of(block: &HeaderBlock<'_>) -> PartFacts {
        let content_type = value_of(block, "Content-Type");
        let disposition = value_of(block, "Content-Disposition");
        let file_name = file_name(&disposition, "filename").or_else(|| file_name(&content_type, "name"));
        PartFacts {
            media_type: parameters::media_type(&content_type),
            charset: parameters::value(&content_type, "charset"),
            is_attachment: parameters::media_type(&disposition) == "attachment",
            file_name,
        }
    }
}

fn value_of(block: &HeaderBlock<'_>, name: &str) -> Vec<u8> {
    let is_it = |field: &Field<'_>| field.is(name) && field.value.len() <= FIELD_OCTETS;
    block.fields().find(is_it).map(|field| unfold(&clean(&field)).into_owned()).unwrap_or_default()
}

/// The file that a parameter names: in pieces or in a charset (RFC 2231), or, as most mail programs write it all
/// the same, in encoded-words.
fn file_name(field: &[u8], parameter: &str) -> Option<String> {
    let mut plain = None;
    let mut pieces: Vec<Option<Parameter>> = Vec::new();
    for found in parameters::all(field) {
        match found.name.strip_prefix(parameter) {
            Some("") => _ = plain.get_or_insert(found.value),
            Some("*") => {
                pieces = vec![Some(Parameter { name: "*".to_owned(), ..found })];
                break;
            }
            Some(piece) => {
                let number = piece.strip_prefix('*').map(|piece| piece.trim_end_matches('*'));
                let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else { continue };
                if number < PIECES {
                    pieces.resize(pieces.len().max(number + 1), None);
                    pieces[number].get_or_insert(found);
                }
            }
            None => {}
        }
    }
    let name = match pieces.first() {
        Some(Some(_)) => joined(pieces.into_iter().map_while(|piece| piece)),
        _ => encoded_word::decode(&plain?),
    };
    let name = without_controls(&name);
    let name: String = name.trim().chars().take(NAME_CHARACTERS).collect();
    (!name.is_empty()).then_some(name)
}

/// A value from its pieces, of which the first names the charset.
fn joined(pieces: impl Iterator<Item = Parameter>) -> String {
    let mut bytes = Vec::new();
    let mut charset = None;
    for (index, Parameter { name, value }) in pieces.enumerate() {
        if !name.ends_with('*') {
            bytes.extend(value);
            continue;
        }
        let mut value = &value[..];
        if index == 0 {
            let mut parts = value.splitn(3, |&byte| byte == b'\'');
            if let (Some(name), Some(_language), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                (charset, value) = (Some(name.to_vec()), rest);
            }
        }
        bytes.extend(percent_decoded(value));
    }
    match charset.as_deref().and_then(charset_decoder) {
        Some(decoder) => decoder(&bytes),
        None => text_of(&bytes),
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let octet = behind.get(..2).filter(|_| *first == b'%');
        let octet = octet.and_then(|digits| std::str::from_utf8(digits).ok());
        match octet.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) => {
                bytes.push(octet);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::split;

    #[test]
    fn file_names_are_read_however_they_are_written() {
        let long = format!("Content-Type: x/y; name={}", "n".repeat(1000));
        for (field, expected) in [
            ("Content-Disposition: attachment; filename=\"a b.exe\"", Some("a b.exe")),
            ("Content-Type: application/x-msdownload; name=a.exe", Some("a.exe")),
            ("Content-Disposition: attachment; filename*=utf-8''R%C3%A9sum%C3%A9.pdf", Some("Résumé.pdf")),
            ("Content-Disposition: attachment; filename*=iso-8859-1'fr'R%E9sum%E9.pdf", Some("Résumé.pdf")),
            (
                "Content-Disposition: attachment;\r\n filename*1=\"ort.pdf\";\r\n filename*0*=utf-8''R%C3%A9p",
                Some("Réport.pdf"),
            ),
            ("Content-Type: x/y; name=\"=?utf-8?q?R=C3=A9sum=C3=A9.pdf?=\"", Some("Résumé.pdf")),
            ("Content-Type: x/y; name=\"R\u{e9}sum\u{e9}\"", Some("R\u{e9}sum\u{e9}")),
            ("Content-Disposition: attachment; filename=\"=?utf-8?q?a=0D=0Ab.exe?=\"", Some("a  b.exe")),
            ("Content-Disposition: attachment; filename*=%%%zz", Some("%%%zz")),
            ("Content-Disposition: attachment; filename*99999999999=a", None),
            ("Content-Disposition: attachment; filename*98=a", None),
            ("Content-Disposition: attachment; filename=\"\"", None),
            ("Content-Disposition: inline", None),
            (&long, Some(&"n".repeat(NAME_CHARACTERS))),
        ] {
            let header = format!("{field}\r\n\r\n");
            let facts = PartFacts::of(&split(header.as_bytes()));
            assert_eq!(facts.file_name.as_deref(), expected, "{field}");
        }
    }

    #[test]
    fn what_a_part_is() {
        let header =
            b"Content-Type: Text/HTML; charset=\"ISO-8859-2\"\r\nContent-Disposition: Attachment\r\n\r\n";
        let expected = PartFacts {
            media_type: "text/html".to_owned(),
            charset: Some("ISO-8859-2".to_owned()),
            is_attachment: true,
            file_name: None,
        };
        assert_eq!(PartFacts::of(&split(header)), expected);
        assert_eq!(PartFacts::of(&split(b"")), PartFacts::default());
    }
}
