//! A stack taken away without ending anyone else's mail.
//!
//! SES has one active rule set a region. It is switched off only if it is this stack's; CloudFormation then deletes
//! the stack, and the rule set with it. So nothing is done where that holds rules of others, active or not. A rule set
//! that was there before is left alone, and the stack's rule in it goes with the stack. The bucket stays, with the
//! mail in it.

use std::fmt;

use anyhow::{Context, bail};
use aws_sdk_ses::types::ReceiptRule;
use aws_sdk_sqs::{error::ProvideErrorMetadata, types::QueueAttributeName};
use serde::Serialize;

use crate::{
    activate,
    clients::Clients,
    consent,
    deployed::{Deployed, outputs},
    print, resume,
};

/// What became of it, as printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    stack: String,
    /// The rule set that is active now; absent if none is.
    active: Option<String>,
    /// Whether this stack's was, and has been switched off.
    deactivated: bool,
    /// Whether CloudFormation has been told to delete the stack, which takes minutes and may fail.
    deleted: bool,
    /// The bucket, which stays.
    bucket: Option<String>,
    /// The command that waits until the stack is gone, and fails if it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
    /// The command that deletes the stack, if it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How a stack is removed.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Without a question.
    pub yes: bool,
    /// Only receiving ends.
    pub keep_stack: bool,
    /// Even if dead letters wait.
    pub with_waiting: bool,
    /// Prints JSON.
    pub json: bool,
}

/// Removes a stack; `false` if it was not to be.
pub async fn run(clients: &Clients, deployed: &Deployed, how: How) -> anyhow::Result<bool> {
    let How { yes, keep_stack, json, .. } = how;
    let ours = deployed.rule_set()?;
    let active = activate::active(clients).await?;
    let is_active = active.as_deref() == Some(ours) && !deployed.is_guest();
    if deployed.is_guest() {
        if keep_stack {
            bail!(
                "the rule in {ours} goes with the stack, and nothing else is to be switched off: leave out --keep-stack"
            );
        }
        eprintln!("{ours} is not this stack's and stays as it is; the stack's rule in it goes");
    } else {
        spare_others(clients, deployed, ours).await?;
    }
    if !keep_stack {
        spare_waiting(clients, deployed, how.with_waiting).await?;
        tell_held(clients, deployed).await;
    }
    if is_active {
        eprintln!("{ours} is active: mail for {} is refused from now on", deployed.domains()?.join(", "));
    } else if !deployed.is_guest() {
        eprintln!("{} is active, not {ours}; it stays", activate::named(active.as_deref()));
    }
    let what = if keep_stack { "Stop receiving with" } else { "Delete" };
    if (is_active || !keep_stack) && !consent::given(&format!("{what} stack {}?", deployed.stack), yes)? {
        eprintln!("nothing is changed");
        return Ok(false);
    }
    if is_active {
        // Once more, as a person may have taken their time: what another has made active stays.
        if activate::active(clients).await?.as_deref() != Some(ours) {
            bail!("another rule set has become active meanwhile; nothing is changed");
        }
        activate::set(clients, None).await?;
    }
    let Deployed { region, stack, .. } = deployed;
    let delete = format!("sam delete --region {region} --stack-name {stack}");
    if !keep_stack {
        let deleted = clients.cloudformation.delete_stack().stack_name(stack).send().await;
        deleted.with_context(|| {
            let receiving = if is_active {
                format!(
                    "; no rule set is active now, and mail is refused. To receive again: {}",
                    activate::command(deployed)
                )
            } else {
                String::new()
            };
            format!("stack {stack} can't be deleted; try {delete}{receiving}")
        })?;
    }
    let removed = Removed {
        stack: stack.clone(),
        active: active.filter(|_| !is_active),
        deactivated: is_active,
        deleted: !keep_stack,
        bucket: deployed.bucket().ok().map(str::to_owned),
        wait: (!keep_stack).then(|| {
            format!("aws cloudformation wait stack-delete-complete --region {region} --stack-name {stack}")
        }),
        next: keep_stack.then_some(delete),
    };
    print(&removed, json);
    Ok(true)
}

