//! A mail address as an envelope carries it (RFC 5321 section 4.1.2): a local part and a domain.
//!
//! Not supported: SMTPUTF8 local parts (SES neither receives nor sends them), domain literals such
//! as `ann@[192.0.2.1]`, and source routes, which the reader of header mailboxes strips before an
//! address gets here.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// Longest domain in octets (RFC 1035 section 2.3.4, without the root's trailing dot).
const DOMAIN_OCTETS: usize = 253;
/// Longest label of a domain in octets (RFC 1035 section 2.3.4).
const LABEL_OCTETS: usize = 63;

/// A local part and a domain. Two addresses are equal if they differ in ASCII case only: mail
/// systems that tell `Info@` from `info@` are not worth losing mail to.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(into = "String")]
pub struct Address {
    local: String,
    domain: String,
}

/// Why a text is no address. Says what was found, so that a person can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

impl Address {
    /// Reads `local@domain`. The local part may be quoted; an IDN domain is turned into its ASCII
    /// form (A-labels) and the domain is lower-cased.
    ///
    /// Dots are taken as they come (`a..b`, `.a`): there are mailboxes with such names, and
    /// [`Display`](fmt::Display) quotes them. The 64 octets of RFC 5321 section 4.5.3.1.1 are not
    /// enforced either, as senders with variable envelope return paths break them and are delivered.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let refuse =
            |why: &str| Err(AddressError(format!("expected an address, but \"{}\" {why}", shown(text))));
        let Some((local, domain)) = text.rsplit_once('@') else {
            return refuse("has no @");
        };
        let local = match unquoted(local) {
            Ok(local) => local,
            Err(why) => return refuse(why),
        };
        match domain_to_ascii(domain) {
            Ok(domain) => Ok(Address { local, domain }),
            Err(why) => refuse(why),
        }
    }

    /// Reads an address whose local part may have lost the quotes it needs, such as `john doe@in.example`:
    /// mail systems hand recipients on in either form.
    pub fn parse_bare(text: &str) -> Result<Address, AddressError> {
        Address::parse(text).or_else(|error| match text.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !local.starts_with('"') => {
                Address::parse(&format!("{}@{domain}", LocalPart(local)))
            }
            _ => Err(error),
        })
    }

    /// The local part without quotes, in the case it was written in.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain in lower case, IDN as A-labels.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Another local part, without quotes, at the same domain.
    pub(crate) fn with_local(&self, local: String) -> Address {
        Address { local, domain: self.domain.clone() }
    }

    /// The same local part at another domain, which has to be in the form of [`Address::domain`].
    pub(crate) fn at(&self, domain: &str) -> Address {
        Address { local: self.local.clone(), domain: domain.to_owned() }
    }
}

/// `atext` of RFC 5322 section 3.2.3.
pub(crate) const fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

/// Octets before an address in a text that tell whether it begins there: two, each encoded twice.
pub(crate) const BEFORE: usize = 10;

/// Whether an address may begin behind these octets of a text, of which the last [`BEFORE`] count: no letter of a
/// longer address stands there. These are the usual ones, as quotes, stars and slashes stand around an address, too.
pub(crate) fn may_begin_behind(before: &[u8]) -> bool {
    match last(before) {
        None => true,
        // As in O'Brien, and not as in 'brien@x.example'.
        Some((b'\'', before)) => !last(before).is_some_and(|(octet, _)| octet.is_ascii_alphanumeric()),
        Some((octet, _)) => !octet.is_ascii_alphanumeric() && !b"._-+".contains(&octet),
    }
}

/// The last octet of a text, and what stands before it. In a link it may be encoded (RFC 3986 section 2.1), and once
/// more in a link to that.
fn last(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    if let [before @ .., b'%', high, low] | [before @ .., b'%', b'2', b'5', high, low] = text
        && let Some((high, low)) = digit(*high).zip(digit(*low))
    {
        return Some(((high * 16 + low) as u8, before));
    }
    text.split_last().map(|(octet, before)| (*octet, before))
}

