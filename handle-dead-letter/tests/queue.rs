//! The queue that looks after itself: the real functions against the whole stack, whose clocks run a
//! thousand times as fast as on AWS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, pin::pin, time::Duration};

use common::{
    FUNCTION, SAMPLE, SAMPLE_ID, aged, arm, event, failures, forwarded, no_failures, notices, pause, stack,
    stack_with,
};
use futures_util::future::{Either, join_all, select};
use serde_json::{Value, json};
use ses_forwarder_local_aws::{
    journal::{End, Event},
    pace::Pace,
};
use ses_forwarder_local_stack::{Config, Published, Stack};

async fn send(stack: &Stack) -> String {
    stack.send(Some("jane@example.com"), &["info@in.example"], SAMPLE).await.unwrap()
}

/// Invocations of `handle-email` for a message.
fn tries(stack: &Stack, id: &str) -> usize {
    let entries = stack.journal().of(id);
    let email =
        |event: &Event| matches!(event, Event::Invoked { function, .. } if function.contains("HandleEmail"));
    entries.iter().filter(|entry| email(&entry.event)).count()
}

#[tokio::test]
async fn what_fails_once_comes_through_without_a_word() {
    for fault in ["s3:GetObject(messages/)=500*3", "ses:SendEmail=kill-before@1", "ses:SendEmail=throttle@1"]
    {
        let stack = stack().await;
        arm(&stack, fault);
        let id = send(&stack).await;
        emptied_after(&stack, &id).await;
        assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded", "{fault}: {}", stack.story(&id));
        assert_eq!((forwarded(&stack).len(), stack.published().len()), (1, 0), "{fault}");
    }
}

/// Waits until a message is through and its letter, if there was one, off the queue.
async fn emptied_after(stack: &Stack, id: &str) {
    stack.settled(id).await;
    stack.emptied().await;
}

#[tokio::test]
async fn an_outage_is_told_once_and_ends_by_itself() {
    let stack = stack().await;
    pause(&stack, true);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(send(&stack).await);
    }
    let told = stack.told(1).await;
    assert_eq!(told[0].subject, "[ses-forwarder] Mail is delayed: SendingPausedException");
    assert!(told[0].text.contains("\nIt is tried again by itself until "), "{}", told[0].text);
    assert!(!told[0].text.contains("Try again"), "no command: {}", told[0].text);
    // Between the tries: during one there is no next.
    let waits = || async {
        let outcome = stack.outcome(&ids[0]).await.unwrap();
        (outcome["status"] == "failed" && outcome["nextTry"].is_string()).then_some(())
    };
    stack.eventually(waits).await;

    pause(&stack, false);
    stack.emptied().await;
    for id in &ids {
        let outcome = stack.outcome(id).await.unwrap();
        assert_eq!(outcome["status"], "forwarded", "{}", stack.story(id));
    }
    assert_eq!(forwarded(&stack).len(), ids.len());
    let subjects: Vec<_> = stack.published().into_iter().map(|told| told.subject).collect();
    assert_eq!(subjects, [told[0].subject.as_str(), "[ses-forwarder] Mail goes out again"]);
    // By mail too, unless SES was still paused when the first one went out.
    let mails = notices(&stack).len();
    assert!((1..=2).contains(&mails), "{mails}");
}

#[tokio::test]
async fn what_lasts_longer_than_it_is_tried_is_told_once_with_the_command() {
    let stack = stack_with(&[("RetryHours", "1")]).await;
    pause(&stack, true);
    let id = send(&stack).await;
    emptied_after(&stack, &id).await;
    let last = stack.published().pop().unwrap();
    assert_eq!(last.subject, "[ses-forwarder] 1 message could not be forwarded");
    assert!(last.text.contains("\nTry again:\naws s3 cp "), "{}", last.text);
    let outcome = stack.outcome(&id).await.unwrap();
    assert_eq!(
        (&outcome["status"], &outcome["reason"]),
        (&json!("failed"), &json!("SendingPausedException"))
    );
    assert_eq!(outcome.get("nextTry"), None, "{outcome}");
    // How many there is time for depends on how long each takes.
    let again = tries(&stack, &id) - 1;
    assert!(again >= 1 && outcome["tries"] == again, "{again}, and {outcome}");
    let given_up = stack.published().iter().filter(|told| told.subject == last.subject).count();
    assert_eq!(given_up, 1);
}

