//! What an invocation asks of a message that has been dealt with, beside trying it again.
//!
//! It stands in the event beside the records, where SES puts nothing and no sender has a say: only who may
//! invoke the function can ask.

use serde::Deserialize;
use ses_forwarder::{
    address::Address,
    decision::{Decision, Policy, judge},
    feedback::{is_refused, lacks_stub},
    notification::{Notification, Verdict},
    outcome::{Outcome, Status},
};

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    /// What SES asks for.
    #[default]
    Nothing,
    /// By its owner: to send a message that was dropped, past its verdict and past lines for its sender.
    Release {
        /// Even if a virus was found in it.
        virus: bool,
    },
    /// By `handle-dead-letter`: to send a stub of a message to destinations that it was sent to, and that did not
    /// take it for its size.
    Stub(StubRequest),
    /// By `ses-forwarder resume`: to send what was held for this destination, or refused by it, as it takes mail
    /// again.
    Resume(String),
}

/// To whom a stub is to go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct StubRequest {
    /// As SES was given them.
    pub(crate) destinations: Vec<String>,
    /// What their servers said.
    pub(crate) words: String,
}

impl StubRequest {
    /// Whether a destination is to get a stub: it is asked for, and was sent the message and no stub yet.
    pub(crate) fn is_for(&self, outcome: &Outcome, destination: &str) -> bool {
        self.destinations.iter().any(|one| one == destination) && lacks_stub(outcome, destination)
    }
}

impl Asked {
    /// What is done with what fails a check. `earlier` is what is recorded of the message.
    pub(crate) fn policy(&self, usual: Policy, earlier: Option<&Outcome>) -> Policy {
        match self {
            Asked::Release { virus } => usual.released(*virus),
            // It passed all checks, or was released, when it was sent.
            Asked::Stub(_) => usual.released(false),
            Asked::Resume(_)
                if is_forwarded(earlier) || earlier.is_some_and(|earlier| earlier.released.is_some()) =>
            {
                usual.released(false)
            }
            Asked::Nothing | Asked::Resume(_) => usual,
        }
    }

    /// Whether lines for senders count.
    pub(crate) fn heeds_senders(&self, earlier: Option<&Outcome>) -> bool {
        match self {
            Asked::Nothing => true,
            Asked::Release { .. } | Asked::Stub(_) => false,
            Asked::Resume(_) => !is_forwarded(earlier),
        }
    }

    /// Whether the verdicts alone can decide on a message that nothing is known of yet.
    pub(crate) fn is_decided_by_verdicts(&self) -> bool {
        !matches!(self, Asked::Stub(_) | Asked::Resume(_))
    }

    /// Whether something is left to do for a message that has been forwarded.
    pub(crate) fn reopens(&self, forwarded: &Outcome) -> bool {
        match self {
            Asked::Nothing => false,
            // Some recipient has not got it.
            Asked::Release { .. } => forwarded.releasable().is_some(),
            Asked::Stub(request) => request.destinations.iter().any(|one| request.is_for(forwarded, one)),
            Asked::Resume(destination) => is_refused(forwarded, destination),
        }
    }

    /// Leaves of a decision on a message that has been dealt with what is asked for; `false` if that is nothing.
    pub(crate) fn narrow(
        &self,
        decision: &mut Decision,
        notification: &Notification,
        earlier: &Outcome,
    ) -> bool {
        // Of what has not been forwarded all is decided anew; but a stub follows a send, whatever else is to come.
        if earlier.status != Status::Forwarded && !matches!(self, Asked::Stub(_)) {
            return true;
        }
        let Decision::Forward { deliveries, .. } = decision else { return false };
        match self {
            Asked::Nothing => return false,
            Asked::Release { .. } => {
                let without = earlier.left_out.iter().flat_map(|one| Address::parse_bare(&one.recipient));
                let without: Vec<Address> = without.collect();
                deliveries.retain(|delivery| without.contains(&delivery.recipient));
            }
            // What the others have is not sent again. Where the routes lead elsewhere by now, it goes there.
            Asked::Resume(_) => {}
            // The stub of a virus would only tell where to get it.
            Asked::Stub(_) if notification.virus == Verdict::Fail => return false,
            // To and Cc are to show what they did: who else an alias leads to is nobody's business.
            Asked::Stub(request) => {
                let mut destinations = deliveries.iter().flat_map(|delivery| &delivery.destinations);
                return destinations.any(|one| request.is_for(earlier, &one.to_string()));
            }
        }
        !deliveries.is_empty()
    }

    /// Whether it asks for something beside what a message has come to, which it stays if that fails.
    pub(crate) fn is_extra(&self, earlier: &Outcome) -> bool {
        match self {
            Asked::Nothing => false,
            Asked::Release { .. } => matches!(earlier.status, Status::Dropped | Status::Forwarded),
            // Some destination has it, whatever the others are to get.
            Asked::Stub(_) => earlier.status != Status::Sending,
            Asked::Resume(_) => matches!(earlier.status, Status::Held | Status::Forwarded),
        }
    }

    /// Whether it has to wait for the try that is at the message, or for the next one: a stub follows a send, and
    /// what a try that ended without a word has sent is not known.
    pub(crate) fn must_wait(&self, earlier: Option<&Outcome>) -> bool {
        matches!(self, Asked::Stub(_)) && !earlier.is_some_and(|earlier| self.is_extra(earlier))
    }

    /// Whether it is stubs that are to go out, and to whom.
    pub(crate) fn stubs(&self) -> Option<&StubRequest> {
        if let Asked::Stub(request) = self { Some(request) } else { None }
    }

    /// What a release goes past: what was recorded, else what the verdicts say.
    pub(crate) fn released_from(
        &self,
        notification: &Notification,
        usual: &Policy,
        earlier: Option<&Outcome>,
    ) -> Option<String> {
        if !matches!(self, Asked::Release { .. }) {
            return None;
        }
        let recorded = earlier.and_then(Outcome::releasable);
        let reason = recorded.or_else(|| judge(notification, usual).err());
        reason.map(|reason| reason.word().to_owned())
    }
}

/// Whether a message has been forwarded.
pub(crate) fn is_forwarded(earlier: Option<&Outcome>) -> bool {
    earlier.is_some_and(|outcome| outcome.status == Status::Forwarded)
}
