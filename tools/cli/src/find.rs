//! Messages found by what their notifications say.

use std::{fmt, time::SystemTime};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    archive::{self, CONCURRENCY},
    arguments::Wanted,
    clients::Clients,
    deployed::Deployed,
    print,
    trace::{self, Announced},
};

/// A message, as printed: one line each.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    message_id: String,
    timestamp: Option<String>,
    /// Its outcome's word; absent without an outcome.
    status: Option<String>,
    reason: Option<String>,
    source: Option<String>,
    recipients: Vec<String>,
    subject: Option<String>,
}

/// Finds messages; `false` if there is none.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    wanted: &Wanted,
    json: bool,
) -> anyhow::Result<bool> {
    let now = OffsetDateTime::from(SystemTime::now());
    let from = OffsetDateTime::from(
        SystemTime::now().checked_sub(wanted.since).context("--since is further back than time goes")?,
    );
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let (mut count, mut unread) = (0, 0);
    for day in archive::days_since(from, now).into_iter().rev() {
        let objects = archive::list(clients, bucket, &archive::folder(&prefixes.index, day)).await?;
        let read = stream::iter(objects).map(async |object| {
            let key = object.key.unwrap_or_default();
            let read = trace::notification(clients, bucket, &key).await;
            (key, read)
        });
        let mut of_day = Vec::new();
        for (key, read) in read.buffered(CONCURRENCY).collect::<Vec<_>>().await {
            match read {
                Ok((announced, at)) if at.is_none_or(|at| at >= from) && matches(wanted, &announced) => {
                    of_day.push((key, announced, at));
                }
                Ok(_) => {}
                Err(error) => {
                    unread += 1;
                    eprintln!("skipped: {error:#}");
                }
            }
        }
        of_day.sort_by_key(|(_, _, at)| std::cmp::Reverse(*at));
        for (key, announced, at) in of_day {
            let rest = key.strip_prefix(&*prefixes.index).unwrap_or_default();
            let outcome = trace::outcome_of(clients, bucket, &format!("{}{rest}", prefixes.outcome)).await;
            let outcome = outcome.unwrap_or_else(|error| {
                unread += 1;
                eprintln!("skipped: {error:#}");
                None
            });
            let text =
                |name: &str| outcome.as_ref().and_then(|outcome| outcome[name].as_str().map(str::to_owned));
            let status = text("status");
            if wanted.status.as_deref().is_some_and(|wanted| status.as_deref().unwrap_or("none") != wanted) {
                continue;
            }
            let Announced { source, recipients, subject, .. } = announced;
            let found = Found {
                message_id: archive::id_of(&key).to_owned(),
                timestamp: at.and_then(trace::short),
                status,
                reason: text("reason"),
                source,
                recipients,
                subject,
            };
            print(&found, json);
            count += 1;
            if count >= wanted.limit {
                return Ok(unread == 0);
            }
        }
    }
    if count == 0 && !json {
        println!("no such message");
    }
    Ok(count > 0 && unread == 0)
}

fn matches(wanted: &Wanted, announced: &Announced) -> bool {
    let recipient = wanted.recipient.as_deref();
    let sender = wanted.sender.as_deref();
    let senders = || announced.source.iter().chain(&announced.from);
    recipient.is_none_or(|wanted| announced.recipients.iter().any(|one| is_address(one, wanted)))
        && sender.is_none_or(|wanted| senders().any(|one| is_address(one, wanted)))
        && wanted.subject.as_deref().is_none_or(|wanted| {
            let subject = announced.subject.as_deref().unwrap_or_default();
            subject.to_lowercase().contains(&wanted.to_lowercase())
        })
}

/// Whether an address, or the one in `Name <address>`, is the one wanted, or at the domain wanted.
pub(crate) fn is_address(found: &str, wanted: &str) -> bool {
    let bare = found.rsplit_once('<').map_or(found, |(_, rest)| rest.trim_end_matches('>')).trim();
    match wanted.strip_prefix('@') {
        Some(domain) => bare.rsplit_once('@').is_some_and(|(_, at)| at.eq_ignore_ascii_case(domain)),
        None => bare.eq_ignore_ascii_case(wanted),
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { message_id, timestamp, status, reason, source, recipients, subject } = self;
        let status = status.as_deref().unwrap_or("no outcome");
        let timestamp = timestamp.as_deref().unwrap_or("without a time");
        write!(f, "{timestamp}  {message_id}  {status}")?;
        if let Some(reason) = reason {
            write!(f, ": {reason}")?;
        }
        write!(f, "  from <{}> for {}", source.as_deref().unwrap_or_default(), recipients.join(", "))?;
        if let Some(subject) = subject {
            // A subject is the sender's: nothing in it may steer a terminal.
            write!(f, "  {subject:?}")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_compare_in_any_case_and_by_domain() {
        for (found, wanted, expected) in [
            ("Info@in.example", "info@IN.example", true),
            ("Ann Bär <ann@else.example>", "ann@else.example", true),
            ("info@in.example", "@in.example", true),
            ("info@in.example", "in.example", false),
            ("info@sub.in.example", "@in.example", false),
            ("", "@in.example", false),
        ] {
            assert_eq!(is_address(found, wanted), expected, "{found} {wanted}");
        }
    }
}
