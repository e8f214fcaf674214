//! The records of the bucket that letters need: outcomes, and what has been told. Each is written only
//! over the version that was read, so that nothing another wrote meanwhile is lost.

use serde::{Serialize, de::DeserializeOwned};
use ses_forwarder::outcome::Failure;
use ses_forwarder_aws::{
    bucket::{Bucket, Fetched, Precondition},
    call::{CallError, Kind, Persistence},
};

/// Rounds of reading and writing again that a record is worth: whoever is quicker has made progress, and
/// few write the same one.
const ROUNDS: usize = 8;

/// A record and its version.
#[derive(Debug, Clone)]
pub(crate) struct Record<T> {
    key: String,
    etag: Option<String>,
    /// What it says; `None` if there is none.
    pub(crate) content: Option<T>,
}

/// Why a record is not known.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// S3 does not say.
    Call(CallError),
    /// It is none.
    Malformed(String),
}

impl Unknown {
    /// As what keeps a message from being forwarded.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Unknown::Call(error) => Failure { code: error.code.clone(), message: error.to_string() },
            Unknown::Malformed(message) => {
                Failure { code: "InvalidOutcome".to_owned(), message: message.clone() }
            }
        }
    }
}

impl From<CallError> for Unknown {
    fn from(error: CallError) -> Unknown {
        Unknown::Call(error)
    }
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// Reads a record.
    pub(crate) async fn read(bucket: &Bucket, key: String) -> Result<Record<T>, Unknown> {
        match bucket.get_if_changed(&key, None).await? {
            Fetched::Changed { content, etag } => match serde_json::from_slice(&content) {
                Ok(content) => Ok(Record { key, etag, content: Some(content) }),
                Err(error) => {
                    let address = bucket.address(&key);
                    let sentence = format!(
                        "{address} can't be read ({error}), so it is unknown whether the message was sent; \
                         delete it to have the message sent"
                    );
                    Err(Unknown::Malformed(sentence))
                }
            },
            Fetched::Unchanged | Fetched::Absent => Ok(Record { key, etag: None, content: None }),
        }
    }

    /// Writes what `change` makes of the record, reading again if another has written meanwhile, until it
    /// is written or `change` finds nothing to write. Returns whether it was written.
    pub(crate) async fn update(
        &mut self,
        bucket: &Bucket,
        change: impl Fn(Option<&T>) -> Option<T>,
    ) -> Result<bool, Unknown> {
        for _ in 0..ROUNDS {
            let Some(next) = change(self.content.as_ref()) else { return Ok(false) };
            if let Some(etag) = self.write(bucket, &next).await? {
                (self.etag, self.content) = (Some(etag), Some(next));
                return Ok(true);
            }
            *self = Record::read(bucket, std::mem::take(&mut self.key)).await?;
        }
        let step = format!("PutObject {}", bucket.address(&self.key));
        Err(CallError::new(step, Kind::Transient, "Conflict", "others write the same record").into())
    }

    /// Writes it over the version that was read, or not at all; then there is another.
    pub(crate) async fn replace(&mut self, bucket: &Bucket, next: T) -> Result<bool, CallError> {
        let Some(etag) = self.write(bucket, &next).await? else { return Ok(false) };
        (self.etag, self.content) = (Some(etag), Some(next));
        Ok(true)
    }

    /// Reads it once more.
    pub(crate) async fn again(self, bucket: &Bucket) -> Result<Record<T>, Unknown> {
        Record::read(bucket, self.key).await
    }

    async fn write(&self, bucket: &Bucket, next: &T) -> Result<Option<String>, CallError> {
        let precondition = self.etag.as_deref().map_or(Precondition::Absent, Precondition::Unchanged);
        bucket.put_if(&self.key, JSON, line(next), precondition, Persistence::Usual).await
    }
}

pub(crate) const JSON: &str = "application/json";

/// A record as it is stored: one line of JSON.
pub(crate) fn line(record: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("records are JSON");
    line.push(b'\n');
    line
}
