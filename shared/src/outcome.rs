//! The record under `outcome/`: what became of a message, one JSON object on one line.
//!
//! Both functions write it, and two invocations may write it at once. Whoever finds that another was
//! quicker reads what that one wrote and writes [`Outcome::merge`] of both.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    delivery::{Reason, Undelivered},
    notification::Notification,
};

/// What became of a message. Field names are a contract: the analytics tables and the operator's
/// commands read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// SES's messageId.
    pub message_id: String,
    /// Timestamp of the notification, RFC 3339.
    pub timestamp: String,
    /// How it ended.
    pub status: Status,
    /// Why, if not plainly forwarded: a [`Reason`]'s word or an error code.
    pub reason: Option<String>,
    /// The envelope recipients.
    pub recipients: Vec<String>,
    /// Where it goes, each address once.
    pub destinations: Vec<String>,
    /// The checks that tagged it; absent where none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The recipients that nothing goes out for, each with its own reason; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The aliases that it goes out from, as an answer; absent where it is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What SES accepted, one entry a send.
    pub sent: Vec<Sent>,
    /// The bounces that told the sender of recipients who refuse its mail; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// What it had been dropped for before its owner had it sent all the same: a
    /// [`Reason`]'s word; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
    /// What failed.
    pub error: Option<Failure>,
    /// Request id of the invocation that recorded this.
    pub request_id: String,
    /// Size of the stored message in bytes; absent where it was not read.
    pub bytes: Option<u64>,
    /// Whether a part of the body was re-encoded, as a line of it was too long to be sent; absent where
    /// the body was sent byte for byte.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reencoded: bool,
    /// Milliseconds from `timestamp` to SES's acceptance of the last send; absent where nothing was sent.
    pub forward_millis: Option<u64>,
    /// While it is `sending`: when Lambda ends the invocation that has claimed it, so that afterwards
    /// another may.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub claimed_until: Option<OffsetDateTime>,
    /// While it is `sending`: what it had come to before more was asked for, such as a stub, and what it stays
    /// should that fail; absent where it had come to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Status>,
    /// How often the queue has had it tried again; absent where it has not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u32,
    /// How many tries may have sent it although nobody knows: SES did not answer, or the function ended;
    /// absent where none may. While it is being sent, this try counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub doubts: u32,
    /// When the queue has it tried again; absent where it will not.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub next_try: Option<OffsetDateTime>,
    /// What destinations did with it after SES had accepted it; absent where nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivery: Vec<DeliveryEvent>,
}

/// How far a message has come. The order says which of two records written at once prevails: what SES
/// has accepted is never forgotten, and whoever is sending is not disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not sent, or not to everyone.
    Failed,
    /// By verdict, loop or route; no error.
    Dropped,
    /// Kept, since its destination refuses mail.
    Held,
    /// SES refused it for good.
    Rejected,
    /// An invocation has claimed it and is at work.
    Sending,
    /// SES accepted every send.
    Forwarded,
}

impl Outcome {
    /// A record of a message to fill in, by the invocation `request_id`; `received` is when SES received it.
    pub fn new(
        notification: &Notification,
        received: OffsetDateTime,
        request_id: &str,
        status: Status,
    ) -> Outcome {
        Outcome {
            message_id: notification.message_id.clone(),
            timestamp: received.format(&Rfc3339).unwrap_or_default(),
            status,
            reason: None,
            recipients: notification.recipients.clone(),
            destinations: Vec::new(),
            tags: Vec::new(),
            left_out: Vec::new(),
            aliases: Vec::new(),
            sent: Vec::new(),
            refused: Vec::new(),
            released: None,
            error: None,
            request_id: request_id.to_owned(),
            bytes: None,
            reencoded: false,
            forward_millis: None,
            claimed_until: None,
            was: None,
            tries: 0,
            doubts: 0,
            next_try: None,
            delivery: Vec::new(),
        }
    }

    /// What two records of one message, written by two that did not know of each other, say together.
    ///
    /// Sends, refusals and delivery events of both are in it, the larger number of tries, doubts and
    /// milliseconds, and what it was released from.
    /// All else is that of the record whose [`Status`] prevails. Commutative, associative and idempotent,
    /// so it does not matter who writes when, or how often.
    #[must_use]
    pub fn merge(self, other: Outcome) -> Outcome {
        let (one, two) = if self.standing() >= other.standing() { (self, other) } else { (other, self) };
        Outcome {
            sent: union(one.sent, two.sent),
            refused: union(one.refused, two.refused),
            delivery: union(one.delivery, two.delivery),
            tries: one.tries.max(two.tries),
            doubts: one.doubts.max(two.doubts),
            forward_millis: one.forward_millis.max(two.forward_millis),
            released: one.released.max(two.released),
            ..one
        }
    }

