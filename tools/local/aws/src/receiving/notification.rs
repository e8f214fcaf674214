//! What SES tells a function of a message.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html>

use bytes::Bytes;
use mail_parser::{Addr, Address, MessageParser};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{envelope::Envelope, header::header_block, verdicts::Verdicts};

/// Headers beyond this are left out, and `headersTruncated` says so.
const MAX_HEADERS: usize = 10 * 1024;

const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What a notification is about.
pub(super) struct About<'a> {
    pub(super) id: &'a str,
    pub(super) envelope: &'a Envelope,
    /// The recipients the rule matches.
    pub(super) recipients: &'a [String],
    pub(super) verdicts: &'a Verdicts,
    /// As stored, SES's own fields included.
    pub(super) message: &'a [u8],
    pub(super) at: OffsetDateTime,
}

impl About<'_> {
    /// The event of a Lambda action.
    pub(super) fn lambda_event(&self, function_arn: &str) -> Bytes {
        let event = json!({"Records": [{
            "eventSource": "aws:ses",
            "eventVersion": "1.0",
            "ses": {"mail": self.mail(), "receipt": self.receipt(function_arn)},
        }]});
        Bytes::from(event.to_string())
    }

    fn mail(&self) -> Value {
        let header = header_block(self.message);
        let (headers, headers_truncated) = fields(header);
        let headers = headers.into_iter().map(|(name, value)| json!({"name": name, "value": value}));
        let (common_headers, destination) = common_headers(header);
        json!({
            "timestamp": self.timestamp(),
            "source": self.envelope.from.as_deref().unwrap_or("<>"),
            "messageId": self.id,
            "destination": destination,
            "headersTruncated": headers_truncated,
            "headers": headers.collect::<Vec<_>>(),
            "commonHeaders": common_headers,
        })
    }

    fn receipt(&self, function_arn: &str) -> Value {
        let verdict = |check| json!({"status": self.verdicts.get(check)});
        without_nulls(json!({
            "timestamp": self.timestamp(),
            "processingTimeMillis": 1,
            "recipients": self.recipients,
            "spamVerdict": verdict("spam"),
            "virusVerdict": verdict("virus"),
            "spfVerdict": verdict("spf"),
            "dkimVerdict": verdict("dkim"),
            "dmarcVerdict": verdict("dmarc"),
            "dmarcPolicy": self.verdicts.dmarc_policy(),
            "action": {"type": "Lambda", "functionArn": function_arn, "invocationType": "Event"},
        }))
    }

    fn timestamp(&self) -> String {
        self.at.format(TIMESTAMP).expect("a date and time has all these parts")
    }
}

/// The subject as it stands in the header, for the journal.
pub(super) fn subject(message: &[u8]) -> String {
    let mut fields = ses_forwarder::header::split(message).fields();
    let subject = fields.find(|field| field.is("Subject"));
    subject.map(|field| String::from_utf8_lossy(field.value.trim_ascii()).into_owned()).unwrap_or_default()
}

/// The domain of the first author, in lower case.
pub(super) fn author_domain(message: &[u8]) -> Option<String> {
    let author = ses_forwarder::header::HeaderFacts::of(&ses_forwarder::header::split(message)).author;
    author.map(|author| author.domain().to_owned())
}

/// Fields as they came, unfolded, up to the limit, and whether there were more.
fn fields(header: &[u8]) -> (Vec<(String, String)>, bool) {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut size = 0;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        size += line.len();
        if size > MAX_HEADERS {
            return (fields, true);
        }
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        if let (true, Some((_, value))) = (text.starts_with([' ', '\t']), fields.last_mut()) {
            value.push_str(text);
        } else if let Some((name, value)) = text.split_once(':') {
            fields.push((name.trim_end().to_owned(), value.trim_start().to_owned()));
        }
    }
    (fields, false)
}

/// The fields that SES reads for one, decoded, those that are there; and the addresses that To, Cc and Bcc name.
fn common_headers(header: &[u8]) -> (Value, Vec<String>) {
    let Some(parsed) = MessageParser::default().parse(header) else { return (json!({}), Vec::new()) };
    let destination = [parsed.to(), parsed.cc(), parsed.bcc()];
    let destination = destination.into_iter().flatten().flat_map(Address::iter).filter_map(Addr::address);
    let raw = |name: &str| parsed.header_raw(name).map(|value| value.trim().to_owned());
    let common = json!({
        "returnPath": raw("Return-Path").map(|path| path.trim_matches(['<', '>']).to_owned()),
        "from": parsed.from().map(mailboxes),
        "date": raw("Date"),
        "to": parsed.to().map(mailboxes),
        "cc": parsed.cc().map(mailboxes),
        "bcc": parsed.bcc().map(mailboxes),
        "sender": parsed.sender().and_then(|sender| mailboxes(sender).into_iter().next()),
        "replyTo": parsed.reply_to().map(mailboxes),
        "messageId": raw("Message-ID"),
        "subject": parsed.subject(),
    });
    (without_nulls(common), destination.map(str::to_owned).collect())
}

