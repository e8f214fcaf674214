//! The short form of `cargo local load`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use ses_forwarder_local_stack::{Config, Stack};
use ses_forwarder_local_trials::load::{self, Load};

#[tokio::test]
async fn every_message_is_accounted_for_while_calls_fail() {
    let stack = Stack::start(load::config()).await.unwrap();
    let load = Load { messages: 300, time: Duration::ZERO, connections: 4, fault_percent: 5 };
    let account = load::run(&stack, load).await.unwrap();
    assert!(account.balances(), "{account}{:#?}", account.problems);
    assert_eq!(account.accepted, 300);
    assert_eq!(account.dropped, 15);
    // One whose refusals were lost three times is given up.
    assert!(account.refused + account.unsent >= 3, "{account}");
    assert!(account.faults > 0 && account.dead_letters > 3, "{account}");
}

#[tokio::test]
async fn a_message_that_gets_lost_fails_the_run() {
    // Without the queue, what Lambda gives up is nobody's.
    let folder = tempfile::tempdir().unwrap();
    let config = load::config();
    let template = std::fs::read_to_string(&config.template).unwrap();
    let queue = "      DeadLetterQueue:\n        Type: SQS\n        TargetArn: !GetAtt DeadLetterQueue.Arn\n";
    assert!(template.contains(queue));
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, template.replace(queue, "")).unwrap();
    let stack = Stack::start(Config { template: path, ..config }).await.unwrap();
    let load = Load { messages: 60, time: Duration::ZERO, connections: 2, fault_percent: 15 };
    let account = load::run(&stack, load).await.unwrap();
    assert!(
        !account.balances()
            && account.problems.iter().any(|problem| problem.contains("is given up by Lambda")),
        "{account}"
    );
}

#[tokio::test]
async fn what_is_missing_afterwards_fails_the_run() {
    let stack = Stack::start(load::config()).await.unwrap();
    let load = Load { messages: 12, time: Duration::ZERO, connections: 2, fault_percent: 0 };
    let taken = load::send(&stack, load).await.unwrap();
    let mailbox = stack.data().join("maildir/r3@out.example/new");
    let mail = std::fs::read_dir(mailbox).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(mail.path()).unwrap();
    // Of another message: one of which both are missing is one problem.
    let sent = stack.sent();
    let of_mail = sent.iter().find(|sent| sent.destinations == ["r3@out.example"]).unwrap();
    let of_mail = of_mail.message_id.as_deref().unwrap();
    let outcomes = stack.keys("outcome/").await;
    let outcome = outcomes.iter().find(|key| !key.contains(of_mail)).unwrap();
    stack.delete_object(outcome).await;
    let account = taken.account(&stack).await.unwrap();
    assert!(!account.balances(), "{account}");
    assert_eq!((account.accepted, account.problems.len()), (12, 2), "{:#?}", account.problems);
}
