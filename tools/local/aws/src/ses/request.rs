//! SendEmail's request: what a raw message needs of it.

use std::borrow::Cow;

use serde::Deserialize;

use super::bad;
use crate::{response::Refusal, ses_address::parse_one, ses_message::SesMessage};

/// Recipients of one request: To, Cc and Bcc together. SES quotas, "Message quotas".
const RECIPIENT_LIMIT: usize = 50;

/// SendEmail's request, as far as it matters for a raw message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendEmail<'a> {
    pub(super) from_email_address: Option<String>,
    destination: Option<Destination>,
    pub(super) reply_to_addresses: Option<Vec<String>>,
    pub(super) feedback_forwarding_email_address: Option<String>,
    pub(super) configuration_set_name: Option<String>,
    pub(super) tenant_name: Option<String>,
    #[serde(default)]
    email_tags: Vec<EmailTag>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EmailTag {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    to_addresses: Option<Vec<String>>,
    cc_addresses: Option<Vec<String>>,
    bcc_addresses: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content<'a> {
    #[serde(borrow)]
    raw: Option<Raw<'a>>,
    simple: Option<serde::de::IgnoredAny>,
    template: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw<'a> {
    /// Base64.
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

impl SendEmail<'_> {
    /// The raw message.
    pub(super) fn raw(&self) -> Result<Vec<u8>, Refusal> {
        let Some(content) = &self.content else {
            return Err(bad("Missing required parameter: Content"));
        };
        match (&content.raw, &content.simple, &content.template) {
            (Some(raw), None, None) => {
                let data =
                    raw.data.as_deref().ok_or_else(|| bad("Missing required parameter: Content.Raw.Data"))?;
                base64_simd::STANDARD.decode_to_vec(data.as_bytes()).map_err(|_| {
                    Refusal::new(400, "SerializationException", "Content.Raw.Data is not Base64")
                })
            }
            (None, None, None) => Err(bad("Content must have one of Raw, Simple and Template")),
            (None, ..) => Err(bad("Only raw content is supported here")),
            (Some(_), ..) => Err(bad("Content must have only one of Raw, Simple and Template")),
        }
    }

    /// The envelope: what the request names, or else what the header does.
    pub(super) fn destinations(&self, message: &SesMessage<'_>) -> Result<Vec<String>, Refusal> {
        let mut destinations = Vec::new();
        if let Some(Destination { to_addresses, cc_addresses, bcc_addresses }) = &self.destination {
            for address in [to_addresses, cc_addresses, bcc_addresses].into_iter().flatten().flatten() {
                destinations.push(parse_one(address).map_err(bad)?);
            }
        }
        if destinations.is_empty() {
            destinations = message.recipients()?;
        }
        if destinations.len() > RECIPIENT_LIMIT {
            return Err(bad(format!("Recipient count exceeds {RECIPIENT_LIMIT}.")));
        }
        Ok(destinations)
    }

    /// The tags, each of letters, digits, `_` and `-`.
    /// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html>
    pub(super) fn tags(&self) -> Result<Vec<(String, String)>, Refusal> {
        let is_tag = |text: &str| {
            (1..=256).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        let tags = self.email_tags.iter().map(|EmailTag { name, value }| {
            if is_tag(name) && is_tag(value) {
                return Ok((name.clone(), value.clone()));
            }
            Err(bad(format!("Invalid tag <{name}> with value <{value}>.")))
        });
        tags.collect()
    }
}
