//! Every message of the fixtures, and of the folder that `MAIL_CORPUS` names, as it is, with CRLF, and as SES stores
//! it: all that must hold of a rewritten message holds, and of the same message rewritten once more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ses_forwarder::{
    address::Address,
    delivery::{Delivery, Reason},
    header::{Rewrite, rewrite, split},
};
use ses_forwarder_checker::violations;

/// What SES puts before a message it stores.
const PREPENDED: &str = "Return-Path: <sender@envelope.example>\r\n\
    Received: from mail.envelope.example (mail.envelope.example [203.0.113.5])\r\n by inbound-smtp.us-east-1.amazonaws.com with SMTP id x1 for info@in.example;\r\n Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n\
    X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n\
    Received-SPF: pass (spfCheck: domain) client-ip=203.0.113.5;\r\n\
    Authentication-Results: amazonses.com;\r\n spf=pass client-ip=203.0.113.5;\r\n dkim=pass header.i=@envelope.example;\r\n\
    X-SES-RECEIPT: AEFB\r\nX-SES-DKIM-SIGNATURE: a=rsa-sha256; q=dns/txt; b=Cm1=; c=relaxed/simple;\r\n";

fn deliveries() -> Vec<Delivery> {
    let address = |text: &str| Address::parse(text).expect("a constant address");
    vec![
        Delivery {
            recipient: address("info@in.example"),
            destinations: vec![address("ann@out.example"), address("bob@else.example")],
            tags: vec![],
        },
        Delivery {
            recipient: address("user@example.com"),
            destinations: vec![address("user@out.example")],
            tags: vec![],
        },
    ]
}

fn forms(message: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let mut crlf = Vec::with_capacity(message.len() + message.len() / 32);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        match line {
            [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => crlf.extend([content, b"\r\n"].concat()),
            content => crlf.extend_from_slice(content),
        }
    }
    let stored = [PREPENDED.as_bytes(), &crlf].concat();
    [("as it is", message.to_vec()), ("with CRLF", crlf), ("as SES stores it", stored)]
}

/// What is wrong with a message rewritten once, twice and three times.
fn check(message: &[u8], how: &Rewrite<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut message = message.to_vec();
    let mut sizes = Vec::new();
    for pass in 1..=4 {
        let block = split(&message);
        let rewritten = rewrite(&block, how);
        sizes.push(rewritten.header.len());
        let output = [&rewritten.header, &message[block.body_at..]].concat();
        let wrong = violations(&message, &output, &rewritten.from, how);
        found.extend(wrong.into_iter().map(|violation| format!("pass {pass}: {violation}")));
        message = output;
    }
    // A From grows until its local part and its name are cut; nothing else may.
    if sizes[3] > sizes[2] + 2 * 320 {
        found.push(format!("grows: {sizes:?}"));
    }
    found
}

/// The messages in a folder; that there is none would pass without a word.
fn messages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of messages");
    let paths = entries.map(|entry| entry.expect("an entry of it").path());
    let messages: Vec<_> = paths.filter(|path| path.is_file()).collect();
    assert!(!messages.is_empty(), "no message in {}", folder.display());
    messages
}

#[test]
fn every_message_in_every_form() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("MAIL_CORPUS").map(PathBuf::from);
    let directories: Vec<PathBuf> = [manifest.join("fixtures")].into_iter().chain(corpus).collect();
    let deliveries = deliveries();
    let recipients: Vec<Address> = deliveries.iter().map(|delivery| delivery.recipient.clone()).collect();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in directories.iter().flat_map(|directory| messages(directory)) {
        let message = fs::read(&path).unwrap();
        for (form, message) in forms(&message) {
            // Subjects are marked in one form only, to save time.
            let (subject_prefix, tags) = match form {
                "with CRLF" => ("[in]", &[Reason::Spam, Reason::Dmarc][..]),
                _ => ("", &[][..]),
            };
            let how = Rewrite {
                email_domain: "in.example",
                envelope_sender: Some("sender@envelope.example"),
                deliveries: &deliveries,
                recipients: &recipients,
                hide_destinations: false,
                subject_prefix,
                tags,
                replies: None,
            };
            checked += 1;
            for violation in check(&message, &how) {
                wrong.push(format!("{} {form}: {violation}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} violations in {checked} messages:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}
