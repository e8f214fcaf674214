//! What is wrong with a stack, each with its fix.
//!
//! Every check is on its own: one that can't be made (no permission, no answer) is reported as such
//! and keeps no other from being made.

mod mail_flow;
mod notices;
mod receiving;
mod sending;

use std::net::SocketAddr;

use anyhow::Error;
use serde::Serialize;
use serde_json::json;

use crate::{clients::Clients, deployed::Deployed};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, in one sentence.
    pub found: String,
    /// What to do about it; a command where one does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, but you should know.
    Warning,
    /// Mail is not forwarded, or failures are not told.
    Wrong,
    /// The check could not be made.
    Unknown,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, state: State::Ok, found: found.into(), fix: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    fn wrong(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Wrong, found: found.into(), fix: Some(fix.into()) }
    }

    fn unknown(check: &'static str, error: &Error) -> Finding {
        let fix = "Allow the call for the credentials you use, or try again.";
        Finding { check, state: State::Unknown, found: format!("{error:#}"), fix: Some(fix.to_owned()) }
    }
}

/// Makes all checks; in the order in which a message would meet what they look at.
pub async fn examine(clients: &Clients, deployed: &Deployed, nameserver: Option<SocketAddr>) -> Vec<Finding> {
    let (stack, mx, active, rule, bucket, permission, identity, account, routes, topic, queue) = tokio::join!(
        async { Ok(stack(deployed)) },
        mail_flow::mx(deployed, nameserver),
        receiving::active(clients, deployed),
        receiving::rule(clients, deployed),
        receiving::bucket_policy(clients, deployed),
        receiving::permission(clients, deployed),
        sending::identity(clients, deployed),
        sending::account(clients),
        mail_flow::routes(clients, deployed),
        notices::topic(clients, deployed),
        notices::queue(clients, deployed),
    );
    let found: [(&'static str, Result<Finding, Error>); 11] = [
        (STACK, stack),
        (mail_flow::MX, mx),
        (receiving::ACTIVE, active),
        (receiving::RULE, rule),
        (receiving::BUCKET, bucket),
        (receiving::PERMISSION, permission),
        (sending::IDENTITY, identity),
        (sending::ACCOUNT, account),
        (mail_flow::ROUTES, routes),
        (notices::TOPIC, topic),
        (notices::QUEUE, queue),
    ];
    found
        .into_iter()
        .map(|(check, found)| found.unwrap_or_else(|error| Finding::unknown(check, &error)))
        .collect()
}

/// Examines a stack and prints what it finds; `false` if something is wrong.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    nameserver: Option<SocketAddr>,
    as_json: bool,
) -> anyhow::Result<bool> {
    let findings = examine(clients, deployed, nameserver).await;
    let well = is_well(&findings);
    if as_json {
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({
                "stack": deployed.stack, "region": deployed.region, "ok": well, "findings": findings,
            }))?
        );
    } else {
        print!("{}", report(&findings));
    }
    Ok(well)
}

/// What could not be checked is not held against a stack: the report shows it.
fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.state != State::Wrong)
}

fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, state, found, fix } in findings {
        let sign = match state {
            State::Ok => "ok     ",
            State::Warning => "warning",
            State::Wrong => "WRONG  ",
            State::Unknown => "unknown",
        };
        text.push_str(&format!("{sign}  {check}: {found}\n"));
        if let Some(fix) = fix {
            text.push_str(&format!("         -> {fix}\n"));
        }
    }
    text
}

const STACK: &str = "stack";

fn stack(deployed: &Deployed) -> Finding {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_fix_below_what_is_wrong() {
        let findings = [
            Finding::ok("stack", "it is there"),
            Finding::wrong("MX record", "there is none", "Add one."),
            Finding::unknown("account", &anyhow::anyhow!("denied").context("SES does not tell")),
        ];
        assert!(!is_well(&findings) && is_well(&findings[..1]) && is_well(&findings[2..]));
        assert_eq!(
            report(&findings),
            "ok       stack: it is there
WRONG    MX record: there is none
         -> Add one.
unknown  account: SES does not tell: denied
         -> Allow the call for the credentials you use, or try again.
"
        );
    }
}
