//! One message: archived, decided on, rewritten, sent, accounted for.
//!
//! On the way of a message that is forwarded three calls follow one another: it is read, sent, and
//! recorded. It is archived, and so claimed, while it is read.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ses_forwarder::{
    address::Address,
    answers,
    body::Recoding,
    decision::{Decision, judge, may_be_told},
    delivery::{self, Delivery, Reason},
    delivery_report,
    feedback::{self, Sending},
    header::{self, HeaderFacts, Rewrite, Rewritten},
    notification::{Notification, Verdict},
    outcome::{self, INCOMPLETE, Outcome, Refusal, Sent, Status},
    replies::{Replies, signed::Purpose},
    routes::Routes,
    settings::{EmailSettings, OnRefused},
    stub::{About, Why},
};
use ses_forwarder_aws::{
    bucket::Object,
    call::{CallError, Kind, Persistence},
    ledger::{CLOCKS_DIFFER, Claimed, Entry, Records},
    outgoing::{Envelope, Outgoing},
    refusal::MAX_AGE,
};
use time::OffsetDateTime;

use crate::{
    Handler, Invocation, InvocationError,
    asked::{Asked, StubRequest, is_forwarded},
    draft::{AnswerSend, Draft, Outbound, Share},
    holding,
};

/// How old a message is that is handled for the first time, at most: SES invokes within seconds, by two
/// clocks that may differ.
const PROMPT: Duration = CLOCKS_DIFFER;

/// A message in an invocation.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) notification: &'a Notification,
    pub(crate) invocation: &'a Invocation<'a>,
    /// When SES received it, as far as that can be told.
    pub(crate) received: OffsetDateTime,
    verbatim: &'a str,
    keys: Keys,
}

#[derive(Debug)]
struct Keys {
    message: String,
    index: String,
    outcome: String,
    error: String,
}

/// How a try at a message ended. At least one of outcome and failure is there.
#[derive(Debug)]
pub(crate) struct Ending {
    /// What is recorded of the message now; `None` leaves what was.
    pub(crate) outcome: Option<Outcome>,
    /// Whether an earlier try recorded it, and this one did nothing.
    pub(crate) repeated: bool,
    /// What the invocation fails with.
    pub(crate) failure: Option<InvocationError>,
}

/// What counts for some destinations of a message.
#[derive(Debug)]
struct Waiting {
    /// What has to wait, unless it was sent, and why.
    held: Vec<(Share, &'static str)>,
    /// Those that no line of the routes names.
    unnamed: HashSet<String>,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(
        notification: &'a Notification,
        verbatim: &'a str,
        invocation: &'a Invocation<'a>,
        settings: &EmailSettings,
    ) -> Incoming<'a> {
        let received = notification.timestamp.unwrap_or(invocation.started);
        let (id, day, prefixes) = (&notification.message_id, received.date(), &settings.common.prefixes);
        let keys = Keys {
            message: prefixes.message(id),
            index: prefixes.index(day, id),
            outcome: prefixes.outcome(day, id),
            error: prefixes.error(day, id),
        };
        Incoming { notification, invocation, received, verbatim, keys }
    }

