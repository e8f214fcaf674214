//! What becomes of mail after SES has accepted it: the real functions, and the events that SES, EventBridge and
//! the queue make of it by the template.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{FUNCTION, aged, arm, forwarded, no_failures, notices, stack, stack_with};
use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{SentMail, Stack};

const SUSPENDED: &str = "state/destinations.json";

fn message(number: usize) -> Vec<u8> {
    format!("From: Jane <jane@example.com>\r\nTo: x\r\nSubject: {number}\r\n\r\nHello\r\n").into_bytes()
}

/// Sends a message, and waits until SES has told what became of it and that is recorded.
async fn send(stack: &Stack, to: &str, number: usize) -> String {
    let id = stack.send(Some("jane@example.com"), &[to], &message(number)).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    heard(stack, &id).await;
    id
}

/// Waits until SES has told what became of a message that was sent, if anything is to be told.
async fn heard(stack: &Stack, id: &str) {
    let sent = stack.sent().iter().any(|sent| sent.message_id.as_deref() == Some(id));
    if sent {
        stack
            .until(id, |events| {
                events.iter().any(|event| matches!(event, Event::Feedback { .. })).then_some(())
            })
            .await;
    }
    stack.emptied().await;
}

async fn delivery(stack: &Stack, id: &str) -> Vec<(String, String, Value)> {
    let outcome = stack.outcome(id).await.unwrap();
    let events = outcome["delivery"].as_array().cloned().unwrap_or_default();
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    events
        .iter()
        .map(|event| (text(event, "destination"), text(event, "event"), event["code"].clone()))
        .collect()
}

async fn suspended(stack: &Stack) -> Value {
    stack.object(SUSPENDED).await.map_or(Value::Null, |list| serde_json::from_slice(&list).unwrap())
}

/// The queue of events.
fn tell(stack: &Stack, event: &Value) {
    let queue = stack.deployment().queues.iter().find(|queue| queue.name.contains("Feedback")).unwrap();
    stack.services().queue(&queue.arn).unwrap().send(&event.to_string(), BTreeMap::new());
}

#[tokio::test]
async fn what_destinations_do_is_recorded_by_their_names() {
    let stack = stack_with(&[("TrackDelivery", "on")]).await;
    for (name, expected, status) in [
        ("info", &[("delivered", json!(null))][..], "forwarded"),
        ("bounce", &[("bounced", json!("5.1.1"))], "forwarded"),
        ("full", &[("bounced", json!("5.2.2"))], "forwarded"),
        // The stub that stands in for it does not fit either.
        (
            "large",
            &[("bounced", json!("MessageTooLarge")), ("bounced", json!("MessageTooLarge"))],
            "forwarded",
        ),
        ("content", &[("bounced", json!("5.7.1"))], "forwarded"),
        ("suppressed", &[("bounced", json!("OnAccountSuppressionList"))], "forwarded"),
        ("complaint", &[("delivered", json!(null)), ("complained", json!("abuse"))], "forwarded"),
        ("delayed", &[("delayed", json!("4.4.1")), ("delivered", json!(null))], "forwarded"),
    ] {
        let id = send(&stack, &format!("{name}@in.example"), 1).await;
        let address = format!("{name}@out.example");
        let expected: Vec<_> = expected
            .iter()
            .map(|(event, code)| (address.clone(), (*event).to_owned(), code.clone()))
            .collect();
        assert_eq!(delivery(&stack, &id).await, expected, "{name}: {}", stack.story(&id));
        assert_eq!(stack.outcome(&id).await.unwrap()["status"], status);
    }
}

#[tokio::test]
async fn deliveries_are_not_told_unless_asked_for() {
    let stack = stack().await;
    let id = send(&stack, "info@in.example", 1).await;
    assert_eq!(delivery(&stack, &id).await, []);
    let told = stack.until(&id, |events| {
        events.iter().find_map(|event| match event {
            Event::Feedback { to, .. } => Some(to.clone()),
            _ => None,
        })
    });
    assert_eq!(told.await, [""; 0]);
}

