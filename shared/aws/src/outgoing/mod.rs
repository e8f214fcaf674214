//! Outgoing mail: SES v2 SendEmail with a body produced while it is sent.
//!
//! The SDK builds the request around a small placeholder. Before the attempt the body is
//! swapped for one that encodes the message as it goes ([`content`]), the signature is told the hash
//! of that, and Content-Length its size; signing stays the SDK's own. It makes one attempt: further ones are this
//! crate's ([`call`]).
//!
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>

mod content;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_sesv2::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
    primitives::Blob,
    types::{Destination, EmailContent, MessageTag, RawMessage},
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use ses_forwarder::body::Recoding;

use self::content::Content;
use crate::call::{self, CallError, Deadline, Kind, Persistence, persist, sent};

/// Bytes that a message may have after base64 encoding.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
pub const MAX_ENCODED: u64 = 40 * 1024 * 1024;

/// What SES says, as `MessageRejected`, of identities that are not verified.
/// <https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html>
const UNVERIFIED: &str = "address is not verified";

/// Stands for the message while the SDK writes the JSON.
const PLACEHOLDER: &[u8] = b"message";

/// A message to send: its header block, and its body where it was read to.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The rewritten fields and the empty line.
    pub header: Bytes,
    /// All that follows, as it was stored.
    pub body: Bytes,
    /// How to send the body if lines of it are too long; else it is sent byte for byte.
    pub recoding: Option<Arc<Recoding>>,
}

/// Who sends it to whom, whatever the header says.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// `FromEmailAddress`.
    pub from: &'a str,
    /// `Destination.ToAddresses`, at most [`MAX_DESTINATIONS`](ses_forwarder::sends::MAX_DESTINATIONS).
    pub to: &'a [String],
    /// `ConfigurationSetName`.
    pub configuration_set: Option<&'a str>,
    /// `TenantName`.
    pub tenant: Option<&'a str>,
    /// `EmailTags`, which SES repeats in the events of this send.
    pub tags: &'a [(&'a str, String)],
    /// `FeedbackForwardingEmailAddress`: where bounces of it go, if not to `from`.
    pub feedback: Option<&'a str>,
}

/// SES v2, for the time of an invocation.
#[derive(Debug, Clone)]
pub struct Mailer {
    client: Client,
    deadline: Deadline,
    /// Whether the last send was throttled to its end.
    modest: Arc<AtomicBool>,
}

impl Outgoing {
    /// Bytes of the message.
    #[expect(clippy::len_without_is_empty, reason = "a message is never empty: there is a From")]
    pub fn len(&self) -> u64 {
        let body = self.recoding.as_ref().map_or(self.body.len() as u64, |recoding| recoding.len());
        self.header.len() as u64 + body
    }

    /// Bytes of the message in base64, as a request holds it.
    fn encoded_len(&self) -> u64 {
        self.len().div_ceil(3) * 4
    }

    /// Whether it is larger than SES says that it takes.
    pub fn is_too_large(&self) -> bool {
        self.encoded_len() > MAX_ENCODED
    }

    /// The message as a file would hold it, produced while it is sent.
    pub fn to_body(&self) -> SdkBody {
        Content::plain(self).into_body()
    }
}

impl Mailer {
    /// Sends until `deadline`.
    pub fn new(client: Client, deadline: Deadline) -> Mailer {
        Mailer { client, deadline, modest: Arc::default() }
    }

