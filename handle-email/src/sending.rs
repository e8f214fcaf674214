//! The sends of a message that are left to make, one by one, and what is recorded of them at the end.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use ses_forwarder::{
    feedback::{self, Sending},
    header::Rewritten,
    notification::Verdict,
    outcome::{self, INCOMPLETE, OUT_OF_TIME, Outcome, Sent, Status},
    replies::signed::Purpose,
    settings::OnRefused,
    stub::{About, Why},
};
use ses_forwarder_aws::{
    call::{CallError, Kind, Persistence},
    ledger::Entry,
    outgoing::{Envelope, Outgoing},
};

use crate::{
    Handler, Invocation, InvocationError,
    asked::{Asked, StubRequest},
    draft::{AnswerSend, Draft, Outbound, Share},
    incoming::{Ending, Incoming},
};

/// What a send is thought to take before there was one.
const QUICK: Duration = Duration::from_millis(500);

/// What counts for some destinations of a message.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What has to wait, unless it was sent, and why.
    pub(crate) held: Vec<(Share, &'static str)>,
    /// Those that no line of the routes names.
    pub(crate) unnamed: HashSet<String>,
}

/// What SES took.
struct Accepted {
    message_id: String,
    /// What it refused the message for, if it is a stub in place of that.
    instead: Option<CallError>,
    stub: bool,
}

/// Why a send was not made.
enum Unsent {
    /// It may be made later.
    Hindered(CallError),
    /// SES takes no such message.
    Refused(CallError, Outgoing),
}

impl Handler {
    /// Makes the sends that no earlier try made, and records the end. One that fails keeps no other from
    /// being made. `hindered` is what has failed before.
    pub(crate) async fn send(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        draft: &Draft<'_>,
        mut outcome: Outcome,
        Waiting { mut held, unnamed }: Waiting,
        mut hindered: Option<CallError>,
    ) -> Result<Ending, InvocationError> {
        let (mut refused, mut in_doubt, mut slowest) = (None, false, QUICK);
        let reason = outcome.reason.take();
        let asked = &message.invocation.asked;
        let before = entry.outcome.clone().filter(|earlier| asked.is_extra(earlier));
        let mut needless = needless(&outcome, draft, asked);
        held.retain(|(share, _)| needless.insert(share.clone()));
        let mut missing = draft.missing(&needless).into_iter().enumerate().peekable();
        while let Some((number, outbound)) = missing.next() {
            if message.invocation.mailer.left() < 2 * slowest {
                // It would be cut off, and nobody would know whether SES has it.
                hindered = hindered.or(Some(out_of_time()));
                break;
            }
            let began = Instant::now();
            let sent = self.send_one(message, draft, &outbound, &unnamed, number).await;
            slowest = slowest.max(began.elapsed());
            match sent {
                Ok(Accepted { message_id, instead, stub }) => {
                    let (destinations, alias) = (outbound.destinations(), outbound.alias());
                    outcome.sent.push(Sent { message_id, destinations, stub, alias });
                    if before.is_none() {
                        outcome.forward_millis = message.age();
                    }
                    if let Some(refusal) = instead {
                        outcome.error = Some(recorded(&refusal));
                    }
                    if missing.peek().is_some() {
                        self.record_step(message, entry, before.as_ref(), &outcome).await;
                    }
                }
                Err(Unsent::Refused(error, outgoing)) => refused = refused.or(Some((error, outgoing))),
                Err(Unsent::Hindered(error)) => {
                    in_doubt |= error.in_doubt;
                    hindered = hindered.or(Some(error));
                }
            }
        }
        if in_doubt {
            outcome.doubts = outcome.doubts.saturating_add(1);
        }
        if let Some(before) = before
            && (hindered.is_some() || refused.is_some() || draft.stubs.is_some())
        {
            // It stays what it was: what more was asked for did not come of it, or says nothing of the rest.
            let failure = hindered.or(refused.map(|(error, _)| error)).map(InvocationError::from);
            let repeated = failure.is_some() || draft.stubs.is_some();
            let ending = self.record_end(message, entry, with_sends(before, &outcome), failure).await?;
            return Ok(Ending { repeated, ..ending });
        }
        match (hindered, refused) {
            (None, None) => {
                (outcome.status, outcome.reason) = match held.first() {
                    Some((_, why)) => (Status::Held, Some((*why).to_owned())),
                    None => (Status::Forwarded, reason),
                };
                self.record_end(message, entry, outcome, None).await
            }
            (Some(error), _) => {
                let is_unsent = outcome.sent.is_empty();
                outcome.reason = Some(if is_unsent { error.code.clone() } else { INCOMPLETE.to_owned() });
                outcome.error = Some(recorded(&error));
                if !is_unsent {
                    return self.record_end(message, entry, outcome, Some(error.into())).await;
                }
                self.record_failure(message, entry, &outcome).await;
                Ok(Ending { outcome: Some(outcome), repeated: false, failure: Some(error.into()) })
            }
            (None, Some((error, outgoing))) => {
                Ok(self.reject(message, entry, &outgoing, outcome, error).await)
            }
        }
    }

