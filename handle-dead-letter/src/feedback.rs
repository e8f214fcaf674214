//! What SES says of what was forwarded: put on record, and mail held for those who refuse it.
//!
//! For each batch of the queue that EventBridge fills:
//!
//! 1. The outcome of each message is read. An event that is in it already was dealt with.
//! 2. The list of those whose mail is held is written, once for the batch and before anything else, so that no
//!    more mail goes to a name that does not exist than need be.
//! 3. The events are added to the outcomes.
//! 4. Who did not take a message for its size gets a stub of it ([`stubs`](crate::stubs)).
//! 5. The operator is told: who is held, once and at once, if a line of the routes names him; what else was
//!    refused, once an hour at most.
//!
//! An event whose outcome, or send, is not on record yet, or that could not be recorded or told, stays in the queue.
//! One about mail that this stack did not forward is done with.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use aws_lambda_events::event::sqs::SqsMessage;
use futures_util::{StreamExt, stream};
use serde_json::value::RawValue;
use ses_forwarder::{
    feedback::{About, Event, Feedback, Sending, about, address_in},
    keys::SUSPENDED,
    notification::{self, Record as Received},
    outcome::{DeliveryEvent, DeliveryKind, Outcome, Sent},
    suspended::{Effect, Noted, Suspended, Untold, effect},
};
use ses_forwarder_aws::call::CallError;
use time::Date;

use crate::{
    batch::Run,
    letter, metrics,
    record::{Record, Unknown},
    refusals::{self, Refusal},
    stubs::{Stubs, TooLarge},
};

/// Requests at once.
const CONCURRENCY: usize = 16;

/// How long an outcome, or a send in it, may be missing: SES may be quicker than the record of it.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Events kept of a message. Of delays there may be many, of all else one a destination and copy.
const EVENTS_MAX: usize = 400;

/// Delays kept of a destination.
const DELAYS_MAX: usize = 3;

/// An event of the queue.
#[derive(Debug)]
pub(crate) struct Heard<'a> {
    queue_id: &'a str,
    /// Since it was put on the queue.
    pub(crate) age: Duration,
    /// Whether it was here before: it may be on record and not told.
    again: bool,
    pub(crate) feedback: Feedback,
}

/// The events of a batch about one message.
pub(crate) struct Case<'a> {
    message_id: String,
    day: Date,
    heard: Vec<Heard<'a>>,
    record: Result<Record<Outcome>, Unknown>,
    /// Those that are not on record yet, by the addresses that it was sent to.
    new: Vec<DeliveryEvent>,
    /// Those that are on record, and were here before.
    again: Vec<DeliveryEvent>,
    /// The destinations of all of them that no line of the routes names.
    unnamed: BTreeSet<String>,
    /// Those that were sent an answer.
    answered: BTreeSet<String>,
    /// The queue messages with an event of a send that is not on record yet.
    early: Vec<&'a str>,
    /// Its authors, where a destination has complained.
    senders: Vec<String>,
}

/// What a message of the queue is: `None` is no event of SES.
pub(crate) fn read(message: &SqsMessage, now: SystemTime) -> Option<Result<Heard<'_>, String>> {
    let body = message.body.as_deref().unwrap_or_default();
    Some(match Feedback::read(body, now.into())? {
        Event::Ignored(why) => Err(why),
        Event::Feedback(feedback) => Ok(Heard {
            queue_id: message.message_id.as_deref().unwrap_or_default(),
            age: letter::age(message, now).unwrap_or_default(),
            again: letter::deliveries(message).is_some_and(|count| count > 1),
            feedback,
        }),
    })
}