/// Whatever order the events come in, and however often.
#[tokio::test]
async fn late_doubled_and_reordered_events_leave_the_right_state() {
    let stack = stack().await;
    let id = send(&stack, "info@in.example", 1).await;
    let outcome = stack.outcome(&id).await.unwrap();
    let day = outcome["timestamp"].as_str().unwrap()[..10].to_owned();
    let event = |kind: &str, name: &str, object: Value| {
        let tags = json!({"forwarder-message": [id], "forwarder-day": [day]});
        let mail = json!({"messageId": outcome["sent"][0]["messageId"], "tags": tags});
        json!({"source": "aws.ses", "detail": {"eventType": kind, "mail": mail, name: object}})
    };
    let at = |second: u32| format!("2026-11-26T10:00:{second:02}.000Z");
    let delivered =
        event("Delivery", "delivery", json!({"timestamp": at(5), "recipients": ["Info@out.example"]}));
    let recipient = json!([{"emailAddress": "info@out.example", "status": "4.4.1"}]);
    let delayed =
        event("DeliveryDelay", "deliveryDelay", json!({"timestamp": at(1), "delayedRecipients": recipient}));
    // Of mail that is not ours, of a message that nothing is known of, and none at all.
    let strange =
        json!({"source": "aws.ses", "detail": {"eventType": "Delivery", "mail": {"messageId": "x"}}});
    for event in [&delivered, &strange, &delayed, &delivered, &delayed] {
        tell(&stack, event);
    }
    stack.emptied().await;
    let expected = [("delayed", json!("4.4.1")), ("delivered", json!(null))]
        .map(|(event, code)| ("info@out.example".to_owned(), event.to_owned(), code));
    assert_eq!(delivery(&stack, &id).await, expected);
    assert_eq!((stack.published().len(), suspended(&stack).await), (0, Value::Null));
}

#[tokio::test]
async fn an_event_that_is_quicker_than_the_record_waits_for_it() {
    let stack = stack().await;
    let tags = json!({"forwarder-message": ["m1"], "forwarder-day": ["2026-11-23"]});
    let detail = json!({
        "eventType": "Delivery",
        "mail": {"messageId": "s1", "tags": tags},
        "delivery": {"timestamp": "2026-11-23T10:00:05Z", "recipients": ["info@out.example"]},
    });
    let body = json!({"source": "aws.ses", "detail": detail}).to_string();
    let batch = |sent: std::time::SystemTime| {
        let millis = sent.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
        json!({"Records": [{"messageId": "q1", "body": body, "attributes": {"SentTimestamp": millis}}]})
    };
    let now = std::time::SystemTime::now();
    let kept = json!({"batchItemFailures": [{"itemIdentifier": "q1"}]});
    assert_eq!(stack.invoke(FUNCTION, &batch(now)).await, Ok(kept));
    let old = now - std::time::Duration::from_secs(2 * 60 * 60);
    assert_eq!(
        stack.invoke(FUNCTION, &batch(old)).await,
        Ok(no_failures()),
        "nothing will be recorded any more"
    );
    let outcome = json!({
        "messageId": "m1", "timestamp": "2026-11-23T10:00:00Z", "status": "forwarded", "reason": null,
        "recipients": [], "destinations": [], "error": null, "requestId": "r", "bytes": 1, "forwardMillis": null,
        "sent": [{"messageId": "s1", "destinations": ["info@out.example"]}],
    });
    stack.put_object("outcome/2026/11/23/m1.json", outcome.to_string()).await;
    assert_eq!(stack.invoke(FUNCTION, &batch(now)).await, Ok(no_failures()));
    assert_eq!(delivery(&stack, "m1").await.len(), 1);
}

/// SES has taken a send whose answer never came, or that is not recorded yet: nobody else has refused anything.
#[tokio::test]
async fn a_refusal_of_a_send_that_is_not_on_record_is_nobody_else_s() {
    let stack = stack().await;
    let outcome = |sent: Value| {
        json!({
            "messageId": "m1", "timestamp": "2026-11-23T10:00:00Z", "status": "forwarded", "reason": null,
            "recipients": [], "destinations": [], "error": null, "requestId": "r", "bytes": 1,
            "forwardMillis": null, "sent": sent,
        })
    };
    let key = "outcome/2026/11/23/m1.json";
    let ann = json!({"messageId": "s1", "destinations": ["ann@out.example"]});
    let boss = json!({"messageId": "s2", "destinations": ["boss@out.example"]});
    let tags = json!({"forwarder-message": ["m1"], "forwarder-day": ["2026-11-23"]});
    let recipient = json!([{"emailAddress": "boss@out.example", "status": "5.1.1"}]);
    let detail = json!({
        "eventType": "Bounce",
        "mail": {"messageId": "s2", "tags": tags},
        "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": recipient},
    });
    let body = json!({"source": "aws.ses", "detail": detail}).to_string();
    let letter = json!({"Records": [{"messageId": "q1", "body": body, "attributes": {}}]});
    let age = |hours: u64| aged(letter.clone(), std::time::Duration::from_secs(hours * 60 * 60));
    let kept = json!({"batchItemFailures": [{"itemIdentifier": "q1"}]});
    for sent in [json!([]), json!([ann])] {
        stack.put_object(key, outcome(sent).to_string()).await;
        assert_eq!(stack.invoke(FUNCTION, &age(0)).await, Ok(kept.clone()), "it may be recorded yet");
        assert_eq!(stack.invoke(FUNCTION, &age(2)).await, Ok(no_failures()), "it will not be any more");
        assert_eq!((delivery(&stack, "m1").await, suspended(&stack).await), (vec![], Value::Null));
    }
    stack.put_object(key, outcome(json!([ann, boss])).to_string()).await;
    assert_eq!(stack.invoke(FUNCTION, &age(0)).await, Ok(no_failures()));
    let bounced = ("boss@out.example".to_owned(), "bounced".to_owned(), json!("5.1.1"));
    assert_eq!(delivery(&stack, "m1").await, [bounced]);
    let held = suspended(&stack).await;
    assert_eq!(held["destinations"].as_object().unwrap().keys().collect::<Vec<_>>(), ["boss@out.example"]);
}

