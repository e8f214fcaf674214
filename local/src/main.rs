//! `cargo local`: the whole stack on this machine.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SES Forwarder's whole stack on this machine: mail in by SMTP, AWS played as template.yaml says, the real
/// functions, a page to look at.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: command::run::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything and stays until Ctrl-C; also what happens without a command.
    Run(command::run::Arguments),
    /// Sends messages through a stack of its own and shows what forwarding does to them.
    Send(command::send::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(arguments) => command::run::run(arguments).await,
        Command::Send(arguments) => command::send::run(arguments).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
