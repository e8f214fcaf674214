//! The header of an answer that goes out from an alias: by an allow-list, so that nothing of the owner's mail
//! system is in it that this does not know.
//!
//! Kept are From, To, Cc, Subject, Date, what keeps threads together, and what a reader needs of MIME. The owner's
//! own address stands in none of them: where it is a mailbox the alias takes its place, and in text and parameters too.
//! It does not stand in a longer one, such as `ann@out.example` in `joann@out.example`.
//!
//! In References an id is
//!
//! - kept if SES gave it, or if SES's own follows it: that is a message that was forwarded, and its author's id;
//! - left out where a hidden id stands before it that means the same: forwarding [put it there](super::rewriting);
//! - hidden if it looks like one of the owner's mail system: at the domain of the owner's address or of this
//!   message's own id, and not at a correspondent's;
//! - kept otherwise, as it came with mail of others.
//!
//! Behind them stands this message's own id, hidden. In-Reply-To names what the correspondent knows the answered
//! message by: where the owner's mail program names SES's id of it, the author's own.

use super::{
    address_spec::HeaderAddress,
    ascii::ascii,
    author::Author,
    block::{Field, HeaderBlock},
    charset::Reader,
    encoded_word,
    folding::{Unfoldable, append_field},
    ids::{ids, list},
    mending::{Mended, Replacement, mend},
    parameters, phrase,
    rewriting::Rewritten,
    rules::{KEPT_IN_ANSWERS, Syntax},
    text::{clean, unfold},
};
use crate::{
    address::{Address, may_begin_behind, may_end_before},
    domains::{SES, is_at_or_below},
    replies::{Replies, signed::Purpose},
    steps,
};

/// How many ids of References are looked at, from the end: as many as the longest conversation has.
const IDS: usize = 200;

/// How to write an answer's header.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHeader<'a> {
    /// Whom it is from, for everyone who reads it.
    pub alias: &'a Address,
    /// Whom it goes to.
    pub correspondents: &'a [Address],
    /// Who wrote it, and whoever else reads the alias's mail: nobody's business.
    pub private: &'a [Address],
    /// What signed addresses mean.
    pub replies: Replies<'a>,
    /// `SUBJECT_PREFIX`, which forwarding has put before the subject.
    pub subject_prefix: &'a str,
}

/// Writes an answer's header.
pub fn answer(block: &HeaderBlock<'_>, how: &AnswerHeader<'_>) -> Rewritten {
    let mut writer =
        Writer { how, reader: Reader::of(block), out: Vec::with_capacity(block.len()), seen: Vec::new() };
    let mut thread = Thread::default();
    for field in block.fields() {
        let name = field.name.to_ascii_lowercase();
        let name = &*name;
        // A second copy of a field that there is once only (FACTS: SES refuses both).
        if KEPT_IN_ANSWERS.contains(&name) && !matches!(name, b"to" | b"cc") {
            if writer.seen.iter().any(|seen| *seen == name) {
                continue;
            }
            writer.seen.push(name.to_vec());
        }
        match name {
            b"from" => writer.from(&field),
            b"to" | b"cc" => writer.recipients(&field),
            b"subject" => writer.subject(&field),
            b"thread-topic" => writer.text(&field),
            b"references" => thread.references = ids(&clean(&field)).map(<[u8]>::to_vec).collect(),
            b"in-reply-to" => thread.in_reply_to = ids(&clean(&field)).next().map(<[u8]>::to_vec),
            b"message-id" => thread.own = ids(&clean(&field)).next().map(<[u8]>::to_vec),
            b"content-type" | b"content-disposition" => writer.parameters(&field),
            b"date"
            | b"thread-index"
            | b"mime-version"
            | b"content-transfer-encoding"
            | b"content-language" => {
                let text = clean(&field);
                if !writer.tells(&String::from_utf8_lossy(&text)) {
                    writer.put(field.name, &text, Syntax::Tokens);
                }
            }
            _ => {}
        }
    }
    writer.thread(&thread);
    writer.out.extend_from_slice(b"\r\n");
    Rewritten { header: writer.out, from: how.alias.to_string(), notes: Vec::new(), contacts: Vec::new() }
}

