//! `cargo local run`: everything, until Ctrl-C.

use std::process::ExitCode;

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Starts the stack and stays.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    todo!("{arguments:?}")
}
