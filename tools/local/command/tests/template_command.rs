//! `cargo local template`: what it prints, and how it exits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

const TEMPLATE: &str = "Transform: AWS::Serverless-2016-10-31
Parameters:
  EmailDomain: {Type: String}
  DestinationDomain: {Type: String}
  NoticeAddress: {Type: String, AllowedPattern: .+@.+, ConstraintDescription: must be one address}
Resources:
  Queue: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: 30}}
Outputs:
  Url: {Value: !Ref Queue}
";

/// Evaluates [`TEMPLATE`]; the exit code, and everything printed.
fn template(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t.yaml"), TEMPLATE).unwrap();
    let common = ["template", "--template", "t.yaml", "--stack-name", "mail", "--region", "eu-west-1"];
    support::run(folder.path(), &[&common, arguments].concat())
}

#[test]
fn ok_prints_what_is_made() {
    let list = "Resources
  Queue                            AWS::SQS::Queue
Outputs
  Url                              https://sqs.eu-west-1.amazonaws.com/123456789012/mail-Queue
";
    assert_eq!(template(&[]), (Some(0), list.to_owned()));
    let json = concat!(
        r#"{"Outputs":{"Url":{"Value":"https://sqs.eu-west-1.amazonaws.com/123456789012/mail-Queue"}},"#,
        r#""Resources":{"Queue":{"Properties":{"VisibilityTimeout":30},"Type":"AWS::SQS::Queue"}},"#,
        r#""Transform":"AWS::Serverless-2016-10-31"}"#,
        "\n"
    );
    assert_eq!(template(&["--json"]), (Some(0), json.to_owned()));
}

#[test]
fn err_says_what_cloudformation_would_refuse() {
    let message =
        "error: t.yaml: template line 5: parameter NoticeAddress can't be \"\": must be one address\n";
    let refused = template(&["--json", "--parameter", "NoticeAddress="]);
    assert_eq!(refused, (Some(1), message.to_owned()));
}
