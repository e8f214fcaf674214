//! The bucket: objects read into one buffer, records written.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
    operation::{
        get_object::{GetObjectError, GetObjectOutput},
        put_object::{PutObjectError, PutObjectOutput, builders::PutObjectFluentBuilder},
    },
    primitives::{ByteStream, SdkBody},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use bytes::Bytes;
use memmap2::{MmapMut, MmapOptions};

use crate::call::{self, CallError, Deadline, Kind, Persistence, persist};

/// One bucket, for the time of an invocation.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
    deadline: Deadline,
}

/// What became of an object since it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is another one now.
    Changed {
        /// Its content.
        content: Bytes,
        /// Names this content in the next [`Bucket::get_if_changed`].
        etag: Option<String>,
    },
    /// It is the one whose ETag was given.
    Unchanged,
    /// There is none.
    Absent,
}

/// An object as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// What is in it.
    pub content: Bytes,
    /// Names this content: in the next [`Bucket::get_if_changed`] and [`Precondition::Unchanged`].
    pub etag: Option<String>,
    /// What was written beside it, by lower-case name.
    pub metadata: HashMap<String, String>,
    /// When it was written, by S3's clock, in seconds since 1970.
    pub written: Option<i64>,
}

/// An object as a list names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was written, by S3's clock, in seconds since 1970.
    pub written: Option<i64>,
}

/// What an object has to be for it to be written.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition<'a> {
    /// There is none yet.
    Absent,
    /// It is the one with this ETag still.
    Unchanged(&'a str),
}

impl Bucket {
    /// The bucket `name`, its calls ending at `deadline`.
    pub fn new(client: Client, name: impl Into<String>, deadline: Deadline) -> Bucket {
        Bucket { client, name: name.into(), deadline }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Bucket {
        Bucket { deadline, ..self.clone() }
    }

    /// The same, its calls ending after this time from now at the latest.
    #[must_use]
    pub fn within(&self, time: Duration) -> Bucket {
        self.until(self.deadline.min(Deadline::after(time)))
    }

    /// `s3://bucket/key`, as the AWS CLI takes it.
    pub fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// The content of an object; `None` if there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, CallError> {
        Ok(self.read(key).await?.map(|object| object.content))
    }

