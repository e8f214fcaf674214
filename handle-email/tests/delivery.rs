//! The delivery rules, with the real binary: each message once, each failure told, nothing lost.

mod common;

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::End;
use ses_forwarder_local_stack::{Config, Stack};

use self::common::{
    FUNCTION, about, calls, event, message, notification, outcome, refused_message, stack, started, store,
};

fn forwarded(message_id: &str, bytes: usize) -> Value {
    json!({
        "messageId": message_id,
        "timestamp": "2026-11-23T10:00:00Z",
        "status": "forwarded",
        "reason": null,
        "recipients": ["info@in.example"],
        "destinations": ["info@out.example"],
        "sent": [{"destinations": ["info@out.example"]}],
        "error": null,
        "bytes": bytes,
    })
}

fn answer(outcomes: &[&str]) -> Value {
    json!({"disposition": "CONTINUE", "outcomes": outcomes})
}

#[tokio::test]
async fn a_message_is_archived_forwarded_and_recorded() {
    let stack = stack(&[]).await;
    store(&stack, "m1", message()).await;
    let event = about("m1");
    assert_eq!(stack.invoke(FUNCTION, &event).await, Ok(answer(&["forwarded"])));

    let sent = stack.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].from, "ann_else.example@in.example");
    assert_eq!(sent[0].destinations, ["info@out.example"]);
    let raw = String::from_utf8(sent[0].raw.clone()).unwrap();
    assert!(raw.ends_with("\r\n\r\nHi there\r\n"), "{raw}");
    assert!(raw.contains("From: Ann <ann_else.example@in.example>\r\n"), "{raw}");

    assert_eq!(outcome(&stack, "m1").await, forwarded("m1", message().len()));
    let index = stack.object("index/2026/11/23/m1.json").await.expect("an index");
    assert_eq!(index, format!("{}\n", event["Records"][0]["ses"]));
    let counts = ["s3:GetObject", "s3:PutObject", "ses:SendEmail"].map(|action| calls(&stack, action));
    assert_eq!(counts, [3, 2, 1], "message, routes and list of those held for; index and outcome; one send");
}

#[tokio::test]
async fn a_message_of_no_bytes_is_forwarded() {
    let stack = stack(&[]).await;
    store(&stack, "m1", "").await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert_eq!(outcome(&stack, "m1").await, forwarded("m1", 0));
}

#[tokio::test]
async fn a_forwarded_message_is_not_sent_again_even_if_it_is_gone() {
    let stack = stack(&[]).await;
    store(&stack, "m1", message()).await;
    let event = about("m1");
    assert_eq!(stack.invoke(FUNCTION, &event).await, Ok(answer(&["forwarded"])));
    stack.delete_object("messages/m1").await;
    assert_eq!(stack.invoke(FUNCTION, &event).await, Ok(answer(&["forwarded"])));
    assert_eq!(stack.sent().len(), 1);
}

#[tokio::test]
async fn a_verdict_drops_a_message_that_is_not_even_read() {
    let stack = stack(&[]).await;
    let mut spam = notification("m1", &["info@in.example"]);
    spam["receipt"]["spamVerdict"]["status"] = "FAIL".into();
    assert_eq!(stack.invoke(FUNCTION, &event(&[spam])).await, Ok(answer(&["dropped"])));
    let expected = json!({
        "messageId": "m1",
        "timestamp": "2026-11-23T10:00:00Z",
        "status": "dropped",
        "reason": "spam",
        "recipients": ["info@in.example"],
        "destinations": [],
        "sent": [],
        "error": null,
        "bytes": null,
    });
    assert_eq!(outcome(&stack, "m1").await, expected);
    assert_eq!(calls(&stack, "s3:GetObject"), 1, "the routes, which may let its sender past");
    assert_eq!(calls(&stack, "s3:PutObject"), 2, "index and outcome");
}

#[tokio::test]
async fn a_message_that_is_not_there_fails_and_says_so() {
    let stack = stack(&[]).await;
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "MessageNotFound");
    let expected = format!("MessageNotFound: message m1: there is no s3://{}/messages/m1", stack.bucket());
    assert_eq!(error.error_message, expected);
    assert_eq!(outcome(&stack, "m1").await["status"], "failed");
    assert!(stack.object("index/2026/11/23/m1.json").await.is_some());
}

