//! Receiving: rule set, rule, and what SES needs to be allowed.

use anyhow::Context;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_ses::types::{ReceiptAction, ReceiptRule};
use ses_forwarder_iam::{Call, Decision, Principal, decide};

use super::Finding;
use crate::{activate, clients::Clients, deployed::Deployed};

pub(super) const ACTIVE: &str = "active rule set";
pub(super) const RULE: &str = "receipt rule";
pub(super) const BUCKET: &str = "bucket policy";
pub(super) const PERMISSION: &str = "function permission";

const DEPLOY: &str = "Deploy the stack again: sam build && sam deploy";

/// Whether the stack's rule set is the active one.
pub(super) async fn active(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let ours = &deployed.rule_set;
    let fix = format!("cargo operator activate --region {} --stack {}", deployed.region, deployed.stack);
    Ok(match activate::active(clients).await? {
        Some(active) if active == *ours => Finding::ok(ACTIVE, format!("it is {ours}")),
        Some(active) => Finding::wrong(ACTIVE, format!("{active} is active, not {ours}"), fix),
        None => Finding::wrong(ACTIVE, format!("none is active, so {ours} gets no mail"), fix),
    })
}

/// Whether the rule stores mail for the domain where the function looks for it, and invokes it.
pub(super) async fn rule(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let described = clients.ses.describe_receipt_rule_set().rule_set_name(&deployed.rule_set).send().await;
    let described = described.with_context(|| format!("SES does not tell rule set {}", deployed.rule_set))?;
    Ok(judge_rule(deployed, described.rules()))
}

fn judge_rule(deployed: &Deployed, rules: &[ReceiptRule]) -> Finding {
    let wrong = |found: String| Finding::wrong(RULE, found, DEPLOY);
    let lambda = |action: &ReceiptAction| {
        action.lambda_action().is_some_and(|lambda| lambda.function_arn() == deployed.handle_email_arn)
    };
    let Some(rule) = rules.iter().find(|rule| rule.actions().iter().any(lambda)) else {
        let (set, function) = (&deployed.rule_set, &deployed.handle_email);
        return wrong(format!("no rule of {set} invokes {function}"));
    };
    let name = rule.name();
    let domain = &deployed.settings.common.email_domain;
    let (bucket, prefix) = (deployed.bucket(), deployed.settings.common.prefixes.messages.as_str());
    let invoked = rule.actions().iter().position(lambda).unwrap_or_default();
    let stored = rule.actions()[..invoked].iter().filter_map(|action| action.s3_action());
    let stored: Vec<_> =
        stored.map(|s3| (s3.bucket_name(), s3.object_key_prefix().unwrap_or_default())).collect();
    let received =
        rule.recipients().is_empty() || rule.recipients().iter().any(|recipient| recipient == domain);
    if !rule.enabled() {
        wrong(format!("{name} is switched off"))
    } else if !received {
        wrong(format!("{name} takes mail for {}, not for {domain}", rule.recipients().join(", ")))
    } else if !stored.contains(&(bucket, prefix)) {
        wrong(format!("{name} does not store mail as s3://{bucket}/{prefix} before it invokes the function"))
    } else {
        Finding::ok(RULE, format!("{name} stores mail for {domain} and invokes {}", deployed.handle_email))
    }
}

/// Whether SES may store messages.
pub(super) async fn bucket_policy(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let bucket = deployed.bucket();
    let fix = format!(
        "Fill in ses-bucket-policy.json and set it: aws s3api put-bucket-policy --bucket {bucket} --policy \
         file://ses-bucket-policy.json"
    );
    let policy = match clients.s3.get_bucket_policy().bucket(bucket).send().await {
        Ok(output) => output.policy.unwrap_or_default(),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => {
            return Ok(Finding::wrong(BUCKET, format!("{bucket} has none, so SES can't store mail"), fix));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("the policy of bucket {bucket} can't be read"));
        }
    };
    let prefix = &deployed.settings.common.prefixes.messages;
    let resource = format!("arn:{}:s3:::{bucket}/{prefix}x", deployed.partition);
    let allowed = ses_may(&policy, "s3:PutObject", &resource, deployed)
        .with_context(|| format!("the policy of bucket {bucket} can't be read"))?;
    Ok(if allowed {
        Finding::ok(BUCKET, format!("SES may write s3://{bucket}/{prefix}"))
    } else {
        Finding::wrong(BUCKET, format!("SES may not write s3://{bucket}/{prefix} for this rule"), fix)
    })
}

/// Whether SES may invoke the function.
pub(super) async fn permission(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let function = &deployed.handle_email;
    let policy = match clients.lambda.get_policy().function_name(function).send().await {
        Ok(output) => output.policy.unwrap_or_default(),
        Err(error)
            if error.as_service_error().is_some_and(
                aws_sdk_lambda::operation::get_policy::GetPolicyError::is_resource_not_found_exception,
            ) =>
        {
            return Ok(Finding::wrong(PERMISSION, format!("nobody may invoke {function}"), DEPLOY));
        }
        Err(error) => return Err(error).with_context(|| format!("the policy of {function} can't be read")),
    };
    let allowed = ses_may(&policy, "lambda:InvokeFunction", &deployed.handle_email_arn, deployed)
        .with_context(|| format!("the policy of {function} can't be read"))?;
    Ok(if allowed {
        Finding::ok(PERMISSION, format!("SES may invoke {function}"))
    } else {
        Finding::wrong(PERMISSION, format!("SES may not invoke {function} for this rule"), DEPLOY)
    })
}

/// Whether a policy lets SES do something for the sake of the stack's rule, which is named as its rule
/// set is.
fn ses_may(policy: &str, action: &str, resource: &str, deployed: &Deployed) -> anyhow::Result<bool> {
    let Deployed { partition, region, account, rule_set, .. } = deployed;
    let rule =
        format!("arn:{partition}:ses:{region}:{account}:receipt-rule-set/{rule_set}:receipt-rule/{rule_set}");
    let context = [
        ("aws:SourceAccount", account.as_str()),
        ("aws:Referer", account),
        ("aws:SourceArn", &rule),
        ("aws:SecureTransport", "true"),
    ];
    let call = Call {
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    };
    let ses = Principal::Service("ses.amazonaws.com".to_owned());
    Ok(decide(&serde_json::from_str(policy)?, &ses, &call)? == Decision::Allowed)
}
