//! Rewriting: one walk to see what there is, one to write what becomes of it.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashSet,
    hash::{Hash, Hasher},
};

use memchr::memmem;

use super::{
    address_spec::HeaderAddress,
    ascii::ascii,
    author::Author,
    block::{Field, HeaderBlock},
    charset::Reader,
    encoded_word::{self, EncodedWord, text_of},
    folding::{LINE_OCTETS, Unfoldable, append_field, column_of},
    ids::{PREFERRED_LINE_OCTETS, ids, list},
    mailbox::{Entries, Entry},
    mending::{Mended, Replacement, mend},
    rules::{Action, Rule, Syntax, rule},
    text::{clean, is_white, trim, unfold},
};
use crate::{
    address::Address,
    delivery::{Delivery, Reason},
    domains::Domains,
    replies::{
        Replies,
        signed::{Contact, Purpose},
    },
    steps,
};

/// How many notes are kept: a message with 200,000 bad fields must not fill the log.
const NOTES: usize = 20;
/// How much of a field's name is noted: the longest line that text should have (RFC 5322 section 2.1.1).
const NAME_OCTETS: usize = 78;
/// How many recipients are looked at that may be signed: as many as SES takes in a message.
const RECIPIENTS: usize = 50;
/// How many addresses of a message are signed at most, and how many hidden ids revealed.
const SIGNED: usize = 16;

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
    /// `REPLIES=on`: From and Reply-To can be answered. Then the send is for one recipient, the alias that an
    /// answer is from.
    pub replies: Option<Replies<'a>>,
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
    /// Whom addresses of it stand for that do not say so themselves. They have to be kept before it is sent.
    pub contacts: Vec<Contact>,
}

