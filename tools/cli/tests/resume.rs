//! A destination that dies and comes back, on the local stack: nothing is lost, and each message arrives once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use ses_forwarder::{
    notification::Notification,
    outcome::{Outcome, Status},
};
use ses_forwarder_local_aws::journal::Event;
use ses_forwarder_local_stack::{Config, Stack};
use support::Operator;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const ANN: &str = "ann@else.example";

async fn deployed() -> (Stack, Operator) {
    let stack = Stack::start(Config::default()).await.unwrap();
    let routes = "[routes]\n\"info\" = \"ann@else.example\"\n\"both\" = [\"ann@else.example\", \"bob@else.example\"]\n";
    stack.put_object("config/routes.toml", routes).await;
    let operator = Operator::of(&stack);
    (stack, operator)
}

/// Sends a message, and waits until SES has told what became of it.
async fn send(stack: &Stack, to: &str, subject: &str) -> String {
    let message = format!("From: Jane <jane@example.com>\r\nSubject: {subject}\r\n\r\nHello\r\n");
    let id = stack.send(Some("jane@example.com"), &[to], message.as_bytes()).await.unwrap();
    heard(stack, &id).await;
    id
}

async fn heard(stack: &Stack, id: &str) {
    stack.settled(id).await;
    if stack.sent().iter().any(|sent| sent.message_id.as_deref() == Some(id)) {
        let told = |event: &&Event| matches!(event, Event::Feedback { .. });
        stack.until(id, |events| events.iter().copied().find(told).map(drop)).await;
    }
    stack.emptied().await;
}

/// Subjects of what an address has been sent, in order; of what arrived only.
fn got(stack: &Stack, address: &str) -> Vec<String> {
    let entries = stack.journal().entries();
    let mut subjects = Vec::new();
    for entry in &entries {
        let Event::Delivered { destination, to } = &entry.event else { continue };
        if destination == address {
            let mail = std::fs::read_to_string(to).unwrap();
            let subject = mail.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            subjects.push(subject.to_owned());
        }
    }
    subjects
}

async fn status(stack: &Stack, id: &str) -> Value {
    stack.outcome(id).await.unwrap()["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_dies_and_comes_back_and_gets_everything_once_and_in_order() {
    let (stack, operator) = deployed().await;
    let before = send(&stack, "info@in.example", "before").await;
    stack.faults().add("ses:Deliver(ann@)=bounce".parse().unwrap());
    let first = send(&stack, "info@in.example", "1").await;
    // Instances that start anew know of it.
    stack.lambda().stop();
    let second = send(&stack, "both@in.example", "2").await;
    let third = send(&stack, "info@in.example", "3").await;
    assert_eq!(
        (status(&stack, &first).await, status(&stack, &third).await),
        (json!("forwarded"), json!("held"))
    );
    assert_eq!(
        (got(&stack, ANN), got(&stack, "bob@else.example")),
        (vec!["before".to_owned()], vec!["2".to_owned()])
    );
    let told: Vec<_> = stack.published().into_iter().map(|told| told.subject).collect();
    assert_eq!(told, ["[ses-forwarder] Mail for ann@else.example is held"]);

    // It is on SES's own list too, which has to be asked for.
    let output = operator.output(&["resume", ANN]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("SES has ann@else.example on its suppression list"),
        "{said}"
    );
    assert_eq!(status(&stack, &third).await, json!("held"), "nothing has changed");

    stack.faults().clear();
    let planned = format!(
        "{first}  would send\n{second}  would send\n{third}  would send\nann@else.example was on the list of those \
         whose mail is held; 3 messages, 0 failed\n"
    );
    assert_eq!(operator.run(&["resume", "--dry-run", ANN]), (0, planned));
    let done = format!(
        "{first}  forwarded\n{second}  forwarded\n{third}  forwarded\nann@else.example was on the list of those whose \
         mail is held; 3 messages, 0 failed\n"
    );
    assert_eq!(operator.run(&["resume", "--yes", ANN]), (0, done));
    let nothing = "ann@else.example was on no list; 0 messages, 0 failed\n".to_owned();
    assert_eq!(operator.run(&["resume", ANN]), (0, nothing));
    send(&stack, "info@in.example", "after").await;

    assert_eq!(got(&stack, ANN), ["before", "1", "2", "3", "after"]);
    assert_eq!(got(&stack, "bob@else.example"), ["2"]);
    for id in [&before, &first, &second, &third] {
        assert_eq!(status(&stack, id).await, "forwarded", "{}", stack.story(id));
    }
    let (_, trace) = operator.run(&["trace", &first]);
    assert!(trace.contains("\n  bounced       ann@else.example at 20"), "{trace}");
    assert_eq!(stack.published().len(), 1);
}

/// It was resumed too early: the first message shows it, and the others stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_still_dead_refuses_one_message_more_and_no_other() {
    let (stack, operator) = deployed().await;
    stack.faults().add("ses:Deliver(ann@)=bounce".parse().unwrap());
    let first = send(&stack, "info@in.example", "1").await;
    stack.lambda().stop();
    let mut held = Vec::new();
    for subject in ["2", "3", "4"] {
        held.push(send(&stack, "info@in.example", subject).await);
    }
    // The second message is asked for once it is known that the first was refused.
    stack.faults().add("lambda:Invoke=held@2".parse().unwrap());
    let resumed = tokio::task::spawn_blocking(move || {
        let resumed = operator.run(&["resume", "--yes", ANN]);
        (operator, resumed)
    });
    stack
        .until(&first, |events| {
            let told = |event: &&&Event| matches!(event, Event::Feedback { .. });
            (events.iter().filter(told).count() > 1).then_some(())
        })
        .await;
    stack.emptied().await;
    stack.faults().clear();
    let (operator, (code, told)) = resumed.await.unwrap();
    assert_eq!((code, got(&stack, ANN)), (0, Vec::new()), "{told}");
    for id in &held {
        assert_eq!(status(&stack, id).await, "held", "{told}");
    }

    let (code, told) = operator.run(&["resume", "--yes", ANN]);
    assert_eq!(
        (code, got(&stack, ANN)),
        (0, vec!["1".to_owned(), "2".to_owned(), "3".to_owned(), "4".to_owned()]),
        "{told}"
    );
}

