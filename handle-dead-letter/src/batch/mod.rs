//! A batch of the queue: each letter is looked into, tried again if it is time, put on record, told if
//! there is something to tell, and hidden until its next try or done with.

mod reports;
mod settling;

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use ses_forwarder::{
    delivery::Reason,
    notice_mark::SENDER,
    notification::Notification,
    outcome::{Failure, OUT_OF_TIME, Outcome, Status},
};
use ses_forwarder_aws::{
    bucket::Bucket,
    call::{CallError, Deadline},
};
use time::OffsetDateTime;

use self::{
    reports::{Known, Refusals},
    settling::is_claimed,
};
use crate::{
    Handler,
    attempt::{Attempt, attempt},
    cause::{self, Nature},
    letter::{FailedMessage, Letter},
    notice::{Failed, Item, Waiting},
    record::{Record, Unknown},
    schedule,
};

/// Deliveries of a queue message after which a notice is sent even though the bucket can't be read
/// or written: until then that may pass, from then on the operator should know.
pub(crate) const PATIENCE: u32 = 3;

/// Tries that may have sent a message after which it is given up: they make three copies at worst.
pub(crate) const DOUBTS: u32 = 3;

/// A letter, and how to name it to the queue. Copies that came in one batch are one letter.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// Safe in an S3 key, and the same for all copies.
    pub(crate) name: Option<String>,
    pub(crate) letter: Letter<'a>,
}

/// A letter under way.
#[derive(Debug)]
pub(crate) struct Matter<'a> {
    pub(crate) case: &'a Case<'a>,
    messages: Vec<Progress<'a>>,
    /// How long to hide it, if not as long as its age says.
    wait: Option<Duration>,
}

/// A message of a letter under way.
#[derive(Debug)]
struct Progress<'a> {
    message: &'a FailedMessage<'a>,
    received: OffsetDateTime,
    /// What is on record, if that is known.
    record: Option<Record<Outcome>>,
    /// What it failed with last.
    failure: Failure,
    /// What it failed with when the batch came.
    earlier: Failure,
    /// A try in this batch came through.
    done: bool,
    /// It has been tried in this batch.
    tried: bool,
    /// Number of the try that has surely ended: the request's own, 0, or one of this batch.
    ended: u32,
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing is to be done about it.
    Settled,
    /// It is a destination's refusal of a message that was forwarded.
    Refused,
    /// It fails again and again.
    Final,
    /// It may come through yet.
    Open(Nature),
}

/// What has become of a letter, and what there is to tell of it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// To be told at once, each with the mark that it has been told.
    pub(crate) news: Vec<(Option<String>, Item)>,
    /// To be told if nobody has been told that mail waits for this.
    pub(crate) waiting: Vec<Waiting>,
    /// Codes of what kept messages back that are through now.
    pub(crate) passed: Vec<String>,
    /// How long to hide it; `None` if it is done with.
    pub(crate) keep: Option<Duration>,
}

/// One invocation.
pub(crate) struct Run<'a> {
    pub(crate) handler: &'a Handler,
    pub(crate) bucket: Bucket,
    pub(crate) deadline: Deadline,
    /// Until when a try may begin, and until when it has to be over.
    pub(crate) tries: (Deadline, Deadline),
    pub(crate) now: OffsetDateTime,
    /// This function's name.
    pub(crate) function: String,
}

