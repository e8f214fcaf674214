//! The events in `events/` say what they should and agree with each other.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use mail_parser::MessageParser;
use serde_json::value::RawValue;
use ses_forwarder::notification::{Notification, Record, Verdict, records};
use time::format_description::well_known::Rfc3339;

const SES: &str = include_str!("../../events/ses-event.json");
const SNS: &str = include_str!("../../events/sns-ses-event.json");
const SAMPLE: &[u8] = include_bytes!("../../events/sample-message.eml");

fn only_notification(event: &str) -> Notification {
    let event: &RawValue = serde_json::from_str(event).unwrap();
    match records(event).as_slice() {
        [Record::Received { notification, .. }] => notification.clone(),
        other => panic!("expected one received message, but found {other:?}"),
    }
}

fn expected() -> Notification {
    Notification {
        message_id: "5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01".to_owned(),
        timestamp: Some(time::OffsetDateTime::parse("2026-11-20T09:14:33.512Z", &Rfc3339).unwrap()),
        source: Some("jane@example.com".to_owned()),
        recipients: vec!["info@in.example".to_owned()],
        subject: Some("Café on Friday?".to_owned()),
        from: vec!["Jane Doe <jane@example.com>".to_owned()],
        spam: Verdict::Pass,
        virus: Verdict::Pass,
        spf: Verdict::Pass,
        dkim: Verdict::Gray,
        dmarc: Verdict::Pass,
        ..Notification::default()
    }
}

#[test]
fn the_lambda_event_and_the_sns_event_tell_of_the_same_message() {
    assert_eq!(only_notification(SES), expected());
    assert_eq!(only_notification(SNS), expected());
}

#[test]
fn the_sample_message_is_the_one_that_the_events_tell_of() {
    let sample = MessageParser::new().parse(SAMPLE).unwrap();
    let event: serde_json::Value = serde_json::from_str(SES).unwrap();
    let headers = event["Records"][0]["ses"]["mail"]["headers"].as_array().unwrap();
    for (name, value) in sample.headers_raw() {
        let field = headers.iter().find(|header| header["name"] == name);
        let field = field.unwrap_or_else(|| panic!("the event has no {name}"));
        assert_eq!(field["value"].as_str().unwrap(), value.trim(), "{name}");
    }
    assert_eq!(sample.subject().map(str::to_owned), expected().subject);
    assert!(!SES.contains("noon") && !SNS.contains("noon"), "an event holds nothing of the body");
}
