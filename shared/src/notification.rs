//! What SES says it received: the Lambda action event, the same notification wrapped in SNS, or
//! either of them bare (an archived notification is invoked again as it stands in the index).
//!
//! Reading is tolerant, since a message must not be lost to an odd notification: each field is read
//! on its own, so that an absent, null or mistyped one has its default and harms no other; unknown
//! fields are kept for the index and unknown verdict words as such. Only what is passed over
//! unread is nested, so nesting costs no stack however deep it is. `aws_lambda_events` is not
//! used: it refuses mail without From and drops fields when it writes a notification out again.
//!
//! What tells of no message is [`Record::Unreadable`]: a trigger that is wired to this function by mistake,
//! or a test event, would else be taken for mail that is forwarded. Two fields have no default. Without a
//! usable `mail.messageId` there is no message to fetch.
//! Without `receipt.recipients` nobody knows whom the message is for: `mail.destination` is no
//! substitute, since SES fills it from the To and Cc fields, which name strangers and leave out
//! whoever was in Bcc. Such a record is unreadable too, so that a person hears of it.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html>

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::well_known::{Iso8601, Rfc2822, Rfc3339},
};

/// What SES stores, and notifies of, when a receipt rule with an S3 action is created.
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-s3.html>
pub const SETUP_NOTIFICATION: &str = "AMAZON_SES_SETUP_NOTIFICATION";

/// The longest `mail.messageId` taken, in bytes. SES's own have 40; an S3 key has room for 1,024
/// including prefix, date and extension.
pub const MESSAGE_ID_MAX: usize = 128;

/// How much of a foreign text an explanation quotes, in characters.
const QUOTE_MAX: usize = 60;

/// What one record of an event is.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an event has few records, and nearly all are messages")]
pub enum Record<'a> {
    /// A message SES received.
    Received {
        /// The record's `ses` object (or the SNS message) as it came, on one line: what the index keeps.
        verbatim: Cow<'a, str>,
        /// What is read from it.
        notification: Notification,
    },
    /// About no message, as it should be: [`SETUP_NOTIFICATION`].
    Ignored(String),
    /// About no message, or without what is needed to find it or to tell whom it is for. An error for a
    /// person to look at: what came, or what is missing.
    Unreadable(String),
}

/// The parts of a notification that a decision or a record needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notification {
    /// `mail.messageId`: the key of the stored message. ASCII letters, digits, `-`, `_` and inner
    /// dots only, at most [`MESSAGE_ID_MAX`], so that it is safe in an object key.
    pub message_id: String,
    /// `mail.timestamp`, else `receipt.timestamp`, in UTC; `None` if neither can be read.
    pub timestamp: Option<OffsetDateTime>,
    /// `mail.source`: the envelope sender; `None` for the null reverse-path (RFC 5321 section 4.5.5).
    pub source: Option<String>,
    /// `receipt.recipients`: the envelope recipients that matched the rule, as written. Not empty.
    pub recipients: Vec<String>,
    /// `mail.commonHeaders.subject`, for the notice only; never logged.
    pub subject: Option<String>,
    /// `mail.commonHeaders.from`, for the notice only; never logged.
    pub from: Vec<String>,
    /// `receipt.spamVerdict.status`.
    pub spam: Verdict,
    /// `receipt.virusVerdict.status`.
    pub virus: Verdict,
    /// `receipt.spfVerdict.status`.
    pub spf: Verdict,
    /// `receipt.dkimVerdict.status`.
    pub dkim: Verdict,
    /// `receipt.dmarcVerdict.status`.
    pub dmarc: Verdict,
    /// `receipt.dmarcPolicy`, there only if DMARC failed: `none`, `quarantine` or `reject`.
    pub dmarc_policy: Option<String>,
}

/// A verdict of SES's scanners. Only [`Verdict::Fail`] is a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verdict {
    /// `PASS`.
    Pass,
    /// `FAIL`.
    Fail,
    /// `GRAY`: the scanner is not sure; for SPF and DKIM, the sender uses none.
    Gray,
    /// `PROCESSING_FAILED`: the scanner could not tell.
    ProcessingFailed,
    /// `DISABLED`, or absent: scanning is off.
    #[default]
    Disabled,
    /// A word SES did not document when this was written.
    Other(String),
}

impl Verdict {
    /// SES's word for it.
    pub fn word(&self) -> &str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Gray => "GRAY",
            Verdict::ProcessingFailed => "PROCESSING_FAILED",
            Verdict::Disabled => "DISABLED",
            Verdict::Other(word) => word,
        }
    }
}

/// In any case, though SES writes capitals.
impl From<&str> for Verdict {
    fn from(word: &str) -> Verdict {
        match &*word.to_ascii_uppercase() {
            "PASS" => Verdict::Pass,
            "FAIL" => Verdict::Fail,
            "GRAY" => Verdict::Gray,
            "PROCESSING_FAILED" => Verdict::ProcessingFailed,
            "DISABLED" => Verdict::Disabled,
            _ => Verdict::Other(word.to_owned()),
        }
    }
}

