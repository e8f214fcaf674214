//! `cargo local run`: everything, until Ctrl-C.

use std::process::ExitCode;

use ses_forwarder_local_aws::{
    auth::{OPERATOR_KEY, OPERATOR_SECRET},
    journal::{Entry, Event},
    pace::Pace,
};
use ses_forwarder_local_stack::{Config, Stack, repository};
use tokio::sync::broadcast::error::RecvError;

use super::stack::StackArguments;

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stack: StackArguments,
    /// Shorten Lambda's retry delays and SQS's time-outs a thousandfold: the first retry comes after 60 ms, not a minute.
    #[arg(long)]
    fast: bool,
    /// Port that mail comes in by; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 2525)]
    smtp_port: u16,
    /// Port of the page; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8025)]
    page_port: u16,
    /// Port of the AWS endpoints; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    aws_port: u16,
}

/// Starts the stack and stays.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.stack.config()?;
    config.data.get_or_insert_with(|| repository().join(".local"));
    let config = Config {
        pace: if arguments.fast { Pace::fast() } else { Pace::real() },
        smtp_port: arguments.smtp_port,
        page_port: arguments.page_port,
        aws_port: arguments.aws_port,
        ..config
    };
    let pace = if arguments.fast { " with --fast clocks" } else { "" };
    let stack = Stack::start(config).await?;
    print!("{}", greeting(&stack, pace));
    tokio::select! {
        () = show(&stack) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    println!("\nStopping.");
    Ok(ExitCode::SUCCESS)
}

/// Where everything is, and what to try.
fn greeting(stack: &Stack, pace: &str) -> String {
    let parameter = |name: &str| stack.deployment().parameters.get(name).map_or("", String::as_str);
    let (smtp, bucket, data) = (stack.smtp(), stack.bucket(), stack.data().display());
    format!(
        "Mail for {domains} is forwarded to {to}{pace}.\n\n  \
         page  {page}\n  \
         SMTP  {smtp}\n  \
         AWS   {aws}  (S3, SES, SQS, SNS, Lambda)\n  \
         data  {data}  (what was sent: maildir/)\n\n\
         Try:\n  \
         {curl}\n  \
         export AWS_ENDPOINT_URL={aws} AWS_REGION={region} AWS_ACCESS_KEY_ID={OPERATOR_KEY} AWS_SECRET_ACCESS_KEY={OPERATOR_SECRET}\n  \
         aws s3 ls --recursive s3://{bucket}\n  \
         cargo operator replay --stack {name} --since 2h --dry-run\n\n\
         Ctrl-C stops everything.\n\n",
        domains = parameter("EmailDomain"),
        to = parameter("DestinationDomain"),
        page = stack.page_url(),
        curl = stack.curl(),
        aws = stack.aws_url(),
        region = stack.deployment().region,
        name = stack.deployment().stack_name,
    )
}

/// Prints what happens, for ever.
async fn show(stack: &Stack) {
    let (past, mut live) = stack.journal().follow();
    past.iter().for_each(|entry| print(entry));
    loop {
        match live.recv().await {
            Ok(entry) => print(&entry),
            Err(RecvError::Lagged(missed)) => println!("… {missed} entries more than can be shown"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Prints what a person who watches wants to know; the page has the rest.
fn print(entry: &Entry) {
    let quiet = match &entry.event {
        Event::Called { error, .. } => error.is_none(),
        Event::Returned { result, .. } => result.is_ok(),
        Event::Stored { .. } | Event::Invoked { .. } | Event::Logged { .. } => true,
        _ => false,
    };
    if !quiet {
        let id: String = entry.message_id.iter().flat_map(|id| id.chars().take(8)).collect();
        println!("{id:8} {entry}");
    }
    if let Event::Published { text, .. } = &entry.event {
        text.lines().for_each(|line| println!("         | {line}"));
    }
}
