//! All that is known of a message: the stored copy, SES's notification, the outcome, what was sent and what
//! the functions logged.
//!
//! Each is looked for on its own: what can't be read is told and keeps nothing else from being shown.

use std::{fmt, time::SystemTime};

use anyhow::Context;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use serde::Serialize;
use serde_json::Value;
use ses_forwarder::notification::Notification;
use time::{Duration, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::{archive, clients::Clients, deployed::Deployed, print};

/// How much before its notification a message may be in the log: the clocks of services differ.
const CLOCKS_DIFFER: Duration = Duration::minutes(2);

/// Log lines shown at most; a message has a dozen.
const LINES_MAX: usize = 1000;

/// All that is known of a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    message_id: String,
    /// The message as SES stored it.
    stored: Option<Stored>,
    /// What SES said of it.
    notification: Option<Announced>,
    /// The record of what became of it, as it is in the bucket.
    outcome: Option<Value>,
    /// The outgoing message, where SES refused it.
    refused: Option<String>,
    /// What the functions logged, oldest first.
    log: Vec<LogLine>,
    /// What could not be read, and why.
    unknown: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Stored {
    address: String,
    bytes: i64,
    at: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announced {
    address: String,
    pub(crate) timestamp: Option<String>,
    /// Envelope sender; absent for the null one.
    pub(crate) source: Option<String>,
    pub(crate) recipients: Vec<String>,
    pub(crate) from: Vec<String>,
    pub(crate) subject: Option<String>,
    spam: String,
    virus: String,
    spf: String,
    dkim: String,
    dmarc: String,
}

#[derive(Debug, Serialize)]
struct LogLine {
    at: String,
    function: String,
    line: String,
}

/// Traces messages; `false` if nothing at all is known of one, or something could not be read.
pub async fn run(clients: &Clients, deployed: &Deployed, ids: &[String], json: bool) -> anyhow::Result<bool> {
    let now = OffsetDateTime::from(SystemTime::now());
    let mut well = true;
    for id in ids {
        let trace = trace(clients, deployed, id, now).await?;
        well &= trace.unknown.is_empty() && (trace.stored.is_some() || trace.notification.is_some());
        print(&trace, json);
    }
    Ok(well)
}

async fn trace(
    clients: &Clients,
    deployed: &Deployed,
    id: &str,
    now: OffsetDateTime,
) -> anyhow::Result<Trace> {
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let mut trace = Trace {
        message_id: id.to_owned(),
        stored: None,
        notification: None,
        outcome: None,
        refused: None,
        log: Vec::new(),
        unknown: Vec::new(),
    };
    let key = prefixes.message(id);
    let mut since = None;
    match archive::head(clients, bucket, &key).await {
        Ok(Some((bytes, at))) => {
            since = at;
            let at = at.and_then(|at| at.format(&Rfc3339).ok());
            trace.stored = Some(Stored { address: format!("s3://{bucket}/{key}"), bytes, at });
        }
        Ok(None) => {}
        Err(error) => trace.unknown.push(format!("{error:#}")),
    }
    match archive::find_index(clients, deployed, id, now).await {
        Ok(Some(index)) => {
            match notification(clients, bucket, &index).await {
                Ok((announced, timestamp)) => {
                    since = timestamp.or(since);
                    trace.notification = Some(announced);
                }
                Err(error) => trace.unknown.push(format!("{error:#}")),
            }
            let day = index.strip_prefix(&*prefixes.index).unwrap_or_default();
            let outcome = format!("{}{day}", prefixes.outcome);
            match outcome_of(clients, bucket, &outcome).await {
                Ok(outcome) => trace.outcome = outcome,
                Err(error) => trace.unknown.push(format!("{error:#}")),
            }
            let refused = format!("{}{}.eml", prefixes.error, day.trim_end_matches(".json"));
            match archive::head(clients, bucket, &refused).await {
                Ok(found) => trace.refused = found.map(|_| format!("s3://{bucket}/{refused}")),
                Err(error) => trace.unknown.push(format!("{error:#}")),
            }
        }
        Ok(None) => {}
        Err(error) => trace.unknown.push(format!("{error:#}")),
    }
    if let Some(since) = since {
        let requests = trace.outcome.as_ref().and_then(|outcome| outcome["requestId"].as_str());
        let words: Vec<_> = std::iter::once(id).chain(requests).collect();
        for function in [deployed.handle_email(), deployed.handle_dead_letter()] {
            let lines = async { log(clients, function?, &words, since - CLOCKS_DIFFER).await };
            match lines.await {
                Ok(lines) => trace.log.extend(lines),
                Err(error) => trace.unknown.push(format!("{error:#}")),
            }
        }
        trace.log.sort_by(|one, other| one.at.cmp(&other.at));
    }
    Ok(trace)
}

/// The notification under a key, and when the message came.
pub(crate) async fn notification(
    clients: &Clients,
    bucket: &str,
    key: &str,
) -> anyhow::Result<(Announced, Option<OffsetDateTime>)> {
    let address = format!("s3://{bucket}/{key}");
    let archive::Archived { notification, .. } = archive::notification(clients, bucket, key).await?;
    let Notification { timestamp, source, recipients, subject, from, .. } = &notification;
    let announced = Announced {
        address,
        timestamp: timestamp.and_then(|at| at.format(&Rfc3339).ok()),
        source: source.clone(),
        recipients: recipients.clone(),
        from: from.clone(),
        subject: subject.clone(),
        spam: notification.spam.word().to_owned(),
        virus: notification.virus.word().to_owned(),
        spf: notification.spf.word().to_owned(),
        dkim: notification.dkim.word().to_owned(),
        dmarc: notification.dmarc.word().to_owned(),
    };
    Ok((announced, *timestamp))
}

/// An outcome as it is recorded; `None` if there is none.
pub(crate) async fn outcome_of(clients: &Clients, bucket: &str, key: &str) -> anyhow::Result<Option<Value>> {
    let Some(outcome) = archive::get(clients, bucket, key).await? else { return Ok(None) };
    serde_json::from_slice(&outcome).map(Some).with_context(|| format!("s3://{bucket}/{key} can't be read"))
}

/// The lines of a function's log with any of these words.
async fn log(
    clients: &Clients,
    function: &GetFunctionConfigurationOutput,
    words: &[&str],
    since: OffsetDateTime,
) -> anyhow::Result<Vec<LogLine>> {
    let name = function.function_name().unwrap_or_default();
    let group = function.logging_config().and_then(|logging| logging.log_group());
    let group = group.map_or_else(|| format!("/aws/lambda/{name}"), str::to_owned);
    // https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html: any of the terms.
    let pattern = words.iter().map(|word| format!("?\"{word}\"")).collect::<Vec<_>>().join(" ");
    let request = clients.logs.filter_log_events().log_group_name(&group).filter_pattern(pattern);
    let request = request.start_time(since.unix_timestamp() * 1000);
    let mut pages = request.into_paginator().send();
    let mut lines = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("the log {group} can't be read"))?;
        for event in page.events() {
            let at = event.timestamp().unwrap_or_default();
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
            lines.push(LogLine {
                at: at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default(),
                function: name.to_owned(),
                line: event.message().unwrap_or_default().trim_end().to_owned(),
            });
        }
        if lines.len() >= LINES_MAX {
            break;
        }
    }
    lines.truncate(LINES_MAX);
    Ok(lines)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "message {}", self.message_id)?;
        match &self.stored {
            Some(Stored { address, bytes, at }) => {
                writeln!(f, "  stored        {address}, {bytes} bytes, {}", at.as_deref().unwrap_or("?"))?;
            }
            None => writeln!(f, "  stored        not, or not any more")?,
        }
        match &self.notification {
            Some(announced) => writeln!(f, "{announced}")?,
            None => writeln!(f, "  notification  none: see replay --orphans if it is stored")?,
        }
        match &self.outcome {
            Some(outcome) => show_outcome(f, outcome)?,
            None => writeln!(f, "  outcome       none: see replay --stuck if it is older than minutes")?,
        }
        if let Some(refused) = &self.refused {
            writeln!(f, "  refused       {refused}")?;
        }
        for LogLine { at, function, line } in &self.log {
            writeln!(f, "  log           {at} {function}: {line}")?;
        }
        self.unknown.iter().try_for_each(|unknown| writeln!(f, "  unknown       {unknown}"))
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Announced { address, timestamp, source, recipients, subject, .. } = self;
        writeln!(f, "  notification  {address}, {}", timestamp.as_deref().unwrap_or("without a time"))?;
        let (source, recipients) = (source.as_deref().unwrap_or_default(), recipients.join(", "));
        writeln!(f, "                from <{source}> for {recipients}")?;
        if let Some(subject) = subject {
            // A subject is the sender's: nothing in it may steer a terminal.
            writeln!(f, "                subject {subject:?}")?;
        }
        let Announced { spam, virus, spf, dkim, dmarc, .. } = self;
        write!(f, "                spam {spam}, virus {virus}, SPF {spf}, DKIM {dkim}, DMARC {dmarc}")
    }
}

