//! Dead letters: what a message of the queue holds.
//!
//! Lambda writes one of two forms. A dead-letter queue gets the failed event itself, and what
//! failed in message attributes; an on-failure destination gets a record around the event.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
//!
//! Nothing is refused: what can't be read is a letter too, since a message may stand behind it.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use aws_lambda_events::event::sqs::SqsMessage;
use serde::Deserialize;
use serde_json::value::RawValue;
use ses_forwarder::{
    notification::{self, Notification, Record},
    outcome::Failure,
};

use crate::{cause, schedule};

/// What a message of the queue says.
#[derive(Debug)]
pub struct Letter<'a> {
    /// The queue's id of the message: `itemIdentifier` in the answer.
    pub queue_id: &'a str,
    /// By which the queue hides it.
    pub receipt_handle: &'a str,
    /// ARN of the queue.
    pub queue_arn: &'a str,
    /// What the queue held.
    pub body: &'a str,
    /// Since it was put on the queue.
    pub age: Duration,
    /// How often the queue has handed it out, from 1; `None` if it does not say.
    pub deliveries: Option<u32>,
    /// Request id of the invocation that failed, as Lambda gave it.
    pub request_id: Option<String>,
    /// What failed.
    pub failure: Failure,
    /// ARN of the function that failed, if the letter tells.
    pub function: Option<String>,
    /// The messages of the failed event.
    pub messages: Vec<FailedMessage<'a>>,
    /// Why the event, or a part of it, can't be read.
    pub unreadable: Option<String>,
}

/// One message of a failed event.
#[derive(Debug)]
pub struct FailedMessage<'a> {
    /// The notification as the index keeps it.
    pub verbatim: Cow<'a, str>,
    /// What is read from it.
    pub notification: Notification,
}

impl<'a> Letter<'a> {
    /// Reads a message of the queue, received at `now`.
    pub fn read(message: &'a SqsMessage, now: SystemTime) -> Letter<'a> {
        let body = message.body.as_deref().unwrap_or_default();
        let deliveries = deliveries(message);
        let envelope = Letter {
            queue_id: message.message_id.as_deref().unwrap_or_default(),
            receipt_handle: message.receipt_handle.as_deref().unwrap_or_default(),
            queue_arn: message.event_source_arn.as_deref().unwrap_or_default(),
            body,
            age: age(message, now).unwrap_or_else(|| schedule::age_at(deliveries.unwrap_or(1))),
            deliveries,
            request_id: None,
            failure: Failure { code: String::new(), message: String::new() },
            function: None,
            messages: Vec::new(),
            unreadable: None,
        };
        if let Some((context, response, event)) = OnFailure::read(body) {
            let (messages, unreadable) = messages_of(event);
            let failure = context.failure(response);
            let RequestContext { request_id, function_arn: function, .. } = context;
            return Letter { request_id, failure, function, messages, unreadable, ..envelope };
        }
        let (messages, unreadable) = match serde_json::from_str(body) {
            Ok(event) => messages_of(event),
            Err(error) => (Vec::new(), Some(format!("it is no JSON: {error}"))),
        };
        let attribute = |name| message.message_attributes.get(name).and_then(|a| a.string_value.clone());
        let text = attribute("ErrorMessage").unwrap_or_else(|| "Lambda gave no error message".to_owned());
        let code = cause::code_in(&text).unwrap_or(UNNAMED).to_owned();
        let failure = Failure { code, message: text };
        Letter { request_id: attribute("RequestID"), failure, messages, unreadable, ..envelope }
    }

    /// A name that all copies of this letter share and that is safe in an S3 key: the id of the
    /// request that failed, else the queue's id. `None` if neither is one.
    pub fn name(&self) -> Option<&str> {
        [self.request_id.as_deref(), Some(self.queue_id)].into_iter().flatten().find(|id| is_id(id))
    }
}

/// How often the queue has handed a message out, from 1; `None` if it does not say.
pub(crate) fn deliveries(message: &SqsMessage) -> Option<u32> {
    message.attributes.get("ApproximateReceiveCount")?.parse().ok()
}

/// By the time at which the queue took it.
pub(crate) fn age(message: &SqsMessage, now: SystemTime) -> Option<Duration> {
    let sent: u64 = message.attributes.get("SentTimestamp")?.parse().ok()?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(Duration::from_millis(sent)))
}

/// Code of a failure that has no name.
const UNNAMED: &str = "Error";

/// Longest id that becomes part of an S3 key; a request id has 36 characters.
const MAX_ID: usize = 128;

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(allowed)
}