#[tokio::test]
async fn what_a_person_has_to_mend_is_told_at_once_and_then_comes_through() {
    let stack = stack().await;
    stack.services().ses().configure(|account| account.suspended = true);
    let id = send(&stack).await;
    let told = stack.told(1).await;
    assert_eq!(told[0].subject, "[ses-forwarder] Mail waits for you: AccountSuspendedException");
    assert!(told[0].text.contains("\nWhat failed  AWS has shut down sending"), "{}", told[0].text);
    assert!(told[0].text.contains("with no command to type"), "{}", told[0].text);

    stack.services().ses().configure(|account| account.suspended = false);
    stack.emptied().await;
    assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded");
    assert_eq!(stack.told(2).await[1].subject, "[ses-forwarder] Mail goes out again");
}

#[tokio::test]
async fn an_identity_that_is_not_verified_is_told_at_once_and_mail_goes_out_once_it_is() {
    let stack = stack().await;
    stack.services().ses().configure(|account| account.identities.clear());
    let id = send(&stack).await;
    // SES does not take the notice either.
    let told = stack.told(1).await;
    assert_eq!(told[0].subject, "[ses-forwarder] Mail waits for you: MessageRejected");
    for words in [
        "\nWhat failed  SES does not know the sender's domain as verified",
        " Verify the identities that the error names",
        "jane_example.com@in.example",
        "with no command to type",
    ] {
        assert!(told[0].text.contains(words), "{words} is not in\n{}", told[0].text);
    }
    assert_eq!(stack.outcome(&id).await.unwrap()["status"], "failed", "it is no refusal of the message");

    stack.services().ses().configure(|account| {
        account.identities.insert("in.example".to_owned());
    });
    stack.emptied().await;
    assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded", "{}", stack.story(&id));
    assert_eq!(forwarded(&stack).len(), 1);
    let subjects: Vec<_> = stack.published().into_iter().map(|told| told.subject).collect();
    assert_eq!(subjects, [told[0].subject.as_str(), "[ses-forwarder] Mail goes out again"]);
    let logged = |line: &&(String, String)| line.0.contains("HandleEmail") && line.1.contains("not verified");
    assert_eq!(
        stack.logs().iter().filter(logged).count(),
        tries(&stack, &id) - 1,
        "each failure is logged once"
    );
}

#[tokio::test]
async fn a_bounce_fails_once_and_is_told() {
    let stack = stack().await;
    let report = b"From: MAILER-DAEMON@amazonses.com\r\nTo: jane_example.com@in.example\r\n\
                   Content-Type: multipart/report; report-type=delivery-status\r\n\r\nrefused\r\n";
    let id = stack.send(None, &["jane_example.com@in.example"], report).await.unwrap();
    emptied_after(&stack, &id).await;
    assert_eq!(tries(&stack, &id), 1, "{}", stack.story(&id));
    let told = stack.published();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].text.starts_with("1 forwarded message was refused by its destination"),
        "{}",
        told[0].text
    );
}

/// SES has accepted a copy each time, perhaps.
#[tokio::test]
async fn an_answer_that_is_lost_is_no_reason_to_go_on_for_days() {
    let stack = stack().await;
    arm(&stack, "ses:SendEmail(jane_example.com@)=reset-after");
    let id = send(&stack).await;
    emptied_after(&stack, &id).await;
    assert_eq!(tries(&stack, &id), 3, "{}", stack.story(&id));
    let told = stack.published();
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("\nBeware       SES did not answer, so the message may have been sent"));
}

