//! The command line.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ses_forwarder::address::Address;
use ses_forwarder_explain::{message::Question, pair};
use time::OffsetDateTime;

/// Everything about a deployed stack of SES Forwarder, and about its files.
#[derive(Debug, Parser)]
#[command(name = "ses-forwarder", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON, in the shape that docs/commands.md gives for each command
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report what is wrong with a stack, each with its fix; exits 1 if anything is, 2 if something can't be told
    Doctor {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// DNS server to ask instead of the system's
        #[arg(long, value_name = "IP:PORT")]
        nameserver: Option<SocketAddr>,
    },
    /// Print the DNS records that the domains need, to receive and to send; exits 1 if SES can't tell all yet
    Dns {
        /// Which records.
        #[command(flatten)]
        question: DnsQuestion,
    },
    /// Make the stack's receipt rule set the active one, so that it gets the mail
    Activate {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Go back to the rule set that was active before
        #[arg(long)]
        rollback: bool,
        /// Don't ask, even if the active rule set receives for addresses that the next one does not
        #[arg(long)]
        yes: bool,
    },
    /// Stop receiving, if it is this stack that receives, and delete the stack; its bucket stays
    Remove {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// Leave the stack, and say the command that deletes it
        #[arg(long)]
        keep_stack: bool,
        /// Even while dead letters wait to be tried again, which go with the stack's queue
        #[arg(long, conflicts_with = "keep_stack")]
        with_waiting: bool,
    },
    /// Forward messages again from their archived notifications; what is forwarded is not sent twice
    Replay {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Which messages.
        #[command(flatten)]
        selection: Selection,
        /// With --stuck and --orphans: leave out what is younger, as it may be at work
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "15m", conflicts_with = "ids")]
        older_than: Duration,
        /// Only tell which messages it would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Send messages that were dropped, past the verdict or the line for their sender that dropped them, once; says
    /// which line of the routes file would have let them through
    Release {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Which messages.
        #[command(flatten)]
        wanted: Released,
        /// Even those that a virus was found in; they come marked [VIRUS]
        #[arg(long)]
        virus: bool,
        /// Only tell which messages it would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Send what was held for a destination that refused mail, and what it refused, now that it takes mail again
    Resume {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Which destination.
        #[command(flatten)]
        resumed: Resumed,
    },
    /// Show all that is known of a message: stored, notification, outcome, sends, log lines
    Trace {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// SES's ids of messages, as in notices and logs
        #[arg(value_name = "MESSAGE_ID", required = true)]
        ids: Vec<String>,
    },
    /// Find messages by what their notifications say, newest first
    Find {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// What to look for.
        #[command(flatten)]
        wanted: Wanted,
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
    /// Check, explain, fetch or upload the routes file
    Routes {
        /// What to do with it.
        #[command(subcommand)]
        command: RoutesCommand,
    },
    /// Print the address to write to for a conversation that the other side sees as coming from an alias
    Contact {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// The alias, such as info@in.example
        alias: Address,
        /// Whom to write to
        correspondent: Address,
    },
    /// List or add the keys of the addresses that can be answered
    ReplyKeys {
        /// What to do with them.
        #[command(subcommand)]
        command: ReplyKeysCommand,
    },
    /// Show what would be decided on a message and what its header would become, without sending it
    Explain {
        /// The message.
        #[command(flatten)]
        question: Question,
        /// The routes file; by default the stack's, or without a stack the built-in default
        #[arg(long, value_name = "FILE")]
        routes: Option<PathBuf>,
        /// The settings.
        #[command(flatten)]
        assumed: Assumed,
    },
    /// Print the completions of a shell, for its start file
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What to do with the routes file.
#[derive(Debug, Subcommand)]
pub enum RoutesCommand {
    /// Report what is wrong with a routes file, and what is odd
    Check {
        /// The file
        file: PathBuf,
        /// The settings.
        #[command(flatten)]
        assumed: Assumed,
    },
    /// Say which line an address meets, why, and where its mail goes
    Explain {
        /// The address, as a sender writes it
        address: Address,
        /// Say too which of the lines for senders mail from this address meets
        #[arg(long, value_name = "ADDRESS")]
        from: Option<Address>,
        /// The routes file; by default the stack's, or without a stack the built-in default
        #[arg(long, value_name = "FILE")]
        routes: Option<PathBuf>,
        /// The settings.
        #[command(flatten)]
        assumed: Assumed,
    },
    /// Fetch the stack's routes file
    Get {
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Write it to this file rather than to standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check a routes file, show how it differs from the stack's, and upload it
    Put {
        /// The file
        file: PathBuf,
        /// The stack.
        #[command(flatten)]
        target: Target,
        /// Check and show, but don't upload
        #[arg(long)]
        dry_run: bool,
        /// Say too which list of recipients, as the stack's parameter Recipients, has SES refuse everyone whom no
        /// line is for
        #[arg(long)]
        strict: bool,
    },
}

/// Which DNS records to print.
#[derive(Debug, Clone, Args)]
pub struct DnsQuestion {
    /// Those of this stack's domains
    #[arg(long, required_unless_present = "email_domain", conflicts_with = "email_domain")]
    pub stack: Option<String>,
    /// Region and credentials.
    #[command(flatten)]
    pub access: Access,
    /// Those of this domain, or of several with commas between them, before there is a stack
    #[arg(long, value_name = "DOMAIN")]
    pub email_domain: Option<String>,
    /// Where they are to be put
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Leave out the MX records that bring mail: before the stack is active, SES refuses what they bring
    #[arg(long)]
    pub without_mx: bool,
}

/// Where records are to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table, to copy into a provider's form
    Table,
    /// Lines of a zone file
    Zone,
    /// A change batch: aws route53 change-resource-record-sets --hosted-zone-id ID --change-batch file://FILE
    Route53,
    /// Resources for Terraform's AWS provider, in the zone var.zone_id
    Terraform,
}

/// What to do with the reply keys.
#[derive(Debug, Subcommand)]
pub enum ReplyKeysCommand {
    /// Print their ids
    List {
        /// The stack.
        #[command(flatten)]
        target: Target,
    },
    /// Add a key, which signs from now on; addresses signed with former ones stay valid
    Rotate {
        /// The stack.
        #[command(flatten)]
        target: Target,
    },
}

/// The stack, and where it is.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Name of the CloudFormation stack
    #[arg(long)]
    pub stack: String,
    /// Region and credentials.
    #[command(flatten)]
    pub access: Access,
}

/// Region and credentials.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// AWS region; the default is that of the AWS CLI
    #[arg(long)]
    pub region: Option<String>,
    /// Profile of the AWS CLI's configuration
    #[arg(long)]
    pub profile: Option<String>,
}

