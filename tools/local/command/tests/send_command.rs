//! `cargo local send`: a message through the whole stack, and what is shown of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

const MESSAGE: &str = "From: Jane Doe <jane@example.com>\r
To: Info <info@in.example>\r
Subject: Hello\r
\r
Hi\r
";

/// Sends [`MESSAGE`]; whether that is well, and everything printed.
fn send(arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let message = folder.path().join("message.eml");
    fs::write(&message, MESSAGE).unwrap();
    let routes = folder.path().join("routes.toml");
    fs::write(&routes, "[routes]\n\"old@in.example\" = []\n\"info\" = \"ann@else.example\"\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ses-forwarder-local"))
        .args(["send", message.to_str().unwrap(), "--routes", routes.to_str().unwrap(), "--development"])
        .args(arguments)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn ok_forwarded_and_shown() {
    let (well, printed) = send(&["--to", "info@in.example", "--from", "jane@example.com"]);
    assert!(well, "{printed}");
    for line in [
        "from <jane@example.com> to info@in.example",
        "ann@else.example",
        "-From: Jane Doe <jane@example.com>",
        "+From: Jane Doe <jane_example.com@in.example>",
        "+X-Original-To: info@in.example",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
}

#[test]
fn ok_forwarded_by_a_later_try() {
    for (to, word) in [("info@in.example", "forwarded"), ("old@in.example", "discarded")] {
        let (well, printed) = send(&["--to", to, "--fault", "s3:GetObject(messages/)=kill-before@1"]);
        assert!(well && printed.contains("dead-lettered") && printed.contains(word), "{printed}");
    }
}

#[test]
fn ok_over_tls_where_that_is_required() {
    let (well, printed) = send(&["--to", "info@in.example", "--parameter", "TlsPolicy=Require"]);
    assert!(well && printed.contains("+X-Original-To: info@in.example"), "{printed}");
    let (well, printed) = send(&["--to", "info@elsewhere.example", "--parameter", "TlsPolicy=Require"]);
    assert!(!well && printed.contains("refused by SMTP: 550 5.1.1 No receipt rule"), "{printed}");
}

#[test]
fn ok_dropped_on_purpose() {
    let (well, printed) = send(&["--to", "old@in.example"]);
    assert!(well && printed.contains("discarded"), "{printed}");
}

#[test]
fn err_refused_by_smtp() {
    let (well, printed) = send(&["--to", "info@elsewhere.example"]);
    assert!(!well && printed.contains("refused by SMTP: "), "{printed}");
}
