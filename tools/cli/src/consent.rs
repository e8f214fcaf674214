//! Asking before what can't be taken back easily.

use std::io::{IsTerminal, Write};

use anyhow::bail;

/// Whether to go on: yes with `--yes`, else as the person at the terminal says. Without a terminal there
/// is nobody to ask, which is an error.
pub(crate) fn given(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} There is no terminal to ask at: say --yes if it is what you want");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
