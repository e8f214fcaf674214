//! What a stack is made of: its outputs, and how its functions are configured.
//!
//! Only a stack that can't be described at all is an error. What else is missing (an output, a
//! permission, a setting) is an error where it is asked for, so that all that doesn't need it still works.

use std::collections::HashMap;

use anyhow::{Context, anyhow, bail};
use aws_sdk_cloudformation::types::Stack;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use ses_forwarder::{
    keys::Prefixes,
    settings::{EmailSettings, names},
};
use time::OffsetDateTime;

use crate::clients::Clients;

/// Outputs of the template that commands read.
pub mod outputs {
    /// The receipt rule set.
    pub const RULE_SET: &str = "RuleSetName";
    /// The bucket.
    pub const BUCKET: &str = "BucketName";
    /// The function that forwards.
    pub const HANDLE_EMAIL: &str = "HandleEmailFunctionName";
    /// The function that takes dead letters.
    pub const HANDLE_DEAD_LETTER: &str = "HandleDeadLetterFunctionName";
    /// The dead-letter queue.
    pub const QUEUE: &str = "DeadLetterQueueUrl";
    /// The queue of what SES says of mail that was forwarded.
    pub const FEEDBACK_QUEUE: &str = "FeedbackQueueUrl";
    /// The topic of notices.
    pub const TOPIC: &str = "NoticeTopicArn";
    /// All of them.
    pub const ALL: [&str; 7] =
        [RULE_SET, BUCKET, HANDLE_EMAIL, HANDLE_DEAD_LETTER, QUEUE, FEEDBACK_QUEUE, TOPIC];
}

/// What `RetryHours` is at most.
const RETRY_HOURS_MAX: u32 = 312;

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
    /// Whether CloudFormation refuses to delete it.
    pub is_protected: bool,
    /// When it was made, to the second.
    created: Option<OffsetDateTime>,
    outputs: HashMap<String, String>,
    parameters: HashMap<String, String>,
    /// What Lambda says of the two functions, or why it does not.
    handle_email: Result<GetFunctionConfigurationOutput, String>,
    handle_dead_letter: Result<GetFunctionConfigurationOutput, String>,
    settings: Result<EmailSettings, String>,
}

