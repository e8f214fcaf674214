//! What destinations do with what SES has accepted, and the events that SES makes of it.
//!
//! Which, is decided for each destination of a send by the first of these:
//!
//! 1. A fault `ses:Deliver(ADDRESS)=bounce`, or another word of [`Fate`] but `success`.
//! 2. The local part, up to a `+`, at whatever domain: `bounce`, `full`, `large`, `content`, `complaint`, `delayed`,
//!    `suppressed`; and as SES's own mailbox simulator names them `suppressionlist`, `ooto` and `success`.
//! 3. The account's suppression list.
//! 4. Otherwise it takes the message, and so does one that complains or takes it later.
//!
//! Who bounces for good, and is none of the simulator's names, gets onto the suppression list, as where that is on
//! for the account. Where feedback forwarding is on, a bounce is reported by mail as well: to
//! `FeedbackForwardingEmailAddress`, or else to the sender.
//!
//! Not played: what comes hours later (a mailbox that stays full bounces at once), open and click events.
//!
//! Sources: <https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html>

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};
use ses_forwarder_local_template::deployment::EventDestination;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Sender;
use crate::{delivery::Outgoing, faults::Fate, journal::Event, ses_address::parse_one};

/// How long a destination's answer takes.
const ANSWER: Duration = Duration::from_secs(1);

/// A bounce to be reported by mail.
#[derive(Debug)]
pub struct Report {
    /// Whom it goes to, from the null reverse-path.
    pub to: String,
    /// The message.
    pub message: Vec<u8>,
}

/// A send, as far as its events tell of it.
#[derive(Debug)]
pub(super) struct Told {
    /// The message that came in, where known.
    message_id: Option<String>,
    ses_id: String,
    from: String,
    destinations: Vec<String>,
    /// Whom bounces are reported to by mail.
    reports_to: String,
    configuration_set: String,
    tags: Vec<(String, String)>,
}

impl Told {
    pub(super) fn of(outgoing: &Outgoing, configuration_set: &str, tags: Vec<(String, String)>) -> Told {
        let feedback = outgoing.feedback.as_deref().and_then(|address| parse_one(address).ok());
        Told {
            message_id: outgoing.message_id.clone(),
            ses_id: outgoing.ses_id.clone(),
            from: outgoing.from.clone(),
            destinations: outgoing.destinations.clone(),
            reports_to: feedback.unwrap_or_else(|| outgoing.from.clone()),
            configuration_set: configuration_set.to_owned(),
            tags,
        }
    }
}

/// What the name of an address asks for.
pub(super) fn by_name(address: &str) -> Option<Fate> {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local).to_ascii_lowercase();
    match local.split('+').next().unwrap_or_default() {
        "bounce" => Some(Fate::Bounce),
        "full" => Some(Fate::Full),
        "large" => Some(Fate::Large),
        "content" => Some(Fate::Content),
        "complaint" => Some(Fate::Complaint),
        "delayed" => Some(Fate::Delayed),
        "suppressed" | "suppressionlist" => Some(Fate::Suppressed),
        "success" | "ooto" => Some(Fate::Success),
        _ => None,
    }
}

/// Whether the destination gets the message.
pub(super) fn takes(fate: Fate) -> bool {
    matches!(fate, Fate::Success | Fate::Complaint | Fate::Delayed)
}

/// The object of an event that tells of one destination, under its name: kind as in `eventType`, kind as in
/// `MatchingEventTypes`, EventBridge's `detail-type`, name, object.
type Made = (&'static str, &'static str, &'static str, &'static str, Value);

