//! Messages forwarded again, from the notifications in the index or from events made anew.
//!
//! Each is a synchronous invocation of `handle-email`, so that its result is seen here; what is
//! forwarded already is not sent again.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_sdk_lambda::{primitives::Blob, types::InvocationType};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    archive,
    arguments::Selection,
    clients::Clients,
    deployed::{Deployed, outputs},
    selection::{self, Candidate, Event, Passed},
};

/// Invocations at once: a new account runs ten, and mail goes on arriving.
pub(crate) const INVOCATIONS: usize = 4;

/// What came of a message, as printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayed {
    message_id: String,
    /// What the function answered, such as `forwarded`; `would replay` in a dry run.
    result: Option<String>,
    error: Option<String>,
}

/// Replays messages; `false` if one failed. Of what was left lying, what is younger than `older_than` is left out.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    selection: &Selection,
    older_than: Duration,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<bool> {
    let now = OffsetDateTime::from(SystemTime::now());
    let candidates = selection::candidates(clients, deployed, selection, older_than, now).await?;
    let progress = progress(candidates.len());
    let replayed = stream::iter(candidates).map(async |candidate| match candidate {
        Ok(Candidate { message_id, known, .. }) if dry_run => Replayed {
            message_id,
            result: Some(match known {
                Some(known) => format!("would replay ({known})"),
                None => "would replay".to_owned(),
            }),
            error: None,
        },
        Ok(candidate) => replay(clients, deployed, candidate).await,
        Err(Passed { message_id, error }) => Replayed { message_id, result: None, error: Some(error) },
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
    /// What would be done with it.
    pub(crate) fn planned(message_id: String, what: &str) -> Replayed {
        Replayed { message_id, result: Some(what.to_owned()), error: None }
    }

    /// What the function answered.
    pub(crate) fn of(message_id: String, answer: anyhow::Result<String>) -> Replayed {
        match answer {
            Ok(answer) => Replayed { message_id, result: Some(answer), error: None },
            Err(error) => Replayed { message_id, result: None, error: Some(format!("{error:#}")) },
        }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Whether it waits for a destination that refuses mail.
    pub(crate) fn is_held(&self) -> bool {
        self.result.as_deref() == Some("held")
    }

    /// As people read it.
    pub(crate) fn line(&self) -> String {
        let Replayed { message_id, result, error } = self;
        match (result, error) {
            (_, Some(error)) => format!("{message_id}  failed: {error}"),
            (result, None) => format!("{message_id}  {}", result.as_deref().unwrap_or("done")),
        }
    }
}

async fn replay(clients: &Clients, deployed: &Deployed, candidate: Candidate) -> Replayed {
    let invoked = async {
        let payload = match candidate.event {
            Event::Rebuilt(event) => event,
            Event::Archived(index) => {
                let bucket = deployed.bucket()?;
                let notification = archive::get(clients, bucket, &index).await?;
                notification.with_context(|| format!("there is no s3://{bucket}/{index}"))?
            }
        };
        invoke(clients, deployed, payload).await
    };
    Replayed::of(candidate.message_id, invoked.await)
}

/// Invokes `handle-email` with an event; what it answers of each message, such as `forwarded`.
pub(crate) async fn invoke(clients: &Clients, deployed: &Deployed, payload: Bytes) -> anyhow::Result<String> {
    let function = deployed.output(outputs::HANDLE_EMAIL)?;
    let request = clients.lambda.invoke().function_name(function);
    let request = request.invocation_type(InvocationType::RequestResponse).payload(Blob::new(payload));
    let answer = request.send().await.with_context(|| format!("{function} can't be invoked"))?;
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
pub(crate) fn progress(length: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}").expect("the template is well-formed");
    ProgressBar::new(length as u64).with_style(style)
}
