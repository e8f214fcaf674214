//! `cargo local routes`: a routes file, before it is uploaded.

use std::{path::PathBuf, process::ExitCode};

use ses_forwarder::address::Address;
use ses_forwarder_explain::{printed, routes};

use crate::deployed::Deployed;

/// What `routes` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Reports what is wrong with a routes file, and what is odd.
    Check {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        deployed: Deployed,
    },
    /// Says which line an address meets, why, and where its mail goes.
    Explain {
        /// The address, as a sender writes it.
        address: Address,
        /// Says too which of the lines for senders mail from this address meets.
        #[arg(long, value_name = "ADDRESS")]
        from: Option<Address>,
        /// The routes file; without it, the default alone.
        #[arg(long, value_name = "FILE")]
        routes: Option<PathBuf>,
        #[command(flatten)]
        deployed: Deployed,
    },
}

/// Checks or explains.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Check { file, deployed } => {
            let settings = deployed.settings()?;
            let destination = settings.destination_domain.as_deref();
            let checked = routes::check_file(file, &settings.common.domains, destination)?;
            print!("{}", printed(&checked, arguments.json));
            Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Explain { address, from, routes, deployed } => {
            match routes::load(routes.as_ref(), &deployed.settings()?)? {
                Ok(routes) => {
                    print!("{}", printed(&routes::explain(&routes, address, from.as_ref()), arguments.json));
                    Ok(ExitCode::SUCCESS)
                }
                Err(checked) => {
                    eprint!("{}", checked.errors());
                    Ok(ExitCode::FAILURE)
                }
            }
        }
    }
}
