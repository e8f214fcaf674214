//! Sending: the account, its plan and quotas, and the addresses that SES does not send to.

use std::collections::BTreeSet;

use anyhow::Context;
use aws_sdk_sesv2::{
    operation::{
        get_account::GetAccountOutput, get_configuration_set::GetConfigurationSetError,
        get_tenant::GetTenantError,
    },
    types::{PricingPlan, SendingStatus},
};
use ses_forwarder::{address::Address, routes::Routes};

use super::{Finding, deploy};
use crate::{
    archive,
    clients::Clients,
    deployed::{Deployed, NOTICE_ADDRESS},
};

pub(super) const ACCOUNT: &str = "SES account";
pub(super) const RATE: &str = "sending quota";
pub(super) const PLAN: &str = "SES pricing plan";
pub(super) const CONFIGURATION_SET: &str = "configuration set";
pub(super) const TENANT: &str = "SES tenant";
pub(super) const SUPPRESSION: &str = "suppression list";

/// From how much of the daily quota on to warn.
const QUOTA_WARNING: f64 = 0.8;

/// The parameter that says how many messages a day an alarm takes for the quota; 0 for no alarm.
pub(super) const QUOTA_PARAMETER: &str = "SendingQuota";

/// What SES says of the account: whether it may send, how much, and at which price; and whether the quota is
/// what an alarm was deployed for.
pub(super) async fn account(clients: &Clients, watched: Option<&str>) -> Vec<Finding> {
    let watched = watched.and_then(|quota| quota.parse().ok()).filter(|quota| *quota > 0.0);
    match clients.sesv2.get_account().send().await.context("SES does not tell of the account") {
        Ok(account) => {
            let quota = judge_quota(&account, watched);
            let region = clients.region();
            vec![judge_account(&region, &account), quota, judge_plan(&region, &account)]
        }
        Err(error) => [ACCOUNT, RATE, PLAN].map(|check| Finding::unknown(check, &error)).to_vec(),
    }
}

fn judge_account(region: &str, account: &GetAccountOutput) -> Finding {
    let enforcement = account.enforcement_status().unwrap_or("HEALTHY");
    if enforcement == "SHUTDOWN" {
        return Finding::wrong(
            ACCOUNT,
            "AWS has shut down sending",
            "Answer the case in the AWS Support Center; only AWS can lift it.",
        );
    }
    if !account.sending_enabled() {
        return Finding::wrong(
            ACCOUNT,
            "sending is paused",
            format!(
                "Find out why, then: aws sesv2 put-account-sending-attributes --region {region} --sending-enabled"
            ),
        );
    }
    if !account.production_access_enabled() {
        return Finding::wrong(
            ACCOUNT,
            "it is in the sandbox: SES sends to verified addresses only",
            "Request production access: SES console, Account dashboard.",
        );
    }
    if enforcement != "HEALTHY" {
        return Finding::warning(
            ACCOUNT,
            format!("AWS's enforcement status is {enforcement}"),
            "Look at bounces and complaints: SES console, Reputation metrics.",
        );
    }
    Finding::ok(ACCOUNT, "it may send to anyone")
}

/// How many messages a day and a second.
fn judge_quota(account: &GetAccountOutput, watched: Option<f64>) -> Finding {
    let Some(quota) = account.send_quota() else {
        return Finding::unknown(RATE, &anyhow::anyhow!("SES does not tell the sending quota"));
    };
    let (sent, most, rate) = (quota.sent_last24_hours(), quota.max24_hour_send(), quota.max_send_rate());
    let fix = "Request a higher sending quota: Service Quotas console, Amazon SES.";
    // SES has -1 for no limit.
    let a_second = if rate < 0.0 { "any number".to_owned() } else { rate.to_string() };
    let another = watched.filter(|quota| *quota != most);
    if let Some(quota) = another.filter(|_| most < 0.0 || sent < most * QUOTA_WARNING) {
        let (is, wanted) = if most < 0.0 { ("none".to_owned(), 0.0) } else { (most.to_string(), most) };
        Finding::warning(
            RATE,
            format!("its alarm takes {quota} messages in 24 hours for the quota, but it is {is}"),
            format!("Deploy with {QUOTA_PARAMETER}={wanted}"),
        )
    } else if most < 0.0 {
        Finding::ok(RATE, format!("{sent} messages sent in 24 hours, of any number; {a_second} a second"))
    } else if sent >= most {
        Finding::wrong(RATE, format!("all {most} messages that it may send in 24 hours are sent"), fix)
    } else if sent >= most * QUOTA_WARNING {
        Finding::warning(RATE, format!("{sent} of {most} messages sent in 24 hours"), fix)
    } else {
        Finding::ok(RATE, format!("{sent} of {most} messages sent in 24 hours; {a_second} a second"))
    }
}

