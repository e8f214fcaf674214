//! Receiving: rule set, rule, and what SES needs to be allowed.

use anyhow::Context;
use aws_sdk_s3::{error::ProvideErrorMetadata, operation::head_bucket::HeadBucketError};
use aws_sdk_ses::types::{InvocationType, ReceiptAction, ReceiptRule};
use ses_forwarder_iam::{Call, Decision, Principal, decide};

use super::{Finding, deploy, known};
use crate::{
    activate,
    clients::Clients,
    deployed::{Deployed, outputs},
};

pub(super) const ACTIVE: &str = "active rule set";
pub(super) const RULE: &str = "receipt rule";
pub(super) const BUCKET: &str = "bucket";
pub(super) const BUCKET_POLICY: &str = "bucket policy";
pub(super) const PERMISSION: &str = "function permission";

/// Whether the stack's rule set is the active one.
pub(super) fn active(
    deployed: &Deployed,
    active: Result<&Option<String>, &String>,
) -> anyhow::Result<Finding> {
    let ours = deployed.rule_set()?;
    let fix = if deployed.is_guest() { activate::not_ours(deployed)? } else { activate::command(deployed) };
    Ok(match known(active)?.as_deref() {
        Some(active) if active == ours && deployed.is_guest() => {
            Finding::ok(ACTIVE, format!("it is {ours}, which is not this stack's to switch"))
        }
        Some(active) if active == ours => Finding::ok(ACTIVE, format!("it is {ours}")),
        Some(active) => Finding::wrong(ACTIVE, format!("{active} is active, not {ours}"), fix),
        None => Finding::wrong(ACTIVE, format!("none is active, so {ours} gets no mail"), fix),
    })
}

/// Whether the rule stores mail for the domain where the function looks for it, and invokes it.
pub(super) async fn rule(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let rule_set = deployed.rule_set()?;
    let Some(rules) = activate::rules_if_any(clients, rule_set).await? else {
        return Ok(Finding::wrong(RULE, format!("there is no rule set {rule_set}"), deploy(deployed)));
    };
    let (bucket, prefix) = (deployed.bucket()?, deployed.prefixes()?.messages.as_str());
    let expected = Expected {
        rule_set,
        function_arn: deployed.handle_email_arn()?,
        recipients: &deployed.recipients()?,
        bucket,
        prefix,
        after: deployed.parameter("AfterRule").filter(|after| !after.is_empty()),
        region: &deployed.region,
        deploy: &deploy(deployed),
    };
    Ok(judge_rule(&expected, &rules))
}

/// What the rule is to do.
struct Expected<'a> {
    rule_set: &'a str,
    function_arn: &'a str,
    recipients: &'a [&'a str],
    bucket: &'a str,
    prefix: &'a str,
    /// The rule that it is to come after.
    after: Option<&'a str>,
    region: &'a str,
    /// How the stack is deployed again.
    deploy: &'a str,
}

