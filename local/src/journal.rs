//! What happens to each message, as it happens: the one source of the page, `send` and the tests.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::sync::broadcast;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// When.
    pub at: SystemTime,
    /// SES's messageId of the incoming message it is about, if it is about one.
    pub message_id: Option<String>,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// SES took a message over SMTP.
    Received {
        /// Envelope sender; `None` for the null reverse-path.
        from: Option<String>,
        /// Envelope recipients that the rule matches.
        recipients: Vec<String>,
        /// Bytes, SES's own fields included.
        size: usize,
        /// Check and word, such as `("spam", "PASS")`.
        verdicts: Vec<(String, String)>,
        /// Subject as it came, undecoded; hostile.
        subject: String,
    },
    /// A rule action stored an object.
    Stored {
        /// Bucket and key.
        bucket: String,
        /// Key.
        key: String,
    },
    /// A rule action failed: what a user would see as PublishFailure.
    ActionFailed {
        /// Why.
        error: String,
    },
    /// Lambda handed an event to an instance.
    Invoked {
        /// Function name.
        function: String,
        /// Request id; the same for Lambda's own retries.
        request_id: String,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// An AWS call of a function.
    Called {
        /// Function name.
        function: String,
        /// Such as `s3:GetObject`.
        action: String,
        /// The resource.
        resource: String,
        /// HTTP status of the answer; `None` if the connection was cut.
        status: Option<u16>,
        /// Error code, if it failed.
        error: Option<String>,
        /// How long the call took.
        took: Duration,
    },
    /// A line a function logged.
    Logged {
        /// Function name.
        function: String,
        /// The line.
        line: String,
    },
    /// SES took an outgoing message.
    Sent {
        /// Id SES gave it.
        ses_id: String,
        /// `FromEmailAddress`.
        from: String,
        /// Envelope.
        destinations: Vec<String>,
        /// Where a copy of the raw outgoing message is kept.
        path: std::path::PathBuf,
    },
    /// An outgoing message reached a mailbox or the relay.
    Delivered {
        /// Address.
        destination: String,
        /// Maildir file, or the relay's answer.
        to: String,
    },
    /// An invocation ended.
    Returned {
        /// Function name.
        function: String,
        /// Request id.
        request_id: String,
        /// Attempt, from 1.
        attempt: u32,
        /// The function's answer, or its error as Lambda reports it.
        result: Result<String, String>,
        /// Until Lambda tries again, if it will.
        retry_in: Option<Duration>,
        /// How long it took.
        took: Duration,
        /// Peak memory in bytes, where known.
        memory: Option<u64>,
    },
    /// An event went to the dead-letter queue or on-failure destination.
    DeadLettered {
        /// Queue name.
        queue: String,
        /// Why: the invocation's error.
        error: String,
    },
    /// A notice went out by SNS.
    Published {
        /// Topic ARN.
        topic: String,
        /// Its subject.
        subject: String,
        /// Its text.
        text: String,
    },
    /// A fault was injected.
    Fault {
        /// Which.
        what: String,
    },
}

/// Keeps the entries of a run and hands them to whoever listens.
#[derive(Debug)]
pub struct Journal {
    entries: Mutex<Vec<Entry>>,
    live: broadcast::Sender<Entry>,
}

impl Default for Journal {
    fn default() -> Self {
        Journal { entries: Mutex::default(), live: broadcast::channel(4096).0 }
    }
}

impl Journal {
    /// Notes what happened.
    pub fn note(&self, message_id: Option<&str>, event: Event) {
        let entry = Entry { at: SystemTime::now(), message_id: message_id.map(str::to_owned), event };
        let mut entries = self.entries.lock().expect("no holder of this lock panics");
        entries.push(entry.clone());
        // No listener is no error: the page may not be open.
        let _ = self.live.send(entry);
    }

    /// All entries so far, and those to come, without a gap.
    pub fn follow(&self) -> (Vec<Entry>, broadcast::Receiver<Entry>) {
        let entries = self.entries.lock().expect("no holder of this lock panics");
        (entries.clone(), self.live.subscribe())
    }
}
