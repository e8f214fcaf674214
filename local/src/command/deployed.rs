//! The settings that the deployed function would have: the template's, with its parameters.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, anyhow};
use ses_forwarder::settings::EmailSettings;
use ses_forwarder_local::{
    stack::repository,
    template::{self, SamConfig},
};

/// The binary whose environment counts.
const BINARY: &str = "handle-email";

/// What a command takes that asks what the deployed function would do.
#[derive(Debug, clap::Args)]
pub(crate) struct Deployed {
    /// A parameter of template.yaml, over those of samconfig.toml, such as EmailDomain=in.example.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
}

impl Deployed {
    /// Evaluates the template and reads the environment that it gives the function.
    pub(crate) fn settings(&self) -> anyhow::Result<EmailSettings> {
        let read = |name: &str| {
            let path = repository().join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let config = SamConfig::read(&read("samconfig.toml")?).map_err(|error| anyhow!(error))?;
        let mut parameters: BTreeMap<_, _> = config.parameters;
        parameters.extend(self.parameters.iter().cloned());
        let stack_name = config.stack_name.as_deref().unwrap_or("ses-forwarder");
        let region = config.region.as_deref().unwrap_or("us-east-1");
        let deployment = template::evaluate(&read("template.yaml")?, &parameters, stack_name, region)?;
        let function = deployment
            .functions
            .iter()
            .find(|function| function.binary == BINARY)
            .with_context(|| format!("template.yaml deploys no {BINARY}"))?;
        Ok(EmailSettings::read(|name| function.environment.get(name).cloned())?)
    }
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}
