//! What deciding needs to know of a header block, without rewriting it.

use super::{
    author,
    block::HeaderBlock,
    charset::Reader,
    mailbox::{Entries, Entry},
    parameters, signers,
    text::{clean, unfolded},
};
use crate::{
    address::Address,
    domains::{SES, is_at_or_below},
    notice_mark, steps,
};

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
    /// What fields older than `Auto-Submitted` say about who wrote this.
    pub marks: Marks,
    /// Whether [the sole author](HeaderFacts::sole_author) is SES itself, as it is of bounces and complaints. Anybody can
    /// write so; DMARC tells.
    pub from_ses: bool,
    /// Whether it names a message that it answers: `In-Reply-To` or `References`.
    pub is_answer: bool,
    /// The stack that this is a notice of, if it is one: what counts of it, [`for_stack`](HeaderFacts::for_stack) says.
    pub notice: Option<String>,
    /// The author whom the rewritten From shows, if the first From names one and an envelope could carry his address.
    pub author: Option<Address>,
    /// How many authors there are, in all From fields.
    pub authors: usize,
    /// The author, if nobody can take another for it: one From field, in it one address, and no `@` beside.
    pub sole_author: Option<Address>,
    /// The author's domain as SES has looked at it for DMARC, in lower case.
    pub header_from: Option<String>,
    /// The domains whose signatures hold, as SES found.
    pub signers: Vec<String>,
}

/// Fields that no standard knows, by which a machine says that it wrote a message. Older vacation programs
/// and mail systems have nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// A bounce: `X-Failed-Recipients`, which Exim and Gmail write.
    pub bounce: bool,
    /// An automatic reply: `X-Autoreply`, `X-Autorespond` and their spellings, `Precedence: auto_reply`.
    pub auto_reply: bool,
    /// `Precedence: bulk` or `junk`: a vacation notice, if it comes from the null sender; otherwise more
    /// likely a newsletter.
    pub bulk: bool,
}

impl HeaderFacts {
    /// Collects the facts in one walk.
    pub fn of(block: &HeaderBlock<'_>) -> HeaderFacts {
        let mut facts = HeaderFacts::default();
        let reader = Reader::of(block);
        let (mut froms, mut results) = (0_usize, None);
        for field in block.fields() {
            if field.is("Received") {
                facts.received += 1;
            } else if field.is("X-Loop") {
                facts.loops.push(unfolded(&field));
            } else if field.is("Auto-Submitted") && facts.auto_submitted.is_none() {
                facts.auto_submitted = Some(keyword(&unfolded(&field)));
            } else if field.is("Content-Type") && facts.report_type.is_none() {
                facts.report_type = report_type(&unfolded(&field));
            } else if field.is(notice_mark::HEADER) {
                facts.notice.get_or_insert_with(|| unfolded(&field));
            } else if field.is("From") {
                let author = facts.authored_by(&reader.text(&field));
                if froms == 0 {
                    facts.sole_author =
                        sole_author(&clean(&field)).filter(|sole| author.as_ref() == Some(sole));
                    facts.author = author;
                }
                froms += 1;
            } else if field.is("Authentication-Results") && results.is_none() {
                results = Some(signers::of(&unfolded(&field)).unwrap_or_default());
                facts.header_from = signers::author_domain(&unfolded(&field));
            } else if field.is("In-Reply-To") || field.is("References") {
                facts.is_answer = true;
            } else if field.is("X-Failed-Recipients") {
                facts.marks.bounce = true;
            } else if AUTO_REPLY.iter().any(|name| field.is(name)) {
                facts.marks.auto_reply |= keyword(&unfolded(&field)) != "no";
            } else if field.is("Precedence") {
                match &*keyword(&unfolded(&field)) {
                    "auto_reply" | "auto-reply" => facts.marks.auto_reply = true,
                    "bulk" | "junk" => facts.marks.bulk = true,
                    _ => {}
                }
            }
        }
        facts.signers = results.unwrap_or_default();
        facts.sole_author = facts.sole_author.filter(|_| froms == 1);
        facts.from_ses = facts.sole_author.as_ref().is_some_and(is_of_ses);
        facts
    }

