//! What the functions have put into the bucket: objects by key, by day and by message.

use anyhow::{Context, anyhow};
use aws_sdk_s3::{error::ProvideErrorMetadata, types::Object};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::value::RawValue;
use ses_forwarder::{
    keys::Prefixes,
    notification::{Notification, Record, records},
    outcome::Outcome,
};
use time::{Date, OffsetDateTime};

use crate::{clients::Clients, deployed::Deployed};

/// Requests at once: far from S3's limits, and fast enough for a year of days.
pub(crate) const CONCURRENCY: usize = 16;

/// How far back a message is looked for, in days: the longest retention the template offers by default
/// several times over.
pub(crate) const DAYS: usize = 400;

/// How much of a stored message is read for its header, in bytes: SES takes headers of far less.
const HEADER_MAX: u64 = 1 << 20;

/// An object; `None` if there is none.
pub(crate) async fn get(clients: &Clients, bucket: &str, key: &str) -> anyhow::Result<Option<Bytes>> {
    let context = || format!("s3://{bucket}/{key} can't be read");
    match clients.s3.get_object().bucket(bucket).key(key).send().await {
        Ok(object) => Ok(Some(object.body.collect().await.with_context(context)?.into_bytes())),
        Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

/// A notification as it is archived.
#[derive(Debug)]
pub(crate) struct Archived {
    /// SES's words, on one line.
    pub(crate) verbatim: String,
    /// What is read from them.
    pub(crate) notification: Notification,
}

/// The notification under a key.
pub(crate) async fn notification(clients: &Clients, bucket: &str, key: &str) -> anyhow::Result<Archived> {
    let address = format!("s3://{bucket}/{key}");
    let text = get(clients, bucket, key).await?.with_context(|| format!("{address} is gone"))?;
    let event: Box<RawValue> =
        serde_json::from_slice(&text).with_context(|| format!("{address} is no JSON"))?;
    let Some(Record::Received { verbatim, notification }) = records(&event).pop() else {
        anyhow::bail!("{address} holds no notification of a message");
    };
    Ok(Archived { verbatim: verbatim.into_owned(), notification })
}

/// The outcome under a key; `None` if there is none.
pub(crate) async fn outcome(clients: &Clients, bucket: &str, key: &str) -> anyhow::Result<Option<Outcome>> {
    let Some(outcome) = get(clients, bucket, key).await? else { return Ok(None) };
    serde_json::from_slice(&outcome)
        .map(Some)
        .map_err(|error| anyhow!("s3://{bucket}/{key} can't be read: {error}"))
}

/// The key of the outcome of a message whose notification is under `index`.
pub(crate) fn outcome_key(prefixes: &Prefixes, index: &str) -> String {
    format!("{}{}", prefixes.outcome, index.strip_prefix(&*prefixes.index).unwrap_or(index))
}

/// The header of a stored message; `None` if it is not there any more.
pub(crate) async fn header(clients: &Clients, bucket: &str, key: &str) -> anyhow::Result<Option<Bytes>> {
    let context = || format!("s3://{bucket}/{key} can't be read");
    let range = format!("bytes=0-{}", HEADER_MAX - 1);
    match clients.s3.get_object().bucket(bucket).key(key).range(range).send().await {
        Ok(object) => Ok(Some(object.body.collect().await.with_context(context)?.into_bytes())),
        Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

/// When and how large an object was stored; `None` if there is none.
pub(crate) async fn head(
    clients: &Clients,
    bucket: &str,
    key: &str,
) -> anyhow::Result<Option<(i64, Option<OffsetDateTime>)>> {
    match clients.s3.head_object().bucket(bucket).key(key).send().await {
        Ok(head) => {
            let at = head.last_modified().and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok());
            Ok(Some((head.content_length().unwrap_or_default(), at)))
        }
        Err(error)
            if error
                .as_service_error()
                .is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("s3://{bucket}/{key} can't be looked up")),
    }
}

/// The objects under a prefix.
pub(crate) async fn list(clients: &Clients, bucket: &str, prefix: &str) -> anyhow::Result<Vec<Object>> {
    let mut pages = clients.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    let mut objects = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("s3://{bucket}/{prefix} can't be listed"))?;
        objects.extend(page.contents.unwrap_or_default());
    }
    Ok(objects)
}

/// Today and the days before it, newest first.
pub(crate) fn days_back(now: OffsetDateTime) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(now.date()), |day| day.previous_day())
}

/// The days from a time on, oldest first.
pub(crate) fn days_since(from: OffsetDateTime, now: OffsetDateTime) -> Vec<Date> {
    let mut days: Vec<_> = days_back(now).take_while(|day| *day >= from.date()).collect();
    days.reverse();
    days
}

/// `YYYY/MM/DD/`, as index and outcome keys have it behind their prefix.
pub(crate) fn folder(prefix: &str, day: Date) -> String {
    format!("{prefix}{:04}/{:02}/{:02}/", day.year(), u8::from(day.month()), day.day())
}

/// Key of the notification of a message, whose day is not known: looked for from today on backwards.
pub(crate) async fn find_index(
    clients: &Clients,
    deployed: &Deployed,
    message_id: &str,
    now: OffsetDateTime,
) -> anyhow::Result<Option<String>> {
    let (prefixes, bucket) = (deployed.prefixes()?, deployed.bucket()?);
    let candidates = days_back(now).take(DAYS).map(|day| prefixes.index(day, message_id));
    let found = stream::iter(candidates).map(async |key| Ok(head(clients, bucket, &key).await?.map(|_| key)));
    let found = found.buffered(CONCURRENCY).try_filter_map(async |key| Ok(key));
    std::pin::pin!(found).try_next().await
}

/// The messageId in a key such as `index/2026/11/25/ID.json`.
pub(crate) fn id_of(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.strip_suffix(".json").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_back_over_the_turn_of_a_year() {
        let now = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
        let folders: Vec<_> = days_back(now).take(3).map(|day| folder("index/", day)).collect();
        assert_eq!(folders, ["index/2026/01/01/", "index/2025/12/31/", "index/2025/12/30/"]);
    }
}