/// What the answer says about its place in a conversation.
#[derive(Default)]
struct Thread {
    references: Vec<Vec<u8>>,
    in_reply_to: Option<Vec<u8>>,
    own: Option<Vec<u8>>,
}

struct Writer<'a> {
    how: &'a AnswerHeader<'a>,
    reader: Reader<'a>,
    out: Vec<u8>,
    seen: Vec<Vec<u8>>,
}

impl Writer<'_> {
    fn put(&mut self, name: &[u8], text: &[u8], syntax: Syntax) {
        let text = ascii(text, name.len() + 1, syntax);
        // What can't be folded is lost, and tells its reader nothing that could be read.
        append_field(&mut self.out, name, &text, Unfoldable::Drop);
    }

    /// The alias, by the name that its owner goes by.
    fn from(&mut self, field: &Field<'_>) {
        let text = self.reader.text(field).into_owned();
        let author = Author::find(Some(&text), None);
        // A name that holds an address is one, and so is one that holds its domain.
        let lower = author.name().to_ascii_lowercase();
        let is_address =
            lower.contains('@') || self.how.private.iter().any(|address| lower.contains(address.domain()));
        let name = if is_address { "" } else { author.name() };
        let mut mailbox = vec![b' '];
        let address = self.how.alias.to_string();
        phrase::append_mailbox(&mut mailbox, "From: ".len(), name.trim(), &address);
        self.put(b"From", &mailbox, Syntax::Mailboxes);
    }

    /// To or Cc: whom a signed address stands for in its place, and the alias in that of its owner.
    fn recipients(&mut self, field: &Field<'_>) {
        let text = self.reader.text(field).into_owned();
        let column = field.name.len() + 1;
        let how = self.how;
        let mended = mend(&text, column, |address| how.replacement(address));
        let text = match mended {
            Mended::Same => text,
            Mended::Anew { text, .. } => text,
            Mended::Nothing => return,
        };
        if !self.tells(&encoded_word::decode(&unfold(&text))) {
            return self.put(field.name, &text, Syntax::Mailboxes);
        }
        // A display name repeats the address.
        let bare = |address: &HeaderAddress| {
            let address = Address::parse(&address.to_string()).ok()?;
            Some(Replacement { address: std::borrow::Cow::Owned(address), named: false })
        };
        if let Mended::Anew { text, .. } = mend(&text, column, bare)
            && !self.tells(&encoded_word::decode(&unfold(&text)))
        {
            self.put(field.name, &text, Syntax::Mailboxes);
        }
    }

    /// The subject without what forwarding has put before it: mail programs file by it too.
    fn subject(&mut self, field: &Field<'_>) {
        let text = self.reader.text(field).into_owned();
        let decoded = encoded_word::decode(&unfold(&text));
        let plain = unprefixed(&decoded, self.how.subject_prefix);
        let shown = self.without_private(&plain);
        if shown == decoded {
            self.put(field.name, &text, Syntax::Text);
        } else {
            self.put(field.name, format!(" {}", shown.trim()).as_bytes(), Syntax::Text);
        }
    }

    fn text(&mut self, field: &Field<'_>) {
        let text = self.reader.text(field).into_owned();
        let decoded = encoded_word::decode(&unfold(&text));
        if self.tells(&decoded) {
            let shown = self.without_private(&decoded);
            self.put(field.name, format!(" {}", shown.trim()).as_bytes(), Syntax::Text);
        } else {
            self.put(field.name, &text, Syntax::Text);
        }
    }

    /// Content-Type or Content-Disposition. Where it holds a private address, all of it is written anew. The boundary
    /// stays byte for byte even so: it stands in the body too, and readers differ in what they take it to be.
    fn parameters(&mut self, field: &Field<'_>) {
        let text = self.reader.text(field).into_owned();
        let all = parameters::decoded(&text);
        let tells = |text: &str| self.finds(text, Within::FileName);
        let any = tells(&String::from_utf8_lossy(&text)) || all.iter().any(|(_, value)| tells(value));
        if !any {
            return self.put(field.name, &text, Syntax::Parameters);
        }
        let without_private = |text: &str| self.with_alias(text, Within::FileName);
        let mut new = format!(" {}", without_private(&parameters::media_type(&text))).into_bytes();
        for (name, value) in all.iter().filter(|(name, _)| !tells(name)) {
            if name == "boundary" {
                for written in parameters::written(&text, name) {
                    new.extend_from_slice(b";\r\n ");
                    new.extend_from_slice(written);
                }
            } else {
                parameters::append(&mut new, name, &without_private(value));
            }
        }
        self.put(field.name, &new, Syntax::Parameters);
    }

    /// Whether a text holds an address that is nobody's business.
    fn tells(&self, text: &str) -> bool {
        self.finds(text, Within::Text)
    }

    /// A text with the alias in the place of each such address.
    fn without_private(&self, text: &str) -> String {
        self.with_alias(text, Within::Text)
    }

    fn finds(&self, text: &str, within: Within) -> bool {
        let text = text.to_ascii_lowercase();
        let mut private = self.how.private.iter().map(|address| address.to_string().to_ascii_lowercase());
        private.any(|address| within.places(&text, &address).next().is_some())
    }

    fn with_alias(&self, text: &str, within: Within) -> String {
        let alias = self.how.alias.to_string();
        let mut text = text.to_owned();
        for address in self.how.private {
            let (private, lower) = (address.to_string().to_ascii_lowercase(), text.to_ascii_lowercase());
            let (mut replaced, mut behind) = (String::with_capacity(text.len()), 0);
            for at in within.places(&lower, &private) {
                replaced += &text[behind..at];
                replaced += &alias;
                behind = at + private.len();
            }
            text = replaced + &text[behind..];
        }
        text
    }

    /// In-Reply-To and References, as the correspondents know the messages.
    fn thread(&mut self, thread: &Thread) {
        let how = self.how;
        let hide = |id: &[u8]| how.replies.keys.hide_id(id, how.alias.domain()).map(String::into_bytes);
        let known = how.known(thread);
        let parent = thread.in_reply_to.as_deref().and_then(|id| {
            // The one before SES's id of a forwarded message is its author's.
            let at = known.iter().position(|known| known == id).filter(|at| *at > 0 && is_of_ses(id));
            let original = at.and_then(|at| known.get(at - 1)).filter(|before| !is_of_ses(before));
            let original = original.filter(|before| how.replies.keys.reveal_id(before).is_none());
            match original {
                Some(original) => Some(original.clone()),
                None if how.is_own(id, thread) => hide(id),
                None => Some(id.to_vec()),
            }
        });
        if let Some(parent) = &parent {
            self.put(b"In-Reply-To", &list("In-Reply-To:".len(), [&**parent]), Syntax::Tokens);
        }
        let own = thread.own.as_deref().and_then(hide);
        let all: Vec<&[u8]> = known.iter().chain(&own).map(Vec::as_slice).collect();
        if !all.is_empty() {
            self.put(b"References", &list("References:".len(), all), Syntax::Tokens);
        }
    }
}