impl Run<'_> {
    /// Deals with events, and returns the ids of the queue messages that stay in the queue.
    pub(crate) async fn hear<'a>(&self, heard: Vec<Heard<'a>>) -> Vec<&'a str> {
        let mut of_message: BTreeMap<(String, Date), Vec<Heard<'a>>> = BTreeMap::new();
        for one in heard {
            let Feedback { message_id, day, .. } = &one.feedback;
            of_message.entry((message_id.clone(), *day)).or_default().push(one);
        }
        let cases = of_message
            .into_iter()
            .map(async |((message_id, day), heard)| self.look(message_id, day, heard).await);
        let mut cases: Vec<Case<'_>> = stream::iter(cases).buffered(CONCURRENCY).collect().await;
        let held = self.hold(&cases).await;
        let mut kept: Vec<&'a str> = Vec::new();
        if let Err(unknown) = &held {
            tracing::error!("whose mail is to be held could not be recorded: {}", unknown.failure().message);
        }
        let mut counts: BTreeMap<DeliveryKind, usize> = BTreeMap::new();
        let mut refused = Vec::new();
        let recorded = cases.iter_mut().map(async |case| (self.record(case, held.is_ok()).await, case));
        let recorded: Vec<_> = stream::iter(recorded).buffered(CONCURRENCY).collect().await;
        for (recorded, case) in recorded {
            match recorded {
                Ok(new) => {
                    for event in &new {
                        *counts.entry(event.event).or_default() += 1;
                    }
                    let stubs = match case.too_large() {
                        Some(message) => self.stand_in(&message).await,
                        None => Stubs::default(),
                    };
                    if stubs.to_come {
                        kept.extend(case.heard.iter().map(|heard| heard.queue_id));
                    } else {
                        kept.extend(&case.early);
                    }
                    refused.extend(case.to_tell(new, stubs));
                }
                Err(()) => kept.extend(case.heard.iter().map(|heard| heard.queue_id)),
            }
        }
        let count = |kind| counts.get(&kind).copied().unwrap_or_default();
        metrics::tally(
            &[
                ("Bounced", count(DeliveryKind::Bounced)),
                ("Complained", count(DeliveryKind::Complained)),
                ("Delayed", count(DeliveryKind::Delayed)),
                ("Delivered", count(DeliveryKind::Delivered)),
            ],
            &self.function,
        );
        let ids = cases.iter().flat_map(|case| case.heard.iter().map(|heard| heard.queue_id));
        let ids: Vec<&'a str> = ids.collect();
        if !self.tell_of_refusals(held.unwrap_or_default(), refused, &ids).await {
            // Told when they come again.
            kept = ids;
        }
        kept
    }

    /// Reads what is on record of a message, and which events are not.
    async fn look<'a>(&self, message_id: String, day: Date, heard: Vec<Heard<'a>>) -> Case<'a> {
        let prefixes = &self.handler.settings.place.prefixes;
        let record = Record::<Outcome>::read(&self.bucket, prefixes.outcome(day, &message_id)).await;
        let mut case = Case {
            message_id,
            day,
            heard,
            record,
            new: Vec::new(),
            again: Vec::new(),
            unnamed: BTreeSet::new(),
            answered: BTreeSet::new(),
            early: Vec::new(),
            senders: Vec::new(),
        };
        if let Ok(Record { content: Some(outcome), .. }) = &case.record {
            let events = case.heard.iter().flat_map(|heard| addressed(&heard.feedback, outcome));
            let new: BTreeSet<DeliveryEvent> =
                events.filter(|event| !outcome.delivery.contains(event)).collect();
            case.new = new.into_iter().collect();
            let again = case.heard.iter().filter(|heard| heard.again);
            let again = again.flat_map(|heard| addressed(&heard.feedback, outcome));
            case.again = again.filter(|event| outcome.delivery.contains(event)).collect();
            let is_early = |heard: &&Heard<'_>| heard.age < PATIENCE && is_unknown(&heard.feedback, outcome);
            case.early = case.heard.iter().filter(is_early).map(|heard| heard.queue_id).collect();
            case.unnamed = case.heard.iter().flat_map(|heard| unnamed(&heard.feedback, outcome)).collect();
            let answers = case.heard.iter().filter(|heard| heard.feedback.sending == Sending::Answer);
            let answered = answers.flat_map(|heard| addressed(&heard.feedback, outcome));
            case.answered = answered.map(|event| event.destination).collect();
        }
        if case.new.iter().any(|event| case.effect(event) == Effect::Sender) {
            match self.senders(&case).await {
                Ok(senders) => case.senders = senders,
                // It would hold nobody's mail.
                Err(error) => (case.record, case.new) = (Err(error.into()), Vec::new()),
            }
        }
        case
    }

    /// Who sent a message, by its archived notification: its authors, or else the envelope sender.
    async fn senders(&self, case: &Case<'_>) -> Result<Vec<String>, CallError> {
        let key = self.handler.settings.place.prefixes.index(case.day, &case.message_id);
        let archived = self.bucket.get(&key).await?.unwrap_or_default();
        let event = serde_json::from_slice::<Box<RawValue>>(&archived).ok();
        let records = event.as_deref().map(notification::records).unwrap_or_default();
        let Some(Received::Received { notification, .. }) = records.first() else { return Ok(Vec::new()) };
        let authors: Vec<String> = notification
            .from
            .iter()
            .map(|author| address_in(author).to_owned())
            .filter(|one| one.contains('@'))
            .collect();
        Ok(if authors.is_empty() { notification.source.iter().cloned().collect() } else { authors })
    }

    /// Holds mail for those who refuse it, and takes it on to tell of them.
    async fn hold(&self, cases: &[Case<'_>]) -> Result<Vec<Untold>, Unknown> {
        let noted: Vec<Noted<'_>> = cases.iter().flat_map(noted).collect();
        // An event that comes again may be one that was recorded and not told.
        let counts =
            |event: &DeliveryEvent| matches!(event.event, DeliveryKind::Bounced | DeliveryKind::Complained);
        let any =
            cases.iter().flat_map(|case| &case.heard).flat_map(|heard| &heard.feedback.events).any(counts);
        if !any {
            return Ok(Vec::new());
        }
        let ids = cases.iter().flat_map(|case| case.heard.iter().map(|heard| heard.queue_id));
        let ids: Vec<&str> = ids.collect();
        let mut record = Record::<Suspended>::read(&self.bucket, SUSPENDED.to_owned()).await?;
        let untold = RefCell::default();
        let change = |known: Option<&Suspended>| {
            let before = known.cloned().unwrap_or_default();
            let mut next = before.clone();
            noted.iter().for_each(|noted| next.note(noted));
            next.trim(self.now);
            untold.replace(next.take_on(self.now, &ids));
            (next != before).then_some(next)
        };
        record.update(&self.bucket, change).await?;
        Ok(untold.into_inner())
    }

    /// Adds events to an outcome, and returns those that are new. The error means that they stay in the queue.
    async fn record(&self, case: &mut Case<'_>, held: bool) -> Result<Vec<DeliveryEvent>, ()> {
        let effects = case.new.iter().any(|event| case.effect(event) != Effect::Nothing);
        let Case { message_id, heard, record, new, .. } = case;
        let record = match record {
            Ok(record) => record,
            Err(unknown) => {
                tracing::error!(
                    messageId = *message_id,
                    "an outcome is not known: {}",
                    unknown.failure().message
                );
                return Err(());
            }
        };
        if record.content.is_none() {
            let late = heard.iter().all(|heard| heard.age >= PATIENCE);
            if late {
                tracing::warn!(messageId = *message_id, "SES tells of a message that nothing is recorded of");
            }
            return if late { Ok(Vec::new()) } else { Err(()) };
        }
        if !held && effects {
            return Err(());
        }
        let written = record.update(&self.bucket, |known| with_events(known?, new)).await;
        match written {
            Ok(_) => Ok(std::mem::take(new)),
            Err(unknown) => {
                let message = unknown.failure().message;
                tracing::error!(
                    messageId = *message_id,
                    "what a destination did could not be recorded: {message}"
                );
                Err(())
            }
        }
    }

    /// Tells who is held, and what else was refused unless that was told within the hour. Returns whether
    /// nothing is left to tell.
    async fn tell_of_refusals(&self, held: Vec<Untold>, mut refused: Vec<Refusal>, ids: &[&str]) -> bool {
        let (mut claimed, mut unknown) = (None, false);
        if !refused.is_empty() {
            let message_ids: Vec<String> = refused.iter().map(|one| one.message_id.clone()).collect();
            match self.claim_bounces(&message_ids).await {
                Ok(Some(ours)) => claimed = Some(ours),
                // They are on record, and in the digest.
                Ok(None) => refused.clear(),
                Err(error) => {
                    tracing::error!("refusals are not told now: {}", error.failure().message);
                    refused.clear();
                    unknown = true;
                }
            }
        }
        if held.is_empty() && refused.is_empty() {
            return !unknown;
        }
        let notice = refusals::compose(&held, &refused, &self.handler.settings.place);
        let out = self.send(&notice, ids.first().copied().unwrap_or("feedback")).await;
        if let Some(claimed) = claimed.filter(|_| !out) {
            self.unclaim_bounces(claimed).await;
        }
        if !held.is_empty() {
            let noted = match Record::<Suspended>::read(&self.bucket, SUSPENDED.to_owned()).await {
                Ok(mut record) => {
                    let told = |known: Option<&Suspended>| {
                        let mut next = known?.clone();
                        next.told(&held, out);
                        (Some(&next) != known).then_some(next)
                    };
                    record.update(&self.bucket, told).await.map(drop)
                }
                Err(unknown) => Err(unknown),
            };
            if let Err(unknown) = noted {
                tracing::error!("that it was told could not be noted: {}", unknown.failure().message);
            }
        }
        out && !unknown
    }
}

