//! Several domains, and who may write to whom, with the real binary, mail over SMTP and the template's own wiring.

mod common;

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::End;
use ses_forwarder_local_stack::{Config, SentMail, Stack};

use self::common::{FUNCTION, about, calls, message, outcome, started, store};

/// A stack for two domains, with this routes file.
async fn two_domains(routes: &str) -> Stack {
    let mut config = Config::default();
    config.parameters.insert("EmailDomain".to_owned(), "in.example,second.example".to_owned());
    let stack = started(config).await;
    stack.put_object("config/routes.toml", routes.to_owned()).await;
    stack
}

/// A message with these verdicts, from an author at else.example.
fn judged(verdicts: &str) -> Vec<u8> {
    format!("X-Local-Verdict: {verdicts}\r\n{}", message()).into_bytes()
}

async fn send(stack: &Stack, from: Option<&str>, to: &[&str], message: &[u8]) -> (String, Value) {
    let id = stack.send(from, to, message).await.expect("it is taken");
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    let outcome = outcome(stack, &id).await;
    (id, outcome)
}

/// The mail sent on, and the bounces; notices left out.
fn sent(stack: &Stack) -> (Vec<SentMail>, Vec<SentMail>) {
    let mail = stack.sent().into_iter().filter(|mail| !mail.from.starts_with("forwarder-notice@"));
    mail.partition(|mail| !mail.from.starts_with("mailer-daemon@"))
}

#[tokio::test]
async fn a_message_for_two_domains_goes_out_from_each() {
    let stack = two_domains("[routes]\n\"@second.example\" = \"@else.example\"\n").await;
    let to = ["info@in.example", "info@second.example", "sales@in.example"];
    let letter = b"From: Ann <ann@x.example>\r\nTo: info@in.example, info@second.example, sales@in.example\r\n\r\nHi\r\n";
    let (_, outcome) = send(&stack, Some("ann@x.example"), &to, letter).await;
    let mut sent: Vec<_> = stack.sent().into_iter().map(|mail| (mail.from, mail.destinations)).collect();
    sent.sort();
    let expected = [
        ("ann_x.example@in.example", vec!["info@out.example", "sales@out.example"]),
        ("ann_x.example@second.example", vec!["info@else.example"]),
    ];
    assert_eq!(
        sent,
        expected.map(|(from, to)| (from.to_owned(), to.into_iter().map(str::to_owned).collect()))
    );
    assert_eq!(outcome["status"], "forwarded");
    assert_eq!(
        outcome["destinations"],
        json!(["info@out.example", "info@else.example", "sales@out.example"])
    );
}

#[tokio::test]
async fn a_line_for_a_sender_decides() {
    let stack = two_domains(
        "[routes]\n\"@\" = \"me@out.example\"\n[senders]\n\"@spam.example\" = \"drop\"\n\
         \"@else.example\" = \"tag\"\n\"@*.spam.example\" = \"refuse\"\n\
         [senders.\"info@second.example\"]\n\"Ann+News@else.example\" = \"forward\"\n\"ann@else.example\" = \"forward\"\n",
    )
    .await;
    let from = |author: &str, verdicts: &str| {
        let letter = String::from_utf8(judged(verdicts)).expect("ASCII");
        letter.replace("ann@else.example", author).into_bytes()
    };
    for (envelope, author, to, verdicts, status, reason) in [
        ("x@spam.example", "x@spam.example", "a@in.example", "spf=PASS", "dropped", Some("sender")),
        // By the envelope, and by the author.
        ("x@Spam.Example", "y@y.example", "a@in.example", "spf=PASS", "dropped", Some("sender")),
        ("b@y.example", "x@spam.example", "a@second.example", "spf=PASS", "dropped", Some("sender")),
        ("x@a.spam.example", "x@a.spam.example", "a@in.example", "dmarc=FAIL", "dropped", Some("refused")),
        ("b@else.example", "b@else.example", "a@in.example", "spf=PASS", "forwarded", Some("sender")),
        ("ann@else.example", "ann@else.example", "info@second.example", "spf=PASS", "forwarded", None),
        // Past a verdict only who is vouched for.
        ("ann@else.example", "ann+news@else.example", "info@second.example", "spam=FAIL", "forwarded", None),
        (
            "ann@else.example",
            "ann@else.example",
            "info@second.example",
            "spam=FAIL, dmarc=FAIL, dmarc-policy=none",
            "dropped",
            Some("spam"),
        ),
        ("ann@else.example", "ann@else.example", "info@in.example", "spam=FAIL", "dropped", Some("spam")),
        ("b@y.example", "b@y.example", "info@second.example", "spam=PASS", "forwarded", None),
    ] {
        let (id, outcome) = send(&stack, Some(envelope), &[to], &from(author, verdicts)).await;
        assert_eq!(
            (&outcome["status"], &outcome["reason"]),
            (&json!(status), &json!(reason)),
            "{envelope} {author} {to} {verdicts}\n{}",
            stack.story(&id)
        );
    }
    let (forwarded, bounces) = sent(&stack);
    assert_eq!((forwarded.len(), bounces.len()), (4, 0), "nobody vouches for whom it would be told");
    let tagged = forwarded
        .iter()
        .filter(|mail| mail.raw.windows(28).any(|text| text == b"X-Forwarder-Verdict: sender\r"));
    assert_eq!(tagged.count(), 1);
}

