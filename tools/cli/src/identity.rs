//! Which identity of SES covers a domain.

use anyhow::Context;
use aws_sdk_sesv2::operation::get_email_identity::{GetEmailIdentityError, GetEmailIdentityOutput};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_above_end_before_the_top() {
        assert_eq!(and_above("a.in.example").collect::<Vec<_>>(), ["a.in.example", "in.example"]);
    }
}