/// The letters of a batch, each once: a queue may deliver two copies in one batch. Of those the first is
/// kept as long as need be, and the others are done with.
pub(crate) fn cases(letters: Vec<Letter<'_>>) -> Vec<Case<'_>> {
    let mut known = BTreeSet::new();
    let cases = letters.into_iter().map(|letter| Case { name: letter.name().map(str::to_owned), letter });
    cases.filter(|case| case.name.as_ref().is_none_or(|name| known.insert(name.clone()))).collect()
}

impl Run<'_> {
    /// Returns the ids of the queue messages that stay in the queue.
    pub(crate) async fn deal_with<'a>(&self, cases: &'a [Case<'a>]) -> Vec<&'a str> {
        let mut matters = join_all(cases.iter().map(|case| self.look_into(case))).await;
        self.try_again(&mut matters).await;
        let any_refused = matters
            .iter()
            .any(|matter| matter.messages.iter().any(|progress| progress.standing() == Standing::Refused));
        let refusals = if any_refused { self.refusals().await } else { Refusals::default() };
        let mut endings = join_all(matters.iter_mut().map(|matter| self.conclude(matter, &refusals))).await;
        self.tell(&matters, &mut endings).await;
        let kept = matters
            .iter()
            .zip(&endings)
            .filter_map(|(matter, ending)| ending.keep.map(|wait| (&matter.case.letter, wait)));
        let kept: Vec<_> = kept.collect();
        join_all(kept.iter().map(|(letter, wait)| self.hide(letter, *wait))).await;
        kept.into_iter().map(|(letter, _)| letter.queue_id).collect()
    }

    async fn look_into<'a>(&self, case: &'a Case<'a>) -> Matter<'a> {
        let messages = join_all(case.letter.messages.iter().map(async |message| {
            let received = message.notification.timestamp.unwrap_or(self.now);
            let prefixes = &self.handler.settings.place.prefixes;
            let key = prefixes.outcome(received.date(), &message.notification.message_id);
            let (record, failure) = match Record::<Outcome>::read(&self.bucket, key).await {
                Ok(record) => {
                    let failure = last_failure(record.content.as_ref(), case);
                    (Some(record), failure)
                }
                Err(unknown) => {
                    tracing::error!(
                        letter = case.name,
                        "an outcome is not known: {}",
                        unknown.failure().message
                    );
                    (None, unknown.failure())
                }
            };
            Progress {
                message,
                received,
                record,
                earlier: failure.clone(),
                failure,
                done: false,
                tried: false,
                ended: 0,
            }
        }));
        Matter { case, messages: messages.await, wait: None }
    }

    /// Tries what is due, one after the other: what SES does not take from one it does not take from ten.
    async fn try_again(&self, matters: &mut [Matter<'_>]) {
        let mut halted = None;
        for matter in matters {
            let age = matter.case.letter.age;
            for progress in &mut matter.messages {
                let Standing::Open(nature) = progress.standing() else { continue };
                if progress.is_doubtful() || !progress.is_due(age, nature, self.now) {
                    continue;
                }
                if let Some(wait) = halted {
                    matter.wait = matter.wait.or(wait);
                    continue;
                }
                if self.tries.0.left().is_zero() {
                    matter.wait = Some(schedule::soon());
                    continue;
                }
                tokio::time::sleep(self.handler.pause()).await;
                match self.try_once(matter.case, progress, age).await {
                    Tried::Ended => {}
                    Tried::Soon => matter.wait = Some(schedule::soon()),
                    Tried::Halt(wait) => {
                        halted = Some(wait);
                        matter.wait = wait;
                    }
                }
            }
        }
    }

    /// Tries a message until it is through or has failed in another way than by being one too many.
    async fn try_once(&self, case: &Case<'_>, progress: &mut Progress<'_>, age: Duration) -> Tried {
        let number = match self.begin(case, progress, age).await {
            Ok(Some(number)) => number,
            Ok(None) => return Tried::Ended,
            Err(unknown) => {
                progress.failure = unknown.failure();
                return Tried::Ended;
            }
        };
        let place = &self.handler.settings.place;
        loop {
            let time = self.tries.1.left();
            let client = &self.handler.lambda;
            progress.tried = true;
            let which = (case.name.as_deref(), number);
            match attempt(client, &place.handle_email, progress.message, which, time).await {
                Attempt::Done => {
                    self.handler.faster();
                    progress.done = true;
                    return Tried::Ended;
                }
                Attempt::Busy => return Tried::Halt(Some(schedule::soon())),
                Attempt::Failed(failure) => {
                    progress.failure = failure;
                    progress.ended = number;
                }
                Attempt::Unanswered(failure) => progress.failure = failure,
            }
            match cause::nature(&progress.failure) {
                // Each makes some of the sends.
                Nature::Transient if progress.failure.code == OUT_OF_TIME => {
                    if self.tries.0.left().is_zero() {
                        return Tried::Soon;
                    }
                }
                Nature::Throttled => {
                    self.handler.slower();
                    let pause = schedule::jittered(self.handler.pause());
                    if self.tries.0.left() <= pause {
                        return Tried::Soon;
                    }
                    tokio::time::sleep(pause).await;
                }
                Nature::Outage => return Tried::Halt(None),
                Nature::Final | Nature::Configuration | Nature::Transient => return Tried::Ended,
            }
        }
    }

    /// Counts the try before it is made, and returns its number; `None` if it is not to be made. Whoever
    /// counts makes it: should the queue have handed the letter out twice, the other finds it counted, or the
    /// message claimed.
    async fn begin(
        &self,
        case: &Case<'_>,
        progress: &mut Progress<'_>,
        age: Duration,
    ) -> Result<Option<u32>, Unknown> {
        if self.is_taken(case, progress).await? {
            return Ok(None);
        }
        let next_try = self.now + schedule::wait(age);
        let Some(record) = &mut progress.record else { return Ok(None) };
        let (message, received, failure) = (progress.message, progress.received, &progress.failure);
        let tries = record.content.as_ref().map_or(0, |outcome| outcome.tries);
        let number = tries.saturating_add(1);
        let begun = record
            .update(&self.bucket, |known| {
                let known = known.cloned();
                let known = known.unwrap_or_else(|| self.failed_outcome(message, received, case, failure));
                let open = matches!(known.status, Status::Failed | Status::Sending);
                let free = open && known.tries == tries && !is_claimed(&known, case, 0);
                free.then_some(Outcome { tries: number, next_try: Some(next_try), ..known })
            })
            .await?;
        Ok(begun.then_some(number))
    }

    /// Puts a letter's messages on record, and says what there is to tell.
    async fn conclude(&self, matter: &mut Matter<'_>, refusals: &Refusals) -> Ending {
        let Matter { case, messages, wait: postponed } = matter;
        let letter = &case.letter;
        let wait = postponed.unwrap_or_else(|| self.wait(letter));
        let until = self.handler.settings.retry + postponed.map_or(Duration::ZERO, |_| schedule::LONGEST);
        let is_over = letter.age >= until;
        let patient = letter.deliveries.is_some_and(|count| count < PATIENCE);
        let mut ending = Ending::default();
        for (number, progress) in messages.iter_mut().enumerate() {
            let mark = case.name.as_ref().map(|name| mark_of(name, number));
            let standing = self.settle(case, progress, wait, is_over).await;
            let late = letter.age >= self.handler.settings.delay_notice;
            match standing {
                Ok(Standing::Settled) => {
                    if late || cause::nature(&progress.earlier) == Nature::Configuration {
                        ending.passed.push(progress.earlier.code.clone());
                    }
                }
                Ok(Standing::Refused) => match refusals.has(progress, letter.age) {
                    Known::ByEvent => {}
                    Known::NotYet => ending.keep = Some(schedule::soon()),
                    Known::Not => ending.news.push((mark, Item::Refused(progress.failed(case, None)))),
                },
                Ok(Standing::Final) => self.give_up(case, progress, mark, None, &mut ending),
                Ok(Standing::Open(nature)) => {
                    ending.keep = Some(wait);
                    if late || nature == Nature::Configuration {
                        ending.waiting.extend(self.waiting(case, progress, progress.failure.clone(), None));
                    }
                }
                Err(unknown) => {
                    let failure = unknown.failure();
                    let message = &failure.message;
                    tracing::error!(
                        letter = case.name,
                        "a dead letter could not be put on record: {message}"
                    );
                    let doubt = format!("what became of it could not be read or recorded: {message}");
                    if !patient && letter.age >= self.handler.settings.retry {
                        self.give_up(case, progress, mark, Some(doubt), &mut ending);
                        continue;
                    }
                    ending.keep = Some(wait);
                    if late || cause::nature(&failure) == Nature::Configuration {
                        ending.waiting.extend(self.waiting(case, progress, failure, Some(doubt)));
                    }
                }
            }
        }
        if let Some(why) = &letter.unreadable {
            let mark = case.name.as_ref().map(|name| mark_of(name, letter.messages.len()));
            tracing::error!(letter = case.name, "a dead letter can't be read");
            ending.news.push((mark, unreadable(case, why)));
        }
        ending
    }

    /// How long to hide a letter: as long as its age says, but the last time until it is over.
    pub(crate) fn wait(&self, letter: &Letter<'_>) -> Duration {
        let left = self.handler.settings.retry.saturating_sub(letter.age);
        let wait = schedule::wait(letter.age);
        if left.is_zero() { wait } else { wait.min(left.max(schedule::soon())) }
    }

    /// What there is to tell of a message that waits for something.
    fn waiting(
        &self,
        case: &Case<'_>,
        progress: &Progress<'_>,
        failure: Failure,
        doubt: Option<String>,
    ) -> Option<Waiting> {
        let until = self.now - case.letter.age + self.handler.settings.retry;
        let by_itself = cause::nature(&failure) != Nature::Configuration;
        let failed = Failed { failure, ..progress.failed(case, doubt) };
        let told = !is_notice(&progress.message.notification);
        told.then_some(Waiting { failed, until, by_itself })
    }

    fn give_up(
        &self,
        case: &Case<'_>,
        progress: &Progress<'_>,
        mark: Option<String>,
        doubt: Option<String>,
        ending: &mut Ending,
    ) {
        let notification = &progress.message.notification;
        let (id, code) = (notification.message_id.as_str(), progress.failure.code.as_str());
        if is_notice(notification) {
            tracing::error!(
                messageId = id,
                code,
                "one of our own notices came back and failed; no notice of it"
            );
            return;
        }
        tracing::warn!(messageId = id, code, "not forwarded");
        ending.news.push((mark, Item::Failed(progress.failed(case, doubt))));
    }

    /// Hides a letter. If that can't be, it is back when the queue's own time is over, and then tried.
    async fn hide(&self, letter: &Letter<'_>, wait: Duration) {
        // Not back before its time, which is on record.
        let seconds = i32::try_from(wait.as_secs() + 1).unwrap_or(i32::MAX);
        let request = self.handler.sqs.change_message_visibility().queue_url(queue_url(letter.queue_arn));
        let request = request.receipt_handle(letter.receipt_handle).visibility_timeout(seconds);
        if let Err(error) = request.send().await {
            let error = CallError::from_sdk("ChangeMessageVisibility", &error);
            tracing::error!(
                letter = letter.name(),
                "a dead letter is not hidden as long as it should be: {error}"
            );
        }
    }
}

/// How a series of tries ended.
enum Tried {
    /// It is through, or has failed.
    Ended,
    /// There is more to do, and the time is over.
    Soon,
    /// So would the others be, for now.
    Halt(Option<Duration>),
}

impl Matter<'_> {
    /// Whether SES refused this message for good.
    pub(crate) fn is_rejected(&self, message_id: &str) -> bool {
        let outcomes = self.messages.iter().filter_map(|progress| progress.record.as_ref()?.content.as_ref());
        let mut of_message = outcomes.filter(|outcome| outcome.message_id == message_id);
        of_message.any(|outcome| outcome.status == Status::Rejected)
    }
}

impl Progress<'_> {
    fn standing(&self) -> Standing {
        if self.done {
            return Standing::Settled;
        }
        let outcome = self.record.as_ref().and_then(|record| record.content.as_ref());
        match outcome.map(|outcome| (outcome.status, outcome.reason.as_deref())) {
            Some((Status::Forwarded | Status::Held, _)) => Standing::Settled,
            Some((Status::Dropped, Some(reason))) if reason == Reason::Bounce.word() => Standing::Refused,
            Some((Status::Dropped, _)) => Standing::Settled,
            Some((Status::Rejected, _)) => Standing::Final,
            Some((Status::Failed | Status::Sending, _)) | None => match cause::nature(&self.failure) {
                Nature::Final => Standing::Final,
                nature => Standing::Open(nature),
            },
        }
    }

    /// Whether it is time to try. What fails by itself is tried at once for the first time, as Lambda did
    /// not try it again; what was put off is tried when it was put off to.
    fn is_due(&self, age: Duration, nature: Nature, now: OffsetDateTime) -> bool {
        let Some(record) = &self.record else { return false };
        let untried = record.content.as_ref().is_none_or(|outcome| outcome.tries == 0);
        let next_try = record.content.as_ref().and_then(|outcome| outcome.next_try);
        schedule::is_due(age)
            || (untried && matches!(nature, Nature::Transient | Nature::Throttled))
            || next_try.is_some_and(|at| at <= now)
    }

    /// Whether SES may have accepted it too often for it to be tried again.
    fn is_doubtful(&self) -> bool {
        let outcome = self.record.as_ref().and_then(|record| record.content.as_ref());
        outcome.is_some_and(|outcome| outcome.doubts >= DOUBTS)
    }

    /// What the request that failed has recorded itself, which is more exact than what a letter says.
    fn own_error(&self, case: &Case<'_>) -> Option<Failure> {
        let outcome = self.record.as_ref()?.content.as_ref()?;
        let own = Some(&outcome.request_id) == case.name.as_ref();
        outcome.error.clone().filter(|_| own && outcome.status == Status::Rejected)
    }

    fn failed(&self, case: &Case<'_>, doubt: Option<String>) -> Failed {
        let outcome = self.record.as_ref().and_then(|record| record.content.as_ref());
        let sent = outcome.map(|outcome| outcome.sent.as_slice()).unwrap_or_default();
        let maybe = "SES did not answer, so the message may have been sent; see whether it arrived";
        let doubtful = outcome.map_or(cause::may_have_been_sent(&self.failure), |outcome| outcome.doubts > 0);
        let doubt = doubt.or_else(|| doubtful.then(|| maybe.to_owned()));
        Failed {
            notification: self.message.notification.clone(),
            received: self.received,
            failure: self.failure.clone(),
            sent_to: sent.iter().flat_map(|sent| sent.destinations.iter().cloned()).collect(),
            function: case.letter.function.clone(),
            tries: outcome.map_or(0, |outcome| outcome.tries),
            doubt,
        }
    }
}