/// The messages of an event, and why it can't be read if it has none or one that can't.
fn messages_of(event: &RawValue) -> (Vec<FailedMessage<'_>>, Option<String>) {
    let mut messages = Vec::new();
    let mut ignored = None;
    let mut unreadable = None;
    for record in notification::records(event) {
        match record {
            Record::Received { verbatim, notification } => {
                messages.push(FailedMessage { verbatim, notification });
            }
            Record::Ignored(what) => ignored = Some(what),
            Record::Unreadable(what) => unreadable = Some(what),
        }
    }
    if messages.is_empty() {
        unreadable = unreadable.or(ignored).or_else(|| Some("an event without records".to_owned()));
    }
    (messages, unreadable)
}

/// Version 1.0 of the record that Lambda sends to an on-failure destination.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnFailure<'a> {
    #[serde(borrow)]
    request_context: &'a RawValue,
    #[serde(borrow)]
    request_payload: &'a RawValue,
    #[serde(borrow)]
    response_payload: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    request_id: Option<String>,
    function_arn: Option<String>,
    condition: Option<String>,
}

/// What a function that failed returned: the Runtime API's error.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ResponsePayload {
    error_type: Option<String>,
    error_message: Option<String>,
}

impl OnFailure<'_> {
    /// The parts of such a record; `None` if it is none.
    fn read(body: &str) -> Option<(RequestContext, ResponsePayload, &RawValue)> {
        let record: OnFailure<'_> = serde_json::from_str(body).ok()?;
        let context = serde_json::from_str(record.request_context.get()).ok()?;
        let response = record.response_payload.and_then(|payload| serde_json::from_str(payload.get()).ok());
        Some((context, response.unwrap_or_default(), record.request_payload))
    }
}

