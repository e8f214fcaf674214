//! `cargo local`: the whole stack on this machine.

mod backlog;
mod bench;
mod deployed;
mod dictionary;
mod explain;
mod forgery;
mod load;
mod reliability;
mod routes;
mod run;
mod send;
mod stack;
mod template;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// SES Forwarder's whole stack on this machine: mail in by SMTP, AWS played as template.yaml says, the real
/// functions, a page to look at.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything and stays until Ctrl-C; also what happens without a command.
    Run(run::Arguments),
    /// Sends messages through a stack of its own and shows what forwarding does to them.
    Send(send::Arguments),
    /// Shows what would be decided on a message and what its header would become, without sending it.
    Explain(explain::Arguments),
    /// Sends many messages while calls fail, and accounts for each.
    Load(load::Arguments),
    /// Sends many messages while SES takes none, or few, and accounts for them.
    Backlog(backlog::Arguments),
    /// Sends spam to names that do not exist, and counts how often it bounces.
    Dictionary(dictionary::Arguments),
    /// Makes docs/reliability.md: every fault at every call of both functions. Takes minutes.
    Reliability,
    /// Tries addresses that nobody has signed: none may be taken for one that can be answered.
    Forgery(forgery::Arguments),
    /// Checks a routes file, or explains what it does with an address.
    Routes(routes::Arguments),
    /// Shows what CloudFormation makes of template.yaml, or why it refuses it, without deploying anything.
    Template(template::Arguments),
    /// Measures what forwarding costs: start, time, processor time and memory by size of message.
    Bench(bench::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // What the services warn of, but no fault that was asked for; `RUST_LOG` says what else is to be seen.
    let seen = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,s3s=off"));
    tracing_subscriber::fmt().with_env_filter(seen).with_writer(std::io::stderr).init();
    let line = CommandLine::parse();
    let result = match line.command.unwrap_or(Command::Run(line.run)) {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Send(arguments) => send::run(arguments).await,
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Load(arguments) => load::run(&arguments).await,
        Command::Backlog(arguments) => backlog::run(&arguments).await,
        Command::Dictionary(arguments) => dictionary::run(&arguments).await,
        Command::Reliability => reliability::run().await,
        Command::Forgery(arguments) => forgery::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Template(arguments) => template::run(arguments),
        Command::Bench(arguments) => bench::run(arguments).await,
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
