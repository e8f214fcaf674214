//! A mail address as an envelope carries it (RFC 5321 section 4.1.2): a local part and a domain.
//!
//! Not supported: SMTPUTF8 local parts on the wire (SES refuses them) and source routes, which the
//! parser of header mailboxes strips before an address gets here.

use std::fmt;

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
pub struct AddressError(pub String);

impl Address {
    /// Reads `local@domain`. The local part may be quoted; an IDN domain is turned into its ASCII
    /// form (A-labels) and the domain is lower-cased.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        todo!("{text}")
    }

    /// The local part without quotes, in the case it was written in.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain in lower case, IDN as A-labels.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// The wire form; a local part that is no dot-atom is quoted again.
impl fmt::Display for Address {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.local.eq_ignore_ascii_case(&other.local) && self.domain == other.domain
    }
}

impl Eq for Address {}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}