/// What was surely not sent is tried again however often it fails.
#[tokio::test]
async fn a_function_that_ends_before_it_sends_is_no_reason_to_give_up() {
    let stack = stack().await;
    arm(&stack, "s3:GetObject(messages/)=kill-before*4");
    let id = send(&stack).await;
    emptied_after(&stack, &id).await;
    assert_eq!(tries(&stack, &id), 5, "{}", stack.story(&id));
    assert_eq!(stack.outcome(&id).await.unwrap()["doubts"], 1, "only the first had claimed it");
    assert_eq!(forwarded(&stack).len(), 1);
    let given_up = |told: &Published| told.subject.contains("could not be forwarded");
    assert!(!stack.published().iter().any(given_up));
}

#[tokio::test]
async fn two_letters_of_a_message_send_it_once() {
    // What waits for an hour would be told: here that is half a minute.
    let stack = Stack::start(Config { pace: Pace::times(100), ..Config::default() }).await.unwrap();
    pause(&stack, true);
    let id = send(&stack).await;
    let queue = stack.services().queue(&stack.deployment().queues[0].arn).unwrap();
    stack
        .until(&id, |events| {
            events.iter().any(|event| matches!(event, Event::DeadLettered { .. })).then_some(())
        })
        .await;
    let index = stack.keys("index/").await;
    let notification = stack.object(&index[0]).await.unwrap();
    queue.send(std::str::from_utf8(&notification).unwrap(), BTreeMap::new());
    pause(&stack, false);
    stack.emptied().await;
    assert_eq!(forwarded(&stack).len(), 1, "{}", stack.story(&id));
    assert_eq!(stack.published(), []);
}

/// What the queue hands out of a letter about a message that is there.
async fn letter_of(stack: &Stack, age: Duration) -> Value {
    let letter = aged(event("dead-letter-event"), age);
    stack.put_object(&format!("messages/{SAMPLE_ID}"), SAMPLE).await;
    letter
}

/// The notification in it.
fn notification(letter: &Value) -> Value {
    let failed: Value = serde_json::from_str(letter["Records"][0]["body"].as_str().unwrap()).unwrap();
    failed["Records"][0]["ses"].clone()
}

/// A record of the request that the letter is about, or of another.
fn record(status: &str, request_id: &str) -> String {
    json!({
        "messageId": SAMPLE_ID, "timestamp": "2026-11-20T09:14:33.512Z", "status": status, "reason": "Timeout",
        "recipients": ["info@in.example"], "destinations": [], "sent": [], "error": null,
        "requestId": request_id, "bytes": 7, "forwardMillis": null, "tries": 1,
    })
    .to_string()
}

const KEY: &str = "outcome/2026/11/20/5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01.json";
const INDEX: &str = "index/2026/11/20/5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01.json";
const REQUEST: &str = "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b01";

/// Waits until the functions have called this.
async fn called(stack: &Stack, wanted: &str, key: &str) {
    let matches = |event: &Event| matches!(event, Event::Called { action, resource, .. } if action == wanted && resource.contains(key));
    stack.until(SAMPLE_ID, |events| events.iter().any(|event| matches(event)).then_some(())).await;
}

/// Both at once, of which one is held by a fault until the other has ended.
async fn past_each_other<A, B>(
    stack: &Stack,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    match select(pin!(one), pin!(other)).await {
        Either::Left((one, other)) => {
            stack.faults().clear();
            (one, other.await)
        }
        Either::Right((other, one)) => {
            stack.faults().clear();
            (one.await, other)
        }
    }
}