#[tokio::test]
async fn one_record_that_fails_keeps_no_other_from_being_forwarded() {
    let stack = stack(&[]).await;
    store(&stack, "m2", message()).await;
    let event = event(&["m1", "m2"].map(|id| notification(id, &["info@in.example"])));
    let error = stack.invoke(FUNCTION, &event).await.unwrap_err();
    assert!(error.error_message.contains("message m1: there is no"), "{error}");
    assert_eq!(outcome(&stack, "m2").await, forwarded("m2", message().len()));
}

#[tokio::test]
async fn a_refusal_is_recorded_and_not_tried_again_until_asked_for() {
    let mut config = Config::default();
    config.parameters.insert("OnRefused".to_owned(), "notice".to_owned());
    let stack = started(config).await;
    let refused = refused_message();
    let id = stack.send(Some("ann@else.example"), &["info@in.example"], refused.as_bytes()).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Noticed);
    assert_eq!(calls(&stack, "ses:SendEmail"), 2, "one of the message, tried once, and one of the notice");
    let record = stack.outcome(&id).await.expect("an outcome");
    assert_eq!(record["status"], "rejected");
    assert_eq!(record["reason"], "MessageRejected");
    let mut kept = stack.keys("error/").await;
    kept.retain(|key| key.ends_with(&format!("/{id}.eml")));
    assert_eq!(kept.len(), 1);
    let kept = stack.object(&kept[0]).await.expect("an error copy");
    assert!(kept.starts_with(b"X-Original-To: info@in.example\r\n"), "it is what was to be sent");
    assert!(kept.ends_with(b"; name=\"a.exe\"\r\n\r\nHi there\r\n"));

    let index = stack.keys("index/").await;
    let notification = stack.object(&index[0]).await.expect("an index");
    let again = event(&[serde_json::from_slice(&notification).unwrap()]);
    let error = stack.invoke(FUNCTION, &again).await.unwrap_err();
    assert_eq!(error.error_type, "MessageRejected");
    assert_eq!(calls(&stack, "ses:SendEmail"), 3, "another request tries again");
}

#[tokio::test]
async fn throttling_is_waited_out_and_a_failing_service_tried_again() {
    let faults = ["ses:SendEmail=throttle*2", "s3:GetObject(messages/)=503*1", "s3:PutObject(index/)=500*1"];
    let stack = stack(&faults).await;
    store(&stack, "m1", message()).await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert_eq!(stack.sent().len(), 1);
}

#[tokio::test]
async fn a_message_cut_short_is_read_again() {
    let stack = stack(&["s3:GetObject(messages/)=truncate*1"]).await;
    let long = format!("{}{}", message(), "0123456789\r\n".repeat(100_000));
    store(&stack, "m1", long.clone()).await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert!(stack.sent()[0].raw.ends_with(&long.as_bytes()[message().len() - 4..]));
}

#[tokio::test]
async fn a_send_whose_answer_is_cut_short_is_a_send() {
    let stack = stack(&["ses:SendEmail=truncate"]).await;
    store(&stack, "m1", message()).await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert_eq!(stack.sent().len(), 1);
    let record = stack.outcome("m1").await.expect("an outcome");
    assert_eq!(record["sent"], json!([{ "messageId": "", "destinations": ["info@out.example"] }]));
}

#[tokio::test]
async fn the_record_of_a_send_is_tried_hard() {
    let stack = stack(&["s3:PutObject(outcome/)=500*4"]).await;
    store(&stack, "m1", message()).await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert_eq!(stack.sent().len(), 1);
    assert_eq!(outcome(&stack, "m1").await, forwarded("m1", message().len()));
}

#[tokio::test]
async fn a_send_that_could_not_be_recorded_is_recorded_by_the_next_try() {
    let stack = stack(&["s3:PutObject(outcome/)=access-denied*1"]).await;
    store(&stack, "m1", message()).await;
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "AccessDenied");
    assert!(error.error_message.contains("sent, but this could not be recorded"), "{error}");
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert_eq!(stack.sent().len(), 1);
    assert_eq!(outcome(&stack, "m1").await, forwarded("m1", message().len()));
}

