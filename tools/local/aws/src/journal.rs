//! What happens to each message, as it happens: the one source of the page, `send` and the tests.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::sync::{Notify, broadcast};

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
        /// `FeedbackForwardingEmailAddress`, if there is one.
        feedback: Option<String>,
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
    /// An outgoing message that the relay does not take, or can't be reached for.
    Undelivered {
        /// Address.
        destination: String,
        /// Why.
        error: String,
    },
    /// SES told what a destination did with an outgoing message.
    Feedback {
        /// Such as `Bounce`.
        event: String,
        /// Address.
        destination: String,
        /// The status that it gave.
        code: Option<String>,
        /// Queues that it went to by EventBridge's rules, or why it did not.
        to: Vec<String>,
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
    /// An event ended without having been handled or kept: what a dead-letter queue prevents.
    Lost {
        /// Function name.
        function: String,
        /// Why: the invocation's error, or its age.
        error: String,
    },
    /// A fault was injected.
    Fault {
        /// Which.
        what: String,
    },
}

/// How a message's way through the stack ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The function returned; what it decided stands in the outcome record.
    Returned,
    /// It was dead-lettered and the function that takes dead letters returned.
    Noticed,
    /// Nobody has it: a rule action failed for good, or an event was given up without a dead-letter queue.
    Lost(String),
}

/// Entries kept; the oldest are forgotten beyond that, so that a stack can run for days.
const KEPT_ENTRIES: usize = 200_000;

/// Keeps the entries of a run and hands them to whoever listens.
#[derive(Debug)]
pub struct Journal {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Entry>>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    by_message: HashMap<String, Way>,
}

/// One message's entries, and the bell for those who wait for its end.
#[derive(Debug, Default)]
struct Way {
    entries: VecDeque<Arc<Entry>>,
    changed: Arc<Notify>,
}

impl Default for Journal {
    fn default() -> Self {
        Journal { kept: Mutex::default(), live: broadcast::channel(4096).0 }
    }
}

impl Journal {
    /// Notes what happened.
    pub fn note(&self, message_id: Option<&str>, event: Event) {
        let entry =
            Arc::new(Entry { at: SystemTime::now(), message_id: message_id.map(str::to_owned), event });
        let mut kept = self.kept();
        if let Some(message_id) = message_id {
            let way = kept.by_message.entry(message_id.to_owned()).or_default();
            way.entries.push_back(Arc::clone(&entry));
            way.changed.notify_waiters();
        }
        kept.entries.push_back(Arc::clone(&entry));
        if kept.entries.len() > KEPT_ENTRIES {
            kept.forget_oldest();
        }
        // No listener is no error: the page may not be open.
        let _ = self.live.send(entry);
    }

    /// All entries kept so far, and those to come, without a gap.
    pub fn follow(&self) -> (Vec<Arc<Entry>>, broadcast::Receiver<Arc<Entry>>) {
        let kept = self.kept();
        (kept.entries.iter().cloned().collect(), self.live.subscribe())
    }

    /// All entries kept so far, oldest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.kept().entries.iter().cloned().collect()
    }

    /// The entries about one message, oldest first.
    pub fn of(&self, message_id: &str) -> Vec<Arc<Entry>> {
        self.kept()
            .by_message
            .get(message_id)
            .map_or_else(Vec::new, |way| way.entries.iter().cloned().collect())
    }

    /// How a message ended, if it has.
    pub fn end(&self, message_id: &str) -> Option<End> {
        self.kept()
            .by_message
            .get(message_id)
            .and_then(|way| end(way.entries.iter().map(|entry| &entry.event)))
    }

    /// Waits until a message has ended.
    pub async fn ended(&self, message_id: &str) -> End {
        self.until(message_id, |events| end(events.iter().copied())).await
    }

    /// Waits until what happened to a message, oldest first, answers a question.
    pub async fn until<T>(&self, message_id: &str, question: impl Fn(&[&Event]) -> Option<T>) -> T {
        loop {
            let changed = {
                let mut kept = self.kept();
                let way = kept.by_message.entry(message_id.to_owned()).or_default();
                let events: Vec<_> = way.entries.iter().map(|entry| &entry.event).collect();
                if let Some(answer) = question(&events) {
                    return answer;
                }
                // Registered while the lock is held: no entry can come between the look and the wait.
                Arc::clone(&way.changed).notified_owned()
            };
            changed.await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock panics")
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        let Some(message_id) = self.entries.pop_front().and_then(|entry| entry.message_id.clone()) else {
            return;
        };
        if let Some(way) = self.by_message.get_mut(&message_id) {
            way.entries.pop_front();
            if way.entries.is_empty() {
                self.by_message.remove(&message_id);
            }
        }
    }
}

