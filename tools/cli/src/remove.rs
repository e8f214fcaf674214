//! A stack taken away without ending anyone else's mail.
//!
//! SES has one active rule set a region. It is switched off only if it is this stack's; CloudFormation then deletes
//! the stack, and the rule set with it. So nothing is done where that holds rules of others, active or not. A rule set
//! that was there before is left alone, and the stack's rule in it goes with the stack. The bucket stays, with the
//! mail in it.

use std::fmt;

use anyhow::{Context, bail};
use aws_sdk_ses::types::ReceiptRule;
use aws_sdk_sqs::types::QueueAttributeName;
use serde::Serialize;

use crate::{
    activate,
    clients::Clients,
    consent,
    deployed::{Deployed, outputs},
    print,
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
    /// Whether the stack is being deleted.
    deleted: bool,
    /// The bucket, which stays.
    bucket: Option<String>,
    /// The command that deletes the stack, if it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Removes a stack; `false` if it was not to be.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    yes: bool,
    keep_stack: bool,
    json: bool,
) -> anyhow::Result<bool> {
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
    if is_active {
        eprintln!("{ours} is active: mail for {} is refused from now on", deployed.domains()?.join(", "));
    } else if !deployed.is_guest() {
        eprintln!("{} is active, not {ours}; it stays", activate::named(active.as_deref()));
    }
    let waiting = waiting(clients, deployed).await?;
    if waiting > 0 {
        eprintln!(
            "{waiting} dead letters are waiting; with the queue they go, though their messages stay in the bucket"
        );
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
    let delete = format!("sam delete --region {} --stack-name {}", deployed.region, deployed.stack);
    if !keep_stack {
        let deleted = clients.cloudformation.delete_stack().stack_name(&deployed.stack).send().await;
        deleted.with_context(|| format!("stack {} can't be deleted; try {delete}", deployed.stack))?;
    }
    let removed = Removed {
        stack: deployed.stack.clone(),
        active: active.filter(|_| !is_active),
        deactivated: is_active,
        deleted: !keep_stack,
        bucket: deployed.bucket().ok().map(str::to_owned),
        next: keep_stack.then_some(delete),
    };
    print(&removed, json);
    Ok(true)
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

async fn waiting(clients: &Clients, deployed: &Deployed) -> anyhow::Result<u64> {
    let url = deployed.output(outputs::QUEUE)?;
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = clients.sqs.get_queue_attributes().queue_url(url);
    let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
    let answer = answer.with_context(|| format!("queue {url} can't be read"))?;
    let value = |name| answer.attributes()?.get(name)?.parse::<u64>().ok();
    Ok(names.iter().filter_map(value).sum())
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Removed { stack, active, deactivated, deleted, bucket, next } = self;
        if *deactivated {
            writeln!(f, "no rule set is active any more")?;
        } else {
            writeln!(f, "{} stays active", activate::named(active.as_deref()))?;
        }
        if *deleted {
            writeln!(f, "stack {stack} is being deleted")?;
        }
        if let Some(bucket) = bucket {
            writeln!(f, "bucket {bucket} stays, with the mail in it")?;
        }
        next.iter().try_for_each(|next| writeln!(f, "next: {next}"))
    }
}
