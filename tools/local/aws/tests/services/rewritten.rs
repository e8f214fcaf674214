//! What forwarding makes of a message, and what SES says to it: two pieces that share no code.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ses_forwarder::{
    address::Address,
    delivery::Delivery,
    domains::Domains,
    header::{AnswerHeader, Rewrite, answer, rewrite, split},
    replies::{Replies, keys::ReplyKeys},
};
use ses_forwarder_local_aws::ses_message;

/// What goes out of a message: forwarded, forwarded so that it can be answered, and as an answer.
fn outgoing(message: &[u8], envelope_sender: Option<&str>) -> [Vec<u8>; 3] {
    let address = |text: &str| Address::parse(text).unwrap();
    let deliveries = [Delivery {
        recipient: address("info@in.example"),
        destinations: vec![address("ann@out.example"), address("bob@else.example")],
        tags: vec![],
    }];
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender,
        deliveries: &deliveries,
        recipients: &[address("info@in.example")],
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
        replies: None,
    };
    let block = split(message);
    let (keys, domains) = (ReplyKeys::first([7; 32]), Domains::parse("in.example").unwrap());
    let replies = Replies { keys: &keys, contacts: &[], named: &[], domains: &domains };
    let answered = AnswerHeader {
        alias: &address("info@in.example"),
        correspondents: &[address("jane@example.com")],
        private: &[address("ann@out.example")],
        replies,
        subject_prefix: "",
    };
    let headers = [
        rewrite(&block, &how).header,
        rewrite(&block, &Rewrite { replies: Some(replies), ..how }).header,
        // A message from nobody is no answer.
        [&b"From: x@out.example\r\n"[..], message].concat(),
    ];
    let [plain, answerable, from_somebody] = headers;
    let block_of_answer = split(&from_somebody);
    [plain, answerable, answer(&block_of_answer, &answered).header]
        .map(|header| [&header, &message[block.body_at..]].concat())
}

/// What SES says to the header, if it refuses it; the body stays as the sender wrote it.
fn refusal(outgoing: &[u8]) -> Option<String> {
    let end = outgoing.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a header block ends");
    ses_message::check(&outgoing[..end + 4]).err().map(|refused| refused.to_string())
}

/// The sample, the fixtures, and what is in the folder that `MAIL_CORPUS` names.
fn real_mail() -> Vec<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap();
    let mut files = vec![repository.join("events/sample-message.eml")];
    let corpus = std::env::var_os("MAIL_CORPUS").map(PathBuf::from);
    for folder in [repository.join("shared/fixtures")].into_iter().chain(corpus) {
        let paths = std::fs::read_dir(&folder).expect("a folder of mail").map(|entry| entry.unwrap().path());
        let found: Vec<_> = paths.filter(|path| path.is_file()).collect();
        // It would pass without a word.
        assert!(!found.is_empty(), "no message in {}", folder.display());
        files.extend(found);
    }
    files
}

/// The values of all fields that hold mailboxes, in the headers of parts, of forwarded messages and of returned
/// ones too, with their folding.
fn lists_of_mailboxes(message: &[u8]) -> Vec<Vec<u8>> {
    const NAMES: [&str; 9] =
        ["From", "To", "Cc", "Bcc", "Reply-To", "Sender", "Resent-From", "Resent-To", "Resent-Cc"];
    let mut lists: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if open && line.starts_with(b" ") | line.starts_with(b"\t") {
            lists.last_mut().unwrap().extend_from_slice(line);
            continue;
        }
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':').unwrap_or(line.len()));
        open = NAMES.iter().any(|known| name.trim_ascii_end().eq_ignore_ascii_case(known.as_bytes()));
        if open {
            lists.push(value.get(1..).unwrap_or_default().to_vec());
        }
    }
    lists.iter().map(|list| list.trim_ascii_end().to_vec()).collect()
}

#[test]
fn ses_takes_every_list_of_mailboxes_in_real_mail_wherever_it_stands() {
    let mut lists = std::collections::BTreeSet::new();
    for file in real_mail() {
        lists.extend(lists_of_mailboxes(&std::fs::read(file).unwrap()));
    }
    assert!(lists.len() >= 10, "only {} lists", lists.len());
    let refused: Vec<_> = lists
        .iter()
        .flat_map(|list| ["From", "To", "Cc", "Reply-To"].map(|name| (name, list)))
        .flat_map(|(name, list)| {
            let message = [name.as_bytes(), b":", list, b"\r\n\r\n"].concat();
            let refused = outgoing(&message, None).into_iter().filter_map(|outgoing| refusal(&outgoing));
            refused.map(move |refusal| (name, list.escape_ascii().to_string(), refusal))
        })
        .collect();
    assert!(refused.is_empty(), "{} of {} in four fields: {refused:#?}", refused.len(), lists.len());
}

#[test]
fn ses_takes_what_is_forwarded_of_real_mail() {
    let files = real_mail();
    let refused: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let outgoing = outgoing(&std::fs::read(file).unwrap(), Some("sender@x.example"));
            outgoing.into_iter().filter_map(move |outgoing| Some((file, refusal(&outgoing)?)))
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
        for outgoing in outgoing(&message, None) {
            prop_assert_eq!(refusal(&outgoing), None, "{}", String::from_utf8_lossy(&outgoing));
        }
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
