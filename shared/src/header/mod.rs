//! The header block: found, and rewritten so that SES accepts the message and its reader still
//! sees who wrote it. The body is never looked at.

use crate::{decision::Delivery, outcome::Reason};

/// Where the header block of a message ends, and its fields.
#[derive(Debug)]
pub struct HeaderBlock<'a> {
    /// Offset of the first body byte, behind the empty line if there is one.
    pub body_at: usize,
    /// The fields in order.
    pub fields: Vec<Field<'a>>,
}

/// One field as it came.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Name, as written, without white space before the colon.
    pub name: &'a [u8],
    /// Everything behind the colon, folding included, without the last line end.
    pub value: &'a [u8],
}

/// What deciding needs to know of a header block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// The values of all `X-Loop` fields, trimmed.
    pub loops: Vec<String>,
    /// How many `Received` fields there are.
    pub received: usize,
    /// `Auto-Submitted`, lower-cased, without parameters (RFC 3834 section 5).
    pub auto_submitted: Option<String>,
    /// The `report-type` of a `Content-Type: multipart/report`, lower-cased (RFC 6522 section 3): it
    /// tells a bounce (`delivery-status`) from a vacation notice, which comes from the null sender too.
    pub report_type: Option<String>,
    /// Whether this is one of our own notices.
    pub notice: bool,
}

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

/// Finds the header block.
pub fn split(message: &[u8]) -> HeaderBlock<'_> {
    todo!("{}", message.len())
}

impl HeaderFacts {
    /// Collects the facts.
    pub fn of(block: &HeaderBlock<'_>) -> HeaderFacts {
        todo!("{block:?}")
    }
}

/// Rewrites a header block.
pub fn rewrite(block: &HeaderBlock<'_>, how: &Rewrite<'_>) -> Rewritten {
    todo!("{block:?} {how:?}")
}
