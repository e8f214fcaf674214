//! Lines that are right by themselves but can't do what their writer may expect.

use std::collections::HashMap;

use super::{
    pattern::{Pattern, without_tag},
    problem::{Found, quoted},
    senders::Senders,
    table::{Destination, Line},
};
use crate::domains::{Domains, is_at_or_below};

/// What is odd about the lines of a file, in their order.
pub(super) fn lines(lines: &HashMap<Pattern, Line>, domains: &Domains) -> impl Iterator<Item = Found> {
    let mut in_order: Vec<(&Pattern, &Line)> = lines.iter().collect();
    in_order.sort_by_key(|(_, line)| line.at);
    // The line that first names each domain.
    let mut first_lines: HashMap<&str, &Line> = HashMap::new();
    for (pattern, line) in &in_order {
        if let Some(domain) = pattern.domain() {
            first_lines.entry(domain).or_insert(line);
        }
    }
    let mut found = Vec::new();
    for (pattern, line) in in_order {
        let key = quoted(&line.key);
        let destinations = line.leads.destinations().iter();
        let messages = odd_key(pattern, line, &key, lines, &first_lines, domains)
            .into_iter()
            .chain(destinations.filter_map(|destination| odd_destination(&key, destination, &first_lines)));
        found.extend(messages.map(|message| Found { at: line.at, message }));
    }
    found.into_iter()
}

/// What is odd about the lines for senders.
pub(super) fn senders(senders: &Senders) -> impl Iterator<Item = Found> {
    let lines = senders.tables().flat_map(|table| table.lines.iter());
    lines.filter_map(|(pattern, line)| {
        let Pattern::Address { local, domain } = pattern else { return None };
        let meant = format!("everyone at {domain} is \"@{domain}\", at its subdomains \"@*.{domain}\"");
        let message = format!("{} {}; {meant}", quoted(&line.key), no_pattern(local)?);
        Some(Found { at: line.at, message })
    })
}

fn odd_key(
    pattern: &Pattern,
    line: &Line,
    key: &str,
    lines: &HashMap<Pattern, Line>,
    first_lines: &HashMap<&str, &Line>,
    domains: &Domains,
) -> Option<String> {
    let own = domains.first();
    match pattern {
        Pattern::Address { local, .. } | Pattern::User(local) if no_pattern(local).is_some() => {
            let domain = pattern.domain().unwrap_or(own);
            Some(format!("{key} {}; everyone at {domain} is \"@{domain}\"", no_pattern(local)?))
        }
        Pattern::User(user) if domains.contains(user) => {
            Some(format!("{key} is a local part; everyone at {user} is \"@{user}\""))
        }
        Pattern::User(user) => {
            // Without effect if every domain has a line that goes before it.
            let mut before = domains.iter().map(|own| {
                let here = |local: &str| Pattern::Address { local: local.to_owned(), domain: own.to_owned() };
                let with_tag = lines.get(&here(user));
                let decides = with_tag.or_else(|| lines.get(&here(without_tag(user)?)))?.number?;
                Some((own, decides))
            });
            let first = before.next()??;
            before
                .all(|decides| decides.is_some())
                .then(|| format!("{key} never matches at {}, where line {} decides", first.0, first.1))
        }
        Pattern::Address { domain, .. } | Pattern::Domain(domain) | Pattern::Subdomains(domain) => {
            let first = first_lines.get(&**domain).is_some_and(|first| first.at == line.at);
            let received = domains.iter().any(|own| is_at_or_below(domain, own));
            (!received && first).then(|| {
                format!(
                    "{key} matches only if SES receives mail for {domain} too; the stack's own receipt rule is for {domains}"
                )
            })
        }
        Pattern::Everyone => None,
    }
}

/// A destination at a domain that other lines are for, or one that a pattern was to fill in.
fn odd_destination(
    key: &str,
    destination: &Destination,
    first_lines: &HashMap<&str, &Line>,
) -> Option<String> {
    if let Destination::Mailbox(address) = destination
        && let Some(why) = no_pattern(address.local())
    {
        return Some(format!("{key} leads to an address that {why}; \"@domain\" keeps the recipient's name"));
    }
    let domain = destination.domain();
    let there = first_lines.get(domain)?.number?;
    Some(format!(
        "{key} leads to {domain}, for which line {there} takes mail: destinations are not looked up again"
    ))
}

/// What a local part is not, though it looks as if its writer took it for one: a wildcard, a regular
/// expression, or what such an expression found. None of these is ever part of a name that people use.
fn no_pattern(local: &str) -> Option<&'static str> {
    let group = |sign: char| {
        local.match_indices(sign).any(|(at, _)| local[at + 1..].starts_with(|c: char| c.is_ascii_digit()))
    };
    if local.starts_with('^') || local.ends_with('$') || local.contains(".*") || local.contains(".+") {
        Some("is no regular expression")
    } else if local.contains('*') || local == "%" {
        Some("is no wildcard")
    } else if group('$') {
        Some("is nothing to fill in")
    } else {
        None
    }
}