/// The queue may hand out a letter again while it is being tried.
#[tokio::test]
async fn of_two_copies_of_a_letter_at_once_one_is_tried() {
    let begun = ("s3:PutObject", "outcome/");
    let cases = [
        // The second copy comes when the first one's try is counted, and not yet begun.
        ("s3:PutObject(index/)=held@1", begun),
        // Or when it has claimed the message.
        ("ses:SendEmail(jane)=held@1", ("s3:GetObject", "messages/")),
        // Or when nobody has done anything.
        ("s3:GetObject(outcome/)=held@1", ("s3:GetObject", "outcome/")),
    ];
    for (fault, (action, key)) in cases {
        let stack = stack().await;
        let letter = letter_of(&stack, Duration::from_secs(600)).await;
        stack.put_object(KEY, record("failed", REQUEST)).await;
        arm(&stack, fault);
        let second = async {
            if !fault.contains("GetObject") {
                called(&stack, action, key).await;
            }
            stack.invoke(FUNCTION, &letter).await
        };
        let (first, second) = past_each_other(&stack, stack.invoke(FUNCTION, &letter), second).await;
        assert!(first.is_ok() && second.is_ok(), "{fault}: {first:?} {second:?}");
        assert_eq!(forwarded(&stack).len(), 1, "{fault}: {}", stack.story(SAMPLE_ID));
        assert_eq!(stack.outcome(SAMPLE_ID).await.unwrap()["status"], "forwarded", "{fault}");
    }
}

/// The account runs as many functions as it may: nobody's time is up for that.
#[tokio::test]
async fn where_no_function_is_free_all_letters_are_tried_soon() {
    let stack = stack().await;
    let mut letters = letter_of(&stack, Duration::from_secs(97 * 60 * 60)).await;
    let mut other = letters["Records"][0].clone();
    other["messageId"] = "queue-m2".into();
    other["messageAttributes"]["RequestID"]["stringValue"] = "r2".into();
    other["body"] = other["body"].as_str().unwrap().replace(SAMPLE_ID, "m2").into();
    letters["Records"].as_array_mut().unwrap().push(other);
    stack.put_object("messages/m2", SAMPLE).await;
    arm(&stack, "lambda:Invoke=throttle*1");
    let before = time::OffsetDateTime::now_utc();
    assert_eq!(stack.invoke(FUNCTION, &letters).await, Ok(failures(&letters)));
    for id in [SAMPLE_ID, "m2"] {
        let outcome = stack.outcome(id).await.unwrap();
        let next = outcome["nextTry"].as_str().expect("it is not given up");
        let next = time::OffsetDateTime::parse(next, &time::format_description::well_known::Rfc3339).unwrap();
        assert!(next - before < time::Duration::minutes(5), "{outcome}");
    }
    assert_eq!(stack.invoke(FUNCTION, &letters).await, Ok(no_failures()));
    assert_eq!(forwarded(&stack).len(), 2);
}

/// However young it is: its time is the one that is on record.
#[tokio::test]
async fn what_was_put_off_is_tried_when_it_comes_back() {
    let stack = stack().await;
    let mut letter = letter_of(&stack, Duration::from_secs(10)).await;
    letter["Records"][0]["messageAttributes"]["ErrorMessage"]["stringValue"] =
        "GetObject failed: Timeout: no answer in time".into();
    arm(&stack, "lambda:Invoke=throttle*1");
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(failures(&letter)));
    let letter = aged(letter, Duration::from_secs(80));
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(failures(&letter)), "it is not back yet");
    let mut outcome = stack.outcome(SAMPLE_ID).await.unwrap();
    outcome["nextTry"] = "2026-11-23T10:00:00Z".into();
    stack.put_object(KEY, outcome.to_string()).await;
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(no_failures()));
    assert_eq!(forwarded(&stack).len(), 1);
}

/// One try has not enough time for all sends. The next one is made at once, as SES takes them.
#[tokio::test]
async fn what_takes_several_invocations_is_one_try() {
    let function_timeout = Some(Duration::from_secs(20));
    let faults = vec!["ses:SendEmail=slow:2500".parse().unwrap()];
    let stack = Stack::start(Config { faults, function_timeout, ..Config::default() }).await.unwrap();
    let blind: Vec<String> = (0..9).map(|number| format!("r{number}@in.example")).collect();
    let blind: Vec<&str> = blind.iter().map(String::as_str).collect();
    let id = stack.send(Some("jane@example.com"), &blind, SAMPLE).await.unwrap();
    emptied_after(&stack, &id).await;
    assert_eq!(forwarded(&stack).len(), 9, "{}", stack.story(&id));
    let outcome = stack.outcome(&id).await.unwrap();
    assert_eq!(
        (&outcome["status"], &outcome["tries"]),
        (&json!("forwarded"), &json!(1)),
        "{}",
        stack.story(&id)
    );
}

