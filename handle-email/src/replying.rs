//! What answering from an alias needs of the bucket: the keys that sign addresses, whom an address stands for that
//! does not say so itself, and how many answers have gone out in this hour.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ses_forwarder::{
    address::Address,
    answers::Answer,
    domains::Domains,
    header::{self, Field, HeaderBlock, Signatures},
    keys,
    replies::{
        keys::{ReplyKeys, SECRET_OCTETS},
        signed::{Contact, contact_name},
    },
};
use ses_forwarder_aws::{
    bucket::{Bucket, Precondition},
    call::{CallError, Kind, Persistence},
};
use time::OffsetDateTime;

use crate::{InvocationError, kept::Kept};

/// How long keys are used without asking whether there are others. A new one signs from then on; the former ones stay
/// valid, so nothing hangs on the time.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// Addresses of a message that are looked for among the contacts: one more than SES has recipients in a message.
const CONTACTS: usize = 51;

/// Names of contacts known to be kept: a bound on memory.
const KEPT: usize = 1_000;

/// How often a count is written again because others were quicker.
const ROUNDS: usize = 16;

const JSON: &str = "application/json";

/// Reads and keeps it.
#[derive(Debug)]
pub(crate) struct Replying {
    is_on: bool,
    keys: Kept<ReplyKeys>,
    /// Names of contacts that are in the bucket.
    kept: Mutex<HashSet<String>>,
}

/// The answers of an alias in an hour: `state/answers/….json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    /// Its beginning, in hours since 1970.
    hour: i64,
    /// The messages that they were, so that one that is tried again counts once.
    messages: Vec<String>,
}

impl Replying {
    pub(crate) fn new(is_on: bool) -> Replying {
        Replying { is_on, keys: Kept::new("the reply keys in use", keys::REPLY_KEYS), kept: Mutex::default() }
    }

    /// The keys; `None` with `REPLIES=off`. Without a file one is made. What can't be read is a failure, unless there
    /// are keys from before: mail must not go out under an address that can't be answered.
    pub(crate) async fn keys(
        &self,
        bucket: &Bucket,
        recipients: &[String],
    ) -> Result<Option<Arc<ReplyKeys>>, InvocationError> {
        if !self.is_on {
            return Ok(None);
        }
        let is_fresh = |keys: &ReplyKeys, age| {
            let another = |recipient: &String| {
                Address::parse_bare(recipient).is_ok_and(|address| keys.is_of_another(&address))
            };
            // A new key is known at once. Whoever makes such an address up costs a call.
            age < FRESH && !recipients.iter().any(another)
        };
        let read = async |content: Option<Bytes>| match content {
            Some(content) => parse(bucket, &content),
            None => first(bucket).await,
        };
        self.keys.current(bucket, is_fresh, read).await.map(Some)
    }

    /// Takes a message out of the answers of an owner that has gone out to a correspondent before, under another id
    /// of SES, and returns those; and keeps that it goes out now.
    pub(crate) async fn once(
        &self,
        bucket: &Bucket,
        block: &HeaderBlock<'_>,
        message_id: &str,
        answers: &mut Vec<Answer>,
    ) -> Result<Vec<Answer>, CallError> {
        if answers.is_empty() {
            return Ok(Vec::new());
        }
        // Every mail program gives its messages an id, and what signs for the owner covers it. Without that there is
        // no telling.
        let signatures = Signatures::of(block);
        let id = block.fields().find(|field| field.is("Message-ID") && signatures.cover(field));
        let (mut first, mut others) = (Vec::with_capacity(answers.len()), Vec::new());
        for answer in answers.drain(..) {
            // Of what surely is the owner's too: it is the first that others can send again. What they have added to
            // must not pass for it.
            let is_first = match id.filter(|_| !answer.once || signatures.cover_what_is_read()) {
                Some(id) => self.is_first(bucket, &id, message_id, &answer).await?,
                None => false,
            };
            if is_first || !answer.once {
                first.push(answer);
            } else {
                others.push(answer);
            }
        }
        *answers = first;
        Ok(others)
    }

    async fn is_first(
        &self,
        bucket: &Bucket,
        id: &Field<'_>,
        message_id: &str,
        Answer { alias, correspondent, .. }: &Answer,
    ) -> Result<bool, CallError> {
        // A signature may hold whatever white space there is (RFC 6376 section 3.4.2).
        let words = id.value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let key = keys::answered(alias, correspondent, &words.collect::<Vec<_>>().join(&b' '));
        let (absent, usual) = (Precondition::Absent, Persistence::Usual);
        if bucket.put_if(&key, JSON, format!("\"{message_id}\"\n"), absent, usual).await?.is_some() {
            return Ok(true);
        }
        // An earlier try of this message.
        let known = bucket.get(&key).await?.unwrap_or_default();
        Ok(serde_json::from_slice::<String>(&known).is_ok_and(|known| known == message_id))
    }

