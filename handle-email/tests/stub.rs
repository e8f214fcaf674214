//! What SES refuses for its content reaches its reader as a stub: with the real binary, mail over SMTP, and the SES
//! that refuses it.

mod common;

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::End;
use ses_forwarder_local_stack::{Config, SentMail, Stack};

use self::common::{FUNCTION, about, calls, event, message, outcome, refused_message, stack, started, store};

async fn receive(stack: &Stack, to: &[&str], message: &[u8]) -> (String, End) {
    let id = stack.send(Some("ann@else.example"), to, message).await.expect("it is taken");
    let end = stack.settled(&id).await;
    (id, end)
}

/// The mail sent on; notices left out.
fn forwarded(stack: &Stack) -> Vec<SentMail> {
    stack.sent().into_iter().filter(|mail| mail.from.starts_with("ann_")).collect()
}

/// The text of a message as a mail program shows it.
fn text_of(mail: &SentMail) -> String {
    let message = mail_parser::MessageParser::default().parse(&mail.raw).expect("it is a message");
    message.body_text(0).expect("it has a text").into_owned()
}

fn field(mail: &SentMail, name: &str) -> Option<String> {
    let header = String::from_utf8_lossy(&mail.raw).into_owned();
    let line = header
        .lines()
        .take_while(|line| !line.is_empty())
        .find(|line| line.starts_with(&format!("{name}: ")));
    line.map(|line| line[name.len() + 2..].to_owned())
}

#[tokio::test]
async fn a_file_that_ses_does_not_send_leaves_a_stub_in_its_thread() {
    let stack = stack(&[]).await;
    let letter = "From: Ann <ann@else.example>\r\nTo: info@in.example\r\nSubject: Setup\r\n\
        Message-ID: <2@else.example>\r\nIn-Reply-To: <1@else.example>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n\
        Gr\u{a0}sse\r\n--b\r\nContent-Type: application/x-msdownload; name=\"setup.exe\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA\r\n--b--\r\n";
    let letter: Vec<u8> =
        letter.chars().map(|char| if char == '\u{a0}' { 0xfc } else { char as u8 }).collect();
    let (id, end) = receive(&stack, &["info@in.example"], &letter).await;
    assert_eq!(end, End::Returned, "{}", stack.story(&id));
    let sent = forwarded(&stack);
    assert_eq!((sent.len(), &sent[0].destinations[..]), (1, &["info@out.example".to_owned()][..]));
    for (name, value) in [
        ("X-Forwarder-Stub", "content"),
        ("X-Original-To", "info@in.example"),
        ("X-Original-From", "Ann <ann@else.example>"),
        ("X-Original-Message-ID", "<2@else.example>"),
        ("X-Loop", "info@in.example"),
        ("From", "Ann <ann_else.example@in.example>"),
        ("To", "info@out.example"),
        ("Subject", "Setup"),
        ("References", "<1@else.example> <2@else.example>"),
    ] {
        assert_eq!(field(&sent[0], name).as_deref(), Some(value), "{name}");
    }
    let text = text_of(&sent[0]);
    assert!(text.contains("Illegal filename 'setup.exe'.") && text.ends_with("\r\n\r\nGrüsse\r\n"), "{text}");
    assert!(text.contains(&format!("s3://{}/messages/{id}\r\n", stack.bucket())), "{text}");
    assert!(text.contains("\r\n- setup.exe, 12 bytes, application/x-msdownload\r\n"), "{text}");
    let record = outcome(&stack, &id).await;
    assert_eq!(
        (&record["status"], &record["error"]["code"]),
        (&json!("forwarded"), &json!("MessageRejected"))
    );
    assert_eq!(record["sent"], json!([{"destinations": ["info@out.example"], "stub": true}]));
    assert!(
        !stack.keys("error/").await.iter().any(|key| key.ends_with(".eml")),
        "the original is kept already"
    );
    assert_eq!((stack.published().len(), stack.sent().len()), (0, 1), "nobody is told");

    // Asked for again, it is done.
    let keys = stack.keys("index/").await;
    let archived = stack.object(&keys[0]).await.expect("it is there");
    let again = event(&[serde_json::from_slice(&archived).expect("JSON")]);
    assert_eq!(stack.invoke(FUNCTION, &again).await.expect("it is")["outcomes"], json!(["forwarded"]));
    assert_eq!(stack.sent().len(), 1);
}