#[tokio::test]
async fn many_destinations_take_several_sends_and_a_retry_makes_only_the_missing_one() {
    let stack = stack(&["ses:SendEmail=access-denied@2"]).await;
    let destinations: Vec<_> = (0..120).map(|i| format!("d{i}@else.example")).collect();
    let routes = format!("[routes]\n\"info@in.example\" = {destinations:?}\n");
    stack.put_object("config/routes.toml", routes).await;
    store(&stack, "m1", message()).await;

    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "AccessDeniedException");
    let record = outcome(&stack, "m1").await;
    assert_eq!((&record["status"], &record["reason"]), (&json!("failed"), &json!("incomplete")));
    let sent: Vec<_> = stack.sent().into_iter().map(|mail| mail.destinations).collect();
    assert_eq!(sent, [&destinations[..50], &destinations[100..]]);

    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    let sent: Vec<_> = stack.sent().into_iter().map(|mail| mail.destinations).collect();
    assert_eq!(sent, [&destinations[..50], &destinations[100..], &destinations[50..100]]);
    assert_eq!(outcome(&stack, "m1").await["status"], "forwarded");
}

/// The recipients that a message says it is for, and where it went.
fn told(stack: &Stack) -> Vec<(Vec<String>, Vec<String>)> {
    let sends = stack.sent().into_iter().map(|mail| {
        let raw = String::from_utf8(mail.raw).expect("it is ASCII");
        let values = |name: &str| -> Vec<String> {
            raw.lines().filter_map(|line| Some(line.strip_prefix(name)?.trim().to_owned())).collect()
        };
        assert_eq!(values("X-Original-To:"), values("X-Loop:"), "{raw}");
        (values("X-Original-To:"), mail.destinations)
    });
    sends.collect()
}

fn send_of(recipients: &[&str], destinations: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    (owned(recipients), owned(destinations))
}

#[tokio::test]
async fn blind_recipients_have_a_send_of_their_own_and_a_retry_makes_only_the_missing_one() {
    let stack = stack(&["ses:SendEmail=access-denied@2"]).await;
    let message = "From: Ann <ann@else.example>\r\nTo: Info <INFO@in.example>\r\nCc: <sales@in.example>\r\n\
                   Bcc: boss@in.example\r\nSubject: Hello\r\n\r\nHi there\r\n";
    store(&stack, "m1", message).await;
    let event = event(&[notification(
        "m1",
        &["boss@in.example", "info@in.example", "hr@in.example", "sales@in.example"],
    )]);
    let visible =
        send_of(&["info@in.example", "sales@in.example"], &["info@out.example", "sales@out.example"]);
    let boss = send_of(&["boss@in.example"], &["boss@out.example"]);
    let hr = send_of(&["hr@in.example"], &["hr@out.example"]);

    let error = stack.invoke(FUNCTION, &event).await.unwrap_err();
    assert_eq!(error.error_type, "AccessDeniedException");
    assert_eq!(told(&stack), [visible.clone(), hr.clone()]);
    assert_eq!(stack.invoke(FUNCTION, &event).await, Ok(answer(&["forwarded"])));
    assert_eq!(told(&stack), [visible, hr, boss]);
    let sent = json!([
        {"destinations": ["info@out.example", "sales@out.example"]},
        {"destinations": ["hr@out.example"]},
        {"destinations": ["boss@out.example"]},
    ]);
    let record = outcome(&stack, "m1").await;
    assert_eq!((&record["status"], &record["sent"]), (&json!("forwarded"), &sent));
}

#[tokio::test]
async fn to_and_cc_stay_where_destinations_are_hidden() {
    for (hide, to) in [("false", "info@out.example"), ("true", "info@in.example")] {
        let mut config = Config::default();
        config.parameters.insert("HideDestinations".to_owned(), hide.to_owned());
        let stack = started(config).await;
        store(&stack, "m1", message()).await;
        assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
        let sent = String::from_utf8(stack.sent()[0].raw.clone()).unwrap();
        assert!(sent.contains(&format!("\r\nTo: {to}\r\n")), "{sent}");
    }
}

