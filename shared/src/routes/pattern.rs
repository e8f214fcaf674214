//! What a key of the routes file names: an address, a local part, a domain, the subdomains of one, or
//! everyone.

use std::fmt;

use super::problem::quoted;
use crate::address::{Address, LocalPart, domain_to_ascii};

/// What a key names, in the form in which it compares: lower case, local parts without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// `user@domain`.
    Address { local: String, domain: String },
    /// `user`, at any domain.
    User(String),
    /// `@domain`.
    Domain(String),
    /// `@*.domain`: its subdomains, however deep, and not itself.
    Subdomains(String),
    /// `@`.
    Everyone,
}

/// What of an address a key names, from the most specific to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// `@*.domain`, for an address at a subdomain; of several the longest.
    Subdomain,
    /// `@`.
    Everyone,
}

impl Pattern {
    /// Reads a key, or says what was found instead.
    pub(super) fn read(key: &str) -> Result<Pattern, String> {
        // An `@` inside quotes belongs to the local part.
        let unquoted = key.rsplit('"').next().unwrap_or(key);
        if key == "@" {
            Ok(Pattern::Everyone)
        } else if let Some(domain) = key.strip_prefix("@*.") {
            whole_domain(key, domain).map(Pattern::Subdomains)
        } else if let Some(domain) = key.strip_prefix('@') {
            whole_domain(key, domain).map(Pattern::Domain)
        } else if unquoted.contains('@') {
            let address = Address::parse(key).map_err(|error| error.to_string())?;
            Ok(Pattern::Address {
                local: address.local().to_ascii_lowercase(),
                domain: address.domain().to_owned(),
            })
        } else {
            // Any domain will do to read a local part.
            let user = Address::parse(&format!("{key}@user.invalid"));
            let user = user.map_err(|_| format!("expected a local part, but found {}", quoted(key)))?;
            Ok(Pattern::User(user.local().to_ascii_lowercase()))
        }
    }

    /// The domain that the key is for, if it is for one.
    pub(super) fn domain(&self) -> Option<&str> {
        match self {
            Pattern::Address { domain, .. } | Pattern::Domain(domain) | Pattern::Subdomains(domain) => {
                Some(domain)
            }
            Pattern::User(_) | Pattern::Everyone => None,
        }
    }
}

/// The keys that match an address, most specific first. There are as many as the address has labels,
/// and six.
pub(super) fn candidates(address: &Address) -> impl Iterator<Item = (Pattern, How)> {
    let local = address.local().to_ascii_lowercase();
    let domain = address.domain().to_owned();
    let user = without_tag(&local).map(str::to_owned);
    let at_domain = |local: &str| Pattern::Address { local: local.to_owned(), domain: domain.clone() };
    let mut keys = vec![(at_domain(&local), How::Address)];
    keys.extend(user.as_deref().map(|user| (at_domain(user), How::AddressWithoutTag)));
    keys.push((Pattern::User(local), How::User));
    keys.extend(user.map(|user| (Pattern::User(user), How::UserWithoutTag)));
    let above = domain.match_indices('.').map(|(at, _)| domain[at + 1..].to_owned());
    let above: Vec<_> = above.map(|above| (Pattern::Subdomains(above), How::Subdomain)).collect();
    keys.push((Pattern::Domain(domain), How::Domain));
    keys.extend(above);
    keys.push((Pattern::Everyone, How::Everyone));
    keys.into_iter()
}

/// `user` of `user+tag`. The first `+` begins the tag; a local part that begins with `+` has none.
pub(super) fn without_tag(local: &str) -> Option<&str> {
    let (user, _tag) = local.split_once('+')?;
    (!user.is_empty()).then_some(user)
}

/// The domain of a text such as `@domain`.
pub(super) fn whole_domain(text: &str, domain: &str) -> Result<String, String> {
    domain_to_ascii(domain).map_err(|why| format!("expected a domain, but {} {why}", quoted(text)))
}

/// As a file writes it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Address { local, domain } => write!(f, "{}@{domain}", LocalPart(local)),
            Pattern::User(local) => LocalPart(local).fmt(f),
            Pattern::Domain(domain) => write!(f, "@{domain}"),
            Pattern::Subdomains(domain) => write!(f, "@*.{domain}"),
            Pattern::Everyone => f.write_str("@"),
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
            How::Subdomain => "everyone at a subdomain",
            How::Everyone => "everyone else at any domain",
        })
    }
}
