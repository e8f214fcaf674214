//! Addresses as SES reads them in an envelope and in a header: strictly, in ASCII, with the words SES uses
//! to refuse them. Those are of JavaMail's `InternetAddress`, and so are the rules, as far as reports of
//! refusals show them: stricter than RFC 5322 where that allows obsolete syntax (comments and white space
//! inside an address), looser in what follows a closing bracket.
//!
//! A group's members are held to the same rules; a group without members is an address list like any other.
//!
//! Nothing here is shared with the functions, so that an error of theirs is not repeated here.

/// Longest address with its name, in characters. Measured by others against SES.
const LIMIT: usize = 320;

/// Reads a list of mailboxes and groups and returns the bare addresses. The error is SES's sentence.
pub(super) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let mut addresses = Vec::new();
    let mut entry = Entry::default();
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let next = at + character.len_utf8();
        at = match character {
            '(' => {
                entry.ends(at);
                comment_end(text, next)?
            }
            ')' => return Err("Missing '('".to_owned()),
            '<' if entry.angle => return Err("Extra route-addr".to_owned()),
            '<' => {
                let close = angle_end(text, next)?;
                if !entry.is_group() {
                    (entry.start, entry.end) = (Some(next), Some(close));
                }
                entry.angle = true;
                close + 1
            }
            '>' => return Err("Missing '<'".to_owned()),
            '"' | '[' => {
                entry.starts(at);
                bracket_end(text, next, if character == '"' { '"' } else { ']' })?
            }
            ':' if entry.is_group() => return Err("Nested group".to_owned()),
            ':' => {
                entry.starts(at);
                entry.members = Some(next);
                next
            }
            ';' | ',' if entry.start.is_none() => {
                entry = Entry::after(next);
                next
            }
            ';' => {
                let members = entry.members.ok_or("Illegal semicolon, not in group")?;
                addresses.extend(parse_list(&text[members..at])?);
                entry = Entry::after(next);
                next
            }
            ',' if entry.is_group() => {
                entry.angle = false;
                next
            }
            ',' => {
                addresses.push(entry.address(text, at)?);
                entry = Entry::after(next);
                next
            }
            ' ' | '\t' | '\r' | '\n' => next,
            _ => {
                entry.starts(at);
                next
            }
        };
    }
    if entry.start.is_some() {
        addresses.push(entry.address(text, text.len())?);
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

/// What is known of the entry of a list that is being read; offsets into the list.
#[derive(Debug, Default)]
struct Entry {
    /// Behind the last comma.
    begin: usize,
    /// Where the address starts: the first character that is no white space, or behind `<`.
    start: Option<usize>,
    /// Where the address ends: at `>`, or where a comment follows it.
    end: Option<usize>,
    /// Whether there was a `<` for this address.
    angle: bool,
    /// Behind the colon of a group.
    members: Option<usize>,
}

impl Entry {
    fn after(separator: usize) -> Entry {
        Entry { begin: separator, ..Entry::default() }
    }

    fn is_group(&self) -> bool {
        self.members.is_some()
    }

    fn starts(&mut self, at: usize) {
        self.start.get_or_insert(at);
    }

    fn ends(&mut self, at: usize) {
        if self.start.is_some() {
            self.end.get_or_insert(at);
        }
    }

    /// The address of the entry, which ends at `until`.
    fn address(&self, text: &str, until: usize) -> Result<String, String> {
        let entry = text[self.begin..until].trim();
        if entry.chars().count() > LIMIT {
            return Err(format!("Address length is more than {LIMIT} characters long: '{entry}'."));
        }
        let start = self.start.unwrap_or(until);
        let address = text[start..self.end.unwrap_or(until)].trim();
        check(address).map(str::to_owned)
    }
}

/// Behind the comment that was opened before `from`.
fn comment_end(text: &str, from: usize) -> Result<usize, String> {
    let mut depth = 1;
    let mut characters = text[from..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            '(' => depth += 1,
            ')' if depth == 1 => return Ok(from + at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    Err("Missing ')'".to_owned())
}

/// Where the `>` stands that ends what a `<` before `from` began.
fn angle_end(text: &str, from: usize) -> Result<usize, String> {
    let mut quoted = false;
    let mut characters = text[from..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            '"' => quoted = !quoted,
            '>' if !quoted => return Ok(from + at),
            _ => {}
        }
    }
    Err(if quoted { "Missing '\"'" } else { "Missing '>'" }.to_owned())
}

/// Behind the quoted string or domain literal that was opened before `from`.
fn bracket_end(text: &str, from: usize, close: char) -> Result<usize, String> {
    let mut characters = text[from..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            character if character == close => return Ok(from + at + 1),
            _ => {}
        }
    }
    Err(format!("Missing '{close}'"))
}

/// Checks an address, and takes off an obsolete route before it (`@a,@b:`, RFC 5322 section 4.4).
fn check(address: &str) -> Result<&str, String> {
    let refuse = |why: &str| Err(why.to_owned());
    if address.is_empty() {
        return refuse("Empty address");
    }
    let address = match address.strip_prefix('@').and_then(|route| route.split_once(':')) {
        Some((route, address)) if route.split(",@").all(|domain| !domain.contains(',')) => address,
        Some(_) => return refuse("Illegal route-addr"),
        None => address,
    };
    let Some(at) = local_end(address)? else { return refuse("Missing final '@domain'") };
    if at == 0 {
        return refuse("Missing local name");
    }
    check_domain(&address[at + 1..])?;
    Ok(address)
}

/// Where the `@` behind the local part stands, if there is one.
fn local_end(address: &str) -> Result<Option<usize>, String> {
    let refuse = |why: &str| Err(why.to_owned());
    let mut quoted = false;
    let mut before = None;
    let mut characters = address.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
                before = None;
                continue;
            }
            '"' if quoted => {
                if characters.peek().is_some_and(|(_, next)| *next != '@') {
                    return refuse("Quote not at end of local address");
                }
                quoted = false;
            }
            '"' if at > 0 => return refuse("Quote not at start of local address"),
            '"' => quoted = true,
            _ if quoted => {}
            '.' if at == 0 => return refuse("Local address starts with dot"),
            '.' if before == Some('.') => return refuse("Local address contains dot-dot"),
            '@' if before == Some('.') => return refuse("Local address ends with dot"),
            '@' => return Ok(Some(at)),
            character if character <= ' ' || character >= '\x7f' => {
                return refuse("Local address contains control or whitespace");
            }
            '(' | ')' | '<' | '>' | ',' | ';' | ':' | '[' | ']' => {
                return refuse("Local address contains illegal character");
            }
            _ => {}
        }
        before = Some(character);
    }
    if quoted { refuse("Unterminated quote") } else { Ok(None) }
}