/// The records of an invocation's event: `{"Records":[…]}` with SES or SNS records, a bare SNS
/// notification or a bare SES notification.
///
/// ```
/// use ses_forwarder::notification::{Record, records};
///
/// let event = r#"{"Records": [{"eventSource": "aws:ses", "ses": {
///     "mail": {"messageId": "m1", "timestamp": "2026-11-23T10:00:00.000Z", "source": "jane@example.com"},
///     "receipt": {"recipients": ["info@in.example"], "spamVerdict": {"status": "PASS"}}}}]}"#;
/// let event = serde_json::from_str(event)?;
/// let [Record::Received { notification, .. }] = &records(event)[..] else { panic!("one message") };
/// assert_eq!(notification.message_id, "m1");
/// assert_eq!(notification.recipients, ["info@in.example"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn records(event: &RawValue) -> Vec<Record<'_>> {
    let Some(found) = Object::read(event).and_then(|object| object.0.get("Records").copied()) else {
        return vec![record(event)];
    };
    match serde_json::from_str::<Vec<&RawValue>>(found.get()) {
        Ok(records) if records.is_empty() => {
            vec![Record::Unreadable("an event whose `Records` is empty".to_owned())]
        }
        Ok(records) => records.into_iter().map(record).collect(),
        Err(_) => {
            let what = quoted(found.get());
            vec![Record::Unreadable(format!("an event whose `Records` is no list but {what}"))]
        }
    }
}

/// One element of `Records`, or a bare notification.
fn record(raw: &RawValue) -> Record<'_> {
    let Some(object) = Object::read(raw) else {
        return Record::Unreadable(format!("not a JSON object but {}", quoted(raw.get())));
    };
    let source = object.text("eventSource").or_else(|| object.text("EventSource"));
    match source.as_deref() {
        None | Some("aws:ses" | "aws:sns") => {}
        Some(other) => return Record::Unreadable(format!("a record of {}, not of aws:ses", quoted(other))),
    }
    if let Some(ses) = object.get("ses") {
        received(Cow::Borrowed(ses.get()))
    } else if let Some(sns) = object.get("Sns") {
        Object::read(sns).map_or_else(
            || Record::Unreadable("an SNS record without a notification".to_owned()),
            |sns| published(&sns),
        )
    } else if object.get("Message").is_some() {
        published(&object)
    } else if object.get("mail").or(object.get("receipt")).is_some() {
        received(Cow::Borrowed(raw.get()))
    } else if source.as_deref() == Some("aws:ses") {
        Record::Unreadable("a record of aws:ses without its `ses` object".to_owned())
    } else {
        let names: Vec<_> = object.0.keys().map(|name| &**name).collect();
        Record::Unreadable(format!("no SES notification but an object with {}", quoted(&names.join(", "))))
    }
}

/// An SNS notification; what SES published is its `Message`, as a string of JSON (or, in events
/// made by hand, as JSON).
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-examples.html>
fn published<'a>(sns: &Object<'a>) -> Record<'a> {
    if let Some(kind) = sns.text("Type").filter(|kind| kind != "Notification") {
        return Record::Unreadable(format!("an SNS message of type {}", quoted(&kind)));
    }
    match sns.get("Message") {
        Some(message) if message.get().starts_with('{') => received(Cow::Borrowed(message.get())),
        Some(message) => match text(message).filter(|text| text.trim_start().starts_with('{')) {
            Some(text) => received(Cow::Owned(text)),
            None => Record::Unreadable("an SNS message that is no SES notification".to_owned()),
        },
        None => Record::Unreadable("an SNS notification without a message".to_owned()),
    }
}