    /// The contacts that recipients, and those that To and Cc name, may stand for, as far as they are kept; and the
    /// addresses that To and Cc name and nobody can have added on the way.
    pub(crate) async fn contacts(
        &self,
        bucket: &Bucket,
        recipients: &[String],
        block: &HeaderBlock<'_>,
        domains: &Domains,
    ) -> Result<(Vec<Contact>, Vec<Address>), CallError> {
        let recipients: Vec<Address> =
            recipients.iter().flat_map(|recipient| Address::parse_bare(recipient)).collect();
        // Anybody else's mail has nothing to do with it.
        if !recipients.iter().any(|recipient| recipient.local().contains('+')) {
            return Ok((Vec::new(), Vec::new()));
        }
        let named = header::recipients_at(block, domains, |_| true);
        let mut names: Vec<String> = Vec::new();
        for name in recipients.iter().chain(&named).filter_map(contact_name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut contacts = Vec::new();
        for name in names.into_iter().take(CONTACTS) {
            let Some(content) = bucket.get(&keys::contact(&name)).await? else { continue };
            // What is none can't be answered; its tag would not be right either.
            if let Ok(contact) = serde_json::from_slice(&content) {
                contacts.push(Contact { name, ..contact });
            }
        }
        let signatures = Signatures::of(block);
        Ok((contacts, header::recipients_at(block, domains, |field| signatures.cover(field))))
    }

    /// Keeps whom addresses stand for, before anybody gets to see them.
    pub(crate) async fn keep(&self, bucket: &Bucket, contacts: &[Contact]) -> Result<(), CallError> {
        for contact in contacts {
            if locked(&self.kept).contains(&contact.name) {
                continue;
            }
            let content = serde_json::to_vec(contact).expect("a contact is JSON");
            let (absent, usual) = (Precondition::Absent, Persistence::Usual);
            bucket.put_if(&keys::contact(&contact.name), JSON, content, absent, usual).await?;
            let mut kept = locked(&self.kept);
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(contact.name.clone());
        }
        Ok(())
    }

    /// Counts an answer of an alias in this hour. The error is transient: there have been as many as `per_hour`.
    pub(crate) async fn admit(
        &self,
        bucket: &Bucket,
        alias: &Address,
        message_id: &str,
        per_hour: u32,
    ) -> Result<(), CallError> {
        let key = keys::answers_of(alias);
        let now = OffsetDateTime::now_utc().unix_timestamp().div_euclid(60 * 60);
        for _ in 0..ROUNDS {
            let object = bucket.read(&key).await?;
            let (mut hour, etag) = match object {
                None => (Hour::default(), None),
                // What can't be read counts nothing: it is this function's own.
                Some(object) => (serde_json::from_slice(&object.content).unwrap_or_default(), object.etag),
            };
            if hour.hour != now {
                hour = Hour { hour: now, messages: Vec::new() };
            }
            if hour.messages.iter().any(|known| known == message_id) {
                return Ok(());
            }
            if hour.messages.len() >= per_hour as usize {
                let step = format!("answer from {alias}");
                let message = format!(
                    "{per_hour} answers have gone out in this hour, as many as [replies] per-hour allows; it is \
                     tried again"
                );
                return Err(CallError::new(step, Kind::Transient, OVER_THE_LIMIT, message));
            }
            hour.messages.push(message_id.to_owned());
            let content = serde_json::to_vec(&hour).expect("a count is JSON");
            let precondition = etag.as_deref().map_or(Precondition::Absent, Precondition::Unchanged);
            if bucket.put_if(&key, JSON, content, precondition, Persistence::Usual).await?.is_some() {
                return Ok(());
            }
        }
        Err(contested(bucket, &key))
    }
}

/// The code of an answer that is one too many for the hour.
pub(crate) const OVER_THE_LIMIT: &str = "AnswersOverLimit";

fn parse(bucket: &Bucket, content: &[u8]) -> Result<ReplyKeys, InvocationError> {
    ReplyKeys::parse(content).map_err(|error| {
        let address = bucket.address(keys::REPLY_KEYS);
        InvocationError::new("InvalidReplyKeys", format!("{address}: {error}"))
    })
}

/// The first key. Who is not the first to make one takes the other's.
async fn first(bucket: &Bucket) -> Result<ReplyKeys, InvocationError> {
    let mut secret = [0; SECRET_OCTETS];
    getrandom::fill(&mut secret)
        .map_err(|error| InvocationError::new("NoRandomNumbers", error.to_string()))?;
    let first = ReplyKeys::first(secret);
    let (absent, usual) = (Precondition::Absent, Persistence::Usual);
    if bucket.put_if(keys::REPLY_KEYS, JSON, first.to_json(), absent, usual).await?.is_some() {
        return Ok(first);
    }
    let content = bucket.get(keys::REPLY_KEYS).await?.ok_or_else(|| contested(bucket, keys::REPLY_KEYS))?;
    parse(bucket, &content)
}

fn contested(bucket: &Bucket, key: &str) -> CallError {
    let step = format!("PutObject {}", bucket.address(key));
    CallError::new(step, Kind::Transient, "Contested", "others were quicker each time")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
