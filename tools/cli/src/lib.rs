//! Everything about a deployed stack, with the credentials and the region of who runs it, and about its
//! files. A command a module: what is wrong with a stack ([`doctor`]), make it the one that gets the
//! mail ([`activate`]) or take it away ([`remove`]), where a message is ([`trace`], [`find`]), try messages
//! again ([`replay`]), send one that was dropped ([`release`]) or what was held ([`resume`]), save notifications as
//! events ([`events`]), the routes file ([`routes`]),
//! answering from an alias ([`replies`]).
//!
//! Which DNS records the domains need, [`dns`] prints.
//!
//! What a stack is made of is read from its outputs and from its functions' configuration
//! ([`deployed`]), so nothing here repeats a name or a prefix of the template.

pub mod activate;
pub mod archive;
pub mod arguments;
pub mod assumed;
pub mod clients;
pub mod consent;
pub mod deployed;
pub mod dns;
pub mod doctor;
pub mod events;
pub mod find;
mod identity;
pub mod orphan;
pub mod release;
pub mod remove;
pub mod replay;
pub mod replies;
pub mod resume;
pub mod routes;
pub mod selection;
pub mod trace;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::{
    arguments::{Arguments, Command, ReplyKeysCommand, Target},
    clients::Clients,
    deployed::Deployed,
};

/// Runs a command, printing to standard output what it came to.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let json = arguments.json;
    let well = match arguments.command {
        Command::Doctor { target, nameserver } => {
            let clients = Clients::new(&target.access).await;
            return doctor::run(&clients, &target.stack, nameserver, json).await;
        }
        Command::Activate { target, rollback, yes } => {
            let (clients, deployed) = open(&target).await?;
            if rollback {
                activate::roll_back(&clients, &deployed, yes, json).await?
            } else {
                activate::activate(&clients, &deployed, yes, json).await?
            }
        }
        Command::Remove { target, yes, keep_stack, with_waiting } => {
            let (clients, deployed) = open(&target).await?;
            remove::run(&clients, &deployed, remove::How { yes, keep_stack, with_waiting, json }).await?
        }
        Command::Replay { target, selection, older_than, dry_run } => {
            let (clients, deployed) = open(&target).await?;
            replay::run(&clients, &deployed, &selection, older_than, dry_run, json).await?
        }
        Command::Release { target, wanted, virus, dry_run } => {
            let (clients, deployed) = open(&target).await?;
            release::run(&clients, &deployed, &wanted, release::How { virus, dry_run, json }).await?
        }
        Command::Resume { target, resumed } => {
            let (clients, deployed) = open(&target).await?;
            resume::run(&clients, &deployed, &resumed, json).await?
        }
        Command::Trace { target, ids } => {
            let (clients, deployed) = open(&target).await?;
            trace::run(&clients, &deployed, &ids, json).await?
        }
        Command::Find { target, wanted } => {
            let (clients, deployed) = open(&target).await?;
            find::run(&clients, &deployed, &wanted, json).await?
        }
        Command::Events { target, limit, folder } => {
            let (clients, deployed) = open(&target).await?;
            events::run(&clients, &deployed, limit, &folder, json).await?
        }
        Command::Dns { question } => dns::run(&question, json).await?,
        Command::Contact { target, alias, correspondent } => {
            let (clients, deployed) = open(&target).await?;
            replies::contact(&clients, &deployed, &alias, &correspondent, json).await?
        }
        Command::ReplyKeys { command } => match command {
            ReplyKeysCommand::List { target } => {
                let (clients, deployed) = open(&target).await?;
                replies::list(&clients, &deployed, json).await?
            }
            ReplyKeysCommand::Rotate { target } => {
                let (clients, deployed) = open(&target).await?;
                replies::rotate(&clients, &deployed, json).await?
            }
        },
        Command::Routes { command } => routes::run(&command, json).await?,
        Command::Explain { question, routes, assumed } => {
            routes::explain_message(&question, routes.as_ref(), &assumed, json).await?
        }
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "ses-forwarder", &mut std::io::stdout());
            true
        }
    };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stack that is meant.
async fn open(target: &Target) -> anyhow::Result<(Clients, Deployed)> {
    let clients = Clients::new(&target.access).await;
    let deployed = Deployed::read(&clients, &target.stack).await?;
    Ok((clients, deployed))
}

/// Prints an answer: its text, or as JSON on one line.
fn print<T: serde::Serialize + std::fmt::Display>(answer: &T, json: bool) {
    print!("{}", ses_forwarder_explain::printed(answer, json));
}
