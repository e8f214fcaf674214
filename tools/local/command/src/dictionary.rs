//! `cargo local dictionary`: spam to names that don't exist, and how often it bounces.

use std::process::ExitCode;

use ses_forwarder_local_stack::{Config, Functions};
use ses_forwarder_local_trials::{
    dictionary::{self, Dictionary},
    reliability,
};

/// SMTP connections unless others are asked for.
const CONNECTIONS: usize = 2;

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
    #[arg(long, default_value_t = CONNECTIONS)]
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
    let dictionary = Dictionary { messages, names, connections, routes: None, patient: false };
    let account = dictionary::run(config, dictionary).await?;
    print!("{account}");
    if record {
        reliability::record(&arguments.command(), &account)?;
    }
    Ok(if account.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// The command that runs the same again, by which its account is known.
    fn command(&self) -> String {
        let &Arguments { messages, names, connections, record: _ } = self;
        let connections = Some(connections).filter(|connections| *connections != CONNECTIONS);
        let connections =
            connections.map(|connections| format!(" --connections {connections}")).unwrap_or_default();
        format!("cargo local dictionary --messages {messages} --names {names}{connections}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_another_run_has_another_name() {
        for (connections, command) in [
            (CONNECTIONS, "cargo local dictionary --messages 9 --names 3"),
            (5, "cargo local dictionary --messages 9 --names 3 --connections 5"),
        ] {
            assert_eq!(Arguments { messages: 9, names: 3, connections, record: true }.command(), command);
        }
    }
}
