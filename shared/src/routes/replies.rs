//! `[replies]`: who may answer from the aliases, how often, and whether anybody may.
//!
//! ```toml
//! [replies]
//! enabled = true                          # false: nothing goes out from an alias, within a minute
//! per-hour = 100                          # answers of an alias
//! allow = ["ann@mobile.example"]          # besides those who get an alias's mail
//! ```
//!
//! Except for `allow`, these values are the defaults.

use crate::address::Address;

/// Answers that may go out from an alias in an hour, unless the file says otherwise: more than a person writes.
pub const PER_HOUR: u32 = 100;

/// The most that a file may say: each of them is remembered for the hour.
pub const PER_HOUR_MAX: u32 = 10_000;

/// What a routes file says of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRules {
    /// Whether answers go out at all.
    pub enabled: bool,
    /// How many of an alias in an hour.
    pub per_hour: u32,
    /// Who may answer from any alias, besides its destinations.
    pub allow: Vec<Address>,
}

impl Default for ReplyRules {
    fn default() -> ReplyRules {
        ReplyRules { enabled: true, per_hour: PER_HOUR, allow: Vec::new() }
    }
}