/// A route names it, so its owner is told.
#[tokio::test]
async fn who_refuses_for_good_is_told_once_and_mail_for_him_is_held() {
    let stack = stack().await;
    stack
        .put_object(
            "config/routes.toml",
            "[routes]\n\"info\" = [\"ann@else.example\", \"bob@else.example\"]\n",
        )
        .await;
    arm(&stack, "ses:Deliver(ann@)=bounce");
    let first = send(&stack, "info@in.example", 1).await;
    assert_eq!(
        delivery(&stack, &first).await,
        [("ann@else.example".to_owned(), "bounced".to_owned(), json!("5.1.1"))]
    );
    let told = stack.published();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].subject, "[ses-forwarder] Mail for ann@else.example is held");
    let command = "\nses-forwarder resume --region us-east-1 --stack ses-forwarder ann@else.example\n";
    assert!(told[0].text.contains(command), "{}", told[0].text);
    assert_eq!(notices(&stack).len(), 1);

    // Part of its destinations: the other has it.
    later(&stack);
    let second = send(&stack, "info@in.example", 2).await;
    let outcome = stack.outcome(&second).await.unwrap();
    assert_eq!((&outcome["status"], &outcome["reason"]), (&json!("held"), &json!("suspended")), "{outcome}");
    assert_eq!(outcome["sent"][0]["destinations"], json!(["bob@else.example"]));
    assert_eq!(stack.published().len(), 1, "it is told once");
    assert_eq!(forwarded(&stack).len(), 2);
}

/// Lets the list that the functions have read grow old.
fn later(stack: &Stack) {
    // An instance that starts anew has read none.
    stack.lambda().stop();
}

#[tokio::test]
async fn a_refusal_that_could_not_be_told_is_told_later() {
    for faults in [
        // No channel takes it.
        &["ses:SendEmail(forwarder-notice@)=access-denied*1", "sns:Publish=access-denied*1"][..],
        // What has been told is not known.
        &["s3:GetObject(error/notices/state/bounces)=access-denied*1"],
        // It is on record, and the function ends.
        &["s3:PutObject(error/notices/state/bounces)=kill-before@1"],
    ] {
        let stack = stack().await;
        faults.iter().for_each(|fault| arm(&stack, fault));
        let id = send(&stack, "content@in.example", 1).await;
        let told = stack.published();
        assert_eq!((told.len(), notices(&stack).len()), (1, 1), "{faults:?}: {}", stack.story(&id));
        let text = &told[0].text;
        assert!(text.contains(&id) && text.contains("refused a message for what is in it"), "{text}");
        assert_eq!(delivery(&stack, &id).await.len(), 1, "{faults:?}");
    }
}

/// Feedback forwarding is on, so SES reports by mail what it tells by an event.
#[tokio::test]
async fn a_refusal_that_is_reported_twice_is_told_once() {
    let stack = stack().await;
    arm(&stack, "ses:Deliver=content");
    stack.put_object("config/routes.toml", "[routes]\n\"info\" = \"ann@else.example\"\n").await;
    send(&stack, "info@in.example", 1).await;
    let reports = || {
        let entries = stack.journal().entries();
        let is_report = |event: &Event| matches!(event, Event::Received { from: None, .. });
        entries
            .iter()
            .filter(|entry| is_report(&entry.event))
            .map(|entry| entry.message_id.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let report = stack.eventually(|| async { reports().pop() }).await;
    stack.settled(&report).await;
    stack.emptied().await;
    let outcome = stack.outcome(&report).await.unwrap();
    assert_eq!((&outcome["status"], &outcome["reason"]), (&json!("dropped"), &json!("bounce")), "{outcome}");
    assert_eq!(outcome["delivery"][0]["destination"], "ann@else.example", "{outcome}");
    let told = stack.published();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].subject, "[ses-forwarder] 1 forwarded message was refused by its destination");
    assert!(told[0].text.contains("It refused a message for what is in it. (5.7.1)"), "{}", told[0].text);
    assert_eq!(suspended(&stack).await["destinations"]["ann@else.example"]["suspended"], Value::Null);
}