    /// The facts as they count for the stack of this name: a notice of another one is mail as any other.
    #[must_use]
    pub fn for_stack(mut self, name: Option<&str>) -> HeaderFacts {
        self.notice = self.notice.filter(|of| name.is_none_or(|name| name == of));
        self
    }

    /// Counts the authors of a From field's clean text. Returns the one that counts.
    fn authored_by(&mut self, from: &[u8]) -> Option<Address> {
        let is_mailbox = |entry: &Entry| matches!(entry, Entry::Mailbox(_));
        let mut entries = Entries::of(from).inspect(|entry| self.authors += usize::from(is_mailbox(entry)));
        let author = author::mailbox_in(&mut entries);
        entries.for_each(drop);
        Address::parse(&author?.address.to_string()).ok()
    }
}

/// The one address of a From field, where every `@` in the field is one of it.
fn sole_author(text: &[u8]) -> Option<Address> {
    let mut entries = Entries::of(text);
    let (Some(Entry::Mailbox(mailbox)), None) = (entries.next(), entries.next()) else { return None };
    let address = Address::parse(&mailbox.address.to_string()).ok().filter(|_| !mailbox.loses)?;
    let lower = text.to_ascii_lowercase();
    let written = address.to_string().to_ascii_lowercase();
    let signs = memchr::memchr_iter(b'@', &lower).count();
    let times = memchr::memmem::find_iter(&lower, &written).count();
    steps::count(2 * lower.len());
    (signs == times).then_some(address)
}

/// Fields of [`Marks::auto_reply`]; their values are free.
const AUTO_REPLY: [&str; 4] = ["X-Autoreply", "X-Auto-Reply", "X-Autorespond", "X-Autoresponder"];

/// Whether an address is at a domain that SES sends its own mail from, such as `MAILER-DAEMON@amazonses.com` and
/// `complaints@email-abuse.amazonses.com`.
fn is_of_ses(author: &Address) -> bool {
    is_at_or_below(author.domain(), SES)
}