/// The plan decides what a message costs. <https://aws.amazon.com/ses/pricing/>
fn judge_plan(region: &str, account: &GetAccountOutput) -> Finding {
    let Some(plan) = account.pricing_attributes().and_then(|pricing| pricing.current_plan()) else {
        return Finding::unknown(PLAN, &anyhow::anyhow!("SES does not tell the plan"));
    };
    match plan {
        PricingPlan::None => Finding::ok(PLAN, "none: each message is paid for, 0.10 USD per 1,000"),
        PricingPlan::Essentials => Finding::warning(
            PLAN,
            "Essentials: 0.16 USD per 1,000 sent, where 0.10 would do for forwarding",
            format!("aws sesv2 put-account-pricing-attributes --region {region} --plan NONE"),
        ),
        plan => Finding::warning(
            PLAN,
            format!("{plan}: forwarding needs nothing of what it adds"),
            format!(
                "If nothing else here does: aws sesv2 put-account-pricing-attributes --region {region} --plan NONE"
            ),
        ),
    }
}

/// Whether the configuration set that is sent with is there, and sends.
pub(super) async fn configuration_set(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let Some(name) = &deployed.settings()?.configuration_set else {
        return Ok(Finding::ok(CONFIGURATION_SET, "none is used"));
    };
    match clients.sesv2.get_configuration_set().configuration_set_name(name).send().await {
        Ok(set) if set.sending_options().is_some_and(|options| !options.sending_enabled()) => {
            let fix = format!(
                "aws sesv2 put-configuration-set-sending-options --region {} --configuration-set-name {name} \
                 --sending-enabled",
                deployed.region
            );
            Ok(Finding::wrong(CONFIGURATION_SET, format!("sending with {name} is paused"), fix))
        }
        Ok(_) => Ok(Finding::ok(CONFIGURATION_SET, format!("{name} is there"))),
        Err(error)
            if error.as_service_error().is_some_and(GetConfigurationSetError::is_not_found_exception) =>
        {
            let fix = format!(
                "aws sesv2 create-configuration-set --region {} --configuration-set-name {name}; or {}",
                deployed.region,
                deploy(deployed)
            );
            Ok(Finding::wrong(CONFIGURATION_SET, format!("there is no {name}, so SES refuses to send"), fix))
        }
        Err(error) => Err(error).with_context(|| format!("SES does not tell of configuration set {name}")),
    }
}

/// Whether the tenant that mail is sent for may send, and with all that is sent with.
/// <https://docs.aws.amazon.com/ses/latest/dg/tenants.html>
pub(super) async fn tenant(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let settings = deployed.settings()?;
    let Some(name) = &settings.tenant else { return Ok(Finding::ok(TENANT, "none is used")) };
    let tenant = match clients.sesv2.get_tenant().tenant_name(name).send().await {
        Ok(output) => output.tenant,
        Err(error) if error.as_service_error().is_some_and(GetTenantError::is_not_found_exception) => {
            let found = format!("there is no {name}, so SES refuses to send");
            return Ok(Finding::wrong(TENANT, found, deploy(deployed)));
        }
        Err(error) => return Err(error).with_context(|| format!("SES does not tell of tenant {name}")),
    };
    let tenant = tenant.with_context(|| format!("SES does not tell of tenant {name}"))?;
    if tenant.sending_status() == Some(&SendingStatus::Disabled) {
        return Ok(Finding::wrong(
            TENANT,
            format!("sending for {name} is paused; mail waits"),
            "Look at its bounces and complaints, and reinstate it: SES console, Tenants.",
        ));
    }
    let mut pages = clients.sesv2.list_tenant_resources().tenant_name(name).into_paginator().send();
    let mut associated = BTreeSet::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("SES does not tell what belongs to tenant {name}"))?;
        let arns = page.tenant_resources().iter().filter_map(|resource| resource.resource_arn());
        associated.extend(arns.map(str::to_owned));
    }
    // arn:aws:ses:us-east-1:123456789012:tenant/name/id
    let account = tenant.tenant_arn().and_then(|arn| arn.split_once(":tenant/"));
    let (account, _) = account.with_context(|| format!("tenant {name} has no ARN"))?;
    let identities = settings.common.domains.iter().map(|domain| format!("{account}:identity/{domain}"));
    let set = settings.configuration_set.iter().map(|set| format!("{account}:configuration-set/{set}"));
    let missing = identities.chain(set).find(|arn| !associated.contains(arn));
    Ok(match missing {
        None => Finding::ok(TENANT, format!("{name} may send with all that is used")),
        Some(arn) => Finding::wrong(
            TENANT,
            format!("{arn} does not belong to {name}, so SES refuses what is sent with it"),
            format!(
                "aws sesv2 create-tenant-resource-association --region {} --tenant-name {name} --resource-arn {arn}",
                deployed.region
            ),
        ),
    })
}

