//! Mail in by SMTP: byte for byte, within limits, and only for recipients of the rule.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor, address::Envelope};
use ses_forwarder_local_aws::{
    journal::{End, Event},
    smtp::MAX_MESSAGE,
};
use ses_forwarder_local_stack::{Client, Config, Functions, Parts, Stack};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

/// Writes bytes and reads replies until as many as expected have come; their first lines' codes.
async fn exchange<S>(stream: &mut S, send: &[u8], replies: usize) -> Vec<String>
where
    S: AsyncBufReadExt + AsyncWrite + Unpin,
{
    stream.write_all(send).await.unwrap();
    let mut received = Vec::new();
    while received.len() < replies {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "closed after {received:?}");
        if line.as_bytes()[3] == b' ' {
            received.push(line.trim_end().to_owned());
        }
    }
    received
}

async fn connect(server: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(server).await.unwrap());
    exchange(&mut stream, b"", 1).await;
    stream
}

#[tokio::test]
async fn commands_are_answered_as_rfc_5321_says() {
    let stack = support::start(&[]).await;
    let mut stream = connect(stack.smtp()).await;
    for (command, code) in [
        ("MAIL FROM:<a@b.example>", "503 5.5.1"),
        ("HELO client.example", "250 inbound-smtp.us-east-1.amazonaws.com"),
        ("EHLO client.example", "250 SIZE 41943040"),
        ("RCPT TO:<info@in.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("MAIL FROM:<a@b.example> SIZE=41943041", "552 5.3.4"),
        ("MAIL FROM:<a@b.example> SMTPUTF8", "553 5.6.7"),
        ("MAIL FROM:<a@b.example> BODY=BINARYMIME", "555 5.5.4"),
        ("MAIL FROM:<a@b.example> RET=HDRS", "555 5.5.4"),
        ("MAIL FROM:<a@b.example> AUTH=<>", "555 5.5.4"),
        ("MAIL FROM:<>", "250 2.1.0"),
        ("MAIL FROM:<a@b.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("RCPT TO:<\u{fc}@in.example>", "553 5.6.7"),
        ("RCPT TO:<info@in.example> NOTIFY=NEVER", "555 5.5.4"),
        ("RCPT TO:<info@out.example>", "550 5.1.1"),
        ("RCPT TO:<info@sub.in.example>", "550 5.1.1"),
        ("RCPT TO:<@in.example:a@out.example>", "550 5.1.1"),
        ("RCPT TO:<info@IN.example>", "250 2.1.5"),
        ("RSET", "250 2.0.0"),
        ("DATA", "503 5.5.1"),
        ("NOOP", "250 2.0.0"),
        ("VRFY info", "252 2.5.0"),
        ("AUTH PLAIN AGEAYg==", "502 5.5.1"),
        ("BDAT 3 LAST", "502 5.5.1"),
        ("HELLO", "500 5.5.1"),
        ("QUIT", "221 2.0.0"),
    ] {
        let reply = exchange(&mut stream, format!("{command}\r\n").as_bytes(), 1).await.remove(0);
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    assert_eq!(stream.read_line(&mut String::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn who_only_makes_errors_is_sent_away() {
    let stack = support::start(&[]).await;
    let mut stream = connect(stack.smtp()).await;
    let replies = exchange(&mut stream, "HELLO\r\n".repeat(21).as_bytes(), 22).await;
    assert_eq!(replies[21], "421 4.7.0 Too many errors");
    let mut stream = connect(stack.smtp()).await;
    let long = format!("{}\r\nNOOP\r\n", "x".repeat(9000));
    let replies = exchange(&mut stream, long.as_bytes(), 2).await;
    assert_eq!(replies, ["500 5.5.6 The line is too long", "250 2.0.0 OK"]);
}

/// Found by fuzzing.
#[tokio::test]
async fn a_command_ends_with_its_line() {
    let stack = support::start(&[]).await;
    let mut stream = connect(stack.smtp()).await;
    let replies = exchange(&mut stream, b"EHLO x\r\nMAIL FROM\r\n:<a@b.example>\r\n", 3).await;
    assert_eq!(replies[1..], ["500 5.5.2 Syntax error", "500 5.5.1 Unknown command"]);
    // Commands before one that is cut off are answered.
    stream.write_all(b"NOOP\r\nNOO").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "250 2.0.0 OK\r\n");
}

#[tokio::test]
async fn a_whole_session_can_come_at_once() {
    let stack = support::start(&[]).await;
    let mut stream = connect(stack.smtp()).await;
    let one = "MAIL FROM:<a@b.example>\r\nRCPT TO:<info@in.example>\r\nDATA\r\nX: 1\r\n\r\n.\r\n";
    let session = format!("EHLO x\r\n{one}{one}QUIT\r\n");
    let replies = exchange(&mut stream, session.as_bytes(), 10).await;
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "354", "250", "250", "250", "354", "250", "221"]);
}

/// What was stored, without the fields SES prepends.
async fn stored(stack: &Parts, id: &str) -> Vec<u8> {
    let stored = stack.object(&format!("messages/{id}")).await.unwrap();
    let mark = b"X-SES-DKIM-SIGNATURE: ";
    let start = stored.windows(mark.len()).position(|window| window == mark).unwrap();
    let line = stored[start..].iter().position(|byte| *byte == b'\n').unwrap();
    stored[start + line + 1..].to_vec()
}

#[tokio::test]
async fn a_message_is_stored_byte_for_byte() {
    let stack = support::start(&[]).await;
    let long = format!("Subject: {}\r\n\r\n{}\r\n", "s".repeat(3000), "b".repeat(100_000));
    for message in [
        &b""[..],
        b"\r\n",
        b".\r\n",
        b"..\r\n.x\r\n\r\n.\r\nA: b\r\n",
        b"Subject: x\n\nbare\nline feeds\n.\n.\r\n",
        b"Subject: x\r\n\r\n\r.\r\n\n.\r\nMAIL FROM:<x@y.example>\r\n",
        b"Subject: \xff\xfe\0\x80\r\n\r\n\0\r\n",
        long.as_bytes(),
    ] {
        let id = stack.send(Some("a@b.example"), &["info@in.example"], message).await.unwrap();
        assert_eq!(stored(&stack, &id).await, message, "{:?}", String::from_utf8_lossy(message));
        assert_eq!(stack.settled(&id).await, End::Returned);
    }
}

#[tokio::test]
async fn limits_are_those_of_ses() {
    let stack = support::start(&[]).await;
    let mut stream = connect(stack.smtp()).await;
    exchange(&mut stream, b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n", 2).await;
    let recipients: String = (0..101).map(|n| format!("RCPT TO:<r{n}@in.example>\r\n")).collect();
    let replies = exchange(&mut stream, recipients.as_bytes(), 101).await;
    assert!(replies[..100].iter().all(|reply| reply.starts_with("250 ")), "{replies:?}");
    assert_eq!(replies[100], "452 4.5.3 A message can have 100 recipients");
    exchange(&mut stream, b"DATA\r\n", 1).await;
    let line = [[b'x'; 998].as_slice(), b"\r\n"].concat();
    let mut message = line.repeat(MAX_MESSAGE / line.len() + 1);
    message.extend_from_slice(b".\r\n");
    assert_eq!(exchange(&mut stream, &message, 1).await, ["552 5.3.4 A message can have 41943040 bytes"]);
    assert_eq!(exchange(&mut stream, b"NOOP\r\n", 1).await, ["250 2.0.0 OK"]);
    assert_eq!(stack.keys("messages/").await, Vec::<String>::new());
}

/// A client that trusts whatever certificate there is.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Says EHLO and STARTTLS, with more behind it in the clear, and goes on in TLS.
async fn start_tls(server: SocketAddr, behind: &str) -> BufReader<impl AsyncRead + AsyncWrite + Unpin> {
    let mut stream = connect(server).await;
    let hello = format!("EHLO x\r\nSTARTTLS\r\n{behind}");
    assert_eq!(exchange(&mut stream, hello.as_bytes(), 2).await[1], "220 2.0.0 Go ahead");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream.into_inner()).await.unwrap();
    BufReader::new(stream)
}

#[tokio::test]
async fn mail_can_come_over_tls() {
    let stack = support::start(&[("TlsPolicy", "Require")]).await;
    let mut clear = connect(stack.smtp()).await;
    let refused = exchange(&mut clear, b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<info@in.example>\r\n", 3).await;
    assert_eq!(refused[2], "530 5.7.0 Must issue a STARTTLS command first");

    // What stands behind STARTTLS in the clear is not taken for part of the session in TLS.
    let mut tls = start_tls(stack.smtp(), "MAIL FROM:<evil@b.example>\r\n").await;
    assert_eq!(exchange(&mut tls, b"MAIL FROM:<>\r\n", 1).await, ["503 5.5.1 EHLO first"]);
    exchange(&mut tls, b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<info@in.example>\r\nDATA\r\n", 4).await;
    assert_eq!(exchange(&mut tls, b"STARTTLS\r\n.\r\n", 1).await[0][..7], *"250 OK ");
    let (entries, _) = stack.journal().follow();
    let from = entries.iter().find_map(|entry| match &entry.event {
        Event::Received { from, .. } => Some(from.clone()),
        _ => None,
    });
    assert_eq!(from, Some(None));
    assert_eq!(exchange(&mut tls, b"STARTTLS\r\n", 1).await, ["503 5.5.1 TLS is on already"]);
}

#[tokio::test]
async fn the_command_that_sends_a_message_speaks_tls_where_it_has_to() {
    for (policy, options) in [("Optional", ""), ("Require", " --ssl-reqd -k")] {
        let stack = support::start(&[("TlsPolicy", policy)]).await;
        let command = format!("curl{options} smtp://{} --mail-from ", stack.smtp());
        assert!(stack.curl().starts_with(&command), "{}", stack.curl());
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_is_built() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    for (ports, option) in
        [((port, 0, 0), "--smtp-port"), ((0, port, 0), "--page-port"), ((0, 0, port), "--aws-port")]
    {
        let (smtp_port, page_port, aws_port) = ports;
        // Cargo would say that there is no such binary as the template names.
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/small.yaml");
        let functions = Functions::Build { release: false };
        let parameters = BTreeMap::new();
        let config =
            Config { template, parameters, functions, smtp_port, page_port, aws_port, ..Config::default() };
        let error = Stack::start(config).await.unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains(option), "{error}");
    }
}

#[tokio::test]
async fn lettre_can_deliver() {
    let stack = support::start(&[]).await;
    let address = |text: &str| text.parse::<Address>().unwrap();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(stack.smtp().port())
        .build();
    let envelope = Envelope::new(Some(address("a@b.example")), vec![address("info@in.example")]).unwrap();
    let response = transport.send_raw(&envelope, b"Subject: x\r\n\r\n.\r\n").await.unwrap();
    let reply: Vec<_> = response.message().collect();
    let id = reply[0].strip_prefix("OK ").unwrap();
    // lettre ends every message with one more line end.
    assert_eq!(stored(&stack, id).await, b"Subject: x\r\n\r\n.\r\n\r\n");
}

#[tokio::test]
async fn four_connections_at_once_lose_and_double_nothing() {
    const CONNECTIONS: usize = 4;
    const EACH: usize = 50;
    let stack = support::start(&[]).await;
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let server = stack.smtp();
            tokio::spawn(async move {
                let mut client = Client::connect(server).await.unwrap();
                let mut ids = Vec::new();
                for number in 0..EACH {
                    let message = format!("Subject: {connection}-{number}\r\n\r\nx\r\n");
                    let to = format!("r{number}@in.example");
                    ids.push(client.send(Some("a@b.example"), &[&to], message.as_bytes()).await.unwrap());
                }
                ids
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for sender in senders {
        ids.extend(sender.await.unwrap());
    }
    assert_eq!(ids.len(), CONNECTIONS * EACH);
    for id in &ids {
        assert_eq!(stack.settled(id).await, End::Returned);
        let invocations = stack
            .journal()
            .of(id)
            .iter()
            .filter(|entry| matches!(entry.event, Event::Invoked { .. }))
            .count();
        assert_eq!(invocations, 1, "{}", stack.story(id));
    }
    let stored: BTreeSet<_> = stack.keys("messages/").await.into_iter().collect();
    assert_eq!(stored, ids.iter().map(|id| format!("messages/{id}")).collect());
}
