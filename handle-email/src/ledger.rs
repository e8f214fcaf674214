//! The outcomes: read before a message is touched, written after each send.
//!
//! A record that can't be written although SES has accepted the message is remembered in this process
//! too, since Lambda's next try often comes here: it then writes the record and does not send again.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ses_forwarder::outcome::Outcome;
use ses_forwarder_aws::{
    bucket::Bucket,
    call::{CallError, Persistence},
};

use crate::Failure;

/// Records remembered at most: a bound on memory, not a number that is ever reached.
const REMEMBERED: usize = 64;

/// Reads and writes outcomes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    unwritten: Mutex<VecDeque<Outcome>>,
}

impl Ledger {
    /// What was recorded of a message by an earlier try, if anything.
    pub(crate) async fn read(
        &self,
        bucket: &Bucket,
        key: &str,
        message_id: &str,
    ) -> Result<Option<Outcome>, Failure> {
        let unwritten = self.unwritten().iter().find(|outcome| outcome.message_id == message_id).cloned();
        if let Some(outcome) = unwritten {
            self.write_after_send(bucket, key, &outcome).await?;
            return Ok(Some(outcome));
        }
        let Some(record) = bucket.get(key).await? else { return Ok(None) };
        serde_json::from_slice(&record).map(Some).map_err(|error| {
            let address = bucket.address(key);
            let sentence = format!(
                "{address} is no outcome ({error}), so it is unknown whether the message was sent; delete it \
                 to send the message"
            );
            Failure::new("InvalidOutcome", sentence)
        })
    }

    /// Records what can be found out again by another try.
    pub(crate) async fn write(&self, bucket: &Bucket, key: &str, outcome: &Outcome) -> Result<(), CallError> {
        put(bucket, key, outcome, Persistence::Usual).await
    }

    /// Records what SES has accepted: tried hard, as it is what prevents a duplicate.
    pub(crate) async fn write_after_send(
        &self,
        bucket: &Bucket,
        key: &str,
        outcome: &Outcome,
    ) -> Result<(), CallError> {
        self.unwritten().retain(|other| other.message_id != outcome.message_id);
        let result = put(bucket, key, outcome, Persistence::Hard).await;
        if result.is_err() {
            let mut unwritten = self.unwritten();
            unwritten.push_back(outcome.clone());
            if unwritten.len() > REMEMBERED {
                unwritten.pop_front();
            }
        }
        result
    }

    fn unwritten(&self) -> MutexGuard<'_, VecDeque<Outcome>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn put(
    bucket: &Bucket,
    key: &str,
    outcome: &Outcome,
    persistence: Persistence,
) -> Result<(), CallError> {
    let mut line = serde_json::to_vec(outcome).expect("an outcome is JSON");
    line.push(b'\n');
    bucket.put(key, "application/json", line, persistence).await
}
