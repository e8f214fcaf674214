//! What SES says of a message after it has accepted it: that a destination took it, takes it later, refused
//! it, or called it spam. SES publishes these events through a configuration set to EventBridge, and a rule
//! puts them on a queue.
//!
//! Each send carries tags: the messageId of the message that came in and the day it came on, so that an
//! event leads to the outcome of that message, which of its destinations nobody has named, and whether it is an
//! answer from an alias. An event about other mail has no such tags.
//!
//! Reading is tolerant as with notifications: a field that is absent or odd loses what it would have told and
//! nothing else. What an event says may be untrue (a destination's server words its refusal as it likes), so
//! all that is taken from it is an address, a time, and a code of a few characters.
//!
//! Events come late, twice, and in any order. The outcome keeps each once
//! ([`Outcome::merge`](crate::outcome::Outcome::merge)), and what they come to follows from their times.
//!
//! Not read: opens, clicks, subscriptions, renderings.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/monitoring-eventbridge.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>

use std::collections::BTreeMap;

use serde_json::Value;
use time::{Date, Month, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::{
    notification::is_message_id,
    outcome::{DeliveryEvent, DeliveryKind, Outcome, Sent},
};

/// Tag of a send: SES's messageId of the message that came in.
pub const MESSAGE_TAG: &str = "forwarder-message";

/// Tag of a send: the day under which that message's outcome is, `YYYY-MM-DD`.
pub const DAY_TAG: &str = "forwarder-day";

/// Tag of a send: the places, from 0, among its destinations of those that no line of the routes names, with `-`
/// between them; absent where there are none.
pub const UNNAMED_TAG: &str = "forwarder-unnamed";

/// Tag of a send: that it is an answer from an alias; absent where it is not.
pub const ANSWER_TAG: &str = "forwarder-answer";

/// Code of a message that SES has accepted and then found a virus in, so that nobody gets it.
pub const REJECTED: &str = "Rejected";

/// Longest code that is kept, in octets. SES's own words have up to 24.
const CODE_MAX: usize = 40;

/// What goes out in a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// Forwarded mail.
    Forwarded {
        /// Which of its destinations no line of the routes names, from 0.
        unnamed: Vec<usize>,
    },
    /// An answer from an alias.
    Answer,
}

/// The tags of a send. Empty for an id that no tag can hold: tags are ASCII letters, digits, `_` and `-`.
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html>
pub fn tags(message_id: &str, day: Date, sending: &Sending) -> Vec<(&'static str, String)> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !message_id.bytes().all(allowed) {
        return Vec::new();
    }
    let day = format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day());
    let mut tags = vec![(MESSAGE_TAG, message_id.to_owned()), (DAY_TAG, day)];
    match sending {
        Sending::Forwarded { unnamed } if unnamed.is_empty() => {}
        Sending::Forwarded { unnamed } => {
            let places: Vec<String> = unnamed.iter().map(ToString::to_string).collect();
            tags.push((UNNAMED_TAG, places.join("-")));
        }
        Sending::Answer => tags.push((ANSWER_TAG, "yes".to_owned())),
    }
    tags
}

/// What is read from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What became of a message of ours.
    Feedback(Feedback),
    /// An event of SES that tells nothing of a message of ours, and why.
    Ignored(String),
}

/// What became of one send of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// SES's messageId of the message that came in.
    pub message_id: String,
    /// The day under which its outcome is.
    pub day: Date,
    /// The id that SES gave to the send; empty where the event lacks it.
    pub sent_id: String,
    /// What was sent.
    pub sending: Sending,
    /// One for each destination that it is about, its address as SES writes it.
    pub events: Vec<DeliveryEvent>,
}

/// What a refusal, or a complaint, is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The destination: it does not exist, or takes no mail any more.
    Destination,
    /// The destination: SES has it on a suppression list and sends it nothing.
    Suppressed,
    /// The message is too large for it.
    Size,
    /// What is in the message.
    Content,
    /// Something that may pass, or that nobody has said.
    Other,
}

