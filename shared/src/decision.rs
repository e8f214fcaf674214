//! What to do with a message: drop it and why, or forward it to whom and how marked.
//!
//! Pure: the notification, a few facts of the header block, the policy and the routes go in; a
//! [`Decision`] comes out.

use crate::{
    address::Address, header::HeaderFacts, notification::Notification, outcome::Reason, routes::Routes,
};

/// What to do with a message that failed a check: `ON_SPAM` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `forward`: as if it had passed.
    Forward,
    /// `tag`: forward, marked in the subject and in `X-Forwarder-Verdict`.
    Tag,
    /// `drop`: record it, do not send it.
    Drop,
}

/// One [`Action`] for each check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `ON_SPAM`.
    pub spam: Action,
    /// `ON_VIRUS`.
    pub virus: Action,
    /// `ON_DMARC_REJECT`: DMARC failed and the sender's domain asks for rejection.
    pub dmarc_reject: Action,
    /// `ON_UNAUTHENTICATED`: neither SPF nor DKIM passed.
    pub unauthenticated: Action,
}

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send it.
    Forward {
        /// Each recipient that leads somewhere, with its destinations, in the order of the envelope.
        deliveries: Vec<Delivery>,
        /// The destinations of all deliveries, each once.
        destinations: Vec<Address>,
        /// The checks that asked for a tag.
        tags: Vec<Reason>,
    },
    /// Record it and do not send it.
    Drop(Reason),
}

/// One envelope recipient and where its mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The envelope recipient.
    pub recipient: Address,
    /// Its destinations.
    pub destinations: Vec<Address>,
}

/// What the verdicts alone decide, before the message is read: `Some` drops it.
pub fn drop_on_verdict(notification: &Notification, policy: &Policy) -> Option<Reason> {
    todo!("{notification:?} {policy:?}")
}

/// The whole decision.
pub fn decide(
    notification: &Notification,
    header: &HeaderFacts,
    policy: &Policy,
    routes: &Routes,
    email_domain: &str,
) -> Decision {
    todo!("{notification:?} {header:?} {policy:?} {routes:?} {email_domain}")
}
