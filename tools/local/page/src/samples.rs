//! Mail to try the stack with, a file each: headers that need rewriting, hostile ones, and mail that
//! is not to be forwarded.
//!
//! `{{domain}}` stands for the template's `EmailDomain`; verdicts are asked for as
//! [`ses_forwarder_local_aws::receiving`] says.

/// A message to send.
#[derive(Debug)]
pub(super) struct Sample {
    /// In the form.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) title: &'static str,
    /// Reverse-path; `None` is the null one.
    pub(super) from: Option<&'static str>,
    /// Local part of the recipient.
    to: &'static str,
    text: &'static str,
    /// Repeats `{{long}}` to this many bytes.
    long: usize,
}

macro_rules! sample {
    ($name:literal, $title:literal, $from:expr, $to:literal, $long:literal) => {
        Sample {
            name: $name,
            title: $title,
            from: $from,
            to: $to,
            text: include_str!(concat!("samples/", $name, ".eml")),
            long: $long,
        }
    };
}

/// All samples, the plainest first.
pub(super) const SAMPLES: &[Sample] = &[
    sample!("plain", "A plain message", Some("ann@else.example"), "info", 0),
    sample!(
        "newsletter",
        "A newsletter: DKIM, list fields, a sender of its own",
        Some("bounce-17@news.example"),
        "info",
        0
    ),
    sample!("encoded", "A name and subject in other alphabets", Some("rene@else.example"), "info+tag", 0),
    sample!(
        "unencoded",
        "8-bit header fields, as some programs write them",
        Some("jurgen@else.example"),
        "info",
        0
    ),
    sample!(
        "hostile",
        "Hostile: script, reordered and very long text",
        Some("eve@evil.example"),
        "info",
        100_000
    ),
    sample!("spam", "Spam, by its verdict", Some("offers@spam.example"), "info", 0),
    sample!("unauthenticated", "Fails SPF, DKIM and DMARC", Some("ceo@bank.example"), "info", 0),
    sample!("bounce", "A destination's refusal of forwarded mail", None, "ann_else.example", 0),
    sample!("loop", "Forwarded before: a loop", Some("ann@else.example"), "info", 0),
    sample!("large", "A message of 5 MB", Some("ann@else.example"), "info", 5_000_000),
];

impl Sample {
    /// The recipient at the domain that mail is received for.
    pub(super) fn recipient(&self, domain: &str) -> String {
        format!("{}@{domain}", self.to)
    }

    /// The message with CRLF line ends.
    pub(super) fn message(&self, domain: &str) -> Vec<u8> {
        let line = "Sphinx of black quartz, judge my vow: 0123456789 abcdefghijklmnopqrstuvwxyz.";
        let long = match self.text.contains("{{long-line}}") {
            true => "A".repeat(self.long),
            false => format!("{line}\n").repeat(self.long / (line.len() + 2)),
        };
        let text = self.text.replace("{{domain}}", domain);
        let text = text.replace("{{long-line}}", &long).replace("{{long}}", &long);
        text.replace('\n', "\r\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_messages() {
        for sample in SAMPLES {
            let message = sample.message("in.example");
            let text = String::from_utf8(message).unwrap();
            let (header, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(!body.is_empty(), "{}", sample.name);
            assert!(header.starts_with("From:") || header.contains("\r\nFrom:"), "{}", sample.name);
            assert!(!text.contains("{{"), "{}", sample.name);
            assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{}", sample.name);
        }
    }
}
