//! One invocation at a time sends a message, and what others recorded is kept: with the real binary, on a
//! stack whose S3 makes conditional writes.

mod common;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::{End, Event};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use self::common::{FUNCTION, about, at_once, calls, event, message, notification, outcome, stack, store};

const INDEX: &str = "index/2026/11/23/m1.json";
const OUTCOME: &str = "outcome/2026/11/23/m1.json";

/// A record that another request left.
fn record(status: &str, claimed_for: Option<i64>, sent: &[&str]) -> String {
    let until = claimed_for.map(|seconds| OffsetDateTime::now_utc() + time::Duration::seconds(seconds));
    let sent: Vec<_> = sent.iter().map(|to| json!({"messageId": "s0", "destinations": [to]})).collect();
    let mut record = json!({
        "messageId": "m1",
        "timestamp": "2026-11-23T10:00:00Z",
        "status": status,
        "reason": null,
        "recipients": ["info@in.example"],
        "destinations": ["info@out.example"],
        "sent": sent,
        "error": null,
        "requestId": "another",
        "bytes": null,
        "forwardMillis": null,
    });
    if let Some(until) = until {
        record["claimedUntil"] = until.format(&Rfc3339).expect("a time of this era").into();
    }
    format!("{record}\n")
}

#[tokio::test]
async fn of_two_and_of_ten_invocations_at_once_one_sends() {
    for count in [2, 10] {
        let stack = stack(&["ses:SendEmail=held"]).await;
        store(&stack, "m1", message()).await;
        let event = about("m1");
        let ends = at_once(&stack, count, &event).await;
        assert_eq!(stack.sent().len(), 1, "{count} at once: {ends:?}");
        assert_eq!(calls(&stack, "ses:SendEmail"), 1, "{count} at once");
        for end in &ends {
            if let Err(error) = end {
                assert_eq!(error.error_type, "InProgress", "{error}");
            }
        }
        assert!(ends.iter().any(Result::is_ok), "{ends:?}");
        assert_eq!(
            stack.invoke(FUNCTION, &event).await.map(|answer| answer["outcomes"].clone()),
            Ok(json!(["forwarded"]))
        );
        assert_eq!(stack.sent().len(), 1);
        assert_eq!(outcome(&stack, "m1").await["status"], "forwarded");
    }
}

#[tokio::test]
async fn a_claim_whose_owner_was_killed_bars_others_and_not_its_own_request() {
    let stack = stack(&["ses:SendEmail=kill-before@1"]).await;
    let id = stack.send(Some("ann@else.example"), &["info@in.example"], message().as_bytes()).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Noticed, "the queue tries again for the same request");
    assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded");
    assert_eq!(stack.sent().len(), 1);

    stack.faults().add("ses:SendEmail=kill-before@1".parse().unwrap());
    store(&stack, "m1", message()).await;
    assert!(stack.invoke(FUNCTION, &about("m1")).await.is_err());
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "InProgress");
    assert_eq!(stack.sent().len(), 1);
}

#[tokio::test]
async fn a_claim_of_another_counts_until_it_has_run_out_by_clocks_a_minute_apart() {
    for (claimed_for, sends) in [(60, 0), (-30, 0), (-70, 1)] {
        let stack = stack(&[]).await;
        store(&stack, "m1", message()).await;
        stack.put_object(INDEX, about("m1")["Records"][0]["ses"].to_string()).await;
        stack.put_object(OUTCOME, record("sending", Some(claimed_for), &[])).await;
        let end = stack.invoke(FUNCTION, &about("m1")).await;
        assert_eq!(end.is_ok(), sends == 1, "{claimed_for}: {end:?}");
        assert_eq!(stack.sent().len(), sends, "{claimed_for}");
    }
}