/// What SES has nothing to tell of, it leaves out.
fn without_nulls(mut object: Value) -> Value {
    object.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
    object
}

/// Mailboxes as SES writes them: name and address, or the address alone.
fn mailboxes(address: &Address<'_>) -> Vec<String> {
    let mailbox = |addr: &Addr<'_>| match (addr.name(), addr.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => address.or(name).unwrap_or_default().to_owned(),
    };
    address.iter().map(mailbox).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn event(message: &str, verdicts: &str) -> serde_json::Value {
        let envelope = Envelope {
            from: Some("ann@else.example".into()),
            recipients: vec!["info@in.example".into(), "x@other.example".into()],
            helo: "h".into(),
            peer: "127.0.0.1".into(),
            tls: false,
        };
        let about = About {
            id: "id1",
            envelope: &envelope,
            recipients: &envelope.recipients[..1],
            verdicts: &verdicts.parse().unwrap(),
            message: message.as_bytes(),
            at: datetime!(2026-11-25 01:02:03.004 UTC),
        };
        serde_json::from_slice(&about.lambda_event("arn:f")).unwrap()
    }

    #[test]
    fn an_event_tells_what_ses_tells() {
        let message = "Return-Path: <ann@else.example>\r\nFrom: =?utf-8?q?Ann_B=C3=A4r?= <ann@else.example>\r\n\
                       To: Info <info@in.example>,\r\n\tbob@else.example\r\nCC: c@else.example\r\n\
                       Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@else.example>\r\n\r\nSubject: body\r\n";
        assert_eq!(
            event(message, "dmarc=FAIL,dmarc-policy=reject,spam=GRAY"),
            json!({"Records": [{
                "eventSource": "aws:ses",
                "eventVersion": "1.0",
                "ses": {
                    "mail": {
                        "timestamp": "2026-11-25T01:02:03.004Z",
                        "source": "ann@else.example",
                        "messageId": "id1",
                        "destination": ["info@in.example", "bob@else.example", "c@else.example"],
                        "headersTruncated": false,
                        "headers": [
                            {"name": "Return-Path", "value": "<ann@else.example>"},
                            {"name": "From", "value": "=?utf-8?q?Ann_B=C3=A4r?= <ann@else.example>"},
                            {"name": "To", "value": "Info <info@in.example>,\tbob@else.example"},
                            {"name": "CC", "value": "c@else.example"},
                            {"name": "Subject", "value": "=?utf-8?q?Gr=C3=BC=C3=9Fe?="},
                            {"name": "Message-ID", "value": "<1@else.example>"},
                        ],
                        "commonHeaders": {
                            "returnPath": "ann@else.example",
                            "from": ["Ann Bär <ann@else.example>"],
                            "to": ["Info <info@in.example>", "bob@else.example"],
                            "cc": ["c@else.example"],
                            "messageId": "<1@else.example>",
                            "subject": "Grüße",
                        },
                    },
                    "receipt": {
                        "timestamp": "2026-11-25T01:02:03.004Z",
                        "processingTimeMillis": 1,
                        "recipients": ["info@in.example"],
                        "spamVerdict": {"status": "GRAY"},
                        "virusVerdict": {"status": "PASS"},
                        "spfVerdict": {"status": "PASS"},
                        "dkimVerdict": {"status": "PASS"},
                        "dmarcVerdict": {"status": "FAIL"},
                        "dmarcPolicy": "reject",
                        "action": {"type": "Lambda", "functionArn": "arn:f", "invocationType": "Event"},
                    },
                },
            }]})
        );
    }

    #[test]
    fn long_headers_are_cut() {
        let message = format!("Subject: x\r\n{}\r\nbody", "X-Long: 0123456789\r\n".repeat(600));
        let event = event(&message, "spam=PASS");
        let mail = &event["Records"][0]["ses"]["mail"];
        assert_eq!(mail["headersTruncated"], true);
        assert_eq!(mail["headers"].as_array().unwrap().len(), 1 + (MAX_HEADERS - 12) / 20);
    }

    #[test]
    fn odd_messages_still_make_an_event() {
        for message in ["", "\r\n", "no header at all", "Subject", ": x\r\n", "\u{fffd}\r\n\r\n"] {
            let event = event(message, "spam=PASS");
            assert_eq!(event["Records"][0]["ses"]["mail"]["messageId"], "id1", "{message:?}");
            assert_eq!(event["Records"][0]["ses"]["receipt"].get("dmarcPolicy"), None, "{message:?}");
        }
    }
}
