//! The functions' code: whether it was built for the processor that they run on.
//!
//! Code for another processor deploys without a word, and then each invocation fails before the function can say
//! anything.

use std::{
    fmt,
    io::{Cursor, Read},
    time::Duration,
};

use anyhow::{Context, bail};
use aws_sdk_lambda::{
    operation::get_function_configuration::GetFunctionConfigurationOutput, types::Architecture,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use zip::ZipArchive;

use super::{Finding, deploy};
use crate::{clients::Clients, deployed::Deployed};

pub(super) const CODE: &str = "functions' code";

/// What Lambda starts.
const ENTRY: &str = "bootstrap";

/// How long to wait for the code.
const PATIENCE: Duration = Duration::from_secs(30);

/// A processor, as an executable names it.
/// <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine(u16);

/// Whether each function's executable is for the architecture that Lambda runs it on.
pub(super) async fn code(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let mut machine = None;
    for function in [deployed.handle_email()?, deployed.handle_dead_letter()?] {
        let name = function.function_name().unwrap_or_default();
        let built =
            built_for(clients, name).await.with_context(|| format!("the code of {name} is unknown"))?;
        let runs_on = architecture(function);
        if Some(built) != machine_of(&runs_on) {
            return Ok(Finding::wrong(
                CODE,
                format!(
                    "{name} is built for {built}, and Lambda runs it on {runs_on}: each invocation fails"
                ),
                format!(
                    "Build for what the template's Architectures says, by make or sam build. {}",
                    deploy(deployed)
                ),
            ));
        }
        machine = Some(built);
    }
    let machine = machine.map(|machine| machine.to_string()).unwrap_or_default();
    Ok(Finding::ok(CODE, format!("it is built for {machine}, on which it runs")))
}

/// x86_64 where Lambda names none.
fn architecture(function: &GetFunctionConfigurationOutput) -> Architecture {
    function.architectures().first().cloned().unwrap_or(Architecture::X8664)
}

fn machine_of(architecture: &Architecture) -> Option<Machine> {
    match architecture {
        Architecture::X8664 => Some(Machine::X86_64),
        Architecture::Arm64 => Some(Machine::AARCH64),
        _ => None,
    }
}

/// What a deployed function's executable is for.
async fn built_for(clients: &Clients, name: &str) -> anyhow::Result<Machine> {
    let function = clients.lambda.get_function().function_name(name).send().await?;
    let location = function.code().and_then(|code| code.location());
    let package = download(location.context("Lambda does not tell where it is")?).await?;
    let mut package = ZipArchive::new(Cursor::new(package))?;
    let mut start = Vec::new();
    package.by_name(ENTRY)?.take(64).read_to_end(&mut start)?;
    Machine::read(&start).with_context(|| format!("{ENTRY} is no executable for Linux"))
}

/// By Lambda's link, which is good for ten minutes.
async fn download(location: &str) -> anyhow::Result<Vec<u8>> {
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    let request = async {
        let answer = connector.call(HttpRequest::get(location)?).await?;
        if !answer.status().is_success() {
            bail!("its link answers {}", answer.status().as_u16());
        }
        Ok(ByteStream::new(answer.into_body()).collect().await?.to_vec())
    };
    tokio::time::timeout(PATIENCE, request).await.context("its link does not answer")?
}

impl Machine {
    const X86_64: Machine = Machine(62);
    const AARCH64: Machine = Machine(183);

    /// Reads the header of an executable.
    fn read(start: &[u8]) -> Option<Machine> {
        let machine = start.strip_prefix(b"\x7fELF")?.get(14..16)?;
        Some(Machine(u16::from_le_bytes([machine[0], machine[1]])))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Machine::X86_64 => f.write_str("x86_64"),
            Machine::AARCH64 => f.write_str("arm64"),
            Machine(other) => write!(f, "machine {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_an_executable_alone() {
        let elf = |machine: u8| [&b"\x7fELF\x02\x01\x01"[..], &[0; 11], &[machine, 0]].concat();
        for (start, expected) in [
            (elf(62), Some("x86_64")),
            (elf(183), Some("arm64")),
            (elf(243), Some("machine 243")),
            (elf(62)[..19].to_vec(), None),
            (b"#!/bin/sh\nexec something else".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(Machine::read(&start).map(|machine| machine.to_string()).as_deref(), expected);
        }
    }
}
