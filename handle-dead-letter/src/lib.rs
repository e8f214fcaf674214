//! Looks after the dead letters: has each message tried again until it is through, and tells the
//! operator what does not pass by itself.
//!
//! For each [`batch`] of the queue:
//!
//! 1. [`letter`]: each queue message is read; nothing is refused.
//! 2. The outcome of each message is looked up. What has been forwarded or dropped meanwhile is done with.
//! 3. What is due by the [`schedule`] is tried again ([`attempt`]), unless its [`cause`] says that it is
//!    final. Tries follow one another, at the pace that SES takes.
//! 4. What did not come through is put on [`record`], and its letter hidden until the next try. After
//!    `RETRY_HOURS` it is given up.
//! 5. [`telling`]: what is over is told at once; mail that waits is told once a reason ([`outage`]), and
//!    again when it goes out. [`notice`] words it, [`channel`] brings it by mail, by SNS, or both.
//!
//! This order loses nothing: a letter leaves the queue only when its message is settled or told.
//!
//! Another queue brings what SES says of mail that went out: [`feedback`] puts that on record and has mail held
//! for those who refuse it. Which of the two a message is of, is told by what it is.
//! A schedule asks for the [`digest`]: what did not reach its reader, with the command for each.
//!
//! Not supported: notices about notices. If one comes back and fails, it is put on record and
//! logged, and that's it; otherwise two stacks could write to each other for ever.

mod attempt;
mod batch;
pub mod cause;
pub mod channel;
pub mod digest;
pub mod environment;
mod feedback;
pub mod letter;
mod metrics;
pub mod notice;
pub mod outage;
pub mod plain_text;
mod record;
pub mod refusals;
pub mod schedule;
mod stubs;
mod telling;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Context, Diagnostic};
use serde_json::value::RawValue;
use ses_forwarder_aws::{
    bucket::Bucket,
    call::Deadline,
    clients::{self, SdkConfig},
};
use tokio::time::Instant;

use crate::{
    batch::Run,
    digest::{DigestFailed, Scheduled},
    environment::DeadLetterSettings,
    letter::Letter,
};

/// First and longest pause between two tries while more is sent than SES takes, in milliseconds.
const PAUSE: (u64, u64) = (1_000, 16_000);

/// Least time between two delay notices of this process, if what others have told can't be read.
const UNASKED: Duration = Duration::from_secs(60 * 60);

/// The function: its settings and clients, for all invocations.
#[derive(Debug)]
pub struct Handler {
    settings: DeadLetterSettings,
    s3: aws_sdk_s3::Client,
    ses: aws_sdk_sesv2::Client,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    lambda: aws_sdk_lambda::Client,
    /// Pause before a try, in milliseconds.
    pause: AtomicU64,
    /// When a delay was last told without knowing what others have told.
    unasked: Mutex<Option<Instant>>,
}

/// An event that could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum Unhandled {
    /// It comes from no queue, and from no schedule.
    #[error("this is no event of an SQS queue ({0}); nothing was read and no notice sent")]
    NoQueueEvent(#[from] serde_json::Error),
    /// It asked for a digest.
    #[error(transparent)]
    Digest(#[from] DigestFailed),
}

impl From<Unhandled> for Diagnostic {
    fn from(error: Unhandled) -> Diagnostic {
        let error_type = match error {
            Unhandled::NoQueueEvent(_) => "NoQueueEvent",
            Unhandled::Digest(_) => "DigestNotSent",
        };
        Diagnostic { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl Handler {
    /// Makes the clients; connects to nothing.
    pub fn new(settings: DeadLetterSettings, configuration: &SdkConfig) -> Handler {
        if let Some(warning) = settings.warning() {
            tracing::warn!("{warning}");
        }
        Handler {
            s3: clients::s3(configuration),
            ses: clients::ses(configuration),
            sns: aws_sdk_sns::Client::new(configuration),
            sqs: aws_sdk_sqs::Client::new(configuration),
            lambda: attempt::client(configuration),
            settings,
            pause: AtomicU64::new(0),
            unasked: Mutex::new(None),
        }
    }

    /// Deals with a batch, and answers what has to stay in the queue; or sends the digest that a schedule asks for.
    /// The error means that the event is neither, or that the digest is not sent.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
    pub async fn handle(
        &self,
        event: Box<RawValue>,
        context: &Context,
    ) -> Result<SqsBatchResponse, Unhandled> {
        if let Some(scheduled) = Scheduled::read(&event) {
            self.digest(&scheduled, context).await?;
            return Ok(SqsBatchResponse::default());
        }
        let SqsEvent { records, .. } = serde_json::from_str(event.get())
            .inspect_err(|error| tracing::error!("not an event of a queue: {error}"))?;
        let now = SystemTime::now();
        let run = self.run(context, now);
        let (mut letters, mut heard) = (Vec::new(), Vec::new());
        for message in &records {
            match feedback::read(message, now) {
                None => letters.push(Letter::read(message, now)),
                Some(Ok(one)) => heard.push(one),
                Some(Err(why)) => tracing::info!("an event of SES is passed over: {why}"),
            }
        }
        let cases = batch::cases(letters);
        let mut response = SqsBatchResponse::default();
        for id in run.deal_with(&cases).await {
            response.add_failure(id);
        }
        for id in run.hear(heard).await {
            response.add_failure(id);
        }
        Ok(response)
    }

    /// Sends the digest that is due, if any is wanted.
    async fn digest(&self, scheduled: &Scheduled, context: &Context) -> Result<(), DigestFailed> {
        let Some(rhythm) = self.settings.digest else {
            tracing::info!("no digest is wanted");
            return Ok(());
        };
        self.run(context, SystemTime::now()).digest(scheduled, rhythm, &context.request_id).await
    }

    /// An invocation that begins now.
    fn run(&self, context: &Context, now: SystemTime) -> Run<'_> {
        let deadline = Deadline::before(context.deadline());
        // `Timeout` in template.yaml leaves handle-email its own between the two, and then time to record
        // and to tell.
        let tries = (Deadline::after(deadline.left() / 2), Deadline::after(deadline.left() * 7 / 8));
        Run {
            handler: self,
            bucket: Bucket::new(self.s3.clone(), &self.settings.place.bucket, deadline),
            deadline,
            tries,
            now: now.into(),
            function: context.env_config.function_name.clone(),
        }
    }

    /// Pause before the next try.
    fn pause(&self) -> Duration {
        Duration::from_millis(self.pause.load(Ordering::Relaxed))
    }

    /// After a try that SES took: a little less, so that the pace follows what SES takes.
    fn faster(&self) {
        let pause = self.pause.load(Ordering::Relaxed);
        self.pause.store(if pause < PAUSE.0 / 8 { 0 } else { pause - pause / 8 }, Ordering::Relaxed);
    }

    /// After a try that was one too many.
    fn slower(&self) {
        let pause = self.pause.load(Ordering::Relaxed);
        self.pause.store((pause * 2).clamp(PAUSE.0, PAUSE.1), Ordering::Relaxed);
    }

    /// Whether to tell a delay although what others have told can't be read: once an hour.
    fn may_tell_unasked(&self) -> bool {
        let mut unasked = self.unasked.lock().unwrap_or_else(PoisonError::into_inner);
        if unasked.is_some_and(|at| at.elapsed() < UNASKED) {
            return false;
        }
        *unasked = Some(Instant::now());
        true
    }
}