    /// What stands in place of a claim that asked for more than the message had come to, once whoever made it is
    /// dead: that it stays, such as forwarded or held. `None` if it is no such claim.
    pub fn unclaimed(&self) -> Option<Outcome> {
        let status = self.was.filter(|_| self.status == Status::Sending)?;
        Some(Outcome { status, was: None, claimed_until: None, ..self.clone() })
    }

    /// What kept the message, or some recipient's, from being sent, and its owner may overrule; `None` if that
    /// is nothing, or lies elsewhere.
    pub fn releasable(&self) -> Option<Reason> {
        let dropped = (self.status == Status::Dropped).then_some(self.reason.as_deref()).flatten();
        let ended = matches!(self.status, Status::Dropped | Status::Forwarded);
        let left_out = self.left_out.iter().filter(|_| ended).map(|one| &*one.reason);
        dropped
            .into_iter()
            .chain(left_out)
            .filter_map(Reason::of_word)
            .find(|reason| reason.may_be_released())
    }

    /// By what one record prevails over another: every field that is taken from one of the two. Where the
    /// status does not decide, a later claim or a later next try does, and then who knows more.
    fn standing(&self) -> impl Ord + '_ {
        let time = (self.status, self.claimed_until, self.was, self.next_try);
        let knowledge = (self.bytes, self.reencoded, &self.destinations, &self.error, &self.reason);
        let rest = (&self.tags, &self.left_out, &self.aliases, &self.recipients, &self.request_id);
        (time, knowledge, rest, &self.timestamp, &self.message_id)
    }
}

/// The members of both lists, each once. Where the lists differ they are sorted; SES's ids begin with the
/// time, so that is about the order of sending.
fn union<T: Ord>(one: Vec<T>, two: Vec<T>) -> Vec<T> {
    if one == two {
        return one;
    }
    one.into_iter().chain(two).collect::<BTreeSet<_>>().into_iter().collect()
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Status {
    /// As records, logs and the functions' answers write it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Failed => "failed",
            Status::Dropped => "dropped",
            Status::Held => "held",
            Status::Rejected => "rejected",
            Status::Sending => "sending",
            Status::Forwarded => "forwarded",
        }
    }
}

/// Why a message is `held` for a destination that refuses mail.
pub const SUSPENDED: &str = "suspended";

/// Why a message is `held` for a destination that has complained of its sender.
pub const COMPLAINT: &str = "complaint";

/// The error of a message that one try had not enough time for: the next one makes the sends that are left.
pub const OUT_OF_TIME: &str = "OutOfTime";

/// Why a message is `failed` that some of its destinations have: not all sends succeeded.
pub const INCOMPLETE: &str = "incomplete";

/// A recipient that nothing goes out for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    /// The envelope recipient as SES wrote it.
    pub recipient: String,
    /// A [`Reason`]'s word.
    pub reason: String,
}

impl From<Undelivered> for LeftOut {
    fn from(Undelivered { recipient, reason }: Undelivered) -> LeftOut {
        LeftOut { recipient, reason: reason.word().to_owned() }
    }
}

/// One accepted send.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The id SES gave the outgoing message; empty if its answer broke off before that.
    pub message_id: String,
    /// Its envelope.
    pub destinations: Vec<String>,
    /// Whether a [`stub`](crate::stub) was sent in place of the message; absent where it was not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stub: bool,
    /// The alias that it went out from, as an answer; absent where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// One bounce that SES sent to the sender.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The id SES gave it; empty if its answer broke off before that, or did not come.
    pub message_id: String,
    /// Those whom it says that mail is refused for.
    pub recipients: Vec<String>,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The error's name, such as `MessageRejected`.
    pub code: String,
    /// What the service said.
    pub message: String,
}

/// What a destination did with a message that SES had accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryEvent {
    /// When, as SES says.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The address.
    pub destination: String,
    /// What it did.
    pub event: DeliveryKind,
    /// The enhanced status code (RFC 3463) or SES's word for the kind; absent where it gave none.
    pub code: Option<String>,
}

