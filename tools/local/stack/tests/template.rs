//! The template is what runs: a change to it changes what becomes of a message.
//!
//! What a change does to the deployment's wiring is tested beside the evaluation; here real functions run
//! from edited copies.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs};

use serde_json::json;
use ses_forwarder_local_aws::{
    journal::{End, Event},
    pace::Pace,
};
use ses_forwarder_local_stack::{Config, Parts, Stack};
use tempfile::TempDir;

/// What is replaced in the template, and by what.
type Edit<'a> = (&'a str, &'a str);

/// A stack from a copy of the template, which goes with the stack. Of what stands there more than once the
/// first is replaced.
async fn edited(edits: &[Edit<'_>], pace: Pace) -> (Stack, TempDir) {
    let mut config = Config { pace, ..Config::default() };
    let mut template = fs::read_to_string(&config.template).unwrap();
    for (replaced, with) in edits {
        assert!(template.contains(replaced), "{replaced}");
        template = template.replacen(replaced, with, 1);
    }
    let folder = tempfile::tempdir().unwrap();
    config.template = folder.path().join("template.yaml");
    fs::write(&config.template, template).unwrap();
    (Stack::start(config).await.unwrap(), folder)
}

async fn send(stack: &Stack) -> String {
    stack.send(Some("ann@else.example"), &["info@in.example"], b"Subject: a\r\n\r\nHi\r\n").await.unwrap()
}

/// The error that a message was dead-lettered with.
async fn dead_lettered(stack: &Parts, id: &str) -> String {
    stack
        .until(id, |events| {
            events.iter().find_map(|event| match event {
                Event::DeadLettered { error, .. } => Some(error.clone()),
                _ => None,
            })
        })
        .await
}

#[tokio::test]
async fn the_prefix_is_where_mail_is_stored() {
    let everywhere = [
        ("MESSAGES_PREFIX: messages/", "MESSAGES_PREFIX: inbox/"),
        ("ObjectKeyPrefix: messages/", "ObjectKeyPrefix: inbox/"),
        ("${Bucket}/messages/*", "${Bucket}/inbox/*"),
        ("${Name}/messages/*", "${Name}/inbox/*"),
        ("- messages/*", "- inbox/*"),
    ];
    let (stack, _folder) = edited(&everywhere, Pace::fast()).await;
    let id = send(&stack).await;
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    assert_eq!(stack.keys("inbox/").await, [format!("inbox/{id}")]);
    assert_eq!(stack.sent().len(), 1);

    // The function looks where nothing is stored.
    let (stack, _folder) = edited(&everywhere[1..3], Pace::fast()).await;
    let id = send(&stack).await;
    let error = dead_lettered(&stack, &id).await;
    assert!(error.contains(&format!("s3://{}/messages/{id}", stack.bucket())), "{error}");
    stack.told(1).await;
    assert_eq!(stack.keys("inbox/").await, [format!("inbox/{id}")]);
    assert!(stack.sent().len() <= 1, "the notice alone");
}

#[tokio::test]
async fn a_variable_counts_by_its_name() {
    let (stack, _folder) = edited(&[("EMAIL_DOMAIN: ", "MAIL_DOMAIN: ")], Pace::fast()).await;
    let id = send(&stack).await;
    let error = dead_lettered(&stack, &id).await;
    assert!(error.starts_with("SettingsError: EMAIL_DOMAIN is not set; it must be "), "{error}");
    assert_eq!(stack.sent(), []);

    let (stack, _folder) =
        edited(&[("SUBJECT_PREFIX: !Ref SubjectPrefix", "SUBJECT_PREFIX: '[mail]'")], Pace::fast()).await;
    let id = send(&stack).await;
    assert_eq!(stack.settled(&id).await, End::Returned);
    let sent = String::from_utf8(stack.sent().remove(0).raw).unwrap();
    assert!(sent.contains("\r\nSubject: [mail] a\r\n"), "{sent}");
}

#[tokio::test]
async fn a_role_allows_what_it_names() {
    for (edit, denied) in [
        (("Action: s3:GetObject", "Action: s3:GetObjectAcl"), "s3:GetObject"),
        (("- ses:SendRawEmail", "- ses:SendBounce"), "ses:SendRawEmail"),
    ] {
        let (stack, _folder) = edited(&[edit], Pace::fast()).await;
        let id = send(&stack).await;
        let error = dead_lettered(&stack, &id).await;
        assert!(error.contains("AccessDenied") && error.contains(denied), "{denied}: {error}");
        let notice = &stack.told(1).await[0].text;
        assert!(notice.contains("AccessDenied") && notice.contains(denied), "{denied}: {notice}");
    }
}

#[tokio::test]
async fn the_rule_decides_who_is_received() {
    for (edit, refusal) in [
        (
            (
                "Recipients: !If [NarrowRecipients, !Ref Recipients, !Ref EmailDomain]",
                "Recipients: [!Ref DestinationDomain]",
            ),
            "550 5.1.1 No receipt rule matches this recipient",
        ),
        (("Enabled: true", "Enabled: false"), "550 5.1.1 No receipt rule matches this recipient"),
        (
            ("TlsPolicy: !Ref TlsPolicy", "TlsPolicy: Require"),
            "530 5.7.0 Must issue a STARTTLS command first",
        ),
    ] {
        let (stack, _folder) = edited(&[edit], Pace::fast()).await;
        let refused = stack.send(Some("ann@else.example"), &["info@in.example"], b"Subject: a\r\n\r\n").await;
        assert_eq!(refused.unwrap_err().to_string(), refusal, "{edit:?}");
    }
}

/// Puts six dead letters on the queue and returns how many each invocation was handed. Clocks run as on AWS, so
/// that a batch is not invoked before it is full.
async fn batches(size: usize) -> Vec<usize> {
    let with = format!("BatchSize: {size}");
    let (stack, _folder) = edited(&[("BatchSize: 10", &with)], Pace::real()).await;
    let queue = stack.services().queue(&stack.deployment().queues[0].arn).unwrap();
    let ids: Vec<String> = (0..6).map(|number| format!("message{number}")).collect();
    for id in &ids {
        let mail = json!({"messageId": id, "timestamp": "2026-11-23T10:00:00.000Z"});
        let record = json!({"eventSource": "aws:ses", "ses": {"mail": mail, "receipt": {}}});
        queue.send(&json!({"Records": [record]}).to_string(), BTreeMap::new());
    }
    let mut batches = BTreeMap::new();
    for id in &ids {
        let request = stack.until(id, |events| {
            events.iter().find_map(|event| match event {
                Event::Returned { request_id, result: Ok(_), .. } => Some(request_id.clone()),
                _ => None,
            })
        });
        *batches.entry(request.await).or_default() += 1;
    }
    assert_eq!(stack.published().len(), batches.len(), "a notice a batch");
    batches.into_values().collect()
}

#[tokio::test]
async fn the_batch_size_is_how_many_dead_letters_come_at_once() {
    assert_eq!(tokio::join!(batches(2), batches(3)), (vec![2, 2, 2], vec![3, 3]));
}

/// With the policy that the README gives for it.
#[tokio::test]
async fn mail_can_be_kept_in_a_bucket_that_exists_already() {
    let mut config = Config::default();
    config.parameters.insert("ExistingBucket".to_owned(), "mine".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let id = send(&stack).await;
    assert_eq!(stack.settled(&id).await, End::Returned);
    assert_eq!((stack.bucket(), stack.sent().len()), ("mine", 1));
}
