//! What was dropped, sent since its owner asks for it: with the real binary, mail over SMTP and the template's own
//! wiring.

mod common;

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::End;
use ses_forwarder_local_stack::Stack;

use self::common::{FUNCTION, about, at_once, event, message, notification, outcome, stack, store};

/// Has a message with these verdicts received and dealt with.
async fn receive(stack: &Stack, to: &[&str], verdicts: &str, message: &str) -> String {
    let message = format!("X-Local-Verdict: {verdicts}\r\n{message}");
    let id = stack.send(Some("ann@else.example"), to, message.as_bytes()).await.expect("it is taken");
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    id
}

/// The event of a message as it is archived, asked for by its owner.
async fn asked_for(stack: &Stack, id: &str, virus: bool) -> Value {
    let keys = stack.keys("index/").await;
    let key = keys.iter().find(|key| key.contains(id)).expect("it is archived");
    let archived = stack.object(key).await.expect("it is there");
    let mut event = event(&[serde_json::from_slice(&archived).expect("JSON")]);
    event["release"] = json!(true);
    event["virus"] = json!(virus);
    event
}

/// Releases a message; the word for what came of it.
async fn release(stack: &Stack, id: &str, virus: bool) -> Value {
    let event = asked_for(stack, id, virus).await;
    let answer = stack.invoke(FUNCTION, &event).await.expect("it does not fail");
    answer["outcomes"][0].clone()
}

/// Who has got mail, a line a send.
fn sent(stack: &Stack) -> Vec<String> {
    stack.sent().into_iter().map(|mail| mail.destinations.join(" ")).collect()
}

