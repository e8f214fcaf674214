//! `cargo local send FILE.eml --to ADDRESS`: what forwarding does to a message.

use std::process::ExitCode;

/// What `send` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Sends, waits and shows.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    todo!("{arguments:?}")
}
