//! Messages that were dropped, sent all the same: past a verdict, or past the line for their sender.
//!
//! Each is a synchronous invocation of `handle-email` with the archived notification, beside which stands
//! that the owner asks for it. What is decided on it, how it is claimed and recorded is the function's, so
//! that a message that is released twice, or at once by two people, is sent once.
//!
//! What goes no further: a loop, a bounce, an automatic reply, and what no route leads anywhere.

use std::{collections::BTreeSet, time::SystemTime};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use ses_forwarder::{
    address::Address,
    decision::{Action, Decision, decide},
    delivery::Reason,
    header::{self, HeaderFacts},
    notification::{Notification, Verdict},
    outcome::Status,
    routes::Routes,
    settings::EmailSettings,
};
use time::{Duration, OffsetDateTime};

use crate::{
    archive::{self, Archived, CONCURRENCY},
    arguments::Released,
    clients::Clients,
    deployed::Deployed,
    find::is_address,
    replay::{self, INVOCATIONS},
    routes,
};

/// How far back a sender's messages are looked for unless it is said.
const SENDER_SINCE: Duration = Duration::days(7);

/// How to release.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Even what a virus was found in.
    pub virus: bool,
    /// Only to tell.
    pub dry_run: bool,
    /// JSON, a line a message.
    pub json: bool,
}

/// What came of a message, as printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    message_id: String,
    /// `forwarded`, `forwarded already`, or `would release` in a dry run.
    result: Option<String>,
    error: Option<String>,
    /// The line under `[senders]` that would have let it through; absent if none would.
    line: Option<String>,
}

/// A message that may be released.
struct Candidate {
    archived: Archived,
    reason: Option<Reason>,
}

/// Releases messages; `false` if one was not.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    wanted: &Released,
    how: How,
) -> anyhow::Result<bool> {
    let now = OffsetDateTime::from(SystemTime::now());
    let keys = match &wanted.sender {
        Some(sender) => of_sender(clients, deployed, sender, wanted.since, now).await?,
        None => {
            let mut keys = Vec::new();
            for id in &wanted.ids {
                keys.push((id.clone(), archive::find_index(clients, deployed, id, now).await?));
            }
            keys
        }
    };
    // What a line for senders would do can only be told by the lines there are.
    let routes = routes::of_stack(clients, deployed).await;
    if let Err(error) = &routes {
        eprintln!("which line would have let it through can't be told: {error:#}");
    }
    let routes = routes.ok();
    let lines = stream::iter(keys).map(async |(message_id, key)| {
        let result = match key {
            Some(key) => release(clients, deployed, &key, routes.as_ref(), how).await,
            None => Err(anyhow::anyhow!("no notification of it in the past {} days", archive::DAYS)),
        };
        match result {
            Ok((result, line)) => Line { message_id, result: Some(result), error: None, line },
            Err(error) => Line { message_id, result: None, error: Some(format!("{error:#}")), line: None },
        }
    });
    let mut lines = std::pin::pin!(lines.buffered(INVOCATIONS));
    let (mut done, mut failed, mut advice) = (0_usize, 0_usize, BTreeSet::new());
    while let Some(one) = lines.next().await {
        done += 1;
        failed += usize::from(one.error.is_some());
        println!("{}", if how.json { serde_json::to_string(&one)? } else { one.text() });
        advice.extend(one.line);
    }
    if !how.json {
        println!("{done} messages, {failed} failed");
        if !advice.is_empty() {
            println!("what would have let them through, in {}:\n[senders]", routes::address(deployed)?);
            advice.iter().for_each(|line| println!("{line}"));
        }
    }
    Ok(failed == 0)
}

impl Line {
    fn text(&self) -> String {
        let Line { message_id, result, error, .. } = self;
        match (result, error) {
            (_, Some(error)) => format!("{message_id}  failed: {error}"),
            (result, None) => format!("{message_id}  {}", result.as_deref().unwrap_or("done")),
        }
    }
}

/// The notifications of what was dropped from a sender, oldest first.
async fn of_sender(
    clients: &Clients,
    deployed: &Deployed,
    sender: &str,
    since: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let since = since.unwrap_or(now - SENDER_SINCE);
    let mut found = Vec::new();
    for day in archive::days_since(since, now) {
        let objects = archive::list(clients, bucket, &archive::folder(&prefixes.index, day)).await?;
        let of_day = stream::iter(objects).map(async |object| {
            let key = object.key.unwrap_or_default();
            let Archived { notification, .. } = archive::notification(clients, bucket, &key).await?;
            let Notification { source, from, timestamp, .. } = &notification;
            let is_it = source.iter().chain(from).any(|one| is_address(one, sender))
                && timestamp.is_none_or(|at| at >= since);
            if !is_it {
                return anyhow::Ok(None);
            }
            let outcome = archive::outcome(clients, bucket, &archive::outcome_key(prefixes, &key)).await?;
            let released = outcome.and_then(|outcome| outcome.releasable());
            Ok(released.map(|_| (*timestamp, notification.message_id.clone(), key)))
        });
        let mut dropped = Vec::new();
        for one in of_day.buffered(CONCURRENCY).collect::<Vec<_>>().await {
            match one {
                Ok(one) => dropped.extend(one),
                Err(error) => eprintln!("skipped: {error:#}"),
            }
        }
        dropped.sort();
        found.extend(dropped.into_iter().map(|(_, id, key)| (id, Some(key))));
    }
    Ok(found)
}

