//! The functions' binaries and the examples that tests run, built by the cargo that builds everything else here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::repository;

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

/// Builds these binaries of the workspace, once a process, and tells where they are. Those that are deployed are
/// asked for as `sam build` does, so that they have the same features.
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
        let names = missing.iter().flat_map(|name| ["--bin", name]);
        let executables = if release {
            executables(workspace, names.chain(["--release"]))?
        } else {
            // An example, as with one cargo adds the features that only tests ask for.
            executables(workspace, names.chain(as_tests()).chain(["--example", "misbehave"]))?
        };
        built.extend(executables.into_iter().map(|(name, path)| ((release, name), path)));
    }
    let find = |name: &&str| {
        let path = built.get(&(release, (*name).to_owned()));
        let path = path.with_context(|| format!("cargo built no binary {name}, which the template names"))?;
        Ok(((*name).to_owned(), path.clone()))
    };
    binaries.iter().map(find).collect()
}

/// Builds an example of a package of the workspace, which `cargo test --test NAME` does not, and tells where it is.
pub fn example(name: &str) -> anyhow::Result<PathBuf> {
    let mut executables = executables(&repository(), as_tests().chain(["--example", name]))?;
    executables.remove(name).with_context(|| format!("cargo built no example {name}"))
}

/// What tests are asked for with: the whole workspace, and all its features or none. For any other choice cargo would
/// build the SDK once more.
fn as_tests<'a>() -> impl Iterator<Item = &'a str> {
    let features = cfg!(feature = "browser").then_some("--all-features");
    ["--workspace"].into_iter().chain(features)
}

/// Builds what these arguments ask for, and tells by name where the executables are.
fn executables<'a>(
    workspace: &Path,
    arguments: impl Iterator<Item = &'a str>,
) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let output = cargo()
        .args(["build", "--locked", "--quiet", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("could not run cargo")?;
    if !output.status.success() {
        bail!("cargo could not build what is to run ({}); what it said stands above", output.status);
    }
    let mut executables = BTreeMap::new();
    for message in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Message>() {
        if let Message { target: Some(target), executable: Some(executable) } =
            message.context("could not read what cargo built")?
        {
            executables.insert(target.name, executable);
        }
    }
    Ok(executables)
}

/// A cargo of its own, the one that this process was built by if it tells.
///
/// Cargo tells a test which package it is of. A cargo run by the test must not hear of it: build scripts
/// that ask for their package (ring's) would run again, and what depends on them be built again, each time
/// another package's test comes.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}