/// Where an address is looked for.
#[derive(Clone, Copy)]
enum Within {
    Text,
    /// There dots, hyphens and underscores join words: `scan_ann@out.example.pdf`.
    FileName,
}

impl Within {
    /// Where an address stands in a text, and not as part of a longer one. Both in lower case.
    fn places<'a>(self, text: &'a str, address: &'a str) -> impl Iterator<Item = usize> + use<'a> {
        steps::count(text.len());
        let joins = move |byte: Option<&u8>| {
            matches!(self, Within::FileName) && byte.is_some_and(|byte| b".-_".contains(byte))
        };
        text.match_indices(address).map(|(at, _)| at).filter(move |at| {
            let (before, behind) = text.as_bytes().split_at(*at);
            let behind = &behind[address.len()..];
            (joins(before.last()) || may_begin_behind(before))
                && (joins(behind.first()) || may_end_before(behind.iter().copied()))
        })
    }
}

impl AnswerHeader<'_> {
    /// What takes the place of an address in To or Cc.
    fn replacement(&self, address: &HeaderAddress) -> Option<Replacement<'_>> {
        let address = Address::parse(&address.to_string()).ok()?;
        if self.private.contains(&address) {
            return Some(Replacement { address: std::borrow::Cow::Borrowed(self.alias), named: false });
        }
        let meaning = self.replies.read(&address).filter(|meaning| meaning.purpose == Purpose::Answer)?;
        Some(Replacement { address: std::borrow::Cow::Owned(meaning.correspondent), named: true })
    }

    /// The ids of a conversation, as the correspondents know them.
    fn known(&self, thread: &Thread) -> Vec<Vec<u8>> {
        let keys = self.replies.keys;
        let parent = thread.in_reply_to.as_slice();
        let ids = if thread.references.is_empty() { parent } else { &thread.references };
        let ids = &ids[ids.len().saturating_sub(IDS)..];
        let mut known: Vec<Vec<u8>> = Vec::with_capacity(ids.len() + 1);
        for (at, id) in ids.iter().enumerate() {
            let hidden = known.last().and_then(|before| keys.reveal_id(before));
            let is_private = self.is_at_owner(id);
            let is_original = !is_private && ids.get(at + 1).is_some_and(|next| is_of_ses(next));
            if hidden.is_some_and(|hidden| hidden == *id) {
                continue;
            }
            if is_original || is_of_ses(id) || !self.is_own(id, thread) || keys.reveal_id(id).is_some() {
                known.push(id.clone());
            } else {
                known.extend(keys.hide_id(id, self.alias.domain()).map(String::into_bytes));
            }
        }
        known
    }

    /// Whether an id is one of the owner's mail system.
    fn is_own(&self, id: &[u8], Thread { own, .. }: &Thread) -> bool {
        let as_own = own.as_deref().is_some_and(|own| domain_of(own) == domain_of(id) || own == id);
        let is_theirs = self.correspondents.iter().any(|address| is_at(id, address.domain()));
        self.is_at_owner(id) || (as_own && !is_theirs)
    }

    /// Whether an id is at the domain of an address that is nobody's business, and at no correspondent's.
    fn is_at_owner(&self, id: &[u8]) -> bool {
        let is_theirs = self.correspondents.iter().any(|address| is_at(id, address.domain()));
        !is_theirs && self.private.iter().any(|address| is_at(id, address.domain()))
    }
}