/// Whether an address may end before these octets of a text, of which the first two count.
pub(crate) fn may_end_before(mut behind: impl Iterator<Item = u8>) -> bool {
    match behind.next() {
        Some(b'.') => !behind.next().is_some_and(|byte| byte.is_ascii_alphanumeric()),
        Some(byte) => !byte.is_ascii_alphanumeric() && byte != b'-',
        None => true,
    }
}

/// Whether a local part needs no quotes: atoms joined by single dots (RFC 5322 section 3.2.3).
pub(crate) fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// The A-label form of a domain in lower case, or what is wrong with it.
pub(crate) fn domain_to_ascii(domain: &str) -> Result<String, &'static str> {
    if domain.is_empty() {
        return Err("has no domain");
    }
    // Punycode takes time quadratic in the length of a label; no domain that could pass is longer.
    if domain.len() > 4 * DOMAIN_OCTETS {
        return Err("has a domain that is too long");
    }
    let Ok(ascii) = idna::domain_to_ascii(domain) else {
        return Err("has a domain that is no valid international name");
    };
    let is_label = |label: &str| {
        (1..=LABEL_OCTETS).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if ascii.len() > DOMAIN_OCTETS || !ascii.split('.').all(is_label) {
        return Err("has a domain that is not made of letters, digits, hyphens and single dots");
    }
    Ok(ascii)
}

/// The content of a local part, quoted or not.
fn unquoted(local: &str) -> Result<String, &'static str> {
    let Some(quoted) = local.strip_prefix('"') else {
        return match local {
            "" => Err("has no local part"),
            _ if local.bytes().all(|byte| is_atext(byte) || byte == b'.') => Ok(local.to_owned()),
            _ => Err("has a local part with a character that is only allowed in quotes, or not at all"),
        };
    };
    let mut content = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next() {
            Some('"') if rest.as_str().is_empty() => break,
            Some('"') | None => return Err("has a local part whose quotes do not match"),
            Some('\\') => match rest.next() {
                Some(escaped @ ' '..='~') => content.push(escaped),
                _ => return Err("has a local part whose quotes do not match"),
            },
            Some(plain @ ' '..='~') => content.push(plain),
            Some(_) => return Err("has a local part with a character that is no printable ASCII"),
        }
    }
    if content.is_empty() { Err("has no local part") } else { Ok(content) }
}

/// A text for an error message: bounded and without control characters.
fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// The wire form.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", LocalPart(&self.local), self.domain)
    }
}

/// A local part in its wire form: one that is no dot-atom is quoted again.
pub(crate) struct LocalPart<'a>(pub(crate) &'a str);

impl fmt::Display for LocalPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(self.0) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.strip_suffix(['"', '\\']) {
                Some(plain) => write!(f, "{plain}\\{}", &part[plain.len()..])?,
                None => f.write_str(part)?,
            }
        }
        f.write_str("\"")
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.local.eq_ignore_ascii_case(&other.local) && self.domain == other.domain
    }
}

impl Eq for Address {}

