//! One message: archived, decided on, and either sent or recorded as what it is.
//!
//! On the way of a message that is forwarded three calls follow one another: it is read, [sent](crate::sending), and
//! recorded. It is archived, and so claimed, while it is read.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use ses_forwarder::{
    address::Address,
    answers::{self, Answer},
    body::Recoding,
    decision::{Decision, Policy, judge, may_be_told},
    delivery::{self, Delivery, Reason},
    delivery_report,
    header::{self, HeaderBlock, HeaderFacts, Rewrite},
    notification::Notification,
    outcome::{self, INCOMPLETE, Outcome, Refusal, Status},
    replies::Replies,
    routes::Routes,
    settings::EmailSettings,
    suspended::Suspended,
};
use ses_forwarder_aws::{
    bucket::Object,
    call::{CallError, Kind},
    ledger::{CLOCKS_DIFFER, Claimed, Entry},
    refusal::MAX_AGE,
};
use time::OffsetDateTime;

use crate::{
    Handler, Invocation, InvocationError,
    asked::{Asked, is_forwarded},
    draft::{AnswerSend, Draft},
    holding,
    incoming::{Ending, Incoming},
    sending::Waiting,
};

/// How old a message is that is handled for the first time, at most: SES invokes within seconds, by two
/// clocks that may differ.
const PROMPT: Duration = CLOCKS_DIFFER;

