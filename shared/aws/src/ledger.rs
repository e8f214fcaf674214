//! The records of a message: its archived notification, its outcome, and who may write them.
//!
//! Lambda, SES, the queue and people may all have a message handled at the same time, but one invocation
//! at a time may send it. So each claims the message first, by writes that S3 makes only if nobody was
//! quicker:
//!
//! 1. The notification is archived with `If-None-Match: *`, and whose claim that is and when it runs out
//!    stands in the object's metadata. If it was not there before, nobody has had the message.
//! 2. If it was, the outcome is read. A message that is settled stays so. Otherwise, unless another
//!    invocation's claim still runs, which is an error that passes by itself, the message is taken over
//!    when it is about to be sent: by an outcome `sending`, written with `If-None-Match: *` or over the one
//!    that was read with `If-Match`. So where one is found of a try that has ended, that try may have sent
//!    it. The claim is the one that the outcome makes. That of the archived notification counts only while
//!    there is no outcome: whoever writes the first one holds that claim, or has found it over.
//! 3. Each later outcome is written over the one before with `If-Match`. Where another was quicker, what
//!    that one wrote and what is to be written are merged ([`Outcome::merge`]).
//!
//! A claim runs out when Lambda ends the invocation that holds it, and a minute later for all others, as
//! clocks differ. An invocation with the claim's own request id need not wait: Lambda repeats an invocation
//! under its id only when that has ended.
//!
//! What SES has accepted but could not be recorded is remembered in this process too, since the next try
//! often comes here: it then writes the record and does not send again.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ses_forwarder::outcome::{Outcome, Status};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    bucket::{Bucket, Object, Precondition},
    call::{ATTEMPT, CallError, Kind, Persistence},
};

/// What clocks may differ by.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// How long to try to archive a notification: two attempts and the wait between them. What is left of the
/// invocation is for the message.
const PATIENCE: Duration = ATTEMPT.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// Records remembered at most: a bound on memory, not a number that is ever reached.
const REMEMBERED: usize = 64;

/// How often a write is tried again because others were quicker: a bound, not a number that is ever
/// reached, since whoever is quicker has ended its work by that.
const ROUNDS: usize = 16;

/// Metadata of the archived notification: the request id of the invocation that archived it.
const REQUEST_ID: &str = "request-id";

/// Metadata of the archived notification: when that invocation ends.
const CLAIMED_UNTIL: &str = "claimed-until";

const JSON: &str = "application/json";

/// Claims messages and writes their outcomes; one a process.
#[derive(Debug, Default)]
pub struct Ledger {
    unwritten: Mutex<VecDeque<Outcome>>,
}

/// Where the records of a message are, for the time of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    /// The bucket.
    pub bucket: &'a Bucket,
    /// Key of the archived notification.
    pub index: &'a str,
    /// Key of the outcome.
    pub outcome: &'a str,
}

/// An outcome as it stands in the bucket, to be written over.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// What it says; `None` if there is none.
    pub outcome: Option<Outcome>,
    etag: Option<String>,
}

/// What came of claiming a message.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody else's.
    Open {
        /// What was recorded before, and where the outcome goes.
        entry: Entry,
        /// Whether it is ours, as the notification was not archived before; the outcome was not even read.
        /// Else it has to be taken over before it is sent.
        ours: bool,
        /// Why the notification could not be archived, so that this has to be done yet.
        unarchived: Option<CallError>,
    },
    /// It is settled.
    Settled {
        /// As what.
        outcome: Outcome,
        /// As above.
        unarchived: Option<CallError>,
    },
}

/// A claim in the metadata of an archived notification.
struct Claim {
    request_id: String,
    until: OffsetDateTime,
}