#[tokio::test]
async fn who_is_refused_is_told_once() {
    let stack =
        two_domains("[routes]\n\"old@second.example\" = \"refuse\"\n\"gone@in.example\" = \"Refuse\"\n")
            .await;
    let to = ["old@second.example", "info@in.example", "gone@in.example"];
    // The first try ends before it is recorded that the others have it.
    stack.faults().add("ses:SendEmail=500*3".parse().expect("a fault"));
    let id = stack.send(Some("ann@else.example"), &to, message().as_bytes()).await.expect("it is taken");
    stack.settled(&id).await;
    stack.emptied().await;
    let outcome = outcome(&stack, &id).await;
    assert_eq!(outcome["status"], "forwarded", "{}", stack.story(&id));
    assert_eq!(outcome["destinations"], json!(["info@out.example"]));
    assert_eq!(outcome["refused"][0]["recipients"], json!(["old@second.example", "gone@in.example"]));
    let (forwarded, bounces) = sent(&stack);
    assert_eq!((forwarded.len(), bounces.len()), (1, 1));
    assert_eq!(bounces[0].from, "mailer-daemon@second.example");
    assert_eq!(bounces[0].destinations, ["ann@else.example"]);
    let raw = String::from_utf8_lossy(&bounces[0].raw).into_owned();
    for recipient in ["old@second.example", "gone@in.example"] {
        let report = format!("Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n");
        assert!(raw.contains(&report), "{raw}");
    }
    assert!(!raw.contains("out.example"), "the destination is nobody's business: {raw}");

    let (_, all) =
        send(&stack, Some("ann@else.example"), &["old@second.example"], message().as_bytes()).await;
    assert_eq!((&all["status"], &all["reason"]), (&json!("dropped"), &json!("refused")));
    assert_eq!(sent(&stack).1.len(), 2);
}

#[tokio::test]
async fn nobody_is_told_who_may_not_have_sent_it() {
    let stack = two_domains("[routes]\n\"old\" = \"refuse\"\n").await;
    let report = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n";
    for (from, letter) in [
        (None, message().to_owned()),
        (
            Some("ann@else.example"),
            format!("X-Local-Verdict: spf=FAIL, dkim=FAIL, dmarc=GRAY\r\n{}", message()),
        ),
        (Some("ann@else.example"), format!("X-Local-Verdict: dmarc=FAIL\r\n{}", message())),
        (Some("ann@else.example"), format!("Auto-Submitted: auto-replied\r\n{}", message())),
        (Some("ann@else.example"), format!("{report}{}", message())),
    ] {
        let (_, outcome) = send(&stack, from, &["old@in.example"], letter.as_bytes()).await;
        assert_eq!(
            (&outcome["status"], &outcome["reason"]),
            (&json!("dropped"), &json!("refused")),
            "{letter}"
        );
        assert_eq!(outcome["refused"], Value::Null, "{letter}");
    }
    // What is older than a day, SES bounces no more.
    store(&stack, "m1", message()).await;
    let event = json!({"Records": [{"eventSource": "aws:ses", "ses": {
        "mail": {"messageId": "m1", "timestamp": "2026-11-23T10:00:00Z", "source": "ann@else.example"},
        "receipt": {"recipients": ["old@in.example"], "spfVerdict": {"status": "PASS"}},
    }}]});
    let answer = stack.invoke(FUNCTION, &event).await.expect("it is dropped");
    assert_eq!(answer["outcomes"], json!(["dropped"]));
    assert_eq!(calls(&stack, "ses:SendBounce"), 0);
    assert!(stack.sent().is_empty());
}

#[tokio::test]
async fn a_bounce_that_can_not_be_sent_keeps_no_mail_back() {
    let stack = two_domains("[routes]\n\"old\" = \"refuse\"\n").await;
    // SES does not know the message: there is nobody to tell.
    store(&stack, "m1", message()).await;
    let now = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
    let mut event = about("m1");
    event["Records"][0]["ses"]["mail"]["timestamp"] = now.expect("a time").into();
    event["Records"][0]["ses"]["receipt"]["recipients"] = json!(["old@in.example", "info@in.example"]);
    let answer = stack.invoke(FUNCTION, &event).await.expect("it is forwarded");
    assert_eq!(answer["outcomes"], json!(["forwarded"]));
    assert_eq!((calls(&stack, "ses:SendBounce"), sent(&stack).0.len()), (1, 1));

    // A permission is missing: the others get it at once, and the sender is told when that is mended.
    stack.faults().add("ses:SendBounce=access-denied".parse().expect("a fault"));
    let to = ["old@in.example", "info@in.example"];
    let id = stack.send(Some("ann@else.example"), &to, message().as_bytes()).await.expect("it is taken");
    stack.told(1).await;
    assert_eq!((sent(&stack).0.len(), sent(&stack).1.len()), (2, 0), "{}", stack.story(&id));
    stack.faults().clear();
    stack.emptied().await;
    assert_eq!(outcome(&stack, &id).await["status"], "forwarded", "{}", stack.story(&id));
    assert_eq!(sent(&stack).1.len(), 1);

    // An answer that never comes is taken for one: no bounce is better than two.
    stack.faults().add("ses:SendBounce=reset-after*1".parse().expect("a fault"));
    let (_, outcome) =
        send(&stack, Some("ann@else.example"), &["old@in.example"], message().as_bytes()).await;
    assert_eq!(outcome["refused"], json!([{"messageId": "", "recipients": ["old@in.example"]}]));
    assert_eq!(sent(&stack).1.len(), 2);
}
