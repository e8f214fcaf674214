//! From whom: what happens to mail by its sender, for everyone and for one recipient.
//!
//! Two addresses stand for a message's sender: the author in its From field, and the envelope sender.
//! The table for the recipient goes before the one for everyone; of several tables for it, the most
//! specific, as with routes. In a table the most specific line decides: `user+tag@domain`,
//! `user@domain`, `@domain`, `@*.parent` (the longest parent first), `@`; of two that are as specific,
//! the one for the author.
//!
//! Anyone can write any address into a From field. So a line that says `forward`, and lets mail past
//! the verdicts, counts only for an address that is authenticated; for any other it is as if the line
//! were not there, and the next one decides.

use std::collections::HashMap;

use super::pattern::{How, Pattern, candidates};
use crate::address::Address;

/// What is done with mail from a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderAction {
    /// `forward`: whatever the verdicts say.
    Forward,
    /// `tag`: forward, marked in the subject and in `X-Forwarder-Verdict`.
    Tag,
    /// `drop`: record it, do not send it.
    Drop,
    /// `refuse`: drop it and tell the sender.
    Refuse,
}

/// What a routes file says of senders.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    everyone: Table,
    of_recipients: HashMap<Pattern, Table>,
    let_past_verdicts: bool,
}

/// An address that a message says it is from.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The address.
    pub address: &'a Address,
    /// Whether somebody vouches for it: DMARC, or SPF or DKIM for its domain.
    pub authenticated: bool,
}

/// The line that decided on a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderMatch<'a> {
    /// The recipient's key, if the line stands in a table for a recipient.
    pub recipient: Option<&'a str>,
    /// The sender's key as it stands in the file.
    pub key: &'a str,
    /// Line of the key in the file.
    pub line: usize,
    /// What to do.
    pub action: SenderAction,
}

/// Lines for senders.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// The recipient's key as it stands in the file; empty for everyone's table.
    pub(super) key: String,
    pub(super) lines: HashMap<Pattern, SenderLine>,
}

#[derive(Debug, Clone)]
pub(super) struct SenderLine {
    pub(super) key: String,
    pub(super) number: usize,
    /// The key's first byte in the file.
    pub(super) at: usize,
    action: SenderAction,
}

impl SenderAction {
    /// Reads the word for it, in any case.
    pub(super) fn read(word: &str) -> Option<SenderAction> {
        let actions = [SenderAction::Forward, SenderAction::Tag, SenderAction::Drop, SenderAction::Refuse];
        actions.into_iter().find(|action| action.word().eq_ignore_ascii_case(word))
    }

    /// As a file writes it.
    pub fn word(self) -> &'static str {
        match self {
            SenderAction::Forward => "forward",
            SenderAction::Tag => "tag",
            SenderAction::Drop => "drop",
            SenderAction::Refuse => "refuse",
        }
    }
}

impl Senders {
    pub(super) fn new(everyone: Table, of_recipients: HashMap<Pattern, Table>) -> Senders {
        let senders = Senders { everyone, of_recipients, let_past_verdicts: false };
        let let_past_verdicts = senders.tables().any(Table::lets_past_verdicts);
        Senders { let_past_verdicts, ..senders }
    }

    /// The line for a message to a recipient, by its author and its envelope sender as far as it has them.
    pub fn lookup(
        &self,
        recipient: &Address,
        author: Option<Claim<'_>>,
        envelope: Option<Claim<'_>>,
    ) -> Option<SenderMatch<'_>> {
        if self.is_empty() {
            return None;
        }
        let claims = [author, envelope].into_iter().flatten();
        let mut keys: Vec<(How, Pattern, bool)> = claims
            .flat_map(|claim| {
                candidates(claim.address).map(move |(pattern, how)| (how, pattern, claim.authenticated))
            })
            .collect();
        // Stable: of two as specific, the author's stays first.
        keys.sort_by_key(|(how, _, _)| *how);
        let own = candidates(recipient).filter_map(|(pattern, _)| self.of_recipients.get(&pattern));
        own.chain([&self.everyone]).find_map(|table| table.find(&keys))
    }

    /// Whether some sender may get past the verdicts: then a message has to be read to decide on it.
    pub fn let_past_verdicts(&self) -> bool {
        self.let_past_verdicts
    }

    /// The same with one more line `forward` for everyone.
    pub(super) fn letting_past(&self, sender: &Address) -> Senders {
        let mut senders = Senders { let_past_verdicts: true, ..self.clone() };
        let key = sender.to_string();
        if let Some((pattern, _)) = candidates(sender).next() {
            let line = SenderLine { key, number: 0, at: 0, action: SenderAction::Forward };
            senders.everyone.lines.insert(pattern, line);
        }
        senders
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.tables().map(|table| table.lines.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.everyone.lines.is_empty() && self.of_recipients.is_empty()
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.everyone).chain(self.of_recipients.values())
    }
}

impl Table {
    /// Adds a line, or says which line is for the same already.
    pub(super) fn insert(
        &mut self,
        pattern: Pattern,
        key: String,
        number: usize,
        at: usize,
        action: SenderAction,
    ) -> Result<(), usize> {
        if let Some(first) = self.lines.get(&pattern) {
            return Err(first.number);
        }
        self.lines.insert(pattern, SenderLine { key, number, at, action });
        Ok(())
    }

    fn lets_past_verdicts(&self) -> bool {
        self.lines.values().any(|line| line.action == SenderAction::Forward)
    }

    fn find(&self, keys: &[(How, Pattern, bool)]) -> Option<SenderMatch<'_>> {
        keys.iter().find_map(|(_, pattern, authenticated)| {
            let line = self.lines.get(pattern)?;
            let counts = line.action != SenderAction::Forward || *authenticated;
            counts.then_some(SenderMatch {
                recipient: (!self.key.is_empty()).then_some(&*self.key),
                key: &line.key,
                line: line.number,
                action: line.action,
            })
        })
    }
}
