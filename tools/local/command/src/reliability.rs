//! `cargo local reliability`: writes docs/reliability.md.

use std::process::ExitCode;

use anyhow::Context;
use ses_forwarder_local_stack::{Functions, repository};
use ses_forwarder_local_trials::reliability;

/// Runs the matrix of faults and writes the document. Fails if a promise is broken.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let rows = reliability::run(Functions::default()).await?;
    let path = repository().join("docs/reliability.md");
    let existing = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, reliability::with_rows(&existing, &rows))
        .with_context(|| format!("could not write {}", path.display()))?;
    let violations: Vec<_> = rows.iter().flat_map(|row| &row.violations).collect();
    for violation in &violations {
        println!("{violation}\n");
    }
    println!("{} cases, {} broken promises: {}", 2 * rows.len(), violations.len(), path.display());
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
