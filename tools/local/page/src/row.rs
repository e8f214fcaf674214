//! A message as the list has it.

use std::time::SystemTime;

/// A message in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// SES's messageId.
    pub(super) id: String,
    pub(super) at: SystemTime,
    /// `None` is the null reverse-path.
    pub(super) from: Option<String>,
    pub(super) recipients: Vec<String>,
    pub(super) size: usize,
    /// Check and word.
    pub(super) verdicts: Vec<(String, String)>,
    /// Decoded; hostile.
    pub(super) subject: String,
    pub(super) status: Status,
    /// The function that SES invoked with it, once it has.
    pub(super) function: Option<String>,
}

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// SES has it.
    Received,
    /// A function works on it, for the first time or again.
    Invoked(u32),
    /// The function failed this time; Lambda will try again.
    Waiting(u32),
    /// The function is done with it, and SES has taken it.
    Forwarded,
    /// The function is done with it without sending it: its word, such as `dropped`.
    Kept(String),
    /// Lambda has given it up: the queue has it tried again, or a notice will follow.
    DeadLettered,
    /// Given up, and the operator was told.
    Noticed,
    /// Given up, and nobody was told.
    Lost,
}
