//! What a stack is made of: its outputs, and the settings that its function runs with.

use std::collections::HashMap;

use anyhow::{Context, bail};
use ses_forwarder::settings::EmailSettings;

use crate::clients::Clients;

/// A deployed stack.
#[derive(Debug)]
pub struct Deployed {
    /// Its name.
    pub stack: String,
    /// CloudFormation's word for its state, such as `UPDATE_COMPLETE`.
    pub status: String,
    /// Partition of its ARNs: `aws`, or that of a region apart.
    pub partition: String,
    /// Its region.
    pub region: String,
    /// Its account.
    pub account: String,
    /// Output `RuleSetName`.
    pub rule_set: String,
    /// Output `HandleEmailFunctionName`.
    pub handle_email: String,
    /// ARN of that function.
    pub handle_email_arn: String,
    /// Output `DeadLetterQueueUrl`.
    pub queue_url: String,
    /// Output `NoticeTopicArn`.
    pub topic: String,
    /// What `handle-email` reads from its environment.
    pub settings: EmailSettings,
}

impl Deployed {
    /// Reads it. The error says what keeps the stack from being known.
    pub async fn read(clients: &Clients, stack: &str) -> anyhow::Result<Deployed> {
        let described = clients.cloudformation.describe_stacks().stack_name(stack).send().await;
        let described =
            described.with_context(|| format!("stack {stack} can't be read in this account and region"))?;
        let [found] = described.stacks() else { bail!("there is no stack {stack}") };
        let outputs: HashMap<_, _> = found
            .outputs()
            .iter()
            .filter_map(|output| Some((output.output_key()?, output.output_value()?)))
            .collect();
        let output = |name: &str| {
            let value = outputs.get(name).map(|value| (*value).to_owned());
            value
                .with_context(|| format!("stack {stack} has no output {name}: is it one of SES Forwarder's?"))
        };
        let id = found.stack_id().context("CloudFormation gave no id of the stack")?;
        let ["arn", partition, _, region, account, ..] = id.split(':').collect::<Vec<_>>()[..] else {
            bail!("the stack's id {id} is no ARN");
        };
        let handle_email = output("HandleEmailFunctionName")?;
        let function = clients.lambda.get_function_configuration().function_name(&handle_email).send().await;
        let function = function.with_context(|| format!("function {handle_email} can't be read"))?;
        let variables = function.environment().and_then(|environment| environment.variables());
        let settings = EmailSettings::read(|name| variables?.get(name).cloned());
        Ok(Deployed {
            stack: stack.to_owned(),
            status: found.stack_status().map_or_else(String::new, |status| status.as_str().to_owned()),
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            rule_set: output("RuleSetName")?,
            handle_email_arn: function
                .function_arn()
                .context("Lambda gave no ARN of the function")?
                .to_owned(),
            queue_url: output("DeadLetterQueueUrl")?,
            topic: output("NoticeTopicArn")?,
            settings: settings
                .with_context(|| format!("the settings of function {handle_email} are wrong"))?,
            handle_email,
        })
    }

    /// Its bucket.
    pub fn bucket(&self) -> &str {
        &self.settings.common.bucket
    }
}
