//! The settings of a command about files: those of a deployed stack, or what the command line says.

use std::collections::HashMap;

use anyhow::{Context, bail};
use ses_forwarder::settings::{EmailSettings, names};

use crate::{arguments::Assumed, clients::Clients, deployed::Deployed};

/// Settings, and the stack that they are from if they are from one.
pub(crate) struct Source {
    pub(crate) settings: EmailSettings,
    pub(crate) stack: Option<(Clients, Deployed)>,
}

/// Reads them. `fallback` is the domain to take where nothing names one.
pub(crate) async fn read(assumed: &Assumed, fallback: Option<&str>) -> anyhow::Result<Source> {
    if let Some(stack) = &assumed.stack {
        let clients = Clients::new(&assumed.access).await;
        let deployed = Deployed::read(&clients, stack).await?;
        return Ok(Source { settings: deployed.settings()?.clone(), stack: Some((clients, deployed)) });
    }
    let Some(domain) = assumed.email_domain.as_deref().or(fallback) else {
        bail!("give --stack STACK for its settings, or --email-domain DOMAIN");
    };
    let mut variables: HashMap<&str, &str> =
        assumed.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    variables.insert(names::EMAIL_DOMAIN, domain);
    // Nothing is read from it.
    variables.entry(names::BUCKET).or_insert("none");
    if let Some(destination) = &assumed.destination_domain {
        variables.insert(names::DESTINATION_DOMAIN, destination);
    }
    let settings = EmailSettings::read(|name| variables.get(name).map(|value| (*value).to_owned()))
        .context("the settings given are wrong")?;
    Ok(Source { settings, stack: None })
}
