//! Each domain: where its mail is led, and whether what is sent from it is believed.

use aws_sdk_sesv2::{
    operation::get_email_identity::GetEmailIdentityOutput,
    types::{BehaviorOnMxFailure, DkimStatus, MailFromDomainStatus},
};

use super::{Finding, dns::Dns, known};
use crate::{
    activate,
    clients::Clients,
    deployed::Deployed,
    identity::{self, DkimName, and_above},
};

pub(super) const MX: &str = "MX record";
pub(super) const IDENTITY: &str = "sending identity";
pub(super) const DKIM: &str = "DKIM";
pub(super) const MAIL_FROM: &str = "SPF and MAIL FROM";
pub(super) const DMARC: &str = "DMARC";

/// Whether each domain's MX records lead to SES in this region.
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-mx-record.html>
pub(super) async fn mx(
    deployed: &Deployed,
    active: Result<&Option<String>, &String>,
    dns: Result<&Dns, &String>,
) -> anyhow::Result<Vec<Finding>> {
    let first = what_comes_first(deployed, active);
    let mut findings = Vec::new();
    for domain in deployed.domains()? {
        let made = async {
            let hosts = known(dns)?.mx(domain).await?;
            anyhow::Ok(judge_mx(domain, &deployed.region, &hosts, first.as_deref()))
        };
        findings.push(super::check(MX, made).await);
    }
    Ok(findings)
}

/// What is to be done before mail comes; `None` if the stack's rule set is known to be active. Until then SES refuses
/// mail, and whoever sent it does not try again.
fn what_comes_first(deployed: &Deployed, active: Result<&Option<String>, &String>) -> Option<String> {
    let rule_set = deployed.rule_set().ok();
    if rule_set.is_some() && active.is_ok_and(|active| active.as_deref() == rule_set) {
        return None;
    }
    Some(if deployed.is_guest() {
        format!("First have {} made active, by whoever runs it", activate::named(rule_set))
    } else {
        format!("First make the stack's rule set active ({})", activate::command(deployed))
    })
}

fn judge_mx(domain: &str, region: &str, hosts: &[(u16, String)], first: Option<&str>) -> Finding {
    let wanted = format!("inbound-smtp.{region}.amazonaws.com");
    let have = first.map_or_else(|| "Have".to_owned(), |first| format!("{first}, then have"));
    let fix = format!("{have} this as the only MX record: {domain}. MX 10 {wanted}.");
    let names = hosts.iter().map(|(_, host)| host.as_str()).collect::<Vec<_>>().join(", ");
    match hosts {
        [] => Finding::wrong(MX, format!("{domain} has none"), fix),
        hosts if hosts.iter().all(|(_, host)| *host == wanted) => {
            Finding::ok(MX, format!("{domain} leads to {wanted}"))
        }
        hosts if hosts.iter().any(|(_, host)| *host == wanted) => Finding::warning(
            MX,
            format!("{domain} leads elsewhere too, so some mail may go there: {names}"),
            fix,
        ),
        _ => Finding::wrong(MX, format!("{domain} leads to {names}"), fix),
    }
}

/// Whether each domain is verified, signs, and is believed.
pub(super) async fn sending(
    clients: &Clients,
    deployed: &Deployed,
    dns: Result<&Dns, &String>,
) -> Vec<Finding> {
    let domains = match deployed.domains() {
        Ok(domains) => domains,
        Err(error) => return vec![Finding::unknown(IDENTITY, &error)],
    };
    let mut findings = Vec::new();
    for domain in domains {
        match identity::covering(clients, domain).await {
            Ok(Some((name, identity))) => {
                findings.push(judge_identity(&deployed.region, &name, &identity));
                findings.push(super::check(DKIM, dkim(&deployed.region, &name, &identity, dns)).await);
                findings
                    .push(super::check(MAIL_FROM, mail_from(&deployed.region, &name, &identity, dns)).await);
                findings.push(super::check(DMARC, dmarc(domain, &name, dns)).await);
            }
            Ok(None) => {
                let fix = format!(
                    "aws sesv2 create-email-identity --region {} --email-identity {domain}, then put the DKIM records \
                     it answers with into the DNS",
                    deployed.region
                );
                findings.push(Finding::wrong(
                    IDENTITY,
                    format!("{domain} is no identity of this account and region"),
                    fix,
                ));
                findings.push(super::check(DMARC, dmarc(domain, domain, dns)).await);
            }
            Err(error) => findings.push(Finding::unknown(IDENTITY, &error)),
        }
    }
    findings
}

fn judge_identity(region: &str, name: &str, identity: &GetEmailIdentityOutput) -> Finding {
    if identity.verified_for_sending_status() {
        return Finding::ok(IDENTITY, format!("{name} is verified"));
    }
    let fix = format!(
        "Put its DKIM records into the DNS: aws sesv2 get-email-identity --region {region} --email-identity {name}"
    );
    Finding::wrong(IDENTITY, format!("{name} is not verified yet"), fix)
}