/// Rewrites a header block.
///
/// ```
/// use ses_forwarder::{address::Address, delivery::Delivery, header::{Rewrite, rewrite, split}};
///
/// let message = b"From: Jane <jane@example.com>\r\nTo: info@in.example\r\nSubject: Hello\r\n\r\nHi\r\n";
/// let recipients = [Address::parse("info@in.example")?];
/// let deliveries = [Delivery {
///     recipient: recipients[0].clone(),
///     destinations: vec![Address::parse("ann@out.example")?],
///     tags: Vec::new(),
/// }];
/// let how = Rewrite {
///     email_domain: "in.example",
///     envelope_sender: Some("jane@example.com"),
///     deliveries: &deliveries,
///     recipients: &recipients,
///     hide_destinations: false,
///     subject_prefix: "",
///     tags: &[],
///     replies: None,
/// };
/// let block = split(message);
/// let rewritten = rewrite(&block, &how);
/// assert_eq!(rewritten.from, "jane_example.com@in.example");
/// assert!(rewritten.header.ends_with(b"\r\n\r\n"));
/// assert_eq!(&message[block.body_at..], b"Hi\r\n");
/// # Ok::<(), ses_forwarder::address::AddressError>(())
/// ```
pub fn rewrite(block: &HeaderBlock<'_>, how: &Rewrite<'_>) -> Rewritten {
    let reader = Reader::of(block);
    let survey = Survey::of(block, &reader, how.replies.as_ref());
    let from = survey.from.as_ref().map(|field| reader.text(field));
    let author = Author::find(from.as_deref(), how.envelope_sender);
    let signer = Signer::of(how);
    let signed = author.own_address().and_then(|address| signer.sign(address));
    let local_address =
        signed.map_or_else(|| author.local_address(how.email_domain), |signed| signed.to_string());
    let mut writer = Writer {
        how,
        signer,
        local_address,
        prefix: prefix(how),
        author,
        message_id: survey.message_id.as_ref().map(clean),
        from,
        survey,
        reader,
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
    let reader = Reader::of(block);
    let mut named = vec![false; deliveries.len()];
    for field in block.fields().filter(|field| rule(field.name).action == Action::Recipients) {
        for entry in Entries::of(&reader.text(&field)) {
            let Entry::Mailbox(mailbox) = entry else { continue };
            let is_it = |delivery: &Delivery| is_recipient(&delivery.recipient, &mailbox.address);
            if let Some(at) = deliveries.iter().position(is_it) {
                named[at] = true;
            }
        }
    }
    named
}

/// The addresses at these domains that To and Cc name, of the fields that count, up to [`RECIPIENTS`].
pub fn recipients_at(
    block: &HeaderBlock<'_>,
    domains: &Domains,
    counts: impl Fn(&Field<'_>) -> bool,
) -> Vec<Address> {
    let reader = Reader::of(block);
    let mut found = Vec::new();
    let recipients = block.fields().filter(|field| rule(field.name).action == Action::Recipients);
    for field in recipients.filter(|field| counts(field)) {
        for entry in Entries::of(&reader.text(&field)) {
            let Entry::Mailbox(mailbox) = entry else { continue };
            let address = Address::parse(&mailbox.address.to_string()).ok();
            found.extend(address.filter(|address| domains.contains(address.domain())));
            if found.len() >= RECIPIENTS {
                return found;
            }
        }
    }
    found
}

fn is_recipient(recipient: &Address, HeaderAddress { local, domain }: &HeaderAddress) -> bool {
    recipient.domain().eq_ignore_ascii_case(domain) && recipient.local().eq_ignore_ascii_case(local)
}

/// What there is, before anything is written.
#[derive(Default)]
struct Survey<'a> {
    from: Option<Field<'a>>,
    message_id: Option<Field<'a>>,
    /// The first that holds an address.
    reply_to: Option<Field<'a>>,
    /// Whether the first holds anything.
    references: Option<bool>,
    in_reply_to: Option<Field<'a>>,
    subject: bool,
    /// Whether it came by a mailing list (RFC 2369, RFC 2919).
    from_list: bool,
    /// Ids in References that an answer of ours has hidden.
    hidden: Vec<Hidden>,
    /// An earlier pass wrote these: a forwarder like this one, maybe this one.
    forwarded_before: bool,
}

/// An id that an answer of ours has hidden.
struct Hidden {
    /// As it stands there.
    hidden: Vec<u8>,
    /// What it means.
    revealed: Vec<u8>,
    /// The id behind it, which SES gave the answer.
    given: Option<Vec<u8>>,
}

impl<'a> Survey<'a> {
    fn of(block: &HeaderBlock<'a>, reader: &Reader<'a>, replies: Option<&Replies<'_>>) -> Survey<'a> {
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
                Action::ReplyTo => {
                    if survey.reply_to.is_none() && holds_address(&reader.text(&field)) {
                        survey.reply_to = Some(field);
                    }
                }
                Action::References => {
                    if survey.references.is_none() {
                        let text = clean(&field);
                        survey.references = Some(!trim(&text).is_empty());
                        survey.hidden = replies.map(|replies| hidden(&text, replies)).unwrap_or_default();
                    }
                }
                Action::Subject => survey.subject = true,
                Action::Loop => looped = true,
                Action::Ours => original_from |= field.is("X-Original-From"),
                Action::Keep if field.is("In-Reply-To") => {
                    survey.in_reply_to.get_or_insert(field);
                }
                Action::Keep if field.is("List-Id") || field.is("List-Post") => survey.from_list = true,
                Action::Remove | Action::Rename | Action::Recipients | Action::Keep => {}
            }
        }
        survey.forwarded_before = looped && original_from;
        survey
    }
}

/// The ids in References that are hidden, each with what stands behind it.
fn hidden(references: &[u8], replies: &Replies<'_>) -> Vec<Hidden> {
    let mut ids = ids(references).peekable();
    let mut found = Vec::new();
    while let Some(id) = ids.next() {
        if let Some(revealed) = replies.keys.reveal_id(id) {
            let given = ids.peek().filter(|next| **next != revealed).map(|next| next.to_vec());
            found.push(Hidden { hidden: id.to_vec(), revealed, given });
        }
        if found.len() == SIGNED {
            break;
        }
    }
    found
}

/// Signs addresses for the alias that a send is for.
#[derive(Default)]
struct Signer<'a> {
    alias: Option<(Replies<'a>, &'a Address)>,
    signed: Cell<usize>,
    contacts: RefCell<Vec<Contact>>,
}

impl<'a> Signer<'a> {
    fn of(how: &Rewrite<'a>) -> Signer<'a> {
        let alias = match how.recipients {
            [alias] => how.replies.map(|replies| (replies, alias)),
            _ => None,
        };
        Signer { alias, ..Signer::default() }
    }

    /// The address to write instead, if there is one.
    fn sign(&self, address: &HeaderAddress) -> Option<Address> {
        let (replies, alias) = self.alias.as_ref().filter(|_| self.signed.get() < SIGNED)?;
        let address = Address::parse(&address.to_string()).ok()?;
        let signed = replies.sign(Purpose::Answer, alias, &address)?;
        self.signed.set(self.signed.get() + 1);
        let mut contacts = self.contacts.borrow_mut();
        if let Some(contact) = signed.contact.filter(|contact| !contacts.contains(contact)) {
            contacts.push(contact);
        }
        Some(signed.address)
    }

    /// The same for an address that somebody wants answers to: those at our domains come here anyway.
    fn sign_reply_to(&self, address: &HeaderAddress) -> Option<Replacement<'static>> {
        let (replies, _) = self.alias?;
        let is_foreign = !replies.domains.contains(&address.domain.to_ascii_lowercase());
        let signed = is_foreign.then(|| self.sign(address)).flatten()?;
        Some(Replacement { address: Cow::Owned(signed), named: true })
    }
}

