//! The digest: once a day or a week, what did not reach its reader, each line with the command that sends it.
//!
//! A schedule of the template invokes the function with EventBridge's own event; its time ends the period. Then
//!
//! 1. the outcomes that were written in the period are looked up, page by page, with so many requests at once.
//!    That takes its share of the time there is; what is not looked at by then is counted, and the digest says so.
//! 2. [`gathered`] keeps the newest of each kind, and counts the others.
//! 3. Of those that are shown, the notifications are read, for who wrote what.
//! 4. A mark under `error/notices/digest/`, written only if there is none, keeps a period from being told twice.
//! 5. [`wording`] says it. It goes out by mail, or, where there is no address or mail fails, by SNS.
//!
//! If there is nothing to tell, nothing is sent and nothing written. A digest makes no other: it bears the mark
//! of a notice, and one that comes back is a loop, which is counted and no reason to send one.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-rule-schedule.html>

pub mod gathered;
pub mod wording;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ses_forwarder::{
    keys::Prefixes,
    notification::{Notification, Record as Received, records},
    outcome::Outcome,
};
use ses_forwarder_aws::{
    bucket::{Bucket, Listed},
    call::Deadline,
};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;

use self::gathered::{Entry, Gathered};
use crate::{
    batch::Run,
    record::{Record, Unknown},
};

/// Requests at once: more than the processor of the smallest function can make.
const CONCURRENCY: usize = 16;

/// How much longer than it is tried a message may still change: the last wait, and a destination's time to bounce.
const AFTERWARDS: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// How long one that has taken a digest on keeps others from it, should it not end.
const CLAIM: Duration = Duration::from_secs(15 * 60);

/// How often a digest is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// `daily`.
    Daily,
    /// `weekly`.
    Weekly,
}

impl Rhythm {
    /// The time that a digest is about.
    pub fn period(self) -> Duration {
        let days = match self {
            Rhythm::Daily => 1,
            Rhythm::Weekly => 7,
        };
        Duration::from_secs(days * 24 * 60 * 60)
    }
}

/// What EventBridge sends on a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// When it was due: the same if EventBridge sends it twice.
    pub at: OffsetDateTime,
}

/// What is told: a period, and what it left.
#[derive(Debug)]
pub struct Digest {
    /// Its beginning.
    pub from: OffsetDateTime,
    /// Its end.
    pub until: OffsetDateTime,
    /// What is told by name, each with what SES said of it as far as that is known.
    pub shown: Vec<(Entry, Option<Notification>)>,
    /// How much there is of everything.
    pub counts: gathered::Counts,
    /// Outcomes that were not looked at for want of time; `None` if even their number is not known.
    pub unread: Option<u64>,
    /// Outcomes that could not be read.
    pub unreadable: u64,
}

/// A digest could not be sent, or not be made.
#[derive(Debug, thiserror::Error)]
#[error("the digest until {until} could not be sent: {why}")]
pub struct DigestFailed {
    until: String,
    why: String,
}

/// Who has taken a digest on, and whether it is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    request_id: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    sent: bool,
}

impl Digest {
    /// Whether there may be more than what was looked at.
    fn is_incomplete(&self) -> bool {
        self.unread != Some(0) || self.unreadable > 0
    }
}

impl Scheduled {
    /// Reads one; `None` if the event is something else.
    pub fn read(event: &RawValue) -> Option<Scheduled> {
        #[derive(Deserialize)]
        struct Event {
            source: String,
            #[serde(rename = "detail-type")]
            detail_type: String,
            time: String,
        }
        let Event { source, detail_type, time } = serde_json::from_str(event.get()).ok()?;
        let is_one = source == "aws.events" && detail_type == "Scheduled Event";
        let at = OffsetDateTime::parse(&time, &Rfc3339).ok().filter(|_| is_one)?;
        Some(Scheduled { at })
    }
}

