//! Mail that was held for a destination, and what it refused, sent once it takes mail again: in the order in
//! which it came, each message once.
//!
//! The destination is taken off the list first, so that what comes meanwhile goes out. Then the functions
//! need some seconds to notice; after that nothing more is held for it. Should it refuse again, it is on the
//! list again after the first message, and the others stay held.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use aws_sdk_s3::{error::ProvideErrorMetadata, primitives::ByteStream};
use aws_sdk_sesv2::operation::get_suppressed_destination::GetSuppressedDestinationError;
use futures_util::{StreamExt, stream};
use ses_forwarder::{
    address::Address,
    feedback::is_refused,
    keys::SUSPENDED,
    outcome::{Outcome, Status},
    suspended::{Destination, FRESH, Suspended},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    archive::{self, CONCURRENCY},
    arguments::Resumed,
    clients::Clients,
    consent,
    deployed::Deployed,
    replay::{self, Replayed},
};

/// How long SES may try a message that it has accepted, and tell of that, before it was refused.
const SES_TRIES: time::Duration = time::Duration::days(2);

/// How far back messages are looked for, where nothing says since when.
const DEFAULT_SINCE: time::Duration = time::Duration::days(14);

/// How often messages are looked for again, as some may have been under way.
const ROUNDS: usize = 3;

/// A message that the destination does not have.
struct Lacking {
    received: OffsetDateTime,
    message_id: String,
    index: String,
}

/// Sends what a destination has not got; `false` if some of it could not be sent.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    wanted: &Resumed,
    json: bool,
) -> anyhow::Result<bool> {
    let now = OffsetDateTime::from(SystemTime::now());
    let Resumed { address, since, dry_run, yes } = wanted;
    if !dry_run && !unsuppressed(clients, deployed, address, *yes).await? {
        eprintln!("nothing is sent to {address} as long as it is on SES's suppression list");
        return Ok(false);
    }
    let known = if *dry_run {
        read(clients, deployed).await?.0.resume(&address.to_string())
    } else {
        take_off(clients, deployed, address).await?
    };
    // Before it was refused, a message may have waited on the queue.
    let under_way = time::Duration::hours(deployed.retry_hours().into()) + SES_TRIES;
    let from = match since {
        Some(since) => now - *since,
        None => known.as_ref().and_then(first).map_or(now - DEFAULT_SINCE, |at| at - under_way),
    };
    if known.is_some() && !dry_run {
        // Until every function has noticed, one may hold another message.
        tokio::time::sleep(FRESH + Duration::from_secs(1)).await;
    }
    // What is sent is told at once; what is not, once no further round may send it.
    let (mut sent, mut unsent) = (HashSet::new(), BTreeMap::new());
    for _ in 0..ROUNDS {
        let mut lacking = lacking(clients, deployed, &address.to_string(), from).await?;
        // Should it be refused again, it waits for the next time.
        lacking.retain(|one| !sent.contains(&one.message_id));
        lacking
            .sort_by(|one, other| (one.received, &one.message_id).cmp(&(other.received, &other.message_id)));
        let before = sent.len();
        for one in lacking {
            let place = (one.received, one.message_id.clone());
            let result = if *dry_run {
                Replayed::planned(one.message_id, "would send")
            } else {
                send(clients, deployed, address, one).await
            };
            if result.is_failed() || result.is_held() {
                unsent.insert(place, result);
            } else {
                unsent.remove(&place);
                sent.insert(place.1);
                tell(&result, json)?;
            }
        }
        if *dry_run || sent.len() == before {
            break;
        }
    }
    unsent.values().try_for_each(|result| tell(result, json))?;
    let failed = unsent.values().filter(|result| result.is_failed()).count();
    if !json {
        let list =
            if known.is_some() { "was on the list of those whose mail is held" } else { "was on no list" };
        println!("{address} {list}; {} messages, {failed} failed", sent.len() + unsent.len());
    }
    Ok(failed == 0)
}

fn tell(result: &Replayed, json: bool) -> anyhow::Result<()> {
    println!("{}", if json { serde_json::to_string(result)? } else { result.line() });
    Ok(())
}

