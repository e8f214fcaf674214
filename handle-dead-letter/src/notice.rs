//! The notice: one for a batch of dead letters, in words that tell what to do.
//!
//! Pure. All text that comes from mail passes through [`plain_text`](crate::plain_text); nothing of a message's
//! body is in reach here, and what might hold one, an event that could not be read, comes through
//! [`without_content`].

use std::fmt::Write;

use ses_forwarder::{keys::Prefixes, notification::Notification, outcome::Failure};
use time::{OffsetDateTime, UtcOffset};

use crate::{
    cause,
    plain_text::{cut, header_text, plain, shell_word},
};

/// Where a stack keeps things, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `STACK_NAME`.
    pub stack: String,
    /// `AWS_REGION`.
    pub region: String,
    /// `BUCKET`.
    pub bucket: String,
    /// `MESSAGES_PREFIX` and the like.
    pub prefixes: Prefixes,
    /// Function to invoke to try again.
    pub handle_email: String,
}

/// One thing the operator should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A message was not forwarded, or not to everyone.
    Failed(Failed),
    /// A destination refused a forwarded message: the report came back as this message.
    Refused(Failed),
    /// A dead letter that can't be read.
    Unreadable {
        /// Name of the letter: a request id or the queue's.
        name: String,
        /// Why it can't be read.
        why: String,
        /// What failed, as Lambda says.
        failure: Failure,
        /// What the queue held, as it came.
        body: String,
    },
}

/// A message that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// What SES said of it.
    pub notification: Notification,
    /// When it came: the timestamp of the notification, or of now.
    pub received: OffsetDateTime,
    /// What failed.
    pub failure: Failure,
    /// Destinations that have it all the same.
    pub sent_to: Vec<String>,
    /// ARN of the function that failed, if known.
    pub function: Option<String>,
    /// How often the queue had it tried again.
    pub tries: u32,
    /// What could not be found out or recorded about it.
    pub doubt: Option<String>,
}

/// A message that the queue still has tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The message, and what it waits for.
    pub failed: Failed,
    /// Until when it is tried.
    pub until: OffsetDateTime,
    /// Whether that passes without anyone doing anything.
    pub by_itself: bool,
}

/// A notice, not yet in the form of any channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One line of printable text.
    pub subject: String,
    /// Lines that end in LF.
    pub text: String,
    /// Dead letters that can't be read, as they came but for the content of mail.
    pub attachments: Vec<Attachment>,
}

/// A text attached to a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// File name.
    pub name: String,
    /// Content.
    pub text: String,
}

/// Longest subject, sender or list of recipients shown, in characters.
const SHOWN: usize = 200;

/// Longest error shown, in characters. Lambda passes 1 KB of a message on.
const ERROR_SHOWN: usize = 1_024;

/// Longest error code in a subject.
const CODE_SHOWN: usize = 60;

/// Longest stack name in a subject, so that the count behind it is seen.
const STACK_SHOWN: usize = 40;

/// Recipients shown by name.
const RECIPIENTS_SHOWN: usize = 10;

/// Longest text of a notice in bytes: SNS takes 256 KB, and nobody reads that far. What does not
/// fit is named by its id.
const TEXT_LIMIT: usize = 128 * 1024;

/// Longest attachment in bytes: a batch of ten stays far under SES's limit, and an event that SES or
/// SNS made is a third of this.
const ATTACHMENT_LIMIT: usize = 256 * 1024;

/// Writes a notice of at least one item.
pub fn compose(items: &[&Item], place: &Place) -> Notice {
    let sections = items.iter().enumerate().map(|(at, item)| (item.name(), section(at + 1, item, place)));
    let text = with_sections(introduction(items, place), sections);
    let attachments = items.iter().filter_map(|item| item.attachment()).collect();
    Notice { subject: subject(&summary(items), place), text, attachments }
}

