//! `cargo local explain`: the decision and the header, before anything is sent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

const MESSAGE: &str = "Return-Path: <jane@example.com>\r
From: Jane Doe <jane@example.com>\r
To: Info <info@in.example>, Other <other@else.example>\r
Subject: Hello\r
Message-ID: <1@example.com>\r
\r
Hi\r
";

const ROUTES: &str = "[routes]\n\"info\" = [\"ann@out.example\", \"bob@out.example\"]\n";

/// Explains [`MESSAGE`], with [`ROUTES`] in a file; the exit code, and everything printed.
fn explain(arguments: &[&str]) -> (Option<i32>, String) {
    explain_with("", arguments)
}

/// The same with these fields before the others.
fn explain_with(fields: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("message.eml"), format!("{fields}{MESSAGE}")).unwrap();
    fs::write(folder.path().join("routes.toml"), ROUTES).unwrap();
    fs::write(folder.path().join("off.toml"), format!("{ROUTES}[replies]\nenabled = false\n")).unwrap();
    let parameters =
        ["EmailDomain=in.example", "DestinationDomain=out.example", "OnSpam=tag", "OnDmarcReject=drop"];
    let parameters: Vec<_> = parameters.iter().flat_map(|parameter| ["--parameter", parameter]).collect();
    support::run(folder.path(), &[&["explain", "message.eml"], arguments, &parameters].concat())
}

#[test]
fn ok_decision_and_header() {
    let (code, printed) = explain(&[
        "--to",
        "info@in.example",
        "--to",
        "x@shop.example",
        "--routes",
        "routes.toml",
        "--verdict",
        "spam=FAIL",
    ]);
    let expected = r#"info@in.example
  "info@in.example"                        no line
  "info"                                   line 2: the local part, at any received domain
  goes to ann@out.example, bob@out.example
x@shop.example
  "x@shop.example"                         no line
  "x"                                      no line
  "@shop.example"                          no line
  "@*.example"                             no line
  "@"                                      no line
  dropped: no-route
forwarded to ann@out.example bob@out.example, tagged spam
not for x@shop.example: no-route
from jane_example.com@in.example

-Return-Path: <jane@example.com>
-From: Jane Doe <jane@example.com>
+X-Original-To: info@in.example
+X-Original-From: Jane Doe <jane@example.com>
+X-Original-Message-ID: <1@example.com>
+X-Loop: info@in.example
+X-Forwarder-Verdict: spam
+From: Jane Doe <jane_example.com@in.example>
+Reply-To: Jane Doe <jane@example.com>
 To: Info <info@in.example>, Other <other@else.example>
-Subject: Hello
+Subject: [SPAM] Hello
 Message-ID: <1@example.com>
+References: <1@example.com>
 
"#;
    assert_eq!((code, &*printed), (Some(0), expected));
}

#[test]
fn ok_a_notice_of_another_stack_is_mail_as_any() {
    for (name, expected) in [("ses-forwarder", "dropped: loop"), ("another", "forwarded to ")] {
        let notice = format!("X-Forwarder-Notice: {name}\r\n");
        let (code, printed) = explain_with(&notice, &["--to", "info@in.example"]);
        assert!(code == Some(0) && printed.lines().any(|line| line.starts_with(expected)), "{printed}");
    }
}

#[test]
fn ok_addresses_that_can_be_answered() {
    let replies = ["--to", "info@in.example", "--to", "sales@in.example", "--parameter", "Replies=on"];
    let (code, printed) = explain(&replies);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(
        printed.matches("\nReplies=on: addresses are signed with a key of this").count(),
        1,
        "{printed}"
    );
    // One is one alias's, and so is a send.
    for from in ["info+jane=example.com+a", "sales+jane=example.com+a"] {
        for line in [format!("\nfrom {from}"), format!("\n+Reply-To: Jane Doe <{from}")] {
            assert!(printed.contains(&line), "{line} is not in\n{printed}");
        }
    }
    let (code, printed) =
        explain(&["--to", "info@in.example", "--routes", "off.toml", "--parameter", "Replies=on"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("\nfrom jane_example.com@in.example\n"), "{printed}");
    assert!(!printed.contains("Replies=on"), "{printed}");
}

#[test]
fn ok_what_is_dropped_and_why() {
    for (arguments, decision) in [
        (&["--to", "info@in.example", "--verdict", "virus=FAIL"][..], "dropped: virus"),
        (
            &["--to", "info@in.example", "--verdict", "dmarc=FAIL", "--verdict", "dmarc-policy=reject"],
            "dropped: dmarc",
        ),
        (&["--to", "x@shop.example"], "dropped: no-route"),
        (&["--to", "jane_example.com@in.example", "--from", "<>"], "dropped: unverified-bounce"),
        (
            &["--to", "jane_example.com@in.example", "--to", "x@shop.example", "--from", "<>"],
            "dropped: no-route\nnot for jane_example.com@in.example: unverified-bounce\nnot for x@shop.example: no-route",
        ),
    ] {
        let (code, printed) = explain(arguments);
        let end = printed.find("\ndropped: ").map(|at| printed[at..].trim());
        assert_eq!((code, end), (Some(0), Some(decision)), "{arguments:?}");
    }
}

#[test]
fn err_says_what_is_expected() {
    let (code, printed) = explain(&["--to", "info@in.example", "--verdict", "scan=FAIL"]);
    let expected = "error: --verdict scan: expected spam, virus, spf, dkim, dmarc or dmarc-policy\n";
    assert_eq!((code, &*printed), (Some(1), expected));
}
