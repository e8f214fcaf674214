//! Standard queues in memory, with visibility time-outs and retention, all by the stack's clock.
//!
//! What Lambda receives is hidden as long as the function works on it, however fast that clock runs.
//!
//! Not supported: FIFO queues, redrive, delays of a whole queue, binary attributes, creating and deleting queues.
//! Delivery is in order, which a standard queue does not promise.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use md5::{Digest, Md5};
use ses_forwarder_local_template::deployment::{self, Deployment};
use tokio::{sync::Notify, time::Instant};

use crate::{auth::hex, pace::Pace};

/// The queues of a deployment.
#[derive(Debug, Clone)]
pub struct Queues(pub(super) Arc<BTreeMap<String, Queue>>);

impl Queues {
    /// Creates the deployment's queues.
    pub(crate) fn new(deployment: &Deployment, pace: Pace) -> Queues {
        let queues = deployment.queues.iter().map(|queue| (queue.arn.clone(), Queue::new(queue, pace)));
        Queues(Arc::new(queues.collect()))
    }

    /// A queue by its ARN.
    pub fn by_arn(&self, arn: &str) -> Option<&Queue> {
        self.0.get(arn)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Queue> {
        self.0.values().find(|queue| queue.name() == name)
    }
}

/// A queue. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Queue(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    name: String,
    arn: String,
    pace: Pace,
    pub(super) visibility_timeout: Duration,
    pub(super) retention: Duration,
    messages: Mutex<VecDeque<Stored>>,
    /// Told when a message may have become visible.
    changed: Notify,
}