/// Writes a notice of at least one message that waits.
pub fn delay(waiting: &[&Waiting], place: &Place) -> Notice {
    let by_itself = waiting.iter().all(|waiting| waiting.by_itself);
    let code = waiting.iter().find(|waiting| waiting.by_itself == by_itself);
    let code = code.map_or("", |waiting| waiting.failed.failure.code.as_str());
    let summary = format!(
        "Mail {}: {}",
        if by_itself { "is delayed" } else { "waits for you" },
        plain(code, CODE_SHOWN)
    );
    let mut text = format!("{summary} (stack {}, {}).\n", place.stack, place.region);
    let until = waiting.iter().map(|waiting| waiting.until).min();
    let until = until.map_or_else(String::new, when);
    text.push_str(&if by_itself {
        format!("It is tried again by itself until {until}; there is nothing to do.\n")
    } else {
        format!(
            "Once what is wrong has been put right it goes out by itself, with no command to type; it is tried\n\
             until {until}.\n"
        )
    });
    text.push_str(
        "Whatever else waits for the same makes no notice for a day. Another comes when mail goes out again.\n",
    );
    let sections = waiting.iter().enumerate().map(|(at, waiting)| {
        let id = waiting.failed.notification.message_id.as_str();
        let mut section = failed_section(at + 1, &waiting.failed, place, false);
        line(&mut section, "Tried until", &when(waiting.until));
        (id, section)
    });
    Notice { subject: subject(&summary, place), text: with_sections(text, sections), attachments: Vec::new() }
}

/// Writes a notice that what [`delay`] told has passed.
pub fn all_clear(place: &Place) -> Notice {
    let summary = "Mail goes out again";
    let text = format!(
        "{summary} (stack {}, {}).\nWhat still waits follows by itself within some hours; there is nothing to do.\n",
        place.stack, place.region
    );
    Notice { subject: subject(summary, place), text, attachments: Vec::new() }
}

/// The text with as many sections, each with its name, as there is room for; the others are named.
fn with_sections<'a>(mut text: String, sections: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut left_out = Vec::new();
    for (name, section) in sections {
        if text.len() + section.len() <= TEXT_LIMIT {
            text.push_str(&section);
        } else {
            left_out.push(name);
        }
    }
    if !left_out.is_empty() {
        let names = left_out.join(" ");
        let names = cut(&names, TEXT_LIMIT / 2);
        let _ = writeln!(text, "\nThere is no room for {} more: {names}", left_out.len());
    }
    text
}

/// What a letter holds, without the content of mail: SNS puts the whole message under `content`.
///
/// In JSON every field of that name is emptied, also in JSON within a string, as SNS wraps it. What
/// is no JSON, as it was cut off, ends where such a field begins.
pub fn without_content(body: &str) -> String {
    if let Ok(mut value) = serde_json::from_str(body) {
        empty_content(&mut value);
        return value.to_string();
    }
    let field = body.match_indices(CONTENT).map(|(at, _)| at).find(|at| {
        let rest = body[at + CONTENT.len()..].trim_start_matches('\\');
        body[..*at].ends_with('"') && rest.starts_with('"')
    });
    match field {
        Some(at) => format!("{}{CONTENT} …{LEFT_OUT}", &body[..at]),
        None => body.to_owned(),
    }
}

const CONTENT: &str = "content";
const LEFT_OUT: &str = "[left out: it is the mail itself]";

fn empty_content(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if name == CONTENT {
                    *field = LEFT_OUT.into();
                } else {
                    empty_content(field);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(empty_content),
        Value::String(text) if text.contains(CONTENT) => *text = without_content(text),
        _ => {}
    }
}

impl Item {
    /// The message's id, or the letter's name.
    pub fn name(&self) -> &str {
        match self {
            Item::Failed(failed) | Item::Refused(failed) => &failed.notification.message_id,
            Item::Unreadable { name, .. } => name,
        }
    }

    fn attachment(&self) -> Option<Attachment> {
        let Item::Unreadable { name, body, .. } = self else { return None };
        let mut text = without_content(body);
        let whole = text.len();
        if whole > ATTACHMENT_LIMIT {
            text.truncate(cut(&text, ATTACHMENT_LIMIT).len());
            let _ = write!(text, "\n[cut: {ATTACHMENT_LIMIT} of {whole} bytes]");
        }
        Some(Attachment { name: format!("{name}.txt"), text })
    }
}