/// A message as it was read, and what counts for it.
#[derive(Clone, Copy)]
struct Letter<'a> {
    stored: &'a Bytes,
    block: &'a HeaderBlock<'a>,
    facts: &'a HeaderFacts,
    routes: &'a Routes,
    replies: Option<Replies<'a>>,
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
        if asked.must_wait(entry.outcome.as_ref()) {
            return Err(InvocationError::new("InProgress", "no try at it has ended yet".to_owned()));
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

        let EmailSettings { common, .. } = &self.settings;
        let block = header::split(&stored);
        let facts = HeaderFacts::of(&block).for_stack(self.settings.stack.as_deref());
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
        let letter = Letter { stored: &stored, block: &block, facts: &facts, routes: &routes, replies };
        let (mut decision, answers) = match self.decide(message, &letter, &policy).await {
            Ok(decided) => decided,
            Err(error) => return Ok(self.give_back(message, &mut entry, error.into()).await),
        };
        let earlier = entry.outcome.as_ref();
        if earlier.is_some_and(|earlier| !asked.narrow(&mut decision, message.notification, earlier)) {
            return Ok(nothing_to_do(entry));
        }
        if !ours {
            let extra = |earlier: &Outcome| asked.is_extra(earlier);
            match self.ledger.take_over(records, entry, &claim, is_settled, extra).await? {
                Ok(taken) => entry = taken,
                Err(outcome) => return Ok(message.settled(&outcome)),
            }
        }
        self.carry_out(message, &mut entry, &letter, decision, answers, &suspended).await
    }

    /// What becomes of a message. An answer that has gone out before does not go out again.
    async fn decide(
        &self,
        message: &Incoming<'_>,
        letter: &Letter<'_>,
        policy: &Policy,
    ) -> Result<(Decision, Vec<Answer>), CallError> {
        let Letter { block, facts, routes, replies, .. } = letter;
        let Notification { message_id, recipients, .. } = message.notification;
        let (notification, domains) = (message.notification, &self.settings.common.domains);
        let decided = answers::decide(notification, facts, policy, routes, domains, replies.as_ref());
        let (mut decision, mut answers) = decided;
        let again = self.replying.once(&message.invocation.bucket, block, message_id, &mut answers).await?;
        if let Some(replies) = replies
            && !again.is_empty()
        {
            answers::leave_out(&mut decision, recipients, &again, answers.is_empty(), replies);
        }
        Ok((decision, answers))
    }

    /// Does what was decided on.
    async fn carry_out(
        &self,
        message: &Incoming<'_>,
        entry: &mut Entry,
        letter: &Letter<'_>,
        decision: Decision,
        answers: Vec<Answer>,
        suspended: &Suspended,
    ) -> Result<Ending, InvocationError> {
        let Letter { stored, block, facts, routes, replies } = *letter;
        let reason = decision.reason();
        let (deliveries, destinations, tags, left_out) = match decision {
            Decision::Drop { reason, left_out } => {
                let mut outcome = message.outcome(Status::Dropped, entry.outcome.clone(), Some(stored.len()));
                if let Err(error) = self.refuse(message, facts, &left_out, &mut outcome).await {
                    return Ok(self.give_back(message, entry, error.into()).await);
                }
                if reason == Reason::Bounce {
                    outcome.delivery = delivery_report::refusals(stored, message.received);
                }
                outcome.left_out = left_out.into_iter().map(outcome::LeftOut::from).collect();
                return self.drop(message, entry, reason, outcome).await;
            }
            Decision::Forward { deliveries, destinations, tags, left_out } => {
                (deliveries, destinations, tags, left_out)
            }
        };
        let EmailSettings { common, subject_prefix, hide_destinations, reply_body, .. } = &self.settings;
        let asked = &message.invocation.asked;
        let stubs = asked.stubs();
        let answers = match stubs {
            None => AnswerSend::of(answers, facts.sole_author.as_ref(), routes, replies),
            Some(_) => Vec::new(),
        };
        let body = stored.slice(block.body_at..);
        let draft = Draft {
            block,
            recoding: Recoding::of(block, &body).map(Arc::new),
            body,
            how: Rewrite {
                email_domain: common.domains.first(),
                envelope_sender: message.notification.source.as_deref(),
                deliveries: &deliveries,
                recipients: &[],
                hide_destinations: *hide_destinations,
                subject_prefix,
                tags: &[],
                replies: replies.filter(|_| routes.replies().enabled),
            },
            domains: &common.domains,
            stubs,
            answers,
            rules: routes.replies(),
            reply_body: *reply_body,
        };
        let senders = senders(message.notification, facts);
        let held = holding::held(suspended, &deliveries, &draft.answers, &senders);
        let unnamed = unnamed(routes, &deliveries, &destinations);
        let mut outcome = message.outcome(Status::Failed, entry.outcome.clone(), Some(stored.len()));
        let released =
            asked.released_from(message.notification, &self.settings.policy, entry.outcome.as_ref());
        outcome.released = outcome.released.max(released);
        outcome.reencoded = draft.recoding.is_some();
        let correspondents = draft.answers.iter().flat_map(|answer| &answer.correspondents);
        outcome.destinations = destinations.iter().chain(correspondents).map(ToString::to_string).collect();
        outcome.aliases = draft.answers.iter().map(|answer| answer.alias.to_string()).collect();
        let refused = self.refuse(message, facts, &left_out, &mut outcome).await;
        outcome.tags = tags.iter().map(|tag| tag.word().to_owned()).collect();
        outcome.left_out = left_out.into_iter().map(outcome::LeftOut::from).collect();
        outcome.reason = reason.map(|reason| reason.word().to_owned());
        self.send(message, entry, &draft, outcome, Waiting { held, unnamed }, refused.err()).await
    }

    /// Ends a try before a message is sent, so that another need not wait for its claim to run out. Should
    /// that not be possible, it waits.
    async fn give_back(&self, message: &Incoming<'_>, entry: &mut Entry, failure: InvocationError) -> Ending {
        let asked = &message.invocation.asked;
        if let Some(before) = entry.outcome.clone().filter(|before| asked.is_extra(before)) {
            // In this try's name, so that it goes over this try's claim.
            let before = Outcome { request_id: message.invocation.request_id.to_owned(), ..before };
            self.record_failure(message, entry, &before).await;
            return Ending { outcome: Some(before), repeated: true, failure: Some(failure) };
        }
        let mut outcome = message.outcome(Status::Failed, entry.outcome.clone(), None);
        outcome.reason = Some(why(&outcome, &failure.name));
        outcome.error =
            Some(outcome::Failure { code: failure.name.clone(), message: failure.sentence.clone() });
        self.record_failure(message, entry, &outcome).await;
        Ending { outcome: Some(outcome), repeated: false, failure: Some(failure) }
    }

    /// Records a failure. It needs no failure of its own: the invocation fails already.
    pub(crate) async fn record_failure(&self, message: &Incoming<'_>, entry: &mut Entry, outcome: &Outcome) {
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
            return Err(if outcome.refused.is_empty() {
                error.into()
            } else {
                InvocationError::not_recorded(error)
            });
        }
        let failure = (reason == Reason::Bounce).then(InvocationError::bounce);
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