    /// Makes one send, the `number`-th.
    async fn send_one(
        &self,
        message: &Incoming<'_>,
        draft: &Draft<'_>,
        outbound: &Outbound<'_>,
        unnamed: &HashSet<String>,
        number: usize,
    ) -> Result<Accepted, Unsent> {
        let Invocation { mailer, bucket, .. } = message.invocation;
        let id = &message.notification.message_id;
        let Rewritten { header, from, notes, mut contacts } = draft.header(outbound);
        // What is dropped is the same for all.
        for note in notes.iter().filter(|_| number == 0) {
            tracing::info!(messageId = id, "{note}");
        }
        let outgoing = draft.outgoing(outbound, header);
        let (destinations, mut bounces) = (outbound.destinations(), None);
        let sending = match outbound {
            Outbound::Answer(AnswerSend { replies, alias, author, .. }) => {
                let admitted = self.replying.admit(bucket, alias, id, draft.rules.per_hour).await;
                admitted.map_err(Unsent::before)?;
                if let Some(signed) = replies.sign(Purpose::Bounce, alias, author) {
                    contacts.extend(signed.contact);
                    bounces = Some(signed.address.to_string());
                }
                Sending::Answer
            }
            Outbound::Forward(_) => {
                let places = destinations.iter().enumerate();
                let places = places.filter(|(_, one)| unnamed.contains(*one)).map(|(place, _)| place);
                Sending::Forwarded { unnamed: places.collect() }
            }
        };
        self.replying.keep(bucket, &contacts).await.map_err(Unsent::before)?;
        let tags = feedback::tags(id, message.received.date(), &sending);
        let envelope = Envelope {
            from: &from,
            to: &destinations,
            configuration_set: self.settings.configuration_set.as_deref(),
            tenant: self.settings.tenant.as_deref(),
            tags: &tags,
            feedback: bounces.as_deref(),
        };
        if let Some(StubRequest { words, .. }) = draft.stubs {
            let stub = self.stub(message, draft, &outgoing, Why::MailboxTooSmall, words);
            return match mailer.send(&stub, envelope).await {
                Ok(message_id) => Ok(Accepted { message_id, instead: None, stub: true }),
                Err(error) => Err(Unsent::of(error, outgoing)),
            };
        }
        let refusal = match mailer.send(&outgoing, envelope).await {
            Ok(message_id) => return Ok(Accepted { message_id, instead: None, stub: false }),
            Err(error) if outbound.may_be_stub() && self.is_for_stub(message, &error) => error,
            Err(error) => return Err(Unsent::of(error, outgoing)),
        };
        let why = if outgoing.is_too_large() { Why::TooLarge } else { Why::Content };
        let stub = self.stub(message, draft, &outgoing, why, &refusal.message);
        match mailer.send(&stub, envelope).await {
            Ok(message_id) => Ok(Accepted { message_id, instead: Some(refusal), stub: true }),
            // What counts is what the message was refused for.
            Err(error) if error.kind == Kind::Permanent => Err(Unsent::Refused(refusal, outgoing)),
            Err(error) => Err(Unsent::Hindered(error)),
        }
    }

    /// Records what has been sent so far: the claim goes on. The last record tells of this too, and that one has to be
    /// written.
    ///
    /// `before` is what stays of the message should this try end here, as more was asked for than it had come to.
    async fn record_step(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        before: Option<&Outcome>,
        outcome: &Outcome,
    ) {
        let Outcome { claimed_until, request_id, .. } = message.claim();
        let step = before.map_or_else(|| outcome.clone(), |before| with_sends(before.clone(), outcome));
        let step = Outcome {
            status: Status::Sending,
            was: before.map(|before| before.status),
            claimed_until,
            request_id,
            doubts: outcome.doubts.saturating_add(1),
            ..step
        };
        if let Err(error) = self.ledger.write_after_send(message.records(), entry, &step).await {
            tracing::error!(messageId = outcome.message_id, "{error}");
        }
    }

