//! Which receipt rule set is active: SES has one a region, and CloudFormation can't say which.
//!
//! What was active before is noted in the stack's bucket, so that anyone can go back.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, bail};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_ses::{operation::describe_receipt_rule_set::DescribeReceiptRuleSetError, types::ReceiptRule};
use serde::{Deserialize, Serialize};

use crate::{archive, clients::Clients, consent, deployed::Deployed, print};

/// What is noted.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    /// The rule set; `None` if none was active.
    rule_set: Option<String>,
}

/// The active rule set.
pub(crate) async fn active(clients: &Clients) -> anyhow::Result<Option<String>> {
    let active = clients.ses.describe_active_receipt_rule_set().send().await;
    let active = active.context("SES does not tell the active receipt rule set")?;
    Ok(active.metadata().and_then(|metadata| metadata.name()).map(str::to_owned))
}

/// What became of it, as printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Activated {
    stack: String,
    /// The rule set that is active now; absent if none is.
    active: Option<String>,
    /// The one that was.
    before: Option<String>,
    changed: bool,
    /// What the one before receives for and the one that is active now does not: addresses, domains, or `*` for all.
    unserved: Vec<String>,
    /// The command that undoes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    back: Option<String>,
}

/// Makes the stack's rule set the active one; `false` if it was not to be.
pub async fn activate(clients: &Clients, deployed: &Deployed, yes: bool, json: bool) -> anyhow::Result<bool> {
    let ours = deployed.rule_set()?;
    let before = active(clients).await?;
    let mut activated = Activated {
        stack: deployed.stack.clone(),
        active: Some(ours.to_owned()),
        before: before.clone(),
        changed: false,
        unserved: Vec::new(),
        back: None,
    };
    if before.as_deref() == Some(ours) {
        print(&activated, json);
        return Ok(true);
    }
    if deployed.is_guest() {
        bail!(not_ours(deployed)?);
    }
    let Some(unserved) = agreed(clients, before.as_deref(), Some(ours), yes).await? else {
        eprintln!("nothing is changed");
        return Ok(false);
    };
    activated.unserved = unserved;
    // Noted first: a note of what is still active does no harm, a change without a note might.
    note(clients, deployed, &Before { rule_set: before.clone() }).await?;
    set(clients, Some(ours)).await?;
    activated.changed = true;
    activated.back = Some(format!("{} --rollback", command(deployed)));
    print(&activated, json);
    Ok(true)
}

/// The command that makes a stack's rule set the active one.
pub(crate) fn command(deployed: &Deployed) -> String {
    format!("ses-forwarder activate --region {} --stack {}", deployed.region, deployed.stack)
}

/// Why the rule set that a stack's rule was put into is not switched by its commands.
pub(crate) fn not_ours(deployed: &Deployed) -> anyhow::Result<String> {
    Ok(format!(
        "Rule set {} is not this stack's: whoever runs it makes it active. The stack's rule is in it and gets its mail \
         then.",
        deployed.rule_set()?
    ))
}

/// What one rule set receives for and the next does not, once whoever runs the command has agreed to it; `None` if
/// they have not. To have none active is always asked for, as all mail of the region is refused then.
async fn agreed(
    clients: &Clients,
    from: Option<&str>,
    to: Option<&str>,
    yes: bool,
) -> anyhow::Result<Option<Vec<String>>> {
    let after = match to {
        Some(to) => rules(clients, to).await?,
        None => Vec::new(),
    };
    let unserved = match from {
        Some(from) => unserved(&rules(clients, from).await?, &after),
        None => Vec::new(),
    };
    if !unserved.is_empty() {
        let but = to.map_or_else(String::new, |to| format!(", and {to} does not"));
        eprintln!("{} receives mail for these{but}: {}", named(from), unserved.join(", "));
    }
    let question = match to {
        None => "No rule set was active before: mail is refused. End receiving in this region?".to_owned(),
        Some(_) if unserved.is_empty() => return Ok(Some(unserved)),
        Some(to) => format!("Make {to} active, so that their mail is refused?"),
    };
    Ok(consent::given(&question, yes)?.then_some(unserved))
}

/// Makes the rule set active again that was before this stack's; `false` if it was not to be.
pub async fn roll_back(
    clients: &Clients,
    deployed: &Deployed,
    yes: bool,
    json: bool,
) -> anyhow::Result<bool> {
    let (ours, bucket) = (deployed.rule_set()?, deployed.bucket()?);
    if deployed.is_guest() {
        bail!(not_ours(deployed)?);
    }
    let now = active(clients).await?;
    if now.as_deref() != Some(ours) {
        bail!("there is nothing to go back from: {} is active, not {ours}", named(now.as_deref()));
    }
    let noted = archive::get(clients, bucket, &key(deployed)).await?.with_context(|| {
        format!(
            "no note in s3://{bucket}/{} tells what was active before; choose: aws ses set-active-receipt-rule-set \
             --region {} --rule-set-name NAME",
            key(deployed),
            deployed.region
        )
    })?;
    let before: Before =
        serde_json::from_slice(&noted).context("the note of what was active before can't be read")?;
    let Some(unserved) = agreed(clients, Some(ours), before.rule_set.as_deref(), yes).await? else {
        eprintln!("nothing is changed");
        return Ok(false);
    };
    set(clients, before.rule_set.as_deref()).await?;
    let activated = Activated {
        stack: deployed.stack.clone(),
        active: before.rule_set,
        before: now,
        changed: true,
        unserved,
        back: None,
    };
    print(&activated, json);
    Ok(true)
}

