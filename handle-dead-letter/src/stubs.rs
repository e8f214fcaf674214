//! A stub for whoever did not take a message for its size: `handle-email` is asked for it, as it alone may send
//! in the name of the domain, and it records what it has sent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use ses_forwarder::{
    feedback::{About, about, is_refused, lacking_stubs},
    outcome::Outcome,
};

use crate::{
    attempt::{Attempt, ask},
    batch::Run,
    feedback::{Case, PATIENCE},
    record::Record,
};

impl Run<'_> {
    /// Has the destinations of a message that did not take it for its size get a stub, and returns those that have
    /// one. The error means that this may yet succeed.
    pub(crate) async fn stand_in(&self, case: &Case<'_>) -> Result<BTreeSet<String>, ()> {
        let Ok(Record { content: Some(outcome), .. }) = &case.record else { return Ok(BTreeSet::new()) };
        let is_heard = case
            .heard
            .iter()
            .flat_map(|heard| &heard.feedback.events)
            .any(|event| about(event) == About::Size);
        let lacking = lacking_stubs(outcome);
        if !is_heard || lacking.is_empty() {
            return Ok(having(outcome));
        }
        let late = case.heard.iter().all(|heard| heard.age >= PATIENCE);
        match self.ask_for_stubs(case, &lacking).await {
            Ok(having) => Ok(having),
            Err(why) if late => {
                tracing::error!(messageId = case.message_id, "no stub was sent: {why}");
                Ok(having(outcome))
            }
            Err(why) => {
                tracing::warn!(messageId = case.message_id, "a stub is not sent yet: {why}");
                Err(())
            }
        }
    }

    async fn ask_for_stubs(
        &self,
        case: &Case<'_>,
        lacking: &BTreeMap<&str, &str>,
    ) -> Result<BTreeSet<String>, String> {
        let place = &self.handler.settings.place;
        let index = self.bucket.get(&place.prefixes.index(case.day, &case.message_id)).await;
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
        let key = place.prefixes.outcome(case.day, &case.message_id);
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
