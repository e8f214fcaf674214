//! SES receiving: which recipients are taken, and what happens to a message once it is.
//!
//! A message gets its id, the fields SES prepends ([`stamp`]), verdicts ([`Verdicts`]), a notification
//! ([`notification`]), and then the actions of each rule that matches one of its recipients, in
//! order. A refusal by a bucket policy or a missing function permission ends the rule as it would
//! on AWS, where one finds it as PublishFailure; here the journal says why. SES's retries of four hours are not
//! played: nothing here heals by itself.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-receipt-rules-console-walkthrough.html>

mod envelope;
mod header;
mod notification;
mod stamp;
mod verdicts;

use std::sync::Arc;

use bytes::Bytes;
use ses_forwarder_local_template::deployment::{Deployment, Function, ReceiptRule, RuleAction};
use time::OffsetDateTime;

pub use self::{envelope::Envelope, verdicts::Verdicts};
use crate::{
    journal::{Event, Journal},
    lambda::Lambda,
    services::Services,
};

/// Who asks, when a rule's actions are carried out.
const SERVICE: &str = "ses.amazonaws.com";

/// Why a recipient is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No enabled rule of the active rule set has it.
    NoRule,
    /// A rule has it, but only for mail over TLS.
    TlsRequired,
}

/// SES receiving of one deployment.
#[derive(Debug, Clone)]
pub struct Receiving {
    deployment: Arc<Deployment>,
    services: Services,
    lambda: Lambda,
    journal: Arc<Journal>,
    verdicts: Verdicts,
}

impl Receiving {
    /// Receives for the rules of a deployment; `verdicts` are what the scanners say where a message
    /// does not ask for others.
    pub fn new(
        deployment: Arc<Deployment>,
        services: Services,
        lambda: Lambda,
        journal: Arc<Journal>,
        verdicts: Verdicts,
    ) -> Self {
        Receiving { deployment, services, lambda, journal, verdicts }
    }

    /// The name of the region's endpoint.
    pub fn host(&self) -> String {
        format!("inbound-smtp.{}.amazonaws.com", self.deployment.region)
    }

    /// Whether a recipient is taken.
    pub fn accepts(&self, recipient: &str, tls: bool) -> Result<(), Refusal> {
        let matching = || self.rules().filter(|rule| matches(rule, recipient));
        if matching().any(|rule| tls || !rule.tls_required) {
            Ok(())
        } else if matching().next().is_some() {
            Err(Refusal::TlsRequired)
        } else {
            Err(Refusal::NoRule)
        }
    }

    /// Takes a message and carries the rules' actions out. Returns its messageId.
    pub async fn receive(&self, envelope: Envelope, message: &[u8]) -> String {
        let id = message_id();
        let now = OffsetDateTime::now_utc();
        self.services.ses().note_received(&id, envelope.from.as_deref());
        for rule in self.rules() {
            let recipients: Vec<String> =
                envelope.recipients.iter().filter(|recipient| matches(rule, recipient)).cloned().collect();
            if recipients.is_empty() || (rule.tls_required && !envelope.tls) {
                continue;
            }
            let verdicts = self.verdicts.for_message(&recipients, message, rule.scan_enabled);
            let stamped = stamp::stamp(&stamp::Arrival {
                id: &id,
                host: &self.host(),
                envelope: &envelope,
                recipient: &recipients[0],
                verdicts: &verdicts,
                author_domain: notification::author_domain(message).as_deref(),
                at: now,
            });
            let stored = Bytes::from([stamped.as_slice(), message].concat());
            self.journal.note(
                Some(&id),
                Event::Received {
                    from: envelope.from.clone(),
                    recipients: recipients.clone(),
                    size: stored.len(),
                    verdicts: verdicts.words(),
                    subject: notification::subject(message),
                },
            );
            let about = notification::About {
                id: &id,
                envelope: &envelope,
                recipients: &recipients,
                verdicts: &verdicts,
                message: &stored,
                at: now,
            };
            if let Err(error) = self.act(rule, &about, &stored).await {
                self.journal.note(Some(&id), Event::ActionFailed { error });
            }
        }
        id
    }

    fn rules(&self) -> impl Iterator<Item = &ReceiptRule> {
        let active = self.services.active_rule_set();
        let rules = self.deployment.rules.iter();
        rules.filter(move |rule| rule.enabled && active.as_ref() == Some(&rule.rule_set))
    }