    /// An object in one buffer of exactly its size; `None` if there is none.
    ///
    /// The role needs `s3:ListBucket`: without it S3 says AccessDenied of an absent object.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    pub async fn read(&self, key: &str) -> Result<Option<Object>, CallError> {
        Ok(self.fetch(key, None).await?.ok())
    }

    /// An object, unless it is still the one that `etag` names.
    pub async fn get_if_changed(&self, key: &str, etag: Option<&str>) -> Result<Fetched, CallError> {
        let fetched = self.fetch(key, etag).await?;
        Ok(fetched
            .map_or_else(|none| none, |Object { content, etag, .. }| Fetched::Changed { content, etag }))
    }

    /// An object, or why there is none to read.
    async fn fetch(&self, key: &str, etag: Option<&str>) -> Result<Result<Object, Fetched>, CallError> {
        let step = format!("GetObject {}", self.address(key));
        persist(&step, self.deadline, Persistence::Usual, async || {
            let request = self.client.get_object().bucket(&self.name).key(key);
            let mut output = match request.set_if_none_match(etag.map(str::to_owned)).send().await {
                Ok(output) => output,
                Err(error) => return absent_or_unchanged(&step, &error).map(Err),
            };
            let etag = output.e_tag.take();
            let metadata = output.metadata.take().unwrap_or_default();
            let written = output.last_modified.map(|time| time.secs());
            let content = read(&step, output).await?;
            Ok(Ok(Object { content, etag, metadata, written }))
        })
        .await
    }

    /// A page of the objects whose keys begin with a prefix, in the order of their keys, and what continues it with
    /// the next page; `None` if that was the last.
    ///
    /// The role needs `s3:ListBucket`.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
    pub async fn list(
        &self,
        prefix: &str,
        continues: Option<&str>,
    ) -> Result<(Vec<Listed>, Option<String>), CallError> {
        let step = format!("ListObjectsV2 {}", self.address(prefix));
        persist(&step, self.deadline, Persistence::Usual, async || {
            let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let output = request.set_continuation_token(continues.map(str::to_owned)).send().await;
            let output = output.map_err(|error| CallError::from_sdk(&step, &error))?;
            let listed = output.contents.unwrap_or_default().into_iter().map(|object| Listed {
                key: object.key.unwrap_or_default(),
                written: object.last_modified.map(|time| time.secs()),
            });
            Ok((listed.collect(), output.next_continuation_token))
        })
        .await
    }

    /// Writes an object from memory.
    pub async fn put(
        &self,
        key: &str,
        content_type: &str,
        content: impl Into<Bytes>,
        persistence: Persistence,
    ) -> Result<(), CallError> {
        let content = content.into();
        self.put_with(key, persistence, async |request| {
            request.content_type(content_type).body(content.clone().into()).send().await
        })
        .await
    }

    /// Writes an object from memory if it is what the precondition says, and returns its new ETag; `None` if
    /// it is not, as somebody else has written it.
    pub async fn put_if(
        &self,
        key: &str,
        content_type: &str,
        content: impl Into<Bytes>,
        precondition: Precondition<'_>,
        persistence: Persistence,
    ) -> Result<Option<String>, CallError> {
        self.put_if_with(key, content_type, content, &[], precondition, persistence).await
    }

    /// The same with metadata beside the object: names in lower case, values in ASCII.
    ///
    /// A write whose answer was lost and that is made again finds its own object there: also `None`. The role
    /// needs `s3:PutObject`, and to replace an object `s3:GetObject` too.
    pub async fn put_if_with(
        &self,
        key: &str,
        content_type: &str,
        content: impl Into<Bytes>,
        metadata: &[(&str, String)],
        precondition: Precondition<'_>,
        persistence: Persistence,
    ) -> Result<Option<String>, CallError> {
        let content = content.into();
        let step = format!("PutObject {}", self.address(key));
        persist(&step, self.deadline, persistence, async || {
            let request = self.client.put_object().bucket(&self.name).key(key).content_type(content_type);
            let request =
                metadata.iter().fold(request, |request, (name, value)| request.metadata(*name, value));
            let request = match precondition {
                Precondition::Absent => request.if_none_match("*"),
                Precondition::Unchanged(etag) => request.if_match(etag),
            };
            match request.body(content.clone().into()).send().await {
                Ok(output) => Ok(Some(output.e_tag.unwrap_or_default())),
                Err(error) if is_refused(precondition, &error) => Ok(None),
                Err(error) => Err(CallError::from_sdk(&step, &error)),
            }
        })
        .await
    }

    /// Writes an object of `bytes` bytes from a body that is produced while it is sent, and again for
    /// another attempt.
    pub async fn put_body(
        &self,
        key: &str,
        content_type: &str,
        bytes: u64,
        persistence: Persistence,
        body: impl Fn() -> SdkBody,
    ) -> Result<(), CallError> {
        let attempt = AttemptTimeout(call::attempt(bytes));
        self.put_with(key, persistence, async |request| {
            let request = request.content_type(content_type).body(ByteStream::new(body()));
            request.customize().interceptor(attempt).send().await
        })
        .await
    }

    async fn put_with(
        &self,
        key: &str,
        persistence: Persistence,
        send: impl AsyncFn(
            PutObjectFluentBuilder,
        ) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>,
    ) -> Result<(), CallError> {
        let step = format!("PutObject {}", self.address(key));
        persist(&step, self.deadline, persistence, async || {
            let result = send(self.client.put_object().bucket(&self.name).key(key)).await;
            result.map(drop).map_err(|error| CallError::from_sdk(&step, &error))
        })
        .await
    }
}

/// `412 Precondition Failed`: it does not hold. An object that was to be unchanged and is gone is a 404.
fn is_refused(precondition: Precondition<'_>, error: &SdkError<PutObjectError, HttpResponse>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let is_gone = error.as_service_error().is_some_and(|error| error.meta().code() == Some("NoSuchKey"));
    status == Some(412) || (is_gone && precondition != Precondition::Absent)
}

/// `304 Not Modified` and `404 NoSuchKey` are answers here, not errors.
fn absent_or_unchanged(
    step: &str,
    error: &SdkError<GetObjectError, HttpResponse>,
) -> Result<Fetched, CallError> {
    if error.raw_response().is_some_and(|response| response.status().as_u16() == 304) {
        return Ok(Fetched::Unchanged);
    }
    let error = CallError::from_sdk(step, error);
    if error.kind == Kind::NotFound { Ok(Fetched::Absent) } else { Err(error) }
}