#[tokio::test]
async fn a_part_with_a_line_that_is_too_long_is_re_encoded_and_the_outcome_says_so() {
    let stack = stack(&[]).await;
    let head = "From: Ann <ann@else.example>\r\nTo: info@in.example\r\nMIME-Version: 1.0\r\n\
                Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n50 = 50\r\n--b\r\n";
    let tail = "\r\n--b--\r\n";
    let long = "x".repeat(999);
    store(&stack, "m1", format!("{head}Content-Type: text/html\r\n\r\n{long}{tail}")).await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    let sent = String::from_utf8(stack.sent()[0].raw.clone()).unwrap();
    let expected = format!(
        "--b\r\n\r\n50 = 50\r\n--b\r\nContent-Type: text/html\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n{}{}{tail}",
        format!("{}=\r\n", "x".repeat(75)).repeat(13),
        "x".repeat(999 - 13 * 75),
    );
    assert!(sent.ends_with(&expected), "{sent}");
    assert_eq!(outcome(&stack, "m1").await["reencoded"], true);

    // What is signed stays as it is, and so is refused, and reaches its reader as a stub.
    let signed = head.replace("mixed", "signed");
    store(&stack, "m2", format!("{signed}\r\n{long}{tail}")).await;
    assert_eq!(stack.invoke(FUNCTION, &about("m2")).await, Ok(answer(&["forwarded"])));
    let record = outcome(&stack, "m2").await;
    assert_eq!(
        (&record["reencoded"], &record["sent"][0]["stub"]),
        (&Value::Null, &json!(true)),
        "{record:#}"
    );
}

#[tokio::test]
async fn routes_that_are_wrong_fail_the_message_and_name_the_place_until_they_are_mended() {
    let stack = stack(&[]).await;
    stack.put_object("config/routes.toml", "[routes]\n\"info@in.example\" = \"nobody\"\n").await;
    store(&stack, "m1", message()).await;
    let error = stack.invoke(FUNCTION, &about("m1")).await.unwrap_err();
    assert_eq!(error.error_type, "InvalidRoutes");
    let place = format!("s3://{}/config/routes.toml: line 2, column ", stack.bucket());
    assert!(error.error_message.contains(&place), "{error}");
    assert!(stack.sent().is_empty());

    stack.put_object("config/routes.toml", "[routes]\n\"info@in.example\" = \"info@out.example\"\n").await;
    assert_eq!(stack.invoke(FUNCTION, &about("m1")).await, Ok(answer(&["forwarded"])));
    assert_eq!(outcome(&stack, "m1").await, forwarded("m1", message().len()));
}

#[tokio::test]
async fn the_outcome_tells_what_became_of_each_recipient() {
    let stack = stack(&[]).await;
    stack.put_object("config/routes.toml", "[routes]\n\"gone@in.example\" = []\n").await;
    let all = ["gone@in.example", "x@other.example", "jane@in.example", "john doe@in.example"];
    store(&stack, "m1", format!("X-Loop: JANE@in.example\r\n{}", message())).await;
    assert_eq!(stack.invoke(FUNCTION, &event(&[notification("m1", &all)])).await, Ok(answer(&["forwarded"])));
    let record = outcome(&stack, "m1").await;
    let left_out = json!([
        {"recipient": "gone@in.example", "reason": "discarded"},
        {"recipient": "x@other.example", "reason": "no-route"},
        {"recipient": "jane@in.example", "reason": "loop"},
    ]);
    assert_eq!(record["leftOut"], left_out);
    assert_eq!(record["reason"], "loop");
    assert_eq!(record["destinations"], json!(["\"john doe\"@out.example"]));

    store(&stack, "m2", format!("X-Loop: jane@in.example\r\n{}", message())).await;
    let event = event(&[notification("m2", &all[..3])]);
    assert_eq!(stack.invoke(FUNCTION, &event).await, Ok(answer(&["dropped"])));
    assert_eq!(outcome(&stack, "m2").await["leftOut"], left_out);
}

#[tokio::test]
async fn a_tag_shows_in_the_subject_in_a_field_and_in_the_outcome() {
    let mut config = Config::default();
    let settings = [("OnSpam", "tag"), ("OnUnauthenticated", "tag")];
    config.parameters.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let stack = started(config).await;
    store(&stack, "m1", message()).await;
    let mut spam = notification("m1", &["info@in.example"]);
    for verdict in ["spamVerdict", "spfVerdict", "dkimVerdict"] {
        spam["receipt"][verdict]["status"] = "FAIL".into();
    }
    assert_eq!(stack.invoke(FUNCTION, &event(&[spam])).await, Ok(answer(&["forwarded"])));
    let sent = String::from_utf8(stack.sent()[0].raw.clone()).unwrap();
    assert!(sent.contains("\r\nSubject: [SPAM] [UNVERIFIED] Hello\r\n"), "{sent}");
    assert!(sent.contains("\r\nX-Forwarder-Verdict: spam, unauthenticated\r\n"), "{sent}");
    let record = outcome(&stack, "m1").await;
    let tags = json!(["spam", "unauthenticated"]);
    assert_eq!((&record["reason"], &record["tags"]), (&json!("spam"), &tags));
}