    /// Where its records are.
    fn records(&self) -> Records<'_> {
        let Keys { index, outcome, .. } = &self.keys;
        Records { bucket: &self.invocation.bucket, index, outcome }
    }

    /// What bars others from sending it as long as this invocation may.
    fn claim(&self) -> Outcome {
        let Invocation { request_id, tries, ends, .. } = self.invocation;
        let blank = Outcome::new(self.notification, self.received, request_id, Status::Sending);
        Outcome { claimed_until: Some(*ends), tries: *tries, ..blank }
    }

    /// Milliseconds since SES received it.
    fn age(&self) -> Option<u64> {
        let age = OffsetDateTime::now_utc() - self.received;
        u64::try_from(age.whole_milliseconds()).ok()
    }

    /// An outcome to fill in. What earlier tries have sent, and what became of that, stays in every later
    /// record.
    fn outcome(&self, status: Status, earlier: Option<Outcome>, bytes: Option<usize>) -> Outcome {
        let blank = Outcome::new(self.notification, self.received, self.invocation.request_id, status);
        let bytes = bytes.map(|bytes| bytes as u64);
        let Some(Outcome { sent, refused, released, forward_millis, tries, doubts, delivery, .. }) = earlier
        else {
            return Outcome { bytes, ..blank };
        };
        Outcome { sent, refused, released, forward_millis, tries, doubts, delivery, bytes, ..blank }
    }

    /// The end of a try at a message that is settled.
    fn settled(&self, as_what: &Outcome) -> Ending {
        self.settled_by(as_what).expect("the ledger asked before")
    }

    /// Whether an earlier try has settled the message: then how it did.
    ///
    /// Lambda repeats a failed invocation under the same request id; asking anew, by hand or from the
    /// dead-letter queue, comes with another and is meant to try again.
    fn settled_by(&self, earlier: &Outcome) -> Option<Ending> {
        let same_request = earlier.request_id == self.invocation.request_id;
        let failure = match earlier.status {
            Status::Forwarded if self.invocation.asked.reopens(earlier) => return None,
            Status::Forwarded => None,
            Status::Rejected if same_request => {
                let error = earlier.error.clone();
                let outcome::Failure { code, message } = error.unwrap_or(outcome::Failure {
                    code: "MessageRejected".to_owned(),
                    message: String::new(),
                });
                let sentence = format!("refused at the first try, so not sent again: {code}: {message}");
                Some(InvocationError::new(code, sentence))
            }
            Status::Dropped if same_request && earlier.reason.as_deref() == Some(Reason::Bounce.word()) => {
                Some(bounce())
            }
            Status::Rejected | Status::Dropped | Status::Held | Status::Sending | Status::Failed => {
                return None;
            }
        };
        Some(Ending { outcome: Some(earlier.clone()), repeated: true, failure })
    }
}

impl Handler {
    /// Does what is left to do for a message.
    ///
    /// Should its notification not be archived, it is forwarded all the same. Then this is tried once more,
    /// and by the next try.
    pub(crate) async fn forward(&self, message: &Incoming<'_>) -> Ending {
        let mut unarchived = None;
        let mut ending = self.settle(message, &mut unarchived).await.unwrap_or_else(|failure| Ending {
            outcome: None,
            repeated: false,
            failure: Some(failure),
        });
        if unarchived.is_some()
            && let Err(error) = message.records().archive(message.verbatim, None).await
        {
            // The next try may archive it, and must not take that for a sign that nobody has had it.
            ending.outcome.iter().for_each(|outcome| self.ledger.remember(outcome));
            ending.failure = ending.failure.or(Some(error.into()));
        }
        ending.failure = ending.failure.map(|failure| failure.about(&message.notification.message_id));
        ending
    }

