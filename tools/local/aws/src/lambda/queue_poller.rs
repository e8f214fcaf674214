//! The SQS event source mapping: Lambda reads the queue in batches and deletes what the function took.
//!
//! A message that failed becomes visible again when the time is over for which the function asked, else
//! when the rest of the queue's visibility time-out has passed, at the stack's pace; messages are never
//! visible while a function works on them, however fast the clocks run.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use ses_forwarder_iam::Call;
use ses_forwarder_local_template::deployment::QueueSource;
use tokio::sync::Semaphore;

use super::{
    attempt::{Means, attempt, note_for_each, note_returned},
    error::InvocationError,
    instance::Report,
    pool::Pool,
    subject,
    trace::Trace,
    work::Work,
};
use crate::{
    journal::Event,
    sqs::{Message, Queue},
};

/// Messages one receive can take, and how long it waits for the first: SQS's maxima.
const MAX_RECEIVE: usize = 10;
const LONG_POLL: Duration = Duration::from_secs(20);

/// Batches at once where `MaximumConcurrency` does not say: what Lambda starts with.
const INITIAL_CONCURRENCY: usize = 5;

/// Polls one queue for one function.
pub(super) struct Poller {
    means: Means,
    pool: Arc<Pool>,
    source: QueueSource,
    queue: Queue,
    visibility: Duration,
    region: String,
}

impl Poller {
    /// Fails if the role lacks what Lambda needs to read the queue, as creating the mapping would.
    pub(super) fn new(means: &Means, pool: &Arc<Pool>, source: &QueueSource) -> anyhow::Result<Self> {
        let function = pool.function();
        let queue = means.queues.by_arn(&source.queue_arn).cloned().with_context(|| {
            format!(
                "function {} reads the queue {}, which is not there",
                function.logical_id, source.queue_arn
            )
        })?;
        for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"] {
            let call =
                Call { action: action.into(), resource: source.queue_arn.clone(), context: BTreeMap::new() };
            if let Err(refusal) = function.role.check(&call) {
                bail!("function {} can't be invoked by its queue: {refusal}", function.logical_id);
            }
        }
        let visibility = queue.visibility_timeout();
        let region = source.queue_arn.split(':').nth(3).unwrap_or_default().to_owned();
        Ok(Poller {
            means: means.clone(),
            pool: Arc::clone(pool),
            source: source.clone(),
            queue,
            visibility,
            region,
        })
    }

    /// Polls for ever.
    pub(super) async fn run(self) {
        let concurrency = self.source.maximum_concurrency.unwrap_or(INITIAL_CONCURRENCY);
        let slots = Arc::new(Semaphore::new(concurrency));
        let poller = Arc::new(self);
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            let received = Instant::now();
            let batch = poller.batch().await;
            if batch.is_empty() {
                continue;
            }
            let poller = Arc::clone(&poller);
            tokio::spawn(async move {
                poller.handle(batch, received).await;
                drop(slot);
            });
        }
    }

    /// Messages until the batch is full or the window, counted from the first, is over.
    async fn batch(&self) -> Vec<Message> {
        let mut batch = self.receive(self.source.batch_size, LONG_POLL).await;
        let window = self.means.pace.scale(self.source.batching_window);
        let start = Instant::now();
        while !batch.is_empty() && batch.len() < self.source.batch_size {
            let left = remaining(window, start);
            if left.is_zero() {
                break;
            }
            batch.extend(self.receive(self.source.batch_size - batch.len(), left).await);
        }
        batch
    }

    async fn receive(&self, max: usize, wait: Duration) -> Vec<Message> {
        self.queue.receive_held(max.min(MAX_RECEIVE), wait).await
    }

    async fn handle(&self, batch: Vec<Message>, received: Instant) {
        let permit = self.pool.permit().await;
        let (batch, trace) = self.not_recurring(batch);
        if batch.is_empty() {
            return;
        }
        let work = Work::new(event(&batch, &self.source.queue_arn, &self.region), trace);
        let number = batch.iter().filter_map(receive_count).max().unwrap_or(1);
        let report = attempt(&self.pool, &self.means.journal, &work, permit, number).await;
        let failed = self.failed(&batch, &report.result);
        let rest = remaining(self.visibility, received);
        // Told first: whoever waits for the end of a message looks at the queue next.
        self.note(&batch, &failed, &work, number, &report, rest);
        for message in &batch {
            if !failed.contains(&message.message_id) {
                self.queue.delete(&message.receipt_handle);
            } else {
                self.queue.release(&message.receipt_handle, rest);
            }
        }
    }

    /// The messages that Lambda does not stop, and what led to the one that came furthest. What it stops,
    /// it drops.
    fn not_recurring(&self, batch: Vec<Message>) -> (Vec<Message>, Trace) {
        let mut furthest = (0, Trace::of(None));
        let function = self.pool.function();
        let kept = batch.into_iter().filter(|message| {
            let turns = receive_count(message).unwrap_or(1);
            let trace = Trace::of(message.attributes.get("AWSTraceHeader").map(String::as_str));
            match trace.through(function, turns) {
                Ok(trace) => {
                    if turns > furthest.0 {
                        furthest = (turns, trace);
                    }
                    true
                }
                Err(error) => {
                    self.queue.delete(&message.receipt_handle);
                    let event = Event::Lost { function: function.name.clone(), error: error.to_string() };
                    note_for_each(
                        &self.means.journal,
                        &subject::message_ids(message.body.as_bytes()),
                        &event,
                    );
                    false
                }
            }
        });
        let kept = kept.collect();
        (kept, furthest.1)
    }

    /// Ids of the messages that stay in the queue.
    fn failed(&self, batch: &[Message], result: &Result<Bytes, InvocationError>) -> BTreeSet<String> {
        let ids: BTreeSet<_> = batch.iter().map(|message| message.message_id.clone()).collect();
        match result {
            Err(_) => ids,
            Ok(answer) if self.source.report_batch_item_failures => batch_item_failures(answer, ids),
            Ok(_) => BTreeSet::new(),
        }
    }

    /// Tells the journal, for each message by what became of its own item.
    fn note(
        &self,
        batch: &[Message],
        failed: &BTreeSet<String>,
        work: &Work,
        attempt: u32,
        report: &Report,
        rest: Duration,
    ) {
        let item_failed = Report {
            result: report.result.clone().and_then(|_| {
                Err(InvocationError::new(
                    "BatchItemFailure",
                    "the function reported this item as failed".into(),
                ))
            }),
            took: report.took,
            memory: report.memory,
        };
        let mut noted = BTreeSet::new();
        for message in batch {
            let failed = failed.contains(&message.message_id);
            let hidden = || self.means.pace.scale(self.queue.asked(&message.receipt_handle).unwrap_or(rest));
            let (report, retry_in) = if failed { (&item_failed, Some(hidden())) } else { (report, None) };
            let mut about = subject::message_ids(message.body.as_bytes());
            about.retain(|id| noted.insert(id.clone()));
            if !about.is_empty() || work.messages.is_empty() {
                note_returned(
                    &self.pool,
                    &self.means.journal,
                    &about,
                    &work.request_id,
                    attempt,
                    report,
                    retry_in,
                );
            }
        }
    }
}