/// Whether SES withholds mail from addresses that it is forwarded to.
/// <https://docs.aws.amazon.com/ses/latest/dg/sending-email-suppression-list.html>
pub(super) async fn suppression(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let mut pages = clients.sesv2.list_suppressed_destinations().into_paginator().send();
    let (mut all, mut ours) = (0_usize, Vec::new());
    let notices = deployed.notice_variable(NOTICE_ADDRESS)?;
    let routes = routes(clients, deployed).await?;
    while let Some(page) = pages.next().await {
        let page = page.context("SES does not tell whom it does not send to")?;
        for suppressed in page.suppressed_destination_summaries() {
            all += 1;
            let address = suppressed.email_address();
            if notices.as_ref().is_some_and(|notices| notices.eq_ignore_ascii_case(address)) {
                return Ok(Finding::wrong(
                    SUPPRESSION,
                    format!("notices to {address} are accepted and not delivered"),
                    format!(
                        "Once it takes mail again: aws sesv2 delete-suppressed-destination --region {} --email-address \
                         {address}",
                        deployed.region
                    ),
                ));
            }
            if Address::parse_bare(address).is_ok_and(|address| routes.may_lead_to(&address)) {
                ours.push(address.to_owned());
            }
        }
    }
    Ok(match ours.as_slice() {
        [] => Finding::ok(SUPPRESSION, format!("{all} addresses are on it, none that mail is forwarded to")),
        [first, ..] => Finding::wrong(
            SUPPRESSION,
            format!("mail to {} is accepted and not delivered", ours.join(", ")),
            format!(
                "See why it bounced or complained, and once it takes mail again, for each: ses-forwarder resume --region \
                 {} --stack {} {first}",
                deployed.region, deployed.stack
            ),
        ),
    })
}

/// Where mail may be forwarded to. What a wrong file says is not known, and another check tells that it is wrong.
async fn routes(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Routes> {
    let (settings, bucket) = (deployed.settings()?, deployed.bucket()?);
    let (domains, destination) = (&settings.common.domains, settings.destination_domain.as_deref());
    let file = archive::get(clients, bucket, &settings.routes_key).await?.unwrap_or_default();
    let routes = Routes::parse(&file, domains, destination);
    Ok(routes.unwrap_or_else(|_| Routes::default_for(domains, destination)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use aws_sdk_sesv2::types::{PricingAttributes, SendQuota};

    #[test]
    fn accounts() {
        let healthy = || GetAccountOutput::builder().sending_enabled(true).production_access_enabled(true);
        let cases = [
            (healthy().build(), State::Ok, "it may send to anyone"),
            (healthy().sending_enabled(false).build(), State::Wrong, "sending is paused"),
            (healthy().enforcement_status("SHUTDOWN").build(), State::Wrong, "AWS has shut down sending"),
            (
                healthy().enforcement_status("PROBATION").build(),
                State::Warning,
                "AWS's enforcement status is PROBATION",
            ),
            (
                healthy().production_access_enabled(false).build(),
                State::Wrong,
                "it is in the sandbox: SES sends to verified addresses only",
            ),
        ];
        for (account, state, found) in cases {
            let finding = judge_account("us-east-1", &account);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
        }
    }

    #[test]
    fn quotas() {
        let quota = |most, sent| {
            let quota =
                SendQuota::builder().max24_hour_send(most).sent_last24_hours(sent).max_send_rate(14.0);
            GetAccountOutput::builder().send_quota(quota.build()).build()
        };
        let alarm = |is| format!("its alarm takes 300 messages in 24 hours for the quota, but it is {is}");
        for (account, watched, state, found) in [
            (quota(200.0, 7.0), None, State::Ok, "7 of 200 messages sent in 24 hours; 14 a second"),
            (quota(200.0, 7.0), Some(200.0), State::Ok, "7 of 200 messages sent in 24 hours; 14 a second"),
            (quota(200.0, 7.0), Some(300.0), State::Warning, &alarm("200")),
            (quota(-1.0, 7.0), Some(300.0), State::Warning, &alarm("none")),
            (quota(-1.0, 7.0), None, State::Ok, "7 messages sent in 24 hours, of any number; 14 a second"),
            (quota(200.0, 160.0), Some(300.0), State::Warning, "160 of 200 messages sent in 24 hours"),
            (
                quota(200.0, 200.0),
                None,
                State::Wrong,
                "all 200 messages that it may send in 24 hours are sent",
            ),
            (
                GetAccountOutput::builder().build(),
                None,
                State::Unknown,
                "SES does not tell the sending quota",
            ),
        ] {
            let finding = judge_quota(&account, watched);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
        }
    }

    #[test]
    fn plans() {
        let plan = |plan| {
            let pricing = PricingAttributes::builder().current_plan(plan).build();
            judge_plan("us-east-1", &GetAccountOutput::builder().pricing_attributes(pricing).build()).state
        };
        assert_eq!(plan(PricingPlan::None), State::Ok);
        assert_eq!(plan(PricingPlan::Essentials), State::Warning);
        assert_eq!(plan(PricingPlan::Pro), State::Warning);
        assert_eq!(judge_plan("us-east-1", &GetAccountOutput::builder().build()).state, State::Unknown);
    }
}
