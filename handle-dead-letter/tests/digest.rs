//! The digest, by the template's own schedule, with the real binaries: what it tells, that it comes once, and that it
//! makes no other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use ses_forwarder_local_aws::{journal::End, schedules};
use ses_forwarder_local_stack::{Config, SentMail, Stack};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use self::common::{notices, stack, stack_with};

async fn receive(stack: &Stack, fields: &str) -> String {
    let message = format!("{fields}\r\nHi\r\n");
    let id = stack.send(Some("jane@x.example"), &["info@in.example"], message.as_bytes()).await.unwrap();
    let end = stack.settled(&id).await;
    assert_eq!(end, End::Returned, "{}", stack.story(&id));
    id
}

/// Has the schedule run as if it were so many minutes later; the error is the function's.
async fn run(stack: &Stack, minutes: i64) -> Result<(), String> {
    let at = OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
    for (function, event) in schedules::due(stack.deployment(), at) {
        stack.invoke(&function, &event).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Header and text, as a mail program shows them.
fn shown(mail: &SentMail) -> (String, String) {
    let message = mail_parser::MessageParser::default().parse(&mail.raw).unwrap();
    (message.subject().unwrap().to_owned(), message.body_text(0).unwrap().replace("\r\n", "\n"))
}

/// An outcome of today that another has recorded.
async fn record(stack: &Stack, id: &str, fields: &[(&str, serde_json::Value)]) {
    let now = OffsetDateTime::now_utc();
    let mut outcome = json!({
        "messageId": id, "timestamp": now.format(&Rfc3339).unwrap(), "status": "forwarded", "reason": null,
        "recipients": ["info@in.example"], "destinations": ["info@out.example"], "sent": [], "error": null,
        "requestId": "r", "bytes": 1, "forwardMillis": 1,
    });
    for (name, value) in fields {
        outcome[*name] = value.clone();
    }
    let (year, month, day) = now.to_calendar_date();
    let key = format!("outcome/{year:04}/{:02}/{day:02}/{id}.json", u8::from(month));
    stack.put_object(&key, outcome.to_string()).await;
}

#[tokio::test]
async fn a_day_s_digest_tells_what_did_not_arrive_each_with_its_command() {
    let stack = stack().await;
    stack.put_object("config/routes.toml", "[senders]\n\"@shop.example\" = \"drop\"\n").await;
    let subject = "Subject: =?utf-8?q?L=C3=BCnch=0D=0ABcc:_eve@evil.example?=\r\n";
    let spam =
        receive(&stack, &format!("X-Local-Verdict: spam=FAIL\r\nFrom: Jane <jane@x.example>\r\n{subject}"))
            .await;
    let virus = receive(&stack, "X-Local-Verdict: virus=FAIL\r\nSubject: Invoice\r\n").await;
    let shop = receive(&stack, "From: a@shop.example\r\nSubject: Offer\r\n").await;
    let refused = receive(&stack, "Subject: Setup\r\nContent-Type: a/b; name=setup.exe\r\n").await;
    let fine = receive(&stack, "Subject: Fine\r\n").await;
    let looped = receive(&stack, "X-Loop: info@in.example\r\nSubject: Round\r\n").await;
    record(&stack, "held1", &[("status", json!("held")), ("reason", json!("suspended"))]).await;
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
    let bounced =
        json!([{"at": now, "destination": "info@out.example", "event": "bounced", "code": "5.2.2"}]);
    record(&stack, "bounced1", &[("delivery", bounced)]).await;

    run(&stack, 1).await.unwrap();
    let digests = notices(&stack);
    assert_eq!((digests.len(), &digests[0].destinations[..]), (1, &["operator@out.example".to_owned()][..]));
    let header = String::from_utf8_lossy(&digests[0].raw).into_owned();
    assert!(header.contains("\r\nX-Forwarder-Notice: ses-forwarder\r\n"), "{header}");
    assert!(header.contains("\r\nAuto-Submitted: auto-generated\r\n"), "{header}");
    let (subject, text) = shown(&digests[0]);
    assert_eq!(
        subject,
        "[ses-forwarder] Digest: 2 dropped, 1 held, 1 bounced, 1 refused, 1 dropped by your routes"
    );
    let of_stack = "--region us-east-1 --stack ses-forwarder";
    for (line, command) in [
        (
            "  spam  Jane <jane@x.example>  Lünch Bcc: eve@evil.example  for info@in.example\n",
            format!("ses-forwarder release {of_stack} {spam}"),
        ),
        (
            "  virus  jane@x.example  Invoice  for info@in.example\n",
            format!("ses-forwarder release --virus {of_stack} {virus}"),
        ),
        (
            "  sender  a@shop.example  Offer  for info@in.example\n",
            format!("ses-forwarder release {of_stack} {shop}"),
        ),
        (
            "  suspended  (unknown)  message held1  for info@out.example\n",
            format!("ses-forwarder resume {of_stack} info@out.example"),
        ),
        (
            "  5.2.2  (unknown)  message bounced1  for info@out.example\n",
            format!("ses-forwarder resume {of_stack} info@out.example"),
        ),
        (
            "  MessageRejected  jane@x.example  Setup  for info@out.example\n",
            format!("aws s3 cp --region us-east-1 s3://{}/messages/{refused} {refused}.eml", stack.bucket()),
        ),
    ] {
        let both = format!("{line}  {command}\n");
        assert!(text.contains(&both), "{both} is not in:\n{text}");
    }
    assert!(text.contains("Also dropped, with nothing to release: 1 loop.\n"), "{text}");
    for id in [fine, looped] {
        assert!(!text.contains(&id), "{text}");
    }
    assert_eq!(stack.published().len(), 0, "it does not come twice, by mail and by SNS");
}

#[tokio::test]
async fn a_period_is_told_once_and_only_if_there_is_something() {
    let stack = stack().await;
    receive(&stack, "Subject: Fine\r\n").await;
    receive(&stack, "X-Loop: info@in.example\r\nSubject: Round\r\n").await;
    run(&stack, 1).await.unwrap();
    assert_eq!(notices(&stack).len(), 0);
    assert!(
        !stack.keys("error/").await.iter().any(|key| key.contains("digest")),
        "nothing is written either"
    );

    receive(&stack, "X-Local-Verdict: spam=FAIL\r\nSubject: Spam\r\n").await;
    let at = OffsetDateTime::now_utc() + time::Duration::minutes(1);
    let due = schedules::due(stack.deployment(), at);
    let (function, event) = &due[0];
    join_all((0..4).map(|_| stack.invoke(function, event))).await;
    stack.invoke(function, event).await.unwrap();
    assert_eq!((due.len(), notices(&stack).len()), (1, 1));
    // A day later nothing is new.
    run(&stack, 2 * 24 * 60).await.unwrap();
    assert_eq!(notices(&stack).len(), 1);

    // One that comes back is a loop, and no reason for another.
    let digest = notices(&stack).remove(0).raw;
    let back = stack.send(Some("a@x.example"), &["info@in.example"], &digest).await.unwrap();
    assert_eq!(stack.settled(&back).await, End::Returned);
    assert_eq!(stack.outcome(&back).await.unwrap()["reason"], "loop");
    for key in stack.keys("outcome/").await.into_iter().filter(|key| !key.contains(&back)) {
        stack.delete_object(&key).await;
    }
    run(&stack, 3).await.unwrap();
    assert_eq!(notices(&stack).len(), 1);
}

#[tokio::test]
async fn it_comes_as_often_as_is_asked_for() {
    for (digest, expression, enabled) in [
        ("off", "cron(0 6 * * ? *)", false),
        ("daily", "cron(0 6 * * ? *)", true),
        ("weekly", "cron(0 6 ? * MON *)", true),
    ] {
        let stack = stack_with(&[("Digest", digest)]).await;
        let schedules: Vec<_> =
            stack.deployment().functions.iter().flat_map(|function| &function.schedules).collect();
        let [schedule] = schedules[..] else { panic!("one schedule: {schedules:?}") };
        assert_eq!((&*schedule.expression, schedule.enabled), (expression, enabled));
        receive(&stack, "X-Local-Verdict: spam=FAIL\r\nSubject: Spam\r\n").await;
        run(&stack, 3 * 24 * 60).await.unwrap();
        assert_eq!(notices(&stack).len(), usize::from(digest == "weekly"), "{digest}: three days later");
    }
}

#[tokio::test]
async fn a_hundred_lines_and_then_counts() {
    let stack = stack().await;
    for number in 0..230 {
        record(&stack, &format!("s{number}"), &[("status", json!("dropped")), ("reason", json!("spam"))])
            .await;
    }
    record(&stack, "h1", &[("status", json!("held")), ("reason", json!("suspended"))]).await;
    stack.put_object(&stack.keys("outcome/").await[0].replace(".json", "x.json"), "{").await;
    run(&stack, 1).await.unwrap();
    let (subject, text) = shown(&notices(&stack)[0]);
    assert_eq!(subject, "[ses-forwarder] Digest: 230 dropped, 1 held");
    assert_eq!(text.matches("\n  ses-forwarder release ").count(), 99);
    assert_eq!(text.matches("\n  ses-forwarder resume ").count(), 1);
    assert!(text.contains("\nAnd 131 more.\n") && text.contains("\n1 outcomes could not be read;"), "{text}");
}

#[tokio::test]
async fn with_more_than_there_is_time_for_it_says_what_it_left_out() {
    let config = Config { function_timeout: Some(Duration::from_secs(10)), ..Config::default() };
    let stack = Stack::start(config).await.unwrap();
    for number in 0..600 {
        record(&stack, &format!("s{number}"), &[("status", json!("dropped")), ("reason", json!("spam"))])
            .await;
    }
    // However fast the machine is, no more than these are read.
    stack.faults().add("s3:GetObject(outcome/)=held@101+".parse().unwrap());
    run(&stack, 1).await.unwrap();
    let (subject, text) = shown(&notices(&stack)[0]);
    let told: usize =
        subject.strip_prefix("[ses-forwarder] Digest: ").unwrap().split(' ').next().unwrap().parse().unwrap();
    let left = text.split("There was no time to look at ").nth(1).expect("it says so");
    let left: usize = left.split(' ').next().unwrap().parse().unwrap();
    assert!((1..=100).contains(&told) && told + left == 600, "{told} told, {left} left out");
}

#[tokio::test]
async fn it_goes_out_by_the_channel_that_works_and_is_an_error_if_none_does() {
    let stack = stack().await;
    receive(&stack, "X-Local-Verdict: spam=FAIL\r\nSubject: Spam\r\n").await;
    stack.faults().add("ses:SendEmail=access-denied".parse().unwrap());
    stack.faults().add("sns:Publish=access-denied*1".parse().unwrap());
    let at = OffsetDateTime::now_utc() + time::Duration::minutes(1);
    let (function, event) = schedules::due(stack.deployment(), at).remove(0);
    let error = stack.invoke(&function, &event).await.unwrap_err();
    assert_eq!(error.error_type, "DigestNotSent", "{error}");
    // Asked again, it need not wait, and SNS takes it.
    stack.invoke(&function, &event).await.unwrap();
    let published = stack.published();
    assert_eq!((published.len(), notices(&stack).len()), (1, 0));
    assert!(published[0].subject.contains("Digest: 1 dropped"), "{}", published[0].subject);
}
