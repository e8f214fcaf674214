//! `handle-email`: forwards each message that SES tells of, and keeps account of it.
//!
//! [`Handler::handle`] goes through the records of an event. For each, an [`incoming`] message, [`forwarding`]
//! archives the notification, reads the message and decides, and [`sending`] makes the sends of its [`draft`] and
//! records the end in the [`Ledger`]. The [`routing`] table, the list of those whose mail is [held](holding) and the
//! keys for [answers](replying) are [`kept`]. [`report`] writes the one log line that tells of it.
//!
//! The promises are those of `docs/semantics.md`: nothing is lost, since a failure is returned and so
//! retried and then dead-lettered; duplicates are rare, since a message is claimed before it is sent
//! and every send recorded.

mod asked;
mod draft;
mod forwarding;
mod holding;
mod incoming;
mod invocation_error;
mod kept;
mod replying;
mod report;
mod routing;
mod sending;

use std::time::{Duration, SystemTime};

use lambda_runtime::Context;
use serde::Serialize;
use serde_json::value::RawValue;
use ses_forwarder::{
    notification::{Record, records},
    settings::{EmailSettings, OnRefused},
};
use ses_forwarder_aws::{
    bucket::Bucket,
    call::{Deadline, MAX_INVOCATION},
    clients::{self, SdkConfig},
    ledger::{CLOCKS_DIFFER, Ledger},
    outgoing::Mailer,
    refusal::Bouncer,
};
use time::OffsetDateTime;

pub use self::invocation_error::InvocationError;
use self::{
    asked::{Asked, StubRequest},
    holding::Holding,
    incoming::Incoming,
    replying::Replying,
    report::Report,
    routing::Routing,
};

/// Handles events, one at a time; made once a process.
#[derive(Debug)]
pub struct Handler {
    settings: EmailSettings,
    s3: aws_sdk_s3::Client,
    mailer: Mailer,
    bouncer: Bouncer,
    routing: Routing,
    holding: Holding,
    replying: Replying,
    ledger: Ledger,
}

/// What SES gets to hear, and whoever invokes by hand.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Always `CONTINUE`: further actions of the receipt rule are none of this function's business.
    disposition: &'static str,
    /// A word for each record: a [`Status`](ses_forwarder::outcome::Status), or `ignored`.
    outcomes: Vec<&'static str>,
}

/// The invocation that a record is handled in.
#[derive(Debug)]
struct Invocation<'a> {
    /// Its request id, or that of an earlier one whose work it continues.
    request_id: &'a str,
    /// Which of the queue's tries it is, from 1; 0 if it is none.
    tries: u32,
    /// Whether the event is as SES makes it, so that it may be the first of its message.
    first_hand: bool,
    /// What it asks for beside that.
    asked: Asked,
    function_name: &'a str,
    started: OffsetDateTime,
    /// When Lambda ends it.
    ends: OffsetDateTime,
    bucket: Bucket,
    mailer: Mailer,
    bouncer: Bouncer,
}

/// When Lambda ends the invocation, in whole seconds by Lambda's clock; at most its longest from now, should
/// that be no time at all.
fn end(context: &Context, started: OffsetDateTime) -> OffsetDateTime {
    let latest = started + MAX_INVOCATION + CLOCKS_DIFFER;
    let deadline = context.deadline().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let second = i64::try_from(deadline.as_millis().div_ceil(1000)).ok();
    let end = second.and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    end.map_or(latest, |end| end.min(latest))
}

impl Handler {
    /// Makes the clients; connects to nothing.
    pub fn new(settings: EmailSettings, configuration: &SdkConfig) -> Handler {
        Handler {
            s3: clients::s3(configuration),
            mailer: Mailer::new(clients::ses(configuration), Deadline::after(Duration::ZERO)),
            bouncer: Bouncer::new(clients::ses_v1(configuration), Deadline::after(Duration::ZERO)),
            routing: Routing::new(&settings),
            holding: Holding::new(),
            replying: Replying::new(settings.replies),
            ledger: Ledger::default(),
            settings,
        }
    }

    /// Handles an event. All records are, even if one fails; the failure then names each that did.
    pub async fn handle(&self, event: Box<RawValue>, context: &Context) -> Result<Answer, InvocationError> {
        let deadline = Deadline::before(context.deadline());
        let Origin { continues, tries, release, virus, stub, resumes, records: as_ses_makes_it } =
            Origin::of(&event);
        let asked = match (stub, resumes) {
            // Where none are wanted, nothing is left to do.
            (Some(stub), _) if self.settings.on_refused == OnRefused::Stub => Asked::Stub(stub),
            (Some(_), _) => Asked::Nothing,
            (None, Some(destination)) => Asked::Resume(destination),
            (None, None) if release => Asked::Release { virus },
            (None, None) => Asked::Nothing,
        };
        let started = SystemTime::now().into();
        let invocation = Invocation {
            request_id: continues.as_deref().unwrap_or(&context.request_id),
            tries,
            first_hand: as_ses_makes_it.is_some() && continues.is_none() && asked == Asked::Nothing,
            asked,
            function_name: &context.env_config.function_name,
            started,
            ends: end(context, started),
            bucket: Bucket::new(self.s3.clone(), &self.settings.common.bucket, deadline),
            mailer: self.mailer.until(deadline.for_sending()),
            bouncer: self.bouncer.until(deadline.for_sending()),
        };
        let mut outcomes = Vec::new();
        let mut failures = Vec::new();
        for record in records(&event) {
            match self.record(&record, &invocation).await {
                Ok(word) => outcomes.push(word),
                Err(failure) => failures.push(failure),
            }
        }
        match InvocationError::all(failures) {
            None => Ok(Answer { disposition: "CONTINUE", outcomes }),
            Some(failure) => Err(failure),
        }
    }

    async fn record(
        &self,
        record: &Record<'_>,
        invocation: &Invocation<'_>,
    ) -> Result<&'static str, InvocationError> {
        match record {
            Record::Received { verbatim, notification } => {
                let message = Incoming::new(notification, verbatim, invocation, &self.settings);
                let ending = self.forward(&message).await;
                Report::of(&message, &ending).print();
                match ending.failure {
                    None => Ok(ending.outcome.map_or("ignored", |outcome| outcome.status.word())),
                    Some(failure) => Err(failure),
                }
            }
            Record::Ignored(what) => {
                tracing::info!(requestId = invocation.request_id, "ignored: {what}");
                Ok("ignored")
            }
            Record::Unreadable(what) => {
                tracing::error!(requestId = invocation.request_id, "unreadable: {what}");
                Err(InvocationError::new("UnreadableNotification", format!("a record can't be read: {what}")))
            }
        }
    }
}

/// Where an event comes from.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Origin {
    /// The request that it continues: `handle-dead-letter` tries again in the name of the one that failed, so
    /// that what that one has claimed does not stand in its way.
    continues: Option<String>,
    /// Which of its tries this is, from 1.
    tries: u32,
    /// Whether it asks for messages that were dropped: they are sent past their verdicts, and past lines for
    /// their senders.
    release: bool,
    /// Whether it asks for them even if a virus was found.
    virus: bool,
    /// Who is to get a stub.
    stub: Option<StubRequest>,
    /// The destination that `ses-forwarder resume` has taken off the list of those whose mail is held.
    resumes: Option<String>,
    /// What comes from SES has records; what is asked for by hand is a notification from the archive.
    #[serde(rename = "Records")]
    records: Option<serde::de::IgnoredAny>,
}

impl Origin {
    fn of(event: &RawValue) -> Origin {
        serde_json::from_str(event.get()).unwrap_or_default()
    }
}