fn judge_rule(expected: &Expected<'_>, rules: &[ReceiptRule]) -> Finding {
    let Expected { rule_set, function_arn, recipients: wanted, bucket, prefix, .. } = *expected;
    let (after, deploy) = (expected.after, expected.deploy);
    let wrong = |found: String| Finding::wrong(RULE, found, deploy);
    let function = function_arn.rsplit(':').next().unwrap_or_default();
    let lambda = |action: &ReceiptAction| {
        action.lambda_action().is_some_and(|lambda| lambda.function_arn() == function_arn)
    };
    let Some(at) = rules.iter().position(|rule| rule.actions().iter().any(lambda)) else {
        return wrong(format!("no rule of {rule_set} invokes {function}"));
    };
    let rule = &rules[at];
    let name = rule.name();
    let invoked = rule.actions().iter().position(lambda).unwrap_or_default();
    let stored = rule.actions()[..invoked].iter().filter_map(|action| action.s3_action());
    let stored: Vec<_> =
        stored.map(|s3| (s3.bucket_name(), s3.object_key_prefix().unwrap_or_default())).collect();
    let recipients = rule.recipients();
    let received = |wanted: &&&str| recipients.iter().any(|served| activate::covers(served, wanted));
    let left: Vec<&str> =
        wanted.iter().filter(|wanted| !recipients.is_empty() && !received(wanted)).copied().collect();
    let after_at = after.and_then(|after| rules[..at].iter().position(|rule| rule.name() == after));
    // The last one, as those up to the rule that this is to come after are chosen.
    let stops = rules[..at].iter().rposition(|rule| {
        rule.enabled() && rule.actions().iter().any(|action| action.stop_action().is_some())
    });
    let synchronous = rule.actions()[invoked].lambda_action().and_then(|lambda| lambda.invocation_type());
    if !rule.enabled() {
        wrong(format!("{name} is switched off"))
    } else if !left.is_empty() {
        wrong(format!("{name} takes mail for {}, not for {}", recipients.join(", "), left.join(", ")))
    } else if !stored.contains(&(bucket, prefix)) {
        wrong(format!("{name} does not store mail as s3://{bucket}/{prefix} before it invokes the function"))
    } else if let Some(stops) = stops {
        let found = format!("{} comes before {name} and may end the set for some mail", rules[stops].name());
        let behind = after.filter(|_| after_at.is_some());
        let fix = match behind {
            Some(after) if after_at >= Some(stops) => {
                format!("Nothing, if you mean it so: {name} comes after {after}, as AfterRule says")
            }
            behind => format!(
                "aws ses set-receipt-rule-position --region {} --rule-set-name {rule_set} --rule-name {name}{}",
                expected.region,
                behind.map(|after| format!(" --after {after}")).unwrap_or_default()
            ),
        };
        Finding::warning(RULE, found, fix)
    } else if synchronous.is_some_and(|kind| *kind == InvocationType::RequestResponse) {
        wrong(format!("{name} waits for the function, so what it can't do is not tried again"))
    } else if !rule.scan_enabled() {
        Finding::warning(
            RULE,
            format!("{name} does not scan, so spam and viruses are forwarded"),
            format!("Set ScanEnabled: true in the template's rule. {deploy}"),
        )
    } else {
        Finding::ok(RULE, format!("{name} stores mail for {} and invokes {function}", wanted.join(", ")))
    }
}

/// Whether the bucket is there, and where the function looks for it.
pub(super) async fn bucket(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let bucket = deployed.bucket()?;
    match clients.s3.head_bucket().bucket(bucket).send().await {
        Ok(found) => Ok(match found.bucket_region() {
            Some(region) if region != deployed.region => Finding::wrong(
                BUCKET,
                format!("{bucket} is in {region}, where the functions of {} do not look", deployed.region),
                format!("Deploy with a bucket in {}, or in {region}", deployed.region),
            ),
            _ => Finding::ok(BUCKET, format!("{bucket} is there")),
        }),
        Err(error) if error.as_service_error().is_some_and(HeadBucketError::is_not_found) => {
            let fix = format!(
                "Make it: aws s3 mb s3://{bucket} --region {}; or deploy a new stack, with ExistingBucket empty to have \
                 one made",
                deployed.region
            );
            Ok(Finding::wrong(BUCKET, format!("there is no bucket {bucket}"), fix))
        }
        // S3 answers so for a bucket of another region.
        Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 301) => {
            let fix = format!("Deploy with a bucket in {}", deployed.region);
            Ok(Finding::wrong(BUCKET, format!("{bucket} is not in {}", deployed.region), fix))
        }
        Err(error) => Err(error).with_context(|| format!("bucket {bucket} can't be looked up")),
    }
}

