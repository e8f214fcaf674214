//! The DNS records that the domains need, in the form that takes them: a table to copy from, a zone file, a
//! change for Route 53, Terraform.
//!
//! What the DNS has is not looked at; [`doctor`](crate::doctor) does that. No form replaces a record that is
//! there: mail may still come by it.

use std::fmt::{self, Write};

use anyhow::Context;
use aws_sdk_sesv2::{operation::get_email_identity::GetEmailIdentityOutput, types::MailFromAttributes};
use serde::Serialize;
use serde_json::json;
use ses_forwarder::domains::Domains;

use crate::{
    arguments::{DnsQuestion, Format},
    clients::Clients,
    deployed::Deployed,
    identity::{self, DkimName},
    print,
};

/// For how long a resolver may keep a record, in seconds: short, as it may have to be mended.
const TTL: u32 = 300;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its full name, without a dot at the end.
    pub name: String,
    /// `MX`, `CNAME` or `TXT`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it says; text is without its quotes.
    pub value: String,
    /// What it is for.
    pub purpose: &'static str,
}

/// The records, and what is missing to tell all of them.
#[derive(Debug, Serialize)]
pub struct Records {
    /// In the order of the domains; last those that bring mail.
    pub records: Vec<Record>,
    /// Domains that are no identity yet, so that SES has no DKIM records for them.
    pub missing: Vec<String>,
    #[serde(skip)]
    region: String,
    #[serde(skip)]
    format: Format,
}

/// Prints the records; `false` if some can't be told yet.
pub async fn run(question: &DnsQuestion, json: bool) -> anyhow::Result<bool> {
    let clients = Clients::new(&question.access).await;
    let domains = domains(&clients, question).await?;
    let mut answer = Records {
        records: Vec::new(),
        missing: Vec::new(),
        region: clients.region(),
        format: question.format,
    };
    let mut inbound = Vec::new();
    for domain in domains.iter() {
        inbound.push(brings_mail(domain, &answer.region));
        let identity = identity::covering(&clients, domain).await?;
        match &identity {
            None => answer.missing.push(domain.to_owned()),
            Some((name, identity)) => {
                for key in dkim_names(name, identity).iter().filter(|key| key.alias.is_none()) {
                    eprintln!(
                        "{name} is signed with a key of yours, which is to be in the TXT record of {}",
                        key.name
                    );
                }
            }
        }
        for record in records_of(domain, &answer.region, identity.as_ref()) {
            if !answer.records.contains(&record) {
                answer.records.push(record);
            }
        }
    }
    if !question.without_mx {
        answer.records.extend(inbound);
    }
    for domain in &answer.missing {
        eprintln!(
            "{domain} is no identity of SES yet, so its DKIM records are not known; make it one, then ask again: \
             aws sesv2 create-email-identity --region {} --email-identity {domain}",
            answer.region
        );
    }
    print(&answer, json);
    Ok(answer.missing.is_empty())
}

/// Those of the stack, or those that are given.
async fn domains(clients: &Clients, question: &DnsQuestion) -> anyhow::Result<Domains> {
    let list = match &question.stack {
        Some(stack) => Deployed::read(clients, stack).await?.domains()?.join(","),
        None => question.email_domain.clone().unwrap_or_default(),
    };
    Domains::parse(&list).with_context(|| format!("{list:?} is no list of domains such as in.example"))
}

/// The record that brings a domain's mail to SES, which refuses it as long as no active rule takes it.
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-mx-record.html>
fn brings_mail(domain: &str, region: &str) -> Record {
    Record {
        name: domain.to_owned(),
        kind: "MX",
        value: format!("10 inbound-smtp.{region}.amazonaws.com"),
        purpose: "brings the domain's mail to SES; enter it once the stack is active",
    }
}