/// An error if the stack is not to be deleted: it is protected, or dead letters would go with its queue. They are tried
/// for as long as `RetryHours` says, and only by the stack that they came to.
async fn spare_waiting(clients: &Clients, deployed: &Deployed, with_waiting: bool) -> anyhow::Result<()> {
    let Deployed { region, stack, .. } = deployed;
    if deployed.is_protected {
        bail!(
            "stack {stack} is protected from being deleted; nothing is changed. To have it deleted: aws cloudformation \
             update-termination-protection --region {region} --stack-name {stack} --no-enable-termination-protection"
        );
    }
    let waiting = waiting(clients, deployed).await?;
    if waiting > 0 && !with_waiting {
        bail!(
            "{waiting} dead letters are waiting to be tried again, and would go with the stack's queue; nothing is changed. \
             Wait until ses-forwarder doctor --region {region} --stack {stack} finds none, or say --with-waiting: their \
             messages stay in the bucket"
        );
    }
    if waiting > 0 {
        eprintln!("{waiting} dead letters go with the queue, though their messages stay in the bucket");
    }
    Ok(())
}

/// Names the destinations that mail may be held for, which nobody sends once the stack is gone.
async fn tell_held(clients: &Clients, deployed: &Deployed) {
    let suspended = match resume::read(clients, deployed).await {
        Ok((suspended, _)) => suspended,
        Err(error) => return eprintln!("whom mail is held for is not known: {error:#}"),
    };
    // Names that nobody has written down are made up, as a rule.
    let held = suspended
        .destinations
        .into_iter()
        .filter(|(_, known)| !known.unnamed && (known.suspended.is_some() || !known.senders.is_empty()));
    let held: Vec<_> = held.map(|(address, _)| address).collect();
    if !held.is_empty() {
        eprintln!(
            "mail may be held for {}, and nobody sends it once the stack is gone; to see it: ses-forwarder find --region {} \
             --stack {} --status held --since 90d",
            held.join(", "),
            deployed.region,
            deployed.stack
        );
    }
}

/// An error if rules of others are in the stack's rule set: active or not, they would be deleted with it.
async fn spare_others(clients: &Clients, deployed: &Deployed, rule_set: &str) -> anyhow::Result<()> {
    // A function that is gone already invokes nobody.
    let function_arn = deployed.handle_email_arn().ok();
    let rules = activate::rules_if_any(clients, rule_set).await?.unwrap_or_default();
    let others = others(&rules, &deployed.stack, function_arn);
    if !others.is_empty() {
        bail!(
            "rule set {rule_set}, which goes with the stack, holds rules of others: {}. Move these to another rule set, and \
             make that one active if this one is",
            others.join(", ")
        );
    }
    Ok(())
}

/// The rules that are neither the stack's own, which is called as the stack is, nor invoke its function.
fn others(rules: &[ReceiptRule], stack: &str, function_arn: Option<&str>) -> Vec<String> {
    let is_ours = |rule: &&ReceiptRule| {
        let mut lambdas = rule.actions().iter().filter_map(|action| action.lambda_action());
        rule.name() == stack || lambdas.any(|lambda| Some(lambda.function_arn()) == function_arn)
    };
    let others = rules.iter().filter(|rule| !is_ours(rule));
    others.map(|rule| format!("{} ({})", rule.name(), rule.recipients().join(", "))).collect()
}

/// What SQS calls a queue that is not there: with its header for those who know the query protocol, and without.
const NO_QUEUE: [&str; 2] = ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"];

/// How many dead letters there are, also those that are hidden until their next try.
async fn waiting(clients: &Clients, deployed: &Deployed) -> anyhow::Result<u64> {
    let url = deployed.output(outputs::QUEUE)?;
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = clients.sqs.get_queue_attributes().queue_url(url);
    let answer = match request.set_attribute_names(Some(names.to_vec())).send().await {
        // An earlier deletion has come so far.
        Err(error) if error.code().is_some_and(|code| NO_QUEUE.contains(&code)) => return Ok(0),
        answer => answer.with_context(|| format!("queue {url} can't be read"))?,
    };
    let value = |name| answer.attributes()?.get(name)?.parse::<u64>().ok();
    Ok(names.iter().filter_map(value).sum())
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Removed { stack, active, deactivated, deleted, bucket, wait, next } = self;
        if *deactivated {
            writeln!(f, "no rule set is active any more")?;
        } else {
            writeln!(f, "{} stays active", activate::named(active.as_deref()))?;
        }
        if *deleted {
            writeln!(f, "stack {stack} is being deleted")?;
            wait.iter().try_for_each(|wait| writeln!(f, "until it is gone: {wait}"))?;
        }
        if let Some(bucket) = bucket {
            writeln!(f, "bucket {bucket} stays, with the mail in it")?;
        }
        next.iter().try_for_each(|next| writeln!(f, "next: {next}"))
    }
}
