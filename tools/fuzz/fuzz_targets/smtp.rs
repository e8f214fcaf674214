//! The local stack's SMTP sessions: any conversation is answered line by line, the same however its bytes
//! are cut, and takes messages for accepted recipients only; any message goes in byte for byte, as one.

#![no_main]

use std::sync::{Mutex, PoisonError};

use libfuzzer_sys::fuzz_target;
use ses_forwarder_local_aws::{
    receiving::{Envelope, Refusal},
    smtp::session::{Inbox, Session, wire},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Keeps the messages it is handed.
#[derive(Default)]
struct Kept(Mutex<Vec<(Envelope, Vec<u8>)>>);

impl Inbox for Kept {
    fn accepts(&self, recipient: &str, tls: bool) -> Result<(), Refusal> {
        match recipient.split_once('@') {
            Some((_, "in.example")) => Ok(()),
            Some((_, "tls.example")) if !tls => Err(Refusal::TlsRequired),
            _ => Err(Refusal::NoRule),
        }
    }

    async fn receive(&self, envelope: Envelope, message: &[u8]) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((envelope, message.to_vec()));
        kept.len().to_string()
    }
}

fuzz_target!(|data: &[u8]| {
    let (replies, received) = converse(data, 1 << 16);
    for piece in [1, 7] {
        assert_eq!((&replies, &received), (&converse(data, piece).0, &converse(data, piece).1));
    }
    let lines = replies.strip_suffix("\r\n").expect("the last reply's line ends");
    for line in lines.split("\r\n") {
        let (code, rest) = line.split_at(3);
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with([' ', '-']), "{line:?}");
    }
    for (envelope, _) in &received {
        assert!((1..=100).contains(&envelope.recipients.len()));
        assert!(envelope.recipients.iter().all(|recipient| recipient.ends_with("@in.example")));
    }

    let end = if data.is_empty() || data.ends_with(b"\r\n") { "" } else { "\r\n" };
    let message = [data, end.as_bytes()].concat();
    let before = b"EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<info@in.example>\r\nDATA\r\n";
    let session = [&before[..], &stuffed(&message), b".\r\nQUIT\r\n"].concat();
    let (replies, received) = converse(&session, 1 << 16);
    let messages: Vec<_> = received.iter().map(|(_, message)| message.as_slice()).collect();
    assert_eq!(messages, [message.as_slice()]);
    assert!(replies.ends_with("250 OK 1\r\n221 2.0.0 Bye\r\n"), "{replies}");
});

/// What a client that says this, in pieces of that size at most, is answered, and the messages it hands in.
fn converse(said: &[u8], piece: usize) -> (String, Vec<(Envelope, Vec<u8>)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let kept = Kept::default();
    let replies = runtime.block_on(async {
        let (client, server) = tokio::io::duplex(piece);
        let (mut from_server, mut to_server) = tokio::io::split(client);
        let serve = async {
            let mut session = Session::new("inbound.example", &kept, "192.0.2.1".to_owned());
            // A client that is gone in the middle of a message is no fault of the server's.
            let _ = session.open(&mut wire(server)).await;
        };
        let say = async {
            // The server may have ended the session before.
            let _ = to_server.write_all(said).await;
            let _ = to_server.shutdown().await;
        };
        let hear = async {
            let mut replies = String::new();
            from_server.read_to_string(&mut replies).await.expect("replies are text");
            replies
        };
        tokio::join!(serve, say, hear).2
    });
    (replies, kept.0.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// RFC 5321 section 4.5.2: a dot at a line's beginning is doubled.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + 1);
    let mut line_begins = true;
    for (at, byte) in message.iter().enumerate() {
        if line_begins && *byte == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(*byte);
        line_begins = message[..=at].ends_with(b"\r\n");
    }
    stuffed
}
