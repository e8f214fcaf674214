//! A notice in the form of each channel: a mail, and a publication of SNS. Pure.

use mail_builder::{
    MessageBuilder,
    headers::{message_id::MessageId, raw::Raw},
};
use ses_forwarder::notice_mark;
use time::OffsetDateTime;

use crate::{notice::Notice, plain_text::cut};

/// Longest subject of SNS in characters ("less than 100"), and longest message in bytes.
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
const SNS_SUBJECT: usize = 99;
const SNS_MESSAGE: usize = 256 * 1024;

/// A notice as a message (RFC 5322).
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// `EMAIL_DOMAIN`.
    pub email_domain: &'a str,
    /// Where it goes, in ASCII.
    pub to: &'a str,
    /// The stack's name.
    pub stack: &'a str,
    /// Left part of the Message-ID.
    pub id: &'a str,
    /// When it is written.
    pub now: OffsetDateTime,
}

impl Mail<'_> {
    /// The whole message. `Auto-Submitted` keeps automatic answers away (RFC 3834 section 5).
    pub fn write(&self, notice: &Notice) -> Vec<u8> {
        let sender = notice_mark::sender(self.email_domain);
        let mut message = MessageBuilder::new()
            .from(("SES Forwarder", sender.as_str()))
            .to(self.to)
            .subject(notice.subject.as_str())
            .date(self.now.unix_timestamp())
            .message_id(MessageId::new(format!("{}@{}", self.id, self.email_domain)))
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .header(notice_mark::HEADER, Raw::new(self.stack))
            .text_body(notice.text.as_str());
        for attachment in &notice.attachments {
            message = message.attachment("text/plain", attachment.name.as_str(), attachment.text.as_str());
        }
        let mut bytes = Vec::new();
        message.serialize(&mut bytes);
        bytes
    }
}

/// Subject and text for SNS: attachments follow the text, as far as there is room.
pub fn publication(notice: &Notice) -> (String, String) {
    let subject = notice.subject.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' });
    let mut text = cut(&notice.text, SNS_MESSAGE).to_owned();
    for attachment in &notice.attachments {
        let heading = format!("\n--- {} ---\n", attachment.name);
        let Some(room) = SNS_MESSAGE.checked_sub(text.len() + heading.len() + 1) else { break };
        text.push_str(&heading);
        text.push_str(cut(&attachment.text, room));
        text.push('\n');
    }
    (subject.take(SNS_SUBJECT).collect(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Attachment;
    use mail_parser::{HeaderValue, MessageParser, MimeHeaders};
    use proptest::prelude::*;

    const MAIL: Mail<'_> = Mail {
        email_domain: "in.example",
        to: "admin@out.example",
        stack: "forwarder",
        id: "q1.5",
        now: OffsetDateTime::UNIX_EPOCH,
    };

    fn notice(subject: &str, text: &str, attachments: &[(&str, &str)]) -> Notice {
        let attachments = attachments
            .iter()
            .map(|(name, text)| Attachment { name: (*name).to_owned(), text: (*text).to_owned() });
        Notice { subject: subject.to_owned(), text: text.to_owned(), attachments: attachments.collect() }
    }

    #[test]
    fn a_mail() {
        let mail = MAIL.write(&notice("[forwarder] 1 message", "One.\nTwo.\n", &[]));
        assert_eq!(
            String::from_utf8(mail).unwrap(),
            "From: \"SES Forwarder\" <forwarder-notice@in.example>\r\n\
             To: <admin@out.example>\r\n\
             Subject: [forwarder] 1 message\r\n\
             Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
             Message-ID: <q1.5@in.example>\r\n\
             Auto-Submitted: auto-generated\r\n\
             X-Forwarder-Notice: forwarder\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=\"utf-8\"\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\n\
             One.\r\nTwo.\r\n"
        );
    }

    #[test]
    fn a_publication() {
        let notice = notice("[x] Grüße\u{7f}", "text\n", &[("a.txt", "{}")]);
        assert_eq!(publication(&notice), ("[x] Gr??e?".to_owned(), "text\n\n--- a.txt ---\n{}\n".to_owned()));
    }

    #[test]
    fn a_publication_stays_within_the_limits() {
        let long = "ü".repeat(SNS_MESSAGE);
        for (text, attachment) in
            [("", long.as_str()), (long.as_str(), "x"), (&long[..SNS_MESSAGE - 30], "xyzxyzxyz")]
        {
            let (subject, text) = publication(&notice(&"x".repeat(300), text, &[("a.txt", attachment)]));
            assert_eq!(subject.len(), SNS_SUBJECT);
            assert!(text.len() <= SNS_MESSAGE && text.len() > SNS_MESSAGE - 40, "{}", text.len());
        }
    }

    proptest! {
        /// Even if a notice's texts were not as harmless as they are.
        #[test]
        fn a_mail_carries_any_text_and_no_other_field(subject in "\\PC{0,300}", text: String, attached: String) {
            let mail = MAIL.write(&notice(&subject, &text, &[("r.txt", &attached)]));
            let message = MessageParser::new().parse(&mail).unwrap();
            let names: Vec<_> = message.headers().iter().map(mail_parser::Header::name).collect();
            let expected = [
                "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Forwarder-Notice",
                "MIME-Version", "Content-Type",
            ];
            prop_assert_eq!(names, expected);
            prop_assert_eq!(message.header("X-Forwarder-Notice"), Some(&HeaderValue::Text("forwarder".into())));
            for line in mail.split(|byte| *byte == b'\n') {
                prop_assert!(line.len() <= 999 && line.is_ascii());
            }
            let unix = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(unix(message.body_text(0).unwrap_or_default().trim_end()), unix(text.trim_end()));
            let attachment = message.attachment(0).unwrap();
            prop_assert_eq!(attachment.attachment_name(), Some("r.txt"));
        }
    }
}
