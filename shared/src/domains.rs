//! The domains that mail is received for and sent on from: `EMAIL_DOMAIN`, one or several.

use std::fmt;

use crate::address::domain_to_ascii;

/// The domain of SES's own mail, and of the ids that it gives; and those of its regions below it.
pub(crate) const SES: &str = "amazonses.com";

/// One domain or several, each once, in the order in which they were given, lower case and in their
/// ASCII form. The first is the one that notices come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    first: String,
    others: Vec<String>,
}

impl Domains {
    /// Reads domains with commas between them, and spaces beside those. `None` if one of them is no
    /// domain of at least two labels, or if there is none.
    ///
    /// ```
    /// use ses_forwarder::domains::Domains;
    ///
    /// let domains = Domains::parse("in.example, Second.Example").unwrap();
    /// assert_eq!(domains.to_string(), "in.example, second.example");
    /// assert_eq!(domains.sender_for("mail.second.example"), "second.example");
    /// ```
    pub fn parse(list: &str) -> Option<Domains> {
        let mut all: Vec<String> = Vec::new();
        for text in list.split(',') {
            let domain = domain(text.trim())?;
            if !all.contains(&domain) {
                all.push(domain);
            }
        }
        let first = all.remove(0);
        Some(Domains { first, others: all })
    }

    /// The domain that notices come from.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.first).chain(self.others.iter().map(|domain| &**domain))
    }

    /// Whether this domain, lower case and in its ASCII form, is one of them. A subdomain is not.
    pub fn contains(&self, domain: &str) -> bool {
        self.iter().any(|own| own == domain)
    }

    /// The domain that mail received for this one is sent on from: itself, if it is one of these; for a
    /// subdomain, which a receipt rule may also name, the longest of these that it is below; else the
    /// first. An identity of SES may send for its subdomains too, but the functions' role is for these.
    pub fn sender_for(&self, domain: &str) -> &str {
        let above = self.iter().filter(|own| is_at_or_below(domain, own));
        above.max_by_key(|own| own.len()).unwrap_or(&self.first)
    }
}

/// A domain of at least two labels in its ASCII form (RFC 5890 A-labels), lower case.
pub fn domain(text: &str) -> Option<String> {
    let ascii = domain_to_ascii(text).ok()?;
    (ascii.contains('.') && idna::domain_to_ascii_strict(&ascii).is_ok()).then_some(ascii)
}

/// Whether a domain is another one or a subdomain of it. Both in lower case.
pub(crate) fn is_at_or_below(domain: &str, above: &str) -> bool {
    domain.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// For people: with a comma and a space between them.
impl fmt::Display for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        self.others.iter().try_for_each(|domain| write!(f, ", {domain}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_lists() {
        for (list, expected) in [
            ("in.example", "in.example"),
            ("In.Example,b.example", "in.example, b.example"),
            (" in.example , b.example ", "in.example, b.example"),
            ("in.example,b.example,IN.example", "in.example, b.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("mail.in.example,in.example", "mail.in.example, in.example"),
        ] {
            assert_eq!(Domains::parse(list).unwrap().to_string(), expected, "{list:?}");
        }
    }

    #[test]
    fn err_lists() {
        for list in
            ["", ",", "in.example,", "in.example,,b.example", "localhost", "in example", ".in.example"]
        {
            assert_eq!(Domains::parse(list), None, "{list:?}");
        }
    }

    #[test]
    fn the_nearest_domain_sends() {
        let domains = Domains::parse("in.example,b.example,mail.b.example").unwrap();
        for (received, sender) in [
            ("in.example", "in.example"),
            ("b.example", "b.example"),
            ("mail.b.example", "mail.b.example"),
            ("x.mail.b.example", "mail.b.example"),
            ("x.b.example", "b.example"),
            ("notb.example", "in.example"),
            ("elsewhere.example", "in.example"),
        ] {
            assert_eq!(domains.sender_for(received), sender, "{received}");
        }
        assert!(domains.contains("b.example"));
        assert!(!domains.contains("x.b.example"));
    }
}
