//! Sending: the identity that mail is sent from, and the account.

use anyhow::Context;
use aws_sdk_sesv2::operation::get_account::GetAccountOutput;

use super::Finding;
use crate::{clients::Clients, deployed::Deployed};

pub(super) const IDENTITY: &str = "sending identity";
pub(super) const ACCOUNT: &str = "SES account";

/// Whether the domain, or one above it, is verified for sending.
/// <https://docs.aws.amazon.com/ses/latest/dg/creating-identities.html>
pub(super) async fn identity(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let domain = deployed.settings.common.email_domain.as_str();
    let above = std::iter::successors(Some(domain), |domain| domain.split_once('.').map(|(_, above)| above));
    for identity in above.filter(|identity| identity.contains('.')) {
        match clients.sesv2.get_email_identity().email_identity(identity).send().await {
            Ok(output) if output.verified_for_sending_status() => {
                return Ok(Finding::ok(IDENTITY, format!("{identity} is verified")));
            }
            Ok(_) => {
                let fix = format!(
                    "Put its DKIM records into the DNS: aws sesv2 get-email-identity --region {} --email-identity \
                     {identity}",
                    deployed.region
                );
                return Ok(Finding::wrong(IDENTITY, format!("{identity} is not verified yet"), fix));
            }
            Err(error) if error.as_service_error().is_some_and(aws_sdk_sesv2::operation::get_email_identity::GetEmailIdentityError::is_not_found_exception) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("SES does not tell of identity {identity}"));
            }
        }
    }
    let fix = format!(
        "aws sesv2 create-email-identity --region {} --email-identity {domain}, then put the DKIM records it \
         answers with into the DNS",
        deployed.region
    );
    Ok(Finding::wrong(IDENTITY, format!("{domain} is no identity of this account and region"), fix))
}

/// Whether the account may send, and to whom.
pub(super) async fn account(clients: &Clients) -> anyhow::Result<Finding> {
    let account = clients.sesv2.get_account().send().await.context("SES does not tell of the account")?;
    Ok(judge_account(&account))
}

fn judge_account(account: &GetAccountOutput) -> Finding {
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
            "Find out why, then: aws sesv2 put-account-sending-attributes --sending-enabled",
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
    let Some(quota) = account.send_quota() else { return Finding::ok(ACCOUNT, "it may send") };
    let (sent, most) = (quota.sent_last24_hours(), quota.max24_hour_send());
    if most < 0.0 {
        // What SES has for no limit.
        Finding::ok(ACCOUNT, format!("{sent} messages sent in 24 hours, of any number"))
    } else if sent < most {
        Finding::ok(ACCOUNT, format!("{sent} of {most} messages sent in 24 hours"))
    } else {
        Finding::wrong(
            ACCOUNT,
            format!("all {most} messages that it may send in 24 hours are sent"),
            "Wait, or request a higher sending quota: Service Quotas console.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use aws_sdk_sesv2::types::SendQuota;

    #[test]
    fn accounts() {
        let healthy = || GetAccountOutput::builder().sending_enabled(true).production_access_enabled(true);
        let quota = |sent| SendQuota::builder().max24_hour_send(200.0).sent_last24_hours(sent).build();
        let no_limit = SendQuota::builder().max24_hour_send(-1.0).sent_last24_hours(7.0).build();
        let cases = [
            (healthy().build(), State::Ok, "it may send"),
            (healthy().send_quota(quota(7.0)).build(), State::Ok, "7 of 200 messages sent in 24 hours"),
            (healthy().send_quota(no_limit).build(), State::Ok, "7 messages sent in 24 hours, of any number"),
            (
                healthy().send_quota(quota(200.0)).build(),
                State::Wrong,
                "all 200 messages that it may send in 24 hours are sent",
            ),
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
            let finding = judge_account(&account);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
        }
    }
}
