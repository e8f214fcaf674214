use std::collections::BTreeSet;

use aws_sdk_sesv2::{
    error::ProvideErrorMetadata,
    primitives::Blob,
    types::{Destination, EmailContent, RawMessage},
};
use serde_json::{Value, json};
use ses_forwarder_local_aws::{
    journal::{Event, Journal},
    ses::Account,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::bench::{Bench, Key, MESSAGE_ID, OPERATOR, Signed};

const FROM: &str = "jane_x.example@in.example";
const MAIL: &str = "From: Jane <jane_x.example@in.example>\r\nTo: info@in.example\r\nX-SES-Secret: a\r\n\
                    Date: Tue, 1 Jan 2030 00:00:00 +0000\r\nMessage-ID: <a@x.example>\r\nSubject: Hi\r\n\r\nHello\r\n";

async fn send(
    ses: &aws_sdk_sesv2::Client,
    raw: impl Into<Vec<u8>>,
    destinations: &[&str],
) -> Result<String, (u16, String, String)> {
    let raw = RawMessage::builder().data(Blob::new(raw)).build().unwrap();
    let to = destinations.iter().map(|&to| to.to_owned()).collect();
    let request = ses
        .send_email()
        .from_email_address(FROM)
        .destination(Destination::builder().set_to_addresses(Some(to)).build())
        .content(EmailContent::builder().raw(raw).build());
    match request.send().await {
        Ok(sent) => Ok(sent.message_id.unwrap()),
        Err(error) => {
            let status = error.raw_response().unwrap().status().as_u16();
            let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
            Err((status, code.to_owned(), message.to_owned()))
        }
    }
}

fn refused(status: u16, code: &str, message: &str) -> Result<String, (u16, String, String)> {
    Err((status, code.to_owned(), message.to_owned()))
}

/// Destination and file of what was delivered of a message.
fn delivered(journal: &Journal) -> Vec<(String, String)> {
    let entries = journal.of(MESSAGE_ID).into_iter().filter_map(|entry| match &entry.event {
        Event::Delivered { destination, to } => Some((destination.clone(), to.clone())),
        _ => None,
    });
    entries.collect()
}

#[tokio::test]
async fn sent_mail_is_kept_and_delivered() {
    let bench = Bench::start().await;
    let function = bench.function();
    let ses = bench.ses(Key::from(&function));
    let id = send(&ses, MAIL, &["Ann <ann@out.example>", "\"../bob\"@else.example"]).await.unwrap();

    let sent = std::fs::read(bench.data.path().join(format!("sent/{id}.eml"))).unwrap();
    assert_eq!(String::from_utf8(sent).unwrap(), MAIL);
    let journal = bench.journal.of(MESSAGE_ID);
    assert!(
        matches!(&journal[0].event, Event::Sent { ses_id, from, destinations, .. }
            if *ses_id == id && from == FROM && destinations == &["ann@out.example", "\"../bob\"@else.example"]),
        "{journal:?}"
    );
    let maildir = bench.data.path().join("maildir");
    let files = [
        maildir.join("ann@out.example/new").join(&id),
        maildir.join("%22..%2Fbob%22@else.example/new").join(&id),
    ];
    let destinations = ["ann@out.example", "\"../bob\"@else.example"].map(str::to_owned);
    let expected: Vec<_> =
        destinations.into_iter().zip(files.clone().map(|file| file.display().to_string())).collect();
    assert_eq!(delivered(&bench.journal), expected);
    for file in files {
        let mail = std::fs::read_to_string(file).unwrap();
        let (before, after) = mail.split_once("Date: ").unwrap();
        let (date, rest) = after.split_once("\r\n").unwrap();
        assert_eq!(
            before,
            format!(
                "Return-Path: <{id}@amazonses.com>\r\nFrom: Jane <{FROM}>\r\nTo: info@in.example\r\nSubject: Hi\r\n"
            )
        );
        assert!(date.ends_with(" +0000") && !date.contains("2030"), "{date}");
        assert_eq!(rest, format!("Message-ID: <{id}@email.amazonses.com>\r\n\r\nHello\r\n"));
    }
    let unused = bench.deployment.functions[0].role.unused();
    assert!(!unused.iter().any(|grant| grant.action.starts_with("ses:")), "{unused:?}");
}

#[tokio::test]
async fn the_largest_message_is_sent() {
    let bench = Bench::start().await;
    let mut raw = MAIL.as_bytes().to_vec();
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    raw.extend(line.iter().cycle().take((40 << 20) - MAIL.len()));
    let ses = bench.ses(OPERATOR);
    // If the request's own encoding counts, that is 30 MB.
    let encoded = "Message length is more than 41943040 bytes long: '55924056'.";
    assert_eq!(
        send(&ses, raw.clone(), &["ann@out.example"]).await,
        refused(400, "BadRequestException", encoded)
    );
    bench.services.ses().configure(|account| account.limit_is_encoded = false);
    let id = send(&ses, raw.clone(), &["ann@out.example"]).await.unwrap();
    assert!(std::fs::read(bench.data.path().join(format!("sent/{id}.eml"))).unwrap() == raw);
    raw.push(b'x');
    let message = "Message length is more than 41943040 bytes long: '41943041'.";
    assert_eq!(send(&ses, raw, &["ann@out.example"]).await, refused(400, "BadRequestException", message));
}

#[tokio::test]
async fn refusals_of_messages() {
    let bench = Bench::start().await;
    let ses = bench.ses(OPERATOR);
    let many: Vec<String> = (0..51).map(|number| format!("{number}@out.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("{} <a@out.example>", "n".repeat(320));
    let unverified =
        "Email address is not verified. The following identities failed the check in region US-EAST-1: ";
    let ann: &[&str] = &["ann@out.example"];
    let cases = [
        (
            MAIL.replace("From", "X-From"),
            ann,
            "BadRequestException",
            "Missing required header 'From'.".to_owned(),
        ),
        (
            format!("Subject: a\r\n{MAIL}"),
            ann,
            "BadRequestException",
            "Duplicate header 'Subject'.".to_owned(),
        ),
        (
            MAIL.replace("@in.example>", "@x.example>"),
            ann,
            "MessageRejected",
            format!("{unverified}jane_x.example@x.example"),
        ),
        (
            format!("Sender: s@x.example\r\nReturn-Path: <r@y.example>\r\n{MAIL}"),
            ann,
            "MessageRejected",
            format!("{unverified}s@x.example, r@y.example"),
        ),
        (MAIL.to_owned(), &["ann"], "BadRequestException", "Missing final '@domain'".to_owned()),
        (
            MAIL.to_owned(),
            &["ann@out.example", "b b@out.example"],
            "BadRequestException",
            "Local address contains control or whitespace".to_owned(),
        ),
        (
            MAIL.to_owned(),
            &[&long],
            "BadRequestException",
            format!("Address length is more than 320 characters long: '{long}'."),
        ),
        (MAIL.to_owned(), &many, "BadRequestException", "Recipient count exceeds 50.".to_owned()),
    ];
    for (raw, destinations, code, message) in cases {
        assert_eq!(send(&ses, raw, destinations).await, refused(400, code, &message), "{message}");
    }
    assert!(send(&ses, MAIL, &many[..50]).await.is_ok());
    assert!(send(&ses, MAIL.replace("@in.example>", "@sub.in.example>"), ann).await.is_ok(), "a subdomain");
    assert!(send(&ses, MAIL, &[]).await.is_ok(), "the header's recipients");
}

#[tokio::test]
async fn refusals_of_requests() {
    let bench = Bench::start().await;
    let raw = base64_simd::STANDARD.encode_to_string(MAIL);
    let content = json!({ "Raw": { "Data": raw } });
    let bad = "BadRequestException";
    let cases: [(Value, u16, &str, &str); 9] = [
        (json!({ "Content": content }), 200, "", ""),
        (json!({}), 400, bad, "Missing required parameter: Content"),
        (json!({ "Content": {} }), 400, bad, "Content must have one of Raw, Simple and Template"),
        (json!({ "Content": { "Raw": {} } }), 400, bad, "Missing required parameter: Content.Raw.Data"),
        (
            json!({ "Content": { "Raw": { "Data": raw }, "Simple": {} } }),
            400,
            bad,
            "Content must have only one of Raw, Simple and Template",
        ),
        (
            json!({ "Content": { "Raw": { "Data": "%%%" } } }),
            400,
            "SerializationException",
            "Content.Raw.Data is not Base64",
        ),
        (json!({ "Content": content, "FromEmailAddress": "Jane" }), 400, bad, "Missing final '@domain'"),
        (json!({ "Content": content, "ReplyToAddresses": ["Jane"] }), 400, bad, "Missing final '@domain'"),
        (
            json!({ "Content": content, "ConfigurationSetName": "absent" }),
            404,
            "NotFoundException",
            "Configuration set <absent> does not exist.",
        ),
    ];
    for (input, status, code, message) in cases {
        let mut request = Signed::post(OPERATOR, "ses", "/v2/email/outbound-emails", input.to_string());
        request.headers = vec![("content-type", "application/json")];
        let (actual, kind, body) = bench.call_json(request).await;
        assert_eq!(
            (actual, kind.as_str(), body["message"].as_str().unwrap_or_default()),
            (status, code, message),
            "{input}"
        );
    }
    let request = Signed::post(OPERATOR, "ses", "/v2/email/outbound-emails", "{");
    assert_eq!(bench.call_json(request).await.1, "SerializationException");
}

#[tokio::test]
async fn the_account_decides() {
    let bench = Bench::start().await;
    let ses = bench.ses(OPERATOR);
    let ann = ["ann@out.example"];
    type Change = fn(&mut Account);
    let cases: [(Change, u16, &str, &str); 4] = [
        (
            |account| account.sandbox = true,
            400,
            "MessageRejected",
            "Email address is not verified. The following identities failed the check in region US-EAST-1: \
             ann@out.example",
        ),
        (
            |account| account.sending_enabled = false,
            400,
            "SendingPausedException",
            "Sending is paused for account 123456789012.",
        ),
        (
            |account| account.suspended = true,
            400,
            "AccountSuspendedException",
            "Your account has been suspended.",
        ),
        (
            |account| account.max_24_hour_send = Some(0),
            400,
            "LimitExceededException",
            "Daily message quota exceeded.",
        ),
    ];
    for (change, status, code, message) in cases {
        let before = bench.services.ses().account();
        bench.services.ses().configure(change);
        assert_eq!(send(&ses, MAIL, &ann).await, refused(status, code, message));
        bench.services.ses().configure(|account| *account = before);
    }
    bench.services.ses().configure(|account| {
        account.sandbox = true;
        account.identities.insert("ann@out.example".to_owned());
    });
    assert!(send(&ses, MAIL, &ann).await.is_ok(), "a verified recipient");
    bench.services.ses().configure(|account| account.max_24_hour_send = Some(2));
    assert!(send(&ses, MAIL, &ann).await.is_ok());
    assert_eq!(
        send(&ses, MAIL, &ann).await,
        refused(400, "LimitExceededException", "Daily message quota exceeded.")
    );
}

#[tokio::test]
async fn a_role_decides_by_the_sender() {
    let bench = Bench::start().await;
    bench.services.ses().configure(|account| {
        account.identities.insert("x.example".to_owned());
    });
    let function = bench.function();
    let ses = bench.ses(Key::from(&function));
    let other = send(&ses, MAIL.replace("@in.example>", "@x.example>"), &["ann@out.example"]).await;
    let (status, code, message) = other.unwrap_err();
    assert_eq!((status, code.as_str()), (403, "AccessDeniedException"));
    let identity = "arn:aws:ses:us-east-1:123456789012:identity/x.example";
    assert!(message.contains("ses:SendEmail") && message.contains(identity), "{message}");
    let no_set = ses.send_email().configuration_set_name("c").content(
        EmailContent::builder().raw(RawMessage::builder().data(Blob::new(MAIL)).build().unwrap()).build(),
    );
    let error = no_set.send().await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"), "the configuration set is not in the role");
}

#[tokio::test]
async fn a_doctor_can_look() {
    let bench = Bench::start_with(|options| {
        options.ses.configuration_sets = BTreeSet::from(["c".to_owned()]);
    })
    .await;
    let ses = bench.ses(OPERATOR);
    let account = ses.get_account().send().await.unwrap();
    assert!(account.production_access_enabled() && account.sending_enabled());
    let identity = ses.get_email_identity().email_identity("in.example").send().await.unwrap();
    assert!(identity.verified_for_sending_status());
    let absent = ses.get_email_identity().email_identity("a@x.example").send().await.unwrap_err();
    assert_eq!(absent.message(), Some("Email identity a@x.example does not exist."));
    let set = ses.get_configuration_set().configuration_set_name("c").send().await.unwrap();
    assert_eq!(set.configuration_set_name(), Some("c"));
}

/// Takes one message by SMTP, as little of it as is needed, and returns what the client said.
async fn relay(listener: TcpListener) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut said = String::new();
    stream.write_all(b"220 relay\r\n").await.unwrap();
    loop {
        let start = said.len();
        stream.read_line(&mut said).await.unwrap();
        let answer = match said[start..].split_ascii_whitespace().next() {
            Some("EHLO") => "250 relay\r\n",
            Some("DATA") => "354 go on\r\n",
            _ => "250 taken\r\n",
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        if answer.starts_with("354") {
            break;
        }
    }
    while !said.ends_with("\r\n.\r\n") {
        said.push(char::from(stream.read_u8().await.unwrap()));
    }
    stream.write_all(b"250 taken as 1\r\n").await.unwrap();
    said
}

#[tokio::test]
async fn a_relay_takes_what_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let bench = Bench::start_with(|options| options.relay = Some(address)).await;
    let function = bench.function();
    let relayed = tokio::spawn(relay(listener));
    let (_, mut live) = bench.journal.follow();
    let dotted = format!("{MAIL}.dot\r\n");
    let id = send(&bench.ses(Key::from(&function)), dotted, &["ann@out.example", "bob@out.example"])
        .await
        .unwrap();
    let said = relayed.await.unwrap();
    assert!(said.contains(&format!("MAIL FROM:<{id}@amazonses.com>")), "{said}");
    assert!(said.contains("RCPT TO:<ann@out.example>\r\nRCPT TO:<bob@out.example>\r\nDATA\r\n"), "{said}");
    assert!(
        said.ends_with("\r\n\r\nHello\r\n..dot\r\n\r\n.\r\n")
            || said.ends_with("\r\n\r\nHello\r\n..dot\r\n.\r\n"),
        "{said}"
    );
    while !matches!(&live.recv().await.unwrap().event, Event::Delivered { destination, .. } if destination == "bob@out.example")
    {
    }
    let answer = "relay: 250 taken as 1".to_owned();
    let expected = ["ann@out.example", "bob@out.example"].map(|to| (to.to_owned(), answer.clone()));
    assert_eq!(delivered(&bench.journal), expected);
    assert!(!bench.data.path().join("maildir").exists());
}

#[tokio::test]
async fn what_a_relay_refuses_is_not_delivered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let bench = Bench::start_with(|options| options.relay = Some(address)).await;
    let function = bench.function();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = "connected".to_owned();
        while !line.is_empty() {
            let answer: &[u8] = match line.get(..4) {
                Some("conn") => b"220 relay\r\n",
                Some("RCPT") => b"550 5.1.1 nobody\r\n",
                _ => b"250 relay\r\n",
            };
            lines.write_all(answer).await.unwrap();
            line.clear();
            lines.read_line(&mut line).await.unwrap();
        }
    });
    let (_, mut live) = bench.journal.follow();
    send(&bench.ses(Key::from(&function)), MAIL, &["ann@out.example"]).await.unwrap();
    let error = loop {
        if let Event::Undelivered { destination, error } = &live.recv().await.unwrap().event {
            assert_eq!(destination, "ann@out.example");
            break error.clone();
        }
    };
    assert!(error.contains("5.1.1 nobody"), "{error}");
    assert_eq!(delivered(&bench.journal), []);
}