/// An SES notification.
fn received(json: Cow<'_, str>) -> Record<'_> {
    match notification(&json) {
        Ok(notification) => Record::Received { verbatim: on_one_line(json), notification },
        Err(Other::Ignored(what)) => Record::Ignored(what),
        Err(Other::Unreadable(what)) => Record::Unreadable(what),
    }
}

/// Why a notification is none of a received message.
enum Other {
    Ignored(String),
    Unreadable(String),
}

fn notification(json: &str) -> Result<Notification, Other> {
    let object = serde_json::from_str(json)
        .map(Object)
        .map_err(|error| Other::Unreadable(format!("an SES notification that is no JSON object: {error}")))?;
    // `notificationType` tells mail received from the fate of mail sent, which SES reports in the same
    // shape; with event publishing the field is called `eventType`. The Lambda action sends neither.
    if let Some(kind) = object.text("notificationType").or_else(|| object.text("eventType"))
        && kind != "Received"
    {
        return Err(Other::Unreadable(format!("an SES notification of type {}", quoted(&kind))));
    }
    if object.get("mail").is_none() {
        return Err(Other::Unreadable("an SES notification without `mail`, so about no message".to_owned()));
    }
    let mail = object.object("mail");
    let receipt = object.object("receipt");
    let common = mail.object("commonHeaders");
    let message_id = message_id(mail.text("messageId"))?;
    let recipients = receipt.texts("recipients");
    if recipients.is_empty() {
        return Err(Other::Unreadable(format!("message {message_id}: receipt.recipients names nobody")));
    }
    Ok(Notification {
        message_id,
        timestamp: mail.timestamp("timestamp").or_else(|| receipt.timestamp("timestamp")),
        source: mail.text("source").as_deref().and_then(reverse_path),
        recipients,
        subject: common.text("subject"),
        from: common.texts("from"),
        spam: receipt.verdict("spamVerdict"),
        virus: receipt.verdict("virusVerdict"),
        spf: receipt.verdict("spfVerdict"),
        dkim: receipt.verdict("dkimVerdict"),
        dmarc: receipt.verdict("dmarcVerdict"),
        dmarc_policy: receipt.text("dmarcPolicy"),
    })
}

/// A messageId goes into object keys, so it must not lead out of a prefix, and nothing but an id.
fn message_id(found: Option<String>) -> Result<String, Other> {
    let Some(id) = found.filter(|id| !id.is_empty()) else {
        return Err(Other::Unreadable("an SES notification without mail.messageId".to_owned()));
    };
    if id == SETUP_NOTIFICATION {
        return Err(Other::Ignored(format!("{SETUP_NOTIFICATION}, which SES sends when a rule is created")));
    }
    if is_message_id(&id) {
        Ok(id)
    } else {
        Err(Other::Unreadable(format!(
            "mail.messageId {} is none of SES's: expected at most {MESSAGE_ID_MAX} ASCII letters, digits, \
             `-`, `_` and `.`",
            quoted(&id)
        )))
    }
}

/// Whether a text is a messageId that is safe in an object key.
pub(crate) fn is_message_id(id: &str) -> bool {
    let safe = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    safe && !id.is_empty() && !id.starts_with('.') && id.len() <= MESSAGE_ID_MAX
}

/// The envelope sender without angle brackets; `None` for the null one in any spelling.
fn reverse_path(source: &str) -> Option<String> {
    let source = source.trim();
    let bare = source.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(source).trim();
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// JSON without its line ends. None of them stands in a string, where JSON wants them escaped, so
/// all are white space between tokens.
fn on_one_line(json: Cow<'_, str>) -> Cow<'_, str> {
    let ends = ['\n', '\r'];
    if json.contains(ends) { Cow::Owned(json.replace(ends, "")) } else { json }
}

/// A JSON object whose members are read one by one, when asked for. Of a repeated name, the last counts.
#[derive(Default)]
struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    fn read(raw: &'a RawValue) -> Option<Object<'a>> {
        serde_json::from_str(raw.get()).ok().map(Object)
    }

    /// A member, unless null.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|raw| raw.get() != "null")
    }

    fn object(&self, name: &str) -> Object<'a> {
        self.get(name).and_then(Object::read).unwrap_or_default()
    }

    fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        text(self.get(name)?)
    }

    /// A list of texts, or one text; members that are none are passed over.
    fn texts(&self, name: &str) -> Vec<String> {
        match self.list(name) {
            Some(list) => list.into_iter().filter_map(text).collect(),
            None => self.text(name).into_iter().collect(),
        }
    }

    /// `{"status":"PASS"}`, or the word alone.
    fn verdict(&self, name: &str) -> Verdict {
        let word = self.object(name).text("status").or_else(|| self.text(name));
        word.as_deref().map_or_else(Verdict::default, Verdict::from)
    }

    fn timestamp(&self, name: &str) -> Option<OffsetDateTime> {
        timestamp(self.text(name)?.trim())
    }
}

/// A string, or a number as it is written.
fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).ok(),
        Some(b'-' | b'0'..=b'9') => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// RFC 3339 as SES writes it; also ISO 8601 at large (without a zone it is UTC), RFC 5322 dates and
/// Unix time in seconds or milliseconds, as other sources of events have it. In UTC, from 1970 on.
fn timestamp(text: &str) -> Option<OffsetDateTime> {
    let read = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .or_else(|_| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| OffsetDateTime::parse(text, &Rfc2822))
        .ok()
        .or_else(|| unix_time(text.parse().ok()?))?;
    read.checked_to_offset(UtcOffset::UTC).filter(|utc| utc.year() >= 1970)
}

/// Seconds or milliseconds since 1970. What is too small to be a time since 2001 in either is no time.
fn unix_time(number: f64) -> Option<OffsetDateTime> {
    let seconds = match number {
        1e9..1e11 => number,
        1e12..1e14 => number / 1e3,
        _ => return None,
    };
    OffsetDateTime::from_unix_timestamp(seconds as i64).ok()
}

/// Foreign text for a sentence: escaped, and cut where it is long.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(QUOTE_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}
