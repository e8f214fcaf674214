//! Every message of the fixtures, and of the corpus beside the repository (or in `MAIL_CORPUS`)
//! where there is one, as it is, with CRLF, and as SES stores it: all that must hold of a rewritten message holds, and of the
//! same message rewritten once more.

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

#[test]
fn every_message_in_every_form() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = manifest.join("fixtures");
    assert!(own.is_dir(), "the fixtures are part of the repository");
    let beside = || manifest.join("../../shared/corpus/mail");
    let corpus = std::env::var_os("MAIL_CORPUS").map(PathBuf::from);
    // One that is asked for and not there would pass without a word.
    let is_missing =
        corpus.as_deref().is_some_and(|corpus| fs::read_dir(corpus).map_or(0, Iterator::count) == 0);
    assert!(!is_missing, "there is no message in {corpus:?}, which MAIL_CORPUS names");
    let directories = [own, corpus.unwrap_or_else(beside)];
    let deliveries = deliveries();
    let recipients: Vec<Address> = deliveries.iter().map(|delivery| delivery.recipient.clone()).collect();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for entry in directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
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
    assert!(checked >= 3 * 8, "only {checked} messages");
    assert!(
        wrong.is_empty(),
        "{} violations in {checked} messages:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}