/// The body in one buffer of Content-Length bytes, so that 40 MB need 40 MB.
async fn read(step: &str, output: GetObjectOutput) -> Result<Bytes, CallError> {
    let length = output.content_length().and_then(|length| usize::try_from(length).ok());
    let mut buffer = Buffer::new(length.unwrap_or(0)).map_err(|error| {
        let message = format!("no memory for {length:?} bytes, raise MemorySize: {error}");
        CallError::new(step, Kind::Configuration, "OutOfMemory", message)
    })?;
    let mut body = output.body;
    while let Some(chunk) = body.next().await {
        let chunk = chunk
            .map_err(|error| CallError::new(step, Kind::Transient, "BodyInterrupted", error.to_string()))?;
        buffer.append(&chunk);
    }
    let content = buffer.into_bytes();
    match length {
        Some(length) if content.len() < length => {
            let message = format!("{} of {length} bytes came", content.len());
            Err(CallError::new(step, Kind::Transient, "BodyTruncated", message))
        }
        _ => Ok(content),
    }
}

/// From this size on a buffer comes straight from the system: the allocator would keep large blocks
/// beside each other, and then a message needs twice its size.
const LARGE: usize = 256 * 1024;

/// The last large buffer, for the next message: an instance handles one after the other, and to have new
/// pages from the system costs a tenth of what forwarding does.
static SPARE: Mutex<Option<MmapMut>> = Mutex::new(None);

/// A buffer for an object whose size is known beforehand.
enum Buffer {
    Small(Vec<u8>),
    Large { pages: Pages, filled: usize },
}

/// Pages that become the spare ones when nobody reads them any more.
struct Pages(Option<MmapMut>);

impl Buffer {
    fn new(size: usize) -> io::Result<Buffer> {
        if size < LARGE {
            return Ok(Buffer::Small(Vec::with_capacity(size)));
        }
        // One that is too small is given back before the larger one is asked for.
        let spare = spare().take().filter(|pages| pages.len() >= size);
        let pages = match spare {
            Some(pages) => pages,
            // Populated, as one call is cheaper than a fault for each page.
            None => MmapOptions::new().len(size).populate().map_anon()?,
        };
        Ok(Buffer::Large { pages: Pages(Some(pages)), filled: 0 })
    }

    fn append(&mut self, chunk: &[u8]) {
        match self {
            Buffer::Small(bytes) => bytes.extend_from_slice(chunk),
            Buffer::Large { pages, filled } => {
                let end = *filled + chunk.len();
                let pages = pages.0.as_mut().expect("they are given up only when dropped");
                pages
                    .get_mut(*filled..end)
                    .expect("HTTP ends a body at its Content-Length")
                    .copy_from_slice(chunk);
                *filled = end;
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Buffer::Small(bytes) => bytes.into(),
            Buffer::Large { pages, filled } => Bytes::from_owner(pages).slice(..filled),
        }
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        *spare() = self.0.take();
    }
}

fn spare() -> MutexGuard<'static, Option<MmapMut>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the attempts of one operation another time than the client's.
#[derive(Debug, Clone, Copy)]
struct AttemptTimeout(Duration);

impl Intercept for AttemptTimeout {
    fn name(&self) -> &'static str {
        "AttemptTimeout"
    }

    fn modify_before_retry_loop(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(call::timeouts(self.0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: usize, byte: u8, chunk: usize) -> Bytes {
        let mut buffer = Buffer::new(size).expect("there is memory");
        for piece in vec![byte; size].chunks(chunk) {
            buffer.append(piece);
        }
        buffer.into_bytes()
    }

    /// Sizes around [`LARGE`], growing and shrinking, some of them while another is still in use.
    #[test]
    fn a_buffer_holds_what_was_put_into_it_and_nothing_of_the_message_before() {
        for (byte, size) in [0, 1, LARGE - 1, LARGE, 3 * LARGE, LARGE + 1, 2 * LARGE].into_iter().enumerate()
        {
            let byte = byte as u8;
            let (one, other) = (filled(size, byte, 7000), filled(size / 2, byte + 100, 1));
            assert!(one == vec![byte; size], "{size} bytes");
            assert!(other == vec![byte + 100; size / 2], "{size} bytes");
            let part = one.slice(size / 2..);
            drop(one);
            let _next = filled(size, 255, 7000);
            assert!(part == vec![byte; size - size / 2], "{size} bytes, still read");
        }
    }
}