#[tokio::test]
async fn a_complaint_holds_mail_of_that_sender_alone() {
    let stack = stack().await;
    stack.put_object("config/routes.toml", "[routes]\n\"info\" = \"ann@else.example\"\n").await;
    arm(&stack, "ses:Deliver=complaint*1");
    send(&stack, "info@in.example", 1).await;
    let told = stack.published();
    assert!(told[0].text.contains("called a message of jane@example.com spam (abuse)"), "{told:?}");
    later(&stack);
    let held = send(&stack, "info@in.example", 2).await;
    let outcome = stack.outcome(&held).await.unwrap();
    assert_eq!((&outcome["status"], &outcome["reason"]), (&json!("held"), &json!("complaint")), "{outcome}");
    let bob = b"From: bob@example.com\r\nSubject: 3\r\n\r\nHello\r\n";
    let bob = stack.send(Some("bob@example.com"), &["info@in.example"], bob).await.unwrap();
    stack.settled(&bob).await;
    assert_eq!(stack.outcome(&bob).await.unwrap()["status"], "forwarded");
    assert_eq!(stack.published().len(), 1);
}

/// Whom it is of is read from the archive; as long as that can't be had, the complaint waits.
#[tokio::test]
async fn a_complaint_waits_for_the_name_of_who_sent_the_message() {
    let stack = stack().await;
    stack.put_object("config/routes.toml", "[routes]\n\"info\" = \"ann@else.example\"\n").await;
    arm(&stack, "s3:GetObject(index/)=access-denied*1");
    arm(&stack, "ses:Deliver=complaint*1");
    let id = send(&stack, "info@in.example", 1).await;
    let told = stack.told(1).await;
    assert!(told[0].text.contains("called a message of jane@example.com spam (abuse)"), "{told:?}");
    assert_eq!(delivery(&stack, &id).await.len(), 1);
    later(&stack);
    let held = send(&stack, "info@in.example", 2).await;
    assert_eq!(stack.outcome(&held).await.unwrap()["reason"], "complaint");
}

/// Nobody is told of names that somebody made up.
#[tokio::test]
async fn a_name_that_only_the_default_route_led_to_is_listed_and_not_told() {
    let stack = stack().await;
    arm(&stack, "ses:Deliver(made-up)=bounce");
    send(&stack, "made-up@in.example", 1).await;
    let list = suspended(&stack).await;
    let known = &list["destinations"]["made-up@out.example"];
    assert_eq!((&known["unnamed"], &known["suspended"]["code"]), (&json!(true), &json!("5.1.1")), "{list}");
    later(&stack);
    let second = send(&stack, "made-up@in.example", 2).await;
    assert_eq!(stack.outcome(&second).await.unwrap()["status"], "held");
    assert_eq!((stack.published().len(), notices(&stack).len()), (0, 0));
}

/// Whether it is none, or can't be had.
#[tokio::test]
async fn a_list_that_can_not_be_read_holds_nothing() {
    let stack = stack().await;
    for (number, list) in
        ["", "{", "[]", "{\"destinations\": {\"info@out.example\": 5}}"].into_iter().enumerate()
    {
        stack.put_object(SUSPENDED, list).await;
        later(&stack);
        let id = send(&stack, "info@in.example", number).await;
        assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded", "{list}");
    }
    let held = json!({"destinations": {"info@out.example": {"suspended": {"at": "2026-11-26T10:00:00Z", "messageId": "m1"}}}});
    stack.put_object(SUSPENDED, held.to_string()).await;
    for fault in
        ["s3:GetObject(state/)=access-denied", "s3:GetObject(state/)=500", "s3:GetObject(state/)=truncate"]
    {
        arm(&stack, fault);
        later(&stack);
        let id = send(&stack, "info@in.example", 9).await;
        assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded", "{fault}");
        stack.faults().clear();
    }
    later(&stack);
    let id = send(&stack, "info@in.example", 10).await;
    assert_eq!(stack.outcome(&id).await.unwrap()["status"], "held");
}