/// Whether what is sent is signed, and receivers find the key.
async fn dkim(
    region: &str,
    name: &str,
    identity: &GetEmailIdentityOutput,
    dns: Result<&Dns, &String>,
) -> anyhow::Result<Finding> {
    let Some(dkim) = identity.dkim_attributes() else {
        anyhow::bail!("SES does not tell the DKIM state of {name}");
    };
    if !dkim.signing_enabled() {
        let fix = format!(
            "aws sesv2 put-email-identity-dkim-attributes --region {region} --email-identity {name} --signing-enabled"
        );
        return Ok(Finding::wrong(DKIM, format!("mail of {name} goes out unsigned"), fix));
    }
    let names = identity::dkim_names(name, dkim);
    let records = || {
        let records = names.iter().map(|DkimName { name, alias }| match alias {
            Some(alias) => format!("{name}. CNAME {alias}."),
            None => format!("{name}. TXT \"p=PUBLIC_KEY\""),
        });
        format!("Have these records in the DNS: {}", records.collect::<Vec<_>>().join(" "))
    };
    if let Some(status) = dkim.status().filter(|status| **status != DkimStatus::Success) {
        return Ok(Finding::wrong(
            DKIM,
            format!("SES has not found the records of {name}: {status}"),
            records(),
        ));
    }
    let mut missing = Vec::new();
    for DkimName { name, alias } in &names {
        let is_there = match alias {
            Some(alias) => {
                known(dns)?.cname(name).await?.is_some_and(|found| found.eq_ignore_ascii_case(alias))
            }
            None => known(dns)?.txt(name).await?.iter().any(|text| has_key(text)),
        };
        if !is_there {
            missing.push(name.as_str());
        }
    }
    Ok(if missing.is_empty() {
        Finding::ok(DKIM, format!("mail is signed by {name}"))
    } else {
        Finding::warning(DKIM, format!("the DNS does not lead to the key: {}", missing.join(", ")), records())
    })
}

/// Whether a TXT record has a key. RFC 6376 section 3.6.1: of the tags only `p` is required, and an empty one revokes.
fn has_key(text: &str) -> bool {
    let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
    tags.any(|(name, value)| name.trim() == "p" && !value.trim().is_empty())
}

/// Whether the envelope's domain, if it is one of yours, is set up. Without one, SES's own passes SPF, and
/// DMARC rests on DKIM.
/// <https://docs.aws.amazon.com/ses/latest/dg/mail-from.html>
async fn mail_from(
    region: &str,
    name: &str,
    identity: &GetEmailIdentityOutput,
    dns: Result<&Dns, &String>,
) -> anyhow::Result<Finding> {
    let attributes = identity.mail_from_attributes();
    let Some(attributes) = attributes.filter(|attributes| !attributes.mail_from_domain().is_empty()) else {
        let found =
            format!("{name} has no MAIL FROM domain: SPF passes for amazonses.com, and DMARC rests on DKIM");
        return Ok(Finding::ok(MAIL_FROM, found));
    };
    let domain = attributes.mail_from_domain();
    let exchange = format!("feedback-smtp.{region}.amazonses.com");
    let fix = format!(
        "Have these records in the DNS: {domain}. MX 10 {exchange}. {domain}. TXT \"v=spf1 include:amazonses.com ~all\""
    );
    let status = attributes.mail_from_domain_status();
    if *status != MailFromDomainStatus::Success {
        let found = format!("SES has not found the records of {domain}: {status}");
        return Ok(if *attributes.behavior_on_mx_failure() == BehaviorOnMxFailure::RejectMessage {
            Finding::wrong(MAIL_FROM, found + ", and refuses to send", fix)
        } else {
            Finding::warning(MAIL_FROM, found, fix)
        });
    }
    let dns = known(dns)?;
    if !dns.mx(domain).await?.iter().any(|(_, host)| *host == exchange) {
        return Ok(Finding::warning(MAIL_FROM, format!("{domain} has no MX record for {exchange}"), fix));
    }
    let spf = dns.txt(domain).await?;
    let spf: Vec<_> = spf.iter().filter(|text| text.starts_with("v=spf1")).collect();
    Ok(match spf.as_slice() {
        [one] if one.contains("include:amazonses.com") => {
            Finding::ok(MAIL_FROM, format!("{domain} is set up"))
        }
        [_] => Finding::warning(
            MAIL_FROM,
            format!("the SPF record of {domain} does not include amazonses.com"),
            fix,
        ),
        [] => Finding::warning(MAIL_FROM, format!("{domain} has no SPF record"), fix),
        _ => Finding::warning(MAIL_FROM, format!("{domain} has more than one SPF record, which fails"), fix),
    })
}

