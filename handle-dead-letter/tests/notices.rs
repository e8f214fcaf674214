//! The real function against the whole stack: what is told, what is not, and what the command in a
//! notice does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{process::Command, time::Duration};

use common::{
    FUNCTION, NOTICE_SENDER, SAMPLE, SAMPLE_ID, aged, arm, delivered, event, failures, no_failures, notices,
    pause, stack, stack_with,
};
use mail_parser::{Message, MessageParser, MimeHeaders};
use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{SentMail, Stack};

/// Older than `RetryHours`.
const OLD: Duration = Duration::from_secs(97 * 60 * 60);

fn parsed(mail: &SentMail) -> Message<'_> {
    MessageParser::new().parse(&mail.raw).unwrap()
}

/// The text of the only notice by mail, with LF.
fn only_text(stack: &Stack) -> String {
    let notices = notices(stack);
    assert_eq!(notices.len(), 1, "one notice");
    parsed(&notices[0]).body_text(0).unwrap().replace("\r\n", "\n")
}

/// Runs what the command in a notice runs, with the payload it takes; waits for the function's answer.
async fn try_again(stack: &Stack, notice: &str) -> Result<Value, String> {
    let command = notice.lines().find(|line| line.starts_with("aws s3 cp ")).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let after = |option: &str| words[words.iter().position(|word| *word == option).unwrap() + 1];
    let address = words.iter().find(|word| word.starts_with("s3://")).unwrap();
    let key = address.strip_prefix(&format!("s3://{}/", stack.bucket())).unwrap();
    let file = words[words.iter().position(|word| word == address).unwrap() + 1];
    assert_eq!(after("--payload"), format!("file://{file}"));
    assert_eq!(after("--invocation-type"), "Event");
    assert_eq!(after("--region"), "us-east-1");

    let payload = stack.object(key).await.unwrap();
    let (_, mut events) = stack.journal().follow();
    let request = stack.lambda().invoke_async(after("--function-name"), payload).unwrap();
    loop {
        match &events.recv().await.unwrap().event {
            Event::Returned { request_id, result, .. } if *request_id == request => {
                let answer = result.clone()?;
                return Ok(serde_json::from_str(&answer).unwrap());
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_notice_tells_everything_and_its_command_brings_the_message_through() {
    let stack = stack_with(&[("RetryHours", "1")]).await;
    pause(&stack, true);
    let id = stack.send(Some("jane@example.com"), &["info@in.example"], SAMPLE).await.unwrap();
    // SES is paused for notices too, so this one comes by SNS alone.
    assert_eq!(stack.settled(&id).await, End::Noticed, "{}", stack.story(&id));
    assert_eq!(stack.sent(), []);

    let published = stack.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].subject, "[ses-forwarder] 1 message could not be forwarded");
    let text = &published[0].text;
    let day = &text[text.find("/index/").unwrap() + 7..][..10];
    let bucket = stack.bucket();
    let expected = [
        "1. Café on Friday?".to_owned(),
        "From         Jane Doe <jane@example.com>".to_owned(),
        "To           info@in.example".to_owned(),
        format!("Message      s3://{bucket}/messages/{id}"),
        format!("Index        s3://{bucket}/index/{day}/{id}.json"),
        format!("Outcome      s3://{bucket}/outcome/{day}/{id}.json"),
        format!("Error copy   s3://{bucket}/error/{day}/{id}.eml (if SES refused it)"),
    ];
    for line in &expected {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("\nWhat failed  Sending is paused for this SES account"), "{text}");
    assert!(!text.contains("noon"), "nothing of the body");

    let outcome = stack.outcome(&id).await.unwrap();
    assert_eq!(
        (&outcome["status"], &outcome["reason"]),
        (&json!("failed"), &json!("SendingPausedException"))
    );
    assert_eq!(outcome["error"]["code"], "SendingPausedException");

    pause(&stack, false);
    let answer = try_again(&stack, text).await.unwrap();
    assert_eq!(answer["outcomes"], json!(["forwarded"]));
    assert_eq!(stack.outcome(&id).await.unwrap()["status"], "forwarded");
    assert_eq!(stack.sent()[0].destinations, ["info@out.example"]);
    try_again(&stack, text).await.unwrap();
    assert_eq!(stack.sent().len(), 1, "a second time sends nothing");
}

#[tokio::test]
async fn a_notice_by_mail_says_what_the_one_by_sns_does() {
    let stack = stack().await;
    // Mail from the author's rewritten address fails, notices do not.
    arm(&stack, "ses:SendEmail(jane_example.com@)=not-found");
    stack.send(Some("jane@example.com"), &["info@in.example"], SAMPLE).await.unwrap();
    stack.told(1).await;
    let notices = stack.eventually(|| async { Some(notices(&stack)).filter(|all| !all.is_empty()) }).await;
    let notice = parsed(&notices[0]);
    assert_eq!(notices[0].destinations, ["operator@out.example"]);
    assert_eq!(notice.subject(), Some("[ses-forwarder] Mail waits for you: NotFoundException"));
    assert_eq!(notice.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    assert_eq!(notice.header_raw("X-Forwarder-Notice").map(str::trim), Some("ses-forwarder"));
    assert_eq!(stack.published()[0].text.trim_end(), only_text(&stack).trim_end());
    assert_eq!(stack.keys("error/notices/").await, ["error/notices/state/delays.json"]);
}

#[tokio::test]
async fn a_message_is_told_once_for_each_request_that_fails() {
    let stack = stack().await;
    let batch = aged(event("dead-letter-batch-event"), OLD);
    assert_eq!(stack.invoke(FUNCTION, &batch).await, Ok(no_failures()));
    assert_eq!(stack.invoke(FUNCTION, &delivered(batch.clone(), 2)).await, Ok(no_failures()));

    let all = notices(&stack);
    assert_eq!(all.len(), 1, "the batch was delivered twice and told once");
    let notice = parsed(&all[0]);
    assert_eq!(
        notice.subject(),
        Some("[ses-forwarder] 1 message could not be forwarded, 2 failed events could not be read")
    );
    let names: Vec<_> = notice.attachments().filter_map(MimeHeaders::attachment_name).collect();
    let requests = ["8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b03", "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b04"];
    assert_eq!(names, requests.map(|request| format!("{request}.txt")));
    let broken = batch["Records"][2]["body"].as_str().unwrap();
    assert_eq!(notice.attachment(1).unwrap().text_contents().unwrap(), broken);

    // The queue has no other copy of what can't be read, so the mark keeps it.
    let mark = stack.object(&format!("error/notices/{}.json", requests[1])).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&mark).unwrap()["body"], broken);
    // What handle-email did not archive can be tried again all the same.
    let index = stack.object(&format!("index/2026/11/20/{SAMPLE_ID}.json")).await.unwrap();
    let body: Value = serde_json::from_str(batch["Records"][0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&index).unwrap(), body["Records"][0]["ses"]);
    assert_eq!(index.iter().filter(|byte| **byte == b'\n').count(), 1);

    let mut again = aged(event("dead-letter-event"), OLD);
    again["Records"][0]["messageAttributes"]["RequestID"]["stringValue"] = json!("another-request");
    assert_eq!(stack.invoke(FUNCTION, &again).await, Ok(no_failures()));
    assert_eq!(notices(&stack).len(), 2, "a redrive that failed is told");
}

#[tokio::test]
async fn a_failure_is_recorded_and_keeps_what_was_sent() {
    let stack = stack().await;
    let key = format!("outcome/2026/11/20/{SAMPLE_ID}.json");
    let sent = json!([{"messageId": "s1", "destinations": ["ann@out.example"]}]);
    let before = json!({
        "messageId": SAMPLE_ID, "timestamp": "2026-11-20T09:14:33.512Z", "status": "failed", "reason": "incomplete",
        "recipients": ["info@in.example"], "destinations": ["ann@out.example", "bob@out.example"], "sent": sent,
        "error": null, "requestId": "old", "bytes": 7, "forwardMillis": 5,
    });
    stack.put_object(&key, before.to_string()).await;
    let letter = event("dead-letter-event");
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(failures(&letter)));

    let mut after = before;
    after["requestId"] = json!("8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b01");
    after["error"] = json!({
        "code": "SendingPausedException",
        "message": format!(
            "message {SAMPLE_ID}: SendEmail failed: SendingPausedException: Email sending is paused for this account"
        ),
    });
    let mut outcome = stack.outcome(SAMPLE_ID).await.unwrap();
    let next_try = outcome.as_object_mut().unwrap().remove("nextTry");
    assert!(next_try.is_some_and(|next| next.is_string()));
    assert_eq!(outcome, after);
    assert_eq!((notices(&stack), stack.published()), (vec![], vec![]), "it passes by itself");
}

