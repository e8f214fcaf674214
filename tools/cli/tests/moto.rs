//! The real program against moto, which plays AWS: `.ci/operator` runs it, or, with `moto_server` of
//! `pip install 'moto[server]'` on the PATH, `cargo test -p ses-forwarder-cli --features moto`.
//!
//! moto does not know `GetAccount` and verifies no identity, so the checks of the account and of the identities can't
//! come out well here. `local.rs` has these.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Deref,
    process::{Child, Command, Stdio},
};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_ses::types::{LambdaAction, ReceiptAction, ReceiptRule, S3Action};
use serde_json::{Value, json};
use ses_forwarder_cli::clients::Clients;
use support::{Operator, nameserver, zone};

const STACK: &str = "forwarder";
const ACCOUNT: &str = "123456789012";
/// Checks that can't come out well here: moto makes no signing keys, and the stack is not the whole one.
const UNKNOWN_TO_MOTO: [&str; 5] = ["outputs", "handle-email", "handle-dead-letter", "DKIM", "alarms"];
const ID: &str = "5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s01";

/// moto, stopped when dropped.
struct Moto {
    process: Child,
    address: SocketAddr,
    operator: Operator,
}

impl Deref for Moto {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.operator
    }
}

impl Moto {
    fn start() -> Moto {
        let mut process = Command::new("moto_server")
            .args(["--host", "127.0.0.1", "--port", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto_server is on the PATH: pip install 'moto[server]'");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address =
            lines.find_map(|line| line.unwrap().split_once("http://").map(|(_, at)| at.trim().to_owned()));
        // What it goes on to say must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.unwrap();
        let operator = Operator {
            endpoint: format!("http://{address}"),
            access_key_id: "test",
            secret_access_key: "test",
            stack: STACK,
        };
        Moto { process, address: address.parse().unwrap(), operator }
    }

    /// Tells moto itself something.
    fn post(&self, path: &str, body: &Value) {
        let body = body.to_string();
        let mut connection = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: moto\r\nConnection: close\r\nContent-Type: application/json"
        );
        write!(connection, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// What the function answers next.
    fn answers(&self, results: &[Value]) {
        let results: Vec<_> = results.iter().map(Value::to_string).collect();
        self.post("/moto-api/static/lambda-simple/response", &json!({"results": results}));
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A role and the function: moto looks for a rule's function among those that it would run in Docker,
/// and runs, without Docker, those made after it was told so. Hence there are two of them.
fn function_resources() -> Value {
    let settings = json!({
        "BUCKET": "mail", "EMAIL_DOMAIN": "in.example", "DESTINATION_DOMAIN": "out.example",
    });
    let function = json!({
        "FunctionName": "forwarder-handle-email", "Runtime": "python3.13", "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Code": {"ZipFile": "pass"},
        "Environment": {"Variables": settings},
    });
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole",
    }]});
    json!({
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
    })
}

/// What the stack's template makes, of resources that moto knows, and the outputs that tell of them.
fn template() -> Value {
    let mut resources = function_resources();
    resources["Queue"] = json!({"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dead-letters"}});
    resources["Topic"] = json!({"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "notices"}});
    let outputs = json!({
        "RuleSetName": {"Value": STACK},
        "HandleEmailFunctionName": {"Value": {"Ref": "Function"}},
        "DeadLetterQueueUrl": {"Value": {"Ref": "Queue"}},
        "NoticeTopicArn": {"Value": {"Ref": "Topic"}},
    });
    json!({"Resources": resources, "Outputs": outputs})
}

/// moto with a stack whose rule set is there but not active.
async fn deployed() -> (Moto, Clients) {
    let moto = Moto::start();
    let clients = moto.clients().await;
    clients.s3.create_bucket().bucket("mail").send().await.unwrap();
    let for_rule = json!({"Resources": function_resources()}).to_string();
    clients
        .cloudformation
        .create_stack()
        .stack_name("for-rule")
        .template_body(for_rule)
        .send()
        .await
        .unwrap();
    clients.ses.create_receipt_rule_set().rule_set_name(STACK).send().await.unwrap();
    let store = S3Action::builder().bucket_name("mail").object_key_prefix("messages/").build().unwrap();
    let function = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:forwarder-handle-email");
    let invoke = LambdaAction::builder().function_arn(function).build().unwrap();
    let rule = ReceiptRule::builder()
        .name(STACK)
        .enabled(true)
        .recipients("in.example")
        .actions(ReceiptAction::builder().s3_action(store).build())
        .actions(ReceiptAction::builder().lambda_action(invoke).build())
        .build()
        .unwrap();
    clients.ses.create_receipt_rule().rule_set_name(STACK).rule(rule).send().await.unwrap();
    moto.post("/moto-api/config", &json!({"lambda": {"use_docker": false}}));
    let create = clients.cloudformation.create_stack().stack_name(STACK);
    create.template_body(template().to_string()).send().await.unwrap();
    (moto, clients)
}

async fn put(clients: &Clients, key: &str, body: impl Into<String>) {
    let body = ByteStream::from(body.into().into_bytes());
    clients.s3.put_object().bucket("mail").key(key).body(body).send().await.unwrap();
}

#[tokio::test]
async fn doctor_tells_what_is_wrong_until_it_is_mended() {
    let (moto, clients) = deployed().await;
    let elsewhere = nameserver(zone("mx.example.com."));
    let here = nameserver(zone("inbound-smtp.us-east-1.amazonaws.com."));
    let wrong = |dns| {
        let (code, findings) = moto.doctor(dns);
        let wrong = findings.into_iter().filter(|(_, state)| state == "wrong").map(|(check, _)| check);
        (code, wrong.filter(|check| !UNKNOWN_TO_MOTO.contains(&check.as_str())).collect::<Vec<_>>())
    };
    let all = [
        "MX record",
        "active rule set",
        "bucket policy",
        "function permission",
        "sending identity",
        "notice topic",
    ];
    assert_eq!(wrong(elsewhere), (1, all.map(str::to_owned).to_vec()));

    let rule = format!("arn:aws:ses:us-east-1:{ACCOUNT}:receipt-rule-set/{STACK}:receipt-rule/{STACK}");
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::mail/messages/*",
        "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": rule}},
    }]});
    clients.s3.put_bucket_policy().bucket("mail").policy(policy.to_string()).send().await.unwrap();
    let permission =
        clients.lambda.add_permission().function_name("forwarder-handle-email").statement_id("ses");
    let permission = permission.action("lambda:InvokeFunction").principal("ses.amazonaws.com");
    permission.source_account(ACCOUNT).source_arn(&rule).send().await.unwrap();
    clients.sesv2.create_email_identity().email_identity("in.example").send().await.unwrap();
    let topic = format!("arn:aws:sns:us-east-1:{ACCOUNT}:notices");
    let subscribe = clients.sns.subscribe().topic_arn(topic).protocol("email");
    subscribe.endpoint("operator@out.example").send().await.unwrap();
    moto.run(&["activate"]);
    assert_eq!(wrong(here), (1, vec!["sending identity".to_owned()]));

    put(&clients, "config/routes.toml", "[routes]\n\"@in.example\" = 5\n").await;
    let queue =
        clients.sqs.get_queue_url().queue_name("dead-letters").send().await.unwrap().queue_url.unwrap();
    clients.sqs.send_message().queue_url(queue).message_body("{}").send().await.unwrap();
    let now = ["routes", "sending identity", "dead letters"];
    assert_eq!(wrong(here), (1, now.map(str::to_owned).to_vec()));
    let (_, report) = moto.run(&["doctor", "--nameserver", &here.to_string()]);
    assert!(
        report.contains("WRONG    routes: s3://mail/config/routes.toml: line 2, column 17: "),
        "{report}"
    );
}

#[tokio::test]
async fn activate_and_roll_back() {
    let (moto, clients) = deployed().await;
    clients.ses.create_receipt_rule_set().rule_set_name("older").send().await.unwrap();
    clients.ses.set_active_receipt_rule_set().rule_set_name("older").send().await.unwrap();
    let activated = "rule set forwarder is active now; before, rule set older was\n\
                     to go back: ses-forwarder activate --region us-east-1 --stack forwarder --rollback\n";
    assert_eq!(moto.run(&["activate"]), (0, activated.to_owned()));
    assert_eq!(moto.run(&["activate"]), (0, "rule set forwarder is active already\n".to_owned()));
    let back = "rule set older is active again; forwarder gets no mail any more\n";
    // The older one receives for nobody.
    let refused = moto.output(&["activate", "--rollback"]);
    assert_eq!((refused.status.code(), &*refused.stdout), (Some(1), &b""[..]));
    let rolled_back = moto.output(&["activate", "--rollback", "--yes"]);
    assert_eq!((rolled_back.status.code(), &*rolled_back.stdout), (Some(0), back.as_bytes()));

    let twice = moto.output(&["activate", "--rollback"]);
    assert_eq!(twice.status.code(), Some(1));
    let error = "error: there is nothing to go back from: rule set older is active, not forwarder\n";
    assert_eq!(String::from_utf8(twice.stderr).unwrap(), error);
}

/// A notification in the index of that day, and an outcome that was recorded now.
async fn failed(clients: &Clients, id: &str, status: &str) {
    let now = time::OffsetDateTime::now_utc();
    let day = format!("{:04}/{:02}/{:02}", now.year(), u8::from(now.month()), now.day());
    let timestamp = now.format(&time::format_description::well_known::Rfc3339).unwrap();
    let outcome = json!({
        "messageId": id, "timestamp": timestamp, "status": status, "reason": null, "recipients": [],
        "destinations": [], "sent": [], "error": null, "requestId": "r", "bytes": null, "forwardMillis": null,
    });
    put(clients, &format!("outcome/{day}/{id}.json"), outcome.to_string()).await;
    let event: Value = serde_json::from_str(include_str!("../../../events/ses-event.json")).unwrap();
    put(clients, &format!("index/{day}/{id}.json"), event["Records"][0]["ses"].to_string()).await;
}

#[tokio::test]
async fn replay_by_id_and_by_outcome() {
    let (moto, clients) = deployed().await;
    for (id, status) in [("a1", "failed"), ("b2", "forwarded"), ("c3", "rejected"), ("d4", "dropped")] {
        failed(&clients, id, status).await;
    }
    let planned = "a1  would replay (failed)\nc3  would replay (rejected)\n2 messages, 0 failed\n";
    assert_eq!(moto.run(&["replay", "--since", "2h", "--dry-run"]), (0, planned.to_owned()));

    let forwarded = json!({"disposition": "CONTINUE", "outcomes": ["forwarded"]});
    moto.answers(std::slice::from_ref(&forwarded));
    let told = "a1  forwarded\n1 messages, 0 failed\n";
    let replayed = moto.run(&["replay", "--since", "2h", "--status", "failed"]);
    assert_eq!(replayed, (0, told.to_owned()));

    moto.answers(&[forwarded]);
    let (code, printed) = moto.run(&["replay", "--json", "d4", "nowhere"]);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let missing = "no notification of it in the past 400 days";
    let expected = [
        json!({"messageId": "d4", "result": "forwarded", "error": null}),
        json!({"messageId": "nowhere", "result": null, "error": missing}),
    ];
    assert_eq!((code, lines.as_slice()), (1, expected.as_slice()));
}

#[tokio::test]
async fn events_are_saved_for_sam_local_invoke() {
    let (moto, clients) = deployed().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recent");
    let arguments = ["events", "--limit", "1", "--folder", path.to_str().unwrap()];
    assert_eq!(moto.run(&arguments), (1, "no notification in the past 400 days\n".to_owned()));

    failed(&clients, ID, "failed").await;
    let saved = path.join(format!("{ID}.json"));
    assert_eq!(moto.run(&arguments), (0, format!("{}\n", saved.display())));
    let event: Value = serde_json::from_str(&std::fs::read_to_string(saved).unwrap()).unwrap();
    let original: Value = serde_json::from_str(include_str!("../../../events/ses-event.json")).unwrap();
    assert_eq!(event, original);
}

#[tokio::test]
async fn a_stack_that_is_not_there_is_named() {
    let moto = Moto::start();
    let (code, report) = moto.run(&["doctor"]);
    assert_eq!(code, 1);
    assert!(report.starts_with("WRONG    stack: there is no stack forwarder in us-east-1\n"), "{report}");
}
