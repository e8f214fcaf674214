//! An object of the bucket that each message needs: read once, kept, and asked for again when it is due.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use ses_forwarder_aws::{
    bucket::{Bucket, Fetched},
    call::ATTEMPT,
};
// Unlike the standard library's, tests can set this clock forward.
use tokio::time::Instant;

use crate::InvocationError;

/// How long to ask, while there is something to go on with: two attempts and the wait between them. What is
/// left of the invocation is for the message.
pub(crate) const PATIENCE: Duration = ATTEMPT.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// What an object says.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    /// What it is, for the log.
    what: &'static str,
    key: String,
    last: Mutex<Option<Arc<Last<T>>>>,
}

/// What it said last.
#[derive(Debug)]
struct Last<T> {
    value: Arc<T>,
    /// Of the object; `None` where there was none.
    etag: Option<String>,
    /// `None` if it was never asked for.
    checked: Option<Instant>,
}

impl<T> Kept<T> {
    /// Nothing is read yet, and a failure to read it is one of the message.
    pub(crate) fn new(what: &'static str, key: impl Into<String>) -> Kept<T> {
        Kept { what, key: key.into(), last: Mutex::new(None) }
    }

    /// The same with a value to go on with until it is read.
    pub(crate) fn starting_with(self, value: T) -> Kept<T> {
        *self.last() = Some(Arc::new(Last { value: Arc::new(value), etag: None, checked: None }));
        self
    }

    /// What it says now, as `read` makes it of the content, or of there being none. It is not asked for while
    /// `is_fresh` says so of what it said last, and of the time since. What can't be read stays what it was.
    pub(crate) async fn current(
        &self,
        bucket: &Bucket,
        is_fresh: impl Fn(&T, Duration) -> bool,
        read: impl AsyncFn(Option<Bytes>) -> Result<T, InvocationError>,
    ) -> Result<Arc<T>, InvocationError> {
        let last = self.last().clone();
        if let Some(last) = &last
            && last.checked.is_some_and(|checked| is_fresh(&last.value, checked.elapsed()))
        {
            return Ok(Arc::clone(&last.value));
        }
        let asked = Instant::now();
        let (value, etag, checked) = match (self.fetch(bucket, last.as_deref(), read).await, last) {
            (Ok((value, etag)), _) => (value, etag, asked),
            (Err(error), Some(last)) => {
                tracing::error!("{} stay the ones read before: {error}", self.what);
                (Arc::clone(&last.value), last.etag.clone(), Instant::now())
            }
            (Err(error), None) => return Err(error),
        };
        *self.last() = Some(Arc::new(Last { value: Arc::clone(&value), etag, checked: Some(checked) }));
        Ok(value)
    }

    /// The value, and the ETag of the object that it was read from.
    async fn fetch(
        &self,
        bucket: &Bucket,
        last: Option<&Last<T>>,
        read: impl AsyncFn(Option<Bytes>) -> Result<T, InvocationError>,
    ) -> Result<(Arc<T>, Option<String>), InvocationError> {
        let asked = if last.is_some() { bucket.within(PATIENCE) } else { bucket.clone() };
        let etag = last.and_then(|last| last.etag.as_deref());
        let (content, etag) = match (asked.get_if_changed(&self.key, etag).await?, last) {
            (Fetched::Unchanged, Some(last)) => return Ok((Arc::clone(&last.value), last.etag.clone())),
            (Fetched::Changed { content, etag }, _) => (Some(content), etag),
            (Fetched::Absent | Fetched::Unchanged, _) => (None, None),
        };
        Ok((Arc::new(read(content).await?), etag))
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<Last<T>>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