/// By domain, then by local part, both in lower case.
impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        fn lower(text: &str) -> impl Iterator<Item = u8> {
            text.bytes().map(|byte| byte.to_ascii_lowercase())
        }
        self.domain.cmp(&other.domain).then_with(|| lower(&self.local).cmp(lower(&other.local)))
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.local.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        self.domain.hash(state);
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ok_parts_and_wire_form() {
        for (text, local, domain, wire) in [
            ("info@in.example", "info", "in.example", "info@in.example"),
            ("Info@IN.Example", "Info", "in.example", "Info@in.example"),
            ("a=b@in.example", "a=b", "in.example", "a=b@in.example"),
            ("a/b@in.example", "a/b", "in.example", "a/b@in.example"),
            ("o'hara@in.example", "o'hara", "in.example", "o'hara@in.example"),
            ("user+tag@in.example", "user+tag", "in.example", "user+tag@in.example"),
            ("a..b@in.example", "a..b", "in.example", "\"a..b\"@in.example"),
            (".a@in.example", ".a", "in.example", "\".a\"@in.example"),
            ("\"john doe\"@in.example", "john doe", "in.example", "\"john doe\"@in.example"),
            ("\"john\"@in.example", "john", "in.example", "john@in.example"),
            ("\"a@b\"@in.example", "a@b", "in.example", "\"a@b\"@in.example"),
            (r#""a\"b\\c"@in.example"#, r#"a"b\c"#, "in.example", r#""a\"b\\c"@in.example"#),
            ("info@büro.example", "info", "xn--bro-hoa.example", "info@xn--bro-hoa.example"),
            ("info@BÜRO.example", "info", "xn--bro-hoa.example", "info@xn--bro-hoa.example"),
            ("info@under_score.example", "info", "under_score.example", "info@under_score.example"),
            ("root@localhost", "root", "localhost", "root@localhost"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((address.local(), address.domain()), (local, domain), "{text}");
            assert_eq!(address.to_string(), wire, "{text}");
        }
    }

    #[test]
    fn err_says_what_was_found() {
        let quotes = "has a local part whose quotes do not match";
        let domain = "has a domain that is not made of letters, digits, hyphens and single dots";
        let local = "has a local part with a character that is only allowed in quotes, or not at all";
        for (text, why) in [
            ("", "has no @"),
            ("info", "has no @"),
            ("@in.example", "has no local part"),
            ("\"\"@in.example", "has no local part"),
            ("info@", "has no domain"),
            ("a b@in.example", local),
            ("a@b@in.example", local),
            ("rené@in.example", local),
            ("a\r\nb@in.example", local),
            ("\"a\nb\"@in.example", "has a local part with a character that is no printable ASCII"),
            ("\"a@in.example", quotes),
            ("\"a\"b\"@in.example", quotes),
            ("\"a\\\"@in.example", quotes),
            ("info@in..example", domain),
            ("info@.example", domain),
            ("info@in.example.", domain),
            ("info@in example", domain),
            ("info@[192.0.2.1]", domain),
            ("info@in.example\r\nBcc: x", domain),
        ] {
            let error = Address::parse(text).expect_err(text);
            assert_eq!(
                error.0,
                format!("expected an address, but \"{}\" {why}", text.escape_debug()),
                "{text:?}"
            );
        }
        assert!(Address::parse(&"x".repeat(10_000)).unwrap_err().0.len() < 200);
        assert!(Address::parse(&format!("a@{}.example", "x".repeat(64))).is_err());
        assert!(Address::parse(&format!("a@{}", "x.".repeat(130) + "example")).is_err());
    }

    #[test]
    fn bare_local_parts_are_read_with_and_without_quotes() {
        for (text, wire) in [
            ("info@in.example", Some("info@in.example")),
            ("\"john doe\"@in.example", Some("\"john doe\"@in.example")),
            ("John Doe@in.example", Some("\"John Doe\"@in.example")),
            ("a@b@in.example", Some("\"a@b\"@in.example")),
            (r#"a"b\c@in.example"#, Some(r#""a\"b\\c"@in.example"#)),
            ("\"john doe@in.example", None),
            ("rené@in.example", None),
            ("a\r\nb@in.example", None),
            ("@in.example", None),
            ("john doe", None),
        ] {
            let read = Address::parse_bare(text).ok().map(|address| address.to_string());
            assert_eq!(read.as_deref(), wire, "{text:?}");
        }
    }

    #[test]
    fn equal_in_every_collection_if_only_the_case_differs() {
        let [lower, upper, other] = ["info@in.example", "INFO@In.Example", "info@out.example"]
            .map(|text| Address::parse(text).unwrap());
        assert_eq!(lower, upper);
        assert_ne!(lower, other);
        let all = [lower, upper, other];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 2);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 2);
    }

    proptest! {
        #[test]
        fn wire_form_reads_back_as_the_same(local in "[ -~]{1,20}", domain in "[a-z]{1,9}(\\.[a-z0-9]{1,9}){0,3}") {
            let address = Address { local, domain };
            let read = Address::parse(&address.to_string()).unwrap();
            prop_assert_eq!(read.local(), address.local());
            prop_assert_eq!(read.domain(), address.domain());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[\\x00-\\x7f]*@[\\x00-\\x7f]*") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(address.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