/// Whether SES sends to the destination: it is on no suppression list, or was and is not any more.
async fn unsuppressed(
    clients: &Clients,
    deployed: &Deployed,
    address: &Address,
    yes: bool,
) -> anyhow::Result<bool> {
    let address = address.to_string();
    let found = clients.sesv2.get_suppressed_destination().email_address(&address).send().await;
    let suppressed = match found {
        Ok(found) => found.suppressed_destination,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(GetSuppressedDestinationError::is_not_found_exception) =>
        {
            return Ok(true);
        }
        Err(error) => return Err(error).context("SES does not tell whether it sends to it"),
    };
    let why = suppressed.map(|suppressed| format!(" ({})", suppressed.reason())).unwrap_or_default();
    let question = format!(
        "SES has {address} on its suppression list{why}, takes mail for it and sends none. Remove it from the list? \
         Each message that it refuses counts against the account."
    );
    if !consent::given(&question, yes)? {
        return Ok(false);
    }
    let removed = clients.sesv2.delete_suppressed_destination().email_address(&address).send().await;
    removed.with_context(|| {
        format!("{address} can't be removed from the suppression list in {}", deployed.region)
    })?;
    Ok(true)
}

/// The list, and its ETag.
pub(crate) async fn read(
    clients: &Clients,
    deployed: &Deployed,
) -> anyhow::Result<(Suspended, Option<String>)> {
    let bucket = deployed.bucket()?;
    let context = || format!("s3://{bucket}/{SUSPENDED} can't be read");
    match clients.s3.get_object().bucket(bucket).key(SUSPENDED).send().await {
        Ok(object) => {
            let etag = object.e_tag().map(str::to_owned);
            let content = object.body.collect().await.with_context(context)?.into_bytes();
            Ok((serde_json::from_slice(&content).with_context(context)?, etag))
        }
        Err(error) if error.code() == Some("NoSuchKey") => Ok((Suspended::default(), None)),
        Err(error) => Err(error).with_context(context),
    }
}

/// Takes a destination off the list, whoever else writes it meanwhile; what was known of it.
async fn take_off(
    clients: &Clients,
    deployed: &Deployed,
    address: &Address,
) -> anyhow::Result<Option<Destination>> {
    let bucket = deployed.bucket()?;
    loop {
        let (mut suspended, etag) = read(clients, deployed).await?;
        let Some(known) = suspended.resume(&address.to_string()) else { return Ok(None) };
        let mut line = serde_json::to_vec(&suspended)?;
        line.push(b'\n');
        let request = clients.s3.put_object().bucket(bucket).key(SUSPENDED).content_type("application/json");
        let written = request.set_if_match(etag).body(ByteStream::from(line)).send().await;
        match written {
            Ok(_) => return Ok(Some(known)),
            Err(error)
                if matches!(error.code(), Some("PreconditionFailed" | "ConditionalRequestConflict")) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("s3://{bucket}/{SUSPENDED} can't be written"));
            }
        }
    }
}

/// Since when mail is held for it, or refused by it.
fn first(known: &Destination) -> Option<OffsetDateTime> {
    let causes = known.suspended.iter().chain(known.senders.values()).chain(&known.last);
    causes.map(|cause| cause.at).min()
}

/// The messages that the destination does not have, though it should.
async fn lacking(
    clients: &Clients,
    deployed: &Deployed,
    address: &str,
    from: OffsetDateTime,
) -> anyhow::Result<Vec<Lacking>> {
    let (bucket, prefixes) = (deployed.bucket()?, deployed.prefixes()?);
    let now = OffsetDateTime::from(SystemTime::now());
    let mut found = Vec::new();
    for day in archive::days_since(from, now) {
        let objects = archive::list(clients, bucket, &archive::folder(&prefixes.outcome, day)).await?;
        let outcomes = stream::iter(objects)
            .map(async |object| archive::outcome(clients, bucket, &object.key.unwrap_or_default()).await);
        let mut outcomes = std::pin::pin!(outcomes.buffered(CONCURRENCY));
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome.map(|found| found.map(|outcome| outcome.unclaimed().unwrap_or(outcome)));
            match outcome {
                Ok(Some(outcome)) if lacks(&outcome, address, now) => found.push(Lacking {
                    received: OffsetDateTime::parse(&outcome.timestamp, &Rfc3339).unwrap_or(now),
                    index: prefixes.index(day, &outcome.message_id),
                    message_id: outcome.message_id,
                }),
                Ok(_) => {}
                Err(error) => eprintln!("skipped: {error:#}"),
            }
        }
    }
    Ok(found)
}

