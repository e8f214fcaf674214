//! Runs `cargo local` as a person does.

use std::{path::Path, process::Command};

/// Runs it in a folder; the exit code, and everything printed.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ses-forwarder-local"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}
