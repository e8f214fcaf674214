//! What to start, and how.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use ses_forwarder_local_aws::{faults::Fault, lambda::ACCOUNT_CONCURRENCY, pace::Pace, receiving::Verdicts};
use ses_forwarder_local_template as template;
use ses_forwarder_local_template::{SamConfig, TemplateError, deployment::Deployment};

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `template.yaml` to play.
    pub template: PathBuf,
    /// The stack's name.
    pub stack_name: String,
    /// The region its ARNs name.
    pub region: String,
    /// Template parameters.
    pub parameters: BTreeMap<String, String>,
    /// Where the functions' binaries come from.
    pub functions: Functions,
    /// How fast the clocks of Lambda, SQS and SES run.
    pub pace: Pace,
    /// Instances of functions at once.
    pub concurrency: usize,
    /// The functions' time-out, instead of the template's, for runs in which calls hang.
    pub function_timeout: Option<Duration>,
    /// Folder for buckets, sent mail and Maildirs; a temporary one, removed at the end, if `None`.
    pub data: Option<PathBuf>,
    /// Port of the SMTP server; 0 takes a free one.
    pub smtp_port: u16,
    /// Port of the page; 0 takes a free one.
    pub page_port: u16,
    /// Port of the AWS endpoints; 0 takes a free one.
    pub aws_port: u16,
    /// `HOST:PORT` of an SMTP server that takes what is sent, instead of Maildirs.
    pub relay: Option<String>,
    /// Verified SES identities besides the domains that mail is received for.
    pub identities: Vec<String>,
    /// What the scanners say of messages that don't ask for something else.
    pub verdicts: Verdicts,
    /// Faults from the start.
    pub faults: Vec<Fault>,
    /// Whether to panic in the end if a function has logged what is [private](crate::privacy).
    pub watched: bool,
}

impl Default for Config {
    /// This repository's template with example domains on free ports, data in a temporary folder, clocks
    /// fast, logs watched: for tests.
    fn default() -> Self {
        let parameters = [
            ("EmailDomain", "in.example"),
            ("DestinationDomain", "out.example"),
            ("NoticeAddress", "operator@out.example"),
        ];
        Config {
            template: repository().join("template.yaml"),
            stack_name: "ses-forwarder".to_owned(),
            region: "us-east-1".to_owned(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            functions: Functions::default(),
            pace: Pace::fast(),
            concurrency: ACCOUNT_CONCURRENCY,
            function_timeout: None,
            data: None,
            smtp_port: 0,
            page_port: 0,
            aws_port: 0,
            relay: None,
            identities: Vec::new(),
            verdicts: Verdicts::default(),
            faults: Vec::new(),
            watched: true,
        }
    }
}

impl Config {
    /// What `sam deploy` would deploy of a template: name, region and parameters from the `samconfig.toml` beside
    /// it, if there is one, and from the example where that says nothing. Clocks run as on AWS.
    pub fn deployed(template: &Path) -> anyhow::Result<Config> {
        let mut config =
            Config { template: template.to_owned(), pace: Pace::real(), watched: false, ..Config::default() };
        let path = template.with_file_name("samconfig.toml");
        if !path.exists() {
            return Ok(config);
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let samconfig = SamConfig::read(&text).map_err(anyhow::Error::msg)?;
        config.stack_name = samconfig.stack_name.unwrap_or(config.stack_name);
        config.region = samconfig.region.unwrap_or(config.region);
        config.parameters.extend(samconfig.parameters);
        Ok(config)
    }

    /// What the template deploys with these parameters.
    pub fn deployment(&self) -> anyhow::Result<Deployment> {
        self.evaluated(template::evaluate)
    }

    /// The template as CloudFormation sees it with these parameters.
    pub fn rendered(&self) -> anyhow::Result<serde_json::Value> {
        self.evaluated(template::rendered)
    }

    fn evaluated<T>(
        &self,
        evaluate: impl Fn(&str, &BTreeMap<String, String>, &str, &str) -> Result<T, TemplateError>,
    ) -> anyhow::Result<T> {
        let path = self.template.display();
        let text =
            std::fs::read_to_string(&self.template).with_context(|| format!("could not read {path}"))?;
        evaluate(&text, &self.parameters, &self.stack_name, &self.region).with_context(|| path.to_string())
    }
}

/// Where the functions' binaries come from.
#[derive(Debug, Clone)]
pub enum Functions {
    /// Built by cargo, once a process.
    Build {
        /// With the profile that is deployed, rather than the one for development.
        release: bool,
    },
    /// Binaries by the name of their package.
    Ready(BTreeMap<String, PathBuf>),
}

impl Default for Functions {
    /// The development profile in development builds, else the deployed one.
    fn default() -> Self {
        Functions::Build { release: !cfg!(debug_assertions) }
    }
}

/// The repository's folder.
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(3).expect("this crate is tools/local/stack").to_owned()
}
