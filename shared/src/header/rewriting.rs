//! Rewriting: one walk to see what there is, one to write what becomes of it.

use std::{
    borrow::Cow,
    collections::HashSet,
    hash::{Hash, Hasher},
};

use memchr::memmem;

use super::{
    ascii::ascii,
    author::Author,
    block::{Field, HeaderBlock},
    encoded_word::{self, EncodedWord, text_of},
    folding::{LINE_OCTETS, Unfoldable, append_field, column_of},
    mailbox::{Elements, HeaderAddress},
    rules::{Action, Rule, Syntax, rule},
    text::{clean, is_white, trim, unfold},
};
use crate::{
    address::Address,
    delivery::{Delivery, Reason},
};

/// How many notes are kept: a message with 200,000 bad fields must not fill the log.
const NOTES: usize = 20;
/// Longest line that the Message-ID is appended to (RFC 5322 section 2.1.1).
const PREFERRED_LINE_OCTETS: usize = 78;

/// How to rewrite.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<'a> {
    /// `EMAIL_DOMAIN`, ASCII.
    pub email_domain: &'a str,
    /// The envelope sender, unless null.
    pub envelope_sender: Option<&'a str>,
    /// All recipients of this invocation and their destinations: those of them that To and Cc name are
    /// replaced there, whoever this send is for.
    pub deliveries: &'a [Delivery],
    /// The recipients that this send is for, and no others: X-Original-To and X-Loop show them to
    /// whoever gets it.
    pub recipients: &'a [Address],
    /// `HIDE_DESTINATIONS`: To and Cc keep the recipients they name.
    pub hide_destinations: bool,
    /// `SUBJECT_PREFIX`.
    pub subject_prefix: &'a str,
    /// The checks that asked for a tag.
    pub tags: &'a [Reason],
}

/// The new header block; what follows it on the wire is the body as it was.
#[derive(Debug)]
pub struct Rewritten {
    /// All fields in CRLF lines, and the empty line.
    pub header: Vec<u8>,
    /// The rewritten From's addr-spec: `FromEmailAddress`.
    pub from: String,
    /// What was dropped for the log: names of fields and why, no values.
    pub notes: Vec<String>,
}

/// Rewrites a header block.
pub fn rewrite(block: &HeaderBlock<'_>, how: &Rewrite<'_>) -> Rewritten {
    let survey = Survey::of(block);
    let from = survey.from.as_ref().map(clean);
    let author = Author::find(from.as_deref(), how.envelope_sender);
    let mut writer = Writer {
        how,
        prefix: prefix(how),
        author,
        message_id: survey.message_id.as_ref().map(clean),
        from,
        survey,
        seen: HashSet::new(),
        out: Vec::with_capacity(block.len() + block.len() / 8 + 1024),
        notes: Vec::new(),
        dropped: 0,
    };
    writer.added_fields();
    for field in block.fields() {
        writer.field(&field);
    }
    writer.finish()
}

/// Which of the recipients To or Cc name, in the order of the deliveries. The others are blind: whoever
/// gets the message must not learn of them.
pub fn named(block: &HeaderBlock<'_>, deliveries: &[Delivery]) -> Vec<bool> {
    let mut named = vec![false; deliveries.len()];
    for field in block.fields().filter(|field| rule(field.name).action == Action::Recipients) {
        let text = clean(&field);
        for address in Elements::of(&text).filter_map(|element| HeaderAddress::read(&text[element.address?]))
        {
            let at = deliveries.iter().position(|delivery| is_recipient(&delivery.recipient, &address));
            if let Some(at) = at {
                named[at] = true;
            }
        }
    }
    named
}

fn is_recipient(recipient: &Address, HeaderAddress { local, domain }: &HeaderAddress) -> bool {
    recipient.domain().eq_ignore_ascii_case(domain) && recipient.local().eq_ignore_ascii_case(local)
}

/// What there is, before anything is written.
#[derive(Default)]
struct Survey<'a> {
    from: Option<Field<'a>>,
    message_id: Option<Field<'a>>,
    reply_to: bool,
    references: bool,
    subject: bool,
    /// An earlier pass wrote these: a forwarder like this one, maybe this one.
    forwarded_before: bool,
}

impl<'a> Survey<'a> {
    fn of(block: &HeaderBlock<'a>) -> Survey<'a> {
        let mut survey = Survey::default();
        let (mut looped, mut original_from) = (false, false);
        for field in block.fields() {
            match rule(field.name).action {
                Action::From => {
                    survey.from.get_or_insert(field);
                }
                Action::MessageId => {
                    survey.message_id.get_or_insert(field);
                }
                Action::ReplyTo => survey.reply_to = true,
                Action::References => survey.references = true,
                Action::Subject => survey.subject = true,
                Action::Loop => looped = true,
                Action::Ours => original_from |= field.is("X-Original-From"),
                Action::Remove | Action::Rename | Action::Recipients | Action::Keep => {}
            }
        }
        survey.forwarded_before = looped && original_from;
        survey
    }
}

struct Writer<'a> {
    how: &'a Rewrite<'a>,
    survey: Survey<'a>,
    /// The first From, clean.
    from: Option<Cow<'a, [u8]>>,
    author: Author,
    /// The first Message-ID, clean.
    message_id: Option<Cow<'a, [u8]>>,
    /// For the subject; empty if none is asked for.
    prefix: String,
    /// Names of once-only fields written so far.
    seen: HashSet<Name<'a>>,
    out: Vec<u8>,
    notes: Vec<String>,
    dropped: usize,
}

