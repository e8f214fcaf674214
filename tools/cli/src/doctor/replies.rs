//! Answering from an alias: whether there are keys, and whether answers will be believed.

use ses_forwarder::{keys, replies::keys::ReplyKeys};

use super::{Finding, dns::Dns, known};
use crate::{archive, clients::Clients, deployed::Deployed, identity::and_above};

pub(super) const KEYS: &str = "reply keys";
pub(super) const OWNER: &str = "DMARC of who answers";

/// Whether forwarded mail can be signed, if it is to be.
pub(super) async fn reply_keys(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    if !deployed.settings()?.replies {
        return Ok(Finding::ok(KEYS, "answering is off, so none are needed"));
    }
    let bucket = deployed.bucket()?;
    let address = format!("s3://{bucket}/{}", keys::REPLY_KEYS);
    let Some(file) = archive::get(clients, bucket, keys::REPLY_KEYS).await? else {
        return Ok(Finding::ok(KEYS, format!("no {address} yet: the first message makes it")));
    };
    Ok(match ReplyKeys::parse(&file) {
        Ok(keys) => {
            let number = keys.ids().len();
            Finding::ok(KEYS, format!("{address} is sound, with {number} of them"))
        }
        Err(error) => Finding::wrong(
            KEYS,
            format!("{address}: {error}, so nothing is forwarded"),
            format!(
                "Put the file back as it was; if it is lost: aws s3 rm {address} --region {}. Answers to earlier mail \
                 then come to the alias.",
                deployed.region
            ),
        ),
    })
}

/// Whether what the owners of aliases write is authenticated by their domain's DMARC policy.
pub(super) async fn owner(deployed: &Deployed, dns: Result<&Dns, &String>) -> anyhow::Result<Finding> {
    let settings = deployed.settings()?;
    let Some(domain) = settings.destination_domain.as_deref().filter(|_| settings.replies) else {
        return Ok(Finding::ok(OWNER, "there is no domain to look at"));
    };
    let dns = known(dns)?;
    for name in and_above(domain) {
        let records = dns.txt(&format!("_dmarc.{name}")).await?;
        if records.iter().any(|text| text.starts_with("v=DMARC1")) {
            return Ok(Finding::ok(
                OWNER,
                format!("{domain} has a DMARC policy, so answers from it are believed"),
            ));
        }
    }
    Ok(Finding::warning(
        OWNER,
        format!("{domain} has no DMARC policy, so an answer from it counts only if SPF passes for {domain}"),
        format!("Add a record: _dmarc.{domain}. TXT \"v=DMARC1; p=none\""),
    ))
}