#[tokio::test]
async fn a_message_of_45_mb_in_base64_reaches_its_reader_as_a_stub() {
    let stack = stack(&[]).await;
    let file = format!("{}\r\n", "QUJD".repeat(19)).repeat(33_700_000 / 78);
    let letter = format!(
        "From: Ann <ann@else.example>\r\nTo: info@in.example\r\nSubject: Film\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHere it is\r\n--b\r\n\
         Content-Type: video/mp4; name=film.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n{file}--b--\r\n"
    );
    assert!(letter.len() / 3 * 4 > 44_900_000);
    let (id, end) = receive(&stack, &["info@in.example"], letter.as_bytes()).await;
    assert_eq!(end, End::Returned, "{}", stack.story(&id));
    let sent = forwarded(&stack);
    assert_eq!(sent.len(), 1);
    assert_eq!(field(&sent[0], "X-Forwarder-Stub").as_deref(), Some("too-large"));
    assert!(sent[0].raw.len() < 10_000);
    let text = text_of(&sent[0]);
    assert!(
        text.contains("\r\nSize: 33.7 MB\r\n") && text.contains("\r\n- film.mp4, 24.6 MB, video/mp4\r\n"),
        "{text}"
    );
    assert!(
        text.contains("Message length is more than 41943040 bytes long") && text.ends_with("Here it is\r\n"),
        "{text}"
    );
    assert_eq!(outcome(&stack, &id).await["status"], "forwarded");
}

#[tokio::test]
async fn each_send_has_a_stub_of_its_own_and_a_retry_makes_only_the_missing_one() {
    let stack = stack(&["ses:SendEmail=access-denied@4"]).await;
    let to = ["info@in.example", "boss@in.example"];
    // The stub for the blind recipient fails at first, and the queue has it tried again.
    let (id, _) = receive(&stack, &to, refused_message().as_bytes()).await;
    stack.emptied().await;
    let sent = forwarded(&stack);
    let all: Vec<_> =
        sent.iter().map(|mail| (field(mail, "X-Original-To"), &mail.destinations[..])).collect();
    let expected = [
        ("info@in.example", ["info@out.example".to_owned()]),
        ("boss@in.example", ["boss@out.example".to_owned()]),
    ];
    assert_eq!(
        all,
        expected
            .iter()
            .map(|(to, destination)| (Some((*to).to_owned()), &destination[..]))
            .collect::<Vec<_>>()
    );
    let record = outcome(&stack, &id).await;
    assert_eq!(record["status"], "forwarded");
    let expected = json!([
        {"destinations": ["info@out.example"], "stub": true},
        {"destinations": ["boss@out.example"], "stub": true},
    ]);
    assert_eq!(record["sent"], expected);
}

/// Asks for stubs of a message, as `handle-dead-letter` does.
async fn ask_for_stubs(stack: &Stack, id: &str, destinations: &[&str]) -> Result<Value, String> {
    let keys = stack.keys("index/").await;
    let key = keys.iter().find(|key| key.contains(id)).expect("it is archived");
    let archived = stack.object(key).await.expect("it is there");
    let mut asked = event(&[serde_json::from_slice(&archived).expect("JSON")]);
    asked["stub"] = json!({"destinations": destinations, "words": "552 5.3.4 too big"});
    stack.invoke(FUNCTION, &asked).await.map_err(|error| error.error_message)
}

#[tokio::test]
async fn of_several_stubs_one_that_fails_is_made_later_and_the_message_stays_forwarded() {
    for (fault, status) in
        [("ses:SendEmail=access-denied@4", "forwarded"), ("ses:SendEmail=kill-before@4", "sending")]
    {
        let stack = stack(&[fault]).await;
        let to = ["info@in.example", "boss@in.example"];
        let (id, end) = receive(&stack, &to, message().as_bytes()).await;
        assert_eq!(end, End::Returned);
        let lacking = ["info@out.example", "boss@out.example"];
        ask_for_stubs(&stack, &id, &lacking).await.expect_err("the second one fails");
        let mut record = stack.outcome(&id).await.expect("it is there");
        let stubs = |record: &Value| {
            let sent = record["sent"].as_array().expect("a list").clone();
            sent.into_iter().filter(|sent| sent["stub"] == true).count()
        };
        assert_eq!((&record["status"], stubs(&record)), (&json!(status), 1), "{record:#}");
        if status == "sending" {
            // As when the time of who was killed has run out.
            record["claimedUntil"] = json!("2026-11-23T10:00:00Z");
            let key = stack.keys("outcome/").await.into_iter().find(|key| key.contains(&id));
            stack.put_object(&key.expect("it is there"), record.to_string()).await;
        }
        for _ in 0..2 {
            ask_for_stubs(&stack, &id, &lacking).await.expect("nothing fails");
            let record = outcome(&stack, &id).await;
            assert_eq!((&record["status"], stubs(&record)), (&json!("forwarded"), 2), "{fault}: {record:#}");
            assert_eq!(forwarded(&stack).len(), 4, "{fault}");
        }
    }
}

