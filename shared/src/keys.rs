//! Where things are in the bucket. Keys hold the messageId and a date, or a hash, never text from the mail.

use sha2::{Digest, Sha256};
use time::Date;

use crate::address::Address;

/// The destinations that mail is held for, written with `If-Match`.
pub const SUSPENDED: &str = "state/destinations.json";

/// The keys that sign addresses: beside the routes, and made by `handle-email` itself.
pub const REPLY_KEYS: &str = "config/reply-keys.json";

/// `contacts/<name>.json`: whom a signed address stands for that does not say so itself.
pub fn contact(name: &str) -> String {
    format!("contacts/{name}.json")
}

/// `state/answers/<hash>/<hash>.json`: that a message has gone out from an alias to a correspondent.
pub fn answered(alias: &Address, correspondent: &Address, message_id: &[u8]) -> String {
    let (alias, correspondent) = (lower(alias), lower(correspondent));
    let of_message = hash(&[alias.as_bytes(), b" ", correspondent.as_bytes(), b" ", message_id]);
    format!("state/answers/{}/{of_message}.json", hash(&[alias.as_bytes()]))
}

/// `state/answers/<hash>.json`: how many answers have gone out from an alias in an hour. By a hash, as an alias may
/// hold what an address may.
pub fn answers_of(alias: &Address) -> String {
    format!("state/answers/{}.json", hash(&[lower(alias).as_bytes()]))
}

fn lower(address: &Address) -> String {
    address.to_string().to_ascii_lowercase()
}

/// The first half of the SHA-256 of these, one after the other.
fn hash(parts: &[&[u8]]) -> String {
    let whole = parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize();
    whole.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The object prefixes of the two functions, each ending in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes {
    /// Raw messages, written by SES: `MESSAGES_PREFIX`.
    pub messages: String,
    /// SES notifications, verbatim: `INDEX_PREFIX`.
    pub index: String,
    /// What became of each message: `OUTCOME_PREFIX`.
    pub outcome: String,
    /// Outgoing messages that SES refused: `ERROR_PREFIX`.
    pub error: String,
}

impl Prefixes {
    /// `messages/<messageId>`, as SES forms it: prefix and messageId, nothing between.
    pub fn message(&self, message_id: &str) -> String {
        format!("{}{message_id}", self.messages)
    }

    /// `index/YYYY/MM/DD/<messageId>.json`, by the UTC date of `mail.timestamp`.
    pub fn index(&self, day: Date, message_id: &str) -> String {
        dated(&self.index, day, message_id, "json")
    }

    /// `outcome/YYYY/MM/DD/<messageId>.json`.
    pub fn outcome(&self, day: Date, message_id: &str) -> String {
        dated(&self.outcome, day, message_id, "json")
    }

    /// `outcome/YYYY/MM/DD/`: what the keys of a day's outcomes begin with.
    pub fn outcomes_of(&self, day: Date) -> String {
        format!("{}{}/", self.outcome, folder(day))
    }

    /// `error/YYYY/MM/DD/<messageId>.eml`.
    pub fn error(&self, day: Date, message_id: &str) -> String {
        dated(&self.error, day, message_id, "eml")
    }

    /// `error/notices/<request id>.json`: the mark of a dead letter that the operator has been told.
    pub fn notice(&self, request_id: &str) -> String {
        format!("{}notices/{request_id}.json", self.error)
    }
}

fn dated(prefix: &str, day: Date, message_id: &str, extension: &str) -> String {
    format!("{prefix}{}/{message_id}.{extension}", folder(day))
}

fn folder(day: Date) -> String {
    format!("{:04}/{:02}/{:02}", day.year(), u8::from(day.month()), day.day())
}
