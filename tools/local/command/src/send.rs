//! `cargo local send FILE.eml --to ADDRESS`: what forwarding does to a message.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use ses_forwarder::{delivery::Reason, header};
use ses_forwarder_explain::diff;
use ses_forwarder_local_aws::{journal::Event, pace::Pace};
use ses_forwarder_local_stack::{Config, SentMail, Stack};

use super::stack::StackArguments;

/// What `send` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Messages, as a mail program saves them.
    #[arg(required = true, value_name = "FILE")]
    messages: Vec<PathBuf>,
    /// An envelope recipient. May be given more than once.
    #[arg(long, required = true, value_name = "ADDRESS")]
    to: Vec<String>,
    /// The envelope sender; <> for the null one.
    #[arg(long, default_value = "sender@sender.example", value_name = "ADDRESS")]
    from: String,
    /// A routes file to use as config/routes.toml.
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    #[command(flatten)]
    stack: StackArguments,
}

/// Sends, waits and shows. Fails if a message was neither forwarded nor dropped on purpose.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = Config { pace: Pace::fast(), ..arguments.stack.config()? };
    let stack = Stack::start(config).await?;
    if let Some(path) = &arguments.routes {
        let routes = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        stack.put_object(&routes_key(&stack), routes).await;
    }
    let from = Some(arguments.from.trim_matches(['<', '>'])).filter(|from| !from.is_empty());
    let to: Vec<_> = arguments.to.iter().map(String::as_str).collect();
    let mut all_well = true;
    for path in &arguments.messages {
        let message = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        println!("{} from <{}> to {}", path.display(), from.unwrap_or_default(), to.join(", "));
        let taken = if stack.requires_tls() {
            stack.send_over_tls(from, &to, &message).await
        } else {
            stack.send(from, &to, &message).await
        };
        match taken {
            Ok(id) => all_well &= show(&stack, &id).await,
            Err(refusal) => {
                println!("refused by SMTP: {refusal}\n");
                all_well = false;
            }
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the function looks for the routes.
fn routes_key(stack: &Stack) -> String {
    let mut functions = stack.deployment().functions.iter();
    functions.find_map(|function| function.environment.get("ROUTES_KEY")).cloned().unwrap_or_default()
}

/// Shows a message's way and tells whether it ended well.
async fn show(stack: &Stack, id: &str) -> bool {
    stack.settled(id).await;
    let (sent, notices): (Vec<_>, Vec<_>) = stack
        .sent()
        .into_iter()
        .filter(|mail| mail.message_id.as_deref() == Some(id))
        .partition(|mail| !is_notice(mail));
    if let Some(stored) = stored(stack, id).await {
        let before = header_of(&stored);
        for mail in &sent {
            println!("\nsent from {} to {}", mail.from, mail.destinations.join(", "));
        }
        if let Some(mail) = sent.first() {
            println!("\nheader: - as SES stored it, + as it was sent");
            diff::lines(before, header_of(&mail.raw)).iter().for_each(|line| println!("{line}"));
        }
    }
    println!("\nmessage {id}");
    print!("{}", stack.story(id));
    let outcome = stack.outcome(id).await;
    match &outcome {
        Some(outcome) => println!("\noutcome: {outcome}"),
        None => println!("\nthere is no outcome"),
    }
    for notice in notices {
        println!("\nnotice to {}:\n{}", notice.destinations.join(", "), String::from_utf8_lossy(&notice.raw));
    }
    for published in stack.published() {
        println!("\nnotice to {}: {}\n{}", published.topic, published.subject, published.text);
    }
    println!();
    outcome.is_some_and(|outcome| match outcome["status"].as_str() {
        // Whichever try it was: the queue makes more of them.
        Some("forwarded") => true,
        // A bounce of mail that was sent is told the operator as a failure.
        Some("dropped") => outcome["reason"] != Reason::Bounce.word(),
        _ => false,
    })
}

/// The message as SES stored it.
async fn stored(stack: &Stack, id: &str) -> Option<Vec<u8>> {
    let entries = stack.journal().of(id);
    let key = entries.iter().find_map(|entry| match &entry.event {
        Event::Stored { key, .. } => Some(key),
        _ => None,
    })?;
    stack.object(key).await.map(Vec::from)
}

fn header_of(message: &[u8]) -> &[u8] {
    &message[..header::split(message).body_at]
}

fn is_notice(mail: &SentMail) -> bool {
    header::split(&mail.raw).fields().any(|field| field.is("X-Forwarder-Notice"))
}