/// Who else an alias leads to is nobody's business, least of all other aliases' readers'.
#[tokio::test]
async fn a_stub_for_one_of_several_readers_of_an_alias_names_the_alias() {
    let stack = stack(&[]).await;
    let routes = "[routes]\n\"team\" = [\"ann@out.example\", \"bob@out.example\"]\n\
                  \"sales\" = [\"cat@out.example\", \"dan@out.example\"]\n";
    stack.put_object("config/routes.toml", routes).await;
    let letter = message().replace("To: info@in.example", "To: team@in.example, sales@in.example");
    let to = ["team@in.example", "sales@in.example"];
    let (id, end) = receive(&stack, &to, letter.as_bytes()).await;
    assert_eq!(end, End::Returned);
    ask_for_stubs(&stack, &id, &["bob@out.example", "cat@out.example"]).await.expect("nothing fails");
    let sent = forwarded(&stack);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].destinations, ["bob@out.example", "cat@out.example"]);
    assert_eq!(field(&sent[1], "To").as_deref(), Some("team@in.example, sales@in.example"));
}

#[tokio::test]
async fn a_stub_that_is_refused_ends_in_the_notice() {
    let stack = stack(&["ses:SendEmail(ann_else.example@)=reject"]).await;
    let (id, end) = receive(&stack, &["info@in.example"], message().as_bytes()).await;
    assert_eq!(end, End::Noticed);
    let record = outcome(&stack, &id).await;
    assert_eq!((&record["status"], &record["sent"]), (&json!("rejected"), &json!([])));
    assert!(stack.keys("error/").await.iter().any(|key| key.ends_with(&format!("/{id}.eml"))));
    assert!(stack.told(1).await[0].text.contains(&id));
}

#[tokio::test]
async fn what_is_no_fault_of_the_message_makes_no_stub() {
    let mut config = Config::default();
    config.parameters.insert("OnVirus".to_owned(), "tag".to_owned());
    let stack = started(config).await;
    let virus = format!("X-Local-Verdict: virus=FAIL\r\n{}", refused_message());
    let (id, end) = receive(&stack, &["info@in.example"], virus.as_bytes()).await;
    assert_eq!((end, outcome(&stack, &id).await["status"].clone()), (End::Noticed, json!("rejected")));
    assert_eq!(forwarded(&stack), []);

    stack.services().ses().configure(|account| account.identities.clear());
    store(&stack, "m1", message()).await;
    let before = calls(&stack, "ses:SendEmail");
    let error = stack.invoke(FUNCTION, &about("m1")).await.expect_err("nobody may send");
    assert!(error.error_message.contains("address is not verified"), "{error}");
    assert_eq!(
        (outcome(&stack, "m1").await["status"].clone(), calls(&stack, "ses:SendEmail")),
        (json!("failed"), before + 1)
    );
}

#[tokio::test]
async fn whoever_did_not_take_a_message_for_its_size_gets_a_stub_once() {
    let stack = stack(&[]).await;
    let to = ["info@in.example", "boss@in.example"];
    let (id, end) = receive(&stack, &to, message().as_bytes()).await;
    assert_eq!(end, End::Returned);
    for _ in 0..2 {
        let asked = ask_for_stubs(&stack, &id, &["boss@out.example", "eve@evil.example"]).await;
        assert_eq!(asked.expect("it is")["outcomes"], json!(["forwarded"]));
        assert_eq!(forwarded(&stack).len(), 3);
    }
    let stub = &forwarded(&stack)[2];
    assert_eq!(stub.destinations, ["boss@out.example"]);
    assert_eq!(field(stub, "X-Forwarder-Stub").as_deref(), Some("too-large-for-mailbox"));
    assert!(text_of(stub).contains("\r\nWhy: 552 5.3.4 too big\r\n"), "{}", text_of(stub));
    let record = outcome(&stack, &id).await;
    assert_eq!(record["sent"][2], json!({"destinations": ["boss@out.example"], "stub": true}));
    // Of what is not forwarded, nobody can have refused anything.
    let spam = format!("X-Local-Verdict: spam=FAIL\r\n{}", message());
    let (spam, _) = receive(&stack, &["info@in.example"], spam.as_bytes()).await;
    let asked = ask_for_stubs(&stack, &spam, &["info@out.example"]).await;
    assert_eq!(asked.expect("it is")["outcomes"], json!(["dropped"]));
    assert_eq!(forwarded(&stack).len(), 3);
}