/// Whether SES may store messages.
pub(super) async fn bucket_policy(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let bucket = deployed.bucket()?;
    let policy = match clients.s3.get_bucket_policy().bucket(bucket).send().await {
        Ok(output) => output.policy.unwrap_or_default(),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => {
            let found = format!("{bucket} has none, so SES can't store mail");
            let fix = format!(
                "Fill in ses-bucket-policy.json and set it: aws s3api put-bucket-policy --region {} --bucket \
                 {bucket} --policy file://ses-bucket-policy.json",
                deployed.region
            );
            return Ok(Finding::wrong(BUCKET_POLICY, found, fix));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("the policy of bucket {bucket} can't be read"));
        }
    };
    let prefix = &deployed.prefixes()?.messages;
    let resource = format!("arn:{}:s3:::{bucket}/{prefix}x", deployed.partition);
    let allowed = ses_may(&policy, "s3:PutObject", &resource, deployed)
        .with_context(|| format!("the policy of bucket {bucket} can't be read"))?;
    Ok(if allowed {
        Finding::ok(BUCKET_POLICY, format!("SES may write s3://{bucket}/{prefix}"))
    } else {
        // What is set takes the place of all that is there, also of what another stack lives by.
        let fix = format!(
            "Fill in ses-bucket-policy.json and merge it into the policy that is there: aws s3api get-bucket-policy \
             --region {0} --bucket {bucket} --query Policy --output text > policy.json; then aws s3api \
             put-bucket-policy --region {0} --bucket {bucket} --policy file://policy.json",
            deployed.region
        );
        Finding::wrong(BUCKET_POLICY, format!("SES may not write s3://{bucket}/{prefix} for this rule"), fix)
    })
}

/// Whether SES may invoke the function.
pub(super) async fn permission(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let function = deployed.output(outputs::HANDLE_EMAIL)?;
    let policy = match clients.lambda.get_policy().function_name(function).send().await {
        Ok(output) => output.policy.unwrap_or_default(),
        Err(error)
            if error.as_service_error().is_some_and(
                aws_sdk_lambda::operation::get_policy::GetPolicyError::is_resource_not_found_exception,
            ) =>
        {
            return Ok(Finding::wrong(
                PERMISSION,
                format!("nobody may invoke {function}"),
                permit(deployed)?,
            ));
        }
        Err(error) => return Err(error).with_context(|| format!("the policy of {function} can't be read")),
    };
    let allowed = ses_may(&policy, "lambda:InvokeFunction", deployed.handle_email_arn()?, deployed)
        .with_context(|| format!("the policy of {function} can't be read"))?;
    Ok(if allowed {
        Finding::ok(PERMISSION, format!("SES may invoke {function}"))
    } else {
        Finding::wrong(PERMISSION, format!("SES may not invoke {function} for this rule"), permit(deployed)?)
    })
}

/// The command that lets SES invoke the function for the sake of the stack's rule.
fn permit(deployed: &Deployed) -> anyhow::Result<String> {
    Ok(format!(
        "aws lambda add-permission --region {} --function-name {} --statement-id ses --action lambda:InvokeFunction \
         --principal ses.amazonaws.com --source-account {} --source-arn {}",
        deployed.region,
        deployed.output(outputs::HANDLE_EMAIL)?,
        deployed.account,
        rule_arn(deployed)?
    ))
}

/// The stack's rule, which is named as the stack is.
fn rule_arn(deployed: &Deployed) -> anyhow::Result<String> {
    let Deployed { partition, region, account, stack, .. } = deployed;
    let rule_set = deployed.rule_set()?;
    Ok(format!("arn:{partition}:ses:{region}:{account}:receipt-rule-set/{rule_set}:receipt-rule/{stack}"))
}

