//! Answering from an alias: the address that starts a conversation, and the keys that sign addresses.

use std::{fmt, time::Duration};

use anyhow::{Context, bail};
use serde::Serialize;
use ses_forwarder::{
    address::Address,
    answers::owners,
    keys,
    replies::{
        Replies,
        keys::{ReplyKeys, SECRET_OCTETS},
        signed::Purpose,
    },
};
use ses_forwarder_aws::{
    bucket::{Bucket, Precondition},
    call::{Deadline, Persistence},
};

use crate::{clients::Clients, deployed::Deployed, print, routes};

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";

/// The address to write to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    /// What the correspondent sees.
    alias: String,
    /// Whom it goes to.
    correspondent: String,
    /// The address to write to.
    address: String,
    /// Who may write to it.
    owners: Vec<String>,
}

/// The keys, without what is secret of them.
#[derive(Debug, Serialize)]
struct Keys {
    /// Their ids, the oldest first; the last one signs.
    ids: Vec<char>,
}

/// Prints the address that starts a conversation; `false` if nobody could write to it.
pub async fn contact(
    clients: &Clients,
    deployed: &Deployed,
    alias: &Address,
    correspondent: &Address,
    json: bool,
) -> anyhow::Result<bool> {
    let settings = deployed.settings()?;
    let domains = &settings.common.domains;
    if !settings.replies {
        bail!("answering is off: deploy the stack with Replies=on");
    }
    let routes = routes::of_stack(clients, deployed).await?;
    let bucket = bucket(clients, deployed)?;
    let keys = made(&bucket).await?;
    let replies = Replies { keys: &keys, contacts: &[], named: &[], domains };
    let signed = replies.sign(Purpose::Answer, alias, correspondent).with_context(|| {
        format!("{alias} can't be answered from: it must be at {domains} and have at most 37 characters before the @")
    })?;
    if let Some(contact) = &signed.contact {
        let content = serde_json::to_vec(contact)?;
        let (absent, usual) = (Precondition::Absent, Persistence::Usual);
        bucket.put_if(&keys::contact(&contact.name), JSON, content, absent, usual).await?;
    }
    let owners: Vec<String> = owners(&routes, alias).iter().map(ToString::to_string).collect();
    let nobody = owners.is_empty() || !routes.replies().enabled;
    let started = Started {
        alias: alias.to_string(),
        correspondent: correspondent.to_string(),
        address: signed.address.to_string(),
        owners: if routes.replies().enabled { owners } else { Vec::new() },
    };
    print(&started, json);
    Ok(!nobody)
}

/// Prints the ids of the keys; `false` if there are none.
pub async fn list(clients: &Clients, deployed: &Deployed, json: bool) -> anyhow::Result<bool> {
    let keys = existing(&bucket(clients, deployed)?).await?;
    let ids = keys.as_ref().map_or_else(Vec::new, |(keys, _)| keys.ids());
    print(&Keys { ids }, json);
    Ok(keys.is_some())
}

/// Adds a key, which signs from then on. Former ones stay valid.
pub async fn rotate(clients: &Clients, deployed: &Deployed, json: bool) -> anyhow::Result<bool> {
    let bucket = bucket(clients, deployed)?;
    let secret = secret()?;
    let (keys, etag) = match existing(&bucket).await? {
        None => (ReplyKeys::first(secret), None),
        Some((keys, etag)) => (keys.rotated(secret)?, etag),
    };
    let precondition = etag.as_deref().map_or(Precondition::Absent, Precondition::Unchanged);
    let written =
        bucket.put_if(keys::REPLY_KEYS, JSON, keys.to_json(), precondition, Persistence::Usual).await?;
    if written.is_none() {
        bail!("somebody else has changed the keys meanwhile; try again");
    }
    print(&Keys { ids: keys.ids() }, json);
    Ok(true)
}

fn bucket(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Bucket> {
    Ok(Bucket::new(clients.s3.clone(), deployed.bucket()?, Deadline::after(PATIENCE)))
}

/// The keys, made if there are none.
async fn made(bucket: &Bucket) -> anyhow::Result<ReplyKeys> {
    if let Some((keys, _)) = existing(bucket).await? {
        return Ok(keys);
    }
    let keys = ReplyKeys::first(secret()?);
    let (absent, usual) = (Precondition::Absent, Persistence::Usual);
    match bucket.put_if(keys::REPLY_KEYS, JSON, keys.to_json(), absent, usual).await? {
        Some(_) => Ok(keys),
        // The function has made them meanwhile.
        None => existing(bucket).await?.map(|(keys, _)| keys).context("the reply keys have gone"),
    }
}

fn secret() -> anyhow::Result<[u8; SECRET_OCTETS]> {
    let mut secret = [0; SECRET_OCTETS];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(secret)
}

/// The keys and their ETag; `None` if there are none.
async fn existing(bucket: &Bucket) -> anyhow::Result<Option<(ReplyKeys, Option<String>)>> {
    let Some(object) = bucket.read(keys::REPLY_KEYS).await? else { return Ok(None) };
    let keys = ReplyKeys::parse(&object.content).with_context(|| bucket.address(keys::REPLY_KEYS))?;
    Ok(Some((keys, object.etag)))
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Started { alias, correspondent, address, owners } = self;
        writeln!(f, "{address}")?;
        match owners.as_slice() {
            [] => writeln!(
                f,
                "Nobody may write to it now: no route leads {alias} anywhere, or answering is off."
            ),
            owners => {
                let owners = owners.join(" or ");
                writeln!(f, "Mail to it from {owners} goes to {correspondent} from {alias}.")
            }
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ids.as_slice() {
            [] => writeln!(
                f,
                "There are no reply keys yet: the first message that is forwarded makes them, or `contact`."
            ),
            [former @ .., current] => {
                writeln!(f, "{current} signs")?;
                former.iter().rev().try_for_each(|id| writeln!(f, "{id} is still valid"))
            }
        }
    }
}
