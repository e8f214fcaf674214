//! SendBounce of SES's first API: a bounce of a message that SES has received, to its envelope sender.
//!
//! Not supported: `MessageDsn`, `BounceSenderArn`, a recipient's own ARN, and `BounceType`, which stands for DSN fields
//! that nobody here sends without.
//!
//! The API names one error, `MessageRejected`, and says of ids that are unknown or older than a day only that they
//! can't be bounced; so that is what is said of them.
//!
//! Source: <https://docs.aws.amazon.com/ses/latest/APIReference/API_SendBounce.html>

use std::sync::Arc;

use tokio::time::Instant;

use super::{DAY, SECOND, Sender, parse_one, rejected, rfc5322_date, ses_id};
use crate::{
    auth::Caller,
    delivery::Outgoing,
    flight::Flight,
    needs::Needs,
    query::{self, Form, element},
    response::{Refusal, Response},
};

const ACTION: &str = "SendBounce";

/// A message that may be bounced.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// The envelope sender, unless null.
    source: Option<String>,
    at: Instant,
}

/// One recipient of a request.
struct Bounced<'a> {
    recipient: &'a str,
    status: &'a str,
    diagnostic: Option<&'a str>,
}

impl Sender {
    /// Remembers a message that came in.
    pub fn note_received(&self, message_id: &str, source: Option<&str>) {
        let received = Received { source: source.map(str::to_owned), at: Instant::now() };
        let mut known = self.0.received.lock().expect("no holder of this lock panics");
        known.retain(|_, received| self.0.pace.since(received.at) < DAY);
        known.insert(message_id.to_owned(), received);
    }

    /// Answers a call.
    pub(crate) async fn send_bounce(
        &self,
        flight: &Flight,
        caller: &Arc<Caller>,
        form: &Form,
    ) -> Result<Response, Refusal> {
        let parameter = |name: &str| {
            let missing = || Refusal::new(400, "ValidationError", format!("{name} is missing"));
            form.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let invalid = |message: String| Refusal::new(400, "InvalidParameterValue", message);
        let from = parse_one(parameter("BounceSender")?).map_err(invalid)?;
        let account = self.account();
        let identity = self.arn("identity", account.identity(&from).unwrap_or(&from));
        let needs = Needs::new("ses:SendBounce", identity).with("ses:FromAddress", &from);
        flight.admit(caller, "ses:SendBounce", &from, &from, vec![needs]).await?;
        let id = parameter("OriginalMessageId")?;
        let bounced: Vec<Bounced<'_>> = bounced(form)?;
        account.check_verified([&from], &self.0.region)?;
        if !account.sending_enabled {
            return Err(rejected(format!("Sending is paused for account {}.", self.0.account_id)));
        }
        let source = self.bounceable(id)?;
        self.once_a_second()?;

        let ses_id = ses_id();
        let message = dsn(&from, &source, id, &bounced);
        let header = format!("Message-ID: <{ses_id}@{}>\r\nDate: {}\r\n", self.domain(), rfc5322_date());
        let outgoing = Outgoing {
            outgoing: (header + &message).into_bytes(),
            ses_id: ses_id.clone(),
            message_id: Some(id.to_owned()),
            from,
            destinations: vec![source],
            refusing: Vec::new(),
            feedback: None,
            raw: message.into_bytes(),
        };
        self.accept(outgoing).await?;
        Ok(query::response(ACTION, query::SES, &flight.request_id, &element("MessageId", &ses_id)))
    }

    /// The envelope sender of a message that may still be bounced.
    fn bounceable(&self, id: &str) -> Result<String, Refusal> {
        let known = self.0.received.lock().expect("no holder of this lock panics");
        let received = known.get(id).filter(|received| self.0.pace.since(received.at) < DAY);
        let Some(received) = received else {
            return Err(rejected(format!(
                "Could not find message with id {id}, or it is older than 24 hours."
            )));
        };
        let null = || rejected(format!("Message {id} has no sender to bounce to."));
        received.source.clone().ok_or_else(null)
    }

    fn once_a_second(&self) -> Result<(), Refusal> {
        let mut last = self.0.bounced.lock().expect("no holder of this lock panics");
        if last.is_some_and(|last| self.0.pace.since(last) < SECOND) {
            return Err(Refusal::new(400, "Throttling", "Rate exceeded"));
        }
        *last = Some(Instant::now());
        Ok(())
    }
}

/// `BouncedRecipientInfoList`, which must not be empty.
fn bounced(form: &Form) -> Result<Vec<Bounced<'_>>, Refusal> {
    let mut all = Vec::new();
    for number in 1.. {
        let get = |name: &str| form.get(&format!("BouncedRecipientInfoList.member.{number}.{name}"));
        let Some(recipient) = get("Recipient") else { break };
        let Some(status) = get("RecipientDsnFields.Status") else {
            let message = format!("Status is missing for {recipient}");
            return Err(Refusal::new(400, "ValidationError", message));
        };
        all.push(Bounced { recipient, status, diagnostic: get("RecipientDsnFields.DiagnosticCode") });
    }
    if all.is_empty() {
        return Err(Refusal::new(400, "ValidationError", "BouncedRecipientInfoList is missing"));
    }
    Ok(all)
}

/// The report that the sender gets (RFC 3464).
fn dsn(from: &str, to: &str, original: &str, bounced: &[Bounced<'_>]) -> String {
    let boundary = format!("bounce-{original}");
    let fields = bounced.iter().map(|Bounced { recipient, status, diagnostic }| {
        let diagnostic = diagnostic.map(|code| format!("Diagnostic-Code: {code}\r\n")).unwrap_or_default();
        format!(
            "\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: {status}\r\n{diagnostic}"
        )
    });
    let recipients: String = bounced.iter().map(|one| format!("{}\r\n", one.recipient)).collect();
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: Delivery Status Notification (Failure)\r\nMIME-Version: 1.0\r\n\
         Auto-Submitted: auto-replied\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         An error occurred while trying to deliver the mail to the following recipients:\r\n{recipients}\r\n\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; amazonses.com\r\n{}\r\n--{boundary}--\r\n",
        fields.collect::<String>()
    )
}
