//! The settings that the deployed function would have: the template's, with its parameters.

use anyhow::Context;
use ses_forwarder::settings::EmailSettings;
use ses_forwarder_explain::pair;
use ses_forwarder_local_stack::{Config, repository};

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
        let mut config = Config::deployed(&repository().join("template.yaml"))?;
        config.parameters.extend(self.parameters.iter().cloned());
        let deployment = config.deployment()?;
        let function = deployment
            .functions
            .iter()
            .find(|function| function.binary == BINARY)
            .with_context(|| format!("template.yaml deploys no {BINARY}"))?;
        Ok(EmailSettings::read(|name| function.environment.get(name).cloned())?)
    }
}
