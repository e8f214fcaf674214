//! Who wrote a message, and the mailbox at our domain that still tells so.
//!
//! SES sends only from verified identities, so From becomes `jane_example.com@EMAIL_DOMAIN`, and
//! DMARC holds. The author's own address goes into Reply-To.

use std::{collections::HashSet, fmt::Write};

use super::{
    address_spec::{HeaderAddress, MAILBOX_OCTETS, key},
    encoded_word::without_controls,
    folding::is_full,
    mailbox::{Entries, Entry, Mailbox, name_in_junk, name_of},
    phrase,
};
use crate::address::is_atext;

/// Longest local part in octets (RFC 5321 section 4.5.3.1.1).
const LOCAL_OCTETS: usize = 64;
/// The author of a message that names none, and has no envelope sender either.
const UNKNOWN: &str = "unknown";
/// Octets of `-` and the hash at the end of a local part that was cut.
const HASH_OCTETS: usize = 9;
/// How many authors Reply-To names at most.
const AUTHORS: usize = 10_000;

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    /// Decoded display name; empty if there is none.
    name: String,
    /// `None`: unknown.
    address: Option<HeaderAddress>,
}

/// Whether rewriting a From may have made this local part of its author's address: an automatic answer to it
/// answers a message that was forwarded.
///
/// `jane@example.com` becomes `jane_example.com`, `root@localhost` becomes `root_localhost`, `a@[192.0.2.1]`
/// becomes `a__192.0.2.1_`, an author that can't be told becomes `unknown`, and what is too long ends in `-` and
/// eight hex digits. A real mailbox can look the same: a local part with an underscore inside always does.
pub fn is_made_up(local: &str) -> bool {
    let names_a_domain = || local.bytes().skip(1).rev().skip(1).any(|byte| byte == b'_');
    let is_cut = || {
        let (_, hash) = local.split_at_checked(LOCAL_OCTETS - HASH_OCTETS).unwrap_or_default();
        hash.len() == HASH_OCTETS
            && hash.strip_prefix('-').is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    local.eq_ignore_ascii_case(UNKNOWN) || is_cut() || names_a_domain()
}

/// The author's mailbox among the entries of a From field: the first that has a form in ASCII; of several in brackets
/// without a comma between them, the last. Whoever asks for the author has to ask here, or routes would decide by
/// another than the reader sees.
pub(super) fn mailbox_in(entries: impl Iterator<Item = Entry>) -> Option<Mailbox> {
    let mut found: Option<Mailbox> = None;
    for entry in entries {
        let mailbox = match entry {
            Entry::Mailbox(mailbox) if found.is_none() || mailbox.continues => mailbox,
            _ if found.is_some() => break,
            _ => continue,
        };
        if mailbox.address.local.is_ascii() {
            found = Some(mailbox);
        }
    }
    found
}

impl Author {
    /// Whom a From field's clean text names; else the envelope sender; else unknown. A display name of the field stays
    /// even so, as it is all that tells of a bounce's or an international author.
    pub(super) fn find(from: Option<&[u8]>, envelope_sender: Option<&str>) -> Author {
        let text = from.unwrap_or_default();
        match mailbox_in(Entries::of(text)) {
            Some(mailbox) => Author { name: name_of(text, &mailbox).text, address: Some(mailbox.address) },
            None => Author { name: first_name(text), address: envelope_address(envelope_sender) },
        }
    }

    /// The addr-spec at our domain.
    pub(super) fn local_address(&self, email_domain: &str) -> String {
        format!("{}@{email_domain}", self.local_part())
    }

    /// The author's address with `@` as `_`, and as `_` too whatever else is no `atext` or could begin an
    /// encoded-word.
    fn local_part(&self) -> String {
        let Some(HeaderAddress { local, domain }) = &self.address else {
            return UNKNOWN.to_owned();
        };
        let mut part = String::with_capacity(LOCAL_OCTETS);
        let mut after_dot = true;
        let mut chars = local.chars().chain(['@']).chain(domain.chars()).peekable();
        while let Some(char) = chars.next() {
            let is_encoded = char == '=' && chars.next_if_eq(&'?').is_some();
            let keeps = !is_encoded && u8::try_from(char).is_ok_and(is_atext) || (char == '.' && !after_dot);
            part.push(if keeps { char } else { '_' });
            after_dot = keeps && char == '.';
        }
        if after_dot {
            part.pop();
            part.push('_');
        }
        if part.len() > LOCAL_OCTETS {
            part.truncate(LOCAL_OCTETS - HASH_OCTETS);
            let hash = fnv1a(local.bytes().chain([b'@']).chain(domain.bytes()));
            write!(part, "-{hash:08x}").expect("a string takes any text");
        }
        part
    }

    /// The author's own address, if SES takes it.
    pub(super) fn own_address(&self) -> Option<&HeaderAddress> {
        self.address.as_ref().filter(|address| address.is_sendable())
    }

    /// The display name, decoded.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The mailbox for a From field, with the address that stands for the author's at our domain.
    pub(super) fn mailbox_at(&self, address: &str) -> Vec<u8> {
        let name = harmless(&self.name);
        let name = match &self.address {
            _ if !name.trim().is_empty() => name,
            Some(HeaderAddress { local, domain }) => harmless(&format!("{local} at {domain}")),
            None => UNKNOWN.to_owned(),
        };
        let mut out = Vec::new();
        phrase::append_mailbox(&mut out, "From: ".len(), name.trim(), address);
        out
    }

    /// The authors' own mailboxes, for a Reply-To field: all that From names and SES takes; else the envelope sender's.
    /// `None` if there is none, as an answer to an address that nobody named would reach nobody. `written` says
    /// what stands there for an address.
    pub(super) fn own_mailboxes(
        &self,
        from: Option<&[u8]>,
        envelope_sender: Option<&str>,
        written: impl Fn(&HeaderAddress) -> String,
    ) -> Option<Vec<u8>> {
        let column = "Reply-To: ".len();
        let mut out = Vec::new();
        let mut add = |name: &str, address: &HeaderAddress| {
            if !out.is_empty() {
                let folds = is_full(&out, column, MAILBOX_OCTETS + ", ,".len());
                out.extend_from_slice(if folds { b",\r\n " } else { b", " });
            }
            phrase::append_mailbox(&mut out, column, name.trim(), &written(address));
        };
        let mut seen = HashSet::new();
        let text = from.unwrap_or_default();
        for entry in Entries::of(text) {
            if let Entry::Mailbox(mailbox) = entry
                && mailbox.address.is_sendable()
                && (seen.len() < AUTHORS && seen.insert(key(&mailbox.address.local, &mailbox.address.domain)))
            {
                add(&name_of(text, &mailbox).text, &mailbox.address);
            }
        }
        if seen.is_empty()
            && let Some(address) = envelope_address(envelope_sender).filter(HeaderAddress::is_sendable)
        {
            add(&self.name, &address);
        }
        (!out.is_empty()).then_some(out)
    }
}

/// The envelope sender's address, if it has a form in ASCII.
fn envelope_address(envelope_sender: Option<&str>) -> Option<HeaderAddress> {
    let sender = without_controls(envelope_sender?);
    let sender = sender.trim().trim_start_matches('<').trim_end_matches('>');
    HeaderAddress::read(sender).filter(|address| address.local.is_ascii())
}

/// The first display name of a From field that names no author; empty if it has none.
fn first_name(text: &[u8]) -> String {
    let mut names = Entries::of(text).filter_map(|entry| match entry {
        Entry::Mailbox(mailbox) => Some(name_of(text, &mailbox).text),
        Entry::Junk { span, opened } => Some(name_in_junk(text, span, opened)),
        Entry::Group { .. } | Entry::GroupEnd { .. } => None,
    });
    names.next().unwrap_or_default()
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

/// FNV-1a, 32 bits: short, and the same in every version of this program, as replies and bounces
/// come back to the address it is part of.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn made_up_in_every_form() {
        for from in [
            "jane@example.com",
            "root@localhost",
            "a@[192.0.2.1]",
            "",
            "_@x",
            "\"a b\"@x.example",
            ".@x",
            "Jane <jane@bücher.example>",
            "x@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example.com",
        ] {
            let local = Author::find(Some(from.as_bytes()), None).local_part();
            assert!(is_made_up(&local), "{from} became {local}");
        }
        let cut = format!("{}-0123456_", "x".repeat(55));
        for local in ["jane", "jane.doe", "_jane", "jane_", "unknown.person", "", &cut[..63]] {
            assert!(!is_made_up(local), "{local}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_author_becomes_is_known_as_made_up(from in "[ -~]{0,20}@?[a-z.<>\\[\\]0-9]{0,80}", sender in "\\PC{0,20}@[a-z]{1,20}") {
            for envelope_sender in [None, Some(sender.as_str())] {
                let local = Author::find(Some(from.as_bytes()), envelope_sender).local_part();
                prop_assert!(is_made_up(&local), "{from:?} became {local:?}");
                prop_assert!((1..=LOCAL_OCTETS).contains(&local.len()));
            }
        }
    }
}
