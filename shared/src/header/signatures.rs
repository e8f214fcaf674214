//! What DKIM signatures cover (RFC 6376): who has got a signed message can send it again, with fields added that no
//! signature speaks of.

use super::{
    block::{Field, HeaderBlock},
    text::unfolded,
};

/// Whether a field is as it was signed, if a signature holds: it is the only one of its name, and each signature
/// covers it. Which of them holds is SES's to say, and of a name that stands twice a signature covers the last.
///
/// A message that was not signed at all has nothing to tell here.
///
/// ```
/// use ses_forwarder::header::{is_covered, split};
///
/// let block = split(b"Cc: x@in.example\nDKIM-Signature: v=1; d=x.example; h=From:To; b=\nTo: a@in.example\n\n");
/// let covered = block.fields().filter(|field| is_covered(&block, field));
/// assert_eq!(covered.map(|field| field.name).collect::<Vec<_>>(), [&b"To"[..]]);
/// ```
pub fn is_covered(block: &HeaderBlock<'_>, field: &Field<'_>) -> bool {
    let alike = block.fields().filter(|other| other.name.eq_ignore_ascii_case(field.name));
    let mut signatures = block.fields().filter(|other| other.is("DKIM-Signature"));
    alike.count() == 1 && signatures.all(|signature| covers(&unfolded(&signature), field.name))
}

/// Section 3.5: `h=` names the fields, with colons between them and white space anywhere.
fn covers(signature: &str, name: &[u8]) -> bool {
    let mut tags = signature.split(';').filter_map(|tag| tag.split_once('='));
    let covered = tags.find(|(tag, _)| tag.trim() == "h").map(|(_, names)| names).unwrap_or_default();
    covered.split(':').any(|one| one.trim().as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::split;

    #[test]
    fn covered_by_every_signature_and_there_once() {
        let signed = "DKIM-Signature: v=1; a=rsa-sha256; d=out.example;\r\n\th=From : To:\r\n\t Cc:message-id;\r\n bh=h=Subject; b=x\r\n";
        let twice = format!("{signed}DKIM-Signature: d=esp.example; h=from:to; b=y\r\n");
        for (fields, name, expected) in [
            ("Subject: a\r\n", "To", true),
            ("To: a\r\n", "To", false),
            ("TO: a\r\n", "to", false),
            (signed, "Cc", true),
            (signed, "Message-Id", true),
            (signed, "Subject", false),
            (&format!("Cc: added\r\n{signed}"), "Cc", false),
            (&twice, "To", true),
            (&twice, "Cc", false),
            ("DKIM-Signature: d=out.example; b=y\r\n", "To", false),
            ("DKIM-Signature:\r\n", "To", false),
        ] {
            let message = format!("{fields}{name}: b\r\n\r\n");
            let block = split(message.as_bytes());
            let field = block.fields().find(|field| field.is(name)).expect("it is there");
            assert_eq!(is_covered(&block, &field), expected, "{message}");
        }
    }
}