/// Where the settings of a command about files come from: a deployed stack, or the command line.
#[derive(Debug, Clone, Args)]
pub struct Assumed {
    /// Use the settings of this stack's function
    #[arg(long, conflicts_with_all = ["email_domain", "destination_domain", "settings"])]
    pub stack: Option<String>,
    /// Region and credentials.
    #[command(flatten)]
    pub access: Access,
    /// The domain that mail is received for, or several with commas between them
    #[arg(long, value_name = "DOMAIN")]
    pub email_domain: Option<String>,
    /// The domain that mail goes to where no line says otherwise
    #[arg(long, value_name = "DOMAIN")]
    pub destination_domain: Option<String>,
    /// A setting of the function, such as ON_SPAM=tag; repeatable
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = pair)]
    pub settings: Vec<(String, String)>,
}

/// Which messages to replay: by id, by age and outcome, or those that were left lying.
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
    /// Those whose notification is archived and that nobody tries: without an outcome, claimed and not finished, or
    /// failed and not on the queue; by default of the past 14 days
    #[arg(long, conflicts_with_all = ["ids", "status"])]
    pub stuck: bool,
    /// Those that are stored but that nobody was ever told of: the event is rebuilt from the fields that SES put
    /// before the message; by default of the past 14 days
    #[arg(long, conflicts_with_all = ["ids", "status"])]
    pub orphans: bool,
}

/// Which messages to release.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Released {
    /// SES's ids of messages, as in the digest and logs
    #[arg(value_name = "MESSAGE_ID")]
    pub ids: Vec<String>,
    /// All that was dropped from this sender, in the envelope or the From field: an address, or @domain
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ids")]
    pub sender: Option<String>,
    /// With --sender: received since this day (2026-11-25, UTC) or for so long (3d); by default for 7 days
    #[arg(long, value_name = "DAY", value_parser = since, requires = "sender")]
    pub since: Option<OffsetDateTime>,
}

/// A time in the past: the beginning of a day in UTC, or so long ago.
fn since(text: &str) -> Result<OffsetDateTime, String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    if let Ok(day) = time::Date::parse(text, format) {
        return Ok(day.midnight().assume_utc());
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| SystemTime::now().checked_sub(ago));
    let ago = ago.ok_or("expected a day such as 2026-11-25, or a time such as 3d")?;
    Ok(OffsetDateTime::from(ago))
}

/// Which destination takes mail again.
#[derive(Debug, Args)]
pub struct Resumed {
    /// The destination, as the notice names it
    #[arg(value_name = "ADDRESS")]
    pub address: Address,
    /// Look for messages received since, such as 12h or 30d, rather than since it first refused
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// Only tell which messages it would be
    #[arg(long)]
    pub dry_run: bool,
    /// Don't ask before the destination is removed from SES's suppression list
    #[arg(long)]
    pub yes: bool,
}

/// Which messages to find.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Those received since, such as 90m, 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "7d")]
    pub since: Duration,
    /// For this envelope recipient: an address, or @domain for all of one
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Option<String>,
    /// From this sender, in the envelope or the From field: an address, or @domain
    #[arg(long, value_name = "ADDRESS")]
    pub sender: Option<String>,
    /// With this in their subject, in any case
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,
    /// With this outcome; none for those without any
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
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
            "replay --stack s --older-than 1h",
            "replay --stack s --stuck m1",
            "replay --stack s --older-than 1h m1",
            "replay m1",
            "remove --stack s --keep-stack --with-waiting",
            "release --stack s",
            "release --stack s --since 2026-11-25",
            "release --stack s --sender a@x.example m1",
            "release --stack s --sender a@x.example --since soon",
            "trace --stack s",
            "doctor --stack s --nameserver localhost",
            "dns",
            "dns --stack s --email-domain in.example",
            "dns --stack s --format bind",
            "resume --stack s",
            "resume --stack s ann",
            "routes check",
            "routes check f --stack s --email-domain in.example",
            "explain f",
            "completions cobol",
        ];
        for case in cases {
            let words = std::iter::once("ses-forwarder").chain(case.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{case}");
        }
    }
}