/// The word that a field's value begins with, lower-cased: behind comments (RFC 5322 section 3.2.2), and
/// before parameters.
fn keyword(value: &str) -> String {
    let mut rest = value.trim_start();
    while let Some((comment, behind)) = rest.strip_prefix('(').and_then(|comment| comment.split_once(')')) {
        steps::count(comment.len());
        rest = behind.trim_start();
    }
    rest.split([';', '(']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn report_type(content_type: &str) -> Option<String> {
    let content_type = content_type.as_bytes();
    let is_report = parameters::media_type(content_type) == "multipart/report";
    parameters::value(content_type, "report-type")
        .filter(|_| is_report)
        .map(|value| value.to_ascii_lowercase())
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
            From: bob@x.example, SES <MAILER-DAEMON@eu-west-1.AmazonSES.com>\nFrom: a@x.example\nIn-Reply-To: <1@x>\n\
            X-Forwarder-Notice: s\nPrecedence: Bulk\nX-AutoReply: yes\nX-Failed-Recipients: a@x\n\
            Authentication-Results: amazonses.com;\n dkim=pass header.i=@x.example\n\
            Authentication-Results: amazonses.com; dkim=pass header.i=@y.example\n\nReceived: 3\n";
        let facts = HeaderFacts {
            loops: vec!["info@in.example".into(), "a@in.example".into()],
            received: 2,
            auto_submitted: Some("auto-replied".into()),
            report_type: Some("delivery-status".into()),
            marks: Marks { bounce: true, auto_reply: true, bulk: true },
            from_ses: false,
            is_answer: true,
            notice: Some("s".into()),
            author: Address::parse("bob@x.example").ok(),
            authors: 3,
            sole_author: None,
            header_from: None,
            signers: vec!["x.example".into()],
        };
        assert_eq!(HeaderFacts::of(&split(message)), facts);
        assert_eq!(HeaderFacts::of(&split(b"\r\nReceived: 1\r\n")), HeaderFacts::default());
    }

    #[test]
    fn a_notice_is_one_for_its_own_stack() {
        for (field, name, expected) in [
            ("X-Forwarder-Notice: s", Some("s"), Some("s")),
            ("X-Forwarder-Notice: s", Some("other"), None),
            ("X-Forwarder-Notice: s", None, Some("s")),
            ("X-Forwarder-Notice:", Some("s"), None),
            ("x: s", None, None),
        ] {
            let facts = HeaderFacts::of(&split(field.as_bytes())).for_stack(name);
            assert_eq!(facts.notice.as_deref(), expected, "{field}, {name:?}");
        }
    }

    #[test]
    fn keywords_and_marks() {
        for (value, expected) in [
            ("auto-replied", "auto-replied"),
            ("(by a (machine) Auto-Generated; a=b", "auto-generated"),
            (" (a) (b)\tno (c)", "no"),
            ("(", ""),
            ("", ""),
        ] {
            assert_eq!(keyword(value), expected, "{value}");
        }
        let auto_reply = Marks { auto_reply: true, ..Marks::default() };
        for (field, expected) in [
            ("X-Autoreply: yes", auto_reply),
            ("X-Auto-Reply: no", Marks::default()),
            ("x-autorespond: Out of office", auto_reply),
            ("Precedence: auto_reply", auto_reply),
            ("Precedence: junk", Marks { bulk: true, ..Marks::default() }),
            ("Precedence: list", Marks::default()),
        ] {
            assert_eq!(HeaderFacts::of(&split(field.as_bytes())).marks, expected, "{field}");
        }
    }

    #[test]
    fn the_author_whom_from_shows() {
        for (from, expected) in [
            ("A <a@x.example> B <b@x.example>", Some("b@x.example")),
            ("A <a@x.example> b@x.example", Some("a@x.example")),
            ("jörg@x.example, b@x.example", Some("b@x.example")),
            ("a@[192.0.2.1], b@x.example", None),
            ("junk\r\nFrom: b@x.example", None),
        ] {
            let author = HeaderFacts::of(&split(format!("From: {from}\r\n\r\n").as_bytes())).author;
            assert_eq!(author.map(|author| author.to_string()).as_deref(), expected, "{from}");
        }
    }

    #[test]
    fn mail_of_ses() {
        for (from, expected) in [
            ("MAILER-DAEMON@amazonses.com", true),
            ("Amazon <complaints@us-west-2.email-abuse.amazonses.com>", true),
            ("MAILER-DAEMON@amazonses.com.x.example", false),
            ("MAILER-DAEMON@notamazonses.com", false),
            ("\"MAILER-DAEMON@amazonses.com\" <eve@x.example>", false),
            ("SES <MAILER-DAEMON@eu-west-1.AmazonSES.com>", true),
            ("MAILER-DAEMON@amazonses.com (Amazon SES)", true),
            ("eve@x.example, @amazonses.com", false),
            ("eve@x.example, SES <MAILER-DAEMON@amazonses.com>", false),
            ("SES <MAILER-DAEMON@amazonses.com>, eve@x.example", false),
            ("MAILER-DAEMON@amazonses.com\r\nFrom: eve@x.example", false),
            ("eve@x.example\r\nFrom: MAILER-DAEMON@amazonses.com", false),
            ("eve@x.example (@amazonses.com)", false),
            ("amazonses.com", false),
            ("", false),
        ] {
            let message = format!("From: {from}\r\n\r\n");
            assert_eq!(HeaderFacts::of(&split(message.as_bytes())).from_ses, expected, "{from}");
        }
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
