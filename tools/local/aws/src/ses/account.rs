//! The SES account: what is verified, whether it may send, and how much.

use std::collections::{BTreeMap, BTreeSet};

use super::{bad, rejected};
use crate::response::Refusal;

/// The SES account as far as it decides about sending.
#[derive(Debug, Clone)]
pub struct Account {
    /// Verified domains and addresses, lower case. A domain's subdomains are verified with it.
    pub identities: BTreeSet<String>,
    /// Whether recipients must be verified too.
    pub sandbox: bool,
    /// Off while SES has paused sending.
    pub sending_enabled: bool,
    /// Whether SES has suspended the account.
    pub suspended: bool,
    /// Configuration sets that exist.
    pub configuration_sets: BTreeSet<String>,
    /// Tenants that exist, each with the ARNs of the identities and configuration sets that are its own.
    pub tenants: BTreeMap<String, BTreeSet<String>>,
    /// Tenants that SES has paused.
    pub paused_tenants: BTreeSet<String>,
    /// The configuration set that identities bring where a request names none.
    /// <https://docs.aws.amazon.com/ses/latest/dg/managing-configuration-sets.html#default-config-sets>
    pub default_configuration_set: Option<String>,
    /// Recipients a second; `None` is no limit.
    pub max_send_rate: Option<u32>,
    /// Recipients in 24 hours; `None` is no limit.
    pub max_24_hour_send: Option<u32>,
    /// Whether the limit of 40 MB counts a message as a request holds it, in base64. SES's page on quotas says "after
    /// base64 encoding" and may mean the attachments' own; the stricter of both is what a function has to cope with.
    pub limit_is_encoded: bool,
    /// The pricing plan, such as `NONE` or `ESSENTIALS`.
    pub pricing_plan: String,
    /// Addresses on the account's suppression list, in lower case: SES takes mail for them and does not send it.
    pub suppressed: BTreeSet<String>,
    /// Whether a bounce is reported by mail to the sender too, as of identities that nobody has changed.
    pub feedback_forwarding: bool,
}

impl Account {
    /// An account out of the sandbox, without quotas.
    pub fn new(identities: impl IntoIterator<Item = String>) -> Account {
        Account {
            identities: identities.into_iter().map(|identity| identity.to_ascii_lowercase()).collect(),
            sandbox: false,
            sending_enabled: true,
            suspended: false,
            configuration_sets: BTreeSet::new(),
            tenants: BTreeMap::new(),
            paused_tenants: BTreeSet::new(),
            default_configuration_set: None,
            max_send_rate: None,
            max_24_hour_send: None,
            limit_is_encoded: true,
            pricing_plan: "NONE".to_owned(),
            suppressed: BTreeSet::new(),
            feedback_forwarding: true,
        }
    }

    /// The verified identity that covers an address: the address itself, else its domain, else the nearest
    /// domain above. The longest of those that do, as one ends in the other.
    pub(super) fn identity(&self, address: &str) -> Option<&str> {
        let address = address.to_ascii_lowercase();
        let domain = address.rsplit('@').next().unwrap_or_default();
        let covering = self.identities.iter().filter(|identity| {
            **identity == address
                || **identity == domain
                || domain.strip_suffix(identity.as_str()).is_some_and(|above| above.ends_with('.'))
        });
        covering.max_by_key(|identity| identity.len()).map(String::as_str)
    }

    pub(super) fn check_verified<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a String>,
        region: &str,
    ) -> Result<(), Refusal> {
        let mut unverified: Vec<&str> = Vec::new();
        for address in addresses {
            if self.identity(address).is_none() && !unverified.contains(&address.as_str()) {
                unverified.push(address);
            }
        }
        if unverified.is_empty() {
            return Ok(());
        }
        Err(rejected(format!(
            "Email address is not verified. The following identities failed the check in region {}: {}",
            region.to_ascii_uppercase(),
            unverified.join(", ")
        )))
    }

    pub(super) fn check_configuration_set(&self, name: &str) -> Result<(), Refusal> {
        if self.configuration_sets.contains(name) {
            return Ok(());
        }
        let message = format!("Configuration set <{name}> does not exist.");
        Err(Refusal::new(404, "NotFoundException", message))
    }

    pub(super) fn resources_of(&self, tenant: &str) -> Result<&BTreeSet<String>, Refusal> {
        self.tenants.get(tenant).ok_or_else(|| {
            Refusal::new(404, "NotFoundException", format!("Tenant <{tenant}> does not exist."))
        })
    }

    /// Whether a tenant may send with these identities and sets.
    /// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>
    pub(super) fn check_tenant(&self, tenant: &str, used: &BTreeSet<String>) -> Result<(), Refusal> {
        let resources = self.resources_of(tenant)?;
        if let Some(strange) = used.difference(resources).next() {
            return Err(bad(format!("Resource {strange} is not associated with tenant {tenant}.")));
        }
        if self.paused_tenants.contains(tenant) {
            let message = format!("Sending is paused for tenant {tenant}.");
            return Err(Refusal::new(400, "SendingPausedException", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_identity_covers_an_address() {
        let account = |identities: &[&str]| Account::new(identities.iter().map(ToString::to_string));
        let all = ["a.mail.in.example", "ann@in.example", "in.example", "mail.in.example"];
        for (address, identities, expected) in [
            ("ann@in.example", &all[..], Some("ann@in.example")),
            ("Ann@In.Example", &all, Some("ann@in.example")),
            ("bob@in.example", &all, Some("in.example")),
            ("bob@mail.in.example", &all, Some("mail.in.example")),
            ("bob@x.mail.in.example", &all, Some("mail.in.example")),
            ("bob@x.mail.in.example", &["in.example"], Some("in.example")),
            ("bob@notin.example", &all, None),
        ] {
            assert_eq!(account(identities).identity(address), expected, "{address}");
        }
    }
}