/// Reads from the events about one message how it ended. An event that comes later (a redrive, say)
/// opens it again.
fn end<'a>(events: impl Iterator<Item = &'a Event>) -> Option<End> {
    let mut dead_lettered = false;
    let mut end = None;
    for event in events {
        match event {
            // Whoever takes up what had ended begins anew; the taker of dead letters goes on.
            Event::Received { .. } | Event::Invoked { .. } => dead_lettered &= end.take().is_none(),
            Event::DeadLettered { .. } => {
                dead_lettered = true;
                end = None;
            }
            Event::Returned { result: Ok(_), .. } => {
                end = Some(if dead_lettered { End::Noticed } else { End::Returned });
            }
            Event::ActionFailed { error } | Event::Lost { error, .. } => end = Some(End::Lost(error.clone())),
            _ => {}
        }
    }
    end
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = time::OffsetDateTime::from(self.at);
        let (hour, minute, second, millisecond) = at.to_hms_milli();
        write!(f, "{hour:02}:{minute:02}:{second:02}.{millisecond:03} {}", self.event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Received { from, recipients, size, verdicts, subject: _ } => {
                write!(f, "received {size} bytes from <{}>", from.as_deref().unwrap_or_default())?;
                write!(f, " for {}", recipients.join(", "))?;
                verdicts
                    .iter()
                    .filter(|(_, word)| word != "PASS")
                    .try_for_each(|(check, word)| write!(f, ", {check} {word}"))
            }
            Event::Stored { bucket, key } => write!(f, "stored s3://{bucket}/{key}"),
            Event::ActionFailed { error } => write!(f, "rule action failed: {error}"),
            Event::Invoked { function, request_id, attempt } => {
                write!(f, "invoked {function}, attempt {attempt}, request {request_id}")
            }
            Event::Called { function, action, resource, status, error, took } => {
                write!(f, "{function} called {action} {resource}: ")?;
                match status {
                    Some(status) => write!(f, "{status}")?,
                    None => write!(f, "connection cut")?,
                }
                if let Some(error) = error {
                    write!(f, " {error}")?;
                }
                write!(f, " after {} ms", took.as_millis())
            }
            Event::Logged { function, line } => write!(f, "{function} logged: {line}"),
            Event::Sent { ses_id, from, destinations, .. } => {
                write!(f, "sent as {ses_id} from {from} to {}", destinations.join(", "))
            }
            Event::Delivered { destination, to } => write!(f, "delivered to {destination}: {to}"),
            Event::Undelivered { destination, error } => {
                write!(f, "not delivered to {destination}: {error}")
            }
            Event::Feedback { event, destination, code, to } => {
                write!(f, "SES tells of a {event} at {destination}")?;
                code.iter().try_for_each(|code| write!(f, " ({code})"))?;
                if to.is_empty() { write!(f, " to nobody") } else { write!(f, " to {}", to.join(", ")) }
            }
            Event::Returned { function, attempt, result, retry_in, took, .. } => {
                let (verb, text) = match result {
                    Ok(answer) => ("returned", answer),
                    Err(error) => ("failed", error),
                };
                write!(f, "{function} {verb} on attempt {attempt} after {} ms: {text}", took.as_millis())?;
                match retry_in {
                    Some(delay) => write!(f, "; Lambda tries again in {delay:?}"),
                    None => Ok(()),
                }
            }
            Event::DeadLettered { queue, error } => write!(f, "dead-lettered to {queue}: {error}"),
            Event::Published { topic, subject, .. } => write!(f, "published to {topic}: {subject}"),
            Event::Lost { function, error } => write!(f, "lost by {function}: {error}"),
            Event::Fault { what } => write!(f, "fault: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoked(attempt: u32) -> Event {
        Event::Invoked { function: "f".into(), request_id: "r".into(), attempt }
    }

    fn returned(attempt: u32, result: Result<&str, &str>) -> Event {
        Event::Returned {
            function: "f".into(),
            request_id: "r".into(),
            attempt,
            result: result.map(str::to_owned).map_err(str::to_owned),
            retry_in: None,
            took: Duration::ZERO,
            memory: None,
        }
    }

    fn dead_lettered() -> Event {
        Event::DeadLettered { queue: "q".into(), error: "e".into() }
    }

    #[test]
    fn a_message_ends_when_somebody_answers_for_it() {
        let lost = || Event::Lost { function: "f".into(), error: "too old".into() };
        for (name, events, expected) in [
            ("nothing yet", vec![], None),
            ("being worked on", vec![invoked(1)], None),
            ("failed, to be retried", vec![invoked(1), returned(1, Err("x"))], None),
            ("returned", vec![invoked(1), returned(1, Ok("y"))], Some(End::Returned)),
            (
                "retried",
                vec![invoked(1), returned(1, Err("x")), invoked(2), returned(2, Ok("y"))],
                Some(End::Returned),
            ),
            ("dead-lettered", vec![invoked(3), returned(3, Err("x")), dead_lettered()], None),
            ("notice failed", vec![dead_lettered(), invoked(1), returned(1, Err("x"))], None),
            ("noticed", vec![dead_lettered(), invoked(1), returned(1, Ok("y"))], Some(End::Noticed)),
            ("lost", vec![invoked(1), returned(1, Err("x")), lost()], Some(End::Lost("too old".into()))),
            ("redriven", vec![invoked(1), returned(1, Ok("y")), invoked(1)], None),
            (
                "redriven after a notice",
                vec![dead_lettered(), returned(1, Ok("y")), invoked(1), returned(1, Ok("y"))],
                Some(End::Returned),
            ),
        ] {
            assert_eq!(end(events.iter()), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn who_waits_for_the_end_is_woken_by_it() {
        let journal = Arc::new(Journal::default());
        let waiting = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.ended("m").await }
        });
        journal.note(Some("other"), returned(1, Ok("")));
        tokio::task::yield_now().await;
        journal.note(Some("m"), returned(1, Ok("")));
        assert_eq!(waiting.await.expect("the task does not panic"), End::Returned);
        assert_eq!(journal.of("m").len(), 1);
        assert_eq!(journal.entries().len(), 2);
    }
}
