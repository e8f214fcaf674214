//! Telling the sender of a message that recipients refuse it: SendBounce, which only the first version of SES's
//! API has. SES sends the bounce to the envelope sender, and takes the rest from the message it received.
//!
//! <https://docs.aws.amazon.com/ses/latest/APIReference/API_SendBounce.html>

use std::time::Duration;

use aws_sdk_ses::{
    Client,
    error::BuildError,
    types::{BouncedRecipientInfo, DsnAction, RecipientDsnFields},
};

use crate::{
    call::{CallError, Deadline, Kind, Persistence, persist, sent},
    outgoing::classified,
};

/// How long after it received a message SES sends a bounce of it.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Local part of the address that bounces are from (RFC 5321 section 4.5.5 leaves their return path empty).
const SENDER: &str = "mailer-daemon";

/// RFC 3463 section 3.2: bad destination mailbox address.
const STATUS: &str = "5.1.1";

/// Sends bounces, for the time of an invocation.
#[derive(Debug, Clone)]
pub struct Bouncer {
    client: Client,
    deadline: Deadline,
}

impl Bouncer {
    /// Sends until `deadline`.
    pub fn new(client: Client, deadline: Deadline) -> Bouncer {
        Bouncer { client, deadline }
    }

    /// The same until another deadline.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Bouncer {
        Bouncer { deadline, ..self.clone() }
    }

    /// Tells the sender of the message with SES's id `message_id` that these recipients refuse it, from an
    /// address at `domain`. Returns the messageId of the bounce.
    ///
    /// Where no answer came, the bounce may be on its way: the id is then empty. A sender does without one
    /// sooner than with two.
    pub async fn refuse(
        &self,
        message_id: &str,
        domain: &str,
        recipients: &[String],
    ) -> Result<String, CallError> {
        let infos: Vec<_> = recipients.iter().map(|recipient| info(recipient)).collect::<Result<_, _>>()?;
        let send = async || {
            let result = self
                .client
                .send_bounce()
                .original_message_id(message_id)
                .bounce_sender(format!("{SENDER}@{domain}"))
                .set_bounced_recipient_info_list(Some(infos.clone()))
                .send()
                .await;
            let output = sent("SendBounce", result).map_err(told)?;
            Ok(output.and_then(|output| output.message_id).unwrap_or_default())
        };
        match persist("SendBounce", self.deadline, Persistence::Sending, send).await {
            Err(error) if error.in_doubt => {
                tracing::warn!(messageId = message_id, code = %error.code, "SendBounce may have taken effect");
                Ok(String::new())
            }
            result => result,
        }
    }
}

fn info(recipient: &str) -> Result<BouncedRecipientInfo, CallError> {
    let unbuilt = |error: BuildError| {
        CallError::new("SendBounce", Kind::Permanent, "RequestNotBuilt", error.to_string())
    };
    let fields = RecipientDsnFields::builder()
        .action(DsnAction::Failed)
        .status(STATUS)
        .diagnostic_code(format!("smtp; 550 {STATUS} this address takes no mail from you"))
        .build()
        .map_err(unbuilt)?;
    BouncedRecipientInfo::builder().recipient(recipient).recipient_dsn_fields(fields).build().map_err(unbuilt)
}

/// What the names of SES's first API call for where the status would mislead.
fn told(error: CallError) -> CallError {
    match error.code.as_str() {
        // Too old, or of another account.
        "InvalidParameterValue" | "InvalidParameterCombination" | "ValidationError" => {
            CallError { kind: Kind::Permanent, ..error }
        }
        _ => classified(error),
    }
}
