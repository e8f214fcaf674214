//! The record under `outcome/`: what became of a message, one JSON object on one line.

use serde::{Deserialize, Serialize};

use crate::delivery;

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
    /// Why, if not plainly forwarded: a [`Reason`](delivery::Reason)'s word or an error code.
    pub reason: Option<String>,
    /// The envelope recipients.
    pub recipients: Vec<String>,
    /// Where it goes, each address once.
    pub destinations: Vec<String>,
    /// The checks that tagged it; absent where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The recipients that nothing goes out for, each with its own reason; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
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

impl Status {
    /// As records, logs and the functions' answers write it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Forwarded => "forwarded",
            Status::Dropped => "dropped",
            Status::Rejected => "rejected",
            Status::Failed => "failed",
        }
    }
}

/// Why a message is `failed` that some of its destinations have: not all sends succeeded.
pub const INCOMPLETE: &str = "incomplete";

/// A recipient that nothing goes out for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The envelope recipient as SES wrote it.
    pub recipient: String,
    /// A [`Reason`](delivery::Reason)'s word.
    pub reason: String,
}

impl From<delivery::LeftOut> for LeftOut {
    fn from(delivery::LeftOut { recipient, reason }: delivery::LeftOut) -> LeftOut {
        LeftOut { recipient, reason: reason.word().to_owned() }
    }
}

/// One accepted send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The id SES gave the outgoing message; empty if its answer broke off before that.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_is_recorded() {
        for status in [Status::Forwarded, Status::Dropped, Status::Rejected, Status::Failed] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.word());
        }
    }

    #[test]
    fn a_record_is_one_line_with_every_field() {
        let outcome = Outcome {
            message_id: "m1".to_owned(),
            timestamp: "2026-11-23T10:00:00Z".to_owned(),
            status: Status::Forwarded,
            reason: None,
            recipients: vec!["info@in.example".to_owned()],
            destinations: vec!["info@out.example".to_owned()],
            tags: vec![],
            left_out: vec![],
            sent: vec![Sent {
                message_id: "s1".to_owned(),
                destinations: vec!["info@out.example".to_owned()],
            }],
            error: None,
            request_id: "r1".to_owned(),
            bytes: Some(7),
            forward_millis: Some(950),
        };
        let line = concat!(
            r#"{"messageId":"m1","timestamp":"2026-11-23T10:00:00Z","status":"forwarded","reason":null,"#,
            r#""recipients":["info@in.example"],"destinations":["info@out.example"],"#,
            r#""sent":[{"messageId":"s1","destinations":["info@out.example"]}],"error":null,"#,
            r#""requestId":"r1","bytes":7,"forwardMillis":950}"#,
        );
        assert_eq!(serde_json::to_string(&outcome).unwrap(), line);
        assert_eq!(serde_json::from_str::<Outcome>(line).unwrap(), outcome);
        let left_out = LeftOut { recipient: "x@in.example".to_owned(), reason: "loop".to_owned() };
        let outcome = Outcome { tags: vec!["spam".to_owned()], left_out: vec![left_out], ..outcome };
        let more = r#""tags":["spam"],"leftOut":[{"recipient":"x@in.example","reason":"loop"}],"sent":"#;
        let line = line.replace(r#""sent":"#, more);
        assert_eq!(serde_json::to_string(&outcome).unwrap(), line);
        assert_eq!(serde_json::from_str::<Outcome>(&line).unwrap(), outcome);
    }
}
