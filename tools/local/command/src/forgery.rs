//! `cargo local forgery`.

use std::process::ExitCode;

use clap::Args;
use ses_forwarder_local_trials::forgery;

/// How many.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Addresses to try
    #[arg(long, default_value_t = 10_000_000)]
    addresses: u64,
}

/// Tries them, and fails if one is read.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let tried = forgery::run(arguments.addresses)?;
    print!("{tried}");
    Ok(if tried.read.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