fn show_outcome(f: &mut fmt::Formatter<'_>, outcome: &Value) -> fmt::Result {
    let text = |name: &str| outcome[name].as_str();
    write!(f, "  outcome       {}", text("status").unwrap_or("without a status"))?;
    if let Some(reason) = text("reason") {
        write!(f, ": {reason}")?;
    }
    if let Some(next) = text("nextTry") {
        write!(f, ", tried again at {next}")?;
    }
    writeln!(f)?;
    if let Some(error) = outcome["error"]["message"].as_str() {
        writeln!(f, "                {}: {error}", outcome["error"]["code"].as_str().unwrap_or_default())?;
    }
    let listed = |value: &Value| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(", ")
    };
    for sent in outcome["sent"].as_array().into_iter().flatten() {
        let id = sent["messageId"].as_str().unwrap_or_default();
        let stub = if sent["stub"] == true { ", a stub" } else { "" };
        let alias =
            sent["alias"].as_str().map(|alias| format!(", answered from {alias}")).unwrap_or_default();
        writeln!(f, "  sent          {id} to {}{stub}{alias}", listed(&sent["destinations"]))?;
    }
    for event in outcome["delivery"].as_array().into_iter().flatten() {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        // The code is a destination's: only words and digits are recorded of it.
        let code = event["code"].as_str().map(|code| format!(" ({code})")).unwrap_or_default();
        writeln!(f, "  {:<13} {} at {}{code}", text("event"), text("destination"), text("at"))?;
    }
    for bounce in outcome["refused"].as_array().into_iter().flatten() {
        let id = bounce["messageId"].as_str().unwrap_or_default();
        writeln!(f, "  bounced       {id} to its sender, for {}", listed(&bounce["recipients"]))?;
    }
    if let Some(reason) = text("released") {
        writeln!(f, "  released      by its owner; dropped before: {reason}")?;
    }
    for one in outcome["leftOut"].as_array().into_iter().flatten() {
        let (who, why) = (one["recipient"].as_str(), one["reason"].as_str());
        writeln!(f, "  left out      {}: {}", who.unwrap_or_default(), why.unwrap_or_default())?;
    }
    Ok(())
}

/// A time in UTC, to the second.
pub(crate) fn short(timestamp: OffsetDateTime) -> Option<String> {
    timestamp.to_offset(UtcOffset::UTC).replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}
