//! The functions' binaries, built by the cargo that builds everything else here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, bail};
use serde::Deserialize;

/// Built in this process: profile and binary, and where it is.
static BUILT: Mutex<BTreeMap<(bool, String), PathBuf>> = Mutex::new(BTreeMap::new());

/// A line of `--message-format=json`, as far as it matters.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds these binaries of the workspace, once a process, and tells where they are. As `sam build` does, it
/// asks for binaries of the whole workspace, so that the features are the deployed ones.
pub(super) fn build(
    workspace: &Path,
    binaries: &[&str],
    release: bool,
) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    // Held while cargo runs: who comes second needs the result, not a second cargo.
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let missing: Vec<_> =
        binaries.iter().filter(|name| !built.contains_key(&(release, (**name).to_owned()))).collect();
    if !missing.is_empty() {
        let mut command = cargo();
        command.args(["build", "--locked", "--quiet", "--message-format=json-render-diagnostics"]);
        command.args(release.then_some("--release"));
        command.args(missing.iter().flat_map(|name| ["--bin", name]));
        let output = command
            .current_dir(workspace)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("could not run cargo")?;
        if !output.status.success() {
            bail!("cargo could not build the functions ({}); what it said stands above", output.status);
        }
        for message in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Message>() {
            if let Message { target: Some(target), executable: Some(executable) } =
                message.context("could not read what cargo built")?
            {
                built.insert((release, target.name), executable);
            }
        }
    }
    let find = |name: &&str| {
        let path = built.get(&(release, (*name).to_owned()));
        let path = path.with_context(|| format!("cargo built no binary {name}, which the template names"))?;
        Ok(((*name).to_owned(), path.clone()))
    };
    binaries.iter().map(find).collect()
}

/// A cargo of its own, the one that this process was built by if it tells.
///
/// Cargo tells a test which package it is of. A cargo run by the test must not hear of it: build scripts
/// that ask for their package (ring's) would run again, and what depends on them be built again, each time
/// another package's test comes.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}
