//! Reads dead letters and tells the operator which messages could not be forwarded.
//!
//! For each batch of the queue:
//!
//! 1. [`letter`]: each queue message is read; nothing is refused.
//! 2. The outcome of each message is looked up. What has been forwarded or dropped meanwhile is no
//!    news. What failed is put on record: the notification under `index/`, so that it can be tried
//!    again even if `handle-email` never started, and the outcome `failed`. `rejected` stays: it
//!    says more, and a redrive treats both alike. A bounce stays `dropped`, and is told.
//! 3. [`notice`], [`channel`]: one notice tells it all, by mail, by SNS, or both.
//! 4. A mark under `error/notices/`, named by the request that failed, keeps a queue message that is
//!    delivered again from being told again. A redrive that fails is another request, and is told.
//!
//! This order loses nothing: until the notice is out, the queue keeps its messages. Only if the
//! function ends between 3 and 4 is a notice sent twice.
//!
//! Not supported: notices about notices. If one comes back and fails, it is put on record and
//! logged, and that's it; otherwise two stacks could write to each other for ever.

pub mod cause;
pub mod channel;
pub mod letter;
pub mod notice;
pub mod settings;
pub mod text;

use std::{collections::BTreeMap, time::SystemTime};

use aws_sdk_sesv2::{
    primitives::Blob,
    types::{Destination, EmailContent, RawMessage},
};
use futures_util::future::join_all;
use lambda_runtime::{Context, Diagnostic};
use serde::Serialize;
use serde_json::value::RawValue;
use ses_forwarder::{
    delivery::Reason,
    notice::sender,
    notification::Notification,
    outcome::{Failure, INCOMPLETE, Outcome, Status},
};
use ses_forwarder_aws::{
    bucket::Bucket,
    call::{CallError, Deadline, Persistence, SendOnce, persist, sent},
    clients::{self, SdkConfig},
    function::without_addresses,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    channel::Mail,
    letter::{Letter, Message, QueueEvent, QueueMessage},
    notice::{Failed, Item, Notice},
    settings::Settings,
};

/// Deliveries of a queue message after which a notice is sent even though the bucket can't be read
/// or written: until then that may pass, from then on the operator should know.
const PATIENCE: u32 = 3;

/// The function: its settings and clients, for all invocations.
#[derive(Debug, Clone)]
pub struct Handler {
    settings: Settings,
    s3: aws_sdk_s3::Client,
    ses: aws_sdk_sesv2::Client,
    sns: aws_sdk_sns::Client,
}

/// The answer to a batch: what has to stay in the queue.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// One entry a queue message; empty if all are dealt with.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A queue message that stays in the queue.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its messageId.
    pub item_identifier: String,
}

/// The event comes from no queue.
#[derive(Debug, thiserror::Error)]
#[error("this is no event of an SQS queue ({0}); nothing was read and no notice sent")]
pub struct NoQueueEvent(#[from] serde_json::Error);

impl From<NoQueueEvent> for Diagnostic {
    fn from(error: NoQueueEvent) -> Diagnostic {
        Diagnostic { error_type: "NoQueueEvent".to_owned(), error_message: error.to_string() }
    }
}

/// A letter, and the queue messages that hold a copy of it.
struct Case<'a> {
    name: Option<String>,
    letter: Letter<'a>,
    message: &'a QueueMessage,
    copies: Vec<&'a str>,
}

/// What looking into a letter came to.
enum Finding {
    /// To be told.
    News(Vec<Item>),
    /// Nothing to tell: told before, or forwarded meanwhile.
    Nothing,
    /// Not now: the bucket can't be read or written.
    Later(CallError),
}

/// One invocation.
struct Run<'a> {
    handler: &'a Handler,
    bucket: Bucket,
    deadline: Deadline,
    now: OffsetDateTime,
}

impl Handler {
    /// Makes the clients; connects to nothing.
    pub fn new(settings: Settings, configuration: &SdkConfig) -> Handler {
        if let Some(warning) = settings.warning() {
            tracing::warn!("{warning}");
        }
        let sns = aws_sdk_sns::config::Builder::from(configuration).retry_classifier(SendOnce);
        Handler {
            s3: clients::s3(configuration),
            ses: clients::ses(configuration),
            sns: aws_sdk_sns::Client::from_conf(sns.build()),
            settings,
        }
    }

