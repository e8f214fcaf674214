//! Telling: which notices go out, and that none goes out twice.
//!
//! - What is over (given up, refused by SES for good, unreadable) is told at once, in one notice a batch.
//!   A mark under `error/notices/`, named by the request that failed, keeps a letter that is delivered
//!   again from being told again. It is written after the notice: only if the function ends between the
//!   two is a notice sent twice.
//! - What waits is told by [`Told`]: one notice a reason, one when that has passed.
//! - Bounces are told once an hour at most: anyone can send one. Those that come meanwhile wait.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use ses_forwarder::{notice_mark::sender, outcome::Failure};
use ses_forwarder_aws::{
    call::{CallError, Deadline, Persistence, persist, sent},
    outgoing::{Envelope, Mailer, Outgoing},
};
use time::format_description::well_known::Rfc3339;

use crate::{
    batch::{Ending, Matter, PATIENCE, Run},
    channel::{self, Mail},
    metrics,
    notice::{self, Item, Notice},
    outage::Told,
    record::{JSON, Record, Unknown, line},
    schedule,
};

/// Where [`Told`] is kept, beside the marks. No request id has a slash in it.
const DELAYS: &str = "state/delays";
const BOUNCES: &str = "state/bounces";

/// How long a bounce waits that comes too soon after another.
const BOUNCE_WAIT: Duration = Duration::from_secs(60 * 60);

/// How long SES is waited for with a notice. There may be several in an invocation.
const MAILING: Duration = Duration::from_secs(20);

/// What is kept about a letter that has been told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mark<'a> {
    told_at: String,
    queue_message_id: &'a str,
    error: &'a Failure,
    /// Of a letter that can't be read, all of it: the queue has no other copy.
    body: Option<&'a str>,
}

/// Something to tell at once: the number of its letter in the batch, its mark, and what it is.
type News = (usize, Option<String>, Item);

/// A state that says that something is being told, and what it was before.
pub(crate) type Claimed = (Record<Told>, Told);

