//! Who wrote a message, and the mailbox at our domain that still tells so.
//!
//! SES sends only from verified identities, so From becomes `jane_example.com@EMAIL_DOMAIN`, and
//! DMARC holds. The author's own address goes into Reply-To.

use std::fmt::Write;

use super::{
    ascii::append_angle,
    encoded_word::text_of,
    mailbox::{self, Elements, HeaderAddress},
    phrase,
};
use crate::address::{is_atext, is_dot_atom};

/// Longest local part in octets (RFC 5321 section 4.5.3.1.1).
const LOCAL_OCTETS: usize = 64;
/// Longest mailbox in octets, display name included: SES refuses those over 320.
const MAILBOX_OCTETS: usize = 319;
/// The author of a message that names none, and has no envelope sender either.
const UNKNOWN: &str = "unknown";

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    /// Decoded display name; empty if there is none.
    name: String,
    /// `None`: unknown.
    address: Option<HeaderAddress>,
}

impl Author {
    /// The first mailbox of a From field's clean text; else the envelope sender; else unknown.
    pub(super) fn find(from: Option<&[u8]>, envelope_sender: Option<&str>) -> Author {
        let in_field = from.and_then(|text| {
            Elements::of(text).find_map(|element| {
                let address = HeaderAddress::read(&text[element.address.clone()?])?;
                Some(Author { name: mailbox::display_name(text, &element), address: Some(address) })
            })
        });
        in_field.unwrap_or_else(|| Author {
            name: String::new(),
            address: envelope_sender.and_then(|sender| {
                let sender = text_of(sender.as_bytes());
                HeaderAddress::read(sender.trim().trim_start_matches('<').trim_end_matches('>').as_bytes())
            }),
        })
    }

    /// The addr-spec at our domain.
    pub(super) fn local_address(&self, email_domain: &str) -> String {
        format!("{}@{email_domain}", self.local_part())
    }

    /// The author's address with `@` as `_` and whatever else is no `atext` as `_` too.
    fn local_part(&self) -> String {
        let Some(HeaderAddress { local, domain }) = &self.address else {
            return UNKNOWN.to_owned();
        };
        let mut part = String::with_capacity(LOCAL_OCTETS);
        let mut after_dot = true;
        for char in local.chars().chain(['@']).chain(domain.chars()) {
            let keeps = u8::try_from(char).is_ok_and(is_atext) || (char == '.' && !after_dot);
            part.push(if keeps { char } else { '_' });
            after_dot = keeps && char == '.';
        }
        if after_dot {
            part.pop();
            part.push('_');
        }
        if part.len() > LOCAL_OCTETS {
            part.truncate(LOCAL_OCTETS - 9);
            let hash = fnv1a(local.bytes().chain([b'@']).chain(domain.bytes()));
            write!(part, "-{hash:08x}").expect("a string takes any text");
        }
        part
    }

    /// The mailbox at our domain, for a From field.
    pub(super) fn local_mailbox(&self, email_domain: &str) -> Vec<u8> {
        let name = match &self.address {
            _ if !self.name.is_empty() => self.name.clone(),
            Some(HeaderAddress { local, domain }) => format!("{local} at {domain}"),
            None => UNKNOWN.to_owned(),
        };
        mailbox(harmless(&name).trim(), &self.local_address(email_domain), "From: ".len())
    }

    /// The author's own mailbox, for a Reply-To field. `None` if there is none, or one so long that
    /// SES would refuse the message for it.
    pub(super) fn own_mailbox(&self) -> Option<Vec<u8>> {
        let HeaderAddress { local, domain } = self.address.as_ref()?;
        let local: String = local.chars().map(|char| if char.is_ascii() { char } else { '?' }).collect();
        let mut address = Vec::with_capacity(local.len() + domain.len() + 3);
        if is_dot_atom(&local) {
            address.extend_from_slice(local.as_bytes());
        } else {
            phrase::append_quoted(&mut address, &local);
        }
        address.push(b'@');
        address.extend_from_slice(domain.as_bytes());
        let address = String::from_utf8(address).ok().filter(|address| address.len() <= MAILBOX_OCTETS)?;
        Some(mailbox(&self.name, &address, "Reply-To: ".len()))
    }
}

/// A display name that can't be taken for an address or for another name: mail services hide or
/// refuse names that hold an address, and bidirectional overrides (Unicode UAX 9) show text in an
/// order in which nobody wrote it.
fn harmless(name: &str) -> String {
    let mut harmless = String::with_capacity(name.len() + 8);
    for char in name.chars() {
        match char {
            '@' | '\u{fe6b}' | '\u{ff20}' => harmless.push_str(" at "),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '\u{2028}' | '\u{2029}' => harmless.push(' '),
            _ => harmless.push(char),
        }
    }
    harmless
}

/// A mailbox on clean lines, the name cut at a character so that it stays within
/// [`MAILBOX_OCTETS`].
fn mailbox(name: &str, address: &str, column: usize) -> Vec<u8> {
    let longest = name.len().min(MAILBOX_OCTETS);
    for cut in (0..=longest).rev().filter(|&cut| name.is_char_boundary(cut)) {
        let name = name[..cut].trim();
        if name.is_empty() {
            break;
        }
        let mut out = Vec::with_capacity(MAILBOX_OCTETS);
        phrase::append(&mut out, column, name);
        append_angle(&mut out, column, address.as_bytes());
        if out.len() <= MAILBOX_OCTETS {
            return out;
        }
    }
    address.as_bytes().to_vec()
}

/// FNV-1a, 32 bits: short, and the same in every version of this program, as replies and bounces
/// come back to the address it is part of.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