    /// Claims a message, and does what is left to do. `unarchived` is why its notification could not be
    /// archived.
    async fn settle(
        &self,
        message: &Incoming<'_>,
        unarchived: &mut Option<CallError>,
    ) -> Result<Ending, InvocationError> {
        let Invocation { bucket, .. } = message.invocation;
        let (records, claim) = (message.records(), message.claim());
        let is_settled = |outcome: &Outcome| message.settled_by(outcome).is_some();
        // Only what an earlier try recorded, or another's claim, ends this one early, whatever the other two
        // come to: a message that was forwarded may be gone by now.
        let claimed = async {
            match self.ledger.claim(records, message.verbatim, &claim, is_settled).await {
                Ok(Claimed::Open { entry, ours, unarchived: why }) => {
                    *unarchived = why;
                    Ok((entry, ours))
                }
                Ok(Claimed::Settled { outcome, unarchived: why }) => {
                    *unarchived = why;
                    Err(Ok(message.settled(&outcome)))
                }
                Err(error) => Err(Err(error.into())),
            }
        };
        let asked = &message.invocation.asked;
        if asked.is_decided_by_verdicts()
            && let Err(reason) = judge(message.notification, &asked.policy(self.settings.policy, None))
            && self.routing.current(bucket).await.is_ok_and(|routes| !routes.senders().let_past_verdicts())
        {
            return match claimed.await {
                Ok((entry, _)) if is_forwarded(entry.outcome.as_ref()) => Ok(nothing_to_do(entry)),
                Ok((mut entry, _)) => {
                    let outcome = message.outcome(Status::Dropped, entry.outcome.clone(), None);
                    self.drop(message, &mut entry, reason, outcome).await
                }
                Err(end) => end,
            };
        }
        let stored = async { Ok(bucket.read(&message.keys.message).await) };
        let routes = async { Ok(self.routing.current(bucket).await) };
        let anew = matches!(asked, Asked::Resume(_));
        let suspended = async { Ok(self.holding.current(bucket, anew).await) };
        let keys = async { Ok(self.replying.keys(bucket, &message.notification.recipients).await) };
        let all = tokio::try_join!(claimed, stored, routes, suspended, keys);
        let ((mut entry, mut ours), stored, routes, suspended, keys) = match all {
            Ok(all) => all,
            Err(end) => return end,
        };
        // The first to archive a notification that is not new: the archive may have failed, or been deleted.
        let is_new = message.invocation.first_hand
            && !stored.as_ref().is_ok_and(|stored| stored.as_ref().is_some_and(is_old));
        if ours && !is_new {
            match self.ledger.look(records, &claim, is_settled).await? {
                Ok(known) => (entry, ours) = (known, false),
                Err(outcome) => return Ok(message.settled(&outcome)),
            }
        }
        let (stored, routes, keys) = match (stored, routes, keys) {
            (Ok(Some(Object { content, .. })), Ok(routes), Ok(keys)) => (content, routes, keys),
            (stored, routes, keys) => {
                let failure = match (stored, routes) {
                    (Err(error), _) => error.into(),
                    (Ok(None), _) => {
                        let address = bucket.address(&message.keys.message);
                        InvocationError::new("MessageNotFound", format!("there is no {address}"))
                    }
                    (Ok(Some(_)), Err(failure)) => failure,
                    (Ok(Some(_)), Ok(_)) => keys.expect_err("all are there otherwise"),
                };
                return Ok(self.give_back(message, &mut entry, failure).await);
            }
        };

        let EmailSettings { common, subject_prefix, .. } = &self.settings;
        let block = header::split(&stored);
        let facts = HeaderFacts::of(&block);
        let (contacts, named) = match &keys {
            None => (Vec::new(), Vec::new()),
            Some(_) => {
                let Notification { recipients, .. } = message.notification;
                match self.replying.contacts(bucket, recipients, &block, &common.domains).await {
                    Ok(contacts) => contacts,
                    Err(error) => return Ok(self.give_back(message, &mut entry, error.into()).await),
                }
            }
        };
        let replies = keys.as_deref().map(|keys| Replies {
            keys,
            contacts: &contacts,
            named: &named,
            domains: &common.domains,
        });
        let earlier = entry.outcome.as_ref();
        let policy = asked.policy(self.settings.policy, earlier);
        let routes = if asked.heeds_senders(earlier) { routes } else { Arc::new(routes.without_senders()) };
        let (mut decision, mut answers) = answers::decide(
            message.notification,
            &facts,
            &policy,
            &routes,
            &common.domains,
            replies.as_ref(),
        );
        let Notification { message_id, recipients, .. } = message.notification;
        match (self.replying.once(bucket, &block, message_id, &mut answers).await, &replies) {
            (Ok(again), Some(replies)) if !again.is_empty() => {
                answers::leave_out(&mut decision, recipients, &again, answers.is_empty(), replies);
            }
            (Ok(_), _) => {}
            (Err(error), _) => return Ok(self.give_back(message, &mut entry, error.into()).await),
        }
        let earlier = entry.outcome.as_ref();
        if let Some(forwarded) = earlier.filter(|earlier| is_forwarded(Some(earlier)))
            && !asked.narrow(&mut decision, message.notification, forwarded)
        {
            return Ok(nothing_to_do(entry));
        }
        let reason = decision.reason();
        if !ours {
            match self.ledger.take_over(records, entry, &claim, is_settled).await? {
                Ok(taken) => entry = taken,
                Err(outcome) => return Ok(message.settled(&outcome)),
            }
        }
        match decision {
            Decision::Drop { reason, left_out } => {
                let mut outcome = message.outcome(Status::Dropped, entry.outcome.clone(), Some(stored.len()));
                if let Err(error) = self.refuse(message, &facts, &left_out, &mut outcome).await {
                    return Ok(self.give_back(message, &mut entry, error.into()).await);
                }
                if reason == Reason::Bounce {
                    outcome.delivery = delivery_report::refusals(&stored, message.received);
                }
                outcome.left_out = left_out.into_iter().map(outcome::LeftOut::from).collect();
                self.drop(message, &mut entry, reason, outcome).await
            }
            Decision::Forward { deliveries, destinations, tags, left_out } => {
                let how = Rewrite {
                    email_domain: common.domains.first(),
                    envelope_sender: message.notification.source.as_deref(),
                    deliveries: &deliveries,
                    recipients: &[],
                    hide_destinations: self.settings.hide_destinations,
                    subject_prefix,
                    tags: &[],
                    replies: replies.filter(|_| routes.replies().enabled),
                };
                let body = stored.slice(block.body_at..);
                let recoding = Recoding::of(&block, &body).map(Arc::new);
                let stubs = asked.stubs(entry.outcome.as_ref());
                let answers = match stubs {
                    None => AnswerSend::of(answers, facts.sole_author.as_ref(), &routes, replies),
                    Some(_) => Vec::new(),
                };
                let domains = &common.domains;
                let rules = routes.replies();
                let reply_body = self.settings.reply_body;
                let block = &block;
                let draft = Draft { block, body, recoding, how, domains, stubs, answers, rules, reply_body };
                let mut outcome = message.outcome(Status::Failed, entry.outcome.clone(), Some(stored.len()));
                let earlier = entry.outcome.as_ref();
                let released = asked.released_from(message.notification, &self.settings.policy, earlier);
                outcome.released = outcome.released.max(released);
                let senders = senders(message.notification, &facts);
                let held = holding::held(&suspended, &deliveries, &draft.answers, &senders);
                let unnamed = unnamed(&routes, &deliveries, &destinations);
                outcome.reencoded = draft.recoding.is_some();
                let correspondents = draft.answers.iter().flat_map(|answer| &answer.correspondents);
                outcome.destinations =
                    destinations.iter().chain(correspondents).map(ToString::to_string).collect();
                outcome.aliases = draft.answers.iter().map(|answer| answer.alias.to_string()).collect();
                let refused = self.refuse(message, &facts, &left_out, &mut outcome).await;
                outcome.tags = tags.iter().map(|tag| tag.word().to_owned()).collect();
                outcome.left_out = left_out.into_iter().map(outcome::LeftOut::from).collect();
                outcome.reason = reason.map(|reason| reason.word().to_owned());
                let waiting = Waiting { held, unnamed };
                self.send(message, &mut entry, &draft, outcome, waiting, refused.err()).await
            }
        }
    }