impl Run<'_> {
    /// Sends the notices of a batch. A letter that could not be told is kept.
    pub(crate) async fn tell(&self, matters: &[Matter<'_>], endings: &mut [Ending]) {
        self.tell_news(matters, endings).await;
        self.tell_waiting(matters, endings).await;
        self.tell_passed(matters, endings).await;
    }

    async fn tell_news(&self, matters: &[Matter<'_>], endings: &mut [Ending]) {
        let mut news: Vec<News> = Vec::new();
        for (number, ending) in endings.iter_mut().enumerate() {
            let all = std::mem::take(&mut ending.news);
            news.extend(all.into_iter().map(|(mark, item)| (number, mark, item)));
        }
        let told = join_all(news.iter().map(|(_, mark, _)| self.is_told(mark.as_deref()))).await;
        let mut open = Vec::new();
        for (news, told) in news.into_iter().zip(told) {
            let letter = &matters[news.0].case.letter;
            match told {
                Ok(true) => {}
                Ok(false) => open.push(news),
                Err(error) if letter.deliveries.is_some_and(|count| count < PATIENCE) => {
                    tracing::error!(letter = letter.name(), "a dead letter stays in the queue: {error}");
                    endings[news.0].keep = Some(self.wait(letter));
                }
                Err(error) => {
                    tracing::error!(letter = letter.name(), "told perhaps before, told again now: {error}");
                    open.push(news);
                }
            }
        }
        let (open, claimed) = self.without_early_bounces(open, matters, endings).await;
        let Some(first) = open.first() else { return };
        let items: Vec<&Item> = open.iter().map(|(.., item)| item).collect();
        let notice = notice::compose(&items, &self.handler.settings.place);
        if self.send(&notice, matters[first.0].case.letter.queue_id).await {
            join_all(open.iter().map(|news| self.mark(news, matters))).await;
            for (number, _, item) in &open {
                // What SES refused for good, handle-email has counted as rejected.
                if let Item::Failed(failed) = item
                    && !matters[*number].is_rejected(&failed.notification.message_id)
                {
                    metrics::count("Failed", &self.function, Some(&failed.notification.message_id));
                }
            }
        } else {
            for (number, ..) in open {
                endings[number].keep = Some(self.wait(&matters[number].case.letter));
            }
            if let Some(claimed) = claimed {
                self.unclaim_bounces(claimed).await;
            }
        }
    }

    /// Leaves out bounces if some have been told within the hour; their letters are kept until later. Else they are
    /// said to be told, and what was said before comes along.
    async fn without_early_bounces(
        &self,
        news: Vec<News>,
        matters: &[Matter<'_>],
        endings: &mut [Ending],
    ) -> (Vec<News>, Option<Claimed>) {
        let ids = news.iter().filter_map(|(.., item)| match item {
            Item::Refused(failed) => Some(failed.notification.message_id.clone()),
            Item::Failed(_) | Item::Unreadable { .. } => None,
        });
        let ids: Vec<String> = ids.collect();
        if ids.is_empty() {
            return (news, None);
        }
        match self.claim_bounces(&ids).await {
            Ok(Some(claimed)) => return (news, Some(claimed)),
            Ok(None) => {}
            Err(unknown) => tracing::error!("bounces are not told now: {}", unknown.failure().message),
        }
        let (early, now): (Vec<_>, Vec<_>) =
            news.into_iter().partition(|(.., item)| matches!(item, Item::Refused(_)));
        for (number, ..) in early {
            let letter = &matters[number].case.letter;
            if letter.age < self.handler.settings.retry {
                endings[number].keep = Some(schedule::jittered(BOUNCE_WAIT));
            }
        }
        (now, None)
    }

    async fn tell_waiting(&self, matters: &[Matter<'_>], endings: &mut [Ending]) {
        let waiting = endings.iter().enumerate();
        let waiting = waiting.flat_map(|(number, ending)| ending.waiting.iter().map(move |w| (number, w)));
        let waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            return;
        }
        let codes = || waiting.iter().map(|(_, waiting)| waiting.failed.failure.code.as_str());
        let claimed = match self.claim(DELAYS, |told| told.telling(codes(), self.now)).await {
            Ok(None) => return,
            Ok(Some((state, before))) => Some((state, before)),
            Err(unknown) => {
                let letters = || waiting.iter().map(|(number, _)| &matters[*number].case.letter);
                let patient = letters().all(|letter| letter.deliveries.is_some_and(|count| count < PATIENCE));
                tracing::error!("what has been told is not known: {}", unknown.failure().message);
                if patient || !self.handler.may_tell_unasked() {
                    return;
                }
                None
            }
        };
        let place = &self.handler.settings.place;
        let items: Vec<_> = waiting.iter().map(|(_, waiting)| *waiting).collect();
        let out = self.send(&notice::delay(&items, place), matters[waiting[0].0].case.letter.queue_id).await;
        let Some((mut state, before)) = claimed else { return };
        let after = if out { state.content.clone().unwrap_or_default().sent() } else { before };
        if let Err(error) = state.replace(&self.bucket, after).await {
            tracing::error!("that a delay has been told could not be noted: {error}");
        }
    }

    async fn tell_passed(&self, matters: &[Matter<'_>], endings: &[Ending]) {
        let codes: Vec<&str> =
            endings.iter().flat_map(|ending| ending.passed.iter().map(String::as_str)).collect();
        if codes.is_empty() {
            return;
        }
        match self.claim(DELAYS, |told| told.clearing(codes.iter().copied(), self.now)).await {
            Ok(Some((mut state, before))) => {
                let notice = notice::all_clear(&self.handler.settings.place);
                let is_told = state.content.as_ref().is_some_and(|told| told.clears(&before));
                if is_told
                    && !self.send(&notice, matters[0].case.letter.queue_id).await
                    && let Err(error) = state.replace(&self.bucket, before).await
                {
                    tracing::error!("an all-clear could not be taken back: {error}");
                }
            }
            Ok(None) => {}
            Err(unknown) => tracing::error!("no all-clear is sent: {}", unknown.failure().message),
        }
    }

    /// Takes it on to tell of the bounces of these messages; `None` if some have been told within the hour.
    pub(crate) async fn claim_bounces(&self, message_ids: &[String]) -> Result<Option<Claimed>, Unknown> {
        let ids = || message_ids.iter().map(String::as_str);
        let claimed = self.claim(BOUNCES, |told| told.telling(ids(), self.now)).await?;
        let Some((mut state, before)) = claimed else { return Ok(None) };
        // Said to be out at once: bounces that are never told are on record.
        let sent = state.content.clone().unwrap_or_default().sent();
        if let Err(error) = state.replace(&self.bucket, sent).await {
            tracing::warn!("bounces may be told again soon: {error}");
        }
        Ok(Some((state, before)))
    }

    /// Leaves bounces that could not be told to whoever comes next.
    pub(crate) async fn unclaim_bounces(&self, (mut state, before): Claimed) {
        if let Err(error) = state.replace(&self.bucket, before).await {
            tracing::error!("bounces that could not be told are taken for told: {error}");
        }
    }

    /// Writes what `change` makes of a state, and returns it with what it was before; `None` if there is
    /// nothing to tell, or another tells it.
    async fn claim(
        &self,
        name: &str,
        change: impl Fn(&Told) -> Option<Told>,
    ) -> Result<Option<Claimed>, Unknown> {
        let key = self.handler.settings.place.prefixes.notice(name);
        let mut state = Record::<Told>::read(&self.bucket, key).await?;
        loop {
            let before = state.content.clone().unwrap_or_default();
            let Some(next) = change(&before) else { return Ok(None) };
            if state.replace(&self.bucket, next).await? {
                return Ok(Some((state, before)));
            }
            // Whoever was quicker has told something, so this ends soon.
            state = state.again(&self.bucket).await?;
        }
    }

    /// Sends by every channel that is configured; one that works suffices.
    pub(crate) async fn send(&self, notice: &Notice, id: &str) -> bool {
        let results = tokio::join!(self.mail(notice, id), self.publish(notice));
        let mut out = false;
        for (channel, result) in [("mail", results.0), ("topic", results.1)] {
            match result {
                Some(Ok(())) => {
                    tracing::info!(channel, "notice sent");
                    out = true;
                }
                Some(Err(error)) => {
                    tracing::error!(channel, "the notice could not be sent this way: {error}");
                }
                None => {}
            }
        }
        if !out {
            metrics::count("NoticesFailed", &self.function, None);
        }
        out
    }

    /// Sends by mail; by SNS only if there is no address, or mail fails. The error says what failed.
    pub(crate) async fn send_once(&self, notice: &Notice, id: &str) -> Result<(), String> {
        let by_mail = self.mail(notice, id).await;
        let mut failed = match by_mail {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => vec![error.to_string()],
            None => Vec::new(),
        };
        match self.publish(notice).await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => failed.push(error.to_string()),
            None => {}
        }
        metrics::count("NoticesFailed", &self.function, None);
        Err(failed.join("; "))
    }

    async fn mail(&self, notice: &Notice, id: &str) -> Option<Result<(), CallError>> {
        let settings = &self.handler.settings;
        let to = settings.address.as_ref()?.to_string();
        let (stack, email_domain) = (settings.place.stack.as_str(), settings.domains.first());
        let id = format!("{id}.{}", self.now.unix_timestamp());
        let raw = Mail { email_domain, to: &to, stack, id: &id, now: self.now }.write(notice);
        let message = Outgoing { header: raw.into(), body: Bytes::new(), recoding: None };
        let envelope = Envelope {
            from: &sender(email_domain),
            to: &[to],
            configuration_set: None,
            // So that notices go out while SES has paused the tenant.
            tenant: None,
            tags: &[],
            feedback: None,
        };
        // The topic has to have time too, and so has the record that it is told.
        let deadline = self.deadline.for_sending().min(Deadline::after(MAILING));
        let mailer = Mailer::new(self.handler.ses.clone(), deadline);
        Some(mailer.send(&message, envelope).await.map(drop))
    }

    async fn publish(&self, notice: &Notice) -> Option<Result<(), CallError>> {
        let topic = self.handler.settings.topic.as_deref()?;
        let (subject, text) = channel::publication(notice);
        Some(
            persist("Publish", self.deadline, Persistence::Sending, async || {
                let request = self.handler.sns.publish().topic_arn(topic).subject(&subject).message(&text);
                sent("Publish", request.send().await).map(drop)
            })
            .await,
        )
    }

    async fn is_told(&self, mark: Option<&str>) -> Result<bool, CallError> {
        let Some(mark) = mark else { return Ok(false) };
        let mark = self.bucket.get(&self.handler.settings.place.prefixes.notice(mark)).await?;
        Ok(mark.is_some())
    }

    /// Notes that something has been told. Failing that is no reason to keep it: it would be told again.
    async fn mark(&self, (number, mark, item): &News, matters: &[Matter<'_>]) {
        let Some(name) = mark else { return };
        let letter = &matters[*number].case.letter;
        let (error, body) = match item {
            Item::Failed(failed) | Item::Refused(failed) => (&failed.failure, None),
            Item::Unreadable { failure, body, .. } => (failure, Some(body.as_str())),
        };
        let told_at = self.now.format(&Rfc3339).expect("a time of this era");
        let mark = Mark { told_at, queue_message_id: letter.queue_id, error, body };
        let key = self.handler.settings.place.prefixes.notice(name);
        if let Err(error) = self.bucket.put(&key, JSON, line(&mark), Persistence::Hard).await {
            tracing::error!(
                letter = name,
                "the notice is sent, but not noted, so it may be sent again: {error}"
            );
        }
    }
}
