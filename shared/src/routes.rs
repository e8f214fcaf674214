//! Who gets what: `config/routes.toml`, looked up in the order of Postfix virtual(5).

use crate::address::Address;

/// The routes file, checked; or the default that sends every received domain to another one.
#[derive(Debug, Clone)]
pub struct Routes {}

/// What is wrong with a routes file, or odd about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line in characters, from 1.
    pub column: usize,
    /// What was found and what is allowed.
    pub message: String,
}

/// The line that decided, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<'a> {
    /// The key as it stands in the file, or the default's.
    pub key: &'a str,
    /// Line of the key in the file; `None` for the built-in default.
    pub line: Option<usize>,
    /// Where mail goes; empty discards it.
    pub destinations: Vec<Address>,
}

impl Routes {
    /// `"@EMAIL_DOMAIN" = "@DESTINATION_DOMAIN"` alone.
    pub fn default_for(email_domain: &str, destination_domain: Option<&str>) -> Routes {
        todo!("{email_domain} {destination_domain:?}")
    }

    /// Reads a routes file. Every error is reported, not only the first.
    pub fn parse(
        file: &str,
        email_domain: &str,
        destination_domain: Option<&str>,
    ) -> Result<Routes, Vec<Problem>> {
        todo!("{file} {email_domain} {destination_domain:?}")
    }

    /// The line for a recipient: `user+tag@domain`, `user@domain`, `user`, `@domain`.
    /// `None`: no line matches.
    pub fn lookup(&self, recipient: &Address) -> Option<Match<'_>> {
        todo!("{recipient:?}")
    }
}
