//! The real program against the local stack: this repository's template, and the real functions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use ses_forwarder_local_aws::{
    journal::{End, Event},
    pace::Pace,
    schedules,
    ses::Account,
};
use ses_forwarder_local_stack::{Config, SentMail, Stack};
use support::{
    Operator, nameserver,
    proxy::{Alter, Effect, Proxy},
    states, zone,
};

const MX: &str = "inbound-smtp.us-east-1.amazonaws.com.";

async fn deployed() -> (Stack, Operator) {
    deployed_at(Pace::fast()).await
}

/// The same with clocks at this pace.
async fn deployed_at(pace: Pace) -> (Stack, Operator) {
    let stack = Stack::start(Config { pace, ..Config::default() }).await.unwrap();
    let operator = Operator::of(&stack);
    (stack, operator)
}

async fn send(stack: &Stack) -> anyhow::Result<String> {
    stack.send(Some("ann@else.example"), &["info@in.example"], b"Subject: Hello\r\n\r\nHi\r\n").await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_is_content_once_everything_is_right() {
    let (stack, operator) = deployed().await;
    let dns = nameserver(zone(MX));
    let wrong = |check| (1, states(&[(check, "wrong")]));
    // The template has subscribed the notice address, which has not confirmed yet.
    assert_eq!(operator.doctor(dns), wrong("notice topic"));
    support::confirm(&stack, &operator).await;
    assert_eq!(operator.doctor(dns), (0, states(&[])));
    let (code, report) = operator.run(&["doctor", "--nameserver", &dns.to_string()]);
    let all_well = report.lines().all(|line| line.starts_with("ok "));
    assert!(code == 0 && all_well && report.contains("notice topic: 1 confirmed"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_may_be_given_by_its_id() {
    let (stack, mut operator) = deployed().await;
    support::confirm(&stack, &operator).await;
    let described = operator.clients().await.cloudformation.describe_stacks().send().await.unwrap();
    operator.stack = described.stacks()[0].stack_id().unwrap().to_owned().leak();
    let (code, findings) = operator.findings(nameserver(zone(MX)));
    assert_eq!(code, 0, "{findings:#?}");
    assert!(findings.iter().all(|finding| finding["state"] == "ok"), "{findings:#?}");
    // What is noted under the name is found by it.
    operator.clients().await.ses.set_active_receipt_rule_set().send().await.unwrap();
    let (code, activated) = operator.run(&["activate", "--json"]);
    let activated: Value = serde_json::from_str(&activated).unwrap();
    assert_eq!((code, &activated["stack"]), (0, &json!("ses-forwarder")));
    operator.stack = "ses-forwarder";
    assert_eq!(operator.output(&["activate", "--rollback", "--yes"]).status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn err_doctor_tells_of_a_stack_that_is_not_there_and_of_what_it_can_still_see() {
    let (_stack, mut operator) = deployed().await;
    operator.stack = "nowhere";
    let (code, findings) = operator.findings(nameserver(zone(MX)));
    let found: Vec<_> = findings.iter().map(|finding| finding["found"].as_str().unwrap()).collect();
    assert_eq!((code, found[0]), (1, "there is no stack nowhere in us-east-1"));
    assert_eq!(found[1], "it may send to anyone");
    operator.secret_access_key = "wrong";
    let (code, findings) = operator.findings(nameserver(zone(MX)));
    assert!(code == 2 && findings.iter().all(|finding| finding["state"] == "unknown"), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_comes_while_the_rule_set_is_active() {
    let (stack, operator) = deployed().await;
    let ses = operator.clients().await.ses;
    ses.set_active_receipt_rule_set().send().await.unwrap();
    assert!(send(&stack).await.unwrap_err().to_string().starts_with("550 "));
    let dns = nameserver(zone(MX));
    let wrong = states(&[("active rule set", "wrong"), ("notice topic", "wrong")]);
    assert_eq!(operator.doctor(dns), (1, wrong));
    let (_, findings) = operator.findings(nameserver(support::Zone::new()));
    let of_mx = findings.iter().find(|finding| finding["check"] == "MX record").unwrap();
    let first = "First make the stack's rule set active (ses-forwarder activate --region us-east-1 --stack \
                 ses-forwarder), then have this as the only MX record: in.example. MX 10 ";
    assert!(of_mx["fix"].as_str().unwrap().starts_with(first), "{of_mx}");

    let activated = "rule set ses-forwarder is active now; before, no rule set was\n\
                     to go back: ses-forwarder activate --region us-east-1 --stack ses-forwarder --rollback\n";
    assert_eq!(operator.run(&["activate"]), (0, activated.to_owned()));
    assert_eq!(stack.settled(&send(&stack).await.unwrap()).await, End::Returned);

    let refused = operator.output(&["activate", "--rollback"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    let asked = "rule set ses-forwarder receives mail for these: in.example\n\
                 error: No rule set was active before: mail is refused. End receiving in this region? There is no";
    assert!(refused.status.code() == Some(1) && told.starts_with(asked), "{told}");
    assert_eq!(stack.settled(&send(&stack).await.unwrap()).await, End::Returned);

    let back = "no rule set is active again; ses-forwarder gets no mail any more\n";
    let rolled_back = operator.output(&["activate", "--rollback", "--yes"]);
    assert_eq!((rolled_back.status.code(), &*rolled_back.stdout), (Some(0), back.as_bytes()));
    assert!(send(&stack).await.is_err());
}

/// As a minute after the invocation that archived the notification had to end: nobody waits for it any more.
async fn claim_runs_out(stack: &Stack, id: &str) {
    let keys = stack.keys("index/").await;
    let key = keys.iter().find(|key| key.contains(id)).unwrap();
    let notification = stack.object(key).await.unwrap();
    stack.put_object(key, notification).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_forwarded_once_however_often_it_is_replayed() {
    // Clocks as on AWS, so that the queue does not try it again meanwhile.
    let (stack, operator) = deployed_at(Pace::real()).await;
    stack.services().ses().configure(|account| account.sending_enabled = false);
    stack.faults().add("ses:SendEmail=500".parse().unwrap());
    let id = send(&stack).await.unwrap();
    let hidden = |event: &&Event| matches!(event, Event::Called { action, .. } if action == "sqs:ChangeMessageVisibility");
    stack.until(&id, |events| events.iter().copied().find(hidden).map(drop)).await;
    stack.services().ses().configure(|account| account.sending_enabled = true);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_found_and_traced() {
    let (stack, operator) = deployed().await;
    let id = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let other = stack.send(None, &["bob@in.example"], b"Subject: Other\r\n\r\nHi\r\n").await.unwrap();
    assert_eq!(stack.settled(&other).await, End::Returned);

    let (code, found) = operator.run(&["find", "--recipient", "INFO@in.example", "--since", "1h", "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((code, &found["messageId"], &found["status"]), (0, &json!(id), &json!("forwarded")));
    assert_eq!(found["recipients"], json!(["info@in.example"]));
    for (arguments, count) in [
        (&["find", "--recipient", "@in.example"][..], 2),
        (&["find", "--sender", "ann@else.example"], 1),
        (&["find", "--subject", "OTHER"], 1),
        (&["find", "--status", "forwarded", "--limit", "1"], 1),
    ] {
        let (code, printed) = operator.run(arguments);
        assert_eq!((code, printed.lines().count()), (0, count), "{arguments:?}: {printed}");
    }
    let none = (1, "no such message\n".to_owned());
    assert_eq!(operator.run(&["find", "--status", "failed"]), none);
    // One whose notification tells no time.
    let key = stack.keys("index/").await.into_iter().find(|key| key.contains(&id)).unwrap();
    let archived = stack.object(&key).await.unwrap();
    let mut timeless: Value = serde_json::from_slice(&archived).unwrap();
    for part in ["mail", "receipt"] {
        timeless[part]["timestamp"] = Value::Null;
    }
    stack.put_object(&key, timeless.to_string()).await;
    let (_, found) = operator.run(&["find", "--subject", "Hello", "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["timestamp"], Value::Null);
    stack.put_object(&key, archived).await;

    let (code, trace) = operator.run(&["trace", &id, "--json"]);
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(code, 0, "{trace:#}");
    assert_eq!(trace["outcome"]["sent"][0]["destinations"], json!(["info@out.example"]));
    assert_eq!(trace["notification"]["source"], "ann@else.example");
    assert!(trace["stored"]["bytes"].as_i64().unwrap() > 0);
    let lines = trace["log"].as_array().unwrap();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line["function"] == "ses-forwarder-HandleEmailFunction"),
        "{trace:#}"
    );
    let (code, text) = operator.run(&["trace", &id]);
    assert!(
        code == 0 && text.contains("to info@out.example") && text.contains("subject \"Hello\""),
        "{text}"
    );
    let (code, text) = operator.run(&["trace", "nowhere"]);
    assert!(code == 1 && text.contains("stored        not, or not any more"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_traced_with_its_bounce() {
    let (stack, operator) = deployed().await;
    stack.put_object("config/routes.toml", "[routes]\n\"info@in.example\" = \"refuse\"\n").await;
    let id = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let (code, text) = operator.run(&["trace", &id]);
    assert!(code == 0 && text.contains("  outcome       dropped: refused\n"), "{text}");
    let bounce = text.lines().find(|line| line.starts_with("  bounced       ")).unwrap();
    assert!(bounce.ends_with(" to its sender, for info@in.example"), "{text}");
    assert!(text.contains("  left out      info@in.example: refused\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_released_and_the_line_that_would_have_let_it_through_is_named() {
    let (stack, operator) = deployed().await;
    let judged = async |verdicts: &str, from: &str| {
        let message = format!("X-Local-Verdict: {verdicts}\r\nFrom: {from}\r\nSubject: Hello\r\n\r\nHi\r\n");
        let id = stack.send(Some(from), &["info@in.example"], message.as_bytes()).await.unwrap();
        assert_eq!(stack.settled(&id).await, End::Returned);
        id
    };
    let spam = judged("spam=FAIL", "ann@else.example").await;
    let forged = judged("spam=FAIL, spf=FAIL, dkim=FAIL, dmarc=GRAY", "bob@else.example").await;
    let virus = judged("virus=FAIL", "ann@else.example").await;
    let again = judged("spam=FAIL", "ann@else.example").await;
    let fine = judged("spf=PASS", "ann@else.example").await;

    let planned = format!("{spam}  would release (spam)\n1 messages, 0 failed\n");
    let (code, printed) = operator.run(&["release", &spam, "--dry-run"]);
    assert!(code == 0 && printed.starts_with(&planned), "{printed}");
    assert_eq!(stack.sent().len(), 1);
    let advice = format!(
        "what would have let them through, in s3://{}/config/routes.toml:\n[senders]\n\"ann@else.example\" = \
         \"forward\"\n",
        stack.bucket()
    );
    let released = format!("{spam}  forwarded\n1 messages, 0 failed\n{advice}");
    assert_eq!(operator.run(&["release", &spam]), (0, released));
    let nothing = format!("{spam}  forwarded already\n{fine}  forwarded already\n2 messages, 0 failed\n");
    assert_eq!(operator.run(&["release", &spam, &fine]), (0, nothing));
    let (_, trace) = operator.run(&["trace", &spam]);
    assert!(trace.contains("  released      by its owner; dropped before: spam\n"), "{trace}");

    // Nobody vouches for its sender, so that no line would let it past a verdict.
    let (code, printed) = operator.run(&["release", &forged, "--json"]);
    let line: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &line["result"], &line["line"]), (0, &json!("forwarded"), &Value::Null));

    let warned = format!(
        "{virus}  failed: SES found a virus in it. To have it sent all the same, marked [VIRUS], add --virus\n\
         {again}  forwarded\n2 messages, 1 failed\n{advice}"
    );
    let of_ann = ["release", "--sender", "Ann@else.example", "--since", "1h"];
    assert_eq!(operator.run(&of_ann), (1, warned));
    let (code, printed) = operator.run(&[&of_ann[..], &["--virus"]].concat());
    assert!(
        code == 0 && printed.starts_with(&format!("{virus}  forwarded\n1 messages, 0 failed\n")),
        "{printed}"
    );
    assert_eq!(operator.run(&of_ann), (0, "0 messages, 0 failed\n".to_owned()));
    assert_eq!(stack.sent().len(), 5, "each once");

    // A notice of another stack is mail as any other.
    let notice = b"X-Local-Verdict: spam=FAIL\r\nX-Forwarder-Notice: another\r\nSubject: Hello\r\n\r\nHi\r\n";
    let notice = stack.send(Some("zoe@else.example"), &["info@in.example"], notice).await.unwrap();
    assert_eq!(stack.settled(&notice).await, End::Returned);
    let (code, printed) = operator.run(&["release", &notice]);
    assert!(code == 0 && printed.ends_with("\"zoe@else.example\" = \"forward\"\n"), "{printed}");

    let looped = b"X-Loop: info@in.example\r\nSubject: Hello\r\n\r\nHi\r\n";
    let looped = stack.send(Some("ann@else.example"), &["info@in.example"], looped).await.unwrap();
    assert_eq!(stack.settled(&looped).await, End::Returned);
    let (code, printed) = operator.run(&["release", &looped]);
    assert!(
        code == 1 && printed.starts_with(&format!("{looped}  failed: it was dropped as loop; ")),
        "{printed}"
    );
    let (code, printed) = operator.run(&["release", "nowhere"]);
    assert!(code == 1 && printed.starts_with("nowhere  failed: no notification of it"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_digest_do_what_it_says() {
    let (stack, operator) = deployed().await;
    for verdict in ["spam", "virus"] {
        let message = format!("X-Local-Verdict: {verdict}=FAIL\r\nSubject: Hello\r\n\r\nHi\r\n");
        let id =
            stack.send(Some("ann@else.example"), &["info@in.example"], message.as_bytes()).await.unwrap();
        assert_eq!(stack.settled(&id).await, End::Returned);
    }
    let at = time::OffsetDateTime::now_utc() + time::Duration::minutes(1);
    for (function, event) in schedules::due(stack.deployment(), at) {
        stack.invoke(&function, &event).await.unwrap();
    }
    let digest = stack.sent().pop().unwrap();
    let digest =
        mail_parser::MessageParser::default().parse(&digest.raw).unwrap().body_text(0).unwrap().into_owned();
    let commands: Vec<&str> =
        digest.lines().filter_map(|line| line.strip_prefix("  ses-forwarder ")).collect();
    assert_eq!(commands.len(), 2, "{digest}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let output = operator.command(&words).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && printed.contains("  forwarded\n1 messages, 0 failed\n"),
            "{command}: {printed}"
        );
    }
    assert_eq!(stack.sent().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_lying_is_tried_again() {
    let (stack, operator) = deployed().await;
    let stuck = send(&stack).await.unwrap();
    let orphan = stack
        .send(Some("ann@else.example"), &["bob@in.example"], b"Subject: X\r\nCc: cy@in.example\r\n\r\nHi\r\n")
        .await
        .unwrap();
    for id in [&stuck, &orphan] {
        assert_eq!(stack.settled(id).await, End::Returned);
    }
    // As if the function had been killed, or never been told.
    let of = |keys: Vec<String>, id: &str| keys.into_iter().find(|key| key.contains(id)).unwrap();
    for prefix in ["outcome/", "index/"] {
        stack.delete_object(&of(stack.keys(prefix).await, &orphan)).await;
    }
    stack.delete_object(&of(stack.keys("outcome/").await, &stuck)).await;
    claim_runs_out(&stack, &stuck).await;
    let now = ["--older-than", "0s"];
    let young = (0, "0 messages, 0 failed\n".to_owned());
    assert_eq!(operator.run(&["replay", "--stuck", "--orphans"]), young);
    let planned = format!("{stuck}  would replay (no outcome)\n1 messages, 0 failed\n");
    assert_eq!(operator.run(&[&["replay", "--stuck", "--dry-run"], &now[..]].concat()), (0, planned));
    let planned = format!(
        "{orphan}  would replay (nobody was told of it; its header names cy@in.example too)\n1 messages, 0 failed\n"
    );
    assert_eq!(operator.run(&[&["replay", "--orphans", "--dry-run"], &now[..]].concat()), (0, planned));
    let (code, printed) = operator.run(&[&["replay", "--stuck", "--orphans"], &now[..]].concat());
    assert_eq!(
        (code, printed),
        (0, format!("{orphan}  forwarded\n{stuck}  forwarded\n2 messages, 0 failed\n"))
    );
    let sent: Vec<_> = stack.sent().into_iter().flat_map(|sent| sent.destinations).collect();
    assert_eq!(sent.iter().filter(|to| *to == "bob@out.example").count(), 2, "{sent:?}");
    assert_eq!(operator.run(&[&["replay", "--stuck", "--orphans"], &now[..]].concat()), young);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_and_is_not_on_the_queue_is_tried_again() {
    let (stack, operator) = deployed().await;
    let id = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let outcome = stack.keys("outcome/").await.pop().unwrap();
    stack.delete_object(&outcome).await;
    claim_runs_out(&stack, &id).await;
    // An invocation that is waited for makes no dead letter, as if Lambda could not put one on the queue.
    stack.faults().add("ses:SendEmail=throttle".parse().unwrap());
    let left = ["replay", "--stuck", "--orphans", "--older-than", "0s"];
    let (code, told) = operator.run(&left);
    assert!(code == 1 && told.ends_with("\n1 messages, 1 failed\n"), "{told}");
    stack.faults().clear();
    // Whoever wrote the outcome may still be at work.
    assert_eq!(operator.run(&left[..3]), (0, "0 messages, 0 failed\n".to_owned()));
    let planned = format!("{id}  would replay (failed, and not tried again)\n1 messages, 0 failed\n");
    assert_eq!(operator.run(&[&left[..], &["--dry-run"]].concat()), (0, planned));
    assert_eq!(operator.run(&left), (0, format!("{id}  forwarded\n1 messages, 0 failed\n")));
    assert_eq!(operator.run(&left), (0, "0 messages, 0 failed\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_there_was_the_stack_is_left_to_who_stored_it() {
    let (stack, operator) = deployed().await;
    let id = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let key = stack.keys("index/").await.into_iter().find(|key| key.contains(&id)).unwrap();
    stack.delete_object(&key).await;
    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let operator = Operator { endpoint: format!("http://{}", proxy.address), ..operator };
    let orphans = || {
        let output = operator.output(&["replay", "--orphans", "--dry-run", "--older-than", "0s"]);
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let found = format!("{id}  would replay (nobody was told of it)\n1 messages, 0 failed\n");
    assert_eq!(orphans(), [found, String::new()]);
    // As if the stack had been made a thousand years later.
    let later = Effect::Replace(vec![(b"<CreationTime>20", b"<CreationTime>30")]);
    proxy.alter(vec![Alter { asked: "Action=DescribeStacks", effect: later }]);
    let left = "1 stored messages are left out: they are older than stack ses-forwarder, and who had the bucket before may \
                have sent them\n";
    assert_eq!(orphans(), ["0 messages, 0 failed\n", left].map(str::to_owned));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cant_be_read_keeps_no_other_from_being_replayed() {
    let (stack, operator) = deployed().await;
    let stuck = send(&stack).await.unwrap();
    let orphan = send(&stack).await.unwrap();
    for id in [&stuck, &orphan] {
        assert_eq!(stack.settled(id).await, End::Returned);
    }
    let of = |keys: Vec<String>, id: &str| keys.into_iter().find(|key| key.contains(id)).unwrap();
    stack.delete_object(&of(stack.keys("index/").await, &orphan)).await;
    let outcome = of(stack.keys("outcome/").await, &stuck);
    stack.delete_object(&outcome).await;
    // A message, and the outcome of another.
    stack.put_object("messages/unreadable-orphan", "x").await;
    let index = of(stack.keys("index/").await, &stuck);
    stack.put_object(&index.replace(&stuck, "unreadable-stuck"), "{}").await;
    stack.put_object(&outcome.replace(&stuck, "unreadable-stuck"), "{}").await;
    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let operator = Operator { endpoint: format!("http://{}", proxy.address), ..operator };
    let denied = Effect::Answer(
        403,
        "content-type: text/xml",
        b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
    );
    let alter =
        ["/unreadable-orphan", "/unreadable-stuck.json"].map(|asked| Alter { asked, effect: denied.clone() });
    proxy.alter(alter.to_vec());
    let (code, printed) =
        operator.run(&["replay", "--stuck", "--orphans", "--dry-run", "--older-than", "0s"]);
    assert_eq!(code, 1);
    for expected in [
        format!("{orphan}  would replay (nobody was told of it)\n"),
        format!("{stuck}  would replay (no outcome)\n"),
        format!(
            "unreadable-orphan  failed: skipped: s3://{}/messages/unreadable-orphan can't be read",
            stack.bucket()
        ),
        "unreadable-stuck  failed: skipped: s3://".to_owned(),
        "4 messages, 2 failed\n".to_owned(),
    ] {
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
    // One that is asked for by its id.
    let (code, printed) = operator.run(&["replay", "unreadable-stuck", &stuck, "--dry-run"]);
    assert!(code == 1 && printed.starts_with("unreadable-stuck  failed: skipped: s3://"), "{printed}");
    assert!(printed.ends_with(&format!("{stuck}  would replay\n2 messages, 1 failed\n")), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_has_what_brings_mail_last_and_leaves_it_out_if_asked() {
    let (_stack, operator) = deployed().await;
    let kinds = |arguments: &[&str]| {
        let (code, printed) = operator.run(&[&["dns", "--json"], arguments].concat());
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let records = printed["records"].as_array().unwrap().iter();
        (code, records.map(|record| record["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let verifying = ["CNAME", "CNAME", "CNAME", "TXT"].map(str::to_owned).to_vec();
    assert_eq!(kinds(&["--without-mx"]), (0, verifying.clone()));
    assert_eq!(kinds(&[]), (0, [verifying, vec!["MX".to_owned()]].concat()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_cant_be_read_is_named_and_skipped() {
    let (stack, operator) = deployed().await;
    let id = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    // As if it had failed.
    let key = stack.keys("outcome/").await.pop().unwrap();
    let mut outcome: Value = serde_json::from_slice(&stack.object(&key).await.unwrap()).unwrap();
    outcome["status"] = json!("failed");
    outcome["sent"] = json!([]);
    stack.put_object(&key, outcome.to_string()).await;
    let broken = key.replace(&id, "broken");
    stack.put_object(&broken, "{").await;
    let (code, printed) = operator.run(&["replay", "--since", "2h"]);
    let skipped = format!("broken  failed: skipped: s3://{}/{broken} can't be read: ", stack.bucket());
    assert!(code == 1 && printed.contains(&skipped), "{printed}");
    assert!(printed.contains(&format!("{id}  forwarded\n")), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_checked_and_compared_before_they_are_uploaded() {
    let (stack, operator) = deployed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let file = path.to_str().unwrap();
    let get = operator.output(&["routes", "get"]);
    assert_eq!(get.status.code(), Some(1));

    std::fs::write(&path, "[routes]\n\"info\" = \"nowhere\"\n").unwrap();
    let (code, printed) = operator.run(&["routes", "put", file]);
    assert!(code == 1 && printed.contains(":2:10: error: "), "{printed}");
    assert_eq!(stack.object("config/routes.toml").await, None);

    let first = "[routes]\n\"info\" = \"ann@out.example\"\n";
    std::fs::write(&path, first).unwrap();
    let (code, printed) = operator.run(&["routes", "put", file, "--dry-run"]);
    assert!(code == 0 && printed.ends_with("/config/routes.toml would be uploaded\n"), "{printed}");
    assert_eq!(stack.object("config/routes.toml").await, None);
    let (code, printed) = operator.run(&["routes", "put", file]);
    assert!(code == 0 && printed.contains("\n+\"info\" = \"ann@out.example\"\n"), "{printed}");
    assert_eq!(operator.run(&["routes", "get"]), (0, first.to_owned()));
    let (code, printed) = operator.run(&["routes", "put", file]);
    assert!(code == 0 && printed.ends_with("is the same already\n"), "{printed}");
    let (code, printed) = operator.run(&["routes", "explain", "info@in.example", "--json"]);
    let explained: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &explained["destinations"]), (0, &json!(["ann@out.example"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn activate_names_who_would_be_left_without_and_asks() {
    let (stack, operator) = deployed().await;
    // Another rule set that receives for more; the local stack has one only, so that a proxy tells of it.
    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let operator = Operator { endpoint: format!("http://{}", proxy.address), ..operator };
    proxy.alter(vec![
        Alter {
            asked: "Action=DescribeActiveReceiptRuleSet",
            effect: Effect::Replace(vec![(b"<Name>ses-forwarder</Name>", b"<Name>older</Name>")]),
        },
        Alter { asked: "RuleSetName=older", effect: Effect::Answer(200, "content-type: text/xml", OLDER) },
    ]);
    let refused = operator.output(&["activate"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.contains("rule set older receives mail for these, and ses-forwarder does not: shop.example"),
        "{told}"
    );
    assert!(told.contains("say --yes"), "{told}");
    let done = operator.output(&["activate", "--yes", "--json"]);
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["unserved"], &done["changed"]), (&json!(["shop.example"]), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_names_who_would_be_left_without_and_asks() {
    let (stack, operator) = deployed().await;
    stack.put_object("config/active-before-ses-forwarder.json", "{\"rule_set\":\"older\"}").await;
    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let operator = Operator { endpoint: format!("http://{}", proxy.address), ..operator };
    let older = |rules| {
        let xml = |body| Effect::Answer(200, "content-type: text/xml", body);
        vec![
            Alter {
                asked: "Action=DescribeReceiptRuleSet&Version=2010-12-01&RuleSetName=older",
                effect: xml(rules),
            },
            Alter {
                asked: "Action=SetActiveReceiptRuleSet&Version=2010-12-01&RuleSetName=older",
                effect: xml(SET),
            },
        ]
    };
    proxy.alter(older(SHOP));
    let refused = operator.output(&["activate", "--rollback"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    let named = "rule set ses-forwarder receives mail for these, and older does not: in.example\n";
    assert!(
        refused.status.code() == Some(1) && told.starts_with(named) && told.contains("say --yes"),
        "{told}"
    );
    let done = operator.output(&["activate", "--rollback", "--yes", "--json"]);
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["active"], &done["unserved"]), (&json!("older"), &json!(["in.example"])));

    // Who serves all of it gets it without a question.
    proxy.alter(older(OLDER));
    let back = "rule set older is active again; ses-forwarder gets no mail any more\n";
    assert_eq!(operator.run(&["activate", "--rollback"]), (0, back.to_owned()));
}

/// A rule set that receives for another domain.
const SHOP: &[u8] = b"<DescribeReceiptRuleSetResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><DescribeReceiptRuleSetResult><Metadata><Name>older</Name></Metadata><Rules><member><Name>r</Name><Enabled>true</Enabled><Recipients><member>shop.example</member></Recipients></member></Rules></DescribeReceiptRuleSetResult></DescribeReceiptRuleSetResponse>";

/// What SES says once it is active.
const SET: &[u8] = b"<SetActiveReceiptRuleSetResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><SetActiveReceiptRuleSetResult/></SetActiveReceiptRuleSetResponse>";

/// A rule set that receives for two domains.
const OLDER: &[u8] = b"<DescribeReceiptRuleSetResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><DescribeReceiptRuleSetResult><Metadata><Name>older</Name></Metadata><Rules><member><Name>r</Name><Enabled>true</Enabled><Recipients><member>in.example</member><member>shop.example</member></Recipients></member></Rules></DescribeReceiptRuleSetResult></DescribeReceiptRuleSetResponse>";

#[tokio::test(flavor = "multi_thread")]
async fn remove_never_ends_receiving_of_others() {
    let (stack, operator) = deployed().await;
    let asked = operator.output(&["remove"]);
    let told = String::from_utf8(asked.stderr).unwrap();
    assert!(asked.status.code() == Some(1) && told.contains("say --yes"), "{told}");
    assert_eq!(stack.services().active_rule_set().as_deref(), Some("ses-forwarder"));

    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let seen = Operator { endpoint: format!("http://{}", proxy.address), ..operator };
    // Another's is active: it stays, and the stack goes.
    let another = Effect::Replace(vec![(b"<Name>ses-forwarder</Name>", b"<Name>older</Name>")]);
    proxy.alter(vec![Alter { asked: "Action=DescribeActiveReceiptRuleSet", effect: another }]);
    let kept = seen.output(&["remove", "--yes", "--keep-stack", "--json"]);
    let kept: Value = serde_json::from_slice(&kept.stdout).unwrap();
    assert_eq!(
        (&kept["active"], &kept["deactivated"], &kept["deleted"]),
        (&json!("older"), &json!(false), &json!(false))
    );
    assert_eq!(kept["next"], "sam delete --region us-east-1 --stack-name ses-forwarder");
    assert_eq!(stack.services().active_rule_set().as_deref(), Some("ses-forwarder"));
    // A rule of someone else's in this stack's rule set, active or not, switched off or not: it would go with it.
    let theirs: [&[u8]; 2] = [
        b"<Rules><member><Name>theirs</Name><Enabled>true</Enabled><Recipients><member>shop.example</member></Recipients></member>",
        b"<Rules><member><Name>theirs</Name><Enabled>false</Enabled><Recipients><member>shop.example</member></Recipients></member>",
    ];
    for more in theirs {
        for active in [&b"<Name>ses-forwarder</Name>"[..], b"<Name>older</Name>"] {
            let more = Effect::Replace(vec![(b"<Rules>", more)]);
            let mut alter = vec![Alter { asked: "Action=DescribeReceiptRuleSet", effect: more }];
            if active != b"<Name>ses-forwarder</Name>" {
                let another = Effect::Replace(vec![(b"<Name>ses-forwarder</Name>", active)]);
                alter.push(Alter { asked: "Action=DescribeActiveReceiptRuleSet", effect: another });
            }
            proxy.alter(alter);
            let refused = seen.output(&["remove", "--yes"]);
            let told = String::from_utf8(refused.stderr).unwrap();
            assert!(
                refused.status.code() == Some(1)
                    && told.contains("holds rules of others: theirs (shop.example)"),
                "{told}"
            );
            assert_eq!(stack.services().active_rule_set().as_deref(), Some("ses-forwarder"));
        }
    }

    proxy.alter(Vec::new());
    let removed = seen.output(&["remove", "--yes", "--json"]);
    let removed: Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(
        (&removed["active"], &removed["deactivated"], &removed["deleted"]),
        (&Value::Null, &json!(true), &json!(true))
    );
    assert_eq!(stack.services().active_rule_set(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_leaves_no_mail_behind_unless_it_is_told_to() {
    let (stack, operator) = deployed().await;
    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let seen = Operator { endpoint: format!("http://{}", proxy.address), ..operator };
    let refused = |arguments: &[&str]| {
        let output = seen.output(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    };
    let active = || stack.services().active_rule_set();
    let waiting = Alter {
        asked: "AmazonSQS.GetQueueAttributes",
        effect: Effect::Replace(vec![(
            b"\"ApproximateNumberOfMessagesNotVisible\":\"0\"",
            b"\"ApproximateNumberOfMessagesNotVisible\":\"3\"",
        )]),
    };
    proxy.alter(vec![waiting.clone()]);
    let told = refused(&["remove", "--yes"]);
    assert!(
        told.contains("3 dead letters are waiting to be tried again") && told.contains("--with-waiting"),
        "{told}"
    );
    let protected = Effect::Replace(vec![(
        b"<StackStatus>",
        b"<EnableTerminationProtection>true</EnableTerminationProtection><StackStatus>",
    )]);
    proxy.alter(vec![Alter { asked: "Action=DescribeStacks", effect: protected }]);
    let told = refused(&["remove", "--yes"]);
    assert!(
        told.contains("update-termination-protection --region us-east-1 --stack-name ses-forwarder"),
        "{told}"
    );
    assert_eq!(active().as_deref(), Some("ses-forwarder"), "nothing is changed");

    // It is held for one that somebody has written down; others are made up.
    let cause = json!({"at": "2026-11-25T10:00:00Z", "messageId": "m"});
    let list = json!({"destinations": {
        "ann@else.example": {"suspended": cause}, "x1@out.example": {"suspended": cause, "unnamed": true},
    }});
    stack.put_object("state/destinations.json", list.to_string()).await;
    proxy.alter(vec![waiting]);
    stack.faults().add("cloudformation:DeleteStack=access-denied".parse().unwrap());
    let told = refused(&["remove", "--yes", "--with-waiting"]);
    for expected in [
        "3 dead letters go with the queue",
        "mail may be held for ann@else.example, and nobody sends it once the stack is gone",
        "no rule set is active now, and mail is refused. To receive again: ses-forwarder activate --region us-east-1",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!(active(), None);
    stack.faults().clear();

    // The deletion before has failed after the queue was deleted.
    let gone = Effect::Answer(
        400,
        "content-type: application/x-amz-json-1.0",
        b"{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"gone\"}",
    );
    proxy.alter(vec![Alter { asked: "AmazonSQS.GetQueueAttributes", effect: gone }]);
    let removed = seen.output(&["remove", "--yes", "--json"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    let removed: Value = serde_json::from_slice(&removed.stdout).unwrap();
    let wait = "aws cloudformation wait stack-delete-complete --region us-east-1 --stack-name ses-forwarder";
    assert_eq!((&removed["deleted"], &removed["wait"]), (&json!(true), &json!(wait)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_in_a_rule_set_that_was_there_leaves_it_to_its_owner() {
    let mut config = Config::default();
    let parameters = [
        ("EmailDomain", "in.example, second.example"),
        ("ExistingRuleSet", "company"),
        ("AfterRule", "spam"),
        ("Recipients", "info@in.example,second.example,.in.example"),
    ];
    config.parameters.extend(parameters.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let stack = Stack::start(config).await.unwrap();
    let (from, letter) = (Some("ann@else.example"), b"Subject: Hello\r\n\r\nHi\r\n");
    let taken = ["info+a@in.example", "anyone@second.example", "x@sub.in.example"];
    let id = stack.send(from, &taken, letter).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    assert!(stack.send(from, &["sales@in.example"], letter).await.is_err(), "SES refuses it");

    let operator = Operator::of(&stack);
    support::confirm(&stack, &operator).await;
    let dns = nameserver(support::zone_of(&["in.example", "second.example"], MX));
    let (code, findings) = operator.findings(dns);
    assert_eq!(code, 0, "{findings:#?}");
    let found = |check: &str, findings: &[Value]| {
        let findings = findings.iter().filter(|finding| finding["check"] == check);
        findings.map(|finding| finding["found"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("active rule set", &findings), ["it is company, which is not this stack's to switch"]);
    let mx =
        ["in.example", "second.example"].map(|domain| format!("{domain} leads to {}", &MX[..MX.len() - 1]));
    assert_eq!(found("MX record", &findings), mx);

    // Nothing of it switches what others live by.
    assert_eq!(operator.run(&["activate"]), (0, "rule set company is active already\n".to_owned()));
    for command in [&["activate", "--rollback"][..], &["remove", "--yes", "--keep-stack"]] {
        assert_eq!(operator.output(command).status.code(), Some(1), "{command:?}");
    }
    let ses = operator.clients().await.ses;
    ses.set_active_receipt_rule_set().send().await.unwrap();
    let refused = String::from_utf8(operator.output(&["activate"]).stderr).unwrap();
    assert!(refused.contains("Rule set company is not this stack's"), "{refused}");
    let (_, findings) = operator.findings(dns);
    let of_active = findings.iter().find(|finding| finding["check"] == "active rule set").unwrap();
    assert_eq!(of_active["state"], "wrong");
    assert!(of_active["fix"].as_str().unwrap().contains("whoever runs it makes it active"), "{of_active}");
    ses.set_active_receipt_rule_set().rule_set_name("company").send().await.unwrap();

    // Routes for more than the rule takes, and the list that would take it and no more.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let routes = "[routes]\n\"info@in.example\" = \"a@out.example\"\n\"sales+eu@in.example\" = \"a@out.example\"\n\
                  \"old@in.example\" = \"refuse\"\n\"@second.example\" = \"@else.example\"\n\
                  \"@*.in.example\" = \"a@out.example\"\n[senders]\n\"@spam.example\" = \"drop\"\n\
                  \"boss@spam.example\" = \"forward\"\n";
    std::fs::write(&path, routes).unwrap();
    let (code, printed) = operator.run(&["routes", "put", path.to_str().unwrap(), "--strict"]);
    let list = "  Recipients=.in.example,info@in.example,sales@in.example,second.example\n";
    assert!(code == 0 && printed.ends_with(list), "{printed}");
    let (_, findings) = operator.findings(dns);
    let of_routes = findings.iter().find(|finding| finding["check"] == "routes").unwrap();
    assert_eq!(of_routes["state"], "warning");
    assert!(of_routes["found"].as_str().unwrap().contains("lines for sales@in.example,"), "{of_routes}");

    let explain =
        |from: &'static str| operator.run(&["routes", "explain", "info+news@in.example", "--from", from]);
    let (_, printed) = explain("Boss@spam.example");
    let said = "  from Boss@spam.example: line 9: \"boss@spam.example\" = \"forward\"\n    \
                unless DMARC, SPF or DKIM vouch for it: line 8: \"@spam.example\" = \"drop\"\n  goes to a@out.example\n";
    assert!(printed.ends_with(said), "{printed}");
    let (_, printed) = explain("x@spam.example");
    let said = "  from x@spam.example: line 8: \"@spam.example\" = \"drop\"\n  dropped: sender\n";
    assert!(printed.ends_with(said), "{printed}");

    let removed = operator.output(&["remove", "--yes", "--json"]);
    let removed: Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(
        (&removed["active"], &removed["deactivated"], &removed["deleted"]),
        (&json!("company"), &json!(false), &json!(true))
    );
    assert_eq!(stack.services().active_rule_set().as_deref(), Some("company"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_begun_and_keys_are_added() {
    let mut config = Config::default();
    config.parameters.insert("Replies".to_owned(), "on".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let operator = Operator::of(&stack);
    let (code, said) = operator.run(&["reply-keys", "list"]);
    assert!(code == 1 && said.starts_with("There are no reply keys yet"), "{said}");
    let (code, first) = operator.run(&["contact", "info@in.example", "jane@example.com"]);
    let address = first.lines().next().unwrap().to_owned();
    assert!(code == 0 && address.starts_with("info+jane=example.com+a"), "{first}");
    assert!(
        first.ends_with("Mail to it from info@out.example goes to jane@example.com from info@in.example.\n")
    );
    assert_eq!(operator.run(&["reply-keys", "rotate"]), (0, "b signs\na is still valid\n".to_owned()));
    assert_eq!(operator.run(&["reply-keys", "list", "--json"]), (0, "{\"ids\":[\"a\",\"b\"]}\n".to_owned()));
    let (_, second) = operator.run(&["contact", "info@in.example", "jane@example.com"]);
    assert!(second.starts_with("info+jane=example.com+b"), "{second}");
    let (code, kept) = operator.run(&["contact", "info@in.example", "\"jane doe\"@example.com"]);
    let kept = kept.lines().next().unwrap().to_owned();
    assert_eq!((code, kept.len(), stack.keys("contacts/").await.len()), (0, "info@in.example".len() + 27, 1));
    let refused = operator.output(&["contact", "info@else.example", "jane@example.com"]);
    let (code, said) = (refused.status.code(), String::from_utf8(refused.stderr).unwrap());
    assert!(code == Some(1) && said.contains("can't be answered from"), "{said}");

    // The function has the former key, learns of the new one, and reads what is kept.
    for (to, correspondent) in [(&address, "jane@example.com"), (&kept, "\"jane doe\"@example.com")] {
        let letter = format!("From: info@out.example\r\nTo: {to}\r\nSubject: Hello\r\n\r\nHi\r\n");
        let before = stack.sent().len();
        let id = stack.send(Some("info@out.example"), &[to], letter.as_bytes()).await.unwrap();
        stack.settled(&id).await;
        let sent = &stack.sent()[before];
        assert_eq!((&*sent.from, &*sent.destinations[0]), ("info@in.example", correspondent));
    }
    let (_, explained) = operator.run(&["routes", "explain", "info@in.example"]);
    assert!(explained.ends_with("  answered by info@out.example\n"), "{explained}");
    let dns = nameserver(zone(MX));
    let states = |findings: Vec<Value>| {
        let of = |finding: &Value| (finding["check"].clone(), finding["state"].clone());
        findings
            .iter()
            .map(of)
            .filter(|(check, _)| check.to_string().contains("repl") || check.to_string().contains("who"))
            .collect::<Vec<_>>()
    };
    let sound = vec![(json!("reply keys"), json!("ok")), (json!("DMARC of who answers"), json!("warning"))];
    assert_eq!(states(operator.findings(dns).1), sound);
    stack.put_object("config/reply-keys.json", "{}".to_owned()).await;
    assert_eq!(states(operator.findings(nameserver(zone(MX))).1)[0].1, "wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_for_a_tenant_that_may_be_paused_alone() {
    let mut config = Config::default();
    config.parameters.insert("Tenant".to_owned(), "on".to_owned());
    config.parameters.insert("EmailDomain".to_owned(), "in.example,second.example".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let operator = Operator::of(&stack);
    let dns = nameserver(zone(MX));
    let tenant = || {
        let (_, findings) = operator.findings(dns);
        let finding = findings.into_iter().find(|finding| finding["check"] == "SES tenant").unwrap();
        (finding["state"].clone(), finding["found"].as_str().unwrap().to_owned(), finding["fix"].clone())
    };
    let configure = |change: fn(&mut Account)| stack.services().ses().configure(change);
    let sound = (json!("ok"), "ses-forwarder may send with all that is used".to_owned(), Value::Null);
    assert_eq!(tenant(), sound);
    let first = send(&stack).await.unwrap();
    assert_eq!(stack.settled(&first).await, End::Returned);
    assert_eq!(stack.outcome(&first).await.unwrap()["status"], "forwarded", "{}", stack.story(&first));

    configure(|account| account.paused_tenants = account.tenants.keys().cloned().collect());
    let (state, found, _) = tenant();
    assert_eq!(
        (state, found),
        (json!("wrong"), "sending for ses-forwarder is paused; mail waits".to_owned())
    );
    let second = send(&stack).await.unwrap();
    stack.told(1).await;
    let told = stack.published().remove(0);
    assert!(told.text.contains("SendingPausedException"), "{}", told.text);
    // Notices are not the tenant's.
    let is_notice = |mail: &SentMail| mail.from.starts_with("forwarder-notice@");
    stack.eventually(|| async { stack.sent().into_iter().find(is_notice) }).await;
    configure(|account| account.paused_tenants.clear());
    stack.emptied().await;
    assert_eq!(stack.outcome(&second).await.unwrap()["status"], "forwarded", "{}", stack.story(&second));

    configure(|account| {
        let resources = account.tenants.values_mut().next().unwrap();
        resources.retain(|arn| !arn.ends_with("identity/second.example"));
    });
    let (state, _, fix) = tenant();
    assert_eq!(state, "wrong");
    let command = "aws sesv2 create-tenant-resource-association --region us-east-1 --tenant-name ses-forwarder \
                   --resource-arn arn:aws:ses:us-east-1:123456789012:identity/second.example";
    assert_eq!(fix, command);
}
