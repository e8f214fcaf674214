//! `cargo local explain MESSAGE.eml --to ADDRESS`: what would be decided, and what the header would
//! become, without sending anything.

use std::{path::PathBuf, process::ExitCode};

use ses_forwarder_explain::{
    message::{self, Question},
    printed, routes,
};

use crate::deployed::Deployed;

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    question: Question,
    /// The routes file; without it, the default alone.
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    #[command(flatten)]
    deployed: Deployed,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Decides, rewrites and shows.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.deployed.settings()?;
    match routes::load(arguments.routes.as_ref(), &settings)? {
        Ok(routes) => {
            let explained = message::explain(&arguments.question, &settings, &routes)?;
            print!("{}", printed(&explained, arguments.json));
            Ok(ExitCode::SUCCESS)
        }
        Err(checked) => {
            eprint!("{}", checked.errors());
            Ok(ExitCode::FAILURE)
        }
    }
}
