//! The fields SES puts before a message it receives. Two of them have no public format, `X-SES-RECEIPT` and
//! `X-SES-DKIM-SIGNATURE`: here they have the length and characters of real ones and prove nothing.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-lambda-event.html>

use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::{envelope::Envelope, verdicts::Verdicts};

/// What the fields tell.
pub(super) struct Arrival<'a> {
    pub(super) id: &'a str,
    pub(super) host: &'a str,
    pub(super) envelope: &'a Envelope,
    /// The first recipient the rule matches.
    pub(super) recipient: &'a str,
    pub(super) verdicts: &'a Verdicts,
    /// The domain of From, if it can be told: DMARC is about that one.
    pub(super) author_domain: Option<&'a str>,
    pub(super) at: OffsetDateTime,
}

/// The fields, each with its line end.
pub(super) fn stamp(arrival: &Arrival<'_>) -> Vec<u8> {
    let Arrival { id, host, envelope, recipient, verdicts, author_domain, at } = arrival;
    let from = envelope.from.as_deref().unwrap_or_default();
    let Envelope { peer, helo, .. } = envelope;
    let date = at.format(&Rfc2822).expect("the year has four digits");
    let domain = from.rsplit_once('@').map_or(helo.as_str(), |(_, domain)| domain);
    let author_domain = author_domain.unwrap_or(domain);
    let protocol = if envelope.tls { "SMTPS" } else { "SMTP" };
    let (spf, spf_says) = match verdicts.get("spf") {
        "PASS" => ("pass", format!("domain of {domain} designates {peer} as permitted sender")),
        "FAIL" => ("fail", format!("domain of {domain} does not designate {peer} as permitted sender")),
        "GRAY" => ("none", format!("{peer} is neither permitted nor denied by domain of {domain}")),
        _ => ("temperror", "error while checking".to_owned()),
    };
    let spf_detail = format!("(spfCheck: {spf_says}) client-ip={peer}; envelope-from={from}; helo={helo};");
    let dkim = result(verdicts.get("dkim"));
    let dmarc = result(verdicts.get("dmarc"));
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let receipt: String = (0..8).map(|_| random()).collect();
    let signature: String = (0..5).map(|_| random()).collect();
    format!(
        "Return-Path: <{from}>\r\n\
         Received: from {helo} ({helo} [{peer}])\r\n by {host} with {protocol} id {id}\r\n for {recipient};\r\n {date} (UTC)\r\n\
         X-SES-Spam-Verdict: {spam}\r\n\
         X-SES-Virus-Verdict: {virus}\r\n\
         Received-SPF: {spf} {spf_detail}\r\n\
         Authentication-Results: amazonses.com;\r\n spf={spf} {spf_detail}\r\n dkim={dkim} header.i=@{domain};\r\n dmarc={dmarc} header.from={author_domain};\r\n\
         X-SES-RECEIPT: AEFBQUFBQUFBQUF{receipt}==\r\n\
         X-SES-DKIM-SIGNATURE: a=rsa-sha256; q=dns/txt; b={signature}=; c=relaxed/simple; s=local; d=amazonses.com; t={time}; v=1; bh={body_hash}=; h=From:To:Cc:Bcc:Subject:Date:Message-ID:MIME-Version:Content-Type:X-SES-RECEIPT;\r\n",
        spam = verdicts.get("spam"),
        virus = verdicts.get("virus"),
        time = at.unix_timestamp(),
        body_hash = random(),
    )
    .into_bytes()
}

/// A verdict in the words of RFC 8601.
fn result(verdict: &str) -> &'static str {
    match verdict {
        "PASS" => "pass",
        "FAIL" => "fail",
        "GRAY" => "none",
        _ => "temperror",
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_fields_stand_in_the_order_of_ses() {
        let envelope = Envelope {
            from: Some("ann@else.example".into()),
            recipients: vec!["info@in.example".into()],
            helo: "mx.else.example".into(),
            peer: "127.0.0.1".into(),
            tls: false,
        };
        let verdicts = "spf=FAIL".parse().unwrap();
        let fields = stamp(&Arrival {
            id: "id1",
            host: "inbound-smtp.us-east-1.amazonaws.com",
            envelope: &envelope,
            recipient: "info@in.example",
            verdicts: &verdicts,
            author_domain: Some("shop.example"),
            at: datetime!(2026-11-25 01:02:03 UTC),
        });
        let fields = String::from_utf8(fields).unwrap();
        let known = fields.split_once("X-SES-RECEIPT: ").unwrap();
        assert_eq!(
            known.0,
            "Return-Path: <ann@else.example>\r\n\
             Received: from mx.else.example (mx.else.example [127.0.0.1])\r\n \
             by inbound-smtp.us-east-1.amazonaws.com with SMTP id id1\r\n \
             for info@in.example;\r\n Wed, 25 Nov 2026 01:02:03 +0000 (UTC)\r\n\
             X-SES-Spam-Verdict: PASS\r\n\
             X-SES-Virus-Verdict: PASS\r\n\
             Received-SPF: fail (spfCheck: domain of else.example does not designate 127.0.0.1 as permitted sender) \
             client-ip=127.0.0.1; envelope-from=ann@else.example; helo=mx.else.example;\r\n\
             Authentication-Results: amazonses.com;\r\n \
             spf=fail (spfCheck: domain of else.example does not designate 127.0.0.1 as permitted sender) \
             client-ip=127.0.0.1; envelope-from=ann@else.example; helo=mx.else.example;\r\n \
             dkim=pass header.i=@else.example;\r\n dmarc=pass header.from=shop.example;\r\n"
        );
        assert!(known.1.contains("\r\nX-SES-DKIM-SIGNATURE: a=rsa-sha256; q=dns/txt; b="), "{fields}");
        assert!(fields.split("\r\n").all(|line| line.len() <= 998), "{fields}");
    }

    #[test]
    fn the_null_reverse_path_stays_null() {
        let envelope =
            Envelope { from: None, recipients: vec![], helo: "h".into(), peer: "::1".into(), tls: true };
        let fields = stamp(&Arrival {
            id: "id1",
            host: "host",
            envelope: &envelope,
            recipient: "r@in.example",
            verdicts: &Verdicts::default(),
            author_domain: None,
            at: datetime!(2026-01-02 03:04:05 UTC),
        });
        assert!(
            fields.starts_with(
                b"Return-Path: <>\r\nReceived: from h (h [::1])\r\n by host with SMTPS id id1\r\n"
            )
        );
    }
}
