//! The real program against the local stack: this repository's template, and the real functions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use ses_forwarder_local_aws::{
    auth::{OPERATOR_KEY, OPERATOR_SECRET},
    journal::End,
};
use ses_forwarder_local_stack::{Config, Stack};
use support::{Operator, nameserver, states};

const MX: &str = "inbound-smtp.us-east-1.amazonaws.com.";

async fn deployed() -> (Stack, Operator) {
    let stack = Stack::start(Config::default()).await.unwrap();
    let operator = Operator {
        endpoint: stack.aws_url(),
        access_key_id: OPERATOR_KEY,
        secret_access_key: OPERATOR_SECRET,
        stack: "ses-forwarder",
    };
    (stack, operator)
}

async fn send(stack: &Stack) -> anyhow::Result<String> {
    stack.send(Some("ann@else.example"), &["info@in.example"], b"Subject: Hello\r\n\r\nHi\r\n").await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_is_content_once_everything_is_right() {
    let (stack, operator) = deployed().await;
    let dns = nameserver(MX);
    let wrong = |check| (1, states(&[(check, "wrong")]));
    // The template has subscribed the notice address, which has not confirmed yet.
    assert_eq!(operator.doctor(dns), wrong("notice topic"));
    let topic = &stack.deployment().topics[0].arn;
    let sns = operator.clients().await.sns;
    let subscribe = sns.subscribe().topic_arn(topic).protocol("email").endpoint("operator@out.example");
    subscribe.send().await.unwrap();
    let asked = stack.published().pop().unwrap().text;
    let token = asked.trim_end().rsplit(' ').next().unwrap();
    sns.confirm_subscription().topic_arn(topic).token(token).send().await.unwrap();
    assert_eq!(operator.doctor(dns), (0, states(&[])));
    let (code, report) = operator.run(&["doctor", "--nameserver", &dns.to_string()]);
    let all_well = report.lines().all(|line| line.starts_with("ok "));
    assert!(code == 0 && all_well && report.contains("notice topic: 1 confirmed"), "{report}");

    let ses = stack.services().ses();
    ses.configure(|account| account.sandbox = true);
    assert_eq!(operator.doctor(dns), wrong("SES account"));
    ses.configure(|account| account.sandbox = false);
    ses.configure(|account| account.identities.clear());
    assert_eq!(operator.doctor(dns), wrong("sending identity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_comes_while_the_rule_set_is_active() {
    let (stack, operator) = deployed().await;
    let ses = operator.clients().await.ses;
    ses.set_active_receipt_rule_set().send().await.unwrap();
    assert!(send(&stack).await.unwrap_err().to_string().starts_with("550 "));
    let dns = nameserver(MX);
    let wrong = states(&[("active rule set", "wrong"), ("notice topic", "wrong")]);
    assert_eq!(operator.doctor(dns), (1, wrong));

    let activated = "rule set ses-forwarder is active now; before, no rule set was\n\
                     to go back: cargo operator activate --stack ses-forwarder --rollback\n";
    assert_eq!(operator.run(&["activate"]), (0, activated.to_owned()));
    assert_eq!(stack.settled(&send(&stack).await.unwrap()).await, End::Returned);

    let back = "no rule set is active again; ses-forwarder gets no mail any more\n";
    assert_eq!(operator.run(&["activate", "--rollback"]), (0, back.to_owned()));
    assert!(send(&stack).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_forwarded_once_however_often_it_is_replayed() {
    let (stack, operator) = deployed().await;
    stack.faults().add("ses:SendEmail=500".parse().unwrap());
    let id = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Noticed);
    // Lambda answers 200 and says in a header that the function failed.
    let (code, told) = operator.run(&["replay", &id]);
    let expected = format!("{id}  failed: message {id}: SendEmail failed: ");
    assert!(code == 1 && told.starts_with(&expected) && told.ends_with("\n1 messages, 1 failed\n"), "{told}");

    stack.faults().clear();
    let planned = format!("{id}  would replay (failed)\n1 messages, 0 failed\n");
    assert_eq!(operator.run(&["replay", "--since", "2h", "--dry-run"]), (0, planned));
    assert_eq!(stack.sent(), []);
    let forwarded = format!("{id}  forwarded\n1 messages, 0 failed\n");
    assert_eq!(operator.run(&["replay", "--since", "2h"]), (0, forwarded.clone()));
    assert_eq!(operator.run(&["replay", &id]), (0, forwarded));
    let sent: Vec<_> = stack.sent().into_iter().map(|sent| sent.destinations).collect();
    assert_eq!(sent, [["info@out.example"]]);
    assert_eq!(operator.run(&["replay", "--since", "2h"]), (0, "0 messages, 0 failed\n".to_owned()));
}