impl RequestContext {
    fn failure(&self, response: ResponsePayload) -> Failure {
        let condition = self.condition.as_deref().unwrap_or(UNNAMED);
        let message = response.error_message;
        let message = message.unwrap_or_else(|| format!("the invocation ended with {condition}"));
        let named = || cause::code_in(&message).unwrap_or(condition).to_owned();
        Failure { code: response.error_type.unwrap_or_else(named), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lambda_events::event::sqs::SqsEvent;
    use proptest::prelude::*;

    const DEAD_LETTER: &str = include_str!("../../events/dead-letter-event.json");
    const DESTINATION: &str = include_str!("../../events/dead-letter-destination-event.json");
    const BATCH: &str = include_str!("../../events/dead-letter-batch-event.json");

    /// Request id, error code, beginning of the error, ids of the messages, why unreadable.
    type Summary = (Option<String>, String, String, Vec<String>, Option<String>);

    fn event(json: &str) -> SqsEvent {
        serde_json::from_str(json).unwrap()
    }

    fn summaries(json: &str) -> Vec<Summary> {
        event(json).records.iter().map(summary).collect()
    }

    fn summary(message: &SqsMessage) -> Summary {
        let letter = Letter::read(message, SystemTime::now());
        let ids = letter.messages.iter().map(|message| message.notification.message_id.clone()).collect();
        (letter.request_id, letter.failure.code, letter.failure.message, ids, letter.unreadable)
    }

    fn message(body: &str) -> SqsMessage {
        let json = serde_json::json!({ "messageId": "queue-id", "body": body });
        serde_json::from_value(json).unwrap()
    }

    fn expected(request: &str, code: &str, message: &str, ids: &[&str], unreadable: Option<&str>) -> Summary {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        (Some(request.to_owned()), code.to_owned(), message.to_owned(), ids, unreadable.map(str::to_owned))
    }

    #[test]
    fn ok_the_failed_event_with_attributes() {
        let first = expected(
            "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b01",
            "SendingPausedException",
            "message 5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01: SendEmail failed: SendingPausedException: Email \
             sending is paused for this account",
            &["5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01"],
            None,
        );
        assert_eq!(summaries(DEAD_LETTER), std::slice::from_ref(&first));
        let bad = expected(
            "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b03",
            "Error",
            "no record of this event is an SES notification",
            &[],
            Some("no SES notification but an object with \"key1, key2, key3\""),
        );
        let unreadable = expected(
            "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b04",
            "Runtime.ExitError",
            "RequestId: 8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b04 Error: Runtime exited with error: signal: killed",
            &[],
            Some("it is no JSON: EOF while parsing a string at line 1 column 180"),
        );
        assert_eq!(summaries(BATCH), [first, bad, unreadable]);
    }

    #[test]
    fn ok_an_on_failure_destination() {
        let id = "5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s02";
        let message = format!(
            "message {id}: GetObject s3://ses-forwarder-mail/messages/{id} failed: NoSuchKey: The specified key \
             does not exist."
        );
        let request = "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b02";
        assert_eq!(summaries(DESTINATION), [expected(request, "MessageNotFound", &message, &[id], None)]);
        let event = event(DESTINATION);
        let function = Letter::read(&event.records[0], SystemTime::now()).function;
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:ses-forwarder-handle-email:$LATEST";
        assert_eq!(function.as_deref(), Some(arn));
    }

    #[test]
    fn ok_an_on_failure_destination_without_an_answer() {
        let context = r#""requestContext":{"requestId":"r","condition":"EventAgeExceeded"}"#;
        let cases = [
            ("no payload", r#""requestPayload":{}"#),
            ("null", r#""requestPayload":{},"responsePayload":null"#),
            ("a text", r#""requestPayload":{},"responsePayload":"gone""#),
            ("odd types", r#""requestPayload":{},"responsePayload":{"errorType":1,"errorMessage":[]}"#),
        ];
        for (name, rest) in cases {
            let (request, code, text, ..) = summary(&message(&format!("{{{context},{rest}}}")));
            assert_eq!(request.as_deref(), Some("r"), "{name}");
            let told = (code.as_str(), text.as_str());
            assert_eq!(told, ("EventAgeExceeded", "the invocation ended with EventAgeExceeded"), "{name}");
        }
    }

    #[test]
    fn a_name_is_the_same_for_all_copies_and_safe_in_a_key() {
        let cases = [
            (Some("8c1b5f0e-1f5a"), "queue-id", Some("8c1b5f0e-1f5a")),
            (None, "queue-id", Some("queue-id")),
            (Some(""), "queue-id", Some("queue-id")),
            (Some("../messages/x"), "queue-id", Some("queue-id")),
            (Some("a b"), "a\nb", None),
            (None, "", None),
        ];
        for (request, queue_id, expected) in cases {
            let mut json = serde_json::json!({ "messageId": queue_id, "body": "{}" });
            if let Some(request) = request {
                json["messageAttributes"] = serde_json::json!({ "RequestID": { "stringValue": request } });
            }
            let message: SqsMessage = serde_json::from_value(json).unwrap();
            let letter = Letter::read(&message, SystemTime::now());
            assert_eq!(letter.name(), expected, "{request:?} {queue_id:?}");
        }
    }

    #[test]
    fn an_age_is_that_of_the_queue_or_follows_from_its_count() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let cases = [
            ("sent", serde_json::json!({ "SentTimestamp": "999700000" }), 300),
            ("sent after now, by another clock", serde_json::json!({ "SentTimestamp": "1000700000" }), 0),
            ("counted", serde_json::json!({ "ApproximateReceiveCount": "3" }), 20 * 60),
            ("unreadable", serde_json::json!({ "SentTimestamp": "then" }), 0),
            ("unknown", serde_json::json!({}), 0),
        ];
        for (name, attributes, seconds) in cases {
            let json = serde_json::json!({ "messageId": "q", "body": "{}", "attributes": attributes });
            let message: SqsMessage = serde_json::from_value(json).unwrap();
            assert_eq!(Letter::read(&message, now).age, Duration::from_secs(seconds), "{name}");
        }
    }

    #[test]
    fn some_records_of_an_event_may_be_unreadable() {
        let body = r#"{"Records":[
            {"eventSource":"aws:ses","ses":{"mail":{"messageId":"a1"},"receipt":{"recipients":["x@in.example"]}}},
            {"eventSource":"aws:ses"}]}"#;
        let (_, _, _, ids, unreadable) = summary(&message(body));
        assert_eq!(ids, ["a1"]);
        assert_eq!(unreadable.as_deref(), Some("a record of aws:ses without its `ses` object"));
    }

    proptest! {
        #[test]
        fn every_letter_holds_messages_or_is_unreadable(body: String) {
            let message = message(&body);
            let letter = Letter::read(&message, SystemTime::now());
            prop_assert!(letter.messages.is_empty() == letter.unreadable.is_some());
        }

        #[test]
        fn a_letter_cut_off_anywhere_is_unreadable(at in 0usize..1_900) {
            let event = event(DEAD_LETTER);
            let body = event.records[0].body.as_deref().unwrap();
            let message = message(&body[..body.floor_char_boundary(at)]);
            let letter = Letter::read(&message, SystemTime::now());
            prop_assert!(letter.messages.is_empty() && letter.unreadable.is_some());
        }
    }
}
