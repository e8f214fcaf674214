//! Addresses as SES reads them: RFC 5322 mailboxes, strictly, in ASCII, with the words SES uses to refuse
//! them (those of JavaMail's `InternetAddress`, which SES answers with).
//!
//! Nothing here is shared with the functions, so that an error of theirs is not repeated here.

/// Longest address with its name, in characters. Measured by others against SES.
const LIMIT: usize = 320;

/// Reads a list of mailboxes and groups and returns the bare addresses. The error is SES's sentence.
pub(super) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let mut addresses = Vec::new();
    for entry in split(text)? {
        let entry = entry.trim();
        if !entry.is_empty() {
            if entry.len() > LIMIT {
                return Err(format!("Address length is more than {LIMIT} characters long: '{entry}'."));
            }
            addresses.push(parse_mailbox(entry)?);
        }
    }
    Ok(addresses)
}

/// Reads exactly one mailbox.
pub(super) fn parse_one(text: &str) -> Result<String, String> {
    let mut addresses = parse_list(text)?;
    match (addresses.pop(), addresses.is_empty()) {
        (Some(address), true) => Ok(address),
        (None, _) => Err("Empty address".to_owned()),
        (Some(_), false) => Err("Illegal address: more than one mailbox".to_owned()),
    }
}

/// Splits at the commas outside of quotes, comments and angle brackets. A group's name is left out, its
/// members are entries.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut entries = Vec::new();
    let (mut start, mut quoted, mut escaped, mut comments, mut angle, mut group) =
        (0, false, false, 0, false, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match character {
            '\\' if quoted || comments > 0 => escaped = true,
            '"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => comments += 1,
            ')' if comments == 0 => return Err("Missing '('".to_owned()),
            ')' => comments -= 1,
            _ if comments > 0 => {}
            '<' if angle => return Err("Extra route-addr".to_owned()),
            '<' => angle = true,
            '>' if !angle => return Err("Missing '<'".to_owned()),
            '>' => angle = false,
            _ if angle => {}
            ':' if group => return Err("Nested group".to_owned()),
            ':' => {
                group = true;
                start = at + 1;
            }
            ';' if !group => return Err("Illegal semicolon, not in group".to_owned()),
            ',' | ';' => {
                entries.push(&text[start..at]);
                start = at + 1;
                group &= character == ',';
            }
            _ => {}
        }
    }
    if quoted {
        return Err("Missing '\"'".to_owned());
    }
    if comments > 0 {
        return Err("Missing ')'".to_owned());
    }
    if angle {
        return Err("Missing '>'".to_owned());
    }
    entries.push(&text[start..]);
    Ok(entries)
}

/// `addr` or `name <addr>`; comments are left out.
fn parse_mailbox(entry: &str) -> Result<String, String> {
    let bare = without_comments(entry);
    let bare = bare.trim();
    let address = match outside_quotes(bare, '<') {
        None => bare,
        Some(open) => {
            let (_, rest) = bare.split_at(open + 1);
            let close = outside_quotes(rest, '>').ok_or("Missing '>'")?;
            let (inside, after) = (&rest[..close], &rest[close + 1..]);
            if !after.trim().is_empty() {
                return Err(if outside_quotes(after, '<').is_some() {
                    "Extra route-addr".to_owned()
                } else {
                    "Illegal text after the address".to_owned()
                });
            }
            // An obsolete route, `@a,@b:`, may stand before the address (RFC 5322 section 4.4).
            match inside.strip_prefix('@').and_then(|_| inside.split_once(':')) {
                Some((_, address)) => address,
                None => inside,
            }
        }
    };
    check(address.trim())?;
    Ok(address.trim().to_owned())
}