#[tokio::test]
async fn a_bounce_of_forwarded_mail_is_an_error_and_not_forwarded() {
    let stack = stack(&[]).await;
    let report = "From: MAILER-DAEMON@amazonses.com\r\nTo: jane_else.example@in.example\r\n\
                  Content-Type: multipart/report; report-type=delivery-status\r\n\r\nrefused\r\n";
    store(&stack, "m1", report).await;
    let mut bounce = notification("m1", &["jane_else.example@in.example"]);
    bounce["mail"]["source"] = "<>".into();
    let event = event(&[bounce]);
    let error = stack.invoke(FUNCTION, &event).await.unwrap_err();
    assert_eq!(error.error_type, "Bounce");
    let record = outcome(&stack, "m1").await;
    assert_eq!((&record["status"], &record["reason"]), (&json!("dropped"), &json!("bounce")));
    assert!(stack.sent().is_empty());
}

#[tokio::test]
async fn what_tells_of_no_message_is_an_error_that_says_what_came() {
    let stack = stack(&[]).await;
    let setup = event(&[notification("AMAZON_SES_SETUP_NOTIFICATION", &["info@in.example"])]);
    assert_eq!(stack.invoke(FUNCTION, &setup).await, Ok(answer(&["ignored"])));
    let cases = [
        (event(&[notification("m1", &[])]), "receipt.recipients names nobody"),
        (json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}), r#"a record of "aws:s3""#),
        (json!({"Records": []}), "`Records` is empty"),
        (json!({"Records": "none"}), "`Records` is no list"),
        (json!({"Records": [{"eventSource": "aws:ses", "ses": {"receipt": {}}}]}), "without `mail`"),
        (json!({"key1": "value1"}), r#"an object with "key1""#),
        (json!("hello"), "not a JSON object"),
    ];
    for (event, says) in cases {
        let error = stack.invoke(FUNCTION, &event).await.unwrap_err();
        assert_eq!(error.error_type, "UnreadableNotification", "{event}");
        assert!(error.error_message.contains(says), "{event}: {error}");
    }
}

/// Two stacks may tell each other's owners; each one's own notices must not go round.
#[tokio::test]
async fn a_notice_of_another_stack_is_mail_as_any() {
    let stack = stack(&[]).await;
    for (id, name, status) in [("m1", "ses-forwarder", "dropped"), ("m2", "another", "forwarded")] {
        store(&stack, id, format!("X-Forwarder-Notice: {name}\r\n{}", message())).await;
        let answer = stack.invoke(FUNCTION, &about(id)).await.expect("it is");
        assert_eq!(answer["outcomes"], json!([status]), "{name}");
    }
}

/// It might be made all the same when it is cut off, and nobody would know.
#[tokio::test]
async fn a_send_that_there_is_no_time_for_is_left_to_the_next_try() {
    let slow = "ses:SendEmail=slow:2500".parse().expect("a fault");
    let function_timeout = Some(std::time::Duration::from_secs(20));
    let stack = started(Config { faults: vec![slow], function_timeout, ..Config::default() }).await;
    let blind = ["a@in.example", "b@in.example", "c@in.example", "d@in.example", "e@in.example"];
    store(&stack, "m1", message()).await;
    let event = event(&[notification("m1", &blind)]);
    let mut tries = 1;
    while let Err(error) = stack.invoke(FUNCTION, &event).await {
        assert!(error.error_message.contains("OutOfTime"), "{error}");
        assert_eq!(outcome(&stack, "m1").await["doubts"], Value::Null, "nothing was cut off");
        tries += 1;
    }
    assert!(tries > 1);
    let mut sent: Vec<String> = stack.sent().into_iter().flat_map(|mail| mail.destinations).collect();
    sent.sort();
    assert_eq!(sent, blind.map(|recipient| recipient.replace("@in.", "@out.")));
}
