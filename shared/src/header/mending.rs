//! To, Cc and Reply-To in a form that SES can read: it refuses the whole message for one mailbox that it
//! can't, even where the request names the recipients.
//!
//! One pass. A mailbox that SES can read stays byte for byte, with what stands around it; one that only a
//! person can read is written anew; what is none goes.

use std::{
    borrow::Cow,
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use super::{
    address_spec::{self, HeaderAddress, MAILBOX_OCTETS},
    encoded_word,
    folding::{self, LINE_OCTETS},
    mailbox::{self, Entries, Entry, Mailbox, Name},
    phrase,
    text::{is_white, lines, unfold},
    token::{Cursor, Token},
};
use crate::address::Address;

/// How many addresses of a field are kept from being repeated. No more are remembered, so that memory stays
/// bounded: a megabyte holds a million, and nobody reads them.
const REMEMBERED: usize = 100_000;
/// What a line needs room for: a mailbox, or the name of a group, and the separators behind it.
const ROOM: usize = MAILBOX_OCTETS + ":;,".len();

/// What becomes of a list of mailboxes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// Stays byte for byte.
    Same,
    /// Is written anew; `loses` if something in it could not be read.
    Anew { text: Vec<u8>, loses: bool },
    /// Holds nothing that SES can read.
    Nothing,
}

/// What is written in the place of an address.
#[derive(Debug)]
pub(super) struct Replacement<'d> {
    pub(super) address: Cow<'d, Address>,
    /// Whether the display name beside it stays.
    pub(super) named: bool,
}

/// Mends a list in clean UTF-8 text whose first line begins at `column`. `replacement` says what is written in
/// the place of an address, if not itself.
pub(super) fn mend<'d>(
    text: &[u8],
    column: usize,
    replacement: impl Fn(&HeaderAddress) -> Option<Replacement<'d>>,
) -> Mended {
    let folds = lines(text).any(|line| line.len() + column > LINE_OCTETS);
    let mut list = List {
        text,
        column,
        out: Vec::with_capacity(text.len() + text.len() / 8 + 64),
        last: None,
        folds,
        changed: folds,
        loses: false,
        seen: HashSet::new(),
        hasher: RandomState::new(),
    };
    let mut entries = Entries::of(text);
    let (mut mailboxes, mut empty_groups) = (0_usize, 0_usize);
    // How many mailboxes there were when the group began that is open.
    let mut group = None;
    let mut end = 0;
    for entry in entries.by_ref() {
        let gap = end..entry.span().start;
        end = entry.span().end;
        match entry {
            Entry::Mailbox(mailbox) => {
                mailboxes += usize::from(list.mailbox(gap, &mailbox, &replacement));
            }
            Entry::Group { span, name, readable } => {
                list.group(gap, &span, name, readable);
                group = Some(mailboxes);
            }
            Entry::GroupEnd { .. } => {
                list.group_end(gap);
                empty_groups += usize::from(group.take() == Some(mailboxes));
            }
            Entry::Junk { .. } => list.drop_entry(gap, true),
        }
    }
    let tail = end..text.len();
    if !entries.readable || list.changed || !list.is_separator(&tail) {
        if mailboxes == 0 {
            return Mended::Nothing;
        }
        list.loses |= !list.is_separator(&tail);
        return Mended::Anew { text: list.out, loses: list.loses };
    }
    if mailboxes + empty_groups == 0 { Mended::Nothing } else { Mended::Same }
}

impl Entry {
    fn span(&self) -> &Range<usize> {
        match self {
            Entry::Mailbox(Mailbox { span, .. })
            | Entry::Group { span, .. }
            | Entry::GroupEnd { span }
            | Entry::Junk { span, .. } => span,
        }
    }
}

/// What was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A mailbox or the end of a group.
    Member,
    /// The beginning of a group.
    Group,
    /// Something before it went.
    Dropped { needs_comma: bool },
}

