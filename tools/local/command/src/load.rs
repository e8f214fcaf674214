//! `cargo local load`: many messages, failing calls, and an account of each message.

use std::{process::ExitCode, time::Duration};

use ses_forwarder_local_stack::{Config, Functions, Stack};
use ses_forwarder_local_trials::{
    load::{self, Load},
    reliability,
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
    /// Write the account into docs/reliability.md.
    #[arg(long)]
    record: bool,
}

/// Sends and accounts. Fails if a message is lost, or doubled without a reason.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = Config { functions: Functions::Build { release: true }, watched: false, ..load::config() };
    let stack = Stack::start(config).await?;
    let load = Load {
        messages: arguments.messages,
        time: Duration::from_secs(60 * arguments.minutes),
        connections: arguments.connections,
        fault_percent: arguments.faults,
    };
    let account = load::run(&stack, load).await?;
    print!("{account}");
    if arguments.record {
        let Arguments { messages, minutes, connections, faults, .. } = arguments;
        let command = format!(
            "cargo local load --messages {messages} --minutes {minutes} --connections {connections} --faults {faults}"
        );
        reliability::record(&command, &account)?;
    }
    account.problems.iter().for_each(|problem| println!("\n{problem}"));
    Ok(if account.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