impl Case<'_> {
    /// The message, if a destination did not take it for its size.
    fn too_large(&self) -> Option<TooLarge<'_>> {
        let Ok(Record { content: Some(outcome), .. }) = &self.record else { return None };
        let mut events = self.heard.iter().flat_map(|heard| &heard.feedback.events);
        events.find(|event| about(event) == About::Size)?;
        let age = self.heard.iter().map(|heard| heard.age).min()?;
        Some(TooLarge { message_id: &self.message_id, day: self.day, outcome, age })
    }

    /// The refusals that hold no mail and that nobody else hears of.
    fn to_tell(&self, new: Vec<DeliveryEvent>, stubs: Stubs) -> impl Iterator<Item = Refusal> {
        let Stubs { having, given_up, to_come } = stubs;
        let again = self.again.iter().cloned();
        let events: BTreeSet<DeliveryEvent> = new.into_iter().chain(given_up).chain(again).collect();
        let refusals = events.into_iter().filter(move |event| {
            // Who has a stub knows, and who may get one is not given up.
            let is_stood_in = about(event) == About::Size && (to_come || having.contains(&event.destination));
            // A refusal of an answer is told to who wrote it, by mail of SES's.
            let is_answer = self.answered.contains(&event.destination);
            let holds_nothing = self.effect(event) == Effect::Nothing;
            event.event == DeliveryKind::Bounced && holds_nothing && !is_answer && !is_stood_in
        });
        refusals.map(|event| Refusal { event, message_id: self.message_id.clone(), day: self.day })
    }

    /// What one of its events suspends.
    fn effect(&self, event: &DeliveryEvent) -> Effect {
        effect(event, self.answered.contains(&event.destination))
    }
}