/// What a message failed with: as recorded in the name of the same request, else as its letter says.
fn last_failure(known: Option<&Outcome>, case: &Case<'_>) -> Failure {
    let own = known.filter(|known| Some(&known.request_id) == case.name.as_ref());
    own.and_then(|known| known.error.clone()).unwrap_or_else(|| case.letter.failure.clone())
}

/// The mark of the `number`-th thing that a letter tells.
fn mark_of(name: &str, number: usize) -> String {
    if number == 0 { name.to_owned() } else { format!("{name}-{number}") }
}

fn unreadable(case: &Case<'_>, why: &str) -> Item {
    Item::Unreadable {
        name: case.name.clone().unwrap_or_else(|| "unnamed".to_owned()),
        why: why.to_owned(),
        failure: case.letter.failure.clone(),
        body: case.letter.body.to_owned(),
    }
}

/// Whether a message is a notice, or what became of one: of another stack's, too, as two that tell each other
/// would never end. Anyone can write such an address into From; all that earns is silence about mail of theirs
/// that failed anyway.
fn is_notice(notification: &Notification) -> bool {
    let sender = format!("{SENDER}@");
    let has_address = |text: &String| text.to_ascii_lowercase().contains(&sender);
    notification.from.iter().any(has_address)
        || (notification.source.is_none() && notification.recipients.iter().any(has_address))
}

/// A queue's URL, which its ARN tells.
/// <https://docs.aws.amazon.com/general/latest/gr/sqs-service.html>
fn queue_url(arn: &str) -> String {
    let mut parts = arn.split(':').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (partition, _, region, account, name) = (part(), part(), part(), part(), part());
    let suffix = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://sqs.{region}.{suffix}/{account}/{name}")
}