impl Deployed {
    /// Reads it. The error says what keeps the stack from being known.
    pub async fn read(clients: &Clients, stack: &str) -> anyhow::Result<Deployed> {
        let described = clients.cloudformation.describe_stacks().stack_name(stack).send().await;
        let described =
            described.with_context(|| format!("stack {stack} can't be read in this account and region"))?;
        let is_it = |found: &&Stack| [found.stack_name(), found.stack_id()].contains(&Some(stack));
        let found =
            described.stacks().iter().find(is_it).with_context(|| format!("there is no stack {stack}"))?;
        // It may be given by its id; everything in it is named by its name.
        let stack = found.stack_name().context("CloudFormation gave no name of the stack")?;
        let id = found.stack_id().context("CloudFormation gave no id of the stack")?;
        let ["arn", partition, _, region, account, ..] = id.split(':').collect::<Vec<_>>()[..] else {
            bail!("the stack's id {id} is no ARN");
        };
        let created =
            found.creation_time().and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok());
        let outputs = outputs_of(found);
        let (handle_email, handle_dead_letter) = tokio::join!(
            function(clients, stack, &outputs, outputs::HANDLE_EMAIL),
            function(clients, stack, &outputs, outputs::HANDLE_DEAD_LETTER),
        );
        let settings = handle_email.as_ref().map_err(Clone::clone).and_then(|function| {
            let name = outputs.get(outputs::HANDLE_EMAIL).map_or("", String::as_str);
            EmailSettings::read(|variable| variable_of(function, variable))
                .map_err(|error| format!("the settings of function {name} are wrong: {error}"))
        });
        Ok(Deployed {
            stack: stack.to_owned(),
            status: found.stack_status().map_or_else(String::new, |status| status.as_str().to_owned()),
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            is_protected: found.enable_termination_protection().unwrap_or(false),
            created,
            outputs,
            parameters: parameters_of(found),
            handle_email,
            handle_dead_letter,
            settings,
        })
    }

    /// When it was made, to the second.
    pub fn created(&self) -> anyhow::Result<OffsetDateTime> {
        self.created
            .with_context(|| format!("CloudFormation does not tell when stack {} was made", self.stack))
    }

    /// An output of the stack.
    pub fn output(&self, name: &str) -> anyhow::Result<&str> {
        self.outputs.get(name).map(String::as_str).with_context(|| missing_output(&self.stack, name))
    }

    /// The outputs that the template gives a stack and this one does not have.
    pub fn missing_outputs(&self) -> Vec<&'static str> {
        outputs::ALL.into_iter().filter(|name| !self.outputs.contains_key(*name)).collect()
    }

    /// The receipt rule set.
    pub fn rule_set(&self) -> anyhow::Result<&str> {
        self.output(outputs::RULE_SET)
    }

    /// What Lambda says of `handle-email`.
    pub fn handle_email(&self) -> anyhow::Result<&GetFunctionConfigurationOutput> {
        self.handle_email.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// What Lambda says of `handle-dead-letter`.
    pub fn handle_dead_letter(&self) -> anyhow::Result<&GetFunctionConfigurationOutput> {
        self.handle_dead_letter.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// ARN of `handle-email`.
    pub fn handle_email_arn(&self) -> anyhow::Result<&str> {
        self.handle_email()?.function_arn().context("Lambda gave no ARN of the function")
    }

    /// A variable of `handle-dead-letter`.
    pub fn notice_variable(&self, name: &str) -> anyhow::Result<Option<String>> {
        Ok(variable_of(self.handle_dead_letter()?, name).filter(|value| !value.is_empty()))
    }

    /// For how many hours what could not be forwarded is tried again; where that can't be read, for how many at most.
    pub fn retry_hours(&self) -> u32 {
        let hours = self.notice_variable(names::RETRY_HOURS).ok().flatten();
        hours.and_then(|hours| hours.parse().ok()).unwrap_or(RETRY_HOURS_MAX)
    }

    /// What `handle-email` reads from its environment.
    pub fn settings(&self) -> anyhow::Result<&EmailSettings> {
        self.settings.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The bucket: as the function has it, else as the stack tells it.
    pub fn bucket(&self) -> anyhow::Result<&str> {
        match &self.settings {
            Ok(settings) => Ok(&settings.common.bucket),
            Err(_) => self.output(outputs::BUCKET),
        }
    }

    /// Where what is in the bucket.
    pub fn prefixes(&self) -> anyhow::Result<&Prefixes> {
        Ok(&self.settings()?.common.prefixes)
    }

    /// The domains that mail is received for: as the function has them, else as the stack was deployed.
    pub fn domains(&self) -> anyhow::Result<Vec<&str>> {
        match &self.settings {
            Ok(settings) => Ok(settings.common.domains.iter().collect()),
            Err(error) => {
                let listed = self.list("EmailDomain");
                if listed.is_empty() { Err(anyhow!("{error}")) } else { Ok(listed) }
            }
        }
    }

    /// What the receipt rule is to take mail for: the domains, unless the stack was deployed to take less.
    pub fn recipients(&self) -> anyhow::Result<Vec<&str>> {
        let narrowed = self.list("Recipients");
        if narrowed.is_empty() { self.domains() } else { Ok(narrowed) }
    }

    /// Whether the rule is in a rule set that was there before, which is not the stack's to switch.
    pub fn is_guest(&self) -> bool {
        self.parameters.get("ExistingRuleSet").is_some_and(|name| !name.is_empty())
    }

    /// A parameter of the template, as the stack was deployed with it.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// A parameter that is a list.
    fn list(&self, parameter: &str) -> Vec<&str> {
        let list = self.parameters.get(parameter).into_iter().flat_map(|list| list.split(','));
        list.map(str::trim).filter(|item| !item.is_empty()).collect()
    }
}

/// Outputs of a stack by name.
pub(crate) fn outputs_of(stack: &Stack) -> HashMap<String, String> {
    let pair = |output: &aws_sdk_cloudformation::types::Output| {
        Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
    };
    stack.outputs().iter().filter_map(pair).collect()
}

/// Parameters of a stack by name.
pub(crate) fn parameters_of(stack: &Stack) -> HashMap<String, String> {
    let pair = |parameter: &aws_sdk_cloudformation::types::Parameter| {
        Some((parameter.parameter_key()?.to_owned(), parameter.parameter_value()?.to_owned()))
    };
    stack.parameters().iter().filter_map(pair).collect()
}

async fn function(
    clients: &Clients,
    stack: &str,
    outputs: &HashMap<String, String>,
    output: &str,
) -> Result<GetFunctionConfigurationOutput, String> {
    let name = outputs.get(output).ok_or_else(|| missing_output(stack, output))?;
    let function = clients.lambda.get_function_configuration().function_name(name).send().await;
    function.with_context(|| format!("function {name} can't be read")).map_err(|error| format!("{error:#}"))
}

fn missing_output(stack: &str, name: &str) -> String {
    format!("stack {stack} has no output {name}: is it one of SES Forwarder's?")
}

fn variable_of(function: &GetFunctionConfigurationOutput, name: &str) -> Option<String> {
    function.environment()?.variables()?.get(name).cloned()
}

/// Whether a stack is one of SES Forwarder's.
pub(crate) fn is_ours(stack: &Stack) -> bool {
    let outputs = outputs_of(stack);
    [outputs::RULE_SET, outputs::HANDLE_EMAIL].iter().all(|name| outputs.contains_key(*name))
}

/// The variable that tells where notices go by mail.
pub(crate) const NOTICE_ADDRESS: &str = names::NOTICE_ADDRESS;
