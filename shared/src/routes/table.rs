//! The table, and looking a recipient up in it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
};

use super::{
    pattern::{How, Pattern, candidates, without_tag},
    replies::ReplyRules,
    senders::Senders,
};
use crate::{
    address::{Address, LocalPart, domain_to_ascii},
    domains::Domains,
};

/// How many recipients a receipt rule takes.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
pub const RECIPIENTS_MAX: usize = 100;

/// The routes file, checked; or the default that sends every received domain to another one.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    pub(super) lines: HashMap<Pattern, Line>,
    /// The mailboxes that lines lead to.
    pub(super) mailboxes: HashSet<Address>,
    pub(super) senders: Senders,
    pub(super) replies: ReplyRules,
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
    /// Whether the sender is to be told that there is no such address; then nothing goes anywhere.
    pub refused: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) number: Option<usize>,
    /// The key's first byte in the file.
    pub(super) at: usize,
    pub(super) leads: Leads,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leads {
    /// To these; to none of them, it is discarded.
    To(Vec<Destination>),
    /// Back to the sender.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Mailbox(Address),
    /// `@domain`, lower case: the recipient's local part there.
    Domain(String),
}

impl Routes {
    /// `"@DOMAIN" = "@DESTINATION_DOMAIN"` alone, for each domain of `EMAIL_DOMAIN`; without a
    /// destination domain, or for a domain that is the same, no line.
    pub fn default_for(domains: &Domains, destination_domain: Option<&str>) -> Routes {
        let mut routes = Routes::default();
        routes.close(domains, destination_domain);
        routes
    }