/// How many of each kind, in words: `3 messages could not be forwarded`.
fn summary(items: &[&Item]) -> String {
    let count = |is: fn(&Item) -> bool| items.iter().filter(|item| is(item)).count();
    let sentences = [
        (
            count(|item| matches!(item, Item::Failed(_))),
            "message could not be forwarded",
            "messages could not be forwarded",
        ),
        (
            count(|item| matches!(item, Item::Refused(_))),
            "forwarded message was refused by its destination",
            "forwarded messages were refused by their destinations",
        ),
        (
            count(|item| matches!(item, Item::Unreadable { .. })),
            "failed event could not be read",
            "failed events could not be read",
        ),
    ];
    let told = sentences.iter().filter(|(count, ..)| *count > 0).map(|(count, one, more)| {
        let sentence = if *count == 1 { one } else { more };
        format!("{count} {sentence}")
    });
    told.collect::<Vec<_>>().join(", ")
}

pub(crate) fn subject(summary: &str, place: &Place) -> String {
    format!("[{}] {summary}", cut(&place.stack, STACK_SHOWN))
}

fn introduction(items: &[&Item], place: &Place) -> String {
    let mut text = format!("{} (stack {}, {}).\n", summary(items), place.stack, place.region);
    if items.iter().any(|item| matches!(item, Item::Failed(_))) {
        text.push_str(
            "Nothing is lost: each message is kept in S3. Once its cause is gone, the command below it tries\n\
             again; a message that has been forwarded meanwhile is not sent twice.\n",
        );
    }
    text
}

fn section(number: usize, item: &Item, place: &Place) -> String {
    match item {
        Item::Failed(failed) => failed_section(number, failed, place, true),
        Item::Refused(failed) => failed_section(number, failed, place, false),
        Item::Unreadable { name, why, failure, .. } => {
            let cause = cause::of(failure);
            let mut text = format!("\n{number}. A failed event that can't be read ({name})\n\n");
            line(&mut text, "Why", &plain(why, ERROR_SHOWN));
            line(&mut text, "What failed", &format!("{} {}", cause.what, cause.remedy));
            line(&mut text, "Error", &error(failure));
            line(&mut text, "Event", "attached, without the content of mail");
            text
        }
    }
}

fn failed_section(number: usize, failed: &Failed, place: &Place, try_again: bool) -> String {
    let Place { bucket, prefixes, .. } = place;
    let Failed { notification, received, failure, .. } = failed;
    let (id, day) = (notification.message_id.as_str(), received.date());
    let cause = cause::of(failure);
    let index = format!("s3://{bucket}/{}", prefixes.index(day, id));
    let mut text = format!("\n{number}. {}\n\n", subject_of(notification));
    line(&mut text, "Received", &when(*received));
    line(&mut text, "From", &sender_of(notification));
    line(&mut text, "To", &recipients_of(&notification.recipients));
    line(&mut text, "What failed", &format!("{} {}", cause.what, cause.remedy));
    line(&mut text, "Error", &error(failure));
    if !failed.sent_to.is_empty() {
        line(&mut text, "Has it", &recipients_of(&failed.sent_to));
    }
    if failed.tries > 0 {
        line(&mut text, "Tried again", &format!("{} times", failed.tries));
    }
    if let Some(doubt) = &failed.doubt {
        line(&mut text, "Beware", &plain(doubt, ERROR_SHOWN));
    }
    line(&mut text, "Message", &format!("s3://{bucket}/{}", prefixes.message(id)));
    line(&mut text, "Index", &index);
    line(&mut text, "Outcome", &format!("s3://{bucket}/{}", prefixes.outcome(day, id)));
    if try_again {
        let copy = format!("s3://{bucket}/{} (if SES refused it)", prefixes.error(day, id));
        line(&mut text, "Error copy", &copy);
        let function = failed.function.as_deref().map_or(place.handle_email.as_str(), name_in_arn);
        let _ = writeln!(text, "\nTry again:\n{}", try_again_command(&index, id, &place.region, function));
    }
    text
}