/// What the domain asks receivers to do with mail that fails, and whether its own can pass. RFC 7489.
async fn dmarc(domain: &str, signer: &str, dns: Result<&Dns, &String>) -> anyhow::Result<Finding> {
    let dns = known(dns)?;
    for name in and_above(domain) {
        let records = dns.txt(&format!("_dmarc.{name}")).await?;
        let records: Vec<_> = records.iter().filter(|text| text.starts_with("v=DMARC1")).collect();
        if let Some(record) = records.first() {
            return Ok(judge_dmarc(domain, signer, name, record, records.len()));
        }
    }
    let fix = format!("Have one in the DNS, to begin with: _dmarc.{domain}. TXT \"v=DMARC1; p=none\"");
    let found = format!("{domain} has no record: some receivers refuse or suspect such mail");
    Ok(Finding::warning(DMARC, found, fix))
}

fn judge_dmarc(domain: &str, signer: &str, name: &str, record: &str, count: usize) -> Finding {
    let tag = |wanted: &str| {
        record.split(';').find_map(|part| {
            let (tag, value) = part.split_once('=')?;
            tag.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if count > 1 {
        let fix = format!("Keep one of the TXT records of _dmarc.{name}");
        return Finding::warning(DMARC, format!("_dmarc.{name} has {count} records, so none counts"), fix);
    }
    let Some(policy) = tag("p") else {
        let fix = format!("Give it one: _dmarc.{name}. TXT \"v=DMARC1; p=none\"");
        return Finding::warning(DMARC, format!("_dmarc.{name} has no policy"), fix);
    };
    if tag("adkim").as_deref() == Some("s") && signer != domain {
        let fix = format!("Verify {domain} itself, or take adkim=s out of _dmarc.{name}");
        let found = format!("mail is signed by {signer}, but adkim=s wants {domain} itself");
        return if policy == "none" {
            Finding::warning(DMARC, found, fix)
        } else {
            Finding::wrong(DMARC, found, fix)
        };
    }
    Finding::ok(DMARC, format!("the policy of {name} is {policy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn mx_records() {
        let ours = "inbound-smtp.eu-west-1.amazonaws.com";
        let cases = [
            (vec![], State::Wrong, "in.example has none"),
            (vec![ours], State::Ok, "in.example leads to inbound-smtp.eu-west-1.amazonaws.com"),
            (
                vec!["mx.example.com", ours],
                State::Warning,
                "in.example leads elsewhere too, so some mail may go there: mx.example.com, \
                 inbound-smtp.eu-west-1.amazonaws.com",
            ),
            (
                vec!["inbound-smtp.us-east-1.amazonaws.com"],
                State::Wrong,
                "in.example leads to inbound-smtp.us-east-1.amazonaws.com",
            ),
        ];
        for (hosts, state, found) in cases {
            let hosts: Vec<_> = hosts.into_iter().map(|host| (10, host.to_owned())).collect();
            let finding = judge_mx("in.example", "eu-west-1", &hosts, None);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
            assert_eq!(finding.fix.is_some(), state != State::Ok);
        }
        for (first, fix) in [
            (None, "Have this as the only MX record: "),
            (Some("First activate"), "First activate, then have this as the only MX record: "),
        ] {
            let finding = judge_mx("in.example", "eu-west-1", &[], first);
            assert_eq!(finding.fix.unwrap(), format!("{fix}in.example. MX 10 {ours}."));
        }
    }

    #[test]
    fn dkim_keys() {
        for (text, expected) in [
            ("p=MIIB", true),
            ("v=DKIM1; k=rsa; p = MIIB==", true),
            ("v=DKIM1; p=", false),
            ("v=spf1 include:amazonses.com ~all", false),
            ("v=DMARC1; sp=none", false),
        ] {
            assert_eq!(has_key(text), expected, "{text}");
        }
    }

    #[test]
    fn dmarc_records() {
        for (record, signer, count, state, found) in [
            ("v=DMARC1; p=reject", "in.example", 1, State::Ok, "the policy of in.example is reject"),
            ("v=DMARC1;P=None", "example", 1, State::Ok, "the policy of in.example is none"),
            ("v=DMARC1", "in.example", 1, State::Warning, "_dmarc.in.example has no policy"),
            (
                "v=DMARC1; p=none",
                "in.example",
                2,
                State::Warning,
                "_dmarc.in.example has 2 records, so none counts",
            ),
            (
                "v=DMARC1; p=reject; adkim=s",
                "above.example",
                1,
                State::Wrong,
                "mail is signed by above.example, but adkim=s wants in.example itself",
            ),
            (
                "v=DMARC1; p=none; adkim=s",
                "above.example",
                1,
                State::Warning,
                "mail is signed by above.example, but adkim=s wants in.example itself",
            ),
        ] {
            let finding = judge_dmarc("in.example", signer, "in.example", record, count);
            assert_eq!((finding.state, finding.found.as_str()), (state, found), "{record}");
        }
    }
}