#[tokio::test]
async fn who_did_not_take_a_message_for_its_size_gets_a_stub_once() {
    for (on_refused, stubs) in [("stub", 1), ("notice", 0)] {
        let stack = stack_with(&[("OnRefused", on_refused)]).await;
        stack
            .put_object(
                "config/routes.toml",
                "[routes]\n\"info\" = [\"large@out.example\", \"ann@out.example\"]\n",
            )
            .await;
        let id = stack
            .send(Some("jane@x.example"), &["info@in.example"], b"Subject: Film\r\n\r\nHi\r\n")
            .await
            .unwrap();
        assert_eq!(stack.settled(&id).await, End::Returned);
        // The mailbox takes no stub either, which is told.
        stack.told(1).await;
        stack.emptied().await;
        let sent: Vec<Vec<String>> = forwarded(&stack).into_iter().map(|mail| mail.destinations).collect();
        let mut expected = vec![vec!["large@out.example".to_owned(), "ann@out.example".to_owned()]];
        expected.extend((0..stubs).map(|_| vec!["large@out.example".to_owned()]));
        assert_eq!(sent, expected, "{}", stack.story(&id));
        let outcome = stack.outcome(&id).await.unwrap();
        assert_eq!(outcome["status"], "forwarded");
        let marked = outcome["sent"].as_array().unwrap().iter().filter(|sent| sent["stub"] == true).count();
        let bounced = outcome["delivery"].as_array().unwrap().len();
        assert_eq!((marked, bounced), (stubs, 1 + stubs), "{outcome:#}");
        let stub = forwarded(&stack).pop().unwrap().raw;
        let stub = String::from_utf8_lossy(&stub).into_owned();
        assert_eq!(stub.starts_with("X-Forwarder-Stub: too-large-for-mailbox\r\n"), stubs == 1, "{stub}");
        assert!(stack.published()[0].text.contains("It refused a message as too large."));
    }
}

const OWNER: &str = "info@out.example";

/// Mail of somebody's for an alias, and its owner's answer to it.
async fn answer(stack: &Stack, name: &str) -> String {
    let from = format!("{name}@example.com");
    let letter = format!("From: {from}\r\nTo: info@in.example\r\nSubject: Hello\r\n\r\nHi\r\n");
    let id = stack.send(Some(&from), &["info@in.example"], letter.as_bytes()).await.unwrap();
    stack.settled(&id).await;
    let signed = forwarded(stack).pop().unwrap().from;
    let answer = format!("From: {OWNER}\r\nTo: {signed}\r\nSubject: Re: Hello\r\n\r\nHello\r\n");
    let id = stack.send(Some(OWNER), &[&signed], answer.as_bytes()).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    heard(stack, &id).await;
    id
}

#[tokio::test]
async fn who_refuses_an_answer_is_not_suspended_and_its_author_alone_is_told() {
    let stack = stack_with(&[("Replies", "on")]).await;
    arm(&stack, "ses:Deliver(jane@)=bounce*1");
    let id = answer(&stack, "jane").await;
    let outcome = stack.outcome(&id).await.unwrap();
    assert_eq!(
        (&outcome["status"], &outcome["sent"][0]["alias"]),
        (&json!("forwarded"), &json!("info@in.example"))
    );
    let bounced = ("jane@example.com".to_owned(), "bounced".to_owned(), json!("5.1.1"));
    assert_eq!(delivery(&stack, &id).await, [bounced]);
    let is_report = |mail: &SentMail| mail.raw.windows(13).any(|part| part == b"MAILER-DAEMON");
    let report = stack.eventually(|| async { forwarded(&stack).into_iter().find(is_report) }).await;
    assert_eq!(report.destinations, [OWNER]);
    stack.emptied().await;
    assert_eq!((stack.published().len(), suspended(&stack).await), (0, Value::Null));
}

#[tokio::test]
async fn a_complaint_of_an_answer_holds_those_of_its_author() {
    let stack = stack_with(&[("Replies", "on")]).await;
    arm(&stack, "ses:Deliver(jane@)=complaint*1");
    answer(&stack, "jane").await;
    let told = stack.published();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].text.contains("called a message of info@out.example spam (abuse)"), "{told:?}");
    later(&stack);
    let held = answer(&stack, "jane").await;
    let outcome = stack.outcome(&held).await.unwrap();
    assert_eq!((&outcome["status"], &outcome["reason"]), (&json!("held"), &json!("complaint")), "{outcome}");
    let bob = answer(&stack, "bob").await;
    assert_eq!(stack.outcome(&bob).await.unwrap()["status"], "forwarded");
    assert_eq!(stack.published().len(), 1, "it is told once");
}