/// The domain of an id, in lower case.
fn domain_of(id: &[u8]) -> String {
    let at = id.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&id[at..]).to_ascii_lowercase()
}

fn is_at(id: &[u8], domain: &str) -> bool {
    is_at_or_below(&domain_of(id), domain)
}

fn is_of_ses(id: &[u8]) -> bool {
    is_at(id, SES)
}

/// A subject without the prefix and tags that forwarding puts before it, in any order, behind words such as `Re:` and
/// `AW:` and nothing else.
fn unprefixed(subject: &str, prefix: &str) -> String {
    let parts = [prefix.trim(), "[SPAM]", "[VIRUS]", "[TAGGED]", "[UNVERIFIED]"];
    let (mut kept, mut rest, mut any_word) = (String::with_capacity(subject.len()), subject, false);
    loop {
        let text = rest.trim_start();
        steps::count(rest.len() - text.len());
        kept += &rest[..rest.len() - text.len()];
        rest = text;
        if let Some(behind) =
            parts.iter().filter(|part| !part.is_empty()).find_map(|part| rest.strip_prefix(part))
        {
            rest = behind.trim_start();
            // What stood behind the prefix already, a mail program that saw the prefix has put before it again.
            let again = any_word && rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("re:"));
            rest = if again { rest[3..].trim_start() } else { rest };
            continue;
        }
        let end = rest.find(|char: char| char == ':' || char.is_ascii_whitespace()).unwrap_or(rest.len());
        steps::count(end);
        if !rest[end..].starts_with(':') {
            return kept + rest;
        }
        let (word, behind) = rest.split_at(end + 1);
        kept += word;
        (rest, any_word) = (behind, true);
    }
}
