//! Signed addresses: an alias, whom an answer to it goes to, and a tag that nobody else can make.
//!
//! ```text
//! info+jane=example.com+KEYTAG@in.example        an id of the key, and 50 bits
//! info+KEYTAG@in.example                         an id of the key, and 125 bits
//! ```
//!
//! The second form is for what does not fit the 64 octets of a local part (RFC 5321 section 4.5.3.1.1): whom it
//! stands for is kept as a [`Contact`]. Tags are base32 (RFC 4648 section 6) in lower case, and the whole is lower
//! case, since some mail programs fold addresses. So the same correspondent has the same address for ever, and
//! filters and address books go on working.
//!
//! With a wrong tag either is a plain `info+tag`, which the routes lead to the owner of `info`.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::keys::{ReplyKey, ReplyKeys};
use crate::address::{Address, is_dot_atom};

/// Longest local part in octets (RFC 5321 section 4.5.3.1.1).
const LOCAL_OCTETS: usize = 64;
/// Characters of a tag behind the key's id: 50 bits. An attacker who may try ten thousand addresses a second has a
/// chance of one in a thousand after four years.
const TAG: usize = 10;
/// The same of the other form: 125 bits, as it is a name too.
const NAME: usize = 25;

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Mail to it goes on to the correspondent, if it is the owner's.
    Answer,
    /// Bounces of an answer come to it, and go on to who wrote that.
    Bounce,
}

/// What a signed address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// What it is for.
    pub purpose: Purpose,
    /// The alias, at a domain of ours.
    pub alias: Address,
    /// Whom it stands for.
    pub correspondent: Address,
}

/// An address that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The address.
    pub address: Address,
    /// What has to be kept for it to be read.
    pub contact: Option<Contact>,
}

/// Whom an address stands for that does not say so itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The tag of the address, which it is kept by.
    #[serde(skip)]
    pub name: String,
    /// The alias.
    pub alias: String,
    /// Whom it stands for.
    pub correspondent: String,
}

impl Purpose {
    const ALL: [Purpose; 2] = [Purpose::Answer, Purpose::Bounce];

    fn word(self) -> &'static str {
        match self {
            Purpose::Answer => "answer",
            Purpose::Bounce => "bounce",
        }
    }
}

impl ReplyKeys {
    /// The address that stands for a correspondent of an alias. `None` if the alias leaves no room for it (more
    /// than 37 octets), or needs quotes.
    ///
    /// ```
    /// use ses_forwarder::{address::Address, replies::{keys::ReplyKeys, signed::Purpose}};
    ///
    /// let keys = ReplyKeys::first([7; 32]);
    /// let (info, jane) = (Address::parse("info@in.example")?, Address::parse("Jane@Example.com")?);
    /// let signed = keys.sign(Purpose::Answer, &info, &jane).expect("it fits");
    /// assert!(signed.address.local().starts_with("info+jane=example.com+a"));
    /// let meaning = keys.read(&signed.address, |_| None).expect("the tag is right");
    /// assert_eq!((meaning.alias, meaning.correspondent), (info, jane));
    /// # Ok::<(), ses_forwarder::address::AddressError>(())
    /// ```
    pub fn sign(&self, purpose: Purpose, alias: &Address, correspondent: &Address) -> Option<Signed> {
        let (alias, correspondent) = (lower(alias), lower(correspondent));
        if !is_dot_atom(alias.local()) {
            return None;
        }
        let key = self.current();
        let tags = key.tags(purpose, &alias, &correspondent);
        let (local, domain) = (correspondent.local(), correspondent.domain());
        let (short, long) = (&tags[..TAG], &tags[..NAME]);
        let id = key.id();
        let whole = format!("{}+{local}={domain}+{id}{short}", alias.local());
        // What could begin an encoded-word is not for a header.
        if is_dot_atom(local) && !whole.contains("=?") && whole.len() <= LOCAL_OCTETS {
            return Some(Signed { address: alias.with_local(whole), contact: None });
        }
        let name = format!("{id}{long}");
        let local = format!("{}+{name}", alias.local());
        if local.len() > LOCAL_OCTETS {
            return None;
        }
        let contact = Contact { name, alias: alias.to_string(), correspondent: correspondent.to_string() };
        Some(Signed { address: alias.with_local(local), contact: Some(contact) })
    }