#[tokio::test]
async fn what_is_settled_is_no_news() {
    let stack = stack().await;
    let key = format!("outcome/2026/11/20/{SAMPLE_ID}.json");
    let outcome = |status: &str, reason: Value| {
        json!({
            "messageId": SAMPLE_ID, "timestamp": "2026-11-20T09:14:33.512Z", "status": status, "reason": reason,
            "recipients": ["info@in.example"], "destinations": [], "sent": [], "error": null, "requestId": "old",
            "bytes": 7, "forwardMillis": null,
        })
    };
    for settled in [outcome("forwarded", Value::Null), outcome("dropped", json!("spam"))] {
        stack.put_object(&key, settled.to_string()).await;
        assert_eq!(stack.invoke(FUNCTION, &event("dead-letter-event")).await, Ok(no_failures()));
        assert_eq!(stack.outcome(SAMPLE_ID).await, Some(settled));
    }
    assert_eq!((notices(&stack), stack.published()), (vec![], vec![]));

    let bounce = outcome("dropped", json!("bounce"));
    stack.put_object(&key, bounce.to_string()).await;
    for count in [1, 2] {
        let event = delivered(event("dead-letter-event"), count);
        assert_eq!(stack.invoke(FUNCTION, &event).await, Ok(no_failures()));
    }
    assert_eq!(stack.outcome(SAMPLE_ID).await, Some(bounce));
    let text = only_text(&stack);
    assert!(text.starts_with("1 forwarded message was refused by its destination"), "{text}");
    assert!(!text.contains("Try again"), "{text}");
}