impl Feedback {
    /// Reads what a queue holds; `None` if it is no event of EventBridge. `now` stands for times that can't
    /// be read.
    ///
    /// ```
    /// use ses_forwarder::feedback::{Event, Feedback};
    /// use time::OffsetDateTime;
    ///
    /// let body = r#"{"source": "aws.ses", "detail-type": "Email Bounced", "detail": {"eventType": "Bounce",
    ///     "mail": {"messageId": "s1", "tags": {"forwarder-message": ["m1"], "forwarder-day": ["2026-11-23"]}},
    ///     "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2026-11-23T10:00:07Z",
    ///         "bouncedRecipients": [{"emailAddress": "ann@out.example", "status": "5.1.1"}]}}}"#;
    /// let Some(Event::Feedback(feedback)) = Feedback::read(body, OffsetDateTime::UNIX_EPOCH) else { panic!() };
    /// assert_eq!(feedback.message_id, "m1");
    /// assert_eq!(feedback.events[0].code.as_deref(), Some("5.1.1"));
    /// ```
    pub fn read(body: &str, now: OffsetDateTime) -> Option<Event> {
        let event: Value = serde_json::from_str(body).ok()?;
        let detail = event.get("detail").filter(|detail| detail.is_object())?;
        let source = event["source"].as_str()?;
        if source != "aws.ses" {
            return Some(Event::Ignored("an event of another source than aws.ses".to_owned()));
        }
        Some(read(detail, now).map_or_else(Event::Ignored, Event::Feedback))
    }
}

fn read(detail: &Value, now: OffsetDateTime) -> Result<Feedback, String> {
    let mail = &detail["mail"];
    let tag = |name: &str| match &mail["tags"][name] {
        Value::Array(values) => values.first().and_then(Value::as_str),
        value => value.as_str(),
    };
    let (Some(message_id), Some(day)) = (tag(MESSAGE_TAG), tag(DAY_TAG).and_then(day)) else {
        return Err("it is about mail that was not forwarded".to_owned());
    };
    if !is_message_id(message_id) {
        return Err("its tag holds no messageId".to_owned());
    }
    let kind = detail["eventType"].as_str().or_else(|| detail["notificationType"].as_str());
    let kind = kind.unwrap_or_default();
    let (object, list, event) = match kind {
        "Bounce" => (&detail["bounce"], "bouncedRecipients", DeliveryKind::Bounced),
        "Complaint" => (&detail["complaint"], "complainedRecipients", DeliveryKind::Complained),
        "Delivery" => (&detail["delivery"], "recipients", DeliveryKind::Delivered),
        "DeliveryDelay" => (&detail["deliveryDelay"], "delayedRecipients", DeliveryKind::Delayed),
        // It names nobody, as nobody gets it.
        "Reject" => (&detail["reject"], "", DeliveryKind::Bounced),
        _ => return Err("it is of a kind that is not recorded".to_owned()),
    };
    // Who presses "not spam" complains of nothing.
    if object["complaintFeedbackType"].as_str() == Some("not-spam") {
        return Err("it says that the message is no spam".to_owned());
    }
    let at = [&object["timestamp"], &mail["timestamp"]].into_iter().find_map(time_of).unwrap_or(now);
    let recipients = match kind {
        "Reject" => &mail["destination"],
        _ => &object[list],
    };
    let events = recipients.as_array().into_iter().flatten().filter_map(|recipient| {
        let address = recipient.as_str().or_else(|| recipient["emailAddress"].as_str())?;
        let code = match kind {
            "Bounce" => bounce_code(object, recipient),
            "Complaint" => {
                word(&object["complaintSubType"]).or_else(|| word(&object["complaintFeedbackType"]))
            }
            "DeliveryDelay" => status(recipient).or_else(|| word(&object["delayType"])),
            "Reject" => Some(REJECTED.to_owned()),
            _ => None,
        };
        Some(DeliveryEvent { at, destination: address_in(address).to_owned(), event, code })
    });
    let events: Vec<DeliveryEvent> = events.collect();
    if events.is_empty() {
        return Err("it names nobody".to_owned());
    }
    let sent_id = mail["messageId"].as_str().unwrap_or_default().to_owned();
    let sending = match tag(ANSWER_TAG) {
        Some(_) => Sending::Answer,
        None => {
            let unnamed = tag(UNNAMED_TAG).unwrap_or_default().split('-').flat_map(str::parse).collect();
            Sending::Forwarded { unnamed }
        }
    };
    Ok(Feedback { message_id: message_id.to_owned(), day, sent_id, sending, events })
}

