//! `cargo local`: the whole stack on this machine.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SES Forwarder's whole stack on this machine: mail in by SMTP, AWS played as template.yaml says, the real
/// functions, a page to look at.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", args_conflicts_with_subcommands = true)]
struct CommandLine {
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
    /// Shows what would be decided on a message and what its header would become, without sending it.
    Explain(command::explain::Arguments),
    /// Sends many messages while calls fail, and accounts for each.
    Load(command::load::Arguments),
    /// Makes docs/reliability.md: every fault at every call of both functions. Takes minutes.
    Reliability,
    /// Checks a routes file, or explains what it does with an address.
    Routes(command::routes::Arguments),
    /// Measures what forwarding costs: start, time, processor time and memory by size of message.
    Bench(command::bench::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let line = CommandLine::parse();
    let result = match line.command.unwrap_or(Command::Run(line.run)) {
        Command::Run(arguments) => command::run::run(arguments).await,
        Command::Send(arguments) => command::send::run(arguments).await,
        Command::Explain(arguments) => command::explain::run(&arguments),
        Command::Load(arguments) => command::load::run(&arguments).await,
        Command::Reliability => command::reliability::run().await,
        Command::Routes(arguments) => command::routes::run(&arguments),
        Command::Bench(arguments) => command::bench::run(arguments).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn ok_the_command_line_fits_together() {
        CommandLine::command().debug_assert();
    }
}
