//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

/// Commands for a deployed stack.
#[derive(Debug, Parser)]
#[command(name = "cargo operator", bin_name = "cargo operator", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report what is wrong with a stack, each with its fix; exits 1 if anything is
    Doctor {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// DNS server to ask for the MX record instead of the system's
        #[arg(long, value_name = "IP:PORT")]
        nameserver: Option<SocketAddr>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the stack's receipt rule set the active one, so that it gets the mail
    Activate {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Go back to the rule set that was active before
        #[arg(long)]
        rollback: bool,
    },
    /// Forward messages again from their archived notifications; what is forwarded is not sent twice
    Replay {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Which messages.
        #[command(flatten)]
        selection: Selection,
        /// Only tell which messages it would be
        #[arg(long)]
        dry_run: bool,
        /// Print JSON, a line a message
        #[arg(long)]
        json: bool,
    },
    /// Save recent notifications as events for `sam local invoke`; they hold names and addresses
    Events {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// How many, newest first
        #[arg(long, default_value_t = 3)]
        limit: usize,
        /// Where to
        #[arg(long, value_name = "FOLDER", default_value = "events/recent")]
        folder: PathBuf,
    },
}

/// The stack, and where it is.
#[derive(Debug, Args)]
pub struct Target {
    /// Name of the CloudFormation stack
    #[arg(long)]
    pub stack: String,
    /// AWS region; the default is that of the AWS CLI
    #[arg(long)]
    pub region: Option<String>,
    /// Profile of the AWS CLI's configuration
    #[arg(long)]
    pub profile: Option<String>,
}

/// Which messages to replay: by id, or by age and outcome.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Selection {
    /// SES's ids of messages, as in notices and logs
    #[arg(value_name = "MESSAGE_ID")]
    pub ids: Vec<String>,
    /// Those received since, such as 90m, 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "ids")]
    pub since: Option<Duration>,
    /// With --since: those with this outcome, repeatable; by default failed and rejected ones
    #[arg(long, value_name = "STATUS", requires = "since", value_parser = ["failed", "rejected", "dropped"])]
    pub status: Vec<String>,
}

impl Command {
    /// The stack that is meant.
    pub fn target(&self) -> &Target {
        match self {
            Command::Doctor { target, .. }
            | Command::Activate { target, .. }
            | Command::Replay { target, .. }
            | Command::Events { target, .. } => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn err_what_does_not_go_together() {
        let cases = [
            "replay --stack s",
            "replay --stack s --status failed",
            "replay --stack s --since 2h m1",
            "replay --stack s --since soon",
            "replay --stack s --since 2h --status forwarded",
            "replay m1",
            "doctor --stack s --nameserver localhost",
        ];
        for case in cases {
            let words = std::iter::once("operator").chain(case.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{case}");
        }
    }
}