#[tokio::test]
async fn killed_at_each_call_a_message_is_forwarded_by_the_next_try() {
    let cases = [
        ("s3:PutObject(index/)=kill-before@1", 1),
        ("s3:PutObject(index/)=kill-after@1", 1),
        ("s3:GetObject(messages/)=kill-before@1", 1),
        ("s3:GetObject(config/)=kill-after@1", 1),
        ("ses:SendEmail=kill-before@1", 1),
        // Nobody knows of this one.
        ("ses:SendEmail=kill-after@1", 2),
        ("s3:PutObject(outcome/)=kill-after@1", 1),
    ];
    for (fault, sends) in cases {
        let stack = stack(&[fault]).await;
        let id =
            stack.send(Some("ann@else.example"), &["info@in.example"], message().as_bytes()).await.unwrap();
        assert_eq!(stack.settled(&id).await, End::Noticed, "{fault}");
        assert_eq!(stack.sent().len(), sends, "{fault}");
        assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded", "{fault}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_makes_one_copy_an_invocation() {
    let stack = stack(&["ses:SendEmail=reset-after"]).await;
    store(&stack, "m1", message()).await;
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "ConnectionFailure");
    assert_eq!((stack.sent().len(), calls(&stack, "ses:SendEmail")), (1, 1));
    let record = outcome(&stack, "m1").await;
    assert_eq!((&record["status"], &record["reason"]), (&json!("failed"), &json!("ConnectionFailure")));
}

#[tokio::test]
async fn what_another_recorded_meanwhile_is_kept() {
    for (status, expected) in [("failed", "forwarded"), ("forwarded", "forwarded"), ("rejected", "forwarded")]
    {
        let stack = stack(&["ses:SendEmail=held"]).await;
        store(&stack, "m1", message()).await;
        let event = about("m1");
        let (end, ()) = tokio::join!(stack.invoke(FUNCTION, &event), async {
            let is_held = |event: &&Event| matches!(event, Event::Fault { .. });
            stack.until("m1", |events| events.iter().any(is_held).then_some(())).await;
            stack.put_object(OUTCOME, record(status, None, &["other@out.example"])).await;
            stack.faults().clear();
        });
        assert!(end.is_ok(), "{status}: {end:?}");
        let record = outcome(&stack, "m1").await;
        assert_eq!(record["status"], expected, "over {status}");
        let sent: Vec<_> =
            record["sent"].as_array().unwrap().iter().map(|sent| &sent["destinations"][0]).collect();
        assert_eq!(sent.len(), 2, "over {status}: {record}");
        assert!(sent.contains(&&json!("other@out.example")), "over {status}: {record}");
    }
}

#[tokio::test]
async fn asking_again_does_the_right_thing_whatever_was_recorded() {
    let cases = [("forwarded", 0), ("dropped", 1), ("rejected", 1), ("failed", 1), ("held", 1)];
    for (status, sends) in cases {
        let stack = stack(&[]).await;
        store(&stack, "m1", message()).await;
        stack.put_object(INDEX, about("m1")["Records"][0]["ses"].to_string()).await;
        stack.put_object(OUTCOME, record(status, None, &[])).await;
        for _ in 0..2 {
            let end = stack.invoke(FUNCTION, &about("m1")).await.map(|answer| answer["outcomes"].clone());
            assert_eq!(end, Ok(json!(["forwarded"])), "{status}");
        }
        assert_eq!(stack.sent().len(), sends, "{status}");
    }
}

#[tokio::test]
async fn a_failed_try_gives_its_claim_back() {
    let stack = stack(&[]).await;
    assert!(stack.invoke(FUNCTION, &about("m1")).await.is_err(), "there is no message");
    let record = outcome(&stack, "m1").await;
    assert_eq!((&record["status"], &record["reason"]), (&json!("failed"), &json!("MessageNotFound")));
    store(&stack, "m1", message()).await;
    assert!(stack.invoke(FUNCTION, &about("m1")).await.is_ok(), "another request need not wait");
    let record = outcome(&stack, "m1").await;
    assert_eq!((&record["status"], &record["error"]), (&json!("forwarded"), &Value::Null));
}

#[tokio::test]
async fn a_claim_that_is_over_bars_nobody_however_often_it_fails() {
    let stack = stack(&["ses:SendEmail=access-denied*3"]).await;
    store(&stack, "m1", message()).await;
    for _ in 0..3 {
        let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
        assert_eq!(error.error_type, "AccessDeniedException", "{error}");
    }
    assert!(stack.invoke(FUNCTION, &about("m1")).await.is_ok());
    assert_eq!(stack.sent().len(), 1);
}

/// Whoever could not archive a notification may have recorded a send all the same.
#[tokio::test]
async fn what_does_not_come_from_ses_is_never_the_first_of_its_message() {
    let notification = notification("m1", &["info@in.example"]);
    let mut again = about("m1");
    again["continues"] = json!("another");
    again["tries"] = json!(1);
    for event in [notification, again] {
        let stack = stack(&[]).await;
        store(&stack, "m1", message()).await;
        stack.put_object(OUTCOME, record("failed", None, &["info@out.example"])).await;
        assert!(stack.invoke(FUNCTION, &event).await.is_ok(), "{event}");
        assert_eq!(outcome(&stack, "m1").await["status"], "forwarded");
        assert_eq!(stack.sent(), [], "{event}");
    }
}

#[tokio::test]
async fn of_the_queue_s_tries_the_last_one_counts() {
    let stack = stack(&[]).await;
    store(&stack, "m1", message()).await;
    let mut known: Value = serde_json::from_str(&record("failed", None, &[])).unwrap();
    known["tries"] = json!(2);
    stack.put_object(OUTCOME, known.to_string()).await;
    let mut event = about("m1");
    event["continues"] = json!("another");
    event["tries"] = json!(1);
    let error = stack.invoke(FUNCTION, &event).await.unwrap_err();
    assert_eq!((error.error_type.as_str(), stack.sent().len()), ("InProgress", 0), "{error}");
    event["tries"] = json!(2);
    assert!(stack.invoke(FUNCTION, &event).await.is_ok());
    assert_eq!(stack.sent().len(), 1);
}

#[tokio::test]
async fn a_message_whose_notification_can_not_be_archived_is_forwarded_once() {
    let stack = stack(&["s3:PutObject(index/)=access-denied*2"]).await;
    store(&stack, "m1", message()).await;
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "AccessDenied");
    assert_eq!(outcome(&stack, "m1").await["status"], "forwarded");
    assert!(stack.object(INDEX).await.is_none());
    assert!(stack.invoke(FUNCTION, &about("m1")).await.is_ok());
    assert!(stack.object(INDEX).await.is_some());
    assert_eq!(stack.sent().len(), 1);
}

