//! Which messages an event is about: so that the journal can tell a message's whole way.

use serde_json::Value;
use ses_forwarder::feedback;

/// SES's messageIds in an event of any form the functions take: the SES event, the same in SNS, a queue
/// batch of either, an on-failure destination record. Each once, in order; none for anything else.
pub(super) fn message_ids(payload: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(event) = serde_json::from_slice(payload) {
        collect(&event, &mut found);
    }
    found
}

fn collect(event: &Value, found: &mut Vec<String>) {
    // What SES tells of an outgoing message names the one that came in by a tag.
    let tag = || event.pointer(&format!("/detail/mail/tags/{}/0", feedback::MESSAGE_TAG));
    if let Some(id) = event.pointer("/mail/messageId").or_else(tag).and_then(Value::as_str)
        && !found.iter().any(|known| known == id)
    {
        found.push(id.to_owned());
    }
    let records = event.get("Records").and_then(Value::as_array);
    for record in records.into_iter().flatten() {
        if let Some(ses) = record.get("ses") {
            collect(ses, found);
        }
        let text = record.get("body").or_else(|| record.pointer("/Sns/Message")).and_then(Value::as_str);
        if let Some(inner) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            collect(&inner, found);
        }
    }
    if let Some(payload) = event.get("requestPayload") {
        collect(payload, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_messages_of_every_form_of_event_are_found() {
        let ses =
            |id: &str| json!({"Records": [{"eventSource": "aws:ses", "ses": {"mail": {"messageId": id}}}]});
        let sns = json!({"Records": [{"Sns": {"Message": json!({"mail": {"messageId": "s"}}).to_string()}}]});
        let record = json!({"requestPayload": ses("d")});
        for (name, event, expected) in [
            ("SES", ses("a"), vec!["a"]),
            ("SNS", sns.clone(), vec!["s"]),
            ("destination record", record.clone(), vec!["d"]),
            (
                "feedback",
                json!({"Records": [{"body": json!({"detail": {"mail": {"messageId": "s", "tags": {"forwarder-message": ["f"]}}}}).to_string()}]}),
                vec!["f"],
            ),
            (
                "queue",
                json!({"Records": [
                    {"body": ses("a").to_string()}, {"body": record.to_string()}, {"body": "not JSON"},
                    {"body": sns.to_string()}, {"body": ses("a").to_string()}
                ]}),
                vec!["a", "d", "s"],
            ),
            ("anything else", json!([1, {"mail": 2}]), vec![]),
        ] {
            assert_eq!(message_ids(event.to_string().as_bytes()), expected, "{name}");
        }
        assert!(message_ids(b"not JSON").is_empty());
    }
}