/// SES's word where it says more than the status does, else the status, else SES's word for the kind. The
/// status of a bounce that SES does not call permanent counts only if it does not say the contrary.
fn bounce_code(bounce: &Value, recipient: &Value) -> Option<String> {
    let (kind, sub) = (word(&bounce["bounceType"]), word(&bounce["bounceSubType"]));
    let telling = |word: &String| !matches!(word.as_str(), "General" | "Undetermined" | "MailboxFull");
    let status = status(recipient);
    let is_permanent = kind.as_deref() == Some("Permanent");
    if let Some(sub) =
        sub.as_ref().filter(|sub| telling(sub) && (sub.as_str() != "NoEmail" || status.is_none()))
    {
        return Some(sub.clone());
    }
    status.filter(|status| is_permanent || about_code(status) != About::Destination).or(
        match sub.as_deref() {
            Some("MailboxFull") => sub,
            _ => kind,
        },
    )
}

/// The enhanced status code of a recipient: its own field's, else the one in the server's words.
fn status(recipient: &Value) -> Option<String> {
    let own = recipient["status"].as_str().map(str::trim).filter(|text| is_status(text));
    let said = || {
        recipient["diagnosticCode"]
            .as_str()?
            .split([' ', ';', '-', '#', '(', ')'])
            .find(|text| is_status(text))
    };
    own.or_else(said).map(str::to_owned)
}

/// `class.subject.detail` (RFC 3463 section 2).
pub(crate) fn is_status(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(parts[..], [class, subject, detail]
        if matches!(class, "2" | "4" | "5") && digits(subject, 3) && digits(detail, 3))
}

/// One of SES's words, if it looks like one.
fn word(value: &Value) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let text =
        value.as_str().filter(|text| (1..=CODE_MAX).contains(&text.len()) && text.bytes().all(allowed))?;
    Some(text.to_owned())
}

/// What a refusal with this code is about.
pub fn about(event: &DeliveryEvent) -> About {
    event.code.as_deref().map_or(About::Other, about_code)
}

/// By RFC 3463: `5.1` is the address, where 5.1.7 and 5.1.8 are the sender's and 5.1.9 the message's; 5.1.10 is
/// of RFC 7505. Of the mailbox (`5.2`) 5.2.1 says that it is closed, 5.2.3 that the message is too long for it.
fn about_code(code: &str) -> About {
    match code {
        "OnAccountSuppressionList" | "Suppressed" | "OnTenantSuppressionList" => About::Suppressed,
        "5.1.1" | "5.1.2" | "5.1.3" | "5.1.4" | "5.1.6" | "5.1.10" | "5.2.1" | "NoEmail" | "Permanent" => {
            About::Destination
        }
        "5.2.3" | "5.3.4" | "MessageTooLarge" => About::Size,
        "ContentRejected" | "AttachmentRejected" | REJECTED => About::Content,
        code if code.starts_with("5.6.") || code.starts_with("5.7.") => About::Content,
        _ => About::Other,
    }
}

/// What the events of a destination come to: its last one. `None` if nothing is known.
pub fn state<'a>(outcome: &'a Outcome, destination: &str) -> Option<&'a DeliveryEvent> {
    let of_it = outcome.delivery.iter().filter(|event| event.destination.eq_ignore_ascii_case(destination));
    of_it.max_by_key(|event| (event.at, event.event))
}

/// Whether a destination has refused each copy of a message that it was sent, so that it does not have it:
/// it has refused one for each that SES has accepted. Whom only an answer went to is none: whoever wrote that is
/// told.
pub fn is_refused(outcome: &Outcome, destination: &str) -> bool {
    let copies = sends_to(outcome, destination).count();
    let refusals = outcome.delivery.iter().filter(|event| {
        event.event == DeliveryKind::Bounced && event.destination.eq_ignore_ascii_case(destination)
    });
    copies > 0 && refusals.count() >= copies && !is_only_answered(outcome, destination)
}

/// Whether all that a destination was sent of a message are answers.
pub fn is_only_answered(outcome: &Outcome, destination: &str) -> bool {
    let mut sends = sends_to(outcome, destination).peekable();
    sends.peek().is_some() && sends.all(|sent| sent.alias.is_some())
}

/// Whether a destination was forwarded the message itself, and no stub of it.
pub fn lacks_stub(outcome: &Outcome, destination: &str) -> bool {
    let mut forwarded = sends_to(outcome, destination).filter(|sent| sent.alias.is_none()).peekable();
    forwarded.peek().is_some() && forwarded.all(|sent| !sent.stub)
}

fn sends_to<'a>(outcome: &'a Outcome, destination: &str) -> impl Iterator<Item = &'a Sent> {
    outcome
        .sent
        .iter()
        .filter(move |sent| sent.destinations.iter().any(|one| one.eq_ignore_ascii_case(destination)))
}