/// Whether a policy lets SES do something for the sake of the stack's rule.
fn ses_may(policy: &str, action: &str, resource: &str, deployed: &Deployed) -> anyhow::Result<bool> {
    let account = &deployed.account;
    let rule = rule_arn(deployed)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use aws_sdk_ses::types::{LambdaAction, S3Action, StopAction, StopScope, builders::ReceiptRuleBuilder};

    fn rule() -> ReceiptRuleBuilder {
        ReceiptRule::builder().name("ours").enabled(true).scan_enabled(true).recipients("in.example")
    }

    fn stores(bucket: &str) -> ReceiptAction {
        let store = S3Action::builder().bucket_name(bucket).object_key_prefix("messages/").build();
        ReceiptAction::builder().s3_action(store.unwrap()).build()
    }

    fn invokes(function: &str) -> ReceiptAction {
        let lambda = LambdaAction::builder().function_arn(format!("arn:f:{function}")).build();
        ReceiptAction::builder().lambda_action(lambda.unwrap()).build()
    }

    fn expected() -> Expected<'static> {
        Expected {
            rule_set: "set",
            function_arn: "arn:f:email",
            recipients: &["in.example"],
            bucket: "mail",
            prefix: "messages/",
            after: None,
            region: "r",
            deploy: "sam deploy",
        }
    }

    #[test]
    fn rules() {
        let expected = expected();
        let good = || rule().actions(stores("mail")).actions(invokes("email"));
        let stop = StopAction::builder().scope(StopScope::RuleSet).build().unwrap();
        let stop = rule().name("spam").actions(ReceiptAction::builder().stop_action(stop).build());
        for (rules, state, found) in [
            (vec![good()], State::Ok, "ours stores mail for in.example and invokes email"),
            (
                vec![good().set_recipients(None)],
                State::Ok,
                "ours stores mail for in.example and invokes email",
            ),
            (vec![], State::Wrong, "no rule of set invokes email"),
            (vec![rule().actions(invokes("other"))], State::Wrong, "no rule of set invokes email"),
            (vec![good().enabled(false)], State::Wrong, "ours is switched off"),
            (
                vec![good().set_recipients(Some(vec!["x.example".to_owned()]))],
                State::Wrong,
                "ours takes mail for x.example, not for in.example",
            ),
            (
                vec![rule().actions(stores("other")).actions(invokes("email"))],
                State::Wrong,
                "ours does not store mail as s3://mail/messages/ before it invokes the function",
            ),
            (
                vec![rule().actions(invokes("email")).actions(stores("mail"))],
                State::Wrong,
                "ours does not store mail as s3://mail/messages/ before it invokes the function",
            ),
            (vec![stop, good()], State::Warning, "spam comes before ours and may end the set for some mail"),
            (
                vec![good().scan_enabled(false)],
                State::Warning,
                "ours does not scan, so spam and viruses are forwarded",
            ),
        ] {
            let rules: Vec<_> = rules.into_iter().map(|rule| rule.build().unwrap()).collect();
            let finding = judge_rule(&expected, &rules);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
        }
    }

    #[test]
    fn what_comes_before_as_chosen_stays_there() {
        let stop = StopAction::builder().scope(StopScope::RuleSet).build().unwrap();
        let rules = |names: &[&str]| -> Vec<_> {
            let stopping = names.iter().map(|name| {
                rule().name(*name).actions(ReceiptAction::builder().stop_action(stop.clone()).build())
            });
            let ours = rule().actions(stores("mail")).actions(invokes("email"));
            stopping.chain([ours]).map(|rule| rule.build().unwrap()).collect()
        };
        let command = "aws ses set-receipt-rule-position --region r --rule-set-name set --rule-name ours";
        let chosen = "Nothing, if you mean it so: ours comes after spam, as AfterRule says";
        for (after, names, found, fix) in [
            (None, &["spam"][..], "spam", command.to_owned()),
            (Some("spam"), &["spam"], "spam", chosen.to_owned()),
            (Some("spam"), &["first", "spam"], "spam", chosen.to_owned()),
            (Some("spam"), &["spam", "late"], "late", format!("{command} --after spam")),
            (Some("gone"), &["spam"], "spam", command.to_owned()),
        ] {
            let expected = Expected { after, ..expected() };
            let finding = judge_rule(&expected, &rules(names));
            let told = format!("{found} comes before ours and may end the set for some mail");
            assert_eq!(
                (finding.state, finding.found, finding.fix),
                (State::Warning, told, Some(fix)),
                "{after:?} {names:?}"
            );
        }
    }
}