fn check(address: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(why.to_owned());
    let Some((local, domain)) = address.rsplit_once('@') else { return refuse("Missing final '@domain'") };
    if local.is_empty() {
        return refuse("Missing local name");
    }
    if domain.is_empty() {
        return refuse("Missing domain");
    }
    if !address.is_ascii() {
        return refuse("Local address contains non-ASCII characters or domain is not in Punycode");
    }
    if local.starts_with('"') {
        let inner = local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
        if inner.is_none() || local.bytes().any(|byte| byte.is_ascii_control()) {
            return refuse("Quote not at end of local address");
        }
    } else {
        if local.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
            return refuse("Local address contains control or whitespace");
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return refuse("Local address starts or ends with a dot, or contains dot-dot");
        }
        if local.contains(['(', ')', '<', '>', ',', ';', ':', '\\', '"', '[', ']', '@']) {
            return refuse("Local address contains illegal character");
        }
    }
    if domain.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
        return refuse("Domain contains control or whitespace");
    }
    let label_fits = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(legal)
    };
    if domain.len() > 255 || !domain.split('.').all(label_fits) {
        return refuse("Domain contains illegal character, or is too long");
    }
    Ok(())
}

/// Where a character stands outside of quoted strings.
fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().find_map(|(at, character)| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            character if character == wanted && !quoted => return Some(at),
            _ => {}
        }
        None
    })
}

fn without_comments(text: &str) -> String {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    text.chars()
        .filter(|character| {
            let inside = depth > 0;
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted || inside => escaped = true,
                '"' if !inside => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if inside => depth -= 1,
                _ => {}
            }
            !inside && depth == 0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_lists() {
        let cases: [(&str, &[&str]); 14] = [
            ("a@x.example", &["a@x.example"]),
            (" a@x.example , b@y.example", &["a@x.example", "b@y.example"]),
            ("Jane <a@x.example>", &["a@x.example"]),
            ("\"Doe, Jane\" <a@x.example>", &["a@x.example"]),
            ("\"x < y\" <a@x.example>", &["a@x.example"]),
            ("\"say \\\"hi\\\" <x>\" <a@x.example>", &["a@x.example"]),
            ("a@x.example (Jane, of x)", &["a@x.example"]),
            ("Jane (the <one>) <a@x.example>", &["a@x.example"]),
            ("\"a b\"@x.example", &["\"a b\"@x.example"]),
            ("<@route.example:a@x.example>", &["a@x.example"]),
            ("Friends: a@x.example, b@y.example;", &["a@x.example", "b@y.example"]),
            ("undisclosed-recipients:;", &[]),
            ("a@x.example,", &["a@x.example"]),
            ("", &[]),
        ];
        for (text, addresses) in cases {
            let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
            assert_eq!(parse_list(text), Ok(addresses), "{text}");
        }
    }

    #[test]
    fn err_lists() {
        let long = format!("{} <a@x.example>", "n".repeat(LIMIT));
        let cases = [
            ("Jane", "Missing final '@domain'"),
            ("Jane, Doe <a@x.example>", "Missing final '@domain'"),
            ("<a@x.example> <b@x.example>", "Extra route-addr"),
            ("<<a@x.example>>", "Extra route-addr"),
            ("Jane <a@x.example", "Missing '>'"),
            ("\"Jane <a@x.example>", "Missing '\"'"),
            ("a@x.example (Jane", "Missing ')'"),
            ("a@x.example; b@x.example", "Illegal semicolon, not in group"),
            ("@x.example", "Missing local name"),
            ("a@", "Missing domain"),
            ("a b@x.example", "Local address contains control or whitespace"),
            ("a..b@x.example", "Local address starts or ends with a dot, or contains dot-dot"),
            ("a@b@x.example", "Local address contains illegal character"),
            ("a@x example", "Domain contains control or whitespace"),
            ("a@x..example", "Domain contains illegal character, or is too long"),
            ("ü@x.example", "Local address contains non-ASCII characters or domain is not in Punycode"),
            ("a@ü.example", "Local address contains non-ASCII characters or domain is not in Punycode"),
            (&long, &format!("Address length is more than 320 characters long: '{long}'.")),
        ];
        for (text, refusal) in cases {
            assert_eq!(parse_list(text), Err(refusal.to_owned()), "{text}");
        }
    }

    #[test]
    fn one_is_one() {
        assert_eq!(parse_one("Jane <a@x.example>"), Ok("a@x.example".to_owned()));
        assert_eq!(parse_one(" "), Err("Empty address".to_owned()));
        assert_eq!(
            parse_one("a@x.example, b@x.example"),
            Err("Illegal address: more than one mailbox".to_owned())
        );
    }
}
