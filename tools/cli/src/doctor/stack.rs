//! The stack itself: its state, what it tells of itself, its function's settings, and its neighbours.

use anyhow::Context;

use super::{DEPLOY, Finding};
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
            let fix = "Deploy this repository's template, unchanged in its outputs: sam build && sam deploy";
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
        Err(error) => Finding::wrong(SETTINGS, format!("{error:#}"), DEPLOY),
    }
}

/// Whether another stack is there for one of the domains.
pub(super) async fn others(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
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
                same.push((name.to_owned(), rule_set));
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
    let active = activate::active(clients).await?.unwrap_or_default();
    let told = same.iter().map(|(name, rule_set)| {
        let state = if *rule_set == active { "which is active" } else { "which is not active" };
        format!("{name}, {state}")
    });
    let found = format!("for {} there is also {}", mine.join(", "), told.collect::<Vec<_>>().join("; and "));
    let (name, _) = &same[0];
    let fix = format!(
        "After a cut-over, wait a day, then remove the one that is not wanted: ses-forwarder remove --region {} \
         --stack {name}",
        deployed.region
    );
    Ok(Finding::warning(OTHERS, found, fix))
}

#[cfg(test)]
mod tests {
    use super::*;

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