    /// Ends a try before a message is sent, so that another need not wait for its claim to run out. Should
    /// that not be possible, it waits.
    async fn give_back(&self, message: &Incoming<'_>, entry: &mut Entry, failure: InvocationError) -> Ending {
        if is_forwarded(entry.outcome.as_ref()) {
            return Ending { outcome: entry.outcome.clone(), repeated: true, failure: Some(failure) };
        }
        let mut outcome = message.outcome(Status::Failed, entry.outcome.clone(), None);
        outcome.reason = Some(why(&outcome, &failure.name));
        outcome.error =
            Some(outcome::Failure { code: failure.name.clone(), message: failure.sentence.clone() });
        self.record_failure(message, entry, &outcome).await;
        Ending { outcome: Some(outcome), repeated: false, failure: Some(failure) }
    }

    /// Records a failure. It needs no failure of its own: the invocation fails already.
    async fn record_failure(&self, message: &Incoming<'_>, entry: &mut Entry, outcome: &Outcome) {
        if let Err(error) = self.record_unsent(message, entry, outcome).await {
            tracing::warn!(messageId = outcome.message_id, code = %error.code, "{} failed", error.step);
        }
    }

    /// Records a try that sent the message to nobody. It may have told its sender, and then has to be recorded.
    async fn record_unsent(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        outcome: &Outcome,
    ) -> Result<(), CallError> {
        if outcome.refused.is_empty() {
            self.ledger.write(message.records(), entry, outcome).await
        } else {
            self.ledger.write_after_send(message.records(), entry, outcome).await
        }
    }

