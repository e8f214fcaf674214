//! The stack itself: its state, what it tells of itself, its function's settings, and its neighbours.

use anyhow::Context;

use super::{Finding, deploy, deploy_command, known};
use crate::{
    activate,
    clients::Clients,
    deployed::{Deployed, is_ours, outputs, outputs_of, parameters_of},
};

pub(super) const STACK: &str = "stack";
pub(super) const NAME: &str = "stack name";
pub(super) const OUTPUTS: &str = "outputs";
pub(super) const SETTINGS: &str = "settings";
pub(super) const OTHERS: &str = "other stacks";

/// Most characters of a stack's name.
const MAX_NAME: usize = 64;

/// Whether it is deployed, and the last deployment went well.
pub(super) fn state(deployed: &Deployed) -> Finding {
    let status = &deployed.status;
    if matches!(&**status, "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED") {
        let fix = format!(
            "Read why (aws cloudformation describe-stack-events --region {0} --stack-name {1}), mend it, and begin anew, as \
             this can't be updated: sam delete --region {0} --stack-name {1}, then deploy as for the first time \
             (docs/first-hour.md, Deploy)",
            deployed.region, deployed.stack
        );
        return Finding::wrong(
            STACK,
            format!("{} is {status}: its first deployment failed", deployed.stack),
            fix,
        );
    }
    if status.ends_with("_COMPLETE") && !status.contains("ROLLBACK") && !status.starts_with("DELETE") {
        Finding::ok(STACK, format!("{} in {} is {status}", deployed.stack, deployed.region))
    } else {
        let fix = format!(
            "Read its events: aws cloudformation describe-stack-events --region {} --stack-name {}",
            deployed.region, deployed.stack
        );
        Finding::warning(STACK, format!("{} is {status}", deployed.stack), fix)
    }
}

/// What is wrong with the name of a stack that is not there yet. CloudFormation would take it, but its receipt
/// rule and rule set are called the same.
/// <https://docs.aws.amazon.com/ses/latest/APIReference/API_CreateReceiptRuleSet.html>
pub(super) fn name(stack: &str) -> Option<Finding> {
    let found = if stack.len() > MAX_NAME {
        format!("{stack} has {} characters, and SES takes {MAX_NAME} for the name of a rule", stack.len())
    } else if stack.ends_with('-') {
        format!("{stack} ends with a hyphen, where SES wants a letter or a digit")
    } else {
        return None;
    };
    let fix = format!("Deploy with a name of at most {MAX_NAME} letters, digits and hyphens, no hyphen last");
    Some(Finding::wrong(NAME, found, fix))
}

/// Whether it has the outputs that the template gives it.
pub(super) fn outputs(deployed: &Deployed) -> Finding {
    match deployed.missing_outputs().as_slice() {
        [] => Finding::ok(OUTPUTS, "all are there"),
        missing => {
            let found = format!("{} has no output {}", deployed.stack, missing.join(", "));
            let fix = format!(
                "Deploy this repository's template, unchanged in its outputs: {}",
                deploy_command(deployed)
            );
            Finding::wrong(OUTPUTS, found, fix)
        }
    }
}

/// Whether `handle-email` can start with its settings.
pub(super) fn settings(deployed: &Deployed) -> Finding {
    if let Err(error) = deployed.handle_email() {
        return Finding::unknown(SETTINGS, &error);
    }
    match deployed.settings() {
        Ok(_) => Finding::ok(SETTINGS, "all are valid"),
        Err(error) => Finding::wrong(SETTINGS, format!("{error:#}"), deploy(deployed)),
    }
}