    /// Records what a try has come to that has sent something.
    async fn record_end(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        outcome: Outcome,
        failure: Option<InvocationError>,
    ) -> Result<Ending, InvocationError> {
        let written = self.ledger.write_after_send(message.records(), entry, &outcome).await;
        written.map_err(InvocationError::not_recorded)?;
        Ok(Ending { outcome: Some(outcome), repeated: false, failure })
    }

    /// Whether what SES refused for this reaches its reader as a stub.
    fn is_for_stub(&self, message: &Incoming<'_>, refusal: &CallError) -> bool {
        refusal.kind == Kind::Permanent
            && self.settings.on_refused == OnRefused::Stub
            // It would only tell where to get it.
            && message.notification.virus != Verdict::Fail
    }

    /// What goes out in place of a message.
    fn stub(
        &self,
        message: &Incoming<'_>,
        draft: &Draft<'_>,
        outgoing: &Outgoing,
        why: Why,
        words: &str,
    ) -> Outgoing {
        let original = message.invocation.bucket.address(&message.keys.message);
        let bytes = draft.block.body_at + draft.body.len();
        draft.stub(outgoing, &About { why, words, bytes, original: &original })
    }

    /// Keeps what SES refused, and records that it did.
    async fn reject(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        outgoing: &Outgoing,
        mut outcome: Outcome,
        error: CallError,
    ) -> Ending {
        let bucket = &message.invocation.bucket;
        let (key, bytes) = (&message.keys.error, outgoing.len());
        let body = || outgoing.to_body();
        let kept = bucket.put_body(key, "message/rfc822", bytes, Persistence::Usual, body).await;
        outcome.status = Status::Rejected;
        outcome.reason = Some(error.code.clone());
        outcome.error = Some(recorded(&error));
        let written = self.ledger.write_after_send(message.records(), entry, &outcome).await;
        let mut failure = InvocationError::from(error);
        failure.sentence.push_str(&match kept {
            Ok(()) => format!("; what was to be sent is {}", bucket.address(key)),
            Err(error) => format!("; what was to be sent could not be kept: {error}"),
        });
        if let Err(error) = &written {
            failure.sentence.push_str(&format!("; this could not be recorded: {error}"));
        }
        Ending { outcome: Some(outcome), repeated: false, failure: Some(failure) }
    }
}

impl Unsent {
    /// What failed before anything was sent, so that there is no doubt about it.
    fn before(error: CallError) -> Unsent {
        Unsent::Hindered(CallError { in_doubt: false, ..error })
    }

    fn of(error: CallError, outgoing: Outgoing) -> Unsent {
        if error.kind == Kind::Permanent { Unsent::Refused(error, outgoing) } else { Unsent::Hindered(error) }
    }
}

/// What destinations have already, or do not get now.
fn needless(outcome: &Outcome, draft: &Draft<'_>, asked: &Asked) -> HashSet<Share> {
    if let Some(request) = draft.stubs {
        let destinations = draft.how.deliveries.iter().flat_map(|delivery| &delivery.destinations);
        let others = destinations.map(ToString::to_string).filter(|one| !request.is_for(outcome, one));
        return others.map(Share::forwarded).collect();
    }
    let mut needless: HashSet<Share> = outcome.sent.iter().flat_map(Share::of).collect();
    if let Asked::Resume(resumed) = asked
        && feedback::is_refused(outcome, resumed)
    {
        needless.retain(|Share { alias, destination }| {
            alias.is_some() || !destination.eq_ignore_ascii_case(resumed)
        });
    }
    needless
}

/// What was recorded before, with what has been sent since, in the name of the try that has sent it.
fn with_sends(before: Outcome, outcome: &Outcome) -> Outcome {
    let Outcome { sent, refused, doubts, request_id, .. } = outcome.clone();
    Outcome { sent, refused, doubts, request_id, ..before }
}

fn out_of_time() -> CallError {
    let message =
        "there is no time left in this invocation for all sends; the others are made by the next one";
    CallError::new("SendEmail", Kind::Transient, OUT_OF_TIME, message)
}

fn recorded(error: &CallError) -> outcome::Failure {
    outcome::Failure { code: error.code.clone(), message: error.message.clone() }
}
