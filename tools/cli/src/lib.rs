//! Commands for a deployed stack, with the credentials and the region of who runs them:
//! what is wrong with it ([`doctor`]), make it the one that gets the mail ([`activate`]), try messages
//! again ([`replay`]), save notifications as events ([`events`]).
//!
//! What a stack is made of is read from its outputs and from its function's environment
//! ([`deployed`]), so nothing here repeats a name or a prefix of the template.

pub mod activate;
pub mod archive;
pub mod arguments;
pub mod clients;
pub mod deployed;
pub mod doctor;
pub mod events;
pub mod replay;

use std::process::ExitCode;

use crate::{
    arguments::{Arguments, Command},
    clients::Clients,
    deployed::Deployed,
};

/// Runs a command, printing to standard output what it came to.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let target = arguments.command.target();
    let clients = Clients::new(target).await;
    let deployed = Deployed::read(&clients, &target.stack).await?;
    let well = match &arguments.command {
        Command::Doctor { nameserver, json, .. } => {
            doctor::run(&clients, &deployed, *nameserver, *json).await?
        }
        Command::Activate { rollback: false, .. } => activate::activate(&clients, &deployed).await?,
        Command::Activate { rollback: true, .. } => activate::roll_back(&clients, &deployed).await?,
        Command::Replay { selection, dry_run, json, .. } => {
            replay::run(&clients, &deployed, selection, *dry_run, *json).await?
        }
        Command::Events { limit, folder, .. } => events::run(&clients, &deployed, *limit, folder).await?,
    };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
