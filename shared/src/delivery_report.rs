//! A report of SES that came by mail, of a message that a destination refused (RFC 3464): who refused it.
//!
//! Only the part `message/delivery-status` is read. What follows it is the message that was refused, in which
//! its sender may have written anything.
//!
//! SES tells the same by an event ([`feedback`](crate::feedback)), which says more; so all that is taken from a
//! report is what it takes to know that both are about one refusal.

use time::OffsetDateTime;

use crate::{
    feedback::is_status,
    outcome::{DeliveryEvent, DeliveryKind},
};

/// How much of a report is looked at, in octets.
const LOOKED_AT: usize = 64 * 1024;

/// Recipients that are read at most: SES sends to no more at once.
const RECIPIENTS_MAX: usize = 50;

/// Those whom a report says that a message was refused by.
pub fn refusals(message: &[u8], at: OffsetDateTime) -> Vec<DeliveryEvent> {
    let text = String::from_utf8_lossy(message.get(..LOOKED_AT).unwrap_or(message));
    let is_type = |line: &&str| {
        field(line, "content-type").is_some_and(|value| starts(value, "message/delivery-status"))
    };
    let mut lines = text.lines().skip_while(|line| !is_type(line));
    let mut found: Vec<DeliveryEvent> = Vec::new();
    // The type's own line is no field of the report.
    lines.next();
    for line in lines {
        if line.starts_with("--") || found.len() > RECIPIENTS_MAX {
            break;
        }
        if let Some(value) = field(line, "final-recipient") {
            // RFC 3464 section 2.3.2: `rfc822; ann@out.example`.
            let address = value.rsplit(';').next().unwrap_or_default().trim();
            let destination = crate::feedback::address_in(address).to_owned();
            found.push(DeliveryEvent { at, destination, event: DeliveryKind::Bounced, code: None });
        }
        if let (Some(status), Some(last)) = (field(line, "status"), found.last_mut()) {
            last.code = is_status(status).then(|| status.to_owned());
        }
    }
    found.retain(|event| event.destination.contains('@'));
    found
}

/// The value of a field with this name, in lower case.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

fn starts(value: &str, with: &str) -> bool {
    value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, Option<String>)> {
        let found = refusals(text.replace('\n', "\r\n").as_bytes(), OffsetDateTime::UNIX_EPOCH);
        found.into_iter().map(|event| (event.destination, event.code)).collect()
    }

    #[test]
    fn ok_the_recipients_of_the_status_part_alone() {
        let report = "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
            Final-Recipient: rfc822; text@out.example\n--b\ncontent-type: Message/Delivery-Status\n\n\
            Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; Ann@out.example\nStatus: 5.1.1\n\n\
            FINAL-RECIPIENT: rfc822;<bob@out.example>\nStatus: gone\n\n--b\nContent-Type: message/rfc822\n\n\
            Final-Recipient: rfc822; made-up@out.example\nStatus: 5.1.1\n--b--\n";
        let expected = [("Ann@out.example", Some("5.1.1")), ("bob@out.example", None)];
        let expected = expected.map(|(address, code)| (address.to_owned(), code.map(str::to_owned)));
        assert_eq!(read(report), expected);
    }

    #[test]
    fn err_what_is_no_report() {
        for text in [
            "",
            "Final-Recipient: rfc822; a@b\n",
            "Content-Type: message/delivery-status\n\nFinal-Recipient: x\n",
        ] {
            assert_eq!(read(text), []);
        }
    }

    proptest! {
        #[test]
        fn hostile_reports_are_bounded(text: String, count in 0usize..200) {
            let report = format!("Content-Type: message/delivery-status\n{}{text}", "Final-Recipient: rfc822; a@b\n".repeat(count));
            prop_assert!(refusals(report.as_bytes(), OffsetDateTime::UNIX_EPOCH).len() <= RECIPIENTS_MAX + 1);
        }
    }
}
