//! The queue that looks after itself: the real functions against the whole stack, whose clocks run a
//! thousand times as fast as on AWS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{SAMPLE, arm, forwarded, notices, pause, stack, stack_with};
use serde_json::json;
use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{Config, Stack};

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
    let outcome = stack.outcome(&ids[0]).await.unwrap();
    assert_eq!(outcome["status"], "failed");
    assert!(outcome["nextTry"].is_string(), "{outcome}");

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
    assert!(outcome["tries"].as_u64().unwrap() >= 3, "{outcome}");
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

#[tokio::test]
async fn two_letters_of_a_message_send_it_once() {
    let stack = stack().await;
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

#[tokio::test]
async fn without_leave_to_go_round_lambda_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default();
    let template = std::fs::read_to_string(&config.template).unwrap();
    let edited = template.replace("RecursiveLoop: Allow", "RecursiveLoop: Terminate");
    assert_ne!(edited, template);
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, edited).unwrap();
    let mut config =
        Config { template: path, pace: ses_forwarder_local_aws::pace::Pace::times(10_000), ..config };
    config.parameters.insert("RetryHours".to_owned(), "96".to_owned());
    let stack = Stack::start(config).await.unwrap();
    pause(&stack, true);
    let id = send(&stack).await;
    let End::Lost(error) = stack.settled(&id).await else { panic!("{}", stack.story(&id)) };
    assert!(error.starts_with("RecursiveInvocationException"), "{error}");
    assert!(tries(&stack, &id) < 17, "{}", stack.story(&id));
}