/// A person has the message tried again while the queue does.
#[tokio::test]
async fn a_dead_letter_beside_a_redrive_sends_once_whichever_call_is_held() {
    let calls = [
        "s3:PutObject(index/)",
        "s3:GetObject(index/)",
        "s3:GetObject(outcome/)",
        "s3:PutObject(outcome/)",
        "s3:GetObject(messages/)",
        "s3:GetObject(config/)",
        "ses:SendEmail",
    ];
    // Whether the notification is archived, and what is recorded.
    let befores = [(false, None), (true, None), (true, Some("failed")), (true, Some("rejected"))];
    for (archived, recorded) in befores {
        let trials = calls.into_iter().flat_map(|call| [1, 2].map(|nth| format!("{call}=held@{nth}")));
        let trials = trials.map(async |fault| {
            let name = format!("{fault}, {archived}, {recorded:?}");
            let stack = stack().await;
            let letter = letter_of(&stack, Duration::from_secs(600)).await;
            let notification = notification(&letter);
            if archived {
                stack.put_object(INDEX, notification.to_string()).await;
            }
            if let Some(status) = recorded {
                stack.put_object(KEY, record(status, "another")).await;
            }
            arm(&stack, &fault);
            let redrive = stack.invoke("HandleEmailFunction", &notification);
            let (redriven, _) = past_each_other(&stack, redrive, stack.invoke(FUNCTION, &letter)).await;
            if let Err(error) = redriven {
                assert_eq!(error.error_type, "InProgress", "{name}: {error}");
            }
            assert_eq!(forwarded(&stack).len(), 1, "{name}: {}", stack.story(SAMPLE_ID));
            assert_eq!(stack.outcome(SAMPLE_ID).await.unwrap()["status"], "forwarded", "{name}");
        });
        let mut trials = trials.collect::<Vec<_>>().into_iter();
        while trials.len() > 0 {
            join_all(trials.by_ref().take(7)).await;
        }
    }
}

/// A redrive that has claimed the message, and recorded nothing yet.
#[tokio::test]
async fn a_redrive_at_work_is_not_disturbed() {
    let stack = stack().await;
    let letter = letter_of(&stack, Duration::ZERO).await;
    let event =
        json!({"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": notification(&letter)}]});
    arm(&stack, "ses:SendEmail=held@1");
    let (redriven, letter_stays) = tokio::join!(stack.invoke("HandleEmailFunction", &event), async {
        called(&stack, "s3:GetObject", "messages/").await;
        let answer = stack.invoke(FUNCTION, &letter).await;
        assert_eq!(stack.outcome(SAMPLE_ID).await, None, "nothing is recorded over its head");
        let third = stack.invoke("HandleEmailFunction", &event).await.unwrap_err();
        assert_eq!(third.error_type, "InProgress", "{third}");
        stack.faults().clear();
        answer == Ok(failures(&letter))
    });
    assert!(redriven.is_ok() && letter_stays, "{redriven:?}");
    assert_eq!(forwarded(&stack).len(), 1);
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(no_failures()));
}

#[tokio::test]
async fn without_leave_to_go_round_lambda_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default();
    let template = std::fs::read_to_string(&config.template).unwrap();
    let edited = template.replace("RecursiveLoop: Allow", "RecursiveLoop: Terminate");
    assert_ne!(edited, template);
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, edited).unwrap();
    let mut config = Config { template: path, pace: Pace::times(10_000), ..config };
    // The longest there is: it stops after some fifty hours, and those pass in twenty seconds.
    config.parameters.insert("RetryHours".to_owned(), "312".to_owned());
    let stack = Stack::start(config).await.unwrap();
    pause(&stack, true);
    let id = send(&stack).await;
    let End::Lost(error) = stack.settled(&id).await else { panic!("{}", stack.story(&id)) };
    assert!(error.starts_with("RecursiveInvocationException"), "{error}");
    assert!(tries(&stack, &id) < 17, "{}", stack.story(&id));
}