impl Ledger {
    /// Archives the notification, and with it claims the message for the invocation that `claim`, an outcome
    /// `sending`, names; or looks whether it may be taken over. `settled` tells whether an outcome leaves
    /// nothing to do.
    ///
    /// The error is transient, with code `InProgress`, if another invocation is at work.
    pub async fn claim(
        &self,
        records: Records<'_>,
        notification: &str,
        claim: &Outcome,
        settled: impl Fn(&Outcome) -> bool,
    ) -> Result<Claimed, CallError> {
        let remembered = self.remembered(&claim.message_id);
        let bucket = records.bucket.within(PATIENCE);
        let archived = Records { bucket: &bucket, ..records }.archive(notification, Some(claim)).await;
        let unarchived = match archived {
            Ok(true) if remembered.is_none() => {
                return Ok(Claimed::Open { entry: Entry::default(), ours: true, unarchived: None });
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        if let Some(remembered) = remembered {
            self.write_after_send(records, &mut Entry::default(), &remembered).await?;
        }
        match self.look(records, claim, settled).await? {
            Ok(entry) => Ok(Claimed::Open { entry, ours: false, unarchived }),
            Err(outcome) => Ok(Claimed::Settled { outcome, unarchived }),
        }
    }

    /// Looks whether a message may be taken over: what is recorded of it. The inner error is a settled outcome.
    pub async fn look(
        &self,
        records: Records<'_>,
        claim: &Outcome,
        settled: impl Fn(&Outcome) -> bool,
    ) -> Result<Result<Entry, Outcome>, CallError> {
        let mut entry = records.read().await?;
        if let Some(unclaimed) = entry.outcome.as_ref().and_then(Outcome::unclaimed)
            && running(None, entry.outcome.as_ref(), &claim.request_id).is_none()
        {
            if settled(&unclaimed) {
                // Nobody else would put it right.
                records.write(&mut entry, &unclaimed, Persistence::Usual).await?;
            }
            entry.outcome = Some(unclaimed);
        }
        if let Some(outcome) = entry.outcome.as_ref().filter(|outcome| settled(outcome)) {
            return Ok(Err(outcome.clone()));
        }
        if let Some(other) = records.other_claim(&entry, &claim.request_id).await? {
            let until = other.until.format(&Rfc3339).unwrap_or_default();
            let why = format!("request {} is at work on it until {until}", other.request_id);
            return Err(records.barred(&why));
        }
        if let Some(later) = entry.outcome.as_ref().filter(|outcome| is_stale(claim, outcome)) {
            return Err(records.barred(&format!("try {} has been begun since", later.tries)));
        }
        Ok(Ok(entry))
    }

    /// Takes a message over that is about to be sent; `entry` is what was read of it, and `extra` tells whether
    /// what is asked for comes on top of what an outcome says, which then stays should it fail. The inner error
    /// is a settled outcome.
    pub async fn take_over(
        &self,
        records: Records<'_>,
        mut entry: Entry,
        claim: &Outcome,
        settled: impl Fn(&Outcome) -> bool,
        extra: impl Fn(&Outcome) -> bool,
    ) -> Result<Result<Entry, Outcome>, CallError> {
        for round in 0..ROUNDS {
            // A claim of this try's that was written though no answer came is no other try.
            let is_ours = |earlier: &Outcome| round > 0 && earlier.request_id == claim.request_id;
            let sending = match entry.outcome.clone() {
                None => Outcome { doubts: 1, ..claim.clone() },
                Some(earlier) => {
                    let doubts = earlier.doubts.saturating_add(u32::from(!is_ours(&earlier)));
                    let was = extra(&earlier).then_some(earlier.status);
                    let kept = match was {
                        Some(_) => earlier,
                        None => Outcome { reason: None, error: None, next_try: None, ..earlier },
                    };
                    Outcome {
                        was,
                        status: Status::Sending,
                        request_id: claim.request_id.clone(),
                        claimed_until: claim.claimed_until,
                        doubts,
                        ..kept
                    }
                }
            };
            if let Some(etag) = records.put(&sending, &entry, Persistence::Usual).await? {
                return Ok(Ok(Entry { etag: Some(etag), ..entry }));
            }
            entry = match self.look(records, claim, &settled).await? {
                Ok(entry) => entry,
                Err(outcome) => return Ok(Err(outcome)),
            };
        }
        Err(records.contested())
    }

    /// Records what can be found out again by another try; `entry` then holds what stands there.
    pub async fn write(
        &self,
        records: Records<'_>,
        entry: &mut Entry,
        outcome: &Outcome,
    ) -> Result<(), CallError> {
        records.write(entry, outcome, Persistence::Usual).await
    }

    /// Records what SES has accepted: tried hard, as it is what prevents a duplicate.
    pub async fn write_after_send(
        &self,
        records: Records<'_>,
        entry: &mut Entry,
        outcome: &Outcome,
    ) -> Result<(), CallError> {
        self.forget(&outcome.message_id);
        let result = records.write(entry, outcome, Persistence::Hard).await;
        if result.is_err() {
            self.remember(outcome);
        }
        result
    }

    /// Remembers what became of a message, so that this process reads the record before it sends it.
    pub fn remember(&self, outcome: &Outcome) {
        let known = self.forget(&outcome.message_id);
        let outcome = known.into_iter().fold(outcome.clone(), Outcome::merge);
        let mut unwritten = self.unwritten();
        unwritten.push_back(outcome);
        if unwritten.len() > REMEMBERED {
            unwritten.pop_front();
        }
    }

    fn remembered(&self, message_id: &str) -> Option<Outcome> {
        self.unwritten().iter().find(|outcome| outcome.message_id == message_id).cloned()
    }

    fn forget(&self, message_id: &str) -> Option<Outcome> {
        let mut unwritten = self.unwritten();
        let at = unwritten.iter().position(|outcome| outcome.message_id == message_id)?;
        unwritten.remove(at)
    }

    fn unwritten(&self) -> MutexGuard<'_, VecDeque<Outcome>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records<'_> {
    /// Archives a notification, unless it is; says whether it was not. Without a claim nobody's way is
    /// barred.
    pub async fn archive(&self, notification: &str, claim: Option<&Outcome>) -> Result<bool, CallError> {
        let until = claim.and_then(|claim| claim.claimed_until).and_then(|until| until.format(&Rfc3339).ok());
        let claim = claim.zip(until);
        let metadata =
            claim.map(|(claim, until)| [(REQUEST_ID, claim.request_id.clone()), (CLAIMED_UNTIL, until)]);
        let metadata = metadata.into_iter().flatten().collect::<Vec<_>>();
        let line = format!("{notification}\n");
        let (absent, usual) = (Precondition::Absent, Persistence::Usual);
        Ok(self.bucket.put_if_with(self.index, JSON, line, &metadata, absent, usual).await?.is_some())
    }

    /// The outcome.
    pub async fn read(&self) -> Result<Entry, CallError> {
        let Some(Object { content, etag, .. }) = self.bucket.read(self.outcome).await? else {
            return Ok(Entry::default());
        };
        let outcome = serde_json::from_slice(&content).map_err(|error| {
            let step = format!("GetObject {}", self.bucket.address(self.outcome));
            let message = format!(
                "this is no outcome ({error}), so it is unknown whether the message was sent; delete it to send \
                 the message"
            );
            CallError::new(step, Kind::Configuration, "InvalidOutcome", message)
        })?;
        Ok(Entry { outcome: Some(outcome), etag })
    }

    /// Before a first outcome is written in the name of `request_id`: whether another may be at work on the
    /// message, that has recorded nothing yet.
    ///
    /// The notification is archived, unless it is. So whoever comes later finds it, and reads the outcome.
    pub async fn is_claimed(&self, notification: &str, request_id: &str) -> Result<bool, CallError> {
        match self.archive(notification, None).await {
            Ok(true) => Ok(false),
            Err(error) if error.is_transient() => Err(error),
            Ok(false) | Err(_) => Ok(self.other_claim(&Entry::default(), request_id).await?.is_some()),
        }
    }

    /// The claim of another that still runs; `entry` is what was read of the message.
    async fn other_claim(&self, entry: &Entry, request_id: &str) -> Result<Option<Claim>, CallError> {
        let archived = match entry.outcome {
            Some(_) => None,
            None => match self.archived_claim().await {
                // What nobody may read tells of no claim.
                Err(error) if !error.is_transient() => None,
                archived => archived?,
            },
        };
        Ok(running(archived, entry.outcome.as_ref(), request_id))
    }

    async fn archived_claim(&self) -> Result<Option<Claim>, CallError> {
        let Some(mut object) = self.bucket.read(self.index).await? else { return Ok(None) };
        let until = object.metadata.get(CLAIMED_UNTIL);
        let until = until.and_then(|until| OffsetDateTime::parse(until, &Rfc3339).ok());
        Ok(object
            .metadata
            .remove(REQUEST_ID)
            .zip(until)
            .map(|(request_id, until)| Claim { request_id, until }))
    }

    /// Writes an outcome over an entry: its new ETag, or `None` if another was quicker.
    async fn put(
        &self,
        outcome: &Outcome,
        entry: &Entry,
        persistence: Persistence,
    ) -> Result<Option<String>, CallError> {
        let mut line = serde_json::to_vec(outcome).expect("an outcome is JSON");
        line.push(b'\n');
        let precondition = entry.etag.as_deref().map_or(Precondition::Absent, Precondition::Unchanged);
        self.bucket.put_if(self.outcome, JSON, line, precondition, persistence).await
    }

    /// Writes an outcome over an entry, merged with what another has written meanwhile.
    async fn write(
        &self,
        entry: &mut Entry,
        outcome: &Outcome,
        persistence: Persistence,
    ) -> Result<(), CallError> {
        let mut outcome = outcome.clone();
        for _ in 0..ROUNDS {
            if let Some(etag) = self.put(&outcome, entry, persistence).await? {
                *entry = Entry { outcome: Some(outcome), etag: Some(etag) };
                return Ok(());
            }
            *entry = self.read().await?;
            if let Some(there) = &entry.outcome {
                outcome = together(outcome, there.clone());
                if outcome == *there {
                    return Ok(());
                }
            }
        }
        Err(self.contested())
    }

    fn barred(&self, why: &str) -> CallError {
        let step = format!("claim of {}", self.bucket.address(self.outcome));
        CallError::new(step, Kind::Transient, "InProgress", why)
    }

    fn contested(&self) -> CallError {
        let step = format!("PutObject {}", self.bucket.address(self.outcome));
        CallError::new(step, Kind::Transient, "InProgress", "others keep writing it")
    }
}

impl Claim {
    /// The claim that an outcome makes.
    fn of(outcome: &Outcome) -> Option<Claim> {
        let until = outcome.claimed_until.filter(|_| outcome.status == Status::Sending)?;
        Some(Claim { request_id: outcome.request_id.clone(), until })
    }

    /// Whether it counts for others still.
    fn runs(&self) -> bool {
        OffsetDateTime::now_utc() < self.until + CLOCKS_DIFFER
    }
}

/// Whether an outcome claims the message for an invocation that may be at work still.
pub fn may_be_at_work(outcome: &Outcome) -> bool {
    Claim::of(outcome).is_some_and(|claim| claim.runs())
}

/// The claim of another that still runs: that of the outcome, or, while there is none, that on the archived
/// notification.
fn running(archived: Option<Claim>, outcome: Option<&Outcome>, request_id: &str) -> Option<Claim> {
    let claim = outcome.map_or(archived, Claim::of);
    claim.filter(|claim| claim.request_id != request_id && claim.runs())
}

/// Whether a claim is that of one of the queue's tries, and a later one has been begun: the queue hands out a
/// letter twice at times.
fn is_stale(claim: &Outcome, outcome: &Outcome) -> bool {
    claim.tries > 0 && outcome.tries > claim.tries
}

/// What is to be written, together with what is there. What the same request wrote before was a step on
/// the way, such as its claim.
fn together(outcome: Outcome, there: Outcome) -> Outcome {
    let step =
        there.request_id == outcome.request_id && matches!(there.status, Status::Sending | Status::Failed);
    if step {
        let Outcome { sent, delivery, tries, .. } = outcome.clone().merge(there);
        Outcome { sent, delivery, tries, ..outcome }
    } else {
        outcome.merge(there)
    }
}

#[cfg(test)]
mod tests {
    use ses_forwarder::notification::Notification;

    use super::*;

    fn outcome(request_id: &str, status: Status, claimed_for: Option<i64>) -> Outcome {
        let now = OffsetDateTime::now_utc();
        let blank = Outcome::new(&Notification::default(), now, request_id, status);
        Outcome { claimed_until: claimed_for.map(|s| now + time::Duration::seconds(s)), ..blank }
    }

    #[test]
    fn a_claim_bars_others_until_it_has_run_out_by_every_clock() {
        let archived = |request_id: &str, seconds| {
            let until = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
            Some(Claim { request_id: request_id.to_owned(), until })
        };
        let sending = |request_id, seconds| Some(outcome(request_id, Status::Sending, Some(seconds)));
        let failed = |request_id| Some(outcome(request_id, Status::Failed, None));
        let cases = [
            ("nobody's", None, None, None),
            ("archived by us", archived("us", 60), None, None),
            ("archived by another", archived("a", 60), None, Some("a")),
            ("run out by a clock that is ahead", archived("a", -55), None, Some("a")),
            ("run out by every clock", archived("a", -65), None, None),
            ("taken over by us", archived("a", -65), sending("us", 60), None),
            ("taken over by another", archived("a", -65), sending("b", 60), Some("b")),
            ("taken over, and that run out", archived("a", -200), sending("b", -65), None),
            ("ended by its owner", archived("a", 60), failed("a"), None),
            ("ended, and another's try failed", archived("a", 60), failed("b"), None),
            ("ended, and taken over by another", archived("a", 60), sending("b", 60), Some("b")),
            ("no notification archived", None, sending("b", 60), Some("b")),
            ("ended, and no notification archived", None, failed("b"), None),
        ];
        for (name, archived, outcome, expected) in cases {
            let other = running(archived, outcome.as_ref(), "us").map(|claim| claim.request_id);
            assert_eq!(other.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn of_the_queue_s_tries_the_last_one_counts() {
        let tries = |tries| Outcome { tries, ..outcome("a", Status::Failed, None) };
        let cases = [((1, 1), false), ((1, 2), true), ((2, 1), false), ((0, 2), false)];
        for ((ours, recorded), expected) in cases {
            assert_eq!(is_stale(&tries(ours), &tries(recorded)), expected, "{ours} {recorded}");
        }
    }

    #[test]
    fn a_step_of_the_same_request_gives_way_and_an_end_does_not() {
        let failed = outcome("a", Status::Failed, None);
        assert_eq!(together(failed.clone(), outcome("a", Status::Sending, Some(60))).status, Status::Failed);
        assert_eq!(together(failed.clone(), outcome("b", Status::Sending, Some(60))).status, Status::Sending);
        assert_eq!(together(failed, outcome("a", Status::Forwarded, None)).status, Status::Forwarded);
    }

    #[test]
    fn what_is_remembered_of_a_message_is_merged() {
        let ledger = Ledger::default();
        ledger.remember(&outcome("a", Status::Forwarded, None));
        ledger.remember(&outcome("b", Status::Failed, None));
        assert_eq!(ledger.remembered("").map(|outcome| outcome.status), Some(Status::Forwarded));
        assert_eq!(ledger.unwritten().len(), 1);
    }
}