/// The events of a destination, one after the other from a time on.
fn events(fate: Fate, address: &str, from: OffsetDateTime) -> Vec<Made> {
    let at = |number: u64| (from + Duration::from_millis(number)).format(&Rfc3339).unwrap_or_default();
    let bounce = |kind: &str, sub: &str, status: &str, said: &str| {
        let recipient = json!({
            "emailAddress": address,
            "action": "failed",
            "status": status,
            "diagnosticCode": format!("smtp; 550 {status} {said}"),
        });
        let object = json!({
            "bounceType": kind,
            "bounceSubType": sub,
            "bouncedRecipients": [recipient],
            "timestamp": at(0),
            "feedbackId": uuid::Uuid::new_v4().to_string(),
            "reportingMTA": "dns; amazonses.com",
        });
        ("Bounce", "bounce", "Email Bounced", "bounce", object)
    };
    let delivery = |number| {
        let object = json!({
            "timestamp": at(number),
            "processingTimeMillis": 1,
            "recipients": [address],
            "smtpResponse": "250 ok",
        });
        ("Delivery", "delivery", "Email Delivered", "delivery", object)
    };
    match fate {
        Fate::Success => vec![delivery(0)],
        Fate::Bounce => vec![bounce("Permanent", "General", "5.1.1", "user unknown")],
        Fate::Full => vec![bounce("Transient", "MailboxFull", "5.2.2", "mailbox full")],
        Fate::Large => vec![bounce("Transient", "MessageTooLarge", "5.3.4", "message too large")],
        Fate::Content => vec![bounce("Permanent", "General", "5.7.1", "message refused by policy")],
        Fate::Suppressed => {
            vec![bounce("Permanent", "OnAccountSuppressionList", "5.1.1", "on the account suppression list")]
        }
        Fate::Virus => {
            vec![("Reject", "reject", "Email Rejected", "reject", json!({"reason": "Bad content"}))]
        }
        Fate::Complaint => {
            let object = json!({
                "complainedRecipients": [{"emailAddress": address}],
                "timestamp": at(1),
                "feedbackId": uuid::Uuid::new_v4().to_string(),
                "complaintSubType": null,
                "complaintFeedbackType": "abuse",
                "arrivalDate": at(1),
            });
            vec![delivery(0), ("Complaint", "complaint", "Email Complaint Received", "complaint", object)]
        }
        Fate::Delayed => {
            let recipient = json!({"emailAddress": address, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 try later"});
            let object = json!({
                "timestamp": at(0),
                "delayType": "TransientCommunicationFailure",
                "expirationTime": at(0),
                "delayedRecipients": [recipient],
            });
            vec![
                ("DeliveryDelay", "deliveryDelay", "Email Delivery Delayed", "deliveryDelay", object),
                delivery(1),
            ]
        }
    }
}

impl Sender {
    /// What each destination does, where it was asked for.
    pub(super) fn fate(&self, destination: &str, asked: Option<Fate>) -> Fate {
        let listed = || self.account().suppressed.contains(&destination.to_ascii_lowercase());
        asked
            .or_else(|| by_name(destination))
            .unwrap_or_else(|| if listed() { Fate::Suppressed } else { Fate::Success })
    }

    /// Tells what became of a send, once the destinations have answered.
    pub(super) async fn tell(self, told: Told, fates: Vec<(String, Fate)>) {
        tokio::time::sleep(self.0.pace.scale(ANSWER)).await;
        let [sent, bounced, complained] = &self.0.reputation;
        for (destination, fate) in &fates {
            sent.fetch_add(1, Ordering::Relaxed);
            match fate {
                // What is on the account's own list does not count against it.
                Fate::Bounce | Fate::Content => _ = bounced.fetch_add(1, Ordering::Relaxed),
                Fate::Complaint => _ = complained.fetch_add(1, Ordering::Relaxed),
                _ => {}
            }
            if *fate == Fate::Bounce && by_name(destination).is_none() {
                self.configure(|account| _ = account.suppressed.insert(destination.to_ascii_lowercase()));
            }
            let made = events(*fate, destination, OffsetDateTime::now_utc());
            let published: Vec<Event> =
                made.into_iter().map(|event| self.publish(&told, destination, event)).collect();
            // Told once all are out: whoever waits for the first looks at the queue next.
            for event in published {
                self.0.delivery.journal().note(told.message_id.as_deref(), event);
            }
            if matches!(fate, Fate::Bounce | Fate::Full | Fate::Large | Fate::Content | Fate::Suppressed) {
                self.report(&told, destination, *fate);
            }
        }
    }

    /// The share of what was sent that bounced, and that was complained of; `None` before anything was sent with
    /// a configuration set.
    pub(crate) fn reputation(&self) -> Option<(f64, f64)> {
        let [sent, bounced, complained] =
            [0, 1, 2].map(|index: usize| self.0.reputation[index].load(Ordering::Relaxed) as f64);
        (sent > 0.0).then(|| (bounced / sent, complained / sent))
    }

    /// Publishes an event to the bus, if the configuration set says so.
    fn publish(&self, told: &Told, destination: &str, event: Made) -> Event {
        let (kind, event_type, detail_type, name, object) = event;
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let wanted = |one: &&EventDestination| {
            one.enabled
                && one.configuration_set == told.configuration_set
                && one.event_types.iter().any(|known| known == event_type)
        };
        let publishing = self.0.event_destinations.iter().filter(wanted).count();
        let mut tags =
            json!({"ses:configuration-set": [told.configuration_set], "ses:outgoing-ip": ["192.0.2.1"]});
        for (name, value) in &told.tags {
            tags[name] = json!([value]);
        }
        let mail = json!({
            "timestamp": at,
            "source": told.from,
            "sendingAccountId": self.0.account_id,
            "messageId": told.ses_id,
            "destination": told.destinations,
            "headersTruncated": false,
            "headers": [],
            "commonHeaders": {"from": [told.from], "messageId": told.ses_id},
            "tags": tags,
        });
        let resource = self.arn("configuration-set", &told.configuration_set);
        let detail = json!({"eventType": kind, "mail": mail, name: object});
        let to: Vec<String> =
            (0..publishing).flat_map(|_| self.0.bus.put(detail_type, &resource, &at, &detail)).collect();
        let code = object["bouncedRecipients"][0]["status"].as_str().map(str::to_owned);
        Event::Feedback { event: kind.to_owned(), destination: destination.to_owned(), code, to }
    }

    /// Hands a report by mail to whoever takes them.
    fn report(&self, told: &Told, destination: &str, fate: Fate) {
        if !self.account().feedback_forwarding {
            return;
        }
        let reports = self.0.reports.lock().expect("no holder of this lock panics").clone();
        let Some(reports) = reports else { return };
        let events = events(fate, destination, OffsetDateTime::now_utc());
        let recipient = events.first().map_or(&Value::Null, |event| &event.4["bouncedRecipients"][0]);
        let (status, said) = (recipient["status"].as_str(), recipient["diagnosticCode"].as_str());
        let (status, said) = (status.unwrap_or_default(), said.unwrap_or_default());
        let boundary = "feedback-boundary";
        let message = format!(
            "From: MAILER-DAEMON@{domain}\r\nTo: {to}\r\nSubject: Delivery Status Notification (Failure)\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             An error occurred while trying to deliver the mail to the following recipients:\r\n{destination}\r\n\r\n\
             --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dsn; {domain}\r\n\r\n\
             Final-Recipient: rfc822; {destination}\r\nDiagnostic-Code: {said}\r\nAction: failed\r\nStatus: {status}\r\n\r\n\
             --{boundary}\r\nContent-Type: message/rfc822-headers\r\n\r\nMessage-ID: <{id}@{domain}>\r\nFrom: {from}\r\n\r\n\
             --{boundary}--\r\n",
            domain = self.domain(),
            to = told.reports_to,
            from = told.from,
            id = told.ses_id,
        );
        // Nobody takes it while the stack is going down.
        let _ = reports.send(Report { to: told.reports_to.clone(), message: message.into_bytes() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_destination_does() {
        for (address, fate) in [
            ("bounce@out.example", Some(Fate::Bounce)),
            ("Bounce+label@simulator.amazonses.com", Some(Fate::Bounce)),
            ("suppressionlist@simulator.amazonses.com", Some(Fate::Suppressed)),
            ("suppressed@x.example", Some(Fate::Suppressed)),
            ("ooto@x.example", Some(Fate::Success)),
            ("bounced@x.example", None),
            ("info@bounce.example", None),
        ] {
            assert_eq!(by_name(address), fate, "{address}");
        }
    }
}
