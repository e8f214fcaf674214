//! The record under `outcome/`: what became of a message, one JSON object on one line.

use serde::{Deserialize, Serialize};

/// What became of a message. Field names are a contract: the analytics tables and the operator's
/// commands read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// SES's messageId.
    pub message_id: String,
    /// Timestamp of the notification, RFC 3339.
    pub timestamp: String,
    /// How it ended.
    pub status: Status,
    /// Why, if not plainly forwarded: a [`Reason`]'s word or an error code.
    pub reason: Option<String>,
    /// The envelope recipients.
    pub recipients: Vec<String>,
    /// Where it goes, each address once.
    pub destinations: Vec<String>,
    /// What SES accepted, one entry a send.
    pub sent: Vec<Sent>,
    /// What failed.
    pub error: Option<Failure>,
    /// Request id of the invocation that recorded this.
    pub request_id: String,
    /// Size of the stored message in bytes; absent where it was not read.
    pub bytes: Option<u64>,
    /// Milliseconds from `timestamp` to SES's acceptance of the last send; absent where nothing was sent.
    pub forward_millis: Option<u64>,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// SES accepted every send.
    Forwarded,
    /// By verdict, loop or route; no error.
    Dropped,
    /// SES refused it for good.
    Rejected,
    /// Not sent, or not to everyone.
    Failed,
}

/// Why a message was dropped or tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The spam scanner said FAIL.
    Spam,
    /// The virus scanner said FAIL.
    Virus,
    /// DMARC failed and the domain's policy is `reject`.
    Dmarc,
    /// Neither SPF nor DKIM passed.
    Unauthenticated,
    /// It has been here before, or travels in circles.
    Loop,
    /// No line of the routes matches any recipient.
    NoRoute,
    /// The routes discard it.
    Discarded,
    /// A destination's refusal of a message we forwarded.
    Bounce,
    /// An automatic reply to a message we forwarded.
    AutoReply,
}

impl Reason {
    /// The word in the record, and in `X-Forwarder-Verdict`.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Spam => "spam",
            Reason::Virus => "virus",
            Reason::Dmarc => "dmarc",
            Reason::Unauthenticated => "unauthenticated",
            Reason::Loop => "loop",
            Reason::NoRoute => "no-route",
            Reason::Discarded => "discarded",
            Reason::Bounce => "bounce",
            Reason::AutoReply => "auto-reply",
        }
    }
}

/// Why a message is `failed` that some of its destinations have: not all sends succeeded.
pub const INCOMPLETE: &str = "incomplete";

/// One accepted send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The id SES gave the outgoing message.
    pub message_id: String,
    /// Its envelope.
    pub destinations: Vec<String>,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's name, such as `MessageRejected`.
    pub code: String,
    /// What the service said.
    pub message: String,
}
