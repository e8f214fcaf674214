//! Messages forwarded again, from the notifications in the index.
//!
//! Each is a synchronous invocation of `handle-email`, so that its result is seen here; what is
//! forwarded already is not sent again.

use std::time::SystemTime;

use anyhow::Context;
use aws_sdk_lambda::{primitives::Blob, types::InvocationType};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use ses_forwarder::outcome::Outcome;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    archive::{self, CONCURRENCY},
    arguments::Selection,
    clients::Clients,
    deployed::Deployed,
};

/// Invocations at once: a new account runs ten, and mail goes on arriving.
const INVOCATIONS: usize = 4;

/// Statuses that are tried again unless others are asked for.
const UNDELIVERED: [&str; 2] = ["failed", "rejected"];

/// A message that is to be tried again.
struct Candidate {
    message_id: String,
    /// Key of its notification.
    index: String,
    /// Its outcome so far, if known.
    status: Option<String>,
}

/// What came of it, as printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    message_id: String,
    /// What the function answered, such as `forwarded`; `would replay` in a dry run.
    result: Option<String>,
    error: Option<String>,
}

/// Replays messages; `false` if one failed.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    selection: &Selection,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<bool> {
    let now = OffsetDateTime::from(SystemTime::now());
    let candidates = candidates(clients, deployed, selection, now).await?;
    let progress = progress(candidates.len());
    let replayed = stream::iter(candidates).map(async |candidate| match candidate {
        Ok(candidate) if dry_run => Replayed {
            message_id: candidate.message_id,
            result: Some(match candidate.status {
                Some(status) => format!("would replay ({status})"),
                None => "would replay".to_owned(),
            }),
            error: None,
        },
        Ok(candidate) => replay(clients, deployed, candidate).await,
        Err(missing) => missing,
    });
    let mut replayed = std::pin::pin!(replayed.buffered(INVOCATIONS));
    let (mut done, mut failed) = (0_usize, 0_usize);
    while let Some(one) = replayed.next().await {
        done += 1;
        failed += usize::from(one.error.is_some());
        let line = if json { serde_json::to_string(&one)? } else { one.line() };
        progress.suspend(|| println!("{line}"));
        progress.inc(1);
    }
    progress.finish_and_clear();
    if !json {
        println!("{done} messages, {failed} failed");
    }
    Ok(failed == 0)
}

impl Replayed {
    fn line(&self) -> String {
        let Replayed { message_id, result, error } = self;
        match (result, error) {
            (_, Some(error)) => format!("{message_id}  failed: {error}"),
            (result, None) => format!("{message_id}  {}", result.as_deref().unwrap_or("done")),
        }
    }
}

/// The messages that are meant, oldest first; an id that is not found comes as its failure.
async fn candidates(
    clients: &Clients,
    deployed: &Deployed,
    selection: &Selection,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Result<Candidate, Replayed>>> {
    let Some(since) = selection.since else {
        let mut found = Vec::new();
        for id in &selection.ids {
            found.push(match archive::find_index(clients, deployed, id, now).await? {
                Some(index) => Ok(Candidate { message_id: id.clone(), index, status: None }),
                None => Err(Replayed {
                    message_id: id.clone(),
                    result: None,
                    error: Some(format!("no notification of it in the past {} days", archive::DAYS)),
                }),
            });
        }
        return Ok(found);
    };
    let statuses: Vec<&str> = match selection.status.as_slice() {
        [] => UNDELIVERED.to_vec(),
        chosen => chosen.iter().map(String::as_str).collect(),
    };
    let from = now - since;
    let mut days: Vec<_> = archive::days_back(now).take_while(|day| *day >= from.date()).collect();
    days.reverse();
    let mut candidates = Vec::new();
    for day in days {
        let prefix = archive::folder(&deployed.settings.common.prefixes.outcome, day);
        let objects = archive::list(clients, deployed.bucket(), &prefix).await?;
        let outcomes = stream::iter(objects).map(async |object| {
            let Some(key) = object.key else { return Ok(None) };
            archive::get(clients, deployed.bucket(), &key).await
        });
        let outcomes: Vec<_> = outcomes.buffered(CONCURRENCY).try_collect().await?;
        for outcome in outcomes.into_iter().flatten() {
            let outcome: Outcome = serde_json::from_slice(&outcome).context("an outcome can't be read")?;
            let received = OffsetDateTime::parse(&outcome.timestamp, &Rfc3339);
            if received.is_ok_and(|received| received >= from) && statuses.contains(&outcome.status.word()) {
                let index = deployed.settings.common.prefixes.index(day, &outcome.message_id);
                let status = Some(outcome.status.word().to_owned());
                candidates.push(Ok(Candidate { message_id: outcome.message_id, index, status }));
            }
        }
    }
    Ok(candidates)
}

async fn replay(clients: &Clients, deployed: &Deployed, candidate: Candidate) -> Replayed {
    let (result, error) = match invoke(clients, deployed, &candidate.index).await {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Replayed { message_id: candidate.message_id, result, error }
}

async fn invoke(clients: &Clients, deployed: &Deployed, index: &str) -> anyhow::Result<String> {
    let notification = archive::get(clients, deployed.bucket(), index).await?;
    let notification =
        notification.with_context(|| format!("there is no s3://{}/{index}", deployed.bucket()))?;
    let request = clients.lambda.invoke().function_name(&deployed.handle_email);
    let request = request.invocation_type(InvocationType::RequestResponse).payload(Blob::new(notification));
    let answer =
        request.send().await.with_context(|| format!("{} can't be invoked", deployed.handle_email))?;
    let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
    let payload: Value = serde_json::from_slice(payload).context("the function's answer is no JSON")?;
    if answer.function_error().is_some() {
        let told = payload["errorMessage"].as_str().unwrap_or("the function failed without a word");
        anyhow::bail!("{told}");
    }
    let outcomes = payload["outcomes"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(outcomes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
}

/// On standard error, and only where that is a terminal.
fn progress(length: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}").expect("the template is well-formed");
    ProgressBar::new(length as u64).with_style(style)
}
