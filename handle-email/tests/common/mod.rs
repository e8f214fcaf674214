//! A stack on this machine that runs the real `handle-email`, and what tests ask of it.

#![allow(dead_code, reason = "each file of tests asks for a part of it")]

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use ses_forwarder_local_aws::{faults::Fault, journal::Event, lambda::InvocationError};
use ses_forwarder_local_stack::{Config, Stack};

/// The function under test, by its name in the template.
pub(crate) const FUNCTION: &str = "HandleEmailFunction";

/// When every message of these tests was received.
const TIMESTAMP: &str = "2026-11-23T10:00:00.000Z";

/// A stack with these faults.
pub(crate) async fn stack(faults: &[&str]) -> Stack {
    let faults = faults.iter().map(|fault| fault.parse::<Fault>().expect("a fault")).collect();
    started(Config { faults, ..Config::default() }).await
}

/// The same with this configuration.
pub(crate) async fn started(config: Config) -> Stack {
    Stack::start(config).await.expect("the stack starts")
}

/// What SES says of a message.
pub(crate) fn notification(message_id: &str, recipients: &[&str]) -> Value {
    let pass = json!({"status": "PASS"});
    json!({
        "mail": {
            "timestamp": TIMESTAMP,
            "source": "ann@else.example",
            "messageId": message_id,
            "destination": recipients,
            "headersTruncated": false,
            "headers": [],
            "commonHeaders": {},
        },
        "receipt": {
            "timestamp": TIMESTAMP,
            "processingTimeMillis": 500,
            "recipients": recipients,
            "spamVerdict": pass,
            "virusVerdict": pass,
            "spfVerdict": pass,
            "dkimVerdict": pass,
            "dmarcVerdict": pass,
            "action": {"type": "Lambda", "functionArn": "arn", "invocationType": "Event"},
        },
    })
}

/// An event about these.
pub(crate) fn event(notifications: &[Value]) -> Value {
    let record = |ses| json!({"eventSource": "aws:ses", "eventVersion": "1.0", "ses": ses});
    json!({"Records": notifications.iter().map(record).collect::<Vec<_>>()})
}

/// An event about one message for info@in.example.
pub(crate) fn about(message_id: &str) -> Value {
    event(&[notification(message_id, &["info@in.example"])])
}

/// Stores a message as SES does.
pub(crate) async fn store(stack: &Stack, message_id: &str, message: impl Into<bytes::Bytes>) {
    stack.put_object(&format!("messages/{message_id}"), message).await;
}

/// A plain message.
pub(crate) const fn message() -> &'static str {
    "From: Ann <ann@else.example>\r\nTo: info@in.example\r\nSubject: Hello\r\n\r\nHi there\r\n"
}

/// One that SES refuses for the name of an attachment.
pub(crate) fn refused_message() -> String {
    message().replace("\r\n\r\n", "\r\nContent-Type: application/octet-stream; name=\"a.exe\"\r\n\r\n")
}

/// The outcome without what differs from run to run.
pub(crate) async fn outcome(stack: &Stack, message_id: &str) -> Value {
    let Some(mut outcome) = stack.outcome(message_id).await else { return Value::Null };
    let fields = outcome.as_object_mut().expect("an object");
    for volatile in ["requestId", "forwardMillis"] {
        fields.remove(volatile).expect("it is always there");
    }
    for sent in fields["sent"].as_array_mut().expect("a list") {
        sent.as_object_mut().expect("an object").remove("messageId").expect("it is always there");
    }
    outcome
}

/// Invokes the function so often at once. The call that a fault holds goes on when all but its invocation have ended.
pub(crate) async fn at_once(
    stack: &Stack,
    count: usize,
    event: &Value,
) -> Vec<Result<Value, InvocationError>> {
    let mut invocations: FuturesUnordered<_> = (0..count).map(|_| stack.invoke(FUNCTION, event)).collect();
    let mut ends = Vec::new();
    while let Some(end) = invocations.next().await {
        ends.push(end);
        if ends.len() == count - 1 {
            stack.faults().clear();
        }
    }
    ends
}

/// How often the functions called this action.
pub(crate) fn calls(stack: &Stack, action: &str) -> usize {
    let entries = stack.journal().entries();
    let called = |event: &Event| matches!(event, Event::Called { action: called, .. } if called == action);
    entries.iter().filter(|entry| called(&entry.event)).count()
}
