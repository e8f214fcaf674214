//! What the tests of this function share.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use ses_forwarder_local_stack::{Config, SentMail, Stack};

pub(crate) const NOTICE_SENDER: &str = "forwarder-notice@in.example";
pub(crate) const FUNCTION: &str = "HandleDeadLetterFunction";
pub(crate) const SAMPLE: &[u8] = include_bytes!("../../../events/sample-message.eml");
pub(crate) const SAMPLE_ID: &str = "5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01";

pub(crate) async fn stack() -> Stack {
    Stack::start(Config::default()).await.unwrap()
}

/// The same with parameters of the template.
pub(crate) async fn stack_with(parameters: &[(&str, &str)]) -> Stack {
    let mut config = Config::default();
    let given = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config.parameters.extend(given.collect::<BTreeMap<_, _>>());
    Stack::start(config).await.unwrap()
}

/// An event in `events/`, its letters put on the queue just now.
pub(crate) fn event(name: &str) -> Value {
    let path = format!("{}/../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    aged(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(), Duration::ZERO)
}

/// The same event of letters that are as old as this.
pub(crate) fn aged(mut event: Value, age: Duration) -> Value {
    let sent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() - age;
    for record in event["Records"].as_array_mut().unwrap() {
        record["attributes"]["SentTimestamp"] = sent.as_millis().to_string().into();
    }
    event
}

/// The same event as the queue delivers it for the `count`-th time.
pub(crate) fn delivered(mut event: Value, count: u32) -> Value {
    for record in event["Records"].as_array_mut().unwrap() {
        record["attributes"]["ApproximateReceiveCount"] = count.to_string().into();
    }
    event
}

pub(crate) fn no_failures() -> Value {
    json!({ "batchItemFailures": [] })
}

pub(crate) fn failures(event: &Value) -> Value {
    let ids = event["Records"].as_array().unwrap().iter().map(|record| &record["messageId"]);
    json!({ "batchItemFailures": ids.map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>() })
}

/// Notices by mail.
pub(crate) fn notices(stack: &Stack) -> Vec<SentMail> {
    stack.sent().into_iter().filter(|mail| mail.from == NOTICE_SENDER).collect()
}

/// What went out that is no notice.
pub(crate) fn forwarded(stack: &Stack) -> Vec<SentMail> {
    stack.sent().into_iter().filter(|mail| mail.from != NOTICE_SENDER).collect()
}

pub(crate) fn arm(stack: &Stack, fault: &str) {
    stack.faults().add(fault.parse().unwrap());
}

pub(crate) fn pause(stack: &Stack, paused: bool) {
    stack.services().ses().configure(|account| account.sending_enabled = !paused);
}
