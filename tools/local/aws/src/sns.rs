//! SNS: topics that publish to the journal, and who is subscribed to them.
//!
//! A subscription by mail waits until it is confirmed, also the template's own. What asks for that, which
//! SNS would mail, comes to the journal; as there, subscribing once more has it sent again.
//!
//! Not supported: delivering to subscriptions, SMS, FIFO topics, message attributes, unsubscribing.
//!
//! Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

use std::sync::{Arc, Mutex};

use ses_forwarder_local_template::deployment::{Deployment, Topic};

use crate::{
    auth::Caller,
    flight::Flight,
    journal::Event,
    needs::Needs,
    query::{self, Form, element},
    response::{Refusal, Response},
};

/// Longest message, in bytes.
const MESSAGE_LIMIT: usize = 256 << 10;
/// A subject is shorter than this, in characters.
const SUBJECT_LIMIT: usize = 100;

/// What a subscription that waits has in place of an ARN.
const PENDING: &str = "PendingConfirmation";

/// The topics of a deployment.
#[derive(Debug)]
pub(super) struct Topics {
    topics: Vec<Topic>,
    subscriptions: Mutex<Vec<Subscription>>,
}

/// Who is subscribed to a topic.
#[derive(Debug)]
struct Subscription {
    topic: String,
    protocol: String,
    endpoint: String,
    arn: String,
    /// What confirms it, while it waits.
    token: Option<String>,
}

impl Subscription {
    fn new(topic: &str, protocol: &str, endpoint: &str) -> Subscription {
        let id = uuid::Uuid::new_v4();
        // SNS asks who is not of the account.
        let waits = matches!(protocol, "email" | "email-json" | "http" | "https");
        Subscription {
            topic: topic.to_owned(),
            protocol: protocol.to_owned(),
            endpoint: endpoint.to_owned(),
            arn: format!("{topic}:{id}"),
            token: waits.then(|| id.simple().to_string()),
        }
    }

    /// As `ListSubscriptionsByTopic` has it, XML.
    fn member(&self, account: &str) -> String {
        let arn = if self.token.is_some() { PENDING } else { &self.arn };
        let parts = [
            element("TopicArn", &self.topic),
            element("Protocol", &self.protocol),
            element("SubscriptionArn", arn),
            element("Owner", account),
            element("Endpoint", &self.endpoint),
        ];
        format!("<member>{}</member>", parts.concat())
    }
}