    /// Deals with a batch. The error means that the event is none.
    pub async fn handle(
        &self,
        event: Box<RawValue>,
        context: &Context,
    ) -> Result<BatchResponse, NoQueueEvent> {
        let QueueEvent { messages } = serde_json::from_str(event.get())?;
        let deadline = Deadline::before(context.deadline());
        // Half of the time at most goes to the bucket, so that a bucket that hangs silences no notice.
        let half = Deadline::after(deadline.left() / 2);
        let bucket = Bucket::new(self.s3.clone(), &self.settings.place.bucket, half);
        let run = Run { handler: self, bucket, deadline, now: SystemTime::now().into() };
        let failures = run.deal_with(&cases(&messages)).await;
        let failures = failures.into_iter().map(|id| BatchItemFailure { item_identifier: id.to_owned() });
        Ok(BatchResponse { batch_item_failures: failures.collect() })
    }
}

/// The letters of a batch, each once: a queue may deliver two copies in one batch.
fn cases(messages: &[QueueMessage]) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let mut known = BTreeMap::<String, usize>::new();
    for message in messages {
        let letter = message.letter();
        let name = letter.name(message);
        match name.as_ref().and_then(|name| known.get(name)) {
            Some(&at) => cases[at].copies.push(&message.message_id),
            None => {
                if let Some(name) = &name {
                    known.insert(name.clone(), cases.len());
                }
                cases.push(Case { name, letter, message, copies: vec![&message.message_id] });
            }
        }
    }
    cases
}

