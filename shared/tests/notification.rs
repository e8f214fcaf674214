//! Reading events: every shape they come in, and every way one can be odd.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};
use ses_forwarder::notification::{MESSAGE_ID_MAX, Notification, Record, Verdict, records};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const SES: &str = r#"{
  "mail": {
    "timestamp": "2026-03-01T10:20:30.456Z",
    "source": "jane@example.com",
    "messageId": "o3vrnil0e2ic28trm7dfhrc2v0clambda4nbp0g1",
    "destination": ["someone-in-to@elsewhere.example"],
    "commonHeaders": {"from": ["Jane <jane@example.com>"], "subject": "Hé\"llo\n", "to": null}
  },
  "receipt": {
    "timestamp": "2026-03-01T10:20:31.000Z",
    "recipients": ["Info+a@in.example", "\"john doe\"@in.example"],
    "spamVerdict": {"status": "PASS"},
    "virusVerdict": {"status": "FAIL"},
    "spfVerdict": {"status": "GRAY"},
    "dkimVerdict": {"status": "PROCESSING_FAILED"},
    "dmarcVerdict": {"status": "SOMETHING_NEW"},
    "dmarcPolicy": "reject",
    "unknown": [1.50, 1e999, {"deep": "\ud800"}]
  }
}"#;

fn expected() -> Notification {
    Notification {
        message_id: "o3vrnil0e2ic28trm7dfhrc2v0clambda4nbp0g1".into(),
        timestamp: Some(at("2026-03-01T10:20:30.456Z")),
        source: Some("jane@example.com".into()),
        recipients: vec!["Info+a@in.example".into(), "\"john doe\"@in.example".into()],
        subject: Some("Hé\"llo\n".into()),
        from: vec!["Jane <jane@example.com>".into()],
        spam: Verdict::Pass,
        virus: Verdict::Fail,
        spf: Verdict::Gray,
        dkim: Verdict::ProcessingFailed,
        dmarc: Verdict::Other("SOMETHING_NEW".into()),
        dmarc_policy: Some("reject".into()),
    }
}

fn at(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap_or_else(|error| panic!("{error} in {json}"))
}

/// What [`SES`] must be in the index: itself without line ends.
fn one_line() -> String {
    SES.replace('\n', "")
}

/// The notification of an event with one record; panics with the event if there is none.
#[track_caller]
fn the_notification(event: &str) -> Notification {
    let event = raw(event);
    match records(&event).as_slice() {
        [Record::Received { notification, .. }] => notification.clone(),
        other => panic!("{event}: {other:?}"),
    }
}

/// The notification after a change to one member, named by its JSON pointer.
#[track_caller]
fn changed(pointer: &str, value: Value) -> Notification {
    the_notification(&with(pointer, value))
}

/// The event after a change to one member. `unknown` is left out, as `Value` can't hold it.
fn with(pointer: &str, value: Value) -> String {
    let plain = SES.replace("\"unknown\": [1.50, 1e999, {\"deep\": \"\\ud800\"}]", "\"unknown\": null");
    let mut ses: Value = serde_json::from_str(&plain).unwrap();
    *ses.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    ses.to_string()
}

