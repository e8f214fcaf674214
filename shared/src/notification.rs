//! What SES says it received: the Lambda action event, or the same notification wrapped in SNS.
//!
//! Reading is tolerant, since a message must not be lost to an odd notification: unknown fields are
//! ignored here and kept in the index, absent ones have a default, unknown verdict words are kept
//! as such. `aws_lambda_events` is not used: it refuses mail without From and drops fields
//! when it writes a notification out again.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html>

use std::borrow::Cow;

use serde_json::value::RawValue;
use time::OffsetDateTime;

/// What one record of an event is.
#[derive(Debug)]
pub enum Record<'a> {
    /// A message SES received.
    Received {
        /// The record's `ses` object (or the SNS message) as it came, on one line: what the index keeps.
        verbatim: Cow<'a, str>,
        /// What is read from it.
        notification: Notification,
    },
    /// Not for this function: what it is instead, for the log.
    Ignored(String),
}

/// The parts of a notification that a decision or a record needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notification {
    /// `mail.messageId`: the key of the stored message.
    pub message_id: String,
    /// `mail.timestamp`, else `receipt.timestamp`; `None` if neither can be read.
    pub timestamp: Option<OffsetDateTime>,
    /// `mail.source`: the envelope sender; `None` for the null reverse-path (RFC 5321 section 4.5.5).
    pub source: Option<String>,
    /// `receipt.recipients`: the envelope recipients that matched the rule, as written.
    pub recipients: Vec<String>,
    /// `mail.commonHeaders.subject`, for the notice only; never logged.
    pub subject: Option<String>,
    /// `mail.commonHeaders.from`, for the notice only; never logged.
    pub from: Vec<String>,
    /// `receipt.spamVerdict.status`.
    pub spam: Verdict,
    /// `receipt.virusVerdict.status`.
    pub virus: Verdict,
    /// `receipt.spfVerdict.status`.
    pub spf: Verdict,
    /// `receipt.dkimVerdict.status`.
    pub dkim: Verdict,
    /// `receipt.dmarcVerdict.status`.
    pub dmarc: Verdict,
    /// `receipt.dmarcPolicy`, there only if DMARC failed: `none`, `quarantine` or `reject`.
    pub dmarc_policy: Option<String>,
}

/// A verdict of SES's scanners. Only [`Verdict::Fail`] is a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verdict {
    /// `PASS`.
    Pass,
    /// `FAIL`.
    Fail,
    /// `GRAY`: the scanner is not sure.
    Gray,
    /// `PROCESSING_FAILED`: the scanner could not tell.
    ProcessingFailed,
    /// `DISABLED`, or absent: scanning is off.
    #[default]
    Disabled,
    /// A word SES did not document when this was written.
    Other(String),
}

/// The records of an invocation's event: `{"Records":[…]}` with SES or SNS records, a bare SNS
/// notification or a bare SES notification.
pub fn records(event: &RawValue) -> Vec<Record<'_>> {
    todo!("{event}")
}