#[tokio::test]
async fn what_a_verdict_or_a_line_dropped_is_released_once() {
    let stack = stack(&[]).await;
    let routes = "[senders]\n\"ann@else.example\" = \"drop\"\n[senders.\"sales@in.example\"]\n\
                  \"@else.example\" = \"refuse\"\n[senders.\"info@in.example\"]\n\"@else.example\" = \"forward\"\n";
    stack.put_object("config/routes.toml", routes).await;
    for (count, (to, verdicts, reason)) in [
        ("info@in.example", "spam=FAIL, dmarc=FAIL, dmarc-policy=none", "spam"),
        ("info@in.example", "dmarc=FAIL, dmarc-policy=reject", "dmarc"),
        ("bob@in.example", "spf=PASS", "sender"),
        ("sales@in.example", "spf=PASS", "refused"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = receive(&stack, &[to], verdicts, message()).await;
        let before = outcome(&stack, &id).await;
        assert_eq!((&before["status"], &before["reason"]), (&json!("dropped"), &json!(reason)), "{verdicts}");
        let forwarded =
            || stack.sent().into_iter().filter(|mail| mail.from.starts_with("ann_")).collect::<Vec<_>>();
        assert_eq!(forwarded().len(), count);

        assert_eq!(release(&stack, &id, false).await, "forwarded", "{reason}");
        let after = outcome(&stack, &id).await;
        assert_eq!(
            (&after["status"], &after["released"]),
            (&json!("forwarded"), &json!(reason)),
            "{after:#}"
        );
        let header = String::from_utf8(forwarded().pop().expect("it is sent").raw).expect("ASCII");
        assert!(!header.contains("X-Forwarder-Verdict") && header.contains("Subject: Hello\r\n"), "{header}");

        // Asked for again, and tried again.
        assert_eq!(release(&stack, &id, true).await, "forwarded");
        let mut again = asked_for(&stack, &id, false).await;
        again["release"] = json!(false);
        assert_eq!(stack.invoke(FUNCTION, &again).await.expect("it is")["outcomes"], json!(["forwarded"]));
        assert_eq!((outcome(&stack, &id).await, forwarded().len()), (after, count + 1));
    }
}

#[tokio::test]
async fn of_many_releases_at_once_one_sends() {
    let stack = stack(&["ses:SendEmail=held"]).await;
    let id = receive(&stack, &["info@in.example"], "spam=FAIL", message()).await;
    let event = asked_for(&stack, &id, false).await;
    let ends = at_once(&stack, 5, &event).await;
    assert_eq!(sent(&stack), ["info@out.example"], "{ends:?}");
    assert_eq!(outcome(&stack, &id).await["released"], "spam");
}

#[tokio::test]
async fn a_release_that_fails_leaves_it_dropped_and_can_be_made_again() {
    let stack = stack(&[]).await;
    for (fault, status, was) in [
        ("ses:SendEmail=500*3", "dropped", Value::Null),
        ("s3:GetObject(messages/)=access-denied*1", "dropped", Value::Null),
        ("ses:SendEmail=kill-before@1", "sending", json!("dropped")),
        ("s3:PutObject=kill-before@1", "dropped", Value::Null),
    ] {
        let id = receive(&stack, &["info@in.example"], "spam=FAIL", message()).await;
        let before = stack.sent().len();
        stack.faults().add(fault.parse().expect("a fault"));
        let event = asked_for(&stack, &id, false).await;
        assert!(stack.invoke(FUNCTION, &event).await.is_err(), "{fault}");
        let key =
            stack.keys("outcome/").await.into_iter().find(|key| key.contains(&id)).expect("it is there");
        let mut outcome: Value =
            serde_json::from_slice(&stack.object(&key).await.expect("it is there")).expect("JSON");
        let found = (&outcome["status"], &outcome["was"], &outcome["reason"]);
        assert_eq!(found, (&json!(status), &was, &json!("spam")), "{fault}");
        // As when the time of one that was killed has run out.
        outcome["claimedUntil"] = json!("2026-11-23T10:00:00Z");
        stack.put_object(&key, outcome.to_string()).await;
        assert_eq!(release(&stack, &id, false).await, "forwarded", "{fault}");
        assert_eq!(stack.sent().len(), before + 1, "{fault}");
    }
}

#[tokio::test]
async fn held_mail_whose_sending_fails_stays_held() {
    let stack = stack(&[]).await;
    let list = json!({"destinations": {"info@out.example": {"suspended": {"at": "2026-11-26T10:00:00Z", "messageId": "m1"}}}});
    stack.put_object("state/destinations.json", list.to_string()).await;
    let id = receive(&stack, &["info@in.example"], "spf=PASS", message()).await;
    let held = outcome(&stack, &id).await;
    assert_eq!((&held["status"], &held["reason"]), (&json!("held"), &json!("suspended")));
    stack.put_object("state/destinations.json", "{\"destinations\": {}}").await;
    let mut event = asked_for(&stack, &id, false).await;
    event["release"] = json!(false);
    event["resumes"] = json!("info@out.example");
    for fault in
        ["ses:SendEmail=500*3", "ses:SendEmail=access-denied*1", "s3:GetObject(messages/)=access-denied*1"]
    {
        stack.faults().add(fault.parse().expect("a fault"));
        let last = stack.outcome(&id).await.expect("it is there")["requestId"].clone();
        assert!(stack.invoke(FUNCTION, &event).await.is_err(), "{fault}");
        assert_eq!(outcome(&stack, &id).await, held, "{fault}");
        let now = stack.outcome(&id).await.expect("it is there")["requestId"].clone();
        assert_ne!(now, last, "else its own claim would prevail over it, should somebody write between them");
    }
    // One that is killed leaves it held, too.
    stack.faults().add("ses:SendEmail=kill-before*1".parse().expect("a fault"));
    assert!(stack.invoke(FUNCTION, &event).await.is_err());
    let mut claim = stack.outcome(&id).await.expect("it is there");
    for (field, value) in [("status", "sending"), ("was", "held"), ("reason", "suspended")] {
        assert_eq!(claim[field], value);
    }
    claim["claimedUntil"] = json!("2026-11-23T10:00:00Z");
    stack.put_object(&stack.keys("outcome/").await[0], claim.to_string()).await;
    assert_eq!(stack.invoke(FUNCTION, &event).await.expect("it is")["outcomes"], json!(["forwarded"]));
    assert_eq!(sent(&stack), ["info@out.example"]);
}

#[tokio::test]
async fn what_can_not_be_released_stays_where_it_is() {
    let stack = stack(&[]).await;
    let routes = "[routes]\n\"gone\" = \"refuse\"\n\"old\" = []\n";
    stack.put_object("config/routes.toml", routes).await;
    let loops = format!("X-Loop: info@in.example\r\n{}", message());
    let bounce = "Auto-Submitted: auto-replied\r\nSubject: Away\r\n\r\nI am away\r\n";
    for (to, verdicts, message, reason) in [
        ("info@in.example", "spf=PASS", &*loops, "loop"),
        ("info@in.example", "spam=FAIL", &loops, "spam"),
        ("gone@in.example", "spf=PASS", message(), "refused"),
        ("old@in.example", "spf=PASS", message(), "discarded"),
        ("ann_else.example@in.example", "spf=PASS", bounce, "auto-reply"),
        ("info@in.example", "virus=FAIL", message(), "virus"),
        ("info@in.example", "spam=FAIL, virus=FAIL", message(), "spam"),
    ] {
        let id = receive(&stack, &[to], verdicts, message).await;
        assert_eq!(outcome(&stack, &id).await["reason"], reason);
        assert_eq!(release(&stack, &id, false).await, "dropped", "{reason}");
        assert_eq!(outcome(&stack, &id).await["status"], "dropped");
    }
    let forwarded = stack.sent().into_iter().filter(|mail| mail.from.starts_with("ann_"));
    assert_eq!(forwarded.count(), 0);
}

#[tokio::test]
async fn what_a_virus_was_found_in_is_asked_for_by_name_and_comes_marked() {
    let stack = stack(&[]).await;
    let id = receive(&stack, &["info@in.example"], "virus=FAIL", message()).await;
    assert_eq!(release(&stack, &id, false).await, "dropped");
    assert_eq!(release(&stack, &id, true).await, "forwarded");
    let outcome = outcome(&stack, &id).await;
    assert_eq!((&outcome["released"], &outcome["tags"]), (&json!("virus"), &json!(["virus"])));
    let sent = String::from_utf8(stack.sent().pop().expect("it is sent").raw).expect("ASCII");
    assert!(
        sent.contains("X-Forwarder-Verdict: virus\r\n") && sent.contains("Subject: [VIRUS] Hello"),
        "{sent}"
    );
}

#[tokio::test]
async fn of_several_recipients_those_get_it_who_have_not() {
    let stack = stack(&[]).await;
    let routes = "[senders.\"info@in.example\"]\n\"ann@else.example\" = \"forward\"\n";
    stack.put_object("config/routes.toml", routes).await;
    let to = ["info@in.example", "bob@in.example", "cat@in.example"];
    let id = receive(&stack, &to, "spam=FAIL", message()).await;
    assert_eq!(outcome(&stack, &id).await["status"], "forwarded");
    assert_eq!(sent(&stack), ["info@out.example"]);
    // Where it has been, it is not sent again, wherever that leads now.
    let routes = format!("[routes]\n\"info\" = \"new@out.example\"\n{routes}");
    stack.put_object("config/routes.toml", routes).await;
    stack.lambda().stop();
    for _ in 0..2 {
        assert_eq!(release(&stack, &id, false).await, "forwarded");
        let mut all = sent(&stack);
        all.sort();
        assert_eq!(all, ["bob@out.example", "cat@out.example", "info@out.example"]);
    }
    let after = outcome(&stack, &id).await;
    assert_eq!((&after["released"], &after["leftOut"]), (&json!("spam"), &Value::Null), "{after:#}");
}

/// A virus that a line let past for one recipient is no reason to forget that it was forwarded.
#[tokio::test]
async fn a_release_that_comes_to_nothing_leaves_the_record_alone() {
    let stack = stack(&[]).await;
    let routes = "[senders.\"info@in.example\"]\n\"ann@else.example\" = \"forward\"\n";
    stack.put_object("config/routes.toml", routes).await;
    let id = receive(&stack, &["info@in.example", "bob@in.example"], "virus=FAIL", message()).await;
    let before = outcome(&stack, &id).await;
    assert_eq!(before["status"], "forwarded");
    assert_eq!(release(&stack, &id, false).await, "forwarded");
    assert_eq!(outcome(&stack, &id).await, before);
    // Nor is a message that is gone.
    stack.delete_object(&format!("messages/{id}")).await;
    let event = asked_for(&stack, &id, true).await;
    assert!(stack.invoke(FUNCTION, &event).await.is_err());
    assert_eq!(outcome(&stack, &id).await, before);
}

/// Only who may invoke the function can ask, never who sends mail.
#[tokio::test]
async fn nothing_in_a_notification_asks_for_a_release() {
    let stack = stack(&[]).await;
    store(&stack, "m1", message()).await;
    let mut spam = notification("m1", &["info@in.example"]);
    spam["receipt"]["spamVerdict"] = json!({"status": "FAIL"});
    spam["release"] = json!(true);
    spam["virus"] = json!(true);
    let mut in_record = event(&[spam]);
    in_record["Records"][0]["release"] = json!(true);
    let answer = stack.invoke(FUNCTION, &in_record).await.expect("it is dropped");
    assert_eq!(answer["outcomes"], json!(["dropped"]));
    // What has not been dropped is handled as ever.
    let mut asked = about("m2");
    asked["release"] = json!(true);
    store(&stack, "m2", message()).await;
    assert_eq!(stack.invoke(FUNCTION, &asked).await.expect("it is sent")["outcomes"], json!(["forwarded"]));
    assert_eq!(outcome(&stack, "m2").await["released"], Value::Null);
}
