//! Lines that are right by themselves but can't do what their writer may expect.

use std::collections::HashMap;

use super::{
    problem::{Found, quoted},
    table::{Destination, Line, Pattern, without_tag},
};

/// What is odd about the lines of a file, in their order.
pub(super) fn lines(lines: &HashMap<Pattern, Line>, email_domain: &str) -> Vec<Found> {
    let mut in_order: Vec<(&Pattern, &Line)> = lines.iter().collect();
    in_order.sort_by_key(|(_, line)| line.at);
    // The line that first names each domain.
    let mut domains: HashMap<&str, &Line> = HashMap::new();
    for (pattern, line) in &in_order {
        if let Pattern::Address { domain, .. } | Pattern::Domain(domain) = pattern {
            domains.entry(domain).or_insert(line);
        }
    }
    let mut found = Vec::new();
    for (pattern, line) in in_order {
        let key = quoted(&line.key);
        let messages = odd_key(pattern, line, &key, lines, &domains, email_domain)
            .into_iter()
            .chain(line.destinations.iter().filter_map(|destination| chain(&key, destination, &domains)));
        found.extend(messages.map(|message| Found { at: line.at, message }));
    }
    found
}

fn odd_key(
    pattern: &Pattern,
    line: &Line,
    key: &str,
    lines: &HashMap<Pattern, Line>,
    domains: &HashMap<&str, &Line>,
    own: &str,
) -> Option<String> {
    match pattern {
        Pattern::Address { local, .. } | Pattern::User(local) if local == "*" => {
            Some(format!("{key} is no wildcard; everyone at {own} is \"@{own}\""))
        }
        Pattern::User(user) if user == own => {
            Some(format!("{key} is a local part; everyone at {own} is \"@{own}\""))
        }
        Pattern::User(user) => {
            let here = |local: &str| Pattern::Address { local: local.to_owned(), domain: own.to_owned() };
            let with_tag = lines.get(&here(user));
            let decides = with_tag.or_else(|| lines.get(&here(without_tag(user)?)))?.number?;
            Some(format!("{key} never matches at {own}, where line {decides} decides"))
        }
        Pattern::Address { domain, .. } | Pattern::Domain(domain) => {
            let first = domains.get(&**domain).is_some_and(|first| first.at == line.at);
            (domain != own && first).then(|| {
                format!(
                    "{key} matches only if SES receives mail for {domain} too; the stack's own receipt rule is for {own}"
                )
            })
        }
    }
}

/// A destination at a domain that other lines are for.
fn chain(key: &str, destination: &Destination, domains: &HashMap<&str, &Line>) -> Option<String> {
    let domain = destination.domain();
    let there = domains.get(domain)?.number?;
    Some(format!(
        "{key} leads to {domain}, for which line {there} takes mail: destinations are not looked up again"
    ))
}
