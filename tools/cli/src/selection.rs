//! Which messages are to be tried again, and what each is tried with.

use std::collections::{HashMap, HashSet};

use aws_sdk_s3::types::Object;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ses_forwarder::{
    notification::SETUP_NOTIFICATION,
    outcome::{Outcome, Status},
};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    archive::{self, CONCURRENCY},
    arguments::Selection,
    clients::Clients,
    deployed::Deployed,
    orphan,
};

/// Statuses that are tried again unless others are asked for.
const UNDELIVERED: [&str; 2] = ["failed", "rejected"];

/// How far back what was left lying is looked for unless it is said: as long as a dead letter waits.
const LEFT_SINCE: Duration = Duration::days(14);

/// A message that is to be tried again.
pub(crate) struct Candidate {
    pub(crate) message_id: String,
    /// What is known of it, such as its status so far.
    pub(crate) known: Option<String>,
    pub(crate) event: Event,
}

/// What the function is invoked with.
pub(crate) enum Event {
    /// The notification under this key.
    Archived(String),
    /// An event made anew.
    Rebuilt(Bytes),
}

/// A message that can't be tried again, and why.
pub(crate) struct Passed {
    pub(crate) message_id: String,
    pub(crate) error: String,
}

impl Passed {
    /// One that could not be looked at, which keeps no other from being tried.
    fn skipped(message_id: String, why: &anyhow::Error) -> Passed {
        Passed { message_id, error: format!("skipped: {why:#}") }
    }
}