#[tokio::test]
async fn an_archive_that_was_deleted_makes_no_message_new() {
    let stack = stack(&[]).await;
    store(&stack, "m1", message()).await;
    let file = stack.data().join("buckets").join(stack.bucket()).join("messages/m1");
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    stack.put_object(OUTCOME, record("forwarded", None, &["info@out.example"])).await;
    assert!(stack.invoke(FUNCTION, &about("m1")).await.is_ok());
    assert!(stack.sent().is_empty());
}

#[tokio::test]
async fn errors_keep_their_words_and_logs_hold_no_address() {
    let stack = stack(&[]).await;
    stack
        .put_object(
            "config/routes.toml",
            "[routes]\n\"info@in.example\" = \"jane at out.example\"\n\"a@b@c.example\" = []\n",
        )
        .await;
    store(&stack, "m1", message()).await;
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "InvalidRoutes");
    assert!(error.error_message.contains("a@b@c.example"), "{error}");
    let logged: Vec<_> =
        stack.logs().into_iter().filter(|(_, line)| line.contains("InvalidRoutes")).collect();
    assert_eq!(logged.len(), 1, "each failure is logged once: {logged:#?}");
    let unreadable = event(&[notification("m 1", &["info@in.example"])]);
    assert!(stack.invoke(FUNCTION, &unreadable).await.is_err());
}