/// What a domain needs besides. DKIM's records and those of a MAIL FROM domain are SES's to say, by the identity that
/// covers the domain.
/// <https://docs.aws.amazon.com/ses/latest/dg/mail-from.html>
fn records_of(
    domain: &str,
    region: &str,
    identity: Option<&(String, GetEmailIdentityOutput)>,
) -> Vec<Record> {
    let record = |name: String, kind, value: String, purpose| Record { name, kind, value, purpose };
    let mut records = Vec::new();
    if let Some((name, identity)) = identity {
        // A key of the operator's is in the DNS by a record that only they know.
        records.extend(dkim_names(name, identity).into_iter().filter_map(|DkimName { name, alias }| {
            Some(record(name, "CNAME", alias?, "verifies the domain, and DKIM's key"))
        }));
        let sender = identity.mail_from_attributes().map(MailFromAttributes::mail_from_domain);
        if let Some(sender) = sender.filter(|sender| !sender.is_empty()) {
            let feedback = format!("10 feedback-smtp.{region}.amazonses.com");
            records.push(record(sender.to_owned(), "MX", feedback, "bounces to the MAIL FROM domain"));
            let spf = "v=spf1 include:amazonses.com ~all".to_owned();
            records.push(record(sender.to_owned(), "TXT", spf, "SPF of the MAIL FROM domain"));
        }
    }
    let policy = "v=DMARC1; p=none".to_owned();
    records.push(record(format!("_dmarc.{domain}"), "TXT", policy, "DMARC; keep the one you have, if any"));
    records
}

/// The names of an identity's DKIM keys.
fn dkim_names(name: &str, identity: &GetEmailIdentityOutput) -> Vec<DkimName> {
    identity.dkim_attributes().map(|dkim| identity::dkim_names(name, dkim)).unwrap_or_default()
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self.format {
            Format::Table => table(&self.records),
            Format::Zone => zone(&self.records),
            Format::Route53 => route53(&self.records),
            Format::Terraform => terraform(&self.records),
        })
    }
}

fn table(records: &[Record]) -> String {
    let widest = |column: fn(&Record) -> &str| records.iter().map(|record| column(record).len()).max();
    let (names, values) = (widest(|record| &record.name), widest(|record| &record.value));
    let (names, values) = (names.unwrap_or(0), values.unwrap_or(0));
    records.iter().fold(String::new(), |mut text, Record { name, kind, value, purpose }| {
        _ = writeln!(text, "{kind:<5}  {name:<names$}  {value:<values$}  {purpose}");
        text
    })
}

/// RFC 1035, section 5.1: names end with a dot, text is quoted.
fn zone(records: &[Record]) -> String {
    records.iter().fold(String::new(), |mut text, Record { name, kind, value, purpose }| {
        let value = if *kind == "TXT" { format!("\"{value}\"") } else { format!("{value}.") };
        _ = writeln!(text, "{name}. {TTL} IN {kind} {value} ; {purpose}");
        text
    })
}

/// `CREATE` and not `UPSERT`: a record that is there is an error, and stays.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html>
fn route53(records: &[Record]) -> String {
    let change = |Record { name, kind, value, .. }: &Record| {
        let value = if *kind == "TXT" { format!("\"{value}\"") } else { value.clone() };
        json!({
            "Action": "CREATE",
            "ResourceRecordSet": {"Name": name, "Type": kind, "TTL": TTL, "ResourceRecords": [{"Value": value}]},
        })
    };
    let batch = json!({"Changes": records.iter().map(change).collect::<Vec<_>>()});
    format!("{batch:#}\n")
}