/// It waited on the queue for as long as it may, and was refused in the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_long_before_the_first_refusal_is_looked_for() {
    let mut config = Config::default();
    config.parameters.insert("RetryHours".to_owned(), "312".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let operator = Operator::of(&stack);
    let now = OffsetDateTime::now_utc();
    let refused = json!({"at": now.format(&Rfc3339).unwrap(), "messageId": "old"});
    let list = json!({"destinations": {ANN: {"suspended": refused}}});
    stack.put_object("state/destinations.json", list.to_string()).await;
    let received = now - time::Duration::hours(311);
    let notification = Notification { message_id: "old".to_owned(), ..Notification::default() };
    let mut outcome = Outcome::new(&notification, received, "r", Status::Held);
    outcome.destinations.push(ANN.to_owned());
    let (year, month, day) = (received.year(), u8::from(received.month()), received.day());
    let key = format!("outcome/{year}/{month:02}/{day:02}/old.json");
    stack.put_object(&key, serde_json::to_string(&outcome).unwrap()).await;
    let planned = "old  would send\nann@else.example was on the list of those whose mail is held; 1 messages, 0 failed\n";
    assert_eq!(operator.run(&["resume", "--dry-run", ANN]), (0, planned.to_owned()));
}

/// What SES throttles is counted by what became of it in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_by_a_later_round_is_told_once() {
    let (stack, operator) = deployed().await;
    stack.faults().add("ses:Deliver(ann@)=bounce".parse().unwrap());
    let first = send(&stack, "info@in.example", "1").await;
    stack.lambda().stop();
    let second = send(&stack, "info@in.example", "2").await;
    assert_eq!(status(&stack, &second).await, json!("held"));
    stack.faults().clear();
    // The invocation for the second message fails, and has not come so far as to change its record.
    stack.faults().add(format!("s3:GetObject(messages/{second})=access-denied@1").parse().unwrap());
    let (code, told) = operator.run(&["resume", "--yes", "--json", ANN]);
    let mut lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["messageId"].to_string());
    let mut expected = [first, second];
    expected.sort();
    let expected = expected.map(|id| json!({"messageId": id, "result": "forwarded", "error": null}));
    assert_eq!((code, lines), (0, expected.to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_a_complaint_holds_go_out_once_it_is_taken_back() {
    let mut config = Config::default();
    config.parameters.insert("Replies".to_owned(), "on".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let operator = Operator::of(&stack);
    let (code, signed) = operator.run(&["contact", "info@in.example", "jane@example.com"]);
    assert_eq!(code, 0, "{signed}");
    let signed = signed.lines().next().unwrap();
    stack.faults().add("ses:Deliver(jane@)=complaint*1".parse().unwrap());
    let mut answers = Vec::new();
    for subject in ["1", "2"] {
        let answer = format!("From: info@out.example\r\nSubject: {subject}\r\n\r\nHello\r\n");
        let id = stack.send(Some("info@out.example"), &[signed], answer.as_bytes()).await.unwrap();
        heard(&stack, &id).await;
        // Instances that start anew know of it.
        stack.lambda().stop();
        answers.push(id);
    }
    assert_eq!(
        (status(&stack, &answers[0]).await, status(&stack, &answers[1]).await),
        (json!("forwarded"), json!("held"))
    );
    let (code, told) = operator.run(&["resume", "--yes", "jane@example.com"]);
    let done = format!(
        "{}  forwarded\njane@example.com was on the list of those whose mail is held; 1 messages, 0 failed\n",
        answers[1]
    );
    assert_eq!((code, told), (0, done));
    assert_eq!(got(&stack, "jane@example.com"), ["1", "2"]);
    let (_, trace) = operator.run(&["trace", &answers[1]]);
    assert!(trace.contains(" to jane@example.com, answered from info@in.example\n"), "{trace}");
}
