//! What is wrong with a stack, each with its fix.
//!
//! Every check is on its own: one that can't be made (no permission, no answer, an output that is not
//! there) is reported as such and keeps no other from being made. What could not be told is never "ok".

mod code;
mod dns;
mod domains;
mod feedback;
mod functions;
mod keys;
mod notices;
mod receiving;
mod replies;
mod reputation;
mod routes;
mod sending;
mod stack;

use std::{fmt, net::SocketAddr, process::ExitCode};

use anyhow::{Error, anyhow};
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use serde::Serialize;

use self::dns::Dns;
use crate::{activate, clients::Clients, deployed::Deployed};

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
        let fix = "Mend what is wrong above, allow the call for the credentials you use, or try again.";
        Finding { check, state: State::Unknown, found: format!("{error:#}"), fix: Some(fix.to_owned()) }
    }
}

/// What was found of a stack, as printed.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The stack.
    pub stack: String,
    /// Its region.
    pub region: String,
    /// Whether nothing is wrong and everything could be told.
    pub ok: bool,
    /// In the order in which a message would meet what they look at.
    pub findings: Vec<Finding>,
}

/// What to do about what a deployment makes. SAM compares templates, so what was changed by hand is no change to it.
fn deploy(deployed: &Deployed) -> String {
    format!(
        "Deploy the stack again: {}. If SAM finds no changes, it was changed by hand: {BY_HAND}",
        deploy_command(deployed)
    )
}

/// Where the document says how that is taken back.
const BY_HAND: &str = "docs/commands.md, What was changed by hand";

/// Without its name and the region SAM takes what `samconfig.toml` says, and updates another stack. With a file of
/// answers it would take them, whichever stack they are of; without one each parameter stays as it is.
fn deploy_command(deployed: &Deployed) -> String {
    format!("sam build && sam deploy --stack-name {} --region {}", deployed.stack, deployed.region)
}

/// Makes all checks.
pub async fn examine(clients: &Clients, deployed: &Deployed, nameserver: Option<SocketAddr>) -> Vec<Finding> {
    let dns = Dns::new(nameserver);
    let dns = dns.as_ref();
    // SES is asked once: it takes a call of this kind a second.
    let active = activate::active(clients).await.map_err(|error| format!("{error:#}"));
    let active = active.as_ref();
    let before = tokio::join!(
        async { stack::state(deployed) },
        async { stack::outputs(deployed) },
        async { stack::settings(deployed) },
        check(stack::OTHERS, stack::others(clients, deployed, active)),
        checks(domains::MX, domains::mx(deployed, active, dns)),
        check(receiving::ACTIVE, async { receiving::active(deployed, active) }),
        check(receiving::RULE, receiving::rule(clients, deployed)),
        check(receiving::BUCKET, receiving::bucket(clients, deployed)),
        check(receiving::BUCKET_POLICY, receiving::bucket_policy(clients, deployed)),
        check(keys::BUCKET, keys::bucket(clients, deployed)),
        check(receiving::PERMISSION, receiving::permission(clients, deployed)),
        check(functions::HANDLE_EMAIL, functions::handle_email(clients, deployed)),
        check(routes::ROUTES, routes::routes(clients, deployed)),
    );
    let after = tokio::join!(
        domains::sending(clients, deployed, dns),
        sending::account(clients, deployed.parameter(sending::QUOTA_PARAMETER)),
        check(reputation::REPUTATION, reputation::reputation(clients, deployed)),
        check(sending::CONFIGURATION_SET, sending::configuration_set(clients, deployed)),
        check(feedback::FEEDBACK, feedback::feedback(clients, deployed)),
        check(sending::TENANT, sending::tenant(clients, deployed)),
        check(sending::SUPPRESSION, sending::suppression(clients, deployed)),
        check(functions::HANDLE_DEAD_LETTER, functions::handle_dead_letter(clients, deployed)),
        check(code::CODE, code::code(clients, deployed)),
        check(notices::ADDRESS, notices::address(deployed)),
        check(notices::TOPIC, notices::topic(clients, deployed)),
        check(keys::TOPIC, keys::topic(clients, deployed)),
        check(notices::ALARMS, notices::alarms(clients, deployed)),
        check(notices::QUEUE, notices::queue(clients, deployed)),
        check(replies::KEYS, replies::reply_keys(clients, deployed)),
        check(replies::OWNER, replies::owner(deployed, dns)),
    );
    let mut findings = vec![before.0, before.1, before.2, before.3];
    findings.extend(before.4);
    findings.extend([before.5, before.6, before.7, before.8, before.9, before.10, before.11, before.12]);
    findings.extend(after.0);
    findings.extend(after.1);
    findings.extend([after.2, after.3, after.4, after.5, after.6, after.7, after.8, after.9]);
    findings.extend([after.10, after.11, after.12, after.13, after.14, after.15]);
    findings
}