impl fmt::Display for Activated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Activated { active, before, changed, back, .. } = self;
        let active = named(active.as_deref());
        match (changed, back) {
            (false, _) => writeln!(f, "{active} is active already"),
            (true, Some(back)) => {
                writeln!(f, "{active} is active now; before, {} was", named(before.as_deref()))?;
                writeln!(f, "to go back: {back}")
            }
            (true, None) => {
                let ours = before.as_deref().unwrap_or_default();
                writeln!(f, "{active} is active again; {ours} gets no mail any more")
            }
        }
    }
}

/// The rules of a rule set.
pub(crate) async fn rules(clients: &Clients, rule_set: &str) -> anyhow::Result<Vec<ReceiptRule>> {
    rules_if_any(clients, rule_set).await?.with_context(|| format!("there is no rule set {rule_set}"))
}

/// The same; `None` if there is no such rule set.
pub(crate) async fn rules_if_any(
    clients: &Clients,
    rule_set: &str,
) -> anyhow::Result<Option<Vec<ReceiptRule>>> {
    match clients.ses.describe_receipt_rule_set().rule_set_name(rule_set).send().await {
        Ok(described) => Ok(Some(described.rules().to_vec())),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(DescribeReceiptRuleSetError::is_rule_set_does_not_exist_exception) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("SES does not tell rule set {rule_set}")),
    }
}

/// What rules receive for and others do not; `*` for what rules without recipients add to that.
pub(crate) fn unserved(before: &[ReceiptRule], after: &[ReceiptRule]) -> Vec<String> {
    let enabled = |rules: &[ReceiptRule]| -> Vec<ReceiptRule> {
        rules.iter().filter(|rule| rule.enabled()).cloned().collect()
    };
    let (before, after) = (enabled(before), enabled(after));
    if after.iter().any(|rule| rule.recipients().is_empty()) {
        return Vec::new();
    }
    let served: Vec<&String> = after.iter().flat_map(ReceiptRule::recipients).collect();
    let mut unserved = BTreeSet::new();
    for rule in &before {
        if rule.recipients().is_empty() {
            unserved.insert("*".to_owned());
        }
        for recipient in rule.recipients() {
            if !served.iter().any(|served| covers(served, recipient)) {
                unserved.insert(recipient.clone());
            }
        }
    }
    unserved.into_iter().collect()
}

/// Whether a rule's recipient takes all that another does: `user@domain` takes an address, `domain` all of
/// its addresses, `.domain` those of its subdomains.
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-receipt-rules-console-walkthrough.html>
pub(crate) fn covers(served: &str, recipient: &str) -> bool {
    let (served, recipient) = (served.to_ascii_lowercase(), recipient.to_ascii_lowercase());
    let domain = recipient.rsplit('@').next().unwrap_or_default();
    served == recipient
        || (!served.contains('@') && served == domain)
        || (served.starts_with('.') && domain.ends_with(&*served))
}

pub(crate) async fn set(clients: &Clients, rule_set: Option<&str>) -> anyhow::Result<()> {
    let request = clients.ses.set_active_receipt_rule_set().set_rule_set_name(rule_set.map(str::to_owned));
    request.send().await.with_context(|| format!("{} can't be made active", named(rule_set)))?;
    Ok(())
}

async fn note(clients: &Clients, deployed: &Deployed, before: &Before) -> anyhow::Result<()> {
    let (body, bucket) = (serde_json::to_vec(before)?, deployed.bucket()?);
    let request = clients.s3.put_object().bucket(bucket).key(key(deployed));
    let result = request.content_type("application/json").body(ByteStream::from(body)).send().await;
    result.with_context(|| format!("s3://{bucket}/{} can't be written", key(deployed)))?;
    Ok(())
}

/// One note a stack, as two may share a bucket.
fn key(deployed: &Deployed) -> String {
    format!("config/active-before-{}.json", deployed.stack)
}

pub(crate) fn named(rule_set: Option<&str>) -> String {
    rule_set.map_or_else(|| "no rule set".to_owned(), |name| format!("rule set {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, enabled: bool, recipients: &[&str]) -> ReceiptRule {
        let recipients = Some(recipients.iter().map(|recipient| (*recipient).to_owned()).collect());
        ReceiptRule::builder()
            .name(name)
            .enabled(enabled)
            .set_recipients(recipients)
            .build()
            .expect("a name is given")
    }

    #[test]
    fn what_the_new_rules_leave_is_named() {
        let ours = [rule("ours", true, &["in.example", ".in.example"])];
        for (before, after, expected) in [
            (
                vec![rule("a", true, &["IN.example", "info@in.example", "x@sub.in.example"])],
                &ours[..],
                vec![],
            ),
            (
                vec![rule("a", true, &["shop.example", "ann@else.example"])],
                &ours,
                vec!["ann@else.example", "shop.example"],
            ),
            (vec![rule("a", false, &["shop.example"])], &ours, vec![]),
            (vec![rule("a", true, &[])], &ours, vec!["*"]),
            (vec![rule("a", true, &[]), rule("b", true, &["x.example"])], &[rule("all", true, &[])], vec![]),
            (
                vec![rule("a", true, &["in.example"])],
                &[rule("ours", false, &["in.example"])],
                vec!["in.example"],
            ),
            (
                vec![rule("a", true, &["in.example"])],
                &[rule("ours", true, &["info@in.example"])],
                vec!["in.example"],
            ),
        ] {
            assert_eq!(unserved(&before, after), expected, "{before:?}");
        }
    }
}