fn receive_count(message: &Message) -> Option<u32> {
    message.attributes.get("ApproximateReceiveCount")?.parse().ok()
}

/// The event Lambda makes of a batch.
fn event(batch: &[Message], queue_arn: &str, region: &str) -> Bytes {
    let records: Vec<Value> = batch
        .iter()
        .map(|message| {
            let attributes: BTreeMap<_, _> = message
                .message_attributes
                .iter()
                .map(|(name, attribute)| {
                    let value = json!({
                        "stringValue": attribute.value,
                        "stringListValues": [],
                        "binaryListValues": [],
                        "dataType": attribute.data_type,
                    });
                    (name, value)
                })
                .collect();
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": message.attributes,
                "messageAttributes": attributes,
                "md5OfBody": message.md5_of_body,
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": region,
            })
        })
        .collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

/// The items a function reports as failed; all, if the report can't be read or names what is not in the batch.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
fn batch_item_failures(answer: &[u8], ids: BTreeSet<String>) -> BTreeSet<String> {
    let items = match serde_json::from_slice::<Value>(answer) {
        Ok(Value::Null) => return BTreeSet::new(),
        Ok(Value::Object(mut report)) => match report.remove("batchItemFailures") {
            None | Some(Value::Null) => return BTreeSet::new(),
            Some(Value::Array(items)) => items,
            Some(_) => return ids,
        },
        _ => return ids,
    };
    let named: Option<BTreeSet<String>> =
        items.iter().map(|item| item.get("itemIdentifier")?.as_str().map(str::to_owned)).collect();
    named.filter(|named| named.is_subset(&ids)).unwrap_or(ids)
}

/// What remains of `limit` since `start`.
fn remaining(limit: Duration, start: Instant) -> Duration {
    limit.saturating_sub(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_failed_items_is_read_as_lambda_reads_it() {
        let ids = || BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let all = &["a", "b"][..];
        for (answer, expected) in [
            ("null", &[][..]),
            ("{}", &[]),
            (r#"{"batchItemFailures":null}"#, &[]),
            (r#"{"batchItemFailures":[]}"#, &[]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, &["a"]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#, all),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, all),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, all),
            (r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#, all),
            (r#"{"batchItemFailures":[{"messageId":"a"}]}"#, all),
            (r#"{"batchItemFailures":"a"}"#, all),
            ("not JSON", all),
        ] {
            let expected: BTreeSet<_> = expected.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(batch_item_failures(answer.as_bytes(), ids()), expected, "{answer}");
        }
    }
}
