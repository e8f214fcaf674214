//! SNS: topics that publish to the journal.
//!
//! Not supported: delivering to subscriptions, SMS, FIFO topics, message attributes.
//!
//! Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

use std::sync::Arc;

use super::{
    Refusal, Response,
    auth::Caller,
    flight::{Flight, Needs},
    query::{self, Form},
};
use crate::{
    deployment::{Deployment, Topic},
    journal::Event,
};

/// Longest message, in bytes.
const MESSAGE_LIMIT: usize = 256 << 10;
/// A subject is shorter than this, in characters.
const SUBJECT_LIMIT: usize = 100;

/// The topics of a deployment.
#[derive(Debug)]
pub(super) struct Topics(Vec<Topic>);

impl Topics {
    pub(super) fn new(deployment: &Deployment) -> Topics {
        Topics(deployment.topics.clone())
    }

    /// Answers a call.
    pub(super) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        body: &[u8],
    ) -> Result<Response, Refusal> {
        let form = Form::parse(body)?;
        match form.action() {
            "Publish" => self.publish(flight, &caller, &form).await,
            "ListTopics" => {
                let needs = Needs::new("sns:ListTopics", "*");
                flight.admit(&caller, "sns:ListTopics", "", "*", vec![needs]).await?;
                let member = |topic: &Topic| {
                    format!("<member><TopicArn>{}</TopicArn></member>", query::escape(&topic.arn))
                };
                let topics = format!("<Topics>{}</Topics>", self.0.iter().map(member).collect::<String>());
                Ok(query::response("ListTopics", query::SNS, &flight.request_id, &topics))
            }
            other => Err(query::unknown_action(other)),
        }
    }

    async fn publish(&self, flight: &Flight, caller: &Arc<Caller>, form: &Form) -> Result<Response, Refusal> {
        let Some(arn) = form.get("TopicArn").or_else(|| form.get("TargetArn")) else {
            return Err(invalid("TopicArn or TargetArn Reason: no value for required parameter"));
        };
        let needs = Needs::new("sns:Publish", arn);
        flight.admit(caller, "sns:Publish", arn, arn, vec![needs]).await?;
        if !self.0.iter().any(|topic| topic.arn == arn) {
            return Err(Refusal::new(404, "NotFound", "Topic does not exist"));
        }
        let (subject, message) = (form.get("Subject"), form.get("Message").unwrap_or_default());
        check(subject, message)?;
        flight.note(Event::Published {
            topic: arn.to_owned(),
            subject: subject.unwrap_or_default().to_owned(),
            text: message.to_owned(),
        });
        let id = format!("<MessageId>{}</MessageId>", uuid::Uuid::new_v4());
        Ok(query::response("Publish", query::SNS, &flight.request_id, &id))
    }
}

/// The limits of a subject and a message. Non-ASCII subjects, which SNS once refused and now documents as
/// allowed, are refused: who keeps to ASCII is right either way.
fn check(subject: Option<&str>, message: &str) -> Result<(), Refusal> {
    if message.is_empty() {
        return Err(invalid("Empty message"));
    }
    if message.len() > MESSAGE_LIMIT {
        return Err(invalid("Message too long"));
    }
    if let Some(subject) = subject {
        let printable = subject.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if subject.is_empty() || subject.starts_with(' ') || !printable || subject.len() >= SUBJECT_LIMIT {
            return Err(invalid("Subject"));
        }
    }
    Ok(())
}

fn invalid(what: &str) -> Refusal {
    Refusal::new(400, "InvalidParameter", format!("Invalid parameter: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_subject_and_message() {
        let long = "x".repeat(MESSAGE_LIMIT);
        let (subject, too_long) = ("s".repeat(99), "s".repeat(100));
        let cases = [
            (None, "m", None),
            (Some("A message could not be forwarded"), "m", None),
            (Some(subject.as_str()), "m", None),
            (None, long.as_str(), None),
            (Some(too_long.as_str()), "m", Some("Subject")),
            (Some(""), "m", Some("Subject")),
            (Some(" s"), "m", Some("Subject")),
            (Some("a\nb"), "m", Some("Subject")),
            (Some("Ärger"), "m", Some("Subject")),
            (None, "", Some("Empty message")),
            (None, &format!("{long}x"), Some("Message too long")),
        ];
        for (subject, message, refused) in cases {
            let expected = refused.map(invalid);
            assert_eq!(check(subject, message).err(), expected, "{subject:?}, {} bytes", message.len());
        }
    }
}
