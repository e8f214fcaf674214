//! `cargo local load`: many messages, failing calls, and an account of each message.

use std::{process::ExitCode, time::Duration};

use ses_forwarder_local::{
    load::{self, Load},
    stack::{Config, Functions, Stack},
};

/// What `load` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Messages to send at least.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Minutes to go on for at least.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// SMTP connections at once.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls in a hundred that fail, or whose function is killed.
    #[arg(long, default_value_t = 5)]
    faults: u8,
}

/// Sends and accounts. Fails if a message is lost, or doubled without a reason.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Config { functions: Functions::Build { release: true }, ..Config::default() };
    let stack = Stack::start(config).await?;
    let load = Load {
        messages: arguments.messages,
        time: Duration::from_secs(60 * arguments.minutes),
        connections: arguments.connections,
        fault_percent: arguments.faults,
    };
    let account = load::run(&stack, load).await?;
    print!("{account}");
    account.problems.iter().for_each(|problem| println!("\n{problem}"));
    Ok(if account.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
