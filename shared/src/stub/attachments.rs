//! What a message has beside its text, by name and size.

use std::fmt::Write;

use super::size;
use crate::header::PartFacts;

/// How many are listed; the others are counted.
const LISTED: usize = 100;

/// Longest media type shown, in characters.
const TYPE_SHOWN: usize = 60;

/// The attachments of a message.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    listed: Vec<String>,
    /// Those that are only counted, and their bytes.
    others: (usize, usize),
}

impl Attachments {
    /// Takes one in, of so many bytes.
    pub(super) fn add(&mut self, facts: &PartFacts, bytes: usize) {
        if self.listed.len() == LISTED {
            self.others = (self.others.0 + 1, self.others.1.saturating_add(bytes));
            return;
        }
        let kind: String =
            facts.media_type.chars().filter(|char| !char.is_control()).take(TYPE_SHOWN).collect();
        let kind = if kind.is_empty() { "text/plain" } else { &kind };
        let name = facts.file_name.as_deref().unwrap_or("(without a name)");
        self.listed.push(format!("- {name}, {}, {kind}", size(bytes)));
    }

    /// Appends the list, if there is any.
    pub(super) fn list(&self, out: &mut String) {
        if self.listed.is_empty() {
            return;
        }
        out.push_str("\r\nWhat else is in it:\r\n");
        for line in &self.listed {
            let _ = write!(out, "{line}\r\n");
        }
        if self.others.0 > 0 {
            let _ = write!(out, "- {} more, {}\r\n", self.others.0, size(self.others.1));
        }
    }
}