#[derive(Debug, Clone)]
struct Stored {
    id: String,
    body: String,
    attributes: BTreeMap<String, Attribute>,
    /// `AWSTraceHeader`: what led to it.
    trace: Option<String>,
    sent: Instant,
    visible: Instant,
    /// Lambda works on it, so it is hidden.
    held: bool,
    /// How long the receiver has asked for it to be hidden.
    asked: Option<Duration>,
    /// Of the last time it was received.
    receipt_handle: Option<String>,
    first_received: Option<Instant>,
    receive_count: u32,
}

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
    /// `ApproximateReceiveCount`, `SentTimestamp`, `SenderId`, `ApproximateFirstReceiveTimestamp`, and
    /// `AWSTraceHeader` if the sender gave one.
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
    fn new(queue: &deployment::Queue, pace: Pace) -> Queue {
        Queue(Arc::new(Inner {
            name: queue.name.clone(),
            arn: queue.arn.clone(),
            pace,
            visibility_timeout: queue.visibility_timeout,
            retention: queue.retention,
            messages: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// ARN.
    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    /// Name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How long a message stays invisible once it is received, unless who receives it says otherwise.
    pub fn visibility_timeout(&self) -> Duration {
        self.0.visibility_timeout
    }

    /// Puts a message on the queue and returns its id.
    pub fn send(&self, body: &str, attributes: BTreeMap<String, Attribute>) -> String {
        self.send_traced(body, attributes, None, Duration::ZERO)
    }

    /// Puts a message on the queue that is hidden for `delay` first, with what led to it, and returns its id.
    pub(crate) fn send_traced(
        &self,
        body: &str,
        attributes: BTreeMap<String, Attribute>,
        trace: Option<String>,
        delay: Duration,
    ) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let now = Instant::now();
        self.push(Stored {
            id: id.clone(),
            body: body.to_owned(),
            attributes,
            trace,
            sent: now,
            visible: now + self.0.pace.scale(delay),
            held: false,
            asked: None,
            receipt_handle: None,
            first_received: None,
            receive_count: 0,
        });
        id
    }

    /// Takes up to `max` messages, waiting up to `wait` (by the machine's clock) for the first. They are
    /// hidden for `visibility`, else for the queue's own time-out.
    pub async fn receive(&self, max: usize, wait: Duration, visibility: Option<Duration>) -> Vec<Message> {
        self.receive_and(false, max, wait, visibility.unwrap_or(self.0.visibility_timeout)).await
    }

    /// The same for Lambda: they stay hidden until they are deleted or [`released`](Queue::release).
    pub(crate) async fn receive_held(&self, max: usize, wait: Duration) -> Vec<Message> {
        self.receive_and(true, max, wait, self.0.visibility_timeout).await
    }

    async fn receive_and(
        &self,
        held: bool,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Vec<Message> {
        let deadline = Instant::now() + wait;
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let (messages, next) = self.take(held, max, visibility);
            if !messages.is_empty() || Instant::now() >= deadline {
                return messages;
            }
            let wake = next.map_or(deadline, |next| next.min(deadline));
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Deletes a received message. An old receipt handle deletes nothing, as the message is received
    /// by somebody else now.
    pub fn delete(&self, receipt_handle: &str) {
        self.lock().retain(|message| message.receipt_handle.as_deref() != Some(receipt_handle));
    }

    /// Hides a received message for this long from now; zero shows it at once.
    pub fn change_visibility(&self, receipt_handle: &str, timeout: Duration) {
        for message in self.lock().iter_mut() {
            if message.receipt_handle.as_deref() == Some(receipt_handle) {
                message.visible = Instant::now() + self.0.pace.scale(timeout);
                message.asked = Some(timeout);
            }
        }
        self.0.changed.notify_waiters();
    }

    /// Ends Lambda's work on a message that stays in the queue. It is hidden as long as its receiver asked
    /// for, else for `rest`.
    pub(crate) fn release(&self, receipt_handle: &str, rest: Duration) {
        for message in self.lock().iter_mut() {
            if message.receipt_handle.as_deref() == Some(receipt_handle) {
                message.held = false;
                if message.asked.is_none() {
                    message.visible = Instant::now() + self.0.pace.scale(rest);
                }
            }
        }
        self.0.changed.notify_waiters();
    }

    /// How long the receiver of a message has asked for it to be hidden.
    pub(crate) fn asked(&self, receipt_handle: &str) -> Option<Duration> {
        let messages = self.lock();
        messages.iter().find(|message| message.receipt_handle.as_deref() == Some(receipt_handle))?.asked
    }

    /// Messages waiting, and messages received but not yet deleted. Delayed ones count as waiting.
    pub fn depth(&self) -> (usize, usize) {
        let now = Instant::now();
        let messages = self.lock();
        let living = messages.iter().filter(|message| !self.is_over(message));
        let (in_flight, waiting): (Vec<_>, Vec<_>) =
            living.partition(|message| message.receive_count > 0 && (message.held || message.visible > now));
        (waiting.len(), in_flight.len())
    }

    /// Deletes all messages.
    pub(super) fn purge(&self) {
        self.lock().clear();
    }

    /// Takes what is visible, and says when the next message becomes so.
    fn take(&self, held: bool, max: usize, visibility: Duration) -> (Vec<Message>, Option<Instant>) {
        let now = Instant::now();
        let mut taken = Vec::new();
        let mut messages = self.lock();
        messages.retain_mut(|message| {
            if self.is_over(message) {
                return false;
            }
            if taken.len() == max || message.held || message.visible > now {
                return true;
            }
            message.receive_count += 1;
            message.first_received.get_or_insert(now);
            message.visible = now + self.0.pace.scale(visibility);
            (message.held, message.asked) = (held, None);
            message.receipt_handle = Some(uuid::Uuid::new_v4().to_string());
            taken.push(message.to_message(self.0.pace));
            true
        });
        let free = messages.iter().filter(|message| !message.held);
        let next = free.map(|message| message.visible).filter(|visible| *visible > now).min();
        (taken, next)
    }

    /// Whether the queue has kept it for as long as it does.
    fn is_over(&self, message: &Stored) -> bool {
        self.0.pace.since(message.sent) >= self.0.retention
    }

    fn push(&self, message: Stored) {
        self.lock().push_back(message);
        self.0.changed.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Stored>> {
        self.0.messages.lock().expect("no holder of this lock panics")
    }
}

impl Stored {
    fn to_message(&self, pace: Pace) -> Message {
        let milliseconds = |then: Instant| {
            let since = pace.timestamp(then).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            since.as_millis().to_string()
        };
        let trace = self.trace.clone().map(|trace| ("AWSTraceHeader", trace));
        let attributes = [
            ("ApproximateReceiveCount", self.receive_count.to_string()),
            ("ApproximateFirstReceiveTimestamp", milliseconds(self.first_received.unwrap_or(self.sent))),
            ("SentTimestamp", milliseconds(self.sent)),
            ("SenderId", "AIDALOCALSENDER".to_owned()),
        ];
        Message {
            message_id: self.id.clone(),
            receipt_handle: self.receipt_handle.clone().unwrap_or_default(),
            body: self.body.clone(),
            md5_of_body: hex(&Md5::digest(&self.body)),
            attributes: attributes
                .into_iter()
                .chain(trace)
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            message_attributes: self.attributes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: Duration = Duration::from_secs(30);

    fn queue() -> Queue {
        let queue = deployment::Queue {
            name: "q".to_owned(),
            url: String::new(),
            arn: "arn:aws:sqs:us-east-1:123456789012:q".to_owned(),
            visibility_timeout: HIDDEN,
            retention: Duration::from_secs(3600),
            policy: None,
        };
        Queue::new(&queue, Pace::real())
    }

    async fn bodies(queue: &Queue) -> Vec<String> {
        queue.receive(10, Duration::ZERO, None).await.into_iter().map(|message| message.body).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn hides_what_is_received_until_its_time_is_over() {
        let queue = queue();
        queue.send("a", BTreeMap::new());
        queue.send("b", BTreeMap::new());
        let first = queue.receive(1, Duration::ZERO, None).await;
        assert_eq!((first.len(), first[0].body.as_str()), (1, "a"));
        assert_eq!(queue.depth(), (1, 1));
        assert_eq!(bodies(&queue).await, ["b"]);
        assert_eq!(bodies(&queue).await, [""; 0]);
        tokio::time::advance(HIDDEN).await;
        let again = queue.receive(10, Duration::ZERO, None).await;
        assert_eq!(again.len(), 2);
        assert_eq!(again[0].message_id, first[0].message_id);
        assert_eq!(again[0].attributes["ApproximateReceiveCount"], "2");
        queue.delete(&first[0].receipt_handle);
        assert_eq!(queue.depth(), (0, 2), "an old receipt handle deletes nothing");
        queue.delete(&again[0].receipt_handle);
        queue.change_visibility(&again[1].receipt_handle, Duration::ZERO);
        assert_eq!(bodies(&queue).await, ["b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn hides_what_lambda_works_on_and_then_as_long_as_was_asked_for() {
        let queue = queue();
        queue.send("a", BTreeMap::new());
        queue.send("b", BTreeMap::new());
        let held = queue.receive_held(2, Duration::ZERO).await;
        queue.change_visibility(&held[0].receipt_handle, Duration::from_secs(300));
        tokio::time::advance(2 * HIDDEN).await;
        assert_eq!((bodies(&queue).await, queue.depth()), (vec![], (0, 2)));
        for message in &held {
            queue.release(&message.receipt_handle, HIDDEN);
        }
        tokio::time::advance(HIDDEN).await;
        assert_eq!(bodies(&queue).await, ["b"]);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(bodies(&queue).await, ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn ages_go_by_the_stack_s_clock() {
        let Queue(inner) = queue();
        let inner = Arc::into_inner(inner).unwrap();
        let queue = Queue(Arc::new(Inner { pace: Pace::times(1_000), ..inner }));
        queue.send("a", BTreeMap::new());
        tokio::time::advance(Duration::from_secs(1)).await;
        let message = queue.receive(1, Duration::ZERO, None).await.remove(0);
        let sent: u64 = message.attributes["SentTimestamp"].parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let age = u64::try_from(now).unwrap() - sent;
        assert!((1_000_000..1_010_000).contains(&age), "{age} ms");
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(bodies(&queue).await, ["a"]);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(bodies(&queue).await, [""; 0], "older than the queue keeps it");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_message_no_longer_than_asked() {
        let queue = queue();
        let started = Instant::now();
        assert_eq!(queue.receive(1, Duration::from_secs(5), None).await, []);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.receive(1, Duration::from_secs(3600), None).await }
        });
        tokio::task::yield_now().await;
        queue.send_traced("late", BTreeMap::new(), None, Duration::from_secs(7));
        let received = waiting.await.unwrap();
        assert_eq!(received[0].body, "late");
        assert_eq!(started.elapsed(), Duration::from_secs(12));
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_what_is_older_than_its_retention() {
        let queue = queue();
        queue.send("a", BTreeMap::new());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(queue.depth(), (0, 0));
        assert_eq!(bodies(&queue).await, [""; 0]);
    }
}
