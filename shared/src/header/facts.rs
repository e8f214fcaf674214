//! What deciding needs to know of a header block, without rewriting it.

use super::{block::HeaderBlock, text::unfolded};
use crate::notice;

/// What deciding needs to know of a header block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// The values of all `X-Loop` fields, trimmed.
    pub loops: Vec<String>,
    /// How many `Received` fields there are.
    pub received: usize,
    /// `Auto-Submitted`, lower-cased, without comments and parameters (RFC 3834 section 5).
    pub auto_submitted: Option<String>,
    /// The `report-type` of a `Content-Type: multipart/report`, lower-cased (RFC 6522 section 3): it
    /// tells a bounce (`delivery-status`) from a vacation notice, which comes from the null sender too.
    pub report_type: Option<String>,
    /// Whether this is one of our own notices.
    pub notice: bool,
}

impl HeaderFacts {
    /// Collects the facts in one walk.
    pub fn of(block: &HeaderBlock<'_>) -> HeaderFacts {
        let mut facts = HeaderFacts::default();
        for field in block.fields() {
            if field.is("Received") {
                facts.received += 1;
            } else if field.is("X-Loop") {
                facts.loops.push(unfolded(&field));
            } else if field.is("Auto-Submitted") && facts.auto_submitted.is_none() {
                let value = unfolded(&field);
                let keyword = value.split([';', '(']).next().unwrap_or_default().trim();
                facts.auto_submitted = Some(keyword.to_ascii_lowercase());
            } else if field.is("Content-Type") && facts.report_type.is_none() {
                facts.report_type = report_type(&unfolded(&field));
            } else if field.is(notice::HEADER) {
                facts.notice = true;
            }
        }
        facts
    }
}

fn report_type(content_type: &str) -> Option<String> {
    let lower = content_type.to_ascii_lowercase();
    let mut parts = lower.split(';').map(str::trim);
    parts.next().filter(|media_type| *media_type == "multipart/report")?;
    let value =
        parts.find_map(|parameter| parameter.strip_prefix("report-type")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::split;

    #[test]
    fn facts_of_a_block() {
        let message = b"Received: 1\r\nreceived : 2\r\nX-Loop:  info@in.example \r\nx-loop:\n a@in.example\n\
            Auto-Submitted: Auto-Replied (vacation); owner-email=a@x\nAuto-Submitted: no\n\
            Content-Type: Multipart/Report; boundary=b;\n Report-Type = \"Delivery-Status\"\n\
            X-Forwarder-Notice: s\n\nReceived: 3\n";
        let facts = HeaderFacts {
            loops: vec!["info@in.example".into(), "a@in.example".into()],
            received: 2,
            auto_submitted: Some("auto-replied".into()),
            report_type: Some("delivery-status".into()),
            notice: true,
        };
        assert_eq!(HeaderFacts::of(&split(message)), facts);
        assert_eq!(HeaderFacts::of(&split(b"\r\nReceived: 1\r\n")), HeaderFacts::default());
    }

    #[test]
    fn report_type_of_a_content_type() {
        for (content_type, expected) in [
            ("multipart/report; report-type=delivery-status", Some("delivery-status")),
            ("multipart/report;boundary=\"a\";report-type=\"feedback-report\"", Some("feedback-report")),
            ("multipart/report", None),
            ("multipart/mixed; report-type=delivery-status", None),
            ("", None),
        ] {
            assert_eq!(report_type(content_type).as_deref(), expected, "{content_type}");
        }
    }
}