    /// The same until another deadline; both know whether SES throttles.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Mailer {
        Mailer { deadline, ..self.clone() }
    }

    /// What is left of the time for sending.
    pub fn left(&self) -> Duration {
        self.deadline.left()
    }

    /// Sends a message; returns the messageId that SES gave it, or nothing if its answer broke off.
    pub async fn send(&self, message: &Outgoing, envelope: Envelope<'_>) -> Result<String, CallError> {
        let send = async || {
            // All that is left: who waits may yet hear that SES has it, who tries again sends it twice.
            let attempt = self.deadline.left();
            let raw = RawMessage::builder().data(Blob::new(PLACEHOLDER)).build().expect("data is set");
            let result = self
                .client
                .send_email()
                .from_email_address(envelope.from)
                .destination(Destination::builder().set_to_addresses(Some(envelope.to.to_vec())).build())
                .set_configuration_set_name(envelope.configuration_set.map(str::to_owned))
                .set_tenant_name(envelope.tenant.map(str::to_owned))
                .set_email_tags(tags(envelope.tags))
                .set_feedback_forwarding_email_address(envelope.feedback.map(str::to_owned))
                .content(EmailContent::builder().raw(raw).build())
                .customize()
                .interceptor(Swap { message: message.clone(), attempt })
                .send()
                .await;
            let output = sent("SendEmail", result).map_err(|error| sized(classified(error), message))?;
            Ok(output.and_then(|output| output.message_id).unwrap_or_default())
        };
        let modest = async || {
            send().await.map_err(|error: CallError| match error.kind {
                // Others are waiting too. Who has insisted in vain asks once each time, until it is heard.
                Kind::Throttled if self.modest.load(Ordering::Relaxed) => {
                    CallError { kind: Kind::Paused, ..error }
                }
                _ => error,
            })
        };
        let result = persist("SendEmail", self.deadline, Persistence::Sending, modest).await;
        match &result {
            Ok(_) => self.modest.store(false, Ordering::Relaxed),
            Err(error) if error.kind == Kind::Throttled => self.modest.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        result
    }
}

/// Tags as the API takes them; none where there are none.
fn tags(tags: &[(&str, String)]) -> Option<Vec<MessageTag>> {
    let tag = |(name, value): &(&str, String)| MessageTag::builder().name(*name).value(value).build().ok();
    Some(tags.iter().filter_map(tag).collect::<Vec<_>>()).filter(|tags| !tags.is_empty())
}

/// What SES's names call for where the status would mislead.
pub(crate) fn classified(mut error: CallError) -> CallError {
    error.kind = match error.code.as_str() {
        "SendingPausedException" | "ConfigurationSetSendingPausedException" => Kind::Paused,
        "AccountSuspendedException" | "MailFromDomainNotVerifiedException" | "NotFoundException" => {
            Kind::Configuration
        }
        // Of the content, or of an identity, which someone can verify.
        "MessageRejected" if error.message.contains(UNVERIFIED) => Kind::Configuration,
        // An identity or a set that does not belong to the tenant, which someone can give it.
        "BadRequestException" if error.message.contains("tenant") => Kind::Configuration,
        _ => error.kind,
    };
    error
}

/// What SES's words leave out of a message that is too large.
fn sized(mut error: CallError, message: &Outgoing) -> CallError {
    let encoded = message.encoded_len();
    if error.kind == Kind::Permanent && message.is_too_large() {
        error.message.push_str(&format!(
            " (the message has {} bytes, {encoded} in base64; SES takes {MAX_ENCODED})",
            message.len(),
        ));
    }
    error
}

/// Swaps the placeholder for the message, once for all attempts.
#[derive(Debug)]
struct Swap {
    message: Outgoing,
    attempt: Duration,
}

impl Intercept for Swap {
    fn name(&self) -> &'static str {
        "Swap"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let json = request.body().bytes().ok_or("the request's JSON is not in memory")?;
        let (prefix, suffix) = around_placeholder(json).ok_or("the request's JSON has no placeholder")?;
        let content = Content::base64(prefix, &self.message, suffix);
        request.headers_mut().insert("content-length", content.len().to_string());
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(content.sha256()));
        config.interceptor_state().store_put(call::timeouts(self.attempt));
        *request.body_mut() = content.into_body();
        Ok(())
    }
}

/// The JSON before and behind the placeholder's base64. No text of an address can look like the
/// member it is the value of, as JSON escapes quotation marks in strings.
fn around_placeholder(json: &[u8]) -> Option<(Bytes, Bytes)> {
    let member = format!("\"Data\":\"{}\"", base64_simd::STANDARD.encode_to_string(PLACEHOLDER));
    let at = json.windows(member.len()).position(|window| window == member.as_bytes())?;
    let prefix = &json[..at + "\"Data\":\"".len()];
    let suffix = &json[at + member.len() - 1..];
    Some((Bytes::copy_from_slice(prefix), Bytes::copy_from_slice(suffix)))
}