/// The destinations that did not take a message for its size, each with the code: of those that got the message
/// itself, and no stub of it yet.
pub fn lacking_stubs(outcome: &Outcome) -> BTreeMap<&str, &str> {
    let too_large = outcome
        .delivery
        .iter()
        .filter(|event| event.event == DeliveryKind::Bounced && about(event) == About::Size);
    let lacking = too_large.filter(|event| lacks_stub(outcome, &event.destination));
    lacking.map(|event| (&*event.destination, event.code.as_deref().unwrap_or_default())).collect()
}

/// The address in `Name <address>`, or the whole text.
pub fn address_in(text: &str) -> &str {
    let inner = text.rsplit_once('<').map_or(text, |(_, rest)| rest.split('>').next().unwrap_or(rest));
    inner.trim()
}

fn time_of(value: &Value) -> Option<OffsetDateTime> {
    let read = OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?;
    read.checked_to_offset(UtcOffset::UTC).filter(|utc| utc.year() >= 1970)
}

/// `YYYY-MM-DD`.
fn day(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(
        year.parse().ok().filter(|year| (1970..=9999).contains(year))?,
        month,
        day.parse().ok()?,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        notification::Notification,
        outcome::{Sent, Status},
    };

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    /// An event of this kind, its own object beside `mail`.
    fn event(kind: &str, name: &str, object: &Value) -> String {
        let tags = json!({"forwarder-message": ["m1"], "forwarder-day": ["2026-11-23"]});
        let mail =
            json!({"messageId": "s1", "destination": ["a@out.example", "b@out.example"], "tags": tags});
        json!({
            "version": "0", "source": "aws.ses", "detail-type": "x",
            "detail": {"eventType": kind, "mail": mail, name: object},
        })
        .to_string()
    }

    fn codes(body: &str) -> Vec<(String, DeliveryKind, Option<String>)> {
        match Feedback::read(body, at(0)) {
            Some(Event::Feedback(feedback)) => {
                assert_eq!((feedback.message_id.as_str(), feedback.sent_id.as_str()), ("m1", "s1"));
                feedback.events.into_iter().map(|one| (one.destination, one.event, one.code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ok_bounces_by_what_they_are_about() {
        let cases = [
            ("Permanent", "General", json!({"status": "5.1.1"}), "5.1.1", About::Destination),
            ("Permanent", "NoEmail", json!({"status": "5.1.1"}), "5.1.1", About::Destination),
            ("Permanent", "NoEmail", json!({}), "NoEmail", About::Destination),
            ("Permanent", "General", json!({}), "Permanent", About::Destination),
            ("Permanent", "General", json!({"status": "5.1.10"}), "5.1.10", About::Destination),
            ("Permanent", "General", json!({"status": "5.2.1"}), "5.2.1", About::Destination),
            ("Permanent", "General", json!({"status": "5.1.8"}), "5.1.8", About::Other),
            ("Permanent", "General", json!({"status": "5.7.1"}), "5.7.1", About::Content),
            ("Permanent", "General", json!({"status": "5.7.26"}), "5.7.26", About::Content),
            ("Permanent", "General", json!({"status": "5.6.0"}), "5.6.0", About::Content),
            ("Permanent", "General", json!({"status": "5.3.4"}), "5.3.4", About::Size),
            ("Permanent", "General", json!({"status": "5.0.0"}), "5.0.0", About::Other),
            (
                "Permanent",
                "General",
                json!({"status": "x", "diagnosticCode": "smtp; 550 5.1.1 no such user"}),
                "5.1.1",
                About::Destination,
            ),
            (
                "Permanent",
                "General",
                json!({"diagnosticCode": "smtp; 552-5.2.3 too long"}),
                "5.2.3",
                About::Size,
            ),
            (
                "Permanent",
                "OnAccountSuppressionList",
                json!({"status": "5.1.1"}),
                "OnAccountSuppressionList",
                About::Suppressed,
            ),
            ("Permanent", "Suppressed", json!({"status": "5.1.1"}), "Suppressed", About::Suppressed),
            ("Transient", "MailboxFull", json!({"status": "5.2.2"}), "5.2.2", About::Other),
            ("Transient", "MailboxFull", json!({}), "MailboxFull", About::Other),
            ("Transient", "MessageTooLarge", json!({"status": "5.3.4"}), "MessageTooLarge", About::Size),
            ("Transient", "ContentRejected", json!({"status": "5.7.1"}), "ContentRejected", About::Content),
            ("Transient", "AttachmentRejected", json!({}), "AttachmentRejected", About::Content),
            // Not for good, whatever the server calls it.
            ("Transient", "General", json!({"status": "5.1.1"}), "Transient", About::Other),
            ("Undetermined", "Undetermined", json!({}), "Undetermined", About::Other),
        ];
        for (kind, sub, recipient, code, what) in cases {
            let mut recipient = recipient;
            recipient["emailAddress"] = "Ann <a@out.example>".into();
            let bounce = json!({"bounceType": kind, "bounceSubType": sub, "bouncedRecipients": [recipient]});
            let read = codes(&event("Bounce", "bounce", &bounce));
            assert_eq!(
                read,
                [("a@out.example".to_owned(), DeliveryKind::Bounced, Some(code.to_owned()))],
                "{bounce}"
            );
            assert_eq!(about_code(code), what, "{bounce}");
        }
    }

    #[test]
    fn ok_other_kinds() {
        let one =
            |kind, code: Option<&str>| vec![("a@out.example".to_owned(), kind, code.map(str::to_owned))];
        let complained = [json!({"emailAddress": "a@out.example"})];
        let delayed = [json!({"emailAddress": "a@out.example", "status": "4.4.1"})];
        for (body, expected) in [
            (
                event("Delivery", "delivery", &json!({"recipients": ["a@out.example"]})),
                one(DeliveryKind::Delivered, None),
            ),
            (
                event(
                    "Complaint",
                    "complaint",
                    &json!({"complainedRecipients": complained, "complaintFeedbackType": "abuse"}),
                ),
                one(DeliveryKind::Complained, Some("abuse")),
            ),
            (
                event(
                    "Complaint",
                    "complaint",
                    &json!({"complainedRecipients": complained, "complaintSubType": "OnAccountSuppressionList"}),
                ),
                one(DeliveryKind::Complained, Some("OnAccountSuppressionList")),
            ),
            (
                event(
                    "DeliveryDelay",
                    "deliveryDelay",
                    &json!({"delayType": "MailboxFull", "delayedRecipients": delayed}),
                ),
                one(DeliveryKind::Delayed, Some("4.4.1")),
            ),
        ] {
            assert_eq!(codes(&body), expected, "{body}");
        }
        let rejected = codes(&event("Reject", "reject", &json!({"reason": "Bad content"})));
        assert_eq!(rejected.len(), 2, "{rejected:?}");
        assert!(
            rejected
                .iter()
                .all(|(_, kind, code)| *kind == DeliveryKind::Bounced && code.as_deref() == Some(REJECTED))
        );
    }

    #[test]
    fn err_what_tells_nothing_of_a_message_of_ours() {
        let ignored = |body: &str| matches!(Feedback::read(body, at(0)), Some(Event::Ignored(_)));
        let nobody = event("Bounce", "bounce", &json!({}));
        let good = event("Delivery", "delivery", &json!({"recipients": ["a@out.example"]}));
        for (name, body) in [
            ("no tags", good.replace("forwarder-", "x-")),
            ("a day that is none", good.replace("2026-11-23", "2026-13-23")),
            ("an id that leads elsewhere", good.replace("\"m1\"", "\"../../config/routes\"")),
            ("names nobody", nobody),
            ("another kind", good.replace("\"Delivery\"", "\"Open\"")),
            ("another source", good.replace("aws.ses", "aws.s3")),
            (
                "no spam",
                event(
                    "Complaint",
                    "complaint",
                    &json!({"complaintFeedbackType": "not-spam", "complainedRecipients": [{"emailAddress": "a@b"}]}),
                ),
            ),
        ] {
            assert!(ignored(&body), "{name}: {body}");
        }
        for body in ["", "{", "[]", "{\"detail\": 1}", include_str!("../../events/ses-event.json")] {
            assert_eq!(Feedback::read(body, at(0)), None, "{body}");
        }
    }

    fn outcome(copies: usize, events: &[(i64, DeliveryKind)]) -> Outcome {
        let mut outcome = Outcome::new(&Notification::default(), at(0), "r", Status::Forwarded);
        for copy in 0..copies {
            outcome.sent.push(Sent {
                message_id: copy.to_string(),
                destinations: vec!["a@out.example".to_owned()],
                ..Sent::default()
            });
        }
        for (second, event) in events {
            let destination = "A@out.example".to_owned();
            outcome.delivery.push(DeliveryEvent { at: at(*second), destination, event: *event, code: None });
        }
        outcome
    }

    #[test]
    fn the_last_event_counts_and_each_copy_may_be_refused_once() {
        use DeliveryKind::{Bounced, Complained, Delayed, Delivered};
        for (copies, events, last, refused) in [
            (1, &[][..], None, false),
            (1, &[(2, Delivered), (1, Delayed)][..], Some(Delivered), false),
            (1, &[(1, Delayed), (2, Bounced)], Some(Bounced), true),
            (1, &[(1, Delivered), (9, Complained)], Some(Complained), false),
            (2, &[(1, Bounced)], Some(Bounced), false),
            (2, &[(1, Bounced), (3, Delivered)], Some(Delivered), false),
            (2, &[(1, Bounced), (3, Bounced)], Some(Bounced), true),
            (0, &[(1, Bounced)], Some(Bounced), false),
        ] {
            let outcome = outcome(copies, events);
            assert_eq!(
                state(&outcome, "a@out.example").map(|event| event.event),
                last,
                "{copies} {events:?}"
            );
            assert_eq!(is_refused(&outcome, "a@OUT.example"), refused, "{copies} {events:?}");
        }
        assert_eq!(state(&outcome(1, &[(1, Bounced)]), "b@out.example"), None);
    }

    #[test]
    fn whom_an_answer_went_to_is_no_destination() {
        let too_large = |alias: &[Option<&str>], stub: bool| {
            let mut outcome = outcome(alias.len(), &[(1, DeliveryKind::Bounced), (2, DeliveryKind::Bounced)]);
            outcome.delivery.iter_mut().for_each(|event| event.code = Some("5.2.3".to_owned()));
            for (sent, alias) in outcome.sent.iter_mut().zip(alias) {
                (sent.alias, sent.stub) = (alias.map(str::to_owned), stub);
            }
            let lacking = lacking_stubs(&outcome).len();
            let holds =
                [is_only_answered, is_refused, lacks_stub].map(|holds| holds(&outcome, "a@OUT.example"));
            assert_eq!(holds[2], lacking == 1);
            holds
        };
        let info = Some("info@in.example");
        assert_eq!(too_large(&[info], false), [true, false, false]);
        assert_eq!(too_large(&[info, None], false), [false, true, true]);
        assert_eq!(too_large(&[None], false), [false, true, true]);
        assert_eq!(too_large(&[None], true), [false, true, false]);
        assert_eq!(too_large(&[], false), [false, false, false]);
    }

    #[test]
    fn tags_are_what_ses_takes_and_read_back() {
        let day = Date::from_calendar_date(2026, Month::January, 2).unwrap();
        let forwarded = |unnamed: &[usize]| Sending::Forwarded { unnamed: unnamed.to_vec() };
        let tags = tags("m1-x_2", day, &forwarded(&[]));
        assert_eq!(tags, [(MESSAGE_TAG, "m1-x_2".to_owned()), (DAY_TAG, "2026-01-02".to_owned())]);
        assert_eq!(super::day(&tags[1].1), Some(day));
        assert_eq!(super::tags("a.b", day, &forwarded(&[1])), []);
        for (sending, name, value, told) in [
            (forwarded(&[0, 3, 49]), UNNAMED_TAG, "0-3-49", "0-3-49-x-"),
            (Sending::Answer, ANSWER_TAG, "yes", "yes"),
        ] {
            assert_eq!(super::tags("m1", day, &sending)[2], (name, value.to_owned()));
            let more = format!("\"{name}\":[\"{told}\"],\"forwarder-day\"");
            let tagged = event("Delivery", "delivery", &json!({"recipients": ["a@out.example"]}))
                .replace("\"forwarder-day\"", &more);
            let Some(Event::Feedback(feedback)) = Feedback::read(&tagged, at(0)) else { panic!("{tagged}") };
            assert_eq!(feedback.sending, sending);
        }
    }

    proptest! {
        /// However an event is made: no panic, and nothing long or odd in what is kept of it.
        #[test]
        fn codes_are_short_words(kind: String, sub: String, status: String, said: String, at_text: String) {
            let recipient = json!({"emailAddress": said, "status": status, "diagnosticCode": said});
            let bounce = json!({"bounceType": kind, "bounceSubType": sub, "timestamp": at_text, "bouncedRecipients": [recipient, 1, null]});
            if let Some(Event::Feedback(feedback)) = Feedback::read(&event("Bounce", "bounce", &bounce), at(7)) {
                for code in feedback.events.iter().filter_map(|event| event.code.as_ref()) {
                    prop_assert!(code.len() <= CODE_MAX && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
                }
            }
            let _ = Feedback::read(&said, at(7));
        }
    }
}