impl Run<'_> {
    /// Returns the ids of the queue messages that stay in the queue.
    async fn deal_with<'a>(&self, cases: &[Case<'a>]) -> Vec<&'a str> {
        let findings = join_all(cases.iter().map(|case| self.look_into(case))).await;
        let mut items = Vec::new();
        let mut told = Vec::new();
        let mut remaining = Vec::new();
        for (case, finding) in cases.iter().zip(findings) {
            match finding {
                Finding::Nothing => {}
                Finding::News(news) => {
                    items.extend(news);
                    told.push(case);
                }
                Finding::Later(error) => {
                    tracing::error!(letter = case.name, "a dead letter stays in the queue: {error}");
                    remaining.extend(&case.copies);
                }
            }
        }
        if items.is_empty() {
            return remaining;
        }
        let notice = notice::compose(&items, &self.handler.settings.place);
        if self.send(&notice, told[0].message).await {
            join_all(told.iter().map(|case| self.mark(case))).await;
        } else {
            tracing::error!(
                letters = told.len(),
                "no notice could be sent: the dead letters stay in the queue"
            );
            remaining.extend(told.iter().flat_map(|case| &case.copies));
        }
        remaining
    }

    async fn look_into(&self, case: &Case<'_>) -> Finding {
        // A queue that does not count is one to tell at once.
        let patient = case.message.receive_count().is_some_and(|count| count < PATIENCE);
        match self.is_told(case).await {
            Ok(true) => return Finding::Nothing,
            Ok(false) => {}
            Err(error) if patient => return Finding::Later(error),
            Err(error) => tracing::error!("told perhaps before, told again now: {error}"),
        }
        let mut news = Vec::new();
        for message in &case.letter.messages {
            match self.settle(message, &case.letter).await {
                Ok(item) => news.extend(item),
                Err(error) if patient => return Finding::Later(error),
                Err(error) => {
                    let doubt = format!("what became of it could not be read or recorded: {error}");
                    let failed = self.failed(message, &case.letter, None, Some(doubt));
                    news.push(Item::Failed(failed));
                }
            }
        }
        news.extend(unreadable(case));
        if news.is_empty() { Finding::Nothing } else { Finding::News(news) }
    }

    /// Puts a message on record, and says what there is to tell.
    async fn settle(&self, message: &Message<'_>, letter: &Letter<'_>) -> Result<Option<Item>, CallError> {
        let prefixes = &self.handler.settings.place.prefixes;
        let id = message.notification.message_id.as_str();
        let day = self.received(&message.notification).date();
        let outcome_key = prefixes.outcome(day, id);
        let record = self.bucket.get(&outcome_key).await?;
        let known: Option<Outcome> = match record.as_deref().map(serde_json::from_slice).transpose() {
            Ok(known) => known,
            Err(error) => {
                // Left as it is, since it may say that the message was sent; handle-email asks to delete it.
                let doubt = format!("the outcome can't be read, so the message may have been sent: {error}");
                tracing::error!(messageId = id, "{doubt}");
                return Ok(Some(Item::Failed(self.failed(message, letter, None, Some(doubt)))));
            }
        };
        let failed = self.failed(message, letter, known.as_ref(), None);
        // Whatever became of it: to archive it may be what failed.
        let index = format!("{}\n", message.verbatim);
        self.bucket.put(&prefixes.index(day, id), JSON, index, Persistence::Usual).await?;
        match known.as_ref().map(|known| (known.status, known.reason.as_deref())) {
            Some((Status::Forwarded, _)) => {
                tracing::info!(messageId = id, "forwarded meanwhile");
                return Ok(None);
            }
            Some((Status::Dropped, Some(reason))) if reason == Reason::Bounce.word() => {
                return Ok(Some(Item::Refused(failed)));
            }
            Some((Status::Dropped, reason)) => {
                tracing::info!(messageId = id, reason, "dropped meanwhile");
                return Ok(None);
            }
            Some((Status::Rejected | Status::Failed | Status::Held | Status::Sending, _)) | None => {}
        }
        if known.as_ref().is_none_or(|known| known.status != Status::Rejected) {
            let outcome = self.outcome(&failed, letter, known);
            self.bucket.put(&outcome_key, JSON, line(&outcome), Persistence::Usual).await?;
        }
        let code = failed.failure.code.as_str();
        if is_notice(&message.notification, &self.handler.settings) {
            tracing::error!(
                messageId = id,
                code,
                "one of our own notices came back and failed; no notice of it"
            );
            return Ok(None);
        }
        tracing::warn!(messageId = id, code, "not forwarded");
        Ok(Some(Item::Failed(failed)))
    }

    fn failed(
        &self,
        message: &Message<'_>,
        letter: &Letter<'_>,
        known: Option<&Outcome>,
        doubt: Option<String>,
    ) -> Failed {
        // What this very request recorded is more exact than what Lambda passes on of it.
        let recorded = known.filter(|known| Some(&known.request_id) == letter.request_id.as_ref());
        let failure = recorded.and_then(|known| known.error.clone());
        let sent = known.map(|known| known.sent.as_slice()).unwrap_or_default();
        Failed {
            notification: message.notification.clone(),
            received: self.received(&message.notification),
            failure: failure.unwrap_or_else(|| letter.failure.clone()),
            sent_to: sent.iter().flat_map(|sent| sent.destinations.iter().cloned()).collect(),
            function: letter.function.clone(),
            doubt,
        }
    }

    /// The record of a failure; what an earlier one knew of destinations and sends stays.
    fn outcome(&self, failed: &Failed, letter: &Letter<'_>, known: Option<Outcome>) -> Outcome {
        let Failed { notification, received, failure, .. } = failed;
        let known = known.unwrap_or_else(|| Outcome::new(notification, *received, "", Status::Failed));
        let reason = if known.sent.is_empty() { &failure.code } else { INCOMPLETE };
        Outcome {
            status: Status::Failed,
            reason: Some(reason.to_owned()),
            error: Some(failure.clone()),
            claimed_until: None,
            request_id: letter.request_id.clone().unwrap_or(known.request_id),
            ..known
        }
    }

    fn received(&self, notification: &Notification) -> OffsetDateTime {
        notification.timestamp.unwrap_or(self.now)
    }

    /// Sends by every channel that is configured; one that works suffices.
    async fn send(&self, notice: &Notice, first: &QueueMessage) -> bool {
        let results = tokio::join!(self.mail(notice, first), self.publish(notice));
        let mut sent = false;
        for (channel, result) in [("mail", results.0), ("topic", results.1)] {
            match result {
                Some(Ok(())) => {
                    tracing::info!(channel, "notice sent");
                    sent = true;
                }
                Some(Err(error)) => {
                    let error = without_addresses(&error.to_string());
                    tracing::error!(channel, "the notice could not be sent this way: {error}");
                }
                None => {}
            }
        }
        sent
    }

    async fn mail(&self, notice: &Notice, first: &QueueMessage) -> Option<Result<(), CallError>> {
        let settings = &self.handler.settings;
        let to = settings.address.as_ref()?.to_string();
        let (stack, email_domain) = (settings.place.stack.as_str(), settings.email_domain.as_str());
        let id = format!("{}.{}", first.message_id, self.now.unix_timestamp());
        let raw = Mail { email_domain, to: &to, stack, id: &id, now: self.now }.write(notice);
        let raw = RawMessage::builder().data(Blob::new(raw)).build().expect("it has data");
        let content = EmailContent::builder().raw(raw).build();
        Some(
            persist("SendEmail", self.deadline, Persistence::Usual, async || {
                let request = self.handler.ses.send_email().from_email_address(sender(email_domain));
                let request = request.destination(Destination::builder().to_addresses(&to).build());
                sent("SendEmail", request.content(content.clone()).send().await).map(drop)
            })
            .await,
        )
    }

    async fn publish(&self, notice: &Notice) -> Option<Result<(), CallError>> {
        let topic = self.handler.settings.topic.as_deref()?;
        let (subject, text) = channel::publication(notice);
        Some(
            persist("Publish", self.deadline, Persistence::Usual, async || {
                let request = self.handler.sns.publish().topic_arn(topic).subject(&subject).message(&text);
                sent("Publish", request.send().await).map(drop)
            })
            .await,
        )
    }

    async fn is_told(&self, case: &Case<'_>) -> Result<bool, CallError> {
        let Some(name) = &case.name else { return Ok(false) };
        let mark = self.bucket.get(&self.handler.settings.place.prefixes.notice(name)).await?;
        Ok(mark.is_some())
    }

    /// Notes that a letter has been told. Failing that is no reason to keep it: it would be told again.
    async fn mark(&self, case: &Case<'_>) {
        let Some(name) = &case.name else { return };
        let mark = Mark {
            told_at: self.now.format(&Rfc3339).expect("a time of this era"),
            queue_message_id: &case.message.message_id,
            error: &case.letter.failure,
            body: case.letter.unreadable.as_ref().map(|_| case.message.body.as_str()),
        };
        let key = self.handler.settings.place.prefixes.notice(name);
        let bucket = self.bucket.until(self.deadline);
        if let Err(error) = bucket.put(&key, JSON, line(&mark), Persistence::Hard).await {
            tracing::error!(
                letter = name,
                "the notice is sent, but not noted, so it may be sent again: {error}"
            );
        }
    }
}

const JSON: &str = "application/json";

/// What is kept about a letter that has been told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mark<'a> {
    told_at: String,
    queue_message_id: &'a str,
    error: &'a Failure,
    /// Of a letter that can't be read, all of it: the queue has no other copy.
    body: Option<&'a str>,
}

/// A record as it is stored: one line of JSON.
fn line(record: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("records are JSON");
    line.push(b'\n');
    line
}

fn unreadable(case: &Case<'_>) -> Option<Item> {
    let why = case.letter.unreadable.clone()?;
    tracing::error!(letter = case.name, "a dead letter can't be read");
    Some(Item::Unreadable {
        name: case.name.clone().unwrap_or_else(|| "unnamed".to_owned()),
        why,
        failure: case.letter.failure.clone(),
        body: case.message.body.clone(),
    })
}

/// Whether a message is one of our own notices, or what became of one. Anyone can write our address
/// into From; all that earns is silence about mail of theirs that failed anyway.
fn is_notice(notification: &Notification, settings: &Settings) -> bool {
    let sender = sender(&settings.email_domain);
    let has_address = |text: &String| text.to_ascii_lowercase().contains(&sender);
    notification.from.iter().any(has_address)
        || (notification.source.is_none() && notification.recipients.iter().any(has_address))
}