/// What several checks need, or why it is not known.
fn known<'a, T>(found: Result<&'a T, &String>) -> anyhow::Result<&'a T> {
    found.map_err(|error| anyhow!("{error}"))
}

/// A check's finding, or that it could not be made.
async fn check(name: &'static str, made: impl Future<Output = anyhow::Result<Finding>>) -> Finding {
    made.await.unwrap_or_else(|error| Finding::unknown(name, &error))
}

/// The same for a check that finds several things.
async fn checks(
    name: &'static str,
    made: impl Future<Output = anyhow::Result<Vec<Finding>>>,
) -> Vec<Finding> {
    made.await.unwrap_or_else(|error| vec![Finding::unknown(name, &error)])
}

/// Examines a stack and prints what it finds: 0 if all is well, 1 if something is wrong, 2 if nothing is
/// but something could not be told.
pub async fn run(
    clients: &Clients,
    stack: &str,
    nameserver: Option<SocketAddr>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (stack, findings) = match Deployed::read(clients, stack).await {
        Ok(deployed) => {
            let findings = examine(clients, &deployed, nameserver).await;
            (deployed.stack, findings)
        }
        Err(error) => {
            let mut findings = vec![unreadable(clients, stack, &error)];
            findings.extend(stack::name(stack));
            findings.extend(sending::account(clients, None).await);
            (stack.to_owned(), findings)
        }
    };
    let report = Report { stack, region: clients.region(), ok: exit_code(&findings) == 0, findings };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(exit_code(&report.findings)))
}

/// A stack that can't be described: it is not there, or can't be asked for.
fn unreadable(clients: &Clients, stack: &str, error: &Error) -> Finding {
    let code = error.downcast_ref::<aws_sdk_cloudformation::error::SdkError<
        aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksError,
    >>();
    if code.and_then(ProvideErrorMetadata::code) == Some("ValidationError") {
        let region = clients.region();
        let fix = format!(
            "Give its name and region: aws cloudformation list-stacks --region {region} --stack-status-filter \
             CREATE_COMPLETE UPDATE_COMPLETE"
        );
        return Finding::wrong(stack::STACK, format!("there is no stack {stack} in {region}"), fix);
    }
    Finding::unknown(stack::STACK, error)
}

fn exit_code(findings: &[Finding]) -> u8 {
    let any = |state| findings.iter().any(|finding| finding.state == state);
    if any(State::Wrong) {
        1
    } else if any(State::Unknown) {
        2
    } else {
        0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, state, found, fix } in &self.findings {
            let sign = match state {
                State::Ok => "ok     ",
                State::Warning => "warning",
                State::Wrong => "WRONG  ",
                State::Unknown => "unknown",
            };
            writeln!(f, "{sign}  {check}: {found}")?;
            if let Some(fix) = fix {
                writeln!(f, "         -> {fix}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_fix_below_what_is_wrong() {
        let findings = vec![
            Finding::ok("stack", "it is there"),
            Finding::wrong("MX record", "there is none", "Add one."),
            Finding::unknown("account", &anyhow::anyhow!("denied").context("SES does not tell")),
        ];
        assert_eq!(exit_code(&findings), 1);
        assert_eq!(exit_code(&findings[..1]), 0);
        assert_eq!(exit_code(&[findings[0].clone(), findings[2].clone()]), 2);
        let report = Report { stack: String::new(), region: String::new(), ok: false, findings };
        assert_eq!(
            report.to_string(),
            "ok       stack: it is there
WRONG    MX record: there is none
         -> Add one.
unknown  account: SES does not tell: denied
         -> Mend what is wrong above, allow the call for the credentials you use, or try again.
"
        );
    }
}
