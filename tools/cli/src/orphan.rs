//! A message that is stored but that no function was ever told of, as SES could not invoke it: the event
//! rebuilt from the fields that SES puts before a message that it stores.
//!
//! SES's fields come first and are SES's alone, so the first of each name counts; what the sender wrote
//! below can't take their place. Not known are the recipients beyond the one that SES names in its
//! Received field, and the DMARC policy of the sender's domain.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-lambda-event.html>

use mail_parser::{Address, MessageParser};
use serde_json::{Value, json};
use ses_forwarder::header::{self, HeaderBlock};
use time::{
    OffsetDateTime, UtcOffset,
    format_description::well_known::{Rfc2822, Rfc3339},
};

/// Longest list of header fields in the event, in bytes, as in SES's own.
const MAX_HEADERS: usize = 10 * 1024;

/// What is rebuilt.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebuilt {
    /// The event as SES's Lambda action sends it.
    pub event: Value,
    /// Addresses in To and Cc at the recipient's domain that SES may have had in the envelope as well.
    pub others: Vec<String>,
}

/// Rebuilds the event of a stored message from its beginning. `stored` is when it was stored. The error
/// says why the fields can't be SES's.
pub fn rebuild(
    message_id: &str,
    message: &[u8],
    stored: OffsetDateTime,
    function_arn: &str,
) -> Result<Rebuilt, String> {
    let block = header::split(message);
    let received = first(&block, "Received").ok_or("it has no Received field, so SES has not stored it")?;
    let words: Vec<&str> = received.split_whitespace().collect();
    let after =
        |word: &str| words.iter().position(|other| *other == word).and_then(|at| words.get(at + 1)).copied();
    if after("id").map(|id| id.trim_end_matches(';')) != Some(message_id) {
        return Err("its first Received field does not name it, so it is none of SES's".to_owned());
    }
    let recipient = after("for")
        .map(|recipient| recipient.trim_matches(['<', '>', ';']))
        .filter(|recipient| recipient.contains('@'))
        .ok_or("its first Received field names no recipient")?;
    let date = received.rsplit_once(';').map(|(_, date)| date.split('(').next().unwrap_or(date).trim());
    let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()).unwrap_or(stored);
    let timestamp = date.to_offset(UtcOffset::UTC).format(&Rfc3339).map_err(|error| error.to_string())?;
    let source = first(&block, "Return-Path").unwrap_or_default();
    let source = source.trim().trim_matches(['<', '>']).to_owned();
    let results = first(&block, "Authentication-Results").unwrap_or_default();
    let spf = first(&block, "Received-SPF").unwrap_or_default();
    let verdict =
        |name: &str| json!({"status": first(&block, name).unwrap_or_else(|| "DISABLED".to_owned())});
    let (common, destination) = common_headers(message, block.body_at, &source);
    let domain = recipient.rsplit('@').next().unwrap_or_default();
    let mut others: Vec<String> = Vec::new();
    for address in &destination {
        let there = address.rsplit('@').next().is_some_and(|at| at.eq_ignore_ascii_case(domain));
        if there && !address.eq_ignore_ascii_case(recipient) && !others.contains(address) {
            others.push(address.clone());
        }
    }
    let (headers, truncated) = headers(&block);
    let event = json!({"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {
        "mail": {
            "timestamp": timestamp, "source": source, "messageId": message_id, "destination": destination,
            "headersTruncated": truncated, "headers": headers, "commonHeaders": common,
        },
        "receipt": {
            "timestamp": timestamp, "processingTimeMillis": 0, "recipients": [recipient],
            "spamVerdict": verdict("X-SES-Spam-Verdict"),
            "virusVerdict": verdict("X-SES-Virus-Verdict"),
            "spfVerdict": {"status": word(spf.split_whitespace().next())},
            "dkimVerdict": {"status": result(&results, "dkim")},
            "dmarcVerdict": {"status": result(&results, "dmarc")},
            "action": {"type": "Lambda", "functionArn": function_arn, "invocationType": "Event"},
        },
    }}]});
    Ok(Rebuilt { event, others })
}

/// The first field of a name, unfolded.
fn first(block: &HeaderBlock<'_>, name: &str) -> Option<String> {
    let field = block.fields().find(|field| field.is(name))?;
    let text = String::from_utf8_lossy(field.value).replace(['\r', '\n'], "");
    Some(text.trim().to_owned())
}

/// A method's result in `Authentication-Results` (RFC 8601), as SES's verdict; the best of several.
fn result(results: &str, method: &str) -> &'static str {
    let values = results.split([';', ' ', '\t']).filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name == method).then_some(value)
    });
    let verdicts: Vec<_> = values.map(|value| word(Some(value))).collect();
    if verdicts.contains(&"PASS") { "PASS" } else { verdicts.first().copied().unwrap_or("DISABLED") }
}

/// SES's verdict for a word of RFC 8601 section 2.7.
fn word(result: Option<&str>) -> &'static str {
    match result.map(str::to_ascii_lowercase).as_deref() {
        Some("pass") => "PASS",
        Some("fail" | "softfail" | "policy") => "FAIL",
        Some("none" | "neutral") => "GRAY",
        Some("temperror" | "permerror") => "PROCESSING_FAILED",
        _ => "DISABLED",
    }
}

