//! The destinations that mail is held for, since they refuse it: read beside the routes, kept, and looked at
//! again after some seconds.
//!
//! A list that can't be read holds nothing: then mail goes out that may be refused, and none stays here for
//! want of a file. The list that was read before is used as long as there is one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ses_forwarder::{
    delivery::Delivery,
    keys::SUSPENDED,
    suspended::{FRESH, Suspended},
};
use ses_forwarder_aws::{bucket::Bucket, call::ATTEMPT};

use crate::{
    draft::{AnswerSend, Share},
    kept::Kept,
};

/// How long to ask: what is left of the invocation is for the message.
const PATIENCE: Duration = ATTEMPT;

/// Reads the list when it is due.
#[derive(Debug)]
pub(crate) struct Holding {
    kept: Kept<Suspended>,
}

impl Holding {
    pub(crate) fn new() -> Holding {
        let nobody = Suspended::default();
        Holding { kept: Kept::new("those whose mail is held", SUSPENDED).starting_with(nobody) }
    }

    /// The list to use now; `anew` asks for it whatever is kept.
    pub(crate) async fn current(&self, bucket: &Bucket, anew: bool) -> Arc<Suspended> {
        let read = async |content: Option<Bytes>| {
            let Some(content) = content else { return Ok(Suspended::default()) };
            Ok(serde_json::from_slice(&content).unwrap_or_else(|error| {
                let address = bucket.address(SUSPENDED);
                tracing::error!("{address} is no list of destinations, so no mail is held: {error}");
                Suspended::default()
            }))
        };
        let list = self.kept.current(&bucket.within(PATIENCE), |_, age| !anew && age < FRESH, read).await;
        list.expect("there is one to go on with")
    }
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