/// What a destination may do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryKind {
    /// It took it.
    Delivered,
    /// It takes it later, perhaps.
    Delayed,
    /// It refused it.
    Bounced,
    /// Its owner called it spam.
    Complained,
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::select};

    use super::*;

    const STATUSES: [Status; 6] =
        [Status::Failed, Status::Dropped, Status::Held, Status::Rejected, Status::Sending, Status::Forwarded];

    fn time(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    fn second(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    fn blank(status: Status) -> Outcome {
        let notification = Notification {
            message_id: "m1".to_owned(),
            recipients: vec!["info@in.example".to_owned()],
            ..Notification::default()
        };
        Outcome::new(&notification, time("2026-11-23T10:00:00Z"), "r1", status)
    }

    fn send(id: &str, to: &str) -> Sent {
        Sent { message_id: id.to_owned(), destinations: vec![to.to_owned()], ..Sent::default() }
    }

    #[test]
    fn what_a_message_had_come_to_stays_when_a_claim_on_it_has_ended() {
        for status in STATUSES {
            for was in [None, Some(Status::Held), Some(Status::Forwarded)] {
                let claim = Outcome { was, claimed_until: Some(second(1)), ..blank(status) };
                let expected = was.filter(|_| status == Status::Sending).map(blank);
                assert_eq!(claim.unclaimed(), expected, "{status:?} {was:?}");
            }
        }
    }

    /// Few values of everything, so that two records are often alike in some of it.
    fn outcomes() -> impl Strategy<Value = Outcome> {
        let words = || select(vec![String::new(), "a".to_owned(), "b".to_owned()]);
        let times = || option::of((0i64..3).prop_map(second));
        let sends = vec((words(), vec(words(), 0..2)), 0..3);
        let events = vec((0i64..2, words(), option::of(words())), 0..3);
        let numbers = (option::of(0u64..2), option::of(0u64..3), 0u32..3);
        let refusals = vec(words(), 0..2);
        let texts = (vec(words(), 0..2), option::of(words()), option::of(words()), words());
        (select(STATUSES.to_vec()), times(), times(), sends, (events, refusals), numbers, texts).prop_map(
            |(
                status,
                claimed_until,
                next_try,
                sends,
                (events, refused),
                (bytes, forward_millis, tries),
                texts,
            )| {
                let (destinations, reason, error, request_id) = texts;
                let sent = sends.into_iter().map(|(message_id, destinations)| Sent {
                    message_id,
                    destinations,
                    ..Sent::default()
                });
                let delivery = events.into_iter().map(|(at, destination, code)| DeliveryEvent {
                    at: second(at),
                    destination,
                    event: DeliveryKind::Bounced,
                    code,
                });
                Outcome {
                    was: (tries == 1).then_some(Status::Held),
                    claimed_until,
                    next_try,
                    sent: sent.collect(),
                    delivery: delivery.collect(),
                    refused: refused
                        .into_iter()
                        .map(|id| Refusal { message_id: id, recipients: vec![] })
                        .collect(),
                    bytes,
                    reencoded: bytes == Some(1),
                    forward_millis,
                    tries,
                    doubts: tries,
                    released: reason.clone(),
                    destinations,
                    reason,
                    error: error.map(|code| Failure { code, message: String::new() }),
                    request_id,
                    ..blank(status)
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_merge_does_not_depend_on_who_wrote_when(a in outcomes(), b in outcomes(), c in outcomes()) {
            let merged = a.clone().merge(b.clone());
            prop_assert_eq!(&merged, &b.clone().merge(a.clone()));
            prop_assert_eq!(merged.clone().merge(c.clone()), a.clone().merge(b.clone().merge(c)));
            prop_assert_eq!(a.clone().merge(a.clone()), a.clone());
            prop_assert_eq!(merged.clone().merge(a), merged.clone());
            prop_assert_eq!(merged.clone().merge(b), merged);
        }

        #[test]
        fn a_merge_forgets_no_send_and_no_acceptance(a in outcomes(), b in outcomes()) {
            let merged = a.clone().merge(b.clone());
            for sent in a.sent.iter().chain(&b.sent) {
                prop_assert!(merged.sent.contains(sent));
            }
            for refusal in a.refused.iter().chain(&b.refused) {
                prop_assert!(merged.refused.contains(refusal));
            }
            for event in a.delivery.iter().chain(&b.delivery) {
                prop_assert!(merged.delivery.contains(event));
            }
            prop_assert_eq!(merged.status, a.status.max(b.status));
            prop_assert_eq!(merged.tries, a.tries.max(b.tries));
            let forwarded = a.status == Status::Forwarded || b.status == Status::Forwarded;
            prop_assert_eq!(merged.status == Status::Forwarded, forwarded);
        }
    }

    #[test]
    fn of_two_claims_the_later_prevails() {
        let claim = |request: &str, until| Outcome {
            request_id: request.to_owned(),
            claimed_until: Some(second(until)),
            ..blank(Status::Sending)
        };
        let (earlier, later) = (claim("z", 1), claim("a", 2));
        assert_eq!(earlier.merge(later.clone()), later);
    }

    #[test]
    fn what_may_be_released() {
        let left_out =
            |reason: &str| LeftOut { recipient: "x@in.example".to_owned(), reason: reason.to_owned() };
        for (status, reason, left, expected) in [
            (Status::Dropped, Some("spam"), &[][..], Some(Reason::Spam)),
            (Status::Dropped, Some("sender"), &["sender"], Some(Reason::Sender)),
            (Status::Dropped, Some("loop"), &["loop", "dmarc"], Some(Reason::Dmarc)),
            (Status::Dropped, Some("no-route"), &["no-route", "discarded"], None),
            (Status::Dropped, Some("bounce"), &[], None),
            (Status::Forwarded, None, &[], None),
            (Status::Forwarded, Some("spam"), &["loop"], None),
            (Status::Forwarded, Some("spam"), &["loop", "spam"], Some(Reason::Spam)),
            (Status::Failed, Some("ThrottlingException"), &["spam"], None),
        ] {
            let left_out = left.iter().map(|reason| left_out(reason)).collect();
            let outcome = Outcome { reason: reason.map(str::to_owned), left_out, ..blank(status) };
            assert_eq!(outcome.releasable(), expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_word_is_what_is_recorded() {
        for status in STATUSES {
            assert_eq!(serde_json::to_value(status).unwrap(), status.word());
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let outcome = Outcome {
            destinations: vec!["info@out.example".to_owned()],
            sent: vec![send("s1", "info@out.example")],
            bytes: Some(7),
            forward_millis: Some(950),
            ..blank(Status::Forwarded)
        };
        let line = concat!(
            r#"{"messageId":"m1","timestamp":"2026-11-23T10:00:00Z","status":"forwarded","reason":null,"#,
            r#""recipients":["info@in.example"],"destinations":["info@out.example"],"#,
            r#""sent":[{"messageId":"s1","destinations":["info@out.example"]}],"error":null,"#,
            r#""requestId":"r1","bytes":7,"forwardMillis":950}"#,
        );
        assert_eq!(serde_json::to_string(&outcome).unwrap(), line);
        assert_eq!(serde_json::from_str::<Outcome>(line).unwrap(), outcome);
    }

    #[test]
    fn a_record_has_more_fields_where_there_is_more_to_say() {
        let at = time("2026-11-23T10:02:00Z");
        let outcome = Outcome {
            tags: vec!["spam".to_owned()],
            left_out: vec![LeftOut { recipient: "x@in.example".to_owned(), reason: "loop".to_owned() }],
            aliases: vec!["info@in.example".to_owned()],
            refused: vec![Refusal {
                message_id: "b1".to_owned(),
                recipients: vec!["x@in.example".to_owned()],
            }],
            released: Some("spam".to_owned()),
            reencoded: true,
            claimed_until: Some(at),
            tries: 3,
            doubts: 1,
            next_try: Some(at),
            delivery: vec![DeliveryEvent {
                at,
                destination: "y@out.example".to_owned(),
                event: DeliveryKind::Bounced,
                code: Some("5.1.1".to_owned()),
            }],
            ..blank(Status::Sending)
        };
        let line = concat!(
            r#"{"messageId":"m1","timestamp":"2026-11-23T10:00:00Z","status":"sending","reason":null,"#,
            r#""recipients":["info@in.example"],"destinations":[],"tags":["spam"],"#,
            r#""leftOut":[{"recipient":"x@in.example","reason":"loop"}],"aliases":["info@in.example"],"sent":[],"#,
            r#""refused":[{"messageId":"b1","recipients":["x@in.example"]}],"released":"spam","error":null,"#,
            r#""requestId":"r1","bytes":null,"reencoded":true,"forwardMillis":null,"claimedUntil":"2026-11-23T10:02:00Z","#,
            r#""tries":3,"doubts":1,"nextTry":"2026-11-23T10:02:00Z","delivery":[{"at":"2026-11-23T10:02:00Z","#,
            r#""destination":"y@out.example","event":"bounced","code":"5.1.1"}]}"#,
        );
        assert_eq!(serde_json::to_string(&outcome).unwrap(), line);
        assert_eq!(serde_json::from_str::<Outcome>(line).unwrap(), outcome);
    }
}