/// The command that hands an archived notification to the function again: one line, for a POSIX
/// shell with the AWS CLI version 2, and nothing of this project.
pub fn try_again_command(index: &str, message_id: &str, region: &str, function: &str) -> String {
    let file = format!("{message_id}.json");
    format!(
        "aws s3 cp --region {region} {index} {file} && aws lambda invoke --region {region} --function-name \
         {function} --invocation-type Event --cli-binary-format raw-in-base64-out --payload {payload} /dev/null",
        region = shell_word(region),
        index = shell_word(index),
        function = shell_word(function),
        payload = shell_word(&format!("file://{file}")),
        file = shell_word(&file),
    )
}

pub(crate) fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<12} {value}");
}

fn error(failure: &Failure) -> String {
    let Failure { code, message } = failure;
    let named = if message.contains(code.as_str()) { message } else { &format!("{code}: {message}") };
    plain(named, ERROR_SHOWN)
}

pub(crate) fn subject_of(notification: &Notification) -> String {
    let subject = notification.subject.as_deref().map(|subject| header_text(subject, SHOWN));
    subject.filter(|subject| !subject.is_empty()).unwrap_or_else(|| "(no subject)".to_owned())
}

/// The header's authors, else the envelope sender.
pub(crate) fn sender_of(notification: &Notification) -> String {
    let authors = header_text(&notification.from.join(", "), SHOWN);
    if !authors.is_empty() {
        return authors;
    }
    match notification.source.as_deref().map(|source| plain(source, SHOWN)) {
        Some(source) if !source.is_empty() => source,
        _ => "(a null sender: a report or an automatic answer)".to_owned(),
    }
}

pub(crate) fn recipients_of(recipients: &[String]) -> String {
    let shown: Vec<_> =
        recipients.iter().take(RECIPIENTS_SHOWN).map(|address| plain(address, SHOWN)).collect();
    let mut list = shown.join(", ");
    let more = recipients.len() - shown.len();
    if more > 0 {
        let _ = write!(list, " and {more} more");
    }
    list
}

pub(crate) fn when(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (hour, minute, second) = time.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", time.date())
}

/// The function's name in `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`; the ARN itself
/// if it is none.
fn name_in_arn(arn: &str) -> &str {
    arn.split(':').nth(6).unwrap_or(arn)
}