#[test]
fn ok_every_shape_of_an_event() {
    let string = serde_json::to_string(SES).unwrap();
    let received =
        serde_json::to_string(&SES.replacen('{', "{\"notificationType\":\"Received\",", 1)).unwrap();
    let shapes = [
        ("the Lambda action's", format!(r#"{{"Records":[{{"eventSource":"aws:ses","ses":{SES}}}]}}"#)),
        ("one without eventSource", format!(r#"{{"Records":[{{"ses":{SES}}}]}}"#)),
        ("a record on its own", format!(r#"{{"eventSource":"aws:ses","ses":{SES}}}"#)),
        (
            "SNS",
            format!(
                r#"{{"Records":[{{"EventSource":"aws:sns","Sns":{{"Type":"Notification","Message":{string}}}}}]}}"#
            ),
        ),
        (
            "SNS with the message as JSON",
            format!(r#"{{"Records":[{{"EventSource":"aws:sns","Sns":{{"Message":{SES}}}}}]}}"#),
        ),
        (
            "a bare SNS notification",
            format!(r#"{{"Type":"Notification","Subject":null,"Message":{string}}}"#),
        ),
        ("a bare SES notification", SES.to_owned()),
        ("what the index keeps", one_line()),
    ];
    for (shape, event) in shapes {
        let event = raw(&event);
        let expected = [Record::Received { verbatim: one_line().into(), notification: expected() }];
        assert_eq!(records(&event), expected, "{shape}");
    }
    let event = raw(&format!(r#"{{"Type":"Notification","Message":{received}}}"#));
    let verbatim = one_line().replacen('{', "{\"notificationType\":\"Received\",", 1);
    assert_eq!(records(&event), [Record::Received { verbatim: verbatim.into(), notification: expected() }]);
}

#[test]
fn ok_several_records_in_their_order() {
    let ids: Vec<String> = ["one", "two"].map(|id| with("/mail/messageId", json!(id))).into();
    let event = raw(&format!(
        r#"{{"Records":[{{"eventSource":"aws:ses","ses":{}}},{{"eventSource":"aws:s3","s3":{{}}}},{{"eventSource":"aws:ses","ses":{}}}]}}"#,
        ids[0], ids[1]
    ));
    let found: Vec<_> = records(&event)
        .into_iter()
        .map(|record| match record {
            Record::Received { notification, .. } => notification.message_id,
            Record::Ignored(what) | Record::Unreadable(what) => what,
        })
        .collect();
    assert_eq!(found, ["one", "a record of \"aws:s3\", not of aws:ses", "two"]);
}

#[test]
fn ok_absent_null_and_mistyped_fields_have_their_default() {
    let base = expected();
    for odd in [json!(null), json!(true), json!([]), json!({}), json!({"status": null})] {
        let nothing = changed("/receipt/spamVerdict", odd.clone());
        assert_eq!(nothing, Notification { spam: Verdict::Disabled, ..base.clone() }, "{odd}");
        let nothing = changed("/receipt/dmarcPolicy", odd.clone());
        assert_eq!(nothing, Notification { dmarc_policy: None, ..base.clone() }, "{odd}");
        let nothing = changed("/mail/commonHeaders", odd.clone());
        assert_eq!(nothing, Notification { subject: None, from: vec![], ..base.clone() }, "{odd}");
        let nothing = changed("/mail/source", odd.clone());
        assert_eq!(nothing, Notification { source: None, ..base.clone() }, "{odd}");
        let receipt = changed("/mail/timestamp", odd.clone());
        assert_eq!(
            receipt,
            Notification { timestamp: Some(at("2026-03-01T10:20:31Z")), ..base.clone() },
            "{odd}"
        );
    }
    let least = the_notification(r#"{"mail":{"messageId":17},"receipt":{"recipients":"a@in.example"}}"#);
    let recipients = vec!["a@in.example".to_owned()];
    assert_eq!(least, Notification { message_id: "17".into(), recipients, ..Notification::default() });
}

#[test]
fn ok_lists_that_hold_other_things() {
    let found = changed("/receipt/recipients", json!(["a@in.example", null, 5, {"b": 1}, "c@in.example"]));
    assert_eq!(found.recipients, ["a@in.example", "5", "c@in.example"]);
    assert_eq!(changed("/mail/commonHeaders/from", json!("Jane <j@x.example>")).from, ["Jane <j@x.example>"]);
    let twice = SES.replacen("\"source\"", "\"source\": \"eve@x.example\", \"source\"", 1);
    assert_eq!(the_notification(&twice), expected(), "of a repeated name, the last counts");
}

#[test]
fn ok_verdict_words() {
    for (word, verdict) in [
        (json!({"status": "PASS"}), Verdict::Pass),
        (json!({"status": "FAIL"}), Verdict::Fail),
        (json!({"status": "GRAY"}), Verdict::Gray),
        (json!({"status": "PROCESSING_FAILED"}), Verdict::ProcessingFailed),
        (json!({"status": "DISABLED"}), Verdict::Disabled),
        (json!({"status": "fail"}), Verdict::Fail),
        (json!({"status": "New"}), Verdict::Other("New".into())),
        (json!({"status": ""}), Verdict::Other(String::new())),
        (json!({"status": 1}), Verdict::Other("1".into())),
        (json!("FAIL"), Verdict::Fail),
    ] {
        assert_eq!(changed("/receipt/dkimVerdict", word.clone()).dkim, verdict, "{word}");
    }
}

#[test]
fn ok_null_reverse_path_in_every_spelling() {
    for null in ["", "<>", " ", " <> ", "< >"] {
        assert_eq!(changed("/mail/source", json!(null)).source, None, "{null:?}");
    }
    for source in ["jane@example.com", "<jane@example.com>", " jane@example.com "] {
        assert_eq!(
            changed("/mail/source", json!(source)).source.as_deref(),
            Some("jane@example.com"),
            "{source:?}"
        );
    }
}

#[test]
fn ok_timestamps_in_odd_forms() {
    for (odd, utc) in [
        (json!("2026-03-01T10:20:30Z"), "2026-03-01T10:20:30Z"),
        (json!("2026-03-01T10:20:30.123456789Z"), "2026-03-01T10:20:30.123456789Z"),
        (json!("2026-03-01t10:20:30z"), "2026-03-01T10:20:30Z"),
        (json!("2026-03-01 10:20:30Z"), "2026-03-01T10:20:30Z"),
        (json!("2026-03-01T10:20:30"), "2026-03-01T10:20:30Z"),
        (json!("2026-03-01T10:20:30.5"), "2026-03-01T10:20:30.5Z"),
        (json!("20260301T102030Z"), "2026-03-01T10:20:30Z"),
        (json!("2026-03-01T23:30:00-05:00"), "2026-03-02T04:30:00Z"),
        (json!(" 2026-03-01T10:20:30Z "), "2026-03-01T10:20:30Z"),
        (json!("Sun, 01 Mar 2026 10:20:30 +0000"), "2026-03-01T10:20:30Z"),
        (json!("Sun, 1 Mar 2026 10:20:30 GMT"), "2026-03-01T10:20:30Z"),
        (json!(1772360430), "2026-03-01T10:20:30Z"),
        (json!(1772360430456_i64), "2026-03-01T10:20:30Z"),
        (json!("1772360430"), "2026-03-01T10:20:30Z"),
        (json!(1.772360430e9), "2026-03-01T10:20:30Z"),
        (json!("1970-01-01T00:00:00.000Z"), "1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(changed("/mail/timestamp", odd.clone()).timestamp, Some(at(utc)), "{odd}");
    }
    for junk in [
        "",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "NaN",
        "inf",
        "-1",
        "17",
        "1e300",
        "../../config",
        "-0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
    ] {
        let receipt = Some(at("2026-03-01T10:20:31Z"));
        assert_eq!(changed("/mail/timestamp", json!(junk)).timestamp, receipt, "{junk:?}");
    }
    let neither = with("/mail/timestamp", json!("x")).replace("2026-03-01T10:20:31.000Z", "y");
    assert_eq!(the_notification(&neither).timestamp, None);
}

#[test]
fn err_what_tells_of_no_message_says_what_came() {
    for (event, why) in [
        (r#"{"Records":[]}"#, "an event whose `Records` is empty"),
        (r#"{"Records":{"ses":{}}}"#, "an event whose `Records` is no list but \"{\\\"ses\\\":{}}\""),
        (r#"{"Records":"x"}"#, "an event whose `Records` is no list but \"\\\"x\\\"\""),
        (r#"{"key1":"value1","key2":"value2"}"#, "no SES notification but an object with \"key1, key2\""),
        (
            r#"{"Records":[{"eventSource":"aws:ses","ses":{"receipt":{"recipients":["a@in.example"]}}}]}"#,
            "an SES notification without `mail`, so about no message",
        ),
        ("null", "not a JSON object but \"null\""),
        ("[1]", "not a JSON object but \"[1]\""),
        ("{}", "no SES notification but an object with \"\""),
        (
            r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#,
            "no SES notification but an object with \"Event, Service\"",
        ),
        (r#"{"Records":null}"#, "an event whose `Records` is no list but \"null\""),
        (r#"{"Records":[7]}"#, "not a JSON object but \"7\""),
        (r#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#, "a record of \"aws:sqs\", not of aws:ses"),
        (r#"{"Records":[{"eventSource":"aws:s3","ses":{}}]}"#, "a record of \"aws:s3\", not of aws:ses"),
        (r#"{"Records":[{"EventSource":"aws:sns","Sns":"x"}]}"#, "an SNS record without a notification"),
        (r#"{"Records":[{"EventSource":"aws:sns","Sns":{}}]}"#, "an SNS notification without a message"),
        (
            r#"{"Records":[{"EventSource":"aws:sns","Sns":{"Message":"Successfully validated"}}]}"#,
            "an SNS message that is no SES notification",
        ),
        (
            r#"{"Type":"SubscriptionConfirmation","Message":"You have chosen …"}"#,
            "an SNS message of type \"SubscriptionConfirmation\"",
        ),
        (
            r#"{"notificationType":"Bounce","mail":{"messageId":"x"}}"#,
            "an SES notification of type \"Bounce\"",
        ),
        (r#"{"eventType":"Delivery","mail":{"messageId":"x"}}"#, "an SES notification of type \"Delivery\""),
        (
            r#"{"Records":[{"EventSource":"aws:sns","Sns":{"Type":"Notification","Subject":null,"Message":{"notificationType":"Delivery","mail":{"messageId":"x"},"delivery":{}}}}]}"#,
            "an SES notification of type \"Delivery\"",
        ),
        (
            r#"{"notificationType":"AmazonSnsSubscriptionSucceeded\nlevel=ERROR","mail":{}}"#,
            "an SES notification of type \"AmazonSnsSubscriptionSucceeded\\nlevel=ERROR\"",
        ),
        (r#"{"ses":{}}"#, "an SES notification without `mail`, so about no message"),
        (
            r#"{"receipt":{"recipients":["a@in.example"]}}"#,
            "an SES notification without `mail`, so about no message",
        ),
    ] {
        assert_eq!(records(&raw(event)), [Record::Unreadable(why.to_owned())], "{event}");
    }
}

#[test]
fn ok_the_setup_notification_is_ignored() {
    let event = raw(r#"{"mail":{"messageId":"AMAZON_SES_SETUP_NOTIFICATION"}}"#);
    let why = "AMAZON_SES_SETUP_NOTIFICATION, which SES sends when a rule is created";
    assert_eq!(records(&event), [Record::Ignored(why.to_owned())]);
}

#[test]
fn err_a_message_that_cannot_be_found_or_routed() {
    for (event, why) in [
        (r#"{"Records":[{"eventSource":"aws:ses"}]}"#, "a record of aws:ses without its `ses` object"),
        (
            r#"{"Records":[{"eventSource":"aws:ses","ses":null}]}"#,
            "a record of aws:ses without its `ses` object",
        ),
        (r#"{"mail":{"messageId":""}}"#, "an SES notification without mail.messageId"),
        (r#"{"mail":{"messageId":["x"]}}"#, "an SES notification without mail.messageId"),
        (
            r#"{"mail":{"messageId":"x","destination":["a@in.example"]}}"#,
            "message x: receipt.recipients names nobody",
        ),
        (
            r#"{"mail":{"messageId":"x"},"receipt":{"recipients":[null]}}"#,
            "message x: receipt.recipients names nobody",
        ),
    ] {
        assert_eq!(records(&raw(event)), [Record::Unreadable(why.to_owned())], "{event}");
    }
    let event = raw(r#"{"ses":"text"}"#);
    assert!(
        matches!(records(&event).as_slice(), [Record::Unreadable(why)] if why.contains("no JSON object"))
    );
}

#[test]
fn err_message_ids_that_are_unsafe_in_a_key() {
    let fits = "a".repeat(MESSAGE_ID_MAX);
    for safe in ["o3vrnil0e2ic28trm7dfhrc2v0cnbeccl4nbp0g1", "XSVx2kwX", "0100-a_b.c", &fits] {
        assert_eq!(changed("/mail/messageId", json!(safe)).message_id, safe);
    }
    let long = "a".repeat(MESSAGE_ID_MAX + 1);
    for unsafe_id in [
        "../x",
        "a/b",
        "..",
        ".",
        "a\\b",
        "a b",
        "a\n",
        "a\u{0}",
        "ä",
        "a%2Fb",
        "config/routes.toml",
        "*",
        "?",
        &long,
    ] {
        let event = raw(&with("/mail/messageId", json!(unsafe_id)));
        let found = records(&event);
        assert!(
            matches!(found.as_slice(), [Record::Unreadable(why)] if why.len() < 250 && why.contains("mail.messageId")),
            "{unsafe_id:?}: {found:?}"
        );
    }
}

#[test]
fn ok_nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    assert_eq!(the_notification(&SES.replace("1.50", &deep)), expected(), "in what nobody reads");
    let objects = format!("{}1{}", r#"{"mail":"#.repeat(100_000), "}".repeat(100_000));
    for event in
        [deep.clone(), objects, format!(r#"{{"Records":{deep}}}"#), format!(r#"{{"Records":[{deep}]}}"#)]
    {
        assert_eq!(records(&raw(&event)).len(), 1);
    }
    for field in
        ["/mail/messageId", "/mail/source", "/mail/timestamp", "/receipt/recipients", "/receipt/spamVerdict"]
    {
        let event = raw(&with(field, json!("<deep>")).replace("\"<deep>\"", &deep));
        assert_eq!(records(&event).len(), 1, "{field}");
    }
}

/// Any JSON, with the names an event has.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "Records",
        "eventSource",
        "ses",
        "Sns",
        "Message",
        "Type",
        "mail",
        "receipt",
        "messageId",
        "recipients",
        "status",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!("aws:ses")),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(names.to_vec()), inner), 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_event_is_read_and_any_key_is_safe(event in any_json()) {
        for record in records(&raw(&event.to_string())) {
            if let Record::Received { verbatim, notification } = record {
                prop_assert!(!verbatim.contains(['\n', '\r']));
                prop_assert!(notification.message_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
                prop_assert!(!notification.recipients.is_empty());
            }
        }
    }

    #[test]
    fn the_index_keeps_the_same_json(value in any_json()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let event = format!(r#"{{"ses":{{"mail":{{"messageId":"x"}},"receipt":{{"recipients":["a"]}},"more":{pretty}}}}}"#);
        let event = raw(&event);
        let [Record::Received { verbatim, .. }] = &records(&event)[..] else { panic!("{event}") };
        prop_assert_eq!(&serde_json::from_str::<Value>(verbatim).unwrap()["more"], &serde_json::from_str::<Value>(&pretty).unwrap());
    }
}
