//! The header block: found, and rewritten so that SES accepts the message and its reader still
//! sees who wrote it. The body is never looked at.

mod block;
mod facts;
mod text;

pub use block::{Field, Fields, HeaderBlock, split};
pub use facts::HeaderFacts;

use crate::{decision::Delivery, outcome::Reason};

/// How to rewrite.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<'a> {
    /// `EMAIL_DOMAIN`, ASCII.
    pub email_domain: &'a str,
    /// The envelope sender, unless null.
    pub envelope_sender: Option<&'a str>,
    /// The recipients of this invocation and their destinations.
    pub deliveries: &'a [Delivery],
    /// `SUBJECT_PREFIX`.
    pub subject_prefix: &'a str,
    /// The checks that asked for a tag.
    pub tags: &'a [Reason],
}

/// The new header block; what follows it on the wire is the body as it was.
#[derive(Debug)]
pub struct Rewritten {
    /// All fields in CRLF lines, and the empty line.
    pub header: Vec<u8>,
    /// The rewritten From's addr-spec: `FromEmailAddress`.
    pub from: String,
    /// What was dropped for the log: names of fields and why, no values.
    pub notes: Vec<String>,
}

/// Rewrites a header block.
pub fn rewrite(block: &HeaderBlock<'_>, how: &Rewrite<'_>) -> Rewritten {
    todo!("{block:?} {how:?}")
}