/// The events of a message that count for holding mail.
fn noted<'c>(case: &'c Case<'_>) -> impl Iterator<Item = Noted<'c>> {
    case.new.iter().map(|event| Noted {
        event,
        message_id: &case.message_id,
        unnamed: case.unnamed.contains(&event.destination),
        answer: case.answered.contains(&event.destination),
        senders: &case.senders,
    })
}

/// The destinations of a send that no line of the routes names.
fn unnamed(feedback: &Feedback, outcome: &Outcome) -> Vec<String> {
    let Sending::Forwarded { unnamed } = &feedback.sending else { return Vec::new() };
    let sent = outcome.sent.iter().find(|sent| sent.message_id == feedback.sent_id);
    let named = |place: &usize| sent.and_then(|sent| sent.destinations.get(*place)).cloned();
    unnamed.iter().filter_map(named).collect()
}

/// The events by the addresses that the message was sent to: SES may write them in another case, and names the
/// last one of a destination that forwards in its turn. One that is about nobody it was sent to is left out.
fn addressed(feedback: &Feedback, outcome: &Outcome) -> Vec<DeliveryEvent> {
    let destination = |event| destination_of(event, feedback, outcome).map(str::to_owned);
    let events = feedback.events.iter();
    events
        .filter_map(|event| Some(DeliveryEvent { destination: destination(event)?, ..event.clone() }))
        .collect()
}

