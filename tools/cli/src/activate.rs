//! Which receipt rule set is active: SES has one a region, and CloudFormation can't say which.
//!
//! What was active before is noted in the stack's bucket, so that anyone can go back.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, bail};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_ses::types::ReceiptRule;
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
    /// What the one before receives for and the stack's does not: addresses, domains, or `*` for all.
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
    let new = rules(clients, ours).await?;
    if let Some(before) = &before {
        activated.unserved = unserved(&rules(clients, before).await?, &new);
    }
    if !activated.unserved.is_empty() {
        eprintln!(
            "{} receives mail for these, and {ours} does not: {}",
            named(before.as_deref()),
            activated.unserved.join(", ")
        );
        if !consent::given(&format!("Make {ours} active, so that their mail is refused?"), yes)? {
            eprintln!("nothing is changed");
            return Ok(false);
        }
    }
    // Noted first: a note of what is still active does no harm, a change without a note might.
    note(clients, deployed, &Before { rule_set: before.clone() }).await?;
    set(clients, Some(ours)).await?;
    activated.changed = true;
    activated.back = Some(format!(
        "ses-forwarder activate --region {} --stack {} --rollback",
        deployed.region, deployed.stack
    ));
    print(&activated, json);
    Ok(true)
}

/// Why the rule set that a stack's rule was put into is not switched by its commands.
pub(crate) fn not_ours(deployed: &Deployed) -> anyhow::Result<String> {
    Ok(format!(
        "Rule set {} is not this stack's: whoever runs it makes it active. The stack's rule is in it and gets its mail \
         then.",
        deployed.rule_set()?
    ))
}

/// Makes the rule set active again that was before this stack's.
pub async fn roll_back(clients: &Clients, deployed: &Deployed, json: bool) -> anyhow::Result<bool> {
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
             --rule-set-name NAME",
            key(deployed)
        )
    })?;
    let before: Before =
        serde_json::from_slice(&noted).context("the note of what was active before can't be read")?;
    set(clients, before.rule_set.as_deref()).await?;
    let activated = Activated {
        stack: deployed.stack.clone(),
        active: before.rule_set,
        before: now,
        changed: true,
        unserved: Vec::new(),
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
    let described = clients.ses.describe_receipt_rule_set().rule_set_name(rule_set).send().await;
    let described = described.with_context(|| format!("SES does not tell rule set {rule_set}"))?;
    Ok(described.rules().to_vec())
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
