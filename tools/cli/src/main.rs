//! `ses-forwarder`: everything about a deployed stack, and about its files.

use std::process::ExitCode;

use clap::Parser;
use ses_forwarder_cli::{arguments::Arguments, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