impl<'a> Writer<'a> {
    /// What stands at the top, and a From (with its Reply-To) if there is none to rewrite.
    fn added_fields(&mut self) {
        for recipient in self.how.recipients {
            self.put(b"X-Original-To", format!(" {recipient}").as_bytes(), Syntax::Text);
        }
        if let Some(from) = self.from.take() {
            self.put(b"X-Original-From", &from, Syntax::Mailboxes);
            self.from = Some(from);
        }
        if let Some(message_id) = self.message_id.take() {
            self.put(b"X-Original-Message-ID", &message_id, Syntax::Tokens);
            self.message_id = Some(message_id);
        }
        for recipient in self.how.recipients {
            self.put(b"X-Loop", format!(" {recipient}").as_bytes(), Syntax::Text);
        }
        if !self.how.tags.is_empty() {
            let verdicts: Vec<&str> = self.how.tags.iter().map(|tag| tag.word()).collect();
            self.put(b"X-Forwarder-Verdict", format!(" {}", verdicts.join(", ")).as_bytes(), Syntax::Text);
        }
        if self.survey.from.is_none() {
            self.write_from();
        }
    }

    fn field(&mut self, field: &Field<'a>) {
        let Rule { action, syntax, once } = rule(field.name);
        if once && !self.seen.insert(Name(field.name)) {
            return;
        }
        match action {
            Action::Remove => {}
            Action::Rename => {
                let name = [b"X-Original-", field.name].concat();
                self.put(&name, &clean(field), syntax);
            }
            Action::From => self.write_from(),
            Action::Recipients => self.recipients(field),
            Action::MessageId => {
                self.put(field.name, &clean(field), syntax);
                if !self.survey.references {
                    self.references(b"References", b"");
                }
            }
            Action::References => self.references(field.name, &clean(field)),
            Action::Subject if !self.prefix.is_empty() => {
                let text = prefixed(&self.prefix, field.name.len() + 1, &clean(field));
                self.put(field.name, &text, syntax);
            }
            Action::Ours if self.survey.forwarded_before => {}
            Action::Loop if self.is_added_loop(field) => {}
            Action::ReplyTo | Action::Subject | Action::Ours | Action::Loop | Action::Keep => {
                self.put(field.name, &clean(field), syntax);
            }
        }
    }

    fn finish(mut self) -> Rewritten {
        if !self.survey.subject && !self.prefix.is_empty() {
            let text = prefixed(&self.prefix, "Subject:".len(), b"");
            self.put(b"Subject", &text, Syntax::Text);
        }
        self.out.extend_from_slice(b"\r\n");
        if self.dropped > NOTES {
            self.notes.push(format!("{} more fields dropped", self.dropped - NOTES));
        }
        Rewritten {
            header: self.out,
            from: self.author.local_address(self.how.email_domain),
            notes: self.notes,
        }
    }

    /// Writes a field from clean text, or notes that it could not be.
    fn put(&mut self, name: &[u8], text: &[u8], syntax: Syntax) {
        let text = ascii(text, name.len() + 1, syntax);
        let cut = name.len() > 2 && name[..2].eq_ignore_ascii_case(b"X-")
            || name.eq_ignore_ascii_case(b"References");
        let unfoldable = if cut { Unfoldable::Cut } else { Unfoldable::Drop };
        if append_field(&mut self.out, name, &text, unfoldable) {
            return;
        }
        self.dropped += 1;
        if self.notes.len() < NOTES {
            let shown = String::from_utf8_lossy(&name[..name.len().min(76)]);
            self.notes.push(format!(
                "dropped {shown}: a line of more than {LINE_OCTETS} bytes without white space"
            ));
        }
    }

    /// From, and Reply-To if the message has none.
    fn write_from(&mut self) {
        let mailbox = self.author.local_mailbox(self.how.email_domain);
        self.put(b"From", &[b" ", &*mailbox].concat(), Syntax::Mailboxes);
        if self.survey.reply_to {
            return;
        }
        if let Some(mailbox) = self.author.own_mailbox() {
            self.put(b"Reply-To", &[b" ", &*mailbox].concat(), Syntax::Mailboxes);
        }
    }

