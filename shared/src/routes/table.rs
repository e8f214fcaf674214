//! The table, and looking a recipient up in it.

use std::{collections::HashMap, fmt};

use crate::address::{Address, LocalPart, domain_to_ascii};

/// The routes file, checked; or the default that sends every received domain to another one.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    pub(super) lines: HashMap<Pattern, Line>,
}

/// The line that decided, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<'a> {
    /// The key as it stands in the file, or the default's.
    pub key: &'a str,
    /// Line of the key in the file; `None` for the built-in default.
    pub line: Option<usize>,
    /// What of the recipient the key names.
    pub how: How,
    /// Where mail goes; empty discards it.
    pub destinations: Vec<Address>,
}

/// What of a recipient a key names, from the most specific to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `user@domain`, and with a tag `user+tag@domain`.
    Address,
    /// `user@domain`, for `user+tag@domain`.
    AddressWithoutTag,
    /// `user`, and with a tag `user+tag`: at any received domain.
    User,
    /// `user`, for `user+tag`: at any received domain.
    UserWithoutTag,
    /// `@domain`.
    Domain,
}

/// What a key names, in the form in which it compares: lower case, local parts without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    Address { local: String, domain: String },
    User(String),
    Domain(String),
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) number: Option<usize>,
    /// The key's first byte in the file.
    pub(super) at: usize,
    pub(super) destinations: Vec<Destination>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Mailbox(Address),
    /// `@domain`, lower case: the recipient's local part there.
    Domain(String),
}

impl Routes {
    /// `"@EMAIL_DOMAIN" = "@DESTINATION_DOMAIN"` alone; without a destination domain, or with the
    /// same one, an empty table.
    pub fn default_for(email_domain: &str, destination_domain: Option<&str>) -> Routes {
        let mut routes = Routes::default();
        routes.close(email_domain, destination_domain);
        routes
    }

    /// The line for a recipient: `user+tag@domain`, `user@domain`, `user+tag`, `user`, `@domain`.
    /// `None`: no line matches.
    pub fn lookup(&self, recipient: &Address) -> Option<Match<'_>> {
        let (line, how) =
            candidates(recipient).find_map(|(pattern, how)| Some((self.lines.get(&pattern)?, how)))?;
        let destinations = line.destinations.iter().map(|destination| destination.of(recipient)).collect();
        Some(Match { key: &line.key, line: line.number, how, destinations })
    }

    /// The keys that match a recipient, as a file writes them, in the order in which they are looked up.
    pub fn keys(recipient: &Address) -> impl Iterator<Item = (String, How)> {
        candidates(recipient).map(|(pattern, how)| (pattern.to_string(), how))
    }

    /// How many lines the file has, those left out that only repeat a key.
    pub fn lines(&self) -> usize {
        self.lines.values().filter(|line| line.number.is_some()).count()
    }

    /// Adds the built-in default, unless the file has a line for the whole of `EMAIL_DOMAIN`.
    pub(super) fn close(&mut self, email_domain: &str, destination_domain: Option<&str>) {
        let email_domain = domain(email_domain);
        let Some(destination) = destination_domain.map(domain).filter(|other| *other != email_domain) else {
            return;
        };
        let key = format!("@{email_domain}");
        self.lines.entry(Pattern::Domain(email_domain)).or_insert(Line {
            key,
            number: None,
            at: 0,
            destinations: vec![Destination::Domain(destination)],
        });
    }
}

/// The keys that match a recipient, most specific first.
fn candidates(recipient: &Address) -> impl Iterator<Item = (Pattern, How)> {
    let local = recipient.local().to_ascii_lowercase();
    let domain = recipient.domain().to_owned();
    let user = without_tag(&local).map(str::to_owned);
    let address = |local: &str| Pattern::Address { local: local.to_owned(), domain: domain.clone() };
    [
        Some((address(&local), How::Address)),
        user.as_deref().map(|user| (address(user), How::AddressWithoutTag)),
        Some((Pattern::User(local), How::User)),
        user.map(|user| (Pattern::User(user), How::UserWithoutTag)),
        Some((Pattern::Domain(domain), How::Domain)),
    ]
    .into_iter()
    .flatten()
}

/// `user` of `user+tag`. The first `+` begins the tag; a local part that begins with `+` has none.
pub(super) fn without_tag(local: &str) -> Option<&str> {
    let (user, _tag) = local.split_once('+')?;
    (!user.is_empty()).then_some(user)
}

/// A domain in the form in which it compares. What is no domain stays as it is, and matches nothing.
pub(super) fn domain(text: &str) -> String {
    domain_to_ascii(text).unwrap_or_else(|_| text.to_ascii_lowercase())
}

impl Destination {
    fn of(&self, recipient: &Address) -> Address {
        match self {
            Destination::Mailbox(address) => address.clone(),
            Destination::Domain(domain) => recipient.at(domain),
        }
    }

    pub(super) fn domain(&self) -> &str {
        match self {
            Destination::Mailbox(address) => address.domain(),
            Destination::Domain(domain) => domain,
        }
    }
}

/// As a file writes it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Mailbox(address) => address.fmt(f),
            Destination::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

/// As a file writes it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Address { local, domain } => write!(f, "{}@{domain}", LocalPart(local)),
            Pattern::User(local) => LocalPart(local).fmt(f),
            Pattern::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

/// For people: "matches … as".
impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Address => "the whole address",
            How::AddressWithoutTag => "the address without its tag",
            How::User => "the local part, at any received domain",
            How::UserWithoutTag => "the local part without its tag, at any received domain",
            How::Domain => "everyone else at the domain",
        })
    }
}