/// What else is to become of a message is none of a stub's business, nor of its failure.
#[tokio::test]
async fn a_stub_leaves_a_message_what_it_is() {
    let next_try = "2099-01-01T00:00:00Z";
    let states = [
        json!({"status": "held", "reason": "suspended"}),
        json!({"status": "held", "reason": "suspended", "released": "spam"}),
        json!({"status": "failed", "reason": "incomplete", "nextTry": next_try, "tries": 3}),
        json!({"status": "rejected", "reason": "MessageRejected"}),
    ];
    for state in states {
        let stack = stack(&[]).await;
        // Her sender is blocked since.
        let routes = "[routes]\n\"info\" = [\"ann@out.example\", \"bob@out.example\"]\n\
                      [senders]\n\"ann@else.example\" = \"drop\"\n";
        stack.put_object("config/routes.toml", routes).await;
        let verdict = if state["released"] == "spam" { "X-Local-Verdict: spam=FAIL\r\n" } else { "" };
        let letter = format!("{verdict}{}", message());
        let (id, _) = receive(&stack, &["info@in.example"], letter.as_bytes()).await;
        let mut record = stack.outcome(&id).await.expect("it is there");
        let fields = record.as_object_mut().expect("an object");
        fields.extend(state.as_object().expect("an object").clone());
        fields["destinations"] = json!(["ann@out.example", "bob@out.example"]);
        fields["sent"] = json!([{"messageId": "s1", "destinations": ["ann@out.example"]}]);
        let key = stack.keys("outcome/").await.remove(0);
        stack.put_object(&key, record.to_string()).await;

        let kept = async || {
            let now = stack.outcome(&id).await.expect("it is there");
            for (name, value) in state.as_object().expect("an object") {
                assert_eq!(&now[name], value, "{name} of {state} is kept: {now:#}");
            }
            now["sent"].as_array().expect("a list").iter().filter(|sent| sent["stub"] == true).count()
        };
        stack.faults().add("ses:SendEmail=access-denied".parse().expect("a fault"));
        ask_for_stubs(&stack, &id, &["ann@out.example"]).await.expect_err("SES denies it");
        assert_eq!(kept().await, 0, "{state}");
        stack.faults().clear();
        ask_for_stubs(&stack, &id, &["ann@out.example"]).await.expect("it is sent");
        let sent = forwarded(&stack);
        assert_eq!((kept().await, sent.len()), (1, 1), "{state}");
        assert_eq!(sent[0].destinations, ["ann@out.example"], "{state}");
    }
}

#[tokio::test]
async fn whose_mail_is_held_gets_no_stub_and_the_message_stays_forwarded() {
    let stack = stack(&[]).await;
    let (id, _) = receive(&stack, &["info@in.example"], message().as_bytes()).await;
    let cause = json!({"at": "2026-11-23T10:00:00Z", "messageId": "m0"});
    let list = json!({"destinations": {"info@out.example": {"suspended": cause}}});
    stack.put_object("state/destinations.json", list.to_string()).await;
    tokio::time::sleep(ses_forwarder::suspended::FRESH).await;
    ask_for_stubs(&stack, &id, &["info@out.example"]).await.expect("nothing fails");
    assert_eq!((&outcome(&stack, &id).await["status"], forwarded(&stack).len()), (&json!("forwarded"), 1));
}

/// Nobody knows what a try that ended without a word has sent.
#[tokio::test]
async fn a_stub_waits_for_the_try_after_one_that_died() {
    let stack = stack(&[]).await;
    let (id, _) = receive(&stack, &["info@in.example"], message().as_bytes()).await;
    let mut record = stack.outcome(&id).await.expect("it is there");
    record["status"] = json!("sending");
    record["claimedUntil"] = json!("2026-11-23T10:00:00Z");
    stack.put_object(&stack.keys("outcome/").await[0], record.to_string()).await;
    let told = ask_for_stubs(&stack, &id, &["info@out.example"]).await.expect_err("it waits");
    assert!(told.contains("InProgress"), "{told}");
    assert_eq!((stack.outcome(&id).await, forwarded(&stack).len()), (Some(record), 1));
}