/// The list that is being written.
struct List<'a> {
    text: &'a [u8],
    column: usize,
    out: Vec<u8>,
    /// `None` at the beginning.
    last: Option<Last>,
    /// Whether a line is too long: each mailbox then has one of its own.
    folds: bool,
    changed: bool,
    loses: bool,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl List<'_> {
    /// Whether nothing but separators and comments stands there.
    fn is_separator(&self, gap: &Range<usize>) -> bool {
        only(&self.text[gap.clone()], &[Token::Comma, Token::Semicolon])
    }

    /// Whether what stands there and a mailbox would make the line too long.
    fn is_full(&self, gap: &Range<usize>) -> bool {
        folding::is_full(&self.out, self.column, gap.len() + ROOM)
    }

    /// What stands between the entry before and this one, as it came where it is in order and leaves the line short.
    fn separate(&mut self, gap: Range<usize>) {
        let text = &self.text[gap.clone()];
        self.loses |= !self.is_separator(&gap);
        let only_white = only(text, &[]);
        let only_commas = !only_white && only(text, &[Token::Comma]);
        let needs_comma = match self.last {
            None | Some(Last::Group) => false,
            Some(Last::Member) => true,
            Some(Last::Dropped { needs_comma }) => needs_comma,
        };
        let in_order = if needs_comma { only_commas } else { only_white };
        let in_order = in_order && !matches!(self.last, Some(Last::Dropped { .. }));
        let folds = self.folds && needs_comma || self.is_full(&gap);
        if in_order && !folds {
            self.out.extend_from_slice(text);
            return;
        }
        // Commas before the first mailbox mean nothing, and stay if nothing else changes. Nor is a fold a change: the line
        // as it came is short.
        self.changed |= !in_order && (needs_comma || !only_commas);
        self.out.extend_from_slice(if needs_comma { b"," } else { b"" });
        self.out.extend_from_slice(if folds { b"\r\n " } else { b" " });
    }

    fn drop_entry(&mut self, gap: Range<usize>, loses: bool) {
        self.changed = true;
        self.loses |= loses || !self.is_separator(&gap);
        let needs_comma = match self.last {
            None | Some(Last::Group) => false,
            Some(Last::Member) => true,
            Some(Last::Dropped { needs_comma }) => needs_comma,
        };
        self.last = Some(Last::Dropped { needs_comma });
    }

    /// Returns whether the mailbox was written.
    fn mailbox<'d>(
        &mut self,
        gap: Range<usize>,
        mailbox: &Mailbox,
        replacement: impl Fn(&HeaderAddress) -> Option<Replacement<'d>>,
    ) -> bool {
        if !mailbox.address.is_sendable() {
            self.drop_entry(gap, true);
            return false;
        }
        let replacement = replacement(&mailbox.address);
        let HeaderAddress { local, domain } = &mailbox.address;
        let key = replacement.as_ref().map_or_else(
            || address_spec::key(local, domain),
            |new| address_spec::key(new.address.local(), new.address.domain()),
        );
        let hash = self.hasher.hash_one(key);
        if self.seen.contains(&hash) {
            self.drop_entry(gap, mailbox.loses);
            return false;
        }
        if self.seen.len() < REMEMBERED {
            self.seen.insert(hash);
        }
        self.separate(gap);
        self.last = Some(Last::Member);
        self.loses |= mailbox.loses;
        let named = replacement.as_ref().is_none_or(|replacement| replacement.named);
        let replacement = replacement.map(|replacement| replacement.address.to_string());
        let Mailbox { span, written, .. } = mailbox;
        let around = span.len() - written.len();
        match replacement {
            Some(address) if !named => {
                self.changed = true;
                self.out.extend_from_slice(address.as_bytes());
            }
            None if mailbox.readable => self.out.extend_from_slice(&self.text[span.clone()]),
            Some(address) if mailbox.readable && around + address.len() <= MAILBOX_OCTETS => {
                self.changed = true;
                self.out.extend_from_slice(&self.text[span.start..written.start]);
                self.out.extend_from_slice(address.as_bytes());
                self.out.extend_from_slice(&self.text[written.end..span.end]);
            }
            replacement => {
                self.changed = true;
                let address = replacement.unwrap_or_else(|| mailbox.address.to_string());
                let name = mailbox::name_of(self.text, mailbox);
                append_mailbox(&mut self.out, self.column, &name, &address);
            }
        }
        true
    }

    fn group(&mut self, gap: Range<usize>, span: &Range<usize>, name: Range<usize>, readable: bool) {
        self.separate(gap);
        self.last = Some(Last::Group);
        if readable {
            self.out.extend_from_slice(&self.text[span.clone()]);
            return;
        }
        self.changed = true;
        let name = encoded_word::decode(&mailbox::unquoted_phrase(&unfold(&self.text[name])));
        phrase::append(&mut self.out, self.column, phrase::cut(name.trim(), MAILBOX_OCTETS / 4));
        self.out.push(b':');
    }

    fn group_end(&mut self, gap: Range<usize>) {
        let text = &self.text[gap.clone()];
        self.loses |= !self.is_separator(&gap);
        let in_order = matches!(self.last, Some(Last::Member | Last::Group)) && self.is_separator(&gap);
        if in_order && !self.folds && !self.is_full(&gap) {
            self.out.extend_from_slice(text);
        }
        self.out.push(b';');
        self.last = Some(Last::Member);
    }
}

/// Whether nothing but white space, comments that SES can read and these tokens stands in a gap.
fn only(gap: &[u8], tokens: &[Token]) -> bool {
    if gap.iter().all(|&byte| is_white(byte)) {
        return true;
    }
    let mut cursor = Cursor::over(gap);
    let mut at = 0;
    while at < gap.len() {
        let (token, end) = cursor.token(at);
        if !matches!(token, Token::White | Token::Comment) && !tokens.contains(&token) {
            return false;
        }
        at = end;
    }
    gap.is_ascii()
}

/// Appends a mailbox on clean lines. Its name is cut at a character, and its comments left out, so that it
/// stays within [`MAILBOX_OCTETS`].
pub(super) fn append_mailbox(out: &mut Vec<u8>, column: usize, name: &Name, address: &str) {
    let mut length = phrase::append_mailbox(out, column, name.text.trim(), address);
    for comment in &name.comments {
        let before = out.len();
        out.extend_from_slice(b" (");
        if comment.is_ascii() {
            out.extend_from_slice(comment);
        } else {
            encoded_word::encode(out, column, &encoded_word::decode(comment));
        }
        out.push(b')');
        let added = out.len() - before;
        if length + added > MAILBOX_OCTETS {
            out.truncate(before);
        } else {
            length += added;
        }
    }
}
