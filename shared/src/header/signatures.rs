//! What DKIM signatures cover (RFC 6376): who has got a signed message can send it again, with fields added that no
//! signature speaks of.

use super::{
    block::{Field, HeaderBlock},
    rules::KEPT_IN_ANSWERS,
    text::unfolded,
};
use crate::steps;

/// What the signatures of a message cover, of the fields that an answer keeps.
///
/// ```
/// use ses_forwarder::header::{Signatures, split};
///
/// let block = split(b"Cc: x@in.example\nDKIM-Signature: v=1; d=x.example; h=From:To; b=\nTo: a@in.example\n\n");
/// let signatures = Signatures::of(&block);
/// let covered = block.fields().filter(|field| signatures.cover(field));
/// assert_eq!(covered.map(|field| field.name).collect::<Vec<_>>(), [&b"To"[..]]);
/// ```
#[derive(Debug, Clone)]
pub struct Signatures {
    count: usize,
    fields: [Counted; KEPT_IN_ANSWERS.len()],
}

/// How often a field is there, and how many signatures cover it.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    times: usize,
    covered: usize,
}

impl Signatures {
    /// Looks at all signatures in one walk.
    pub fn of(block: &HeaderBlock<'_>) -> Signatures {
        let mut all = Signatures { count: 0, fields: [Counted::default(); KEPT_IN_ANSWERS.len()] };
        for field in block.fields() {
            if field.is("DKIM-Signature") {
                all.count += 1;
                let covered = covered_by(&unfolded(&field));
                all.fields.iter_mut().zip(covered).for_each(|(field, is)| field.covered += usize::from(is));
            } else if let Some(at) = place(field.name) {
                all.fields[at].times += 1;
            }
        }
        all
    }

    /// Whether a field is as it was signed, if a signature holds: it is the only one of its name, and each signature
    /// covers it. Which of them holds is SES's to say, and of a name that stands twice a signature covers the last.
    ///
    /// A message that was not signed at all has nothing to tell here.
    pub fn cover(&self, field: &Field<'_>) -> bool {
        place(field.name)
            .is_some_and(|at| self.fields[at].times == 1 && self.fields[at].covered == self.count)
    }

    /// Whether its reader sees a message as it was signed, if a signature holds: To, Cc and Subject, if they are there,
    /// are covered, and nothing that an answer keeps is there twice.
    ///
    /// What else is not covered is believed: Gmail does not sign Content-Type.
    pub fn cover_what_is_read(&self) -> bool {
        KEPT_IN_ANSWERS.iter().zip(&self.fields).all(|(name, field)| match field.times {
            0 => true,
            1 => field.covered == self.count || !matches!(*name, b"to" | b"cc" | b"subject"),
            _ => false,
        })
    }
}

fn place(name: &[u8]) -> Option<usize> {
    KEPT_IN_ANSWERS.iter().position(|kept| name.eq_ignore_ascii_case(kept))
}

/// Section 3.5: `h=` names the fields, with colons between them and white space anywhere. With `l=` anybody can add to
/// the body (section 8.2), so that covers nothing.
fn covered_by(signature: &str) -> [bool; KEPT_IN_ANSWERS.len()] {
    let mut covered = [false; KEPT_IN_ANSWERS.len()];
    let mut names = None;
    for (tag, value) in signature.split(';').filter_map(|tag| tag.split_once('=')) {
        match tag.trim() {
            "h" => _ = names.get_or_insert(value),
            "l" => return covered,
            _ => {}
        }
    }
    steps::count(signature.len());
    for at in names.unwrap_or_default().split(':').filter_map(|name| place(name.trim().as_bytes())) {
        covered[at] = true;
    }
    covered
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
            ("DKIM-Signature: h=to; b=y\r\n", "To", true),
            ("DKIM-Signature: h=to; l =\r\n 10; b=y\r\n", "To", false),
        ] {
            let message = format!("{fields}{name}: b\r\n\r\n");
            let block = split(message.as_bytes());
            let field = block.fields().find(|field| field.is(name)).expect("it is there");
            assert_eq!(Signatures::of(&block).cover(&field), expected, "{message}");
        }
    }

    #[test]
    fn what_its_reader_sees() {
        let signed =
            "DKIM-Signature: d=out.example; h=from:to:cc:subject:message-id; b=y\r\nFrom: a\r\nTo: b\r\n";
        for (fields, expected) in [
            ("", true),
            ("Cc: c\r\nSubject: s\r\nContent-Type: t\r\nx: 1\r\nX: 2\r\n", true),
            ("Subject: s\r\nsubject: s\r\n", false),
            ("To: c\r\n", false),
            ("Cc: c\r\nCc: d\r\n", false),
            ("Content-Type: t\r\nContent-Type: u\r\n", false),
            ("References: <a@x>\r\nReferences: <b@x>\r\n", false),
            ("DKIM-Signature: d=esp.example; h=from:to:cc; b=y\r\nSubject: s\r\n", false),
            ("DKIM-Signature: d=esp.example; h=from:to:subject; b=y\r\nCc: c\r\n", false),
            ("DKIM-Signature: d=esp.example; h=from:to:subject; b=y\r\nSubject: s\r\n", true),
        ] {
            let message = format!("{fields}{signed}\r\n");
            assert_eq!(Signatures::of(&split(message.as_bytes())).cover_what_is_read(), expected, "{fields}");
        }
    }
}