    /// To or Cc, its recipients replaced by their destinations.
    fn recipients(&mut self, field: &Field<'a>) {
        let text = clean(field);
        let mut replaced = Vec::new();
        let mut copied = 0;
        for element in Elements::of(&text) {
            let destinations = element.address.and_then(|address| self.destinations(&text[address]));
            if let Some(destinations) = destinations {
                replaced.extend_from_slice(&text[copied..element.span.start]);
                replaced.extend_from_slice(destinations.as_bytes());
                copied = element.span.end;
            }
        }
        if copied > 0 {
            replaced.extend_from_slice(&text[copied..]);
            self.put(field.name, &replaced, Syntax::Mailboxes);
        } else {
            self.put(field.name, &text, Syntax::Mailboxes);
        }
    }

    /// Where an address leads, if it is one of this invocation's recipients and leads anywhere.
    fn destinations(&self, written: &[u8]) -> Option<String> {
        if self.how.hide_destinations {
            return None;
        }
        let address = HeaderAddress::read(written)?;
        let delivery =
            self.how.deliveries.iter().find(|delivery| is_recipient(&delivery.recipient, &address))?;
        let destinations: Vec<String> = delivery.destinations.iter().map(ToString::to_string).collect();
        (!destinations.is_empty()).then(|| destinations.join(", "))
    }

    /// References with the Message-ID at its end, so that replies still find their thread: SES gives
    /// the message another one.
    fn references(&mut self, name: &[u8], text: &[u8]) {
        let mut text = Cow::Borrowed(text);
        if let Some(id) = self.message_id.as_ref().map(|id| unfold(id)).filter(|id| !trim(id).is_empty()) {
            let id = trim(&id);
            if !holds(&unfold(&text), id) {
                let mut longer = text.into_owned();
                let column = column_of(&longer, name.len() + 1);
                let fits = column + 1 + id.len() <= PREFERRED_LINE_OCTETS || longer.is_empty();
                longer.extend_from_slice(if fits { b" " } else { b"\r\n " });
                longer.extend_from_slice(id);
                text = Cow::Owned(longer);
            }
        } else if text.is_empty() && !self.survey.references {
            return;
        }
        self.put(name, &text, Syntax::Tokens);
    }

    /// Whether an `X-Loop` says what we have said at the top.
    fn is_added_loop(&self, field: &Field<'a>) -> bool {
        let text = clean(field);
        let Ok(value) = std::str::from_utf8(trim(&text)) else {
            return false;
        };
        Address::parse(value).is_ok_and(|address| self.how.recipients.contains(&address))
    }
}

/// A field name that compares in any case.
#[derive(Debug, Clone, Copy)]
struct Name<'a>(&'a [u8]);

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Name<'_> {}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Piece by piece through a buffer: a hasher takes one long text faster than many bytes.
        let mut buffer = [0; 32];
        for piece in self.0.chunks(buffer.len()) {
            let lower = &mut buffer[..piece.len()];
            lower.copy_from_slice(piece);
            lower.make_ascii_lowercase();
            state.write(lower);
        }
    }
}

/// Whether References holds an id. One without brackets must stand alone, as it could be part of
/// another.
fn holds(references: &[u8], id: &[u8]) -> bool {
    memmem::find_iter(references, id).any(|start| {
        let before =
            references[..start].last().is_none_or(|&byte| is_white(byte) || matches!(byte, b'>' | b','));
        let behind = references[start + id.len()..]
            .first()
            .is_none_or(|&byte| is_white(byte) || matches!(byte, b'<' | b','));
        (before || id.starts_with(b"<")) && (behind || id.ends_with(b">"))
    })
}

/// What stands before the subject: `SUBJECT_PREFIX`, then the tags, without white space at the end.
fn prefix(how: &Rewrite<'_>) -> String {
    let setting = text_of(how.subject_prefix.as_bytes());
    let mut parts = vec![setting.trim()];
    for tag in how.tags {
        let part = match tag {
            Reason::Spam => "[SPAM]",
            Reason::Virus => "[VIRUS]",
            _ => "[UNVERIFIED]",
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// The text of a subject behind a prefix, unless it has it already.
fn prefixed(prefix: &str, column: usize, subject: &[u8]) -> Vec<u8> {
    let mut out = b" ".to_vec();
    let rest = subject.strip_prefix(b" ").unwrap_or(subject);
    if encoded_word::decode(&unfold(rest)).starts_with(prefix) {
        return subject.to_vec();
    }
    if prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        out.extend_from_slice(prefix.as_bytes());
    } else {
        // White space between two encoded-words is lost, so it goes into the first.
        let space = if EncodedWord::at(trim(rest)).is_some() { " " } else { "" };
        encoded_word::encode(&mut out, column, &format!("{prefix}{space}"));
    }
    if !trim(rest).is_empty() && !rest.starts_with(b"\r\n") {
        out.push(b' ');
    }
    if !trim(rest).is_empty() {
        out.extend_from_slice(rest);
    }
    out
}