/// A place for tests.
#[cfg(test)]
pub(crate) fn place() -> Place {
    let [messages, index, outcome, error] = ["messages/", "index/", "outcome/", "error/"].map(str::to_owned);
    Place {
        stack: "forwarder".to_owned(),
        region: "eu-west-1".to_owned(),
        bucket: "mail".to_owned(),
        prefixes: ses_forwarder::keys::Prefixes { messages, index, outcome, error },
        handle_email: "forwarder-handle-email".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failed(code: &str, message: &str) -> Failed {
        Failed {
            notification: Notification {
                message_id: "5f0h2kq8".to_owned(),
                source: Some("jane@example.com".to_owned()),
                recipients: vec!["info@in.example".to_owned(), "sales@in.example".to_owned()],
                subject: Some("=?utf-8?q?Caf=C3=A9?= on Friday?".to_owned()),
                from: vec!["=?utf-8?q?Ren=C3=A9e?= <r@x.example>".to_owned()],
                ..Notification::default()
            },
            received: OffsetDateTime::from_unix_timestamp(1_795_166_073).unwrap(),
            failure: Failure { code: code.to_owned(), message: message.to_owned() },
            sent_to: Vec::new(),
            function: None,
            tries: 0,
            doubt: None,
        }
    }

    fn composed(items: &[Item]) -> Notice {
        compose(&items.iter().collect::<Vec<_>>(), &place())
    }

    fn unreadable(body: &str) -> Item {
        Item::Unreadable {
            name: "8c1b".to_owned(),
            why: "it is no JSON".to_owned(),
            failure: Failure { code: "Error".to_owned(), message: "signal: killed".to_owned() },
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_notice_of_one_message() {
        let message = "message 5f0h2kq8: SendEmail failed: SendingPausedException: Email sending is paused.";
        let notice = composed(&[Item::Failed(failed("SendingPausedException", message))]);
        assert_eq!(notice.subject, "[forwarder] 1 message could not be forwarded");
        assert_eq!(notice.attachments, []);
        assert_eq!(
            notice.text,
            "1 message could not be forwarded (stack forwarder, eu-west-1).
Nothing is lost: each message is kept in S3. Once its cause is gone, the command below it tries
again; a message that has been forwarded meanwhile is not sent twice.

1. Café on Friday?

Received     2026-11-20 09:14:33 UTC
From         Renée <r@x.example>
To           info@in.example, sales@in.example
What failed  Sending is paused for this SES account or its configuration set. Find out why (SES console, \
Account dashboard) and enable it again: aws sesv2 put-account-sending-attributes --sending-enabled.
Error        message 5f0h2kq8: SendEmail failed: SendingPausedException: Email sending is paused.
Message      s3://mail/messages/5f0h2kq8
Index        s3://mail/index/2026/11/20/5f0h2kq8.json
Outcome      s3://mail/outcome/2026/11/20/5f0h2kq8.json
Error copy   s3://mail/error/2026/11/20/5f0h2kq8.eml (if SES refused it)

Try again:
aws s3 cp --region eu-west-1 s3://mail/index/2026/11/20/5f0h2kq8.json 5f0h2kq8.json && \
aws lambda invoke --region eu-west-1 --function-name forwarder-handle-email --invocation-type Event \
--cli-binary-format raw-in-base64-out --payload file://5f0h2kq8.json /dev/null
"
        );
    }

    #[test]
    fn subjects_count_in_words() {
        let failed = || Item::Failed(failed("Timeout", ""));
        let refused = || Item::Refused(self::failed("Bounce", ""));
        let cases = [
            (vec![failed(), failed(), failed()], "3 messages could not be forwarded"),
            (vec![refused()], "1 forwarded message was refused by its destination"),
            (vec![unreadable(""), unreadable("")], "2 failed events could not be read"),
            (
                vec![refused(), failed(), unreadable(""), refused()],
                "1 message could not be forwarded, 2 forwarded messages were refused by their destinations, 1 \
                 failed event could not be read",
            ),
        ];
        for (items, expected) in cases {
            let notice = composed(&items);
            assert_eq!(notice.subject, format!("[forwarder] {expected}"));
            assert!(notice.text.starts_with(&format!("{expected} (stack forwarder, eu-west-1).\n")));
        }
        let long = Place { stack: "x".repeat(128), ..place() };
        let subject = compose(&[&failed()], &long).subject;
        assert_eq!(subject, format!("[{}] 1 message could not be forwarded", "x".repeat(STACK_SHOWN)));
    }

    /// Lines that a section must and must not have.
    #[test]
    fn sections() {
        let base = || failed("Timeout", "no answer in time");
        let cases = [
            (
                "a name that the error lacks",
                Item::Failed(base()),
                "Error        Timeout: no answer in time\n",
                "Has it",
            ),
            (
                "the function that a letter names",
                Item::Failed(Failed {
                    function: Some("arn:aws:lambda:eu-west-1:123456789012:function:other:$LATEST".to_owned()),
                    ..base()
                }),
                " --function-name other ",
                "forwarder-handle-email",
            ),
            (
                "some have it",
                Item::Failed(Failed { sent_to: vec!["ann@out.example".to_owned()], ..base() }),
                "Has it       ann@out.example\n",
                "Beware",
            ),
            (
                "in doubt",
                Item::Failed(Failed { doubt: Some("S3 is away".to_owned()), ..base() }),
                "Beware       S3 is away\n",
                "Has it",
            ),
            (
                "a refusal is not tried again",
                Item::Refused(failed("Bounce", "")),
                "What failed  A destination refused a message",
                "Try again",
            ),
            (
                "no author: the envelope sender",
                Item::Failed(Failed {
                    notification: Notification { from: Vec::new(), ..base().notification },
                    ..base()
                }),
                "From         jane@example.com\n",
                "null sender",
            ),
            (
                "nothing known",
                Item::Failed(Failed { notification: Notification::default(), ..base() }),
                "1. (no subject)\n\nReceived     2026-11-20 09:14:33 UTC\nFrom         (a null sender",
                "jane",
            ),
            (
                "many recipients",
                Item::Failed(Failed {
                    notification: Notification {
                        recipients: vec!["a@in.example".to_owned(); 12],
                        ..base().notification
                    },
                    ..base()
                }),
                "a@in.example and 2 more\n",
                "b@",
            ),
            ("unreadable", unreadable("{"), "Why          it is no JSON\n", "Try again"),
        ];
        for (name, item, has, has_not) in cases {
            let text = composed(&[item]).text;
            assert!(text.contains(has), "{name}: {text}");
            assert!(!text.contains(has_not), "{name}: {text}");
        }
    }

    #[test]
    fn the_content_of_mail_is_left_out() {
        let mark = "[left out: it is the mail itself]";
        let cases = [
            (
                "plain JSON",
                r#"{"mail":{"a":1},"content":"Secret"}"#,
                format!(r#"{{"content":"{mark}","mail":{{"a":1}}}}"#),
            ),
            ("deep", r#"[{"x":{"content":{"a":"Secret"}}}]"#, format!(r#"[{{"x":{{"content":"{mark}"}}}}]"#)),
            (
                "JSON in a string",
                r#"{"Message":"{\"content\":\"Secret\"}"}"#,
                format!(r#"{{"Message":"{{\"content\":\"{mark}\"}}"}}"#),
            ),
            ("cut off", r#"{"mail":{},"content":"Secret"#, format!(r#"{{"mail":{{}},"content …{mark}"#)),
            (
                "cut off in a string",
                r#"{"Message":"{\"mail\":1,\"content\":\"Secret"#,
                format!(r#"{{"Message":"{{\"mail\":1,\"content …{mark}"#),
            ),
            ("a word", "the content is no field", "the content is no field".to_owned()),
            ("a word in JSON", r#"{"a":"content"}"#, r#"{"a":"content"}"#.to_owned()),
        ];
        for (name, body, expected) in cases {
            assert_eq!(without_content(body), expected, "{name}");
        }
    }

    #[test]
    fn an_attachment_is_bounded() {
        let notice = composed(&[unreadable(&"ü".repeat(500_000))]);
        let [Attachment { name, text }] = notice.attachments.as_slice() else { panic!("one attachment") };
        assert_eq!(name, "8c1b.txt");
        assert!(text.ends_with("\n[cut: 262144 of 1000000 bytes]") && text.len() < ATTACHMENT_LIMIT + 40);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let items = vec![Item::Failed(failed("Timeout", &"x".repeat(2_000))); 500];
        let text = composed(&items).text;
        assert!(text.len() <= TEXT_LIMIT + TEXT_LIMIT / 2 + 100, "{}", text.len());
        let last = text.lines().last().unwrap();
        let shown = text.matches("Try again:").count();
        assert_eq!(last.matches("5f0h2kq8").count(), 500 - shown);
    }

    proptest! {
        #[test]
        fn hostile_text_stays_in_its_line(subject: String, from: String, to: String, source: String, error: String) {
            let mut failed = failed("X", &error);
            failed.notification.subject = Some(subject);
            failed.notification.from = vec![from];
            failed.notification.recipients = vec![to];
            failed.notification.source = Some(source);
            let notice = composed(&[Item::Failed(failed)]);
            let plain = composed(&[Item::Failed(self::failed("X", "x"))]);
            prop_assert_eq!(notice.text.lines().count(), plain.text.lines().count());
            prop_assert!(!notice.text.chars().any(|c| c.is_control() && c != '\n'));
            prop_assert!(!notice.subject.contains(char::is_control));
            prop_assert!(notice.text.len() < 16 * 1024);
        }

        #[test]
        fn no_content_in_whatever_is_cut_off(at in 0usize..90, secret in "[a-z]{5,20}") {
            let inner = format!(r#"{{"mail":{{"messageId":"x"}},"content":"{secret}!"}}"#);
            let body = serde_json::json!({ "Message": inner }).to_string();
            let at = at.min(body.len());
            prop_assert!(!without_content(&body[..at]).contains(&secret));
        }
    }
}
