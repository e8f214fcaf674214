//! `cargo local backlog`: more mail than SES takes, and what becomes of it.

use std::process::ExitCode;

use ses_forwarder_local_stack::{Config, Functions};
use ses_forwarder_local_trials::{
    backlog::{self, Backlog},
    reliability,
};

/// What `backlog` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Messages to send.
    #[arg(long, default_value_t = 2_000)]
    messages: usize,
    /// Hours that sending is paused while they arrive; 0 has them all come at once.
    #[arg(long, default_value_t = 72)]
    paused_hours: u32,
    /// Recipients a second that SES takes; no limit if it is not given.
    #[arg(long)]
    rate: Option<u32>,
    /// Instances of functions at once.
    #[arg(long, default_value_t = 10)]
    instances: usize,
    /// How much faster the clock runs than on AWS; 500 times if it is not given, 20 times with a rate.
    #[arg(long)]
    times: Option<u32>,
    /// Write the account into docs/reliability.md.
    #[arg(long)]
    record: bool,
}

/// Sends and accounts. Fails if a message did not go out, or not once.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config =
        Config { functions: Functions::Build { release: true }, watched: false, ..Config::default() };
    let &Arguments { messages, paused_hours, rate, instances, times, record } = arguments;
    let account = backlog::run(config, Backlog { messages, paused_hours, rate, instances, times }).await?;
    print!("{account}");
    if record {
        let rate = rate.map(|rate| format!(" --rate {rate}")).unwrap_or_default();
        let command = format!(
            "cargo local backlog --messages {messages} --paused-hours {paused_hours}{rate} --instances {instances}"
        );
        reliability::record(&command, &account)?;
    }
    Ok(if account.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