impl Topics {
    pub(super) fn new(deployment: &Deployment) -> Topics {
        let subscriptions = deployment.topics.iter().flat_map(|topic| {
            let pairs = topic.subscriptions.iter();
            pairs.map(|(protocol, endpoint)| Subscription::new(&topic.arn, protocol, endpoint))
        });
        Topics { topics: deployment.topics.clone(), subscriptions: Mutex::new(subscriptions.collect()) }
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
                let topics =
                    format!("<Topics>{}</Topics>", self.topics.iter().map(member).collect::<String>());
                Ok(query::response("ListTopics", query::SNS, &flight.request_id, &topics))
            }
            "ListSubscriptionsByTopic" => {
                let arn = self.admit(flight, &caller, &form, "sns:ListSubscriptionsByTopic").await?;
                let subscriptions = self.subscriptions();
                let members = subscriptions.iter().filter(|subscription| subscription.topic == arn);
                let members: String = members.map(|one| one.member(flight.account())).collect();
                let result = format!("<Subscriptions>{members}</Subscriptions>");
                Ok(query::response("ListSubscriptionsByTopic", query::SNS, &flight.request_id, &result))
            }
            "GetTopicAttributes" => {
                let arn = self.admit(flight, &caller, &form, "sns:GetTopicAttributes").await?;
                let result = format!("<Attributes>{}</Attributes>", self.attributes(arn));
                Ok(query::response("GetTopicAttributes", query::SNS, &flight.request_id, &result))
            }
            "Subscribe" => {
                let arn = self.admit(flight, &caller, &form, "sns:Subscribe").await?;
                let value =
                    |name| form.get(name).ok_or_else(|| invalid(&format!("{name} Reason: no value given")));
                let subscribed = self.subscribe(flight, arn, value("Protocol")?, value("Endpoint")?);
                let result = element("SubscriptionArn", &subscribed);
                Ok(query::response("Subscribe", query::SNS, &flight.request_id, &result))
            }
            "ConfirmSubscription" => {
                let arn = self.admit(flight, &caller, &form, "sns:ConfirmSubscription").await?;
                let confirmed = self.confirm(arn, form.get("Token").unwrap_or_default());
                let result = element("SubscriptionArn", &confirmed.ok_or_else(|| invalid("Token"))?);
                Ok(query::response("ConfirmSubscription", query::SNS, &flight.request_id, &result))
            }
            other => Err(query::unknown_action(other)),
        }
    }

    /// Lets a call about a topic through, and returns the topic's ARN.
    async fn admit<'f>(
        &self,
        flight: &Flight,
        caller: &Arc<Caller>,
        form: &'f Form,
        action: &'static str,
    ) -> Result<&'f str, Refusal> {
        let Some(arn) = form.get("TopicArn").or_else(|| form.get("TargetArn")) else {
            return Err(invalid("TopicArn or TargetArn Reason: no value for required parameter"));
        };
        flight.admit(caller, action, arn, arn, vec![Needs::new(action, arn)]).await?;
        if !self.topics.iter().any(|topic| topic.arn == arn) {
            return Err(Refusal::new(404, "NotFound", "Topic does not exist"));
        }
        Ok(arn)
    }

    /// As `GetTopicAttributes` has them, XML. A topic that is under no key has none.
    fn attributes(&self, arn: &str) -> String {
        let entry = |(key, value): (&str, &str)| {
            format!("<entry>{}{}</entry>", element("key", key), element("value", value))
        };
        let key = self.topics.iter().find(|topic| topic.arn == arn).and_then(|topic| topic.key.as_deref());
        let key = key.map(|key| ("KmsMasterKeyId", key));
        [("TopicArn", arn)].into_iter().chain(key).map(entry).collect()
    }

    /// Subscribes, or asks once more who has not confirmed yet.
    fn subscribe(&self, flight: &Flight, topic: &str, protocol: &str, endpoint: &str) -> String {
        let mut subscriptions = self.subscriptions();
        let known = subscriptions
            .iter()
            .position(|one| one.topic == topic && one.protocol == protocol && one.endpoint == endpoint);
        let known = known.unwrap_or_else(|| {
            subscriptions.push(Subscription::new(topic, protocol, endpoint));
            subscriptions.len() - 1
        });
        let Some(token) = &subscriptions[known].token else { return subscriptions[known].arn.clone() };
        flight.note(Event::Published {
            topic: topic.to_owned(),
            subject: "AWS Notification - Subscription Confirmation".to_owned(),
            text: format!(
                "{endpoint} is to be subscribed to {topic}.\nTo confirm: aws sns confirm-subscription \
                 --topic-arn {topic} --token {token}\n"
            ),
        });
        "pending confirmation".to_owned()
    }

    /// Confirms the subscription that waits for a token.
    fn confirm(&self, topic: &str, token: &str) -> Option<String> {
        let mut subscriptions = self.subscriptions();
        let mut waiting = subscriptions.iter_mut();
        let confirmed = waiting.find(|one| one.topic == topic && one.token.as_deref() == Some(token))?;
        confirmed.token = None;
        Some(confirmed.arn.clone())
    }

    fn subscriptions(&self) -> std::sync::MutexGuard<'_, Vec<Subscription>> {
        self.subscriptions.lock().expect("no holder of this lock panics")
    }

    async fn publish(&self, flight: &Flight, caller: &Arc<Caller>, form: &Form) -> Result<Response, Refusal> {
        let arn = self.admit(flight, caller, form, "sns:Publish").await?;
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
