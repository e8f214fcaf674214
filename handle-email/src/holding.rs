//! The destinations that mail is held for, since they refuse it: read beside the routes, kept, and looked at
//! again after some seconds.
//!
//! A list that can't be read holds nothing: then mail goes out that may be refused, and none stays here for
//! want of a file. The list that was read before is used as long as there is one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ses_forwarder::{
    delivery::Delivery,
    keys::SUSPENDED,
    suspended::{FRESH, Suspended},
};
use ses_forwarder_aws::{
    bucket::{Bucket, Fetched},
    call::{ATTEMPT, CallError},
};
// Unlike the standard library's, tests can set this clock forward.
use tokio::time::Instant;

use crate::draft::{AnswerSend, Share};

/// How long to ask: what is left of the invocation is for the message.
const PATIENCE: Duration = ATTEMPT;

/// Reads the list when it is due.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    cached: Mutex<Option<Cached>>,
}

/// The list that was read last.
#[derive(Debug, Clone)]
struct Cached {
    suspended: Arc<Suspended>,
    /// `None` where there is none.
    etag: Option<String>,
    checked: Instant,
}

impl Holding {
    /// The list to use now; `anew` asks for it whatever is kept.
    pub(crate) async fn current(&self, bucket: &Bucket, anew: bool) -> Arc<Suspended> {
        let cached = self.cached().clone();
        if let Some(cached) = &cached
            && !anew
            && cached.checked.elapsed() < FRESH
        {
            return Arc::clone(&cached.suspended);
        }
        let fresh = match fetch(bucket, cached.as_ref()).await {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(
                    "the list of those whose mail is held can't be read, so what was read before counts: {error}"
                );
                let suspended =
                    cached.as_ref().map(|cached| Arc::clone(&cached.suspended)).unwrap_or_default();
                let etag = cached.and_then(|cached| cached.etag);
                Cached { suspended, etag, checked: Instant::now() }
            }
        };
        *self.cached() = Some(fresh.clone());
        fresh.suspended
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(bucket: &Bucket, cached: Option<&Cached>) -> Result<Cached, CallError> {
    let checked = Instant::now();
    let etag = cached.and_then(|cached| cached.etag.as_deref());
    let fetched = bucket.within(PATIENCE).get_if_changed(SUSPENDED, etag).await?;
    Ok(match (fetched, cached) {
        (Fetched::Unchanged, Some(cached)) => Cached { checked, ..cached.clone() },
        (Fetched::Changed { content, etag }, _) => match serde_json::from_slice(&content) {
            Ok(suspended) => Cached { suspended: Arc::new(suspended), etag, checked },
            Err(error) => {
                let address = bucket.address(SUSPENDED);
                tracing::error!("{address} is no list of destinations, so no mail is held: {error}");
                Cached { suspended: Arc::default(), etag, checked }
            }
        },
        (Fetched::Absent | Fetched::Unchanged, _) => {
            Cached { suspended: Arc::default(), etag: None, checked }
        }
    })
}

/// The copies of a message that have to wait, each with the reason.
pub(crate) fn held(
    suspended: &Suspended,
    deliveries: &[Delivery],
    answers: &[AnswerSend<'_>],
    senders: &[String],
) -> Vec<(Share, &'static str)> {
    if suspended.destinations.is_empty() {
        return Vec::new();
    }
    let senders = || senders.iter().map(String::as_str);
    let destinations = deliveries.iter().flat_map(|delivery| &delivery.destinations);
    let forwarded = destinations.map(|destination| Share::forwarded(destination.to_string()));
    let forwarded = forwarded.map(|share| (suspended.holds(&share.destination, senders()), share));
    let answers = answers.iter().flat_map(AnswerSend::shares);
    let answers = answers.map(|share| (suspended.holds_answers(&share.destination, senders()), share));
    let mut held: Vec<(Share, &'static str)> = Vec::new();
    for (reason, share) in forwarded.chain(answers) {
        if let Some(reason) = reason
            && !held.iter().any(|(known, _)| *known == share)
        {
            held.push((share, reason));
        }
    }
    held
}