/// The messages that are meant, oldest first, and those that can't be tried.
pub(crate) async fn candidates(
    clients: &Clients,
    deployed: &Deployed,
    selection: &Selection,
    older_than: std::time::Duration,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Result<Candidate, Passed>>> {
    if selection.stuck || selection.orphans {
        let from = match selection.since {
            Some(since) => now - since,
            None => now - LEFT_SINCE,
        };
        let until = now - older_than;
        let mut found = Vec::new();
        if selection.orphans {
            found.extend(orphans(clients, deployed, from, until).await?);
        }
        if selection.stuck {
            found.extend(stuck(clients, deployed, from, until).await?);
        }
        return Ok(found);
    }
    match selection.since {
        Some(since) => by_outcome(clients, deployed, &selection.status, now - since, now).await,
        None => by_id(clients, deployed, &selection.ids, now).await,
    }
}

async fn by_id(
    clients: &Clients,
    deployed: &Deployed,
    ids: &[String],
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Result<Candidate, Passed>>> {
    let mut found = Vec::new();
    for id in ids {
        let message_id = id.clone();
        found.push(match archive::find_index(clients, deployed, id, now).await {
            Ok(Some(index)) => Ok(Candidate { message_id, known: None, event: Event::Archived(index) }),
            Ok(None) => {
                let error = format!("no notification of it in the past {} days", archive::DAYS);
                Err(Passed { message_id, error })
            }
            Err(error) => Err(Passed::skipped(message_id, &error)),
        });
    }
    Ok(found)
}

/// Those with these outcomes. An outcome that can't be read is named and passed over.
async fn by_outcome(
    clients: &Clients,
    deployed: &Deployed,
    statuses: &[String],
    from: OffsetDateTime,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Result<Candidate, Passed>>> {
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let statuses: Vec<&str> = match statuses {
        [] => UNDELIVERED.to_vec(),
        chosen => chosen.iter().map(String::as_str).collect(),
    };
    let mut candidates = Vec::new();
    for day in archive::days_since(from, now) {
        let objects = archive::list(clients, bucket, &archive::folder(&prefixes.outcome, day)).await?;
        let outcomes = stream::iter(objects).map(async |object| {
            let key = object.key.unwrap_or_default();
            let outcome = archive::outcome(clients, bucket, &key).await;
            (key, outcome)
        });
        let outcomes: Vec<_> = outcomes.buffered(CONCURRENCY).collect().await;
        for (key, outcome) in outcomes {
            let outcome = match outcome {
                Ok(Some(outcome)) => outcome,
                Ok(None) => continue,
                Err(error) => {
                    candidates.push(Err(Passed::skipped(archive::id_of(&key).to_owned(), &error)));
                    continue;
                }
            };
            let received = OffsetDateTime::parse(&outcome.timestamp, &Rfc3339);
            if received.is_ok_and(|received| received >= from) && statuses.contains(&outcome.status.word()) {
                let known = Some(outcome.status.word().to_owned());
                let event = Event::Archived(prefixes.index(day, &outcome.message_id));
                candidates.push(Ok(Candidate { message_id: outcome.message_id, known, event }));
            }
        }
    }
    Ok(candidates)
}

/// Those whose notification is archived, and that nobody is at work on or will be: what fetched them was killed, or
/// the queue has lost them.
async fn stuck(
    clients: &Clients,
    deployed: &Deployed,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> anyhow::Result<Vec<Result<Candidate, Passed>>> {
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let mut candidates = Vec::new();
    for day in archive::days_since(from, until) {
        let outcomes = archive::list(clients, bucket, &archive::folder(&prefixes.outcome, day)).await?;
        let outcomes: HashMap<String, Object> = outcomes
            .into_iter()
            .filter_map(|object| Some((archive::id_of(object.key()?).to_owned(), object)))
            .collect();
        let index = archive::list(clients, bucket, &archive::folder(&prefixes.index, day)).await?;
        let index = index.into_iter().filter(|object| within(object, from, until));
        let looked_at = stream::iter(index.filter_map(|object| object.key)).map(async |key| {
            let message_id = archive::id_of(&key).to_owned();
            let known = match outcomes.get(&message_id) {
                None => Some("no outcome"),
                // Whoever wrote it may be at work.
                Some(object) if at(object).is_none_or(|at| at > until) => None,
                Some(object) => {
                    match archive::outcome(clients, bucket, object.key().unwrap_or_default()).await {
                        Ok(outcome) => outcome.as_ref().and_then(|outcome| left_lying(outcome, until)),
                        Err(error) => return Some(Err(Passed::skipped(message_id, &error))),
                    }
                }
            };
            let known = Some(known?.to_owned());
            Some(Ok(Candidate { message_id, known, event: Event::Archived(key) }))
        });
        let looked_at: Vec<_> = looked_at.buffered(CONCURRENCY).collect().await;
        candidates.extend(looked_at.into_iter().flatten());
    }
    Ok(candidates)
}

/// Why nobody will try a message again, though it did not end; `None` if somebody will, it ended, or it was given up,
/// which its operator was told. A claim says only that someone is at work, and says it until that is done. What
/// has failed the queue has tried at least once before it is given up; if it never did, or is late, it does not have
/// the message.
fn left_lying(outcome: &Outcome, until: OffsetDateTime) -> Option<&'static str> {
    match (outcome.status, outcome.next_try) {
        (Status::Sending, _) => Some("claimed, but not finished"),
        (Status::Failed, None) if outcome.tries == 0 => Some("failed, and not tried again"),
        (Status::Failed, Some(next)) if next <= until => Some("failed, and its next try is overdue"),
        (Status::Failed | Status::Dropped | Status::Held | Status::Rejected | Status::Forwarded, _) => None,
    }
}

/// Those that are stored and in no index: nobody was told of them. What is older than the stack is left out: of a
/// forwarder that had the bucket before there is no index either, whatever it has sent.
async fn orphans(
    clients: &Clients,
    deployed: &Deployed,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> anyhow::Result<Vec<Result<Candidate, Passed>>> {
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let arn = deployed.handle_email_arn()?;
    // The day of the notification is SES's, that of the object S3's: they may be next to each other.
    let mut indexed = HashSet::new();
    for day in archive::days_since(from - Duration::DAY, until + Duration::DAY) {
        let index = archive::list(clients, bucket, &archive::folder(&prefixes.index, day)).await?;
        indexed
            .extend(index.iter().filter_map(|object| object.key()).map(|key| archive::id_of(key).to_owned()));
    }
    let mut stored = archive::list(clients, bucket, &prefixes.messages).await?;
    stored.retain(|object| {
        let id = object.key().and_then(|key| key.strip_prefix(&*prefixes.messages)).unwrap_or_default();
        !id.is_empty() && id != SETUP_NOTIFICATION && !indexed.contains(id) && within(object, from, until)
    });
    let created = deployed.created()?;
    let found = stored.len();
    stored.retain(|object| at(object).is_some_and(|at| at >= created));
    if stored.len() < found {
        eprintln!(
            "{} stored messages are left out: they are older than stack {}, and who had the bucket before may have sent \
             them",
            found - stored.len(),
            deployed.stack
        );
    }
    stored.sort_by_key(|object| object.last_modified().map(aws_sdk_s3::primitives::DateTime::as_nanos));
    let rebuilt = stream::iter(stored).map(async |object| {
        let at = at(&object).unwrap_or(until);
        let key = object.key.unwrap_or_default();
        let message_id = key.strip_prefix(&*prefixes.messages).unwrap_or(&key).to_owned();
        let message = match archive::header(clients, bucket, &key).await {
            Ok(Some(message)) => message,
            Ok(None) => {
                let error = format!("skipped: s3://{bucket}/{key} is gone");
                return Err(Passed { message_id, error });
            }
            Err(error) => return Err(Passed::skipped(message_id, &error)),
        };
        match orphan::rebuild(&message_id, &message, at, arn) {
            Ok(orphan::Rebuilt { event, others }) => {
                let mut known = "nobody was told of it".to_owned();
                if !others.is_empty() {
                    known += &format!("; its header names {} too", others.join(", "));
                }
                let event = Event::Rebuilt(event.to_string().into());
                Ok(Candidate { message_id, known: Some(known), event })
            }
            Err(why) => Err(Passed { message_id, error: format!("skipped: {why}") }),
        }
    });
    Ok(rebuilt.buffered(CONCURRENCY).collect().await)
}

fn within(object: &Object, from: OffsetDateTime, until: OffsetDateTime) -> bool {
    at(object).is_some_and(|at| from <= at && at <= until)
}

fn at(object: &Object) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(object.last_modified()?.secs()).ok()
}

#[cfg(test)]
mod tests {
    use ses_forwarder::notification::Notification;

    use super::*;

    #[test]
    fn what_nobody_will_try_is_told_from_what_ended_or_waits() {
        let until = OffsetDateTime::UNIX_EPOCH + Duration::DAY;
        let (before, after) = (until - Duration::MINUTE, until + Duration::MINUTE);
        for (status, tries, next_try, expected) in [
            (Status::Sending, 0, None, Some("claimed, but not finished")),
            (Status::Sending, 3, None, Some("claimed, but not finished")),
            (Status::Failed, 0, None, Some("failed, and not tried again")),
            (Status::Failed, 3, Some(before), Some("failed, and its next try is overdue")),
            (Status::Failed, 0, Some(after), None),
            // Given up.
            (Status::Failed, 3, None, None),
            (Status::Rejected, 0, None, None),
            (Status::Dropped, 0, None, None),
            (Status::Held, 0, None, None),
            (Status::Forwarded, 0, None, None),
        ] {
            let mut outcome = Outcome::new(&Notification::default(), before, "r", status);
            (outcome.tries, outcome.next_try) = (tries, next_try);
            assert_eq!(left_lying(&outcome, until), expected, "{status:?} {tries} {next_try:?}");
        }
    }
}