/// Whether it tells of a send that is not on record: SES was quicker, or its answer to that send never came.
fn is_unknown(feedback: &Feedback, outcome: &Outcome) -> bool {
    let id = &feedback.sent_id;
    let is_on_record = id.is_empty() || outcome.sent.iter().any(|sent| sent.message_id == *id);
    !is_on_record && feedback.events.iter().any(|event| destination_of(event, feedback, outcome).is_none())
}

/// The address, as the message was sent to it, that an event is about.
///
/// Of the send that it names, it may be about one that the destination forwards to; so may it be of a send whose id
/// is not known. Of other sends it is not: who has refused nothing must not be taken for who has.
fn destination_of<'a>(event: &DeliveryEvent, feedback: &Feedback, outcome: &'a Outcome) -> Option<&'a str> {
    let is_answer = feedback.sending == Sending::Answer;
    let alike = || outcome.sent.iter().filter(|sent| sent.alias.is_some() == is_answer);
    let is_named = |id: &str| !id.is_empty() && id == feedback.sent_id;
    let the_send: Vec<&Sent> = alike().filter(|sent| is_named(&sent.message_id)).collect();
    let or_all: Vec<&Sent> = if the_send.is_empty() { alike().collect() } else { the_send };
    let by_address =
        addresses(or_all.iter().copied()).find(|one| one.eq_ignore_ascii_case(&event.destination));
    by_address.or_else(|| {
        let may_be_it = |sent: &&Sent| {
            is_named(&sent.message_id) || sent.message_id.is_empty() || feedback.sent_id.is_empty()
        };
        let mut candidates: BTreeSet<&str> = addresses(or_all.into_iter().filter(may_be_it)).collect();
        candidates.pop_first().filter(|_| candidates.is_empty())
    })
}

fn addresses<'a>(sends: impl Iterator<Item = &'a Sent>) -> impl Iterator<Item = &'a str> {
    sends.flat_map(|sent| &sent.destinations).map(String::as_str)
}

/// An outcome with these events; `None` if it has them.
fn with_events(known: &Outcome, events: &[DeliveryEvent]) -> Option<Outcome> {
    let mut delivery: BTreeSet<DeliveryEvent> = known.delivery.iter().cloned().collect();
    for event in events {
        let is_delay =
            |one: &&DeliveryEvent| one.event == DeliveryKind::Delayed && one.destination == event.destination;
        let too_many =
            event.event == DeliveryKind::Delayed && delivery.iter().filter(is_delay).count() >= DELAYS_MAX;
        if !too_many && delivery.len() < EVENTS_MAX {
            delivery.insert(event.clone());
        }
    }
    let delivery: Vec<_> = delivery.into_iter().collect();
    (delivery != known.delivery).then(|| Outcome { delivery, ..known.clone() })
}
