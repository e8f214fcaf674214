//! `cargo local routes`: a routes file, before it is uploaded.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use ses_forwarder::{
    address::Address,
    routes::{Problem, Routes},
    settings::EmailSettings,
};

use super::deployed::Deployed;

/// What `routes` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
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
        Command::Check { file, deployed } => check(file, &deployed.settings()?),
        Command::Explain { address, routes, deployed } => {
            let Some(routes) = load(routes.as_deref(), &deployed.settings()?)? else {
                return Ok(ExitCode::FAILURE);
            };
            print!("{}", explained(&routes, address));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(path: &Path, settings: &EmailSettings) -> anyhow::Result<ExitCode> {
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    let checked = Routes::check(&file, &settings.common.email_domain, settings.destination_domain.as_deref());
    let errors = checked.routes.as_ref().err().map_or(&[][..], Vec::as_slice);
    let all = errors.iter().map(|problem| ("error", problem));
    let mut all: Vec<_> = all.chain(checked.warnings.iter().map(|problem| ("warning", problem))).collect();
    all.sort_by_key(|(_, problem)| (problem.line, problem.column));
    for (severity, problem) in all {
        println!("{}", located(path, severity, problem));
    }
    let lines = checked
        .routes
        .as_ref()
        .map_or_else(|_| String::new(), |routes| format!("{}, ", count(routes.lines(), "line")));
    println!(
        "{}: {lines}{}, {}",
        path.display(),
        count(errors.len(), "error"),
        count(checked.warnings.len(), "warning")
    );
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The routes of a file, or the default; `None` if the file has errors, which it then printed.
pub(crate) fn load(path: Option<&Path>, settings: &EmailSettings) -> anyhow::Result<Option<Routes>> {
    let email_domain = &settings.common.email_domain;
    let destination_domain = settings.destination_domain.as_deref();
    let Some(path) = path else {
        return Ok(Some(Routes::default_for(email_domain, destination_domain)));
    };
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    match Routes::parse(&file, email_domain, destination_domain) {
        Ok(routes) => Ok(Some(routes)),
        Err(problems) => {
            for problem in &problems {
                eprintln!("{}", located(path, "error", problem));
            }
            Ok(None)
        }
    }
}

/// Which keys were looked for, which of them is there, and what it says.
pub(crate) fn explained(routes: &Routes, recipient: &Address) -> String {
    let mut text = format!("{recipient}\n");
    let found = routes.lookup(recipient);
    for (key, how) in Routes::keys(recipient) {
        let here = found.as_ref().filter(|line| line.how == how);
        let place = match here {
            None => "no line".to_owned(),
            Some(line) => match line.line {
                Some(number) => format!("line {number}: {how}"),
                None => format!("the default: {how}"),
            },
        };
        text.push_str(&format!("  {:<40} {place}\n", format!("{key:?}")));
        if here.is_some() {
            break;
        }
    }
    let end = match found {
        None => "dropped: no-route".to_owned(),
        Some(line) if line.destinations.is_empty() => "dropped: discarded".to_owned(),
        Some(line) => {
            let destinations: Vec<_> = line.destinations.iter().map(Address::to_string).collect();
            format!("goes to {}", destinations.join(", "))
        }
    };
    text + "  " + &end + "\n"
}

/// As compilers write it, so that editors find the place.
fn located(path: &Path, severity: &str, problem: &Problem) -> String {
    format!("{}:{}:{}: {severity}: {}", path.display(), problem.line, problem.column, problem.message)
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
