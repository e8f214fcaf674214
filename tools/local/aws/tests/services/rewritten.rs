//! What forwarding makes of a message, and what SES says to it: two pieces that share no code.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ses_forwarder::{
    address::Address,
    delivery::Delivery,
    header::{Rewrite, rewrite, split},
};
use ses_forwarder_local_aws::ses_message;

fn forwarded(message: &[u8], envelope_sender: Option<&str>) -> Vec<u8> {
    let address = |text: &str| Address::parse(text).unwrap();
    let deliveries = [Delivery {
        recipient: address("info@in.example"),
        destinations: vec![address("ann@out.example"), address("bob@else.example")],
    }];
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender,
        deliveries: &deliveries,
        recipients: &[address("info@in.example")],
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
    };
    let block = split(message);
    [&rewrite(&block, &how).header, &message[block.body_at..]].concat()
}

/// What SES says to the header, if it refuses it; the body stays as the sender wrote it.
fn refusal(outgoing: &[u8]) -> Option<String> {
    let end = outgoing.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a header block ends");
    ses_message::check(&outgoing[..end + 4]).err().map(|refused| refused.to_string())
}

#[test]
fn ses_takes_what_is_forwarded_of_real_mail() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap();
    let mut files = vec![repository.join("events/sample-message.eml")];
    // The corpus lies beside the repository, or where MAIL_CORPUS says; without one there is the sample.
    let corpus = std::env::var_os("MAIL_CORPUS");
    let mut folders = vec![corpus.map_or_else(|| repository.join("../shared/corpus/mail"), PathBuf::from)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let refused: Vec<_> = files
        .iter()
        .filter_map(|file| {
            let outgoing = forwarded(&std::fs::read(file).unwrap(), Some("sender@x.example"));
            Some((file, refusal(&outgoing)?))
        })
        .collect();
    assert!(refused.is_empty(), "{} of {}: {refused:#?}", refused.len(), files.len());
}

proptest! {
    #[test]
    fn ses_takes_what_is_forwarded_of_any_mail(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "References",
                    "Content-Type", "DKIM-Signature", "Return-Path", "X-SES-A", "X-Any", "Received", "Bcc", "=",
                ]),
                "([ -~]|\t|\r\n |ü|\u{0}|@|<|>|\"|,|;|:|\\(|a@x\\.example){0,60}",
            ),
            0..8,
        ),
        body: Vec<u8>,
    ) {
        let mut message: Vec<u8> =
            fields.iter().flat_map(|(name, value)| format!("{name}: {value}\r\n").into_bytes()).collect();
        message.extend(b"\r\n");
        message.extend(body);
        let outgoing = forwarded(&message, None);
        prop_assert_eq!(refusal(&outgoing), None, "{}", String::from_utf8_lossy(&outgoing));
    }

    #[test]
    fn whatever_is_sent_out_would_be_taken_again(message: Vec<u8>) {
        let message = [&b"From: a@in.example\r\n"[..], &message].concat();
        if let Ok(checked) = ses_message::check(&message) {
            let outgoing = checked.outgoing("id@email.amazonses.com", "Wed, 25 Nov 2026 01:00:00 +0000");
            prop_assert!(ses_message::check(&outgoing).is_ok(), "{}", String::from_utf8_lossy(&outgoing));
            let _ = checked.recipients();
        }
    }
}
