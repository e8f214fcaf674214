//! One event for one function.

use bytes::Bytes;

use super::{subject, trace::Trace};

/// One event for one function.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    /// The messages the event is about: one for mail, several for a batch of dead letters.
    pub(super) messages: Vec<String>,
    /// What led to it, this invocation included.
    pub(super) trace: Trace,
}

impl Work {
    pub(super) fn new(payload: Bytes, trace: Trace) -> Self {
        let messages = subject::message_ids(&payload);
        Work { request_id: uuid::Uuid::new_v4().to_string(), payload, messages, trace }
    }

    /// The message, if it is about exactly one.
    pub(super) fn message(&self) -> Option<&str> {
        match self.messages.as_slice() {
            [message] => Some(message),
            _ => None,
        }
    }
}