    /// Carries out a rule's actions, in order, up to the first that fails.
    async fn act(
        &self,
        rule: &ReceiptRule,
        about: &notification::About<'_>,
        stored: &Bytes,
    ) -> Result<(), String> {
        let source_arn = &rule.arn;
        for action in &rule.actions {
            match action {
                RuleAction::S3 { bucket, prefix } => {
                    let key = format!("{prefix}{}", about.id);
                    let put = self.services.buckets().put_for_ses(source_arn, bucket, &key, stored.clone());
                    put.await.map_err(|error| format!("S3 action to s3://{bucket}/{key}: {error}"))?;
                    self.journal.note(Some(about.id), Event::Stored { bucket: bucket.clone(), key });
                }
                RuleAction::Lambda { function_arn } => {
                    let function = self.lambda.function(function_arn);
                    let function = function
                        .ok_or_else(|| format!("Lambda action: there is no function {function_arn}"))?;
                    self.may_invoke(function, source_arn)?;
                    let event = about.lambda_event(function_arn);
                    let failed = |error| format!("Lambda action to {function_arn}: {error}");
                    self.lambda.invoke_async(function_arn, event).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that the function's resource-based policy lets SES invoke it for this rule.
    fn may_invoke(&self, function: &Function, source_arn: &str) -> Result<(), String> {
        let account = &self.deployment.account;
        if function.permissions.iter().any(|permission| permission.allows(SERVICE, account, source_arn)) {
            return Ok(());
        }
        Err(format!(
            "Lambda action: no permission of {} lets {SERVICE} invoke it for {source_arn}",
            function.logical_id
        ))
    }
}

/// Whether one of a rule's recipients is an address, its domain, or with a leading dot a domain above that.
/// An address without a label also matches with any. Without recipients a rule matches everything.
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-receipt-rules-console-walkthrough.html>
fn matches(rule: &ReceiptRule, recipient: &str) -> bool {
    let recipient = recipient.to_ascii_lowercase();
    let Some((local, domain)) = recipient.rsplit_once('@') else { return false };
    let unlabelled = format!("{}@{domain}", local.split('+').next().unwrap_or_default());
    rule.recipients.is_empty()
        || rule.recipients.iter().map(|pattern| pattern.to_ascii_lowercase()).any(|pattern| {
            if pattern.contains('@') {
                pattern == recipient || pattern == unlabelled
            } else if pattern.starts_with('.') {
                domain.ends_with(&pattern)
            } else {
                pattern == domain
            }
        })
}

/// An id as SES gives them: 40 characters, digits and lower-case letters.
fn message_id() -> String {
    let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string()).concat();
    random[..40].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_its_recipients() {
        for (patterns, recipient, expected) in [
            (&["in.example"][..], "info@in.example", true),
            (&["in.example"], "Info@IN.example", true),
            (&["In.Example"], "info+tag@in.example", true),
            (&["in.example"], "info@sub.in.example", false),
            (&["in.example"], "info@notin.example", false),
            (&[".in.example"], "info@sub.in.example", true),
            (&[".in.example"], "info@in.example", false),
            (&[".in.example"], "info@notin.example", false),
            (&["info@in.example"], "INFO@in.example", true),
            (&["info@in.example"], "info+tag@in.example", true),
            (&["info+tag@in.example"], "info+tag@in.example", true),
            (&["info+tag@in.example"], "info@in.example", false),
            (&["info+tag@in.example"], "info+other@in.example", false),
            (&["a.example", "b.example"], "x@b.example", true),
            (&["a.example", "b.example"], "x@c.example", false),
            (&[], "x@anything.example", true),
            (&["in.example"], "postmaster", false),
        ] {
            let rule = ReceiptRule {
                arn: String::new(),
                rule_set: "set".into(),
                name: "rule".into(),
                enabled: true,
                recipients: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
                tls_required: false,
                scan_enabled: true,
                actions: vec![],
            };
            assert_eq!(matches(&rule, recipient), expected, "{recipient} in {patterns:?}");
        }
    }

    #[test]
    fn an_id_looks_like_one_of_ses() {
        let id = message_id();
        assert_eq!(id.len(), 40);
        assert!(id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()), "{id}");
        assert_ne!(id, message_id());
    }
}
