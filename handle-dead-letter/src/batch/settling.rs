//! What is put on record of a message: that it failed, unless somebody is at work on it.
//!
//! Whoever is at work writes its own record. So nothing is written over a claim that may still hold, nor where
//! nothing is recorded yet while the archived notification is claimed.

use std::time::Duration;

use ses_forwarder::outcome::{Failure, INCOMPLETE, Outcome, Status};
use ses_forwarder_aws::{
    call::CallError,
    ledger::{Records, may_be_at_work},
};
use time::OffsetDateTime;

use super::{Case, Progress, Run, Standing};
use crate::{
    cause::{self, Nature},
    letter::FailedMessage,
    record::{Record, Unknown},
};

impl Run<'_> {
    /// Puts a message on record, and says how far it is. `is_over` says that it has been tried long enough.
    pub(super) async fn settle(
        &self,
        case: &Case<'_>,
        progress: &mut Progress<'_>,
        wait: Duration,
        is_over: bool,
    ) -> Result<Standing, Unknown> {
        if progress.done {
            return Ok(Standing::Settled);
        }
        let (message, received) = (progress.message, progress.received);
        if progress.tried {
            // It has written a record of its own meanwhile.
            let (_, key) = self.keys(progress);
            progress.record = Some(Record::read(&self.bucket, key).await?);
            if let Some(error) = progress.own_error(case) {
                progress.failure = error;
            }
        }
        let known = progress.record.as_ref().and_then(|record| record.content.as_ref());
        let claimed = known.is_some_and(|known| is_claimed(known, case, progress.ended));
        if claimed || self.is_taken(case, progress).await? {
            return Ok(Standing::Open(Nature::Transient));
        }
        let standing = match progress.standing() {
            Standing::Open(_) if progress.is_doubtful() || is_over => Standing::Final,
            standing => standing,
        };
        let Some(record) = &mut progress.record else {
            return if standing == Standing::Final {
                Err(Unknown::Malformed(progress.failure.message.clone()))
            } else {
                Ok(standing)
            };
        };
        let next_try = match standing {
            Standing::Settled | Standing::Refused => {
                // To archive it may be what failed.
                self.archive(progress).await?;
                return Ok(standing);
            }
            Standing::Final => None,
            Standing::Open(_) => Some(self.now + wait),
        };
        let (failure, ended) = (progress.failure.clone(), progress.ended);
        record
            .update(&self.bucket, |known| match known {
                Some(known) => failed_again(known, case, ended, &failure, next_try),
                None => Some(Outcome { next_try, ..self.failed_outcome(message, received, case, &failure) }),
            })
            .await?;
        if standing == Standing::Final {
            self.archive(progress).await?;
        }
        // Another may have brought it through just now.
        Ok(match progress.standing() {
            Standing::Open(_) => standing,
            now => now,
        })
    }

    /// Whether somebody is at work on a message of which nothing is recorded.
    pub(super) async fn is_taken(&self, case: &Case<'_>, progress: &Progress<'_>) -> Result<bool, CallError> {
        if progress.record.as_ref().is_none_or(|record| record.content.is_some()) {
            return Ok(false);
        }
        let (index, outcome) = self.keys(progress);
        let records = Records { bucket: &self.bucket, index: &index, outcome: &outcome };
        records.is_claimed(&progress.message.verbatim, case.name.as_deref().unwrap_or_default()).await
    }

    /// Keys of a message's archived notification and of its outcome.
    pub(super) fn keys(&self, progress: &Progress<'_>) -> (String, String) {
        let prefixes = &self.handler.settings.place.prefixes;
        let (day, id) = (progress.received.date(), &progress.message.notification.message_id);
        (prefixes.index(day, id), prefixes.outcome(day, id))
    }

    /// A first record of a message that failed.
    pub(super) fn failed_outcome(
        &self,
        message: &FailedMessage<'_>,
        received: OffsetDateTime,
        case: &Case<'_>,
        failure: &Failure,
    ) -> Outcome {
        let request_id = case.name.as_deref().unwrap_or_default();
        Outcome {
            reason: Some(failure.code.clone()),
            error: Some(failure.clone()),
            // It has claimed the message and recorded nothing.
            doubts: u32::from(cause::may_have_been_sent(failure)),
            ..Outcome::new(&message.notification, received, request_id, Status::Failed)
        }
    }

    /// Keeps the notification, so that the command of a notice has what it needs even if `handle-email`
    /// never started.
    async fn archive(&self, progress: &Progress<'_>) -> Result<(), CallError> {
        let (index, outcome) = self.keys(progress);
        let records = Records { bucket: &self.bucket, index: &index, outcome: &outcome };
        records.archive(&progress.message.verbatim, None).await.map(drop)
    }
}

/// Whether a message is claimed by somebody who may be at work on it: by another request, or by a try of the
/// queue that is not known to have ended. `ended` is one that is, 0 being the failed request itself.
pub(super) fn is_claimed(known: &Outcome, case: &Case<'_>, ended: u32) -> bool {
    let own = Some(&known.request_id) == case.name.as_ref();
    may_be_at_work(known) && !(own && (known.tries == 0 || known.tries == ended))
}

/// The record of a message that failed once more; `None` if it is settled, or somebody is at it.
fn failed_again(
    known: &Outcome,
    case: &Case<'_>,
    ended: u32,
    failure: &Failure,
    next_try: Option<OffsetDateTime>,
) -> Option<Outcome> {
    let open = matches!(known.status, Status::Failed | Status::Sending);
    if !open || is_claimed(known, case, ended) {
        return None;
    }
    let reason = if known.sent.is_empty() { &failure.code } else { INCOMPLETE };
    let next = Outcome {
        status: Status::Failed,
        reason: Some(reason.to_owned()),
        error: Some(failure.clone()),
        claimed_until: None,
        request_id: case.name.clone().unwrap_or_else(|| known.request_id.clone()),
        next_try,
        ..known.clone()
    };
    (next != *known).then_some(next)
}