/// Anyone can send a bounce, so many of them must not make many notices; none is forgotten.
#[tokio::test]
async fn bounces_are_told_once_an_hour_together() {
    const STATE: &str = "error/notices/state/bounces.json";
    let stack = stack().await;
    let mut letters = Vec::new();
    for name in ["b1", "b2", "b3"] {
        let mut letter = event("dead-letter-event");
        let body = letter["Records"][0]["body"].as_str().unwrap().replace(SAMPLE_ID, name);
        letter["Records"][0]["body"] = body.into();
        letter["Records"][0]["messageAttributes"]["RequestID"]["stringValue"] = name.into();
        letter["Records"][0]["messageId"] = format!("queue-{name}").into();
        let outcome = json!({
            "messageId": name, "timestamp": "2026-11-20T09:14:33.512Z", "status": "dropped", "reason": "bounce",
            "recipients": ["info@in.example"], "destinations": [], "sent": [], "error": null, "requestId": name,
            "bytes": 7, "forwardMillis": null,
        });
        stack.put_object(&format!("outcome/2026/11/20/{name}.json"), outcome.to_string()).await;
        letters.push(letter);
    }
    arm(&stack, "sns:Publish=access-denied*1");
    arm(&stack, "ses:SendEmail=access-denied*1");
    assert_eq!(stack.invoke(FUNCTION, &letters[0]).await, Ok(failures(&letters[0])), "nobody could be told");
    assert_eq!(stack.invoke(FUNCTION, &delivered(letters[0].clone(), 2)).await, Ok(no_failures()));
    for letter in &letters[1..] {
        assert_eq!(stack.invoke(FUNCTION, letter).await, Ok(failures(letter)), "it waits");
    }
    assert_eq!((notices(&stack).len(), stack.published().len()), (1, 1));

    let ago = |minutes| {
        let then = time::OffsetDateTime::now_utc() - time::Duration::minutes(minutes);
        then.format(&time::format_description::well_known::Rfc3339).unwrap()
    };
    let mut both = letters[1].clone();
    both["Records"].as_array_mut().unwrap().push(letters[2]["Records"][0].clone());
    for (minutes, told) in [(59, 1), (61, 2)] {
        let mut state: Value = serde_json::from_slice(&stack.object(STATE).await.unwrap()).unwrap();
        state["delay"] = ago(minutes).into();
        stack.put_object(STATE, state.to_string()).await;
        let expected = if told == 1 { failures(&both) } else { no_failures() };
        assert_eq!(stack.invoke(FUNCTION, &both).await, Ok(expected), "after {minutes} minutes");
        assert_eq!(stack.published().len(), told, "after {minutes} minutes");
    }
    let text = &stack.published()[1].text;
    assert!(text.starts_with("2 forwarded messages were refused by their destinations"), "{text}");
}