/// The fields as they came, up to the limit, and whether there are more.
fn headers(block: &HeaderBlock<'_>) -> (Vec<Value>, bool) {
    let (mut headers, mut size) = (Vec::new(), 0);
    for field in block.fields() {
        size += field.name.len() + field.value.len();
        if size > MAX_HEADERS {
            return (headers, true);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(['\r', '\n'], "").trim().to_owned();
        headers.push(json!({"name": text(field.name), "value": text(field.value)}));
    }
    (headers, false)
}

/// What notices and people read, decoded; and the addresses that To and Cc name.
fn common_headers(message: &[u8], body_at: usize, return_path: &str) -> (Value, Vec<String>) {
    let mut common = json!({"returnPath": return_path});
    let Some(parsed) = MessageParser::default().parse(&message[..body_at.min(message.len())]) else {
        return (common, Vec::new());
    };
    let mailboxes = |list: &Address<'_>| -> Vec<String> {
        list.iter()
            .map(|one| match (one.name(), one.address()) {
                (Some(name), Some(address)) => format!("{name} <{address}>"),
                (name, address) => address.or(name).unwrap_or_default().to_owned(),
            })
            .collect()
    };
    for (name, list) in [("from", parsed.from()), ("to", parsed.to()), ("cc", parsed.cc())] {
        if let Some(list) = list {
            common[name] = json!(mailboxes(list));
        }
    }
    if let Some(subject) = parsed.subject() {
        common["subject"] = json!(subject);
    }
    let lists = [parsed.to(), parsed.cc()].into_iter().flatten();
    let destination = lists.flat_map(Address::iter).filter_map(|one| one.address());
    (common, destination.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ses_forwarder::notification::{Record, Verdict, records};
    use time::macros::datetime;

    const STORED: OffsetDateTime = datetime!(2026-11-25 01:03:00 UTC);
    const MESSAGE: &str = "Return-Path: <ann@else.example>\r\n\
        Received: from mx.else.example (mx.else.example [192.0.2.1])\r\n by inbound-smtp.us-east-1.amazonaws.com with SMTP id id1\r\n for info@in.example;\r\n Wed, 25 Nov 2026 02:02:03 +0100 (UTC)\r\n\
        X-SES-Spam-Verdict: GRAY\r\nX-SES-Virus-Verdict: PASS\r\n\
        Received-SPF: softfail (spfCheck: x) client-ip=192.0.2.1; envelope-from=ann@else.example;\r\n\
        Authentication-Results: amazonses.com;\r\n spf=softfail (spfCheck: x) client-ip=192.0.2.1;\r\n dkim=fail header.i=@a.example;\r\n dkim=pass header.i=@else.example;\r\n dmarc=pass header.from=else.example;\r\n\
        X-SES-RECEIPT: x\r\n\
        X-SES-Spam-Verdict: FAIL\r\nReceived: by evil with SMTP id id1 for boss@in.example; x\r\n\
        From: =?utf-8?q?Ann_B=C3=A4r?= <ann@else.example>\r\nTo: info@in.example, Bob <bob@IN.example>, c@else.example\r\n\
        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nBody\r\n";

    #[test]
    fn ok_what_ses_stamped_makes_the_event() {
        let rebuilt = rebuild("id1", MESSAGE.as_bytes(), STORED, "arn:f").unwrap();
        assert_eq!(rebuilt.others, ["bob@IN.example"]);
        let event = serde_json::value::to_raw_value(&rebuilt.event).unwrap();
        let [Record::Received { notification, .. }] = &records(&event)[..] else { panic!("one message") };
        assert_eq!(notification.message_id, "id1");
        assert_eq!(notification.timestamp, Some(datetime!(2026-11-25 01:02:03 UTC)));
        assert_eq!(notification.source.as_deref(), Some("ann@else.example"));
        assert_eq!(notification.recipients, ["info@in.example"]);
        assert_eq!(notification.subject.as_deref(), Some("Grüße"));
        assert_eq!(notification.from, ["Ann Bär <ann@else.example>"]);
        let verdicts = [
            &notification.spam,
            &notification.virus,
            &notification.spf,
            &notification.dkim,
            &notification.dmarc,
        ];
        assert_eq!(
            verdicts,
            [&Verdict::Gray, &Verdict::Pass, &Verdict::Fail, &Verdict::Pass, &Verdict::Pass]
        );
    }

    #[test]
    fn err_what_ses_has_not_stamped() {
        for (message, why) in [
            ("Subject: x\r\n\r\n", "it has no Received field, so SES has not stored it"),
            (
                "Received: by a with SMTP id other for info@in.example; x\r\n\r\n",
                "its first Received field does not name it, so it is none of SES's",
            ),
            ("Received: by a with SMTP id id1; x\r\n\r\n", "its first Received field names no recipient"),
            ("", "it has no Received field, so SES has not stored it"),
        ] {
            assert_eq!(rebuild("id1", message.as_bytes(), STORED, "arn:f").unwrap_err(), why, "{message:?}");
        }
        // A date that can't be read is that of the object.
        let odd = "Received: by a with SMTP id id1 for a@in.example; soon\r\n\r\n";
        let rebuilt = rebuild("id1", odd.as_bytes(), STORED, "arn:f").unwrap();
        assert_eq!(rebuilt.event["Records"][0]["ses"]["mail"]["timestamp"], "2026-11-25T01:03:00Z");
    }
}