    /// What an address means, if its tag is one that these keys make. `contact` finds what is kept by a name.
    pub fn read<'a>(
        &self,
        address: &Address,
        contact: impl FnOnce(&str) -> Option<&'a Contact>,
    ) -> Option<Meaning> {
        let address = lower(address);
        if let Some(name) = contact_name(&address) {
            let (key, tag) = self.tag(&name)?;
            let Contact { alias, correspondent, .. } = contact(&name)?;
            let (alias, correspondent) = (Address::parse(alias).ok()?, Address::parse(correspondent).ok()?);
            // Else whoever can write a contact could move an address to another alias.
            let is_of_alias = alias.domain() == address.domain()
                && address.local().strip_suffix(&*name) == Some(&format!("{}+", alias.local()));
            let purpose = key.purpose(tag, &alias, &correspondent).filter(|_| is_of_alias)?;
            return Some(Meaning { purpose, alias, correspondent });
        }
        if address.local().len() > LOCAL_OCTETS {
            return None;
        }
        let (rest, tag) = address.local().rsplit_once('+').filter(|(_, tag)| tag.len() == 1 + TAG)?;
        let (key, tag) = self.tag(tag)?;
        // Alias and correspondent may have tags of their own: which of these signs belongs to whom, only the tag
        // tells.
        rest.match_indices('+').find_map(|(at, _)| {
            let (local, domain) = rest[at + 1..].rsplit_once('=')?;
            let alias = address.with_local(rest[..at].to_owned());
            let correspondent = Address::parse(&format!("{local}@{domain}")).ok()?;
            let purpose = key.purpose(tag, &alias, &correspondent)?;
            Some(Meaning { purpose, alias, correspondent })
        })
    }

    /// Whether an address may be signed with a key that is not among these.
    pub fn is_of_another(&self, address: &Address) -> bool {
        let local = address.local().to_ascii_lowercase();
        let Some((_, tag)) = local.rsplit_once('+') else { return false };
        let is_tag = matches!(tag.len().wrapping_sub(1), TAG | NAME) && tag.bytes().all(is_of_tag);
        is_tag && tag.bytes().next().is_some_and(|id| self.key(id).is_none())
    }

    /// The key that a tag names, and the tag behind its id.
    fn tag<'a>(&self, tag: &'a str) -> Option<(&ReplyKey, &'a str)> {
        let (id, tag) = tag.split_at_checked(1)?;
        Some((self.key(*id.as_bytes().first()?)?, tag))
    }
}

impl ReplyKey {
    /// The purpose for which this is the tag, or its beginning.
    fn purpose(&self, tag: &str, alias: &Address, correspondent: &Address) -> Option<Purpose> {
        let is_for = |purpose: &Purpose| {
            let tags = self.tags(*purpose, alias, correspondent);
            bool::from(tags.as_bytes()[..tag.len()].ct_eq(tag.as_bytes()))
        };
        Purpose::ALL.into_iter().find(is_for)
    }

    /// The longer tag; the shorter one is its beginning.
    fn tags(&self, purpose: Purpose, alias: &Address, correspondent: &Address) -> String {
        let of = |address: &Address| address.to_string();
        let mac = self.sign(&[purpose.word(), alias.local(), &of(correspondent), alias.domain()]);
        let mut text = data_encoding::BASE32_NOPAD.encode(&mac[..16]);
        text.make_ascii_lowercase();
        text.truncate(NAME);
        text
    }
}

/// The name by which the correspondent of an address is kept, if it may be of that form.
pub fn contact_name(address: &Address) -> Option<String> {
    let local = address.local().to_ascii_lowercase();
    let (_, name) = local.rsplit_once('+')?;
    let is_name = name.len() == 1 + NAME && name.bytes().all(is_of_tag);
    is_name.then(|| name.to_owned())
}

/// Whether tags are made of it.
fn is_of_tag(byte: u8) -> bool {
    byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)
}

fn lower(address: &Address) -> Address {
    address.with_local(address.local().to_ascii_lowercase())
}