#[tokio::test]
async fn a_rejected_message_stays_rejected() {
    let stack = stack().await;
    let rejected = json!({
        "messageId": SAMPLE_ID, "timestamp": "2026-11-20T09:14:33.512Z", "status": "rejected",
        "reason": "MessageRejected", "recipients": ["info@in.example"], "destinations": ["info@out.example"],
        "sent": [], "error": {"code": "MessageRejected", "message": "Email contains a virus"},
        "requestId": "8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b01", "bytes": 7, "forwardMillis": null,
    });
    stack.put_object(&format!("outcome/2026/11/20/{SAMPLE_ID}.json"), rejected.to_string()).await;
    stack.invoke(FUNCTION, &event("dead-letter-event")).await.unwrap();
    assert_eq!(stack.outcome(SAMPLE_ID).await, Some(rejected));
    // The same request's record is more exact than the letter.
    let text = only_text(&stack);
    assert!(text.contains("\nError        MessageRejected: Email contains a virus\n"), "{text}");
}

#[tokio::test]
async fn one_channel_suffices() {
    let stack = stack().await;
    arm(&stack, "sns:Publish=access-denied@1");
    assert_eq!(stack.invoke(FUNCTION, &aged(event("dead-letter-event"), OLD)).await, Ok(no_failures()));
    assert_eq!((notices(&stack).len(), stack.published().len()), (1, 0));

    arm(&stack, "ses:SendEmail=access-denied@1");
    assert_eq!(
        stack.invoke(FUNCTION, &aged(event("dead-letter-destination-event"), OLD)).await,
        Ok(no_failures())
    );
    assert_eq!((notices(&stack).len(), stack.published().len()), (1, 1));
    assert!(stack.published()[0].text.contains("The stored message is not in the bucket."));
}

#[tokio::test]
async fn without_a_channel_everything_stays_in_the_queue() {
    let stack = stack().await;
    arm(&stack, "sns:Publish=access-denied");
    arm(&stack, "ses:SendEmail=access-denied");
    let batch = aged(event("dead-letter-batch-event"), OLD);
    assert_eq!(stack.invoke(FUNCTION, &batch).await, Ok(failures(&batch)));
    assert_eq!(stack.keys("error/notices/").await, [""; 0]);

    stack.faults().clear();
    assert_eq!(stack.invoke(FUNCTION, &delivered(batch, 2)).await, Ok(no_failures()));
    assert_eq!((notices(&stack).len(), stack.published().len()), (1, 1));
}

#[tokio::test]
async fn a_bucket_that_fails_delays_a_notice_but_does_not_silence_it() {
    let stack = stack().await;
    arm(&stack, "s3:*=access-denied");
    let letter = event("dead-letter-event");
    for count in [1, 2] {
        let letter = delivered(letter.clone(), count);
        assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(failures(&letter)));
    }
    assert_eq!((notices(&stack), stack.published()), (vec![], vec![]));
    let letter = delivered(letter, 3);
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(failures(&letter)));
    let text = only_text(&stack);
    assert!(text.contains("\nError        GetObject s3://") && text.contains("AccessDenied"), "{text}");
}

#[tokio::test]
async fn an_outcome_that_can_t_be_read_is_left_alone() {
    let stack = stack().await;
    let key = format!("outcome/2026/11/20/{SAMPLE_ID}.json");
    stack.put_object(&key, "{\"messageId\"").await;
    let letter = event("dead-letter-event");
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(failures(&letter)));
    assert_eq!(stack.object(&key).await.unwrap(), "{\"messageId\"");
    let text = only_text(&stack);
    assert!(text.contains("so it is unknown whether the message was sent; delete it"), "{text}");
}