fn check_domain(domain: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(why.to_owned());
    if domain.is_empty() {
        return refuse("Missing domain");
    }
    if let Some(literal) = domain.strip_prefix('[') {
        return match literal.find(']') {
            Some(end) if end + 1 == literal.len() => Ok(()),
            _ => refuse("Domain literal end not at end of domain"),
        };
    }
    if domain.starts_with('.') {
        return refuse("Domain starts with dot");
    }
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    match domain.bytes().find(|byte| !is_legal(*byte)) {
        Some(..=b' ' | 0x7F) => return refuse("Domain contains control or whitespace"),
        Some(_) => return refuse("Domain contains illegal character"),
        None => {}
    }
    if domain.contains("..") {
        return refuse("Domain contains dot-dot");
    }
    if domain.ends_with('.') {
        return refuse("Domain ends with dot");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_lists() {
        let cases: [(&str, &[&str]); 28] = [
            ("a@x.example", &["a@x.example"]),
            (" a@x.example , b@y.example", &["a@x.example", "b@y.example"]),
            ("Jane <a@x.example>", &["a@x.example"]),
            ("Jane Q. Doe <a@x.example>", &["a@x.example"]),
            ("=?utf-8?q?Ren=C3=A9e?= <a@x.example>", &["a@x.example"]),
            ("Ren\u{e9}e <a@x.example>", &["a@x.example"]),
            ("\"Doe, Jane\" <a@x.example>", &["a@x.example"]),
            ("\"x < y\" <a@x.example>", &["a@x.example"]),
            ("\"say \\\"hi\\\" <x>\" <a@x.example>", &["a@x.example"]),
            ("\"b@y.example\" <a@x.example>", &["a@x.example"]),
            ("a@x.example (Jane, of x)", &["a@x.example"]),
            ("Jane (the <one>) <a@x.example>", &["a@x.example"]),
            ("(Jane \\) (of x)) a@x.example", &["a@x.example"]),
            ("< a@x.example >", &["a@x.example"]),
            ("\"a b\"@x.example", &["\"a b\"@x.example"]),
            ("<\"a@b>\"@x.example>", &["\"a@b>\"@x.example"]),
            ("\"a..b\"@x.example", &["\"a..b\"@x.example"]),
            ("a+b/c=d!e#f{g}|h'i@x.example", &["a+b/c=d!e#f{g}|h'i@x.example"]),
            ("a@[192.0.2.1]", &["a@[192.0.2.1]"]),
            ("a@[IPv6:2001:db8::1], b@y", &["a@[IPv6:2001:db8::1]", "b@y"]),
            ("a@xn--bcher-kva.example", &["a@xn--bcher-kva.example"]),
            (
                "<@r.example:a@x.example>, <@r.example,@s.example:b@y.example>",
                &["a@x.example", "b@y.example"],
            ),
            ("Friends: a@x.example, Bob <b@y.example>;", &["a@x.example", "b@y.example"]),
            ("Friends: a@x.example;, c@z.example", &["a@x.example", "c@z.example"]),
            ("undisclosed-recipients:;", &[]),
            ("undisclosed-recipients: ;", &[]),
            ("a@x.example,, b@y.example,", &["a@x.example", "b@y.example"]),
            ("", &[]),
        ];
        for (text, addresses) in cases {
            let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
            assert_eq!(parse_list(text), Ok(addresses), "{text}");
        }
    }

    #[test]
    fn ok_longest() {
        let address = " <a@x.example>";
        let longest = format!("{}{address}", "n".repeat(LIMIT - address.len()));
        assert_eq!(parse_list(&format!("{longest}, {longest}")).map(|addresses| addresses.len()), Ok(2));
    }

    #[test]
    fn err_lists() {
        let long = format!("{} <a@x.example>", "n".repeat(LIMIT));
        let too_long = format!("Address length is more than 320 characters long: '{long}'.");
        let cases = [
            ("root", "Missing final '@domain'"),
            ("undisclosed-recipients", "Missing final '@domain'"),
            ("info@in.example, root", "Missing final '@domain'"),
            ("Jane, Doe <a@x.example>", "Missing final '@domain'"),
            ("Jane <root>", "Missing final '@domain'"),
            ("=?utf-8?q?a=40x.example?=", "Missing final '@domain'"),
            ("\"a@x.example\"", "Missing final '@domain'"),
            ("undisclosed recipients", "Local address contains control or whitespace"),
            ("Jane Doe a@x.example", "Local address contains control or whitespace"),
            ("a b@x.example", "Local address contains control or whitespace"),
            (
                "<First Last <first@x.example, Second <second@x.example>",
                "Local address contains control or whitespace",
            ),
            ("a @x.example", "Local address contains control or whitespace"),
            ("<a(b)@x.example>", "Local address contains illegal character"),
            ("<a@x.example, b@y.example>", "Domain contains illegal character"),
            ("<a@x.example,b@y.example>", "Domain contains illegal character"),
            ("<mailto:a@x.example>", "Local address contains illegal character"),
            ("\u{fc}@x.example", "Local address contains control or whitespace"),
            ("a\x7f@x.example", "Local address contains control or whitespace"),
            (".a@x.example", "Local address starts with dot"),
            ("a.@x.example", "Local address ends with dot"),
            ("a..b@x.example", "Local address contains dot-dot"),
            ("a\"b\"@x.example", "Quote not at start of local address"),
            ("\"a\"b@x.example", "Quote not at end of local address"),
            ("<\"a@x.example>", "Missing '\"'"),
            ("<>", "Empty address"),
            ("Jane <>", "Empty address"),
            ("@x.example", "Missing local name"),
            ("a@", "Missing domain"),
            ("a@x example", "Domain contains control or whitespace"),
            ("a@x . example", "Domain contains control or whitespace"),
            ("a@\u{fc}.example", "Domain contains illegal character"),
            ("a@b@x.example", "Domain contains illegal character"),
            ("a@x_y.example", "Domain contains illegal character"),
            ("a@.example", "Domain starts with dot"),
            ("a@x..example", "Domain contains dot-dot"),
            ("a@x.example.", "Domain ends with dot"),
            ("a@[192.0.2.1]x", "Domain literal end not at end of domain"),
            ("<@r.example,s.example:a@x.example>", "Illegal route-addr"),
            ("<@r.example>", "Missing local name"),
            ("<a@x.example> <b@x.example>", "Extra route-addr"),
            ("<<a@x.example>>", "Missing '<'"),
            ("<<a@x.example>", "Local address contains illegal character"),
            ("Jane <a@x.example", "Missing '>'"),
            ("a@x.example>", "Missing '<'"),
            ("\"Jane <a@x.example>", "Missing '\"'"),
            ("a@[192.0.2.1", "Missing ']'"),
            ("a@x.example (Jane", "Missing ')'"),
            ("a@x.example Jane)", "Missing '('"),
            ("a@x.example; b@x.example", "Illegal semicolon, not in group"),
            ("Friends: a@x.example", "Local address contains illegal character"),
            ("A: B: a@x.example;", "Nested group"),
            ("Friends: root;", "Missing final '@domain'"),
            (&long, &too_long),
            (&format!("Friends: {long};"), &too_long),
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