impl Run<'_> {
    /// Gathers what the period until `scheduled` left, and tells it, unless that is nothing or has been told.
    pub(crate) async fn digest(
        &self,
        scheduled: &Scheduled,
        rhythm: Rhythm,
        request_id: &str,
    ) -> Result<(), DigestFailed> {
        let until = scheduled.at;
        let failed = |why: String| DigestFailed { until: until.format(&Rfc3339).unwrap_or_default(), why };
        let name = mark_name(until);
        let mut mark = self.mark_of(&name).await.map_err(|unknown| failed(unknown.failure().message))?;
        if self.is_out(&mark, request_id) {
            tracing::info!("this digest is out, or under way");
            return Ok(());
        }
        let digest = self.gather(until - rhythm.period(), until).await;
        if !digest.counts.is_worth_telling() {
            // What could not be looked at may be.
            if digest.is_incomplete() {
                return Err(failed(
                    "not all outcomes could be looked at, and the others tell nothing".to_owned(),
                ));
            }
            tracing::info!("nothing to tell");
            return Ok(());
        }
        let claim = |sent: bool| Mark { request_id: request_id.to_owned(), at: self.now, sent };
        let given_back = || Mark { at: self.now - CLAIM, ..claim(false) };
        match mark.replace(&self.bucket, claim(false)).await {
            Ok(true) => {}
            // Another was quicker; or this one was, and the answer to its first write was lost.
            Ok(false) => {
                mark = self.mark_of(&name).await.map_err(|unknown| failed(unknown.failure().message))?;
                if self.is_out(&mark, request_id) {
                    return Ok(());
                }
            }
            Err(error) => return Err(failed(error.to_string())),
        }
        let notice = wording::compose(&digest, &self.handler.settings.place);
        if let Err(why) = self.send_once(&notice, &name.replace('/', "-")).await {
            // So that whoever asks again need not wait.
            if let Err(error) = mark.replace(&self.bucket, given_back()).await {
                tracing::error!("a digest that is not sent stays taken: {error}");
            }
            return Err(failed(why));
        }
        if let Err(error) = mark.replace(&self.bucket, claim(true)).await {
            tracing::error!("the digest is sent, but not noted: {error}");
        }
        Ok(())
    }

    async fn mark_of(&self, name: &str) -> Result<Record<Mark>, Unknown> {
        let key = self.handler.settings.place.prefixes.notice(name);
        Record::read(&self.bucket, key).await
    }

    /// Whether a digest is out, or another invocation is at it. Lambda repeats one that failed under its own id.
    fn is_out(&self, mark: &Record<Mark>, request_id: &str) -> bool {
        mark.content
            .as_ref()
            .is_some_and(|mark| mark.sent || (mark.request_id != request_id && self.now - mark.at < CLAIM))
    }

    /// Looks through the outcomes that were written in a period.
    async fn gather(&self, from: OffsetDateTime, until: OffsetDateTime) -> Digest {
        let settings = &self.handler.settings;
        let prefixes = &settings.place.prefixes;
        // The rest is for sending it.
        let left = self.deadline.left();
        let [reading, counting, naming] = [4, 5, 6].map(|eighths| Deadline::after(left * eighths / 8));
        let bucket = self.bucket.until(counting);
        let mut gathered = Gathered::new(from);
        let (mut unread, mut unreadable) = (Some(0_u64), 0_u64);
        'days: for day in days(from - settings.retry - AFTERWARDS, until) {
            let folder = prefixes.outcomes_of(day);
            let mut next = None;
            loop {
                if counting.left().is_zero() {
                    unread = None;
                    break 'days;
                }
                let (listed, more) = match bucket.list(&folder, next.as_deref()).await {
                    Ok(page) => page,
                    // It was tried several times: the other days would take as long, and tell no more.
                    Err(error) => {
                        tracing::error!(
                            "outcomes are left out, those of {day} and of the days before: {error}"
                        );
                        unread = None;
                        break 'days;
                    }
                };
                let of_period = listed.into_iter().filter(|object| is_within(object, from, until));
                let outcomes = of_period.map(async |Listed { key, .. }| {
                    let left = reading.left();
                    // One that is not begun any more is no request.
                    if left.is_zero() { None } else { timeout(left, self.outcome(&key)).await.ok() }
                });
                let mut outcomes = stream::iter(outcomes).buffer_unordered(CONCURRENCY);
                while let Some(read) = outcomes.next().await {
                    match read {
                        None => unread = unread.map(|count| count + 1),
                        Some(Ok(outcome)) => gathered.add(&outcome, day),
                        Some(Err(error)) => {
                            unreadable += 1;
                            tracing::warn!("an outcome is left out: {error}");
                        }
                    }
                }
                next = more;
                if next.is_none() {
                    break;
                }
            }
        }
        let (entries, counts) = gathered.finish();
        let bucket = self.bucket.until(naming);
        let shown = entries.into_iter().map(async |entry| {
            let notification = notification(&bucket, prefixes, &entry).await;
            (entry, notification)
        });
        let shown = stream::iter(shown).buffered(CONCURRENCY).collect().await;
        Digest { from, until, shown, counts, unread, unreadable }
    }

    async fn outcome(&self, key: &str) -> Result<Outcome, String> {
        let content = self.bucket.get(key).await.map_err(|error| error.to_string())?;
        let content = content.ok_or_else(|| format!("there is no {} any more", self.bucket.address(key)))?;
        let malformed = |error| format!("{} can't be read: {error}", self.bucket.address(key));
        serde_json::from_slice(&content).map_err(malformed)
    }
}

