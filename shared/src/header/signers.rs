//! Who signed a message, as SES found: the domains of the signatures that hold, in the
//! Authentication-Results field (RFC 8601) that SES puts on top of what it stores.

use crate::steps;

/// What SES calls itself there.
const AUTHORITY: &str = "amazonses.com";

/// More signatures than a message is ever given.
const SIGNERS_MAX: usize = 16;

/// The domains in lower case, or `None` if the field is not SES's. Whoever sent the message can write such
/// a field too, but only below SES's: the first one counts.
///
/// Quoted strings and comments are passed over as a whole: the envelope sender is in the field as the
/// sender chose it.
pub(super) fn of(value: &str) -> Option<Vec<String>> {
    let plain = without_quotes_and_comments(value);
    let mut results = plain.split(';').map(str::trim);
    results.next().filter(|authority| authority.eq_ignore_ascii_case(AUTHORITY))?;
    let holds = results.filter_map(|result| result.strip_prefix("dkim=pass"));
    let domains = holds.filter_map(|properties| {
        properties.split_ascii_whitespace().find_map(|property| {
            let (name, value) = property.split_once('=')?;
            let domain = match name {
                "header.d" => value,
                "header.i" => value.rsplit_once('@')?.1,
                _ => return None,
            };
            Some(domain.to_ascii_lowercase())
        })
    });
    Some(domains.take(SIGNERS_MAX).collect())
}

/// The domain of From that DMARC was looked up for, in lower case, if the field is SES's and says so.
pub(super) fn author_domain(value: &str) -> Option<String> {
    let plain = without_quotes_and_comments(value);
    let mut results = plain.split(';').map(str::trim);
    results.next().filter(|authority| authority.eq_ignore_ascii_case(AUTHORITY))?;
    let mut dmarc = results.filter(|result| result.starts_with("dmarc="));
    let properties = dmarc.next()?.split_ascii_whitespace();
    let domain = properties.filter_map(|property| property.strip_prefix("header.from=")).next()?;
    Some(domain.to_ascii_lowercase())
}

/// Each quoted string and comment (RFC 5322 section 3.2) as one character that means nothing here.
fn without_quotes_and_comments(value: &str) -> String {
    steps::count(value.len());
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    let (mut depth, mut quoted) = (0usize, false);
    while let Some(char) = chars.next() {
        match char {
            '\\' if quoted || depth > 0 => drop(chars.next()),
            '"' if depth == 0 => {
                quoted = !quoted;
                plain.push('"');
            }
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth > 0 => {
                depth -= 1;
                plain.push(' ');
            }
            _ if depth > 0 => {}
            _ => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signers_of_a_field() {
        for (value, expected) in [
            (
                "amazonses.com; spf=pass (spfCheck: domain of x.example designates 192.0.2.1 as permitted sender) client-ip=192.0.2.1; envelope-from=jane@x.example; helo=mail.x.example; dkim=pass header.i=@X.example; dkim=pass header.i=jane@esp.example; dkim=fail header.i=@bad.example; dmarc=pass header.from=x.example;",
                Some(&["x.example", "esp.example"][..]),
            ),
            ("amazonses.com; dkim=pass header.d=x.example header.s=s1", Some(&["x.example"])),
            ("amazonses.com; dkim=none", Some(&[])),
            ("AMAZONSES.COM;dkim=pass header.i=@x.example", Some(&["x.example"])),
            ("mx.else.example; dkim=pass header.i=@x.example", None),
            ("", None),
            // Nothing that the sender chose is taken for a result.
            ("amazonses.com; envelope-from=\";dkim=pass header.i=@x.example;\"@e.example", Some(&[])),
            ("amazonses.com; envelope-from=\"a\\\";dkim=pass header.i=@x.example;\"@e.example", Some(&[])),
            ("amazonses.com; spf=pass (a (b) ;dkim=pass header.i=@x.example; )", Some(&[])),
            ("amazonses.com; spf=pass (;dkim=pass header.i=@x.example;", Some(&[])),
        ] {
            let found = of(value);
            assert_eq!(
                found.as_deref(),
                expected.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref(),
                "{value}"
            );
        }
    }
}
