//! The roles of the template, held against what the functions do: nothing missing, nothing unused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{Config, Stack};

#[tokio::test]
async fn roles_allow_what_is_used_and_nothing_more() {
    let mut config = Config::default();
    config.parameters.insert("ConfigurationSet".to_owned(), "outgoing".to_owned());
    config.parameters.insert("OnRefused".to_owned(), "notice".to_owned());
    let stack = Stack::start(config).await.unwrap();
    // An identity may bring a set: what names none, a notice, is sent with that.
    stack
        .services()
        .ses()
        .configure(|account| account.default_configuration_set = Some("outgoing".to_owned()));
    // There are no routes, and S3 tells that only to those who may list.

    let good = stack.send(Some("bob@else.example"), &["sales@in.example"], b"Subject: a\r\n\r\nHi\r\n");
    assert_eq!(stack.settled(&good.await.unwrap()).await, End::Returned);
    // SES refuses the attachment, and the stub: what was to be sent is kept, and the operator told on both channels.
    stack.faults().add("ses:SendEmail(bob_else.example@)=reject*2".parse().unwrap());
    let bad = b"Subject: b\r\nContent-Type: application/octet-stream; name=\"a.exe\"\r\n\r\nHi\r\n";
    let bad = stack.send(Some("bob@else.example"), &["info@in.example"], bad).await.unwrap();
    assert_eq!(stack.settled(&bad).await, End::Noticed);
    assert_eq!(stack.published().len(), 1);
    // A message that is not there is tried again until it is.
    stack.faults().add("s3:GetObject(messages/)=not-found".parse().unwrap());
    let gone = stack.send(Some("bob@else.example"), &["info@in.example"], b"Subject: c\r\n\r\nHi\r\n");
    let gone = gone.await.unwrap();
    stack.told(2).await;
    stack.faults().clear();
    assert_eq!(stack.settled(&gone).await, End::Noticed);
    stack.emptied().await;
    assert_eq!(stack.outcome(&gone).await.unwrap()["status"], "forwarded");

    // Killed before anything is recorded: both functions then ask the archive whose claim that was.
    stack.faults().add("ses:SendEmail=kill-before@1".parse().unwrap());
    let killed = stack.send(Some("bob@else.example"), &["info@in.example"], b"Subject: d\r\n\r\nHi\r\n");
    let killed = killed.await.unwrap();
    assert_eq!(stack.settled(&killed).await, End::Noticed);
    stack.emptied().await;
    assert_eq!(stack.outcome(&killed).await.unwrap()["status"], "forwarded");
    let find = |keys: Vec<String>| keys.into_iter().find(|key| key.contains(&killed)).unwrap();
    stack.delete_object(&find(stack.keys("outcome/").await)).await;
    let archived = stack.object(&find(stack.keys("index/").await)).await.unwrap();
    let error = stack.invoke("HandleEmailFunction", &serde_json::from_slice(&archived).unwrap()).await;
    assert_eq!(error.unwrap_err().error_type, "InProgress");

    // Another instance finds routes, which refuse.
    stack.put_object("config/routes.toml", "[routes]\n\"old\" = \"refuse\"\n").await;
    stack.faults().add("s3:GetObject(messages/)=kill-before*1".parse().unwrap());
    let refused = stack.send(Some("bob@else.example"), &["old@in.example"], b"Subject: d\r\n\r\nHi\r\n");
    let refused = refused.await.unwrap();
    stack.settled(&refused).await;
    stack.emptied().await;
    assert_eq!(stack.outcome(&refused).await.unwrap()["reason"], "refused");

    // A destination refuses mail for good, so that more of it is held.
    let bounced = stack.send(Some("bob@else.example"), &["bounce@in.example"], b"Subject: e\r\n\r\nHi\r\n");
    let bounced = bounced.await.unwrap();
    let told = |event: &&Event| matches!(event, Event::Feedback { .. });
    stack.until(&bounced, |events| events.iter().copied().find(told).map(drop)).await;
    stack.emptied().await;
    assert_eq!(stack.outcome(&bounced).await.unwrap()["delivery"][0]["event"], "bounced");

    let denied: Vec<_> = stack
        .journal()
        .entries()
        .iter()
        .filter(|entry| matches!(&entry.event, Event::Called { status: Some(403), .. }))
        .map(ToString::to_string)
        .collect();
    assert!(denied.is_empty(), "missing: {denied:#?}");
    let unused: Vec<_> =
        stack.unused_permissions().iter().map(|(function, grant)| format!("{function}: {grant}")).collect();
    assert!(unused.is_empty(), "unused: {unused:#?}");
}