struct Writer<'a> {
    how: &'a Rewrite<'a>,
    signer: Signer<'a>,
    /// The rewritten From's addr-spec.
    local_address: String,
    reader: Reader<'a>,
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
            self.put(b"X-Original-From", &from, Syntax::Text);
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
                self.put(&name, &self.text(field, syntax), syntax);
            }
            Action::From => self.write_from(),
            Action::Recipients => self.recipients(field),
            Action::MessageId => {
                self.put(field.name, &clean(field), syntax);
                if self.survey.references != Some(true) && self.has_id() {
                    self.references(b"References", &self.parents());
                }
            }
            // An empty one gives way to the one behind Message-ID.
            Action::References if self.survey.references == Some(true) || !self.has_id() => {
                self.references(field.name, &clean(field));
            }
            Action::References => {}
            Action::Subject if !self.prefix.is_empty() => {
                let text = prefixed(&self.prefix, field.name.len() + 1, &self.reader.text(field));
                self.put(field.name, &text, syntax);
            }
            Action::Ours if self.survey.forwarded_before => {}
            Action::Loop if self.is_added_loop(field) => {}
            Action::ReplyTo => self.reply_to(field),
            Action::Keep if !self.survey.hidden.is_empty() && field.is("In-Reply-To") => {
                self.in_reply_to(field);
            }
            Action::Subject | Action::Ours | Action::Loop | Action::Keep => {
                self.put(field.name, &self.text(field, syntax), syntax);
            }
        }
    }

    fn has_id(&self) -> bool {
        self.message_id.as_ref().is_some_and(|id| !trim(id).is_empty())
    }

    /// The value as it can be written by its syntax: text is text only where there is a place for it.
    fn text(&self, field: &Field<'a>, syntax: Syntax) -> Cow<'a, [u8]> {
        match syntax {
            Syntax::Tokens => clean(field),
            Syntax::Text | Syntax::Mailboxes | Syntax::Parameters => self.reader.text(field),
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
            from: self.local_address,
            notes: self.notes,
            contacts: self.signer.contacts.into_inner(),
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
            // A name may hold anything, an address too, and that is not for the log.
            let is_name =
                name.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            let name = std::str::from_utf8(&name[..name.len().min(NAME_OCTETS)]).ok().filter(|_| is_name);
            let shown = name.unwrap_or("a field");
            self.notes.push(format!(
                "dropped {shown}: a line of more than {LINE_OCTETS} bytes without white space"
            ));
        }
    }

    /// From, and Reply-To if the message has none.
    fn write_from(&mut self) {
        let mailbox = self.author.mailbox_at(&self.local_address);
        self.put(b"From", &[b" ", &*mailbox].concat(), Syntax::Mailboxes);
        if self.survey.reply_to.is_some() {
            return;
        }
        let signer = &self.signer;
        let written = |address: &HeaderAddress| {
            signer.sign(address).map_or_else(|| address.to_string(), |signed| signed.to_string())
        };
        let sender = self.how.envelope_sender;
        if let Some(mailboxes) = self.author.own_mailboxes(self.from.as_deref(), sender, written) {
            self.put(b"Reply-To", &[b" ", &*mailboxes].concat(), Syntax::Mailboxes);
        }
    }

    /// To or Cc: those of its recipients that lead to one destination give way to it. What leads to several
    /// stays, as who is behind it is nobody else's business.
    fn recipients(&mut self, field: &Field<'a>) {
        let how = self.how;
        self.mailboxes(field, |address| {
            let delivery =
                how.deliveries.iter().find(|delivery| is_recipient(&delivery.recipient, address))?;
            match delivery.destinations.as_slice() {
                [destination] if !how.hide_destinations => {
                    Some(Replacement { address: Cow::Borrowed(destination), named: true })
                }
                _ => None,
            }
        });
    }

    /// Reply-To: the one that holds an address, signed unless a mailing list wants its answers. Where none does, the
    /// first is kept by another name.
    fn reply_to(&mut self, field: &Field<'a>) {
        match self.survey.reply_to {
            Some(kept) if std::ptr::eq(kept.value, field.value) => {
                let signer = std::mem::take(&mut self.signer);
                let signs = !self.survey.from_list;
                self.mailboxes(field, |address| signs.then(|| signer.sign_reply_to(address)).flatten());
                self.signer = signer;
            }
            Some(_) => {}
            None if self.seen.insert(Name(b"Reply-To")) => self.keep_as_original(field),
            None => {}
        }
    }

    /// A list of mailboxes, in a form that SES can read. What it can't read is kept by another name.
    fn mailboxes<'d>(
        &mut self,
        field: &Field<'a>,
        replacement: impl Fn(&HeaderAddress) -> Option<Replacement<'d>>,
    ) {
        let text = self.reader.text(field);
        match mend(&text, field.name.len() + 1, replacement) {
            Mended::Same => self.put(field.name, &text, Syntax::Mailboxes),
            Mended::Anew { text, loses } => {
                self.put(field.name, &text, Syntax::Mailboxes);
                if loses {
                    self.keep_as_original(field);
                }
            }
            Mended::Nothing => self.keep_as_original(field),
        }
    }

    /// What of To, Cc or Reply-To SES can't read, where a person can.
    fn keep_as_original(&mut self, field: &Field<'a>) {
        let text = self.reader.text(field);
        if !trim(&text).is_empty() {
            let name = [b"X-Original-", field.name, b"-Field"].concat();
            self.put(&name, &text, Syntax::Text);
        }
    }

    /// The ids of In-Reply-To, with which new References begin (RFC 5322 section 3.6.4). Readers of threads look at
    /// In-Reply-To only where there are no References (RFC 5256).
    fn parents(&self) -> Vec<u8> {
        let Some(field) = &self.survey.in_reply_to else { return Vec::new() };
        list("References:".len(), ids(&clean(field)))
    }

    /// In-Reply-To of an answer to an answer of ours: by the id that the owner's mail program gave that.
    fn in_reply_to(&mut self, field: &Field<'a>) {
        let text = clean(field);
        let known = |id: &&'_ [u8]| self.survey.hidden.iter().any(|one| one.given.as_deref() == Some(*id));
        if !ids(&text).any(|id| known(&id)) {
            return self.put(field.name, &text, Syntax::Tokens);
        }
        let hidden = &self.survey.hidden;
        let revealed = ids(&text).map(|id| {
            let it = hidden.iter().find(|one| one.given.as_deref() == Some(id));
            it.map_or(id, |one| &*one.revealed)
        });
        let text = list(field.name.len() + 1, revealed);
        self.put(field.name, &text, Syntax::Tokens);
    }

    /// References with what their hidden ids mean behind each, so that the owner's mail program finds what it sent.
    fn revealed(&self, name: &[u8], text: &[u8]) -> Vec<u8> {
        let mut all: Vec<&[u8]> = Vec::new();
        for id in ids(text) {
            if all.last() == Some(&id) {
                continue;
            }
            all.push(id);
            let hidden = self.survey.hidden.iter().find(|one| one.hidden == id);
            all.extend(hidden.map(|one| &*one.revealed));
        }
        list(name.len() + 1, all)
    }

    /// References with the Message-ID at its end, so that replies still find their thread: SES gives
    /// the message another one.
    fn references(&mut self, name: &[u8], text: &[u8]) {
        let mut text = Cow::Borrowed(text);
        if !self.survey.hidden.is_empty() {
            text = Cow::Owned(self.revealed(name, &text));
        }
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
        }
        self.put(name, &text, Syntax::Tokens);
    }

    /// Whether an `X-Loop` says what we have said at the top.
    fn is_added_loop(&self, field: &Field<'a>) -> bool {
        let text = self.reader.text(field);
        let Ok(value) = std::str::from_utf8(trim(&text)) else {
            return false;
        };
        Address::parse(value).is_ok_and(|address| self.how.recipients.contains(&address))
    }
}

/// Whether a list holds an address that SES takes.
fn holds_address(text: &[u8]) -> bool {
    Entries::of(text).any(|entry| matches!(entry, Entry::Mailbox(mailbox) if mailbox.address.is_sendable()))
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
    steps::count(references.len());
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
            Reason::Sender => "[TAGGED]",
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
