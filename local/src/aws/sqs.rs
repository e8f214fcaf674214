//! SQS.

use std::{collections::BTreeMap, time::Duration};

/// A queue.
#[derive(Debug, Clone)]
pub struct Queue {}

/// A message as it is received.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Id, the same each time it is received.
    pub message_id: String,
    /// For [`Queue::delete`]; new each time it is received.
    pub receipt_handle: String,
    /// Text.
    pub body: String,
    /// MD5 of the body in hex.
    pub md5_of_body: String,
    /// `ApproximateReceiveCount`, `SentTimestamp`, `SenderId`, `ApproximateFirstReceiveTimestamp`.
    pub attributes: BTreeMap<String, String>,
    /// What the sender added.
    pub message_attributes: BTreeMap<String, Attribute>,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number`, or either with a custom suffix.
    pub data_type: String,
    /// Value.
    pub value: String,
}

impl Queue {
    /// ARN.
    pub fn arn(&self) -> &str {
        todo!()
    }

    /// Name.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Puts a message on the queue and returns its id.
    pub fn send(&self, body: &str, attributes: BTreeMap<String, Attribute>) -> String {
        todo!("{body} {attributes:?}")
    }

    /// Takes up to `max` messages, waiting up to `wait` for the first. They are hidden for
    /// `visibility`, else for the queue's own time-out.
    pub async fn receive(&self, max: usize, wait: Duration, visibility: Option<Duration>) -> Vec<Message> {
        todo!("{max} {wait:?} {visibility:?}")
    }

    /// Deletes a received message.
    pub fn delete(&self, receipt_handle: &str) {
        todo!("{receipt_handle}")
    }

    /// Hides a received message for this long from now; zero shows it at once.
    pub fn change_visibility(&self, receipt_handle: &str, timeout: Duration) {
        todo!("{receipt_handle} {timeout:?}")
    }

    /// Messages waiting, and messages received but not yet deleted.
    pub fn depth(&self) -> (usize, usize) {
        todo!()
    }
}
