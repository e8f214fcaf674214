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
        reliability::record(&arguments.command(), &account)?;
    }
    Ok(if account.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// The command that runs the same again, by which its account is known.
    fn command(&self) -> String {
        let &Arguments { messages, paused_hours, rate, instances, times, record: _ } = self;
        let rate = rate.map(|rate| format!(" --rate {rate}")).unwrap_or_default();
        let times = times.map(|times| format!(" --times {times}")).unwrap_or_default();
        format!(
            "cargo local backlog --messages {messages} --paused-hours {paused_hours}{rate} --instances {instances}{times}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_another_run_has_another_name() {
        let usual =
            Arguments { messages: 9, paused_hours: 0, rate: None, instances: 2, times: None, record: true };
        let name = "cargo local backlog --messages 9 --paused-hours 0";
        assert_eq!(usual.command(), format!("{name} --instances 2"));
        let other = Arguments { rate: Some(5), times: Some(7), ..usual };
        assert_eq!(other.command(), format!("{name} --rate 5 --instances 2 --times 7"));
    }
}
