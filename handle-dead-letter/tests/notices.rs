//! The real function against the whole stack: what is told, what is not, and what the command in a
//! notice does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use mail_parser::{Message, MessageParser, MimeHeaders};
use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{Config, SentMail, Stack};
use ses_forwarder_local_trials::privacy::Watched;

const NOTICE_SENDER: &str = "forwarder-notice@in.example";
const FUNCTION: &str = "HandleDeadLetterFunction";
const SAMPLE: &[u8] = include_bytes!("../../events/sample-message.eml");
const SAMPLE_ID: &str = "5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01";

/// A stack that has to keep its logs free of what is private.
async fn stack() -> Watched {
    Watched::new(Stack::start(Config::default()).await.unwrap(), SAMPLE)
}

/// An event in `events/`.
fn event(name: &str) -> Value {
    let path = format!("{}/../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The same event as the queue delivers it for the `count`-th time.
fn delivered(mut event: Value, count: u32) -> Value {
    for record in event["Records"].as_array_mut().unwrap() {
        record["attributes"]["ApproximateReceiveCount"] = count.to_string().into();
    }
    event
}

fn no_failures() -> Value {
    json!({ "batchItemFailures": [] })
}

fn failures(event: &Value) -> Value {
    let ids = event["Records"].as_array().unwrap().iter().map(|record| &record["messageId"]);
    json!({ "batchItemFailures": ids.map(|id| json!({ "itemIdentifier": id })).collect::<Vec<_>>() })
}

/// Notices by mail.
fn notices(stack: &Stack) -> Vec<SentMail> {
    stack.sent().into_iter().filter(|mail| mail.from == NOTICE_SENDER).collect()
}

fn parsed(mail: &SentMail) -> Message<'_> {
    MessageParser::new().parse(&mail.raw).unwrap()
}

/// The text of the only notice by mail, with LF.
fn only_text(stack: &Stack) -> String {
    let notices = notices(stack);
    assert_eq!(notices.len(), 1, "one notice");
    parsed(&notices[0]).body_text(0).unwrap().replace("\r\n", "\n")
}

fn arm(stack: &Stack, fault: &str) {
    stack.faults().add(fault.parse().unwrap());
}

fn pause(stack: &Stack, paused: bool) {
    stack.services().ses().configure(|account| account.sending_enabled = !paused);
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
    let stack = stack().await;
    pause(&stack, true);
    let id = stack.send(Some("jane@example.com"), &["info@in.example"], SAMPLE).await.unwrap();
    // SES is paused for notices too, so this one comes by SNS alone.
    assert_eq!(stack.settled(&id).await, End::Noticed, "{}", stack.story(&id));
    let attempts = stack.journal().of(&id);
    let attempts = attempts.iter().filter(
        |entry| matches!(&entry.event, Event::Returned { function, .. } if function.contains("HandleEmail")),
    );
    assert_eq!(attempts.count(), 3, "{}", stack.story(&id));
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
    let id = stack.send(Some("jane@example.com"), &["info@in.example"], SAMPLE).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Noticed, "{}", stack.story(&id));

    let notices = notices(&stack);
    let notice = parsed(&notices[0]);
    assert_eq!(notices[0].destinations, ["operator@out.example"]);
    assert_eq!(notice.subject(), Some("[ses-forwarder] 1 message could not be forwarded"));
    assert_eq!(notice.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    assert_eq!(notice.header_raw("X-Forwarder-Notice").map(str::trim), Some("ses-forwarder"));
    assert_eq!(stack.published()[0].text.trim_end(), only_text(&stack).trim_end());
    let marks = stack.keys("error/notices/").await;
    assert_eq!(marks.len(), 1, "{marks:?}");
}

#[tokio::test]
async fn a_message_is_told_once_for_each_request_that_fails() {
    let stack = stack().await;
    let batch = event("dead-letter-batch-event");
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

    let mut again = event("dead-letter-event");
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
    stack.invoke(FUNCTION, &event("dead-letter-event")).await.unwrap();

    let mut after = before;
    after["requestId"] = json!("8c1b5f0e-1f5a-4c2e-9b77-3d2a6f4e5b01");
    after["error"] = json!({
        "code": "SendingPausedException",
        "message": format!(
            "message {SAMPLE_ID}: SendEmail failed: SendingPausedException: Email sending is paused for this account"
        ),
    });
    assert_eq!(stack.outcome(SAMPLE_ID).await, Some(after));
    assert!(only_text(&stack).contains("\nHas it       ann@out.example\n"));
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
    assert_eq!(stack.invoke(FUNCTION, &event("dead-letter-event")).await, Ok(no_failures()));
    assert_eq!((notices(&stack).len(), stack.published().len()), (1, 0));

    arm(&stack, "ses:SendEmail=access-denied@1");
    assert_eq!(stack.invoke(FUNCTION, &event("dead-letter-destination-event")).await, Ok(no_failures()));
    assert_eq!((notices(&stack).len(), stack.published().len()), (1, 1));
    assert!(stack.published()[0].text.contains("The stored message is not in the bucket."));
}

#[tokio::test]
async fn without_a_channel_everything_stays_in_the_queue() {
    let stack = stack().await;
    arm(&stack, "sns:Publish=access-denied");
    arm(&stack, "ses:SendEmail=access-denied");
    let batch = event("dead-letter-batch-event");
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
    assert_eq!(stack.invoke(FUNCTION, &delivered(letter, 3)).await, Ok(no_failures()));
    let text = only_text(&stack);
    assert!(
        text.contains("\nBeware       what became of it could not be read or recorded: GetObject s3://"),
        "{text}"
    );
}

#[tokio::test]
async fn an_outcome_that_can_t_be_read_is_left_alone() {
    let stack = stack().await;
    let key = format!("outcome/2026/11/20/{SAMPLE_ID}.json");
    stack.put_object(&key, "{\"messageId\"").await;
    assert_eq!(stack.invoke(FUNCTION, &event("dead-letter-event")).await, Ok(no_failures()));
    assert_eq!(stack.object(&key).await.unwrap(), "{\"messageId\"");
    assert!(
        only_text(&stack)
            .contains("\nBeware       the outcome can't be read, so the message may have been sent")
    );
}

#[tokio::test]
async fn our_own_notices_make_no_notices() {
    let stack = stack().await;
    let mut letter = event("dead-letter-event");
    let body = letter["Records"][0]["body"].as_str().unwrap();
    let body = body.replace("Jane Doe <jane@example.com>", &format!("SES Forwarder <{NOTICE_SENDER}>"));
    letter["Records"][0]["body"] = body.into();
    assert_eq!(stack.invoke(FUNCTION, &letter).await, Ok(no_failures()));
    assert_eq!((notices(&stack), stack.published()), (vec![], vec![]));
    assert_eq!(stack.outcome(SAMPLE_ID).await.unwrap()["status"], "failed");
}

#[tokio::test]
async fn logs_name_a_message_but_hold_no_addresses_and_no_subjects() {
    let stack = stack().await;
    arm(&stack, "ses:SendEmail=access-denied");
    for name in ["dead-letter-batch-event", "dead-letter-destination-event"] {
        stack.invoke(FUNCTION, &event(name)).await.unwrap();
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
