//! SES's first API: receipt rule sets, and which of them is active, as there is one a region.
//!
//! The deployment's own is active from the start, since nothing would come in otherwise; on AWS that
//! takes a command. Not supported: creating and changing rule sets, which the template does.
//!
//! Source: <https://docs.aws.amazon.com/ses/latest/APIReference/API_DescribeActiveReceiptRuleSet.html>

use std::sync::{Arc, Mutex};

use ses_forwarder_local_template::deployment::{Deployment, ReceiptRule, RuleAction};

use crate::{
    auth::Caller,
    flight::Flight,
    needs::Needs,
    query::{self, Form, element},
    response::{Refusal, Response},
};

/// The rule sets of a deployment.
#[derive(Debug)]
pub(super) struct RuleSets {
    rules: Vec<ReceiptRule>,
    active: Mutex<Option<String>>,
}

impl RuleSets {
    pub(super) fn new(deployment: &Deployment) -> RuleSets {
        let active = deployment.rules.first().map(|rule| rule.rule_set.clone());
        RuleSets { rules: deployment.rules.clone(), active: Mutex::new(active) }
    }

    /// The active rule set.
    pub(super) fn active(&self) -> Option<String> {
        self.active.lock().expect("no holder of this lock panics").clone()
    }

    /// Answers a call.
    pub(super) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        form: &Form,
    ) -> Result<Response, Refusal> {
        let action = match form.action() {
            "DescribeActiveReceiptRuleSet" => "ses:DescribeActiveReceiptRuleSet",
            "DescribeReceiptRuleSet" => "ses:DescribeReceiptRuleSet",
            "SetActiveReceiptRuleSet" => "ses:SetActiveReceiptRuleSet",
            other => return Err(query::unknown_action(other)),
        };
        let name = form.get("RuleSetName");
        flight.admit(&caller, action, name.unwrap_or_default(), "*", vec![Needs::new(action, "*")]).await?;
        let result = match (action, name) {
            ("ses:DescribeActiveReceiptRuleSet", _) => {
                self.active().map_or(Ok(String::new()), |active| self.description(&active))?
            }
            ("ses:SetActiveReceiptRuleSet", name) => {
                if let Some(name) = name {
                    self.description(name)?;
                }
                *self.active.lock().expect("no holder of this lock panics") = name.map(str::to_owned);
                String::new()
            }
            (_, name) => self.description(name.unwrap_or_default())?,
        };
        Ok(query::response(form.action(), query::SES, &flight.request_id, &result))
    }

    fn description(&self, name: &str) -> Result<String, Refusal> {
        let rules: String = self.rules.iter().filter(|rule| rule.rule_set == name).map(description).collect();
        if rules.is_empty() {
            let message = format!("Rule set does not exist: {name}");
            return Err(Refusal::new(400, "RuleSetDoesNotExist", message));
        }
        Ok(format!("<Metadata>{}</Metadata><Rules>{rules}</Rules>", element("Name", name)))
    }
}

fn description(rule: &ReceiptRule) -> String {
    let recipients: String = rule.recipients.iter().map(|recipient| element("member", recipient)).collect();
    let action = |action: &RuleAction| match action {
        RuleAction::S3 { bucket, prefix } => {
            let (bucket, prefix) = (element("BucketName", bucket), element("ObjectKeyPrefix", prefix));
            format!("<member><S3Action>{bucket}{prefix}</S3Action></member>")
        }
        RuleAction::Lambda { function_arn } => {
            let function = element("FunctionArn", function_arn);
            let kind = element("InvocationType", "Event");
            format!("<member><LambdaAction>{function}{kind}</LambdaAction></member>")
        }
    };
    let parts = [
        element("Name", &rule.name),
        element("Enabled", &rule.enabled.to_string()),
        element("TlsPolicy", if rule.tls_required { "Require" } else { "Optional" }),
        element("ScanEnabled", &rule.scan_enabled.to_string()),
        format!("<Recipients>{recipients}</Recipients>"),
        format!("<Actions>{}</Actions>", rule.actions.iter().map(action).collect::<String>()),
    ];
    format!("<member>{}</member>", parts.concat())
}