    /// The line for a recipient: `user+tag@domain`, `user@domain`, `user+tag`, `user`, `@domain`,
    /// `@*.parent`, `@`. `None`: no line matches.
    pub fn lookup(&self, recipient: &Address) -> Option<Match<'_>> {
        let (line, how) =
            candidates(recipient).find_map(|(pattern, how)| Some((self.lines.get(&pattern)?, how)))?;
        let (destinations, refused) = match &line.leads {
            Leads::To(list) => (list.iter().map(|destination| destination.of(recipient)).collect(), false),
            Leads::Refused => (Vec::new(), true),
        };
        Some(Match { key: &line.key, line: line.number, how, destinations, refused })
    }

    /// Whether a destination of a recipient is only the recipient's own name at another domain, by a line for
    /// whole domains: nobody has written it down, so whoever writes to a name makes one up.
    pub fn is_unnamed(&self, recipient: &Address, destination: &Address) -> bool {
        let found = candidates(recipient).find_map(|(pattern, how)| Some((self.lines.get(&pattern)?, how)));
        let Some((line, how)) = found else { return false };
        let kept = |leads: &Destination| matches!(leads, Destination::Domain(domain) if recipient.at(domain) == *destination);
        how >= How::Domain
            && line.leads.destinations().iter().any(kept)
            && !self.mailboxes.contains(destination)
    }

    /// Whether some recipient's mail goes to a destination: a line names it, or all of its domain.
    pub fn may_lead_to(&self, destination: &Address) -> bool {
        let whole = |leads: &Destination| matches!(leads, Destination::Domain(domain) if domain == destination.domain());
        self.mailboxes.contains(destination)
            || self.lines.values().any(|line| line.leads.destinations().iter().any(whole))
    }

    /// What is said of senders.
    pub fn senders(&self) -> &Senders {
        &self.senders
    }

    /// The same without a word on senders: for what the owner has asked for.
    #[must_use]
    pub fn without_senders(&self) -> Routes {
        Routes { senders: Senders::default(), ..self.clone() }
    }

    /// The same with the line `"SENDER" = "forward"` for everyone, in place of one for the same sender: what
    /// would become of mail if the file had it.
    #[must_use]
    pub fn letting_past(&self, sender: &Address) -> Routes {
        Routes { senders: self.senders.letting_past(sender), ..self.clone() }
    }

    /// What is said of answers.
    pub fn replies(&self) -> &ReplyRules {
        &self.replies
    }

    /// The keys that match a recipient, as a file writes them, in the order in which they are looked up.
    pub fn keys(recipient: &Address) -> impl Iterator<Item = (String, How)> {
        candidates(recipient).map(|(pattern, how)| (pattern.to_string(), how))
    }

    /// How many lines the file has for recipients, those left out that only repeat a key.
    pub fn lines(&self) -> usize {
        self.lines.values().filter(|line| line.number.is_some()).count()
    }

    /// What to give a receipt rule as its recipients, so that SES refuses everyone whom no line of the file is
    /// for, while the sender is still connected: addresses, domains, and subdomains with a dot in front, sorted.
    /// A rule takes an address with any tag, and up to [`RECIPIENTS_MAX`] recipients.
    ///
    /// Whom a line refuses is left out, and so is whom only the built-in default is for.
    pub fn recipients(&self, domains: &Domains) -> BTreeSet<String> {
        let lines = self.lines.iter().filter(|(_, line)| line.number.is_some());
        let taken: Vec<&Pattern> =
            lines.filter(|(_, line)| line.leads != Leads::Refused).map(|(pattern, _)| pattern).collect();
        let everyone = taken.contains(&&Pattern::Everyone);
        let mut recipients: BTreeSet<String> = BTreeSet::new();
        if everyone {
            recipients.extend(domains.iter().map(str::to_owned));
        }
        for pattern in &taken {
            match pattern {
                Pattern::Domain(domain) => drop(recipients.insert(domain.clone())),
                Pattern::Subdomains(domain) => drop(recipients.insert(format!(".{domain}"))),
                Pattern::Everyone | Pattern::Address { .. } | Pattern::User(_) => {}
            }
        }
        let is_whole = |domain: &str| {
            let mut above = domain.match_indices('.').map(|(at, _)| &domain[at..]);
            recipients.contains(domain) || above.any(|above| recipients.contains(above))
        };
        // A tag needs no line of its own.
        let untagged = |local: &str| LocalPart(without_tag(local).unwrap_or(local)).to_string();
        let mut addresses = Vec::new();
        for pattern in &taken {
            match pattern {
                Pattern::Address { local, domain } if !is_whole(domain) => {
                    addresses.push(format!("{}@{domain}", untagged(local)));
                }
                Pattern::User(local) => {
                    // A line for the address itself may refuse it; one for the address without its tag does not.
                    let is_taken = |domain: &&str| {
                        let address = Address::parse(&format!("{}@{domain}", LocalPart(local)));
                        address.is_ok_and(|address| self.lookup(&address).is_none_or(|line| !line.refused))
                    };
                    let partly = domains.iter().filter(|domain| !is_whole(domain)).filter(is_taken);
                    addresses.extend(partly.map(|domain| format!("{}@{domain}", untagged(local))));
                }
                _ => {}
            }
        }
        recipients.extend(addresses);
        recipients
    }

    /// Ends the table: no line is added afterwards, but here the built-in default for each domain, unless the file
    /// has a line for the whole of it.
    pub(super) fn close(&mut self, domains: &Domains, destination_domain: Option<&str>) {
        let mailbox = |leads: &Destination| match leads {
            Destination::Mailbox(address) => Some(address.clone()),
            Destination::Domain(_) => None,
        };
        let leads = self.lines.values().flat_map(|line| line.leads.destinations());
        self.mailboxes = leads.filter_map(mailbox).collect();
        let destination = destination_domain.map(|text| {
            // What is no domain stays as it is, and matches nothing.
            domain_to_ascii(text).unwrap_or_else(|_| text.to_ascii_lowercase())
        });
        let Some(destination) = destination else { return };
        if self.lines.contains_key(&Pattern::Everyone) {
            return;
        }
        for domain in domains.iter().filter(|domain| **domain != destination) {
            self.lines.entry(Pattern::Domain(domain.to_owned())).or_insert_with(|| Line {
                key: format!("@{domain}"),
                number: None,
                at: 0,
                leads: Leads::To(vec![Destination::Domain(destination.clone())]),
            });
        }
    }
}

impl Leads {
    pub(super) fn destinations(&self) -> &[Destination] {
        match self {
            Leads::To(destinations) => destinations,
            Leads::Refused => &[],
        }
    }
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