    /// Records a message that is not to be sent.
    async fn drop(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        reason: Reason,
        mut outcome: Outcome,
    ) -> Result<Ending, InvocationError> {
        outcome.reason = Some(reason.word().to_owned());
        if let Err(error) = self.record_unsent(message, entry, &outcome).await {
            return Err(if outcome.refused.is_empty() { error.into() } else { not_recorded(error) });
        }
        let failure = (reason == Reason::Bounce).then(bounce);
        Ok(Ending { outcome: Some(outcome), repeated: false, failure })
    }

    /// Tells the sender of those who refuse its mail, unless an earlier try has. Nobody else is told: a bounce
    /// to an address that somebody made up is spam.
    ///
    /// An error is one that may pass. Where SES won't, the mail is dropped all the same.
    async fn refuse(
        &self,
        message: &Incoming<'_>,
        facts: &HeaderFacts,
        left_out: &[delivery::Undelivered],
        outcome: &mut Outcome,
    ) -> Result<(), CallError> {
        let told: HashSet<&String> = outcome.refused.iter().flat_map(|refusal| &refusal.recipients).collect();
        let refused = left_out.iter().filter(|one| one.reason == Reason::Refused).map(|one| &one.recipient);
        let recipients: Vec<String> =
            refused.filter(|recipient| !told.contains(recipient)).cloned().collect();
        let is_late = OffsetDateTime::now_utc() - message.received > MAX_AGE;
        let Some(first) = recipients.first() else { return Ok(()) };
        if is_late || !may_be_told(message.notification, facts) {
            return Ok(());
        }
        let domains = &self.settings.common.domains;
        let domain =
            Address::parse_bare(first).map_or(domains.first(), |first| domains.sender_for(first.domain()));
        let message_id = &message.notification.message_id;
        match message.invocation.bouncer.refuse(message_id, domain, &recipients).await {
            Ok(message_id) => outcome.refused.push(Refusal { message_id, recipients }),
            Err(error) if error.kind == Kind::Permanent => {
                tracing::warn!(messageId = message_id, code = %error.code, "the sender could not be told");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes the sends that no earlier try made, and records the end. One that fails keeps no other from
    /// being made. `hindered` is what has failed before.
    async fn send(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        draft: &Draft<'_>,
        mut outcome: Outcome,
        Waiting { mut held, unnamed }: Waiting,
        mut hindered: Option<CallError>,
    ) -> Result<Ending, InvocationError> {
        let Invocation { mailer, bucket, asked, .. } = message.invocation;
        let records = message.records();
        let (mut refused, mut in_doubt) = (None, false);
        let reason = outcome.reason.take();
        // Of stubs, all: who has the message is to get one all the same.
        let accepted = outcome.sent.iter().filter(|sent| sent.stub || draft.stubs.is_none());
        let mut needless: HashSet<Share> = accepted.flat_map(Share::of).collect();
        if let Asked::Resume(resumed) = asked
            && feedback::is_refused(&outcome, resumed)
        {
            needless.retain(|Share { alias, destination }| {
                alias.is_some() || !destination.eq_ignore_ascii_case(resumed)
            });
        }
        held.retain(|(share, _)| needless.insert(share.clone()));
        let mut missing = draft.missing(&needless).into_iter().enumerate().peekable();
        while let Some((number, outbound)) = missing.next() {
            let destinations = outbound.destinations();
            let Rewritten { header, from, notes, mut contacts } = draft.header(&outbound);
            // What is dropped is the same for all.
            for note in notes.iter().filter(|_| number == 0) {
                tracing::info!(messageId = message.notification.message_id, "{note}");
            }
            let outgoing = draft.outgoing(&outbound, header);
            let mut bounces = None;
            if let Outbound::Answer(AnswerSend { replies, alias, author, .. }) = &outbound {
                let id = &message.notification.message_id;
                if let Err(error) = self.replying.admit(bucket, alias, id, draft.rules.per_hour).await {
                    hindered = hindered.or(Some(error));
                    continue;
                }
                if let Some(signed) = replies.sign(Purpose::Bounce, alias, author) {
                    contacts.extend(signed.contact);
                    bounces = Some(signed.address.to_string());
                }
            }
            if let Err(error) = self.replying.keep(bucket, &contacts).await {
                hindered = hindered.or(Some(error));
                continue;
            }
            let alias = outbound.alias();
            let sending = match alias {
                Some(_) => Sending::Answer,
                None => {
                    let places = destinations.iter().enumerate();
                    let places = places.filter(|(_, one)| unnamed.contains(*one)).map(|(place, _)| place);
                    Sending::Forwarded { unnamed: places.collect() }
                }
            };
            let tags = feedback::tags(&message.notification.message_id, message.received.date(), &sending);
            let envelope = Envelope {
                from: &from,
                to: &destinations,
                configuration_set: self.settings.configuration_set.as_deref(),
                tenant: self.settings.tenant.as_deref(),
                tags: &tags,
                feedback: bounces.as_deref(),
            };
            let sent = match draft.stubs {
                Some(StubRequest { words, .. }) => {
                    let stub = self.stub(message, draft, &outgoing, Why::MailboxTooSmall, words);
                    mailer.send(&stub, envelope).await.map(|message_id| (message_id, true))
                }
                None => match mailer.send(&outgoing, envelope).await {
                    Err(refusal) if outbound.may_be_stub() && self.is_for_stub(message, &refusal) => {
                        let why = if outgoing.is_too_large() { Why::TooLarge } else { Why::Content };
                        let stub = self.stub(message, draft, &outgoing, why, &refusal.message);
                        match mailer.send(&stub, envelope).await {
                            Ok(message_id) => {
                                outcome.error = Some(recorded(&refusal));
                                Ok((message_id, true))
                            }
                            // What counts is what the message was refused for.
                            Err(error) if error.kind == Kind::Permanent => Err(refusal),
                            Err(error) => Err(error),
                        }
                    }
                    sent => sent.map(|message_id| (message_id, false)),
                },
            };
            match sent {
                Ok((message_id, stub)) => {
                    outcome.sent.push(Sent { message_id, destinations, stub, alias });
                    outcome.forward_millis = message.age();
                    if missing.peek().is_some() {
                        // The claim goes on. The last record tells of this send too; that one has to be
                        // written.
                        let Outcome { claimed_until, .. } = message.claim();
                        let doubts = outcome.doubts.saturating_add(1);
                        let step =
                            Outcome { status: Status::Sending, claimed_until, doubts, ..outcome.clone() };
                        if let Err(error) = self.ledger.write_after_send(records, entry, &step).await {
                            tracing::error!(messageId = outcome.message_id, "{error}");
                        }
                    }
                }
                Err(error) if error.kind == Kind::Permanent => {
                    refused = refused.or(Some((error, outgoing)));
                }
                Err(error) => {
                    in_doubt |= error.in_doubt;
                    hindered = hindered.or(Some(error));
                }
            }
        }
        if in_doubt {
            outcome.doubts = outcome.doubts.saturating_add(1);
        }
        if let Some(forwarded) = entry.outcome.clone().filter(|earlier| asked.is_extra(earlier))
            && (hindered.is_some() || refused.is_some())
        {
            // What was forwarded stays so: what more was asked for did not come of it.
            let extra = Outcome { sent: outcome.sent, doubts: outcome.doubts, ..forwarded };
            self.ledger.write_after_send(records, entry, &extra).await.map_err(not_recorded)?;
            let failure = hindered.or(refused.map(|(error, _)| error)).map(InvocationError::from);
            return Ok(Ending { outcome: Some(extra), repeated: false, failure });
        }
        match (hindered, refused) {
            (None, None) => {
                (outcome.status, outcome.reason) = match held.first() {
                    Some((_, why)) => (Status::Held, Some((*why).to_owned())),
                    None => (Status::Forwarded, reason),
                };
                self.ledger.write_after_send(records, entry, &outcome).await.map_err(not_recorded)?;
                Ok(Ending { outcome: Some(outcome), repeated: false, failure: None })
            }
            (Some(error), _) if outcome.sent.is_empty() => {
                outcome.reason = Some(error.code.clone());
                outcome.error = Some(recorded(&error));
                self.record_failure(message, entry, &outcome).await;
                Ok(Ending { outcome: Some(outcome), repeated: false, failure: Some(error.into()) })
            }
            (Some(error), _) => {
                outcome.reason = Some(INCOMPLETE.to_owned());
                outcome.error = Some(recorded(&error));
                self.ledger.write_after_send(records, entry, &outcome).await.map_err(not_recorded)?;
                Ok(Ending { outcome: Some(outcome), repeated: false, failure: Some(error.into()) })
            }
            (None, Some((error, outgoing))) => {
                Ok(self.reject(message, entry, &outgoing, outcome, error).await)
            }
        }
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

/// The end of a try that asks for something more of a forwarded message, and comes to nothing.
fn nothing_to_do(entry: Entry) -> Ending {
    Ending { outcome: entry.outcome, repeated: true, failure: None }
}

/// Those who say that they sent a message: its author, and the envelope sender.
fn senders(notification: &Notification, facts: &HeaderFacts) -> Vec<String> {
    facts.author.iter().map(ToString::to_string).chain(notification.source.clone()).collect()
}

/// The destinations that no line of the routes names, whichever recipient they are for.
fn unnamed(routes: &Routes, deliveries: &[Delivery], destinations: &[Address]) -> HashSet<String> {
    let is_unnamed = |destination: &&Address| {
        let mut leading = deliveries.iter().filter(|delivery| delivery.destinations.contains(destination));
        leading.all(|delivery| routes.is_unnamed(&delivery.recipient, destination))
    };
    destinations.iter().filter(is_unnamed).map(ToString::to_string).collect()
}

/// Whether a message is older than one that SES has just stored.
fn is_old(stored: &Object) -> bool {
    let age = stored.written.map(|written| OffsetDateTime::now_utc().unix_timestamp().abs_diff(written));
    age.is_none_or(|age| age > PROMPT.as_secs())
}

/// The reason of a failed message.
fn why(outcome: &Outcome, code: &str) -> String {
    if outcome.sent.is_empty() { code } else { INCOMPLETE }.to_owned()
}

fn recorded(error: &CallError) -> outcome::Failure {
    outcome::Failure { code: error.code.clone(), message: error.message.clone() }
}

fn not_recorded(error: CallError) -> InvocationError {
    let sentence = format!("sent, but this could not be recorded, so it may be sent again: {error}");
    InvocationError::new(error.code, sentence)
}

fn bounce() -> InvocationError {
    InvocationError::new(
        "Bounce",
        "a destination refuses mail that was forwarded to it; the message says which",
    )
}