/// <https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/route53_record>
fn terraform(records: &[Record]) -> String {
    let mut text = "variable \"zone_id\" {}\n".to_owned();
    for Record { name, kind, value, .. } in records {
        let label = format!("{}_{name}", kind.to_ascii_lowercase());
        let label: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        _ = write!(
            text,
            "\nresource \"aws_route53_record\" \"{label}\" {{\n  zone_id = var.zone_id\n  name    = \"{name}\"\n  \
             type    = \"{kind}\"\n  ttl     = {TTL}\n  records = [\"{value}\"]\n}}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_sesv2::types::DkimAttributes;

    use super::*;

    fn identity() -> (String, GetEmailIdentityOutput) {
        let dkim = DkimAttributes::builder().tokens("abc").build();
        let sender = MailFromAttributes::builder()
            .mail_from_domain("bounce.in.example")
            .mail_from_domain_status("SUCCESS".into())
            .behavior_on_mx_failure("USE_DEFAULT_VALUE".into())
            .build()
            .unwrap();
        let output = GetEmailIdentityOutput::builder().dkim_attributes(dkim).mail_from_attributes(sender);
        ("in.example".to_owned(), output.build())
    }

    #[test]
    fn a_key_of_the_operator_s_is_no_alias_of_one_of_ses_s() {
        let dkim = DkimAttributes::builder().tokens("mine").signing_attributes_origin("EXTERNAL".into());
        let identity = GetEmailIdentityOutput::builder().dkim_attributes(dkim.build()).build();
        let records = records_of("in.example", "eu-west-1", Some(&("in.example".to_owned(), identity)));
        assert_eq!(records, records_of("in.example", "eu-west-1", None));
    }

    #[test]
    fn what_a_domain_needs() {
        let records = records_of("mail.in.example", "eu-west-1", Some(&identity()));
        let told: Vec<_> =
            records.iter().map(|record| (&*record.name, record.kind, &*record.value)).collect();
        assert_eq!(
            told,
            [
                ("abc._domainkey.in.example", "CNAME", "abc.dkim.amazonses.com"),
                ("bounce.in.example", "MX", "10 feedback-smtp.eu-west-1.amazonses.com"),
                ("bounce.in.example", "TXT", "v=spf1 include:amazonses.com ~all"),
                ("_dmarc.mail.in.example", "TXT", "v=DMARC1; p=none"),
            ]
        );
        assert_eq!(records_of("in.example", "eu-west-1", None).len(), 1);
        let Record { name, kind, value, .. } = brings_mail("in.example", "eu-west-1");
        assert_eq!((&*name, kind, &*value), ("in.example", "MX", "10 inbound-smtp.eu-west-1.amazonaws.com"));
    }

    #[test]
    fn each_form() {
        let record = |name: &str, kind, value: &str| Record {
            name: name.to_owned(),
            kind,
            value: value.to_owned(),
            purpose: "why",
        };
        let records = [
            record("in.example", "MX", "10 mx.example"),
            record("_dmarc.in.example", "TXT", "v=DMARC1; p=none"),
        ];
        assert_eq!(
            table(&records),
            "MX     in.example         10 mx.example     why\n\
             TXT    _dmarc.in.example  v=DMARC1; p=none  why\n"
        );
        assert_eq!(
            zone(&records),
            "in.example. 300 IN MX 10 mx.example. ; why\n\
             _dmarc.in.example. 300 IN TXT \"v=DMARC1; p=none\" ; why\n"
        );
        let batch: serde_json::Value = serde_json::from_str(&route53(&records)).unwrap();
        assert_eq!(
            batch["Changes"][1],
            json!({
                "Action": "CREATE",
                "ResourceRecordSet": {
                    "Name": "_dmarc.in.example",
                    "Type": "TXT",
                    "TTL": 300,
                    "ResourceRecords": [{"Value": "\"v=DMARC1; p=none\""}],
                },
            })
        );
        assert_eq!(
            terraform(&records[..1]),
            "variable \"zone_id\" {}\n\nresource \"aws_route53_record\" \"mx_in_example\" {\n  \
             zone_id = var.zone_id\n  name    = \"in.example\"\n  type    = \"MX\"\n  ttl     = 300\n  \
             records = [\"10 mx.example\"]\n}\n"
        );
    }
}
