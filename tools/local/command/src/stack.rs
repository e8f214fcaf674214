//! What the commands that start a stack take.

use std::path::PathBuf;

use ses_forwarder_local_aws::{faults::Fault, receiving::Verdicts};
use ses_forwarder_local_stack::{Config, Functions};

use crate::template::Template;

/// How to start the stack.
#[derive(Debug, clap::Args)]
pub(crate) struct StackArguments {
    #[command(flatten)]
    template: Template,
    /// Folder for buckets, sent mail (sent/) and mailboxes (maildir/).
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Hand what is sent to this SMTP server instead of writing it to mailboxes.
    #[arg(long, value_name = "HOST:PORT")]
    relay: Option<String>,
    /// A fault to inject, such as ses:SendEmail=throttle*2. May be given more than once.
    ///
    /// OPERATION[(PREFIX)]=EFFECT[WHEN]. OPERATION is such as s3:GetObject, s3:* or *; PREFIX is how the key, queue, topic
    /// or From address begins. EFFECT is throttle, 500, 503, access-denied, not-found, reject, hang, reset-before,
    /// reset-after, truncate, slow:MS, held (until all faults are taken back), kill-before or kill-after. WHEN is nothing
    /// for each call, *N for the first N, @K for the K-th, @K+ for that one and all that follow, %P or %P/SEED for P in
    /// 100.
    ///
    /// ses:Deliver(ADDRESS)=EFFECT is what destinations do, whose address begins so, with what SES has accepted: bounce,
    /// full, large, content, suppressed, complaint, delayed or virus.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// What the scanners say, such as spam=FAIL or dmarc=FAIL,dmarc-policy=reject. A message can ask for itself: by
    /// its recipient's label, as in info+spam=FAIL@in.example, or a field X-Local-Verdict.
    #[arg(long, value_name = "CHECK=WORD,…")]
    verdict: Option<Verdicts>,
    /// A verified SES identity besides the domain that mail is received for. May be given more than once.
    #[arg(long = "identity", value_name = "DOMAIN")]
    identities: Vec<String>,
    /// Run the functions as they are built for development: built in less time, and slower. By default they are built
    /// as deployed.
    #[arg(long)]
    development: bool,
}

impl StackArguments {
    /// The configuration: the settings as they would be deployed.
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        Ok(Config {
            functions: Functions::Build { release: !self.development },
            data: self.data,
            relay: self.relay,
            faults: self.faults,
            verdicts: self.verdict.unwrap_or_default(),
            identities: self.identities,
            ..self.template.config()?
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    #[test]
    fn ok_the_help_tells_all_that_a_fault_can_say() {
        let command = StackArguments::augment_args(clap::Command::new("local"));
        let fault = command.get_arguments().find(|argument| argument.get_long() == Some("fault")).unwrap();
        let help = fault.get_long_help().unwrap().to_string();
        for wrong in ["s3:GetObject=x", "ses:Deliver=x"] {
            let error = wrong.parse::<Fault>().unwrap_err();
            let (_, effects) = error.split_once("one of ").unwrap();
            for effect in effects.split(", ") {
                assert!(help.contains(effect), "{effect} is not in:\n{help}");
            }
        }
        for part in ["ses:Deliver(ADDRESS)=", "*N", "@K ", "@K+", "%P ", "%P/SEED"] {
            assert!(help.contains(part), "{part} is not in:\n{help}");
        }
    }
}