/// Whether a destination has to get a message yet: it is held for it, or was refused.
fn lacks(outcome: &Outcome, address: &str, now: OffsetDateTime) -> bool {
    let is_it = |one: &String| one.eq_ignore_ascii_case(address);
    let has_had_it = outcome.sent.iter().any(|sent| sent.destinations.iter().any(is_it));
    let waits = match outcome.status {
        Status::Held => true,
        // Given up for the sake of another destination: nobody tries it any more.
        Status::Failed => outcome.next_try.is_none(),
        // Whoever was at work on it is dead. The function looks by the same clocks.
        Status::Sending => outcome.claimed_until.is_none_or(|until| until < now),
        Status::Dropped | Status::Rejected | Status::Forwarded => false,
    };
    let held = waits && outcome.destinations.iter().any(is_it) && !has_had_it;
    held || (matches!(outcome.status, Status::Held | Status::Forwarded) && is_refused(outcome, address))
}

/// Has one message sent to it, and waits until that is done.
async fn send(clients: &Clients, deployed: &Deployed, address: &Address, one: Lacking) -> Replayed {
    let Lacking { message_id, index, .. } = one;
    let answer = async {
        let archived = archive::notification(clients, deployed.bucket()?, &index).await?.verbatim;
        let resumes = serde_json::to_string(address)?;
        let event = format!(
            r#"{{"resumes":{resumes},"Records":[{{"eventSource":"aws:ses","eventVersion":"1.0","ses":{archived}}}]}}"#
        );
        replay::invoke(clients, deployed, event.into()).await
    };
    Replayed::of(message_id, answer.await)
}

#[cfg(test)]
mod tests {
    use ses_forwarder::{
        notification::Notification,
        outcome::{DeliveryEvent, DeliveryKind, Sent},
    };

    use super::*;

    #[test]
    fn who_lacks_a_message_has_not_had_it_or_has_refused_each_copy() {
        use Status::{Dropped, Failed, Forwarded, Held, Rejected, Sending};
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(1);
        for (status, copies, refusals, expected) in [
            (Held, 0, 0, true),
            (Held, 1, 0, false),
            (Held, 1, 1, true),
            (Forwarded, 1, 0, false),
            (Forwarded, 1, 1, true),
            (Forwarded, 2, 1, false),
            (Failed, 1, 1, false),
            (Failed, 0, 0, true),
            (Sending, 0, 0, true),
            (Dropped, 0, 0, false),
            (Rejected, 0, 0, false),
        ] {
            let address = "ann@out.example".to_owned();
            let mut outcome = Outcome::new(&Notification::default(), OffsetDateTime::UNIX_EPOCH, "r", status);
            outcome.destinations = vec!["Ann@out.example".to_owned(), "bob@out.example".to_owned()];
            for copy in 0..copies {
                outcome.sent.push(Sent {
                    message_id: copy.to_string(),
                    destinations: vec![address.clone()],
                    ..Sent::default()
                });
            }
            for second in 0..refusals {
                outcome.delivery.push(DeliveryEvent {
                    at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second),
                    destination: address.clone(),
                    event: DeliveryKind::Bounced,
                    code: None,
                });
            }
            assert_eq!(lacks(&outcome, "ann@OUT.example", now), expected, "{status:?} {copies} {refusals}");
            assert!(!lacks(&outcome, "eve@out.example", now));
            // Somebody is at work on it, or will be.
            let later = Some(now + time::Duration::minutes(1));
            outcome.claimed_until = later.filter(|_| status == Sending);
            outcome.next_try = later.filter(|_| status == Failed);
            let is_left_alone = matches!(status, Sending | Failed);
            assert_eq!(lacks(&outcome, "ann@OUT.example", now), expected && !is_left_alone, "{status:?}");
        }
    }
}
