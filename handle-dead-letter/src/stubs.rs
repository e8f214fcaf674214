//! A stub for whoever did not take a message for its size: `handle-email` is asked for it, as it alone may send
//! in the name of the domain, and it records what it has sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;
use ses_forwarder::{
    feedback::{About, about, is_refused, lacking_stubs},
    outcome::{DeliveryEvent, Outcome},
};
use time::Date;

use crate::{
    attempt::{Attempt, ask},
    batch::{DOUBTS, Run},
    record::Record,
};

/// A message that a destination did not take for its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooLarge<'a> {
    pub(crate) message_id: &'a str,
    pub(crate) day: Date,
    pub(crate) outcome: &'a Outcome,
    /// Since that was heard.
    pub(crate) age: Duration,
}

/// What came of asking for stubs.
#[derive(Debug, Default)]
pub(crate) struct Stubs {
    /// The destinations that have one.
    pub(crate) having: BTreeSet<String>,
    /// What those did that can't be sent one, after all the time that a message is tried for.
    pub(crate) given_up: Vec<DeliveryEvent>,
    /// Whether those who have none may yet get one.
    pub(crate) to_come: bool,
}

impl Run<'_> {
    /// Has the destinations of a message that did not take it for its size get a stub.
    pub(crate) async fn stand_in(&self, message: &TooLarge<'_>) -> Stubs {
        let TooLarge { message_id, outcome, age, .. } = *message;
        let lacking = lacking_stubs(outcome);
        if lacking.is_empty() {
            return Stubs { having: having(outcome), ..Stubs::default() };
        }
        let late = age >= self.handler.settings.retry || outcome.doubts >= DOUBTS;
        let asked = if outcome.doubts < DOUBTS {
            self.ask_for_stubs(message, &lacking).await
        } else {
            // As with any message.
            Err(format!("SES may have taken it in {DOUBTS} tries"))
        };
        match asked {
            Ok(having) => Stubs { having, ..Stubs::default() },
            Err(why) if late => {
                tracing::error!(messageId = message_id, "no stub was sent: {why}");
                let refusals = outcome.delivery.iter().filter(|event| about(event) == About::Size);
                let given_up = refusals.filter(|event| lacking.contains_key(&*event.destination));
                let given_up = given_up.cloned().collect();
                Stubs { having: having(outcome), given_up, to_come: false }
            }
            Err(why) => {
                tracing::warn!(messageId = message_id, "a stub is not sent yet: {why}");
                Stubs { having: having(outcome), to_come: true, ..Stubs::default() }
            }
        }
    }

    async fn ask_for_stubs(
        &self,
        message: &TooLarge<'_>,
        lacking: &BTreeMap<&str, &str>,
    ) -> Result<BTreeSet<String>, String> {
        let TooLarge { message_id, day, .. } = *message;
        let place = &self.handler.settings.place;
        let index = self.bucket.get(&place.prefixes.index(day, message_id)).await;
        let index = index.map_err(|error| error.to_string())?.ok_or("its notification is gone")?;
        let ses = std::str::from_utf8(&index).map_err(|error| error.to_string())?.trim_end();
        let said =
            lacking.iter().map(|(destination, code)| format!("{destination} refused it with code {code}."));
        let stub = json!({
            "destinations": lacking.keys().collect::<Vec<_>>(),
            "words": said.collect::<Vec<_>>().join(" "),
        });
        let event = format!(
            r#"{{"stub":{stub},"Records":[{{"eventSource":"aws:ses","eventVersion":"1.0","ses":{ses}}}]}}"#
        );
        match ask(&self.handler.lambda, &place.handle_email, event, self.tries.1.left()).await {
            Attempt::Done => {}
            Attempt::Failed(failure) | Attempt::Unanswered(failure) => return Err(failure.message),
            Attempt::Busy => return Err("Lambda runs as many functions as it may".to_owned()),
        }
        let key = place.prefixes.outcome(day, message_id);
        let record = Record::<Outcome>::read(&self.bucket, key).await;
        let record = record.map_err(|unknown| unknown.failure().message)?;
        Ok(record.content.as_ref().map(having).unwrap_or_default())
    }
}

/// The destinations that have a stub, and have not refused that too.
fn having(outcome: &Outcome) -> BTreeSet<String> {
    let stubs = outcome.sent.iter().filter(|sent| sent.stub);
    let destinations = stubs.flat_map(|sent| &sent.destinations);
    destinations.filter(|destination| !is_refused(outcome, destination)).cloned().collect()
}