/// Releases the message whose notification is under `index`: what came of it, and the line that would have let
/// it through.
async fn release(
    clients: &Clients,
    deployed: &Deployed,
    index: &str,
    routes: Option<&Routes>,
    how: How,
) -> anyhow::Result<(String, Option<String>)> {
    let (bucket, settings) = (deployed.bucket()?, deployed.settings()?);
    let archived = archive::notification(clients, bucket, index).await?;
    let outcome_key = archive::outcome_key(deployed.prefixes()?, index);
    let outcome = archive::outcome(clients, bucket, &outcome_key).await?;
    let outcome = outcome.context("it has no outcome, so it was not dropped: see replay --stuck")?;
    let reason = outcome.releasable();
    match (outcome.status, reason) {
        (Status::Forwarded, None) => return Ok(("forwarded already".to_owned(), None)),
        (Status::Dropped, None) => anyhow::bail!(
            "it was dropped as {}; what can be released was dropped by a verdict or a line for its sender",
            outcome.reason.as_deref().unwrap_or("nothing said why")
        ),
        // A release that failed before is tried again.
        _ => {}
    }
    let candidate = Candidate { archived, reason };
    candidate.check_virus(settings, how.virus)?;
    let line = candidate.line(clients, deployed, routes).await?;
    if how.dry_run {
        let reason = reason.map_or_else(|| outcome.status.word(), Reason::word);
        return Ok((format!("would release ({reason})"), line));
    }
    let answer = replay::invoke(clients, deployed, candidate.event(how.virus).into()).await?;
    if answer == Status::Dropped.word() {
        let outcome = archive::outcome(clients, bucket, &outcome_key).await?;
        let reason = outcome.and_then(|outcome| outcome.reason);
        anyhow::bail!("it is dropped all the same: {}", reason.as_deref().unwrap_or("nothing says why"));
    }
    Ok((answer, line))
}

impl Candidate {
    /// The event that SES sent, and that the owner asks for the message.
    fn event(&self, virus: bool) -> String {
        let ses = &self.archived.verbatim;
        format!(
            r#"{{"release":true,"virus":{virus},"Records":[{{"eventSource":"aws:ses","eventVersion":"1.0","ses":{ses}}}]}}"#
        )
    }

    fn check_virus(&self, settings: &EmailSettings, allowed: bool) -> anyhow::Result<()> {
        let found = self.archived.notification.virus == Verdict::Fail;
        let drops = settings.policy.virus == Action::Drop || self.reason == Some(Reason::Virus);
        anyhow::ensure!(
            !found || !drops || allowed,
            "SES found a virus in it. To have it sent all the same, marked [VIRUS], add --virus"
        );
        Ok(())
    }

    /// The line for senders that would have let it through, by what is stored of it. None would let past a verdict
    /// whom DMARC, SPF or DKIM do not vouch for.
    async fn line(
        &self,
        clients: &Clients,
        deployed: &Deployed,
        routes: Option<&Routes>,
    ) -> anyhow::Result<Option<String>> {
        let Some(routes) = routes else { return Ok(None) };
        let (bucket, settings, notification) =
            (deployed.bucket()?, deployed.settings()?, &self.archived.notification);
        let key = deployed.prefixes()?.message(&notification.message_id);
        let Some(stored) = archive::header(clients, bucket, &key).await? else { return Ok(None) };
        let facts = HeaderFacts::of(&header::split(&stored)).for_stack(settings.stack.as_deref());
        let passes = |routes: &Routes| {
            let decision = decide(notification, &facts, &settings.policy, routes, &settings.common.domains);
            match decision {
                Decision::Drop { .. } => false,
                Decision::Forward { left_out, .. } => {
                    !left_out.iter().any(|one| one.reason.may_be_released())
                }
            }
        };
        if passes(routes) {
            return Ok(None);
        }
        let envelope = notification.source.as_deref().and_then(|source| Address::parse_bare(source).ok());
        let senders = facts.author.iter().chain(&envelope);
        let sender = senders.into_iter().find(|sender| passes(&routes.letting_past(sender)));
        Ok(sender.map(|sender| format!("{} = \"forward\"", Value::from(sender.to_string()))))
    }
}

#[cfg(test)]
mod tests {
    use ses_forwarder::notification::{Record, records};

    use super::*;

    #[test]
    fn an_event_holds_the_notification_as_it_is_archived() {
        let verbatim = r#"{"mail":{"messageId":"m1"},"receipt":{"recipients":["a@in.example"]}}"#;
        let archived = Archived { verbatim: verbatim.to_owned(), notification: Notification::default() };
        let candidate = Candidate { archived, reason: Some(Reason::Spam) };
        for virus in [false, true] {
            let event: Box<serde_json::value::RawValue> =
                serde_json::from_str(&candidate.event(virus)).unwrap();
            let records = records(&event);
            let [Record::Received { verbatim: read, .. }] = records.as_slice() else { panic!("one message") };
            assert_eq!(read, verbatim);
            let event: Value = serde_json::from_str(event.get()).unwrap();
            assert_eq!((&event["release"], &event["virus"]), (&Value::Bool(true), &Value::Bool(virus)));
        }
    }
}