/// What SES said of a message. A line without it is one that names it by its id.
async fn notification(bucket: &Bucket, prefixes: &Prefixes, entry: &Entry) -> Option<Notification> {
    let content = bucket.get(&prefixes.index(entry.day, &entry.message_id)).await;
    let content =
        content.inspect_err(|error| tracing::warn!("a notification is left out: {error}")).ok()??;
    let event: Box<RawValue> = serde_json::from_slice(&content).ok()?;
    match records(&event).pop() {
        Some(Received::Received { notification, .. }) => Some(notification),
        _ => None,
    }
}

/// The name of a mark: no request id has a slash in it.
fn mark_name(until: OffsetDateTime) -> String {
    let until = until.to_offset(time::UtcOffset::UTC);
    format!("digest/{}T{:02}{:02}", until.date(), until.hour(), until.minute())
}

fn is_within(object: &Listed, from: OffsetDateTime, until: OffsetDateTime) -> bool {
    object.written.is_some_and(|at| (from.unix_timestamp()..until.unix_timestamp()).contains(&at))
}

/// The days from one time to another, newest first: should time run out, the oldest are left.
fn days(from: OffsetDateTime, until: OffsetDateTime) -> impl Iterator<Item = Date> {
    let until = until.to_offset(time::UtcOffset::UTC).date();
    let from = from.to_offset(time::UtcOffset::UTC).date();
    std::iter::successors(Some(until), |day| day.previous_day()).take_while(move |day| *day >= from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduled(event: &str) -> Option<Scheduled> {
        Scheduled::read(&serde_json::from_str::<Box<RawValue>>(event).unwrap())
    }

    #[test]
    fn a_schedule_s_event_is_told_from_others() {
        let event = r#"{"version":"0","id":"x","detail-type":"Scheduled Event","source":"aws.events","account":"1",
            "time":"2026-11-26T06:00:00Z","region":"eu-west-1","resources":["arn:aws:events:eu-west-1:1:rule/r"],
            "detail":{}}"#;
        let at = OffsetDateTime::parse("2026-11-26T06:00:00Z", &Rfc3339).unwrap();
        assert_eq!(scheduled(event), Some(Scheduled { at }));
        assert_eq!(mark_name(at), "digest/2026-11-26T0600");
        for other in [
            event.replace("aws.events", "aws.ses"),
            event.replace("Scheduled Event", "Email Bounced"),
            event.replace("2026-11-26T06:00:00Z", "at six"),
            r#"{"Records":[]}"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert_eq!(scheduled(&other), None, "{other}");
        }
    }

    #[test]
    fn days_go_back_as_far_as_a_message_may_change() {
        let until = OffsetDateTime::parse("2026-01-02T06:00:00Z", &Rfc3339).unwrap();
        let days: Vec<String> =
            days(until - Duration::from_secs(36 * 60 * 60), until).map(|day| day.to_string()).collect();
        assert_eq!(days, ["2026-01-02", "2026-01-01", "2025-12-31"]);
    }
}
