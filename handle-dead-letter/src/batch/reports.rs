//! Reports by mail of what destinations refused: SES tells the same by an event, and both are one case.
//!
//! The event says which message it was, and holds mail for who refuses it; so a report is dealt with as soon as
//! the event has been. Should that not come, which SES and EventBridge do not promise, the report is told.

use std::time::Duration;

use ses_forwarder::{keys::SUSPENDED, outcome::DeliveryEvent, suspended::Suspended};

use super::{Progress, Run};
use crate::record::Record;

/// How long to wait for the event. SES makes it when it makes the report; what may take long is a queue of many.
const EVENT: Duration = Duration::from_secs(2 * 60 * 60);

/// Whether a refusal is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// An event has told of it.
    ByEvent,
    /// An event may tell of it yet.
    NotYet,
    /// There is none, and none to wait for.
    Not,
}

/// The refusals that events have told of; `None` where they can't be read.
#[derive(Debug, Default)]
pub(super) struct Refusals(Option<Suspended>);

impl Run<'_> {
    /// Reads which refusals are known, once for a batch.
    pub(super) async fn refusals(&self) -> Refusals {
        match Record::<Suspended>::read(&self.bucket, SUSPENDED.to_owned()).await {
            Ok(record) => Refusals(Some(record.content.unwrap_or_default())),
            Err(unknown) => {
                tracing::warn!("which refusals are known can't be read: {}", unknown.failure().message);
                Refusals(None)
            }
        }
    }
}

impl Refusals {
    /// Whether an event has told what a report of this age says.
    pub(super) fn has(&self, progress: &Progress<'_>, age: Duration) -> Known {
        let outcome = progress.record.as_ref().and_then(|record| record.content.as_ref());
        let refusals: &[DeliveryEvent] =
            outcome.map(|outcome| outcome.delivery.as_slice()).unwrap_or_default();
        if refusals.is_empty() {
            // Nobody can tell whom it is about.
            return Known::Not;
        }
        let knows =
            |known: &Suspended| refusals.iter().all(|refusal| known.knows(&refusal.destination, refusal.at));
        match &self.0 {
            Some(known) if knows(known) => Known::ByEvent,
            _ if age < EVENT => Known::NotYet,
            _ => Known::Not,
        }
    }
}
