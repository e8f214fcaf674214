//! `cargo local dictionary`: spam to names that don't exist, and how often it bounces.

use std::process::ExitCode;

use ses_forwarder_local_stack::{Config, Functions};
use ses_forwarder_local_trials::{
    dictionary::{self, Dictionary},
    reliability,
};

/// What `dictionary` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Messages to send.
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// Names that they are for.
    #[arg(long, default_value_t = 2_000)]
    names: usize,
    /// SMTP connections at once.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Write the account into docs/reliability.md.
    #[arg(long)]
    record: bool,
}

/// Sends and accounts. Fails if a name bounced more than once.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config =
        Config { functions: Functions::Build { release: true }, watched: false, ..Config::default() };
    let &Arguments { messages, names, connections, record } = arguments;
    let account = dictionary::run(config, Dictionary { messages, names, connections, routes: None }).await?;
    print!("{account}");
    if record {
        let command = format!("cargo local dictionary --messages {messages} --names {names}");
        reliability::record(&command, &account)?;
    }
    Ok(if account.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
