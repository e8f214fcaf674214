//! What the header of a part says of its content (RFC 2045, RFC 2183).

use super::{
    block::{Field, HeaderBlock},
    parameters,
    text::{clean, unfold},
};

/// Longest field that is read: what is longer names no file that anybody could read.
const FIELD_OCTETS: usize = 1 << 16;

/// Longest file name, in characters: file systems have 255 octets.
const NAME_CHARACTERS: usize = 120;

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

/// The file that a parameter names.
fn file_name(field: &[u8], parameter: &str) -> Option<String> {
    let (_, name) = parameters::decoded(field).into_iter().find(|(name, _)| name == parameter)?;
    let name: String = name.trim().chars().take(NAME_CHARACTERS).collect();
    (!name.is_empty()).then_some(name)
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
