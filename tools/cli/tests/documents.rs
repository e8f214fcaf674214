//! Every command that the README and the documents name, run against the local stack: each is known, takes
//! what is written behind it, and does its work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use ses_forwarder_local_aws::journal::End;
use ses_forwarder_local_stack::{Config, Stack, repository};
use support::{Operator, nameserver, zone};

/// The README, and all documents.
fn documents() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = folder.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    std::iter::once(repository().join("README.md")).chain(documents).collect()
}

/// What the documents say of AWS's own commands: nothing that ends receiving.
const UNSAFE: &str = "set-active-receipt-rule-set";

/// The commands in code, inline or in blocks, that begin with one of the binary's names.
fn commands(text: &str) -> Vec<String> {
    let inline = text.split('`').skip(1).step_by(2);
    let blocks = text.lines();
    let mut commands = Vec::new();
    for code in inline.chain(blocks) {
        let code = code.trim();
        let rest = code.strip_prefix("ses-forwarder ").or_else(|| code.strip_prefix("cargo operator "));
        if let Some(rest) = rest.filter(|rest| !rest.contains('`')) {
            commands.push(rest.to_owned());
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_documents_works_on_the_local_stack() {
    let mut config = Config::default();
    config.parameters.insert("Replies".to_owned(), "on".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let operator = Operator::of(&stack);
    support::confirm(&stack, &operator).await;
    // One message is to be held, so that it is found.
    let dead =
        r#"{"destinations":{"kim@out.example":{"suspended":{"at":"2026-11-25T10:00:00Z","messageId":"m"}}}}"#;
    stack.put_object("state/destinations.json", dead).await;
    let message = b"Subject: Hello\r\n\r\nHi\r\n";
    let held = stack.send(Some("ann@else.example"), &["kim@in.example"], message).await.unwrap();
    assert_eq!(stack.settled(&held).await, End::Returned);
    let id = stack.send(Some("ann@else.example"), &["info@in.example"], message).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("routes.toml"), "[routes]\n\"info\" = \"ann@out.example\"\n").unwrap();
    std::fs::write(folder.path().join("MESSAGE.eml"), message).unwrap();
    let dns = nameserver(zone("inbound-smtp.us-east-1.amazonaws.com.")).to_string();

    let mut all = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        assert!(!text.contains(UNSAFE), "{} names {UNSAFE}", document.display());
        let commands = commands(&text);
        let least = match document.file_name().and_then(|name| name.to_str()) {
            Some("README.md" | "commands.md") => 10,
            Some("first-hour.md" | "moving.md") => 4,
            _ => 0,
        };
        assert!(commands.len() >= least, "{}: {commands:?}", document.display());
        all.extend(commands);
    }
    // What ends the stack comes last, and the roll back after what it goes back from.
    all.sort_by_key(|command| (command.starts_with("remove"), command.contains("--rollback")));
    all.dedup();
    let (activated, rolled_back) = (operator.clients().await, |command: &str| command.contains("--rollback"));
    for command in &all {
        if rolled_back(command) {
            activated.ses.set_active_receipt_rule_set().send().await.unwrap();
            assert!(run(&operator, folder.path(), "activate --stack STACK --yes", &id, &dns).is_ok());
        }
        run(&operator, folder.path(), command, &id, &dns)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

/// Runs a command with its placeholders filled in; the error is what it said.
fn run(operator: &Operator, folder: &Path, command: &str, id: &str, dns: &str) -> Result<(), String> {
    let filled = command
        .replace("OTHER_STACK", "ses-forwarder")
        .replace("STACK", "ses-forwarder")
        .replace("MESSAGE_ID", id)
        .replace("ADDRESS", "info@in.example")
        .replace("FILE", "routes.toml");
    let mut words: Vec<&str> = filled.split_whitespace().collect();
    // A command named without what it takes: that there is one.
    if words.iter().all(|word| !word.contains('.') && !word.starts_with("--")) && words[0] != "completions" {
        words.push("--help");
    }
    match words[0] {
        // The system's DNS knows nothing of the local stack.
        "doctor" => words.extend(["--nameserver", dns]),
        "remove" => words.push("--yes"),
        // There is nobody to ask.
        "activate" if words.contains(&"--rollback") => words.push("--yes"),
        _ => {}
    }
    let output = operator.command(&words).current_dir(folder).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&printed).into_owned()) }
}
