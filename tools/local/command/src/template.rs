//! `cargo local template`: what is left of template.yaml when its parameters are known.

use std::{path::PathBuf, process::ExitCode};

use ses_forwarder_explain::pair;
use ses_forwarder_local_stack::{Config, repository};

/// What `template` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    template: Template,
    /// The stack's name, instead of that of samconfig.toml.
    #[arg(long, value_name = "NAME")]
    stack_name: Option<String>,
    /// The region, instead of that of samconfig.toml.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Print the whole of it as JSON.
    #[arg(long)]
    json: bool,
}

/// Evaluates and prints. Fails, with the template's sentence, where CloudFormation would refuse.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.template.config()?;
    config.stack_name = arguments.stack_name.unwrap_or(config.stack_name);
    config.region = arguments.region.unwrap_or(config.region);
    let rendered = config.rendered()?;
    if arguments.json {
        println!("{rendered}");
        return Ok(ExitCode::SUCCESS);
    }
    for (section, key) in [("Resources", "Type"), ("Outputs", "Value")] {
        println!("{section}");
        for (name, body) in rendered[section].as_object().into_iter().flatten() {
            println!("  {name:32} {}", body[key].as_str().unwrap_or_default());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A template, and with what parameters.
#[derive(Debug, clap::Args)]
pub(crate) struct Template {
    /// The template; by default template.yaml of this repository. Parameters come from samconfig.toml beside it.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// A parameter of the template, over those of samconfig.toml, such as EmailDomain=in.example.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
}

impl Template {
    /// The configuration that it would be deployed with.
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        let template = self.template.unwrap_or_else(|| repository().join("template.yaml"));
        let mut config = Config::deployed(&template)?;
        config.parameters.extend(self.parameters);
        Ok(config)
    }
}
