//! Which identity of SES covers a domain, and where its DKIM keys are.

use anyhow::Context;
use aws_sdk_sesv2::{
    operation::get_email_identity::{GetEmailIdentityError, GetEmailIdentityOutput},
    types::{DkimAttributes, DkimSigningAttributesOrigin},
};

use crate::clients::Clients;

/// The identity that covers a domain: itself, or one above it; `None` if there is none.
/// <https://docs.aws.amazon.com/ses/latest/dg/creating-identities.html>
pub(crate) async fn covering(
    clients: &Clients,
    domain: &str,
) -> anyhow::Result<Option<(String, GetEmailIdentityOutput)>> {
    for name in and_above(domain) {
        match clients.sesv2.get_email_identity().email_identity(name).send().await {
            Ok(output) => return Ok(Some((name.to_owned(), output))),
            Err(error)
                if error.as_service_error().is_some_and(GetEmailIdentityError::is_not_found_exception) => {}
            Err(error) => return Err(error).with_context(|| format!("SES does not tell of identity {name}")),
        }
    }
    Ok(None)
}

/// A domain and those above it that have a dot.
pub(crate) fn and_above(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |domain| domain.split_once('.').map(|(_, above)| above))
        .filter(|domain| domain.contains('.'))
}

/// Where SES has the keys that it makes, of an identity that it does not tell the place of.
const HOSTED_ZONE: &str = "dkim.amazonses.com";

/// A name at which receivers look for a key that an identity's mail is signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DkimName {
    /// The name, without a dot at the end.
    pub(crate) name: String,
    /// What it is an alias of, where SES makes and publishes the key; `None` if the key is the operator's, who
    /// publishes it there.
    pub(crate) alias: Option<String>,
}

/// These names. Where the keys of SES are differs between regions; its tokens are the selector if the key is not its
/// own.
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_DkimAttributes.html>
pub(crate) fn dkim_names(identity: &str, dkim: &DkimAttributes) -> Vec<DkimName> {
    let is_own = dkim.signing_attributes_origin() == Some(&DkimSigningAttributesOrigin::External);
    let zone = dkim.signing_hosted_zone().filter(|zone| !zone.is_empty()).unwrap_or(HOSTED_ZONE);
    let name = |token: &String| DkimName {
        name: format!("{token}._domainkey.{identity}"),
        alias: (!is_own).then(|| format!("{token}.{}", zone.trim_end_matches('.'))),
    };
    dkim.tokens().iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_ses_says_or_at_the_selector_of_one_s_own() {
        let names = |zone: Option<&str>, origin: &str| {
            let dkim = DkimAttributes::builder().tokens("abc").signing_attributes_origin(origin.into());
            dkim_names("in.example", &dkim.set_signing_hosted_zone(zone.map(str::to_owned)).build())
        };
        let at = |alias: Option<&str>| {
            vec![DkimName { name: "abc._domainkey.in.example".to_owned(), alias: alias.map(str::to_owned) }]
        };
        let south = "dkim.eu-south-1.amazonses.com";
        assert_eq!(names(Some(south), "AWS_SES"), at(Some("abc.dkim.eu-south-1.amazonses.com")));
        assert_eq!(names(Some("dkim.amazonses.com"), "AWS_SES"), at(Some("abc.dkim.amazonses.com")));
        assert_eq!(names(None, "AWS_SES"), at(Some("abc.dkim.amazonses.com")));
        assert_eq!(names(Some(south), "AWS_SES_EU_SOUTH_1"), at(Some("abc.dkim.eu-south-1.amazonses.com")));
        assert_eq!(names(None, "EXTERNAL"), at(None));
    }

    #[test]
    fn domains_above_end_before_the_top() {
        assert_eq!(and_above("a.in.example").collect::<Vec<_>>(), ["a.in.example", "in.example"]);
    }
}
