//! Which receipt rule set is active: SES has one a region, and CloudFormation can't say which.
//!
//! What was active before is noted in the stack's bucket, so that anyone can go back.

use anyhow::{Context, bail};
use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};

use crate::{archive, clients::Clients, deployed::Deployed};

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

/// Makes the stack's rule set the active one.
pub async fn activate(clients: &Clients, deployed: &Deployed) -> anyhow::Result<bool> {
    let ours = deployed.rule_set.as_str();
    let before = active(clients).await?;
    if before.as_deref() == Some(ours) {
        println!("rule set {ours} is active already");
        return Ok(true);
    }
    // Noted first: a note of what is still active does no harm, a change without a note might.
    note(clients, deployed, &Before { rule_set: before.clone() }).await?;
    set(clients, Some(ours)).await?;
    println!("rule set {ours} is active now; before, {} was", named(before.as_deref()));
    println!("to go back: cargo operator activate --stack {} --rollback", deployed.stack);
    Ok(true)
}

/// Makes the rule set active again that was before this stack's.
pub async fn roll_back(clients: &Clients, deployed: &Deployed) -> anyhow::Result<bool> {
    let ours = deployed.rule_set.as_str();
    let now = active(clients).await?;
    if now.as_deref() != Some(ours) {
        bail!("there is nothing to go back from: {} is active, not {ours}", named(now.as_deref()));
    }
    let noted = archive::get(clients, deployed.bucket(), &key(deployed)).await?.with_context(|| {
        format!(
            "no note in s3://{}/{} tells what was active before; choose: aws ses set-active-receipt-rule-set \
             --rule-set-name NAME",
            deployed.bucket(),
            key(deployed)
        )
    })?;
    let before: Before =
        serde_json::from_slice(&noted).context("the note of what was active before can't be read")?;
    set(clients, before.rule_set.as_deref()).await?;
    println!("{} is active again; {ours} gets no mail any more", named(before.rule_set.as_deref()));
    Ok(true)
}

async fn set(clients: &Clients, rule_set: Option<&str>) -> anyhow::Result<()> {
    let request = clients.ses.set_active_receipt_rule_set().set_rule_set_name(rule_set.map(str::to_owned));
    request.send().await.with_context(|| format!("{} can't be made active", named(rule_set)))?;
    Ok(())
}

async fn note(clients: &Clients, deployed: &Deployed, before: &Before) -> anyhow::Result<()> {
    let body = serde_json::to_vec(before)?;
    let request = clients.s3.put_object().bucket(deployed.bucket()).key(key(deployed));
    let result = request.content_type("application/json").body(ByteStream::from(body)).send().await;
    result.with_context(|| format!("s3://{}/{} can't be written", deployed.bucket(), key(deployed)))?;
    Ok(())
}

/// One note a stack, as two may share a bucket.
fn key(deployed: &Deployed) -> String {
    format!("config/active-before-{}.json", deployed.stack)
}

fn named(rule_set: Option<&str>) -> String {
    rule_set.map_or_else(|| "no rule set".to_owned(), |name| format!("rule set {name}"))
}
