//! A message in an invocation: where its records are, what they start with, and whether there is anything left to do.

use ses_forwarder::{
    delivery::Reason,
    notification::Notification,
    outcome::{self, Outcome, Status},
    settings::EmailSettings,
};
use ses_forwarder_aws::ledger::Records;
use time::OffsetDateTime;

use crate::{Invocation, InvocationError};

/// A message in an invocation.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) notification: &'a Notification,
    pub(crate) invocation: &'a Invocation<'a>,
    /// When SES received it, as far as that can be told.
    pub(crate) received: OffsetDateTime,
    /// The notification as it came.
    pub(crate) verbatim: &'a str,
    pub(crate) keys: Keys,
}

/// Where it is, and what is written of it.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) message: String,
    pub(crate) index: String,
    pub(crate) outcome: String,
    pub(crate) error: String,
}

/// How a try at a message ended. At least one of outcome and failure is there.
#[derive(Debug)]
pub(crate) struct Ending {
    /// What is recorded of the message now; `None` leaves what was.
    pub(crate) outcome: Option<Outcome>,
    /// Whether an earlier try recorded it, and this one did nothing, or nothing that counts as another message.
    pub(crate) repeated: bool,
    /// What the invocation fails with.
    pub(crate) failure: Option<InvocationError>,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(
        notification: &'a Notification,
        verbatim: &'a str,
        invocation: &'a Invocation<'a>,
        settings: &EmailSettings,
    ) -> Incoming<'a> {
        let received = notification.timestamp.unwrap_or(invocation.started);
        let (id, day, prefixes) = (&notification.message_id, received.date(), &settings.common.prefixes);
        let keys = Keys {
            message: prefixes.message(id),
            index: prefixes.index(day, id),
            outcome: prefixes.outcome(day, id),
            error: prefixes.error(day, id),
        };
        Incoming { notification, invocation, received, verbatim, keys }
    }

    /// Where its records are.
    pub(crate) fn records(&self) -> Records<'_> {
        let Keys { index, outcome, .. } = &self.keys;
        Records { bucket: &self.invocation.bucket, index, outcome }
    }

    /// What bars others from sending it as long as this invocation may.
    pub(crate) fn claim(&self) -> Outcome {
        let Invocation { request_id, tries, ends, .. } = self.invocation;
        let blank = Outcome::new(self.notification, self.received, request_id, Status::Sending);
        Outcome { claimed_until: Some(*ends), tries: *tries, ..blank }
    }

    /// Milliseconds since SES received it.
    pub(crate) fn age(&self) -> Option<u64> {
        let age = OffsetDateTime::now_utc() - self.received;
        u64::try_from(age.whole_milliseconds()).ok()
    }

    /// An outcome to fill in. What earlier tries have sent, and what became of that, stays in every later
    /// record.
    pub(crate) fn outcome(&self, status: Status, earlier: Option<Outcome>, bytes: Option<usize>) -> Outcome {
        let blank = Outcome::new(self.notification, self.received, self.invocation.request_id, status);
        let bytes = bytes.map(|bytes| bytes as u64);
        let Some(Outcome { sent, refused, released, forward_millis, tries, doubts, delivery, .. }) = earlier
        else {
            return Outcome { bytes, ..blank };
        };
        Outcome { sent, refused, released, forward_millis, tries, doubts, delivery, bytes, ..blank }
    }

    /// The end of a try at a message that is settled.
    pub(crate) fn settled(&self, as_what: &Outcome) -> Ending {
        self.settled_by(as_what).expect("the ledger asked before")
    }

    /// Whether an earlier try has settled the message: then how it did.
    ///
    /// Lambda repeats a failed invocation under the same request id; asking anew, by hand or from the
    /// dead-letter queue, comes with another and is meant to try again.
    pub(crate) fn settled_by(&self, earlier: &Outcome) -> Option<Ending> {
        let same_request = earlier.request_id == self.invocation.request_id;
        let failure = match earlier.status {
            Status::Forwarded if self.invocation.asked.reopens(earlier) => return None,
            Status::Forwarded => None,
            Status::Rejected if same_request => {
                let error = earlier.error.clone();
                let outcome::Failure { code, message } = error.unwrap_or(outcome::Failure {
                    code: "MessageRejected".to_owned(),
                    message: String::new(),
                });
                let sentence = format!("refused at the first try, so not sent again: {code}: {message}");
                Some(InvocationError::new(code, sentence))
            }
            Status::Dropped if same_request && earlier.reason.as_deref() == Some(Reason::Bounce.word()) => {
                Some(InvocationError::bounce())
            }
            Status::Rejected | Status::Dropped | Status::Held | Status::Sending | Status::Failed => {
                return None;
            }
        };
        Some(Ending { outcome: Some(earlier.clone()), repeated: true, failure })
    }
}