/// Whether another stack is there for one of the domains.
pub(super) async fn others(
    clients: &Clients,
    deployed: &Deployed,
    active: Result<&Option<String>, &String>,
) -> anyhow::Result<Finding> {
    let mine = deployed.domains()?;
    let mut pages = clients.cloudformation.describe_stacks().into_paginator().send();
    let (mut same, mut others) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        let page = page.context("CloudFormation does not tell of other stacks")?;
        for stack in page.stacks().iter().filter(|stack| is_ours(stack)) {
            let name = stack.stack_name().unwrap_or_default();
            if name == deployed.stack {
                continue;
            }
            others += 1;
            let parameters = parameters_of(stack);
            let domains = parameters.get("EmailDomain").map(String::as_str).unwrap_or_default();
            if domains.split(',').any(|domain| mine.contains(&domain.trim())) {
                let rule_set = outputs_of(stack).remove(outputs::RULE_SET).unwrap_or_default();
                same.push(Neighbour { name: name.to_owned(), rule_set });
            }
        }
    }
    if same.is_empty() {
        return Ok(Finding::ok(
            OTHERS,
            match others {
                0 => "there is none".to_owned(),
                count => format!("{count} for other domains"),
            },
        ));
    }
    let active = known(active)?;
    let is_active = |rule_set: &str| active.as_deref() == Some(rule_set);
    let told = same.iter().map(|Neighbour { name, rule_set }| {
        let state = if is_active(rule_set) { "which is active" } else { "which is not active" };
        format!("{name}, {state}")
    });
    let found = format!("for {} there is also {}", mine.join(", "), told.collect::<Vec<_>>().join("; and "));
    let this = Neighbour { name: deployed.stack.clone(), rule_set: deployed.rule_set()?.to_owned() };
    let activate = if deployed.is_guest() {
        format!("whoever runs rule set {} makes it active", this.rule_set)
    } else {
        activate::command(deployed)
    };
    Ok(Finding::warning(OTHERS, found, what_to_do(&deployed.region, &this, &same, is_active, &activate)))
}

/// When a stack that gets no mail any more can go: what it has is tried for as long as `RetryHours` says.
const EMPTY: &str = "once no dead letter waits and no mail is held there";

/// A stack for one of the domains.
struct Neighbour {
    name: String,
    rule_set: String,
}

/// What to do about several stacks for a domain: one that is active is not to be removed.
fn what_to_do(
    region: &str,
    this: &Neighbour,
    others: &[Neighbour],
    is_active: impl Fn(&str) -> bool,
    activate: &str,
) -> String {
    let removal =
        |stack: &Neighbour| format!("ses-forwarder remove --region {region} --stack {}", stack.name);
    let idle = others.iter().filter(|other| !is_active(&other.rule_set));
    let remove = idle.map(removal).collect::<Vec<_>>().join("; ");
    if is_active(&this.rule_set) && remove.is_empty() {
        "Each message comes to all of them: take the one that is not wanted away".to_owned()
    } else if is_active(&this.rule_set) {
        format!("After a cut-over, {EMPTY}, remove what is not wanted: {remove}")
    } else if others.iter().any(|other| is_active(&other.rule_set)) {
        let remove = removal(this);
        format!("To cut over to this one: {activate}; if it is not wanted, {EMPTY}: {remove}")
    } else {
        format!(
            "Make one of them active, this one by: {activate}; {EMPTY}, remove what is not wanted: {remove}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_active_stack_is_to_be_removed() {
        let stack = |name: &str| Neighbour { name: name.to_owned(), rule_set: format!("set-of-{name}") };
        for (active, advice) in [
            (
                vec!["set-of-this"],
                "After a cut-over, once no dead letter waits and no mail is held there, remove what is not wanted: ses-forwarder \
                 remove --region r --stack old; ses-forwarder remove --region r --stack older",
            ),
            (
                vec!["set-of-old"],
                "To cut over to this one: activate this; if it is not wanted, once no dead letter waits and no mail is held \
                 there: ses-forwarder remove --region r --stack this",
            ),
            (
                vec!["company"],
                "Make one of them active, this one by: activate this; once no dead letter waits and no mail is held there, \
                 remove what is not wanted: \
                 ses-forwarder remove --region r --stack old; ses-forwarder remove --region r --stack older",
            ),
            // Guests of one rule set.
            (
                vec!["set-of-this", "set-of-old", "set-of-older"],
                "Each message comes to all of them: take the one that is not wanted away",
            ),
        ] {
            let others = [stack("old"), stack("older")];
            let is_active = |rule_set: &str| active.contains(&rule_set);
            let told = what_to_do("r", &stack("this"), &others, is_active, "activate this");
            assert_eq!(told, advice, "{active:?}");
        }
    }

    #[test]
    fn names() {
        let longest = "m".repeat(64);
        for good in ["m", "Mail-Forwarder", "mail-2", &longest] {
            assert_eq!(name(good), None, "{good}");
        }
        for (bad, found) in [
            ("m".repeat(65), "has 65 characters, and SES takes 64"),
            ("mail-".to_owned(), "ends with a hyphen"),
        ] {
            assert!(name(&bad).unwrap().found.contains(found), "{bad}");
        }
    }
}