#[tokio::test]
async fn our_own_notices_make_no_notices() {
    let stack = stack().await;
    let mut letter = aged(event("dead-letter-event"), OLD);
    let body = letter["Records"][0]["body"].as_str().unwrap();
    let body = body.replace("Jane Doe <jane@example.com>", &format!("SES Forwarder <{NOTICE_SENDER}>"));
    letter["Records"][0]["body"] = body.into();
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(no_failures()));
    assert_eq!((notices(&stack), stack.published()), (vec![], vec![]));
    assert_eq!(stack.outcome(SAMPLE_ID).await.unwrap()["status"], "failed");
}

/// What fails is told by a notice; an alarm beside it would be a second mail about the same.
#[test]
fn alarms_tell_only_what_no_notice_can() {
    let template = include_str!("../../template.yaml");
    let alarms = template.split("    Type: AWS::CloudWatch::Alarm\n").skip(1);
    let watched = alarms.map(|alarm| {
        let end = alarm.find("AlarmActions:").unwrap();
        let metric = |line: &'static str| {
            let line = line.trim();
            line.strip_prefix("MetricName: ").or_else(|| line.strip_prefix("Expression: SELECT "))
        };
        let metrics = alarm[..end].lines().filter_map(metric);
        let functions = alarm[..end].lines().filter_map(|line| line.trim().strip_prefix("Value: !Ref "));
        let mut watched: Vec<_> = metrics.chain(functions).collect();
        watched.sort_unstable();
        watched
    });
    let expected = [
        &["HandleDeadLetterFunction", "HandleEmailFunction", "Throttles", "Throttles"][..],
        &["ApproximateNumberOfMessagesVisible"],
        &["DeadLetterErrors", "HandleEmailFunction"],
        &["Errors", "HandleDeadLetterFunction", "HandleDeadLetterFunction", "NoticesFailed"],
        &["SUM(PublishFailure) FROM \"AWS/SES\""],
        &["SUM(PublishExpired) FROM \"AWS/SES\""],
        &["Send"],
        &["AnswersOverLimit", "HandleEmailFunction"],
        &["Reputation.BounceRate"],
        &["Reputation.ComplaintRate"],
        &["HandleEmailFunction", "Invocations"],
    ];
    assert_eq!(watched.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn logs_name_a_message_but_hold_no_addresses_and_no_subjects() {
    let stack = stack().await;
    arm(&stack, "ses:SendEmail=access-denied");
    for name in ["dead-letter-batch-event", "dead-letter-destination-event"] {
        stack.invoke(FUNCTION, &aged(event(name), OLD)).await.unwrap();
    }
    let logs = stack.logs();
    assert!(logs.iter().any(|(_, line)| line.contains(SAMPLE_ID)), "{logs:?}");
    let private = ["jane", "Jane", "info@", "operator@", "Café", "Friday"];
    assert!(!logs.iter().any(|(_, line)| private.iter().any(|text| line.contains(text))), "{logs:?}");
}

#[tokio::test]
async fn an_event_of_no_queue_is_an_error() {
    let stack = stack().await;
    let error = stack.invoke(FUNCTION, &json!({"key1": "value1"})).await.unwrap_err();
    assert_eq!(error.error_type, "NoQueueEvent");
    assert!(error.error_message.starts_with("this is no event of an SQS queue"), "{error}");
}

#[test]
fn wrong_settings_stop_it_with_one_sentence_each() {
    let output = Command::new(env!("CARGO_BIN_EXE_handle-dead-letter"))
        .env_clear()
        .envs([("BUCKET", "mail"), ("EMAIL_DOMAIN", "in.example"), ("STACK_NAME", "my stack")])
        .envs([("AWS_REGION", "us-east-1"), ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let sentences = "STACK_NAME is \"my stack\"; it must be the name of the stack: 1 to 128 letters, digits and hyphens; \
                     NOTICE_ADDRESS and NOTICE_TOPIC_ARN are not set; one of them must be";
    assert!(printed.contains(sentences), "{printed}");
}
