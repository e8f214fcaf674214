//! The destinations that mail is held for, since they refuse it, and those whose owner called the mail of a
//! sender spam: `state/destinations.json`, one object on one line.
//!
//! Both functions read it; `handle-dead-letter` and `ses-forwarder resume` write it, with `If-Match`. It is
//! looked up before a send: what is refused anyway would only count against the SES account, and would be
//! gone.
//!
//! It also remembers, for two days, refusals that suspend nobody: so a refusal that SES reports twice, by an
//! event and by a mail, is told once.
//!
//! It is bounded, whoever makes up how many names: beyond [`DESTINATIONS_MAX`] the one that is longest known
//! goes, one that no line of the routes names before one that has a line. Mail for it then goes out, and
//! may be refused once more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::{
    feedback::{About, about},
    outcome::{COMPLAINT, DeliveryEvent, DeliveryKind, SUSPENDED},
};

/// How long `handle-email` uses a list without asking whether there is another. Shorter than for routes: until a
/// name that does not exist is known, each message to it bounces.
pub const FRESH: std::time::Duration = std::time::Duration::from_secs(5);

/// Destinations kept at most: about 2 MB of JSON.
pub const DESTINATIONS_MAX: usize = 10_000;

/// Senders kept at most of one destination.
pub const SENDERS_MAX: usize = 100;

/// How long a refusal is remembered that suspends nobody.
const REMEMBERED: Duration = Duration::days(2);

/// Time in which a notice is surely sent, or its sender dead.
const TELLING: Duration = Duration::minutes(15);

/// Longest address kept, in octets (RFC 5321 section 4.5.3.1.3 allows 254).
const ADDRESS_MAX: usize = 320;

/// The destinations, by their address in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Suspended {
    /// What is known of each.
    pub destinations: BTreeMap<String, Destination>,
}

/// What is known of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Why mail for it is held; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Cause>,
    /// Whose mail for it is held, by the sender's address in lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub senders: BTreeMap<String, Cause>,
    /// Its last refusal, of whatever kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Cause>,
    /// Whether no line of the routes names it: then nobody is told, and the digest lists it.
    #[serde(skip_serializing_if = "is_false")]
    pub unnamed: bool,
}

/// What a destination did that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// When, as SES says.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The code of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The message that it refused.
    pub message_id: String,
    /// Whether the operator has been told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub told: bool,
    /// Who is about to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telling: Option<Telling>,
}

/// Who is about to tell. Who has not done so in time is dead, and another does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Telling {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The queue message that it is for. Should the queue hand that out again, whoever had it is dead.
    pub queue_message_id: String,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// An event, and what it takes to know what it suspends.
#[derive(Debug, Clone, Copy)]
pub struct Noted<'a> {
    /// The event.
    pub event: &'a DeliveryEvent,
    /// The message that it is about.
    pub message_id: &'a str,
    /// Whether no line of the routes names the destination.
    pub unnamed: bool,
    /// Whether it was sent an answer from an alias.
    pub answer: bool,
    /// The message's authors and its envelope sender, for a complaint.
    pub senders: &'a [String],
}

/// What an event suspends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nobody: it passes, or is about this one message.
    Nothing,
    /// The destination.
    Destination,
    /// The message's sender, for the destination.
    Sender,
}

/// What an event suspends. A refusal for what is in a message, or for its size, suspends nobody, and neither does one
/// of an answer, as whoever wrote that is told.
pub fn effect(event: &DeliveryEvent, answer: bool) -> Effect {
    match (event.event, about(event)) {
        (DeliveryKind::Complained, _) if answer => Effect::Sender,
        _ if answer => Effect::Nothing,
        (DeliveryKind::Bounced, About::Destination | About::Suppressed)
        | (DeliveryKind::Complained, About::Suppressed) => Effect::Destination,
        (DeliveryKind::Complained, _) => Effect::Sender,
        _ => Effect::Nothing,
    }
}

impl Destination {
    fn complained_of<'a>(&self, senders: impl IntoIterator<Item = &'a str>) -> bool {
        senders.into_iter().any(|sender| self.senders.contains_key(&key(sender)))
    }
}

impl Suspended {
    /// Why mail from one of these senders is held for a destination; `None` if it is not.
    pub fn holds<'a>(
        &self,
        destination: &str,
        senders: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'static str> {
        let known = self.destinations.get(&key(destination))?;
        if known.suspended.is_some() {
            return Some(SUSPENDED);
        }
        known.complained_of(senders).then_some(COMPLAINT)
    }

    /// Why an answer of one of these senders is held for a correspondent; `None` if it is not. Who refuses forwarded
    /// mail may take it, and if not, whoever wrote it is told.
    pub fn holds_answers<'a>(
        &self,
        correspondent: &str,
        senders: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'static str> {
        let known = self.destinations.get(&key(correspondent))?;
        known.complained_of(senders).then_some(COMPLAINT)
    }

    /// Whether a refusal by a destination is known that came within a day of this time.
    pub fn knows(&self, destination: &str, at: OffsetDateTime) -> bool {
        let known = self.destinations.get(&key(destination));
        let refusals = known.into_iter().flat_map(|known| known.last.iter().chain(&known.suspended));
        let mut refusals = refusals.map(|cause| cause.at - at);
        refusals.any(|apart| apart.abs() <= Duration::DAY)
    }

    /// Takes note of an event. What is known already stays as it is: who is suspended is so since the first
    /// refusal. An event from before the destination was resumed can't be told from a new one, so it suspends
    /// again.
    pub fn note(&mut self, noted: &Noted<'_>) {
        let Noted { event, message_id, unnamed, answer, senders } = *noted;
        let counts = match event.event {
            DeliveryKind::Bounced => !answer,
            DeliveryKind::Complained => true,
            DeliveryKind::Delivered | DeliveryKind::Delayed => false,
        };
        if !counts || event.destination.len() > ADDRESS_MAX {
            return;
        }
        let cause = Cause {
            at: event.at,
            code: event.code.clone(),
            message_id: message_id.to_owned(),
            told: false,
            telling: None,
        };
        let known = self.destinations.entry(key(&event.destination)).or_default();
        match effect(event, answer) {
            Effect::Destination => {
                known.unnamed = unnamed;
                known.suspended.get_or_insert_with(|| cause.clone());
            }
            Effect::Sender => {
                let senders =
                    senders.iter().filter(|sender| !sender.is_empty() && sender.len() <= ADDRESS_MAX);
                for sender in senders {
                    if known.senders.len() < SENDERS_MAX {
                        known.senders.entry(key(sender)).or_insert_with(|| cause.clone());
                    }
                }
            }
            Effect::Nothing => {}
        }
        if event.event == DeliveryKind::Bounced && known.last.as_ref().is_none_or(|last| last.at < event.at) {
            known.last = Some(cause);
        }
    }

    /// Forgets what is too old to matter, and what there is no room for.
    pub fn trim(&mut self, now: OffsetDateTime) {
        self.destinations.retain(|_, known| {
            known.last = known.last.take().filter(|last| now - last.at < REMEMBERED);
            known.suspended.is_some() || !known.senders.is_empty() || known.last.is_some()
        });
        let beyond = self.destinations.len().saturating_sub(DESTINATIONS_MAX);
        if beyond > 0 {
            let rank = |known: &Destination| {
                let named = known.suspended.is_some() && !known.unnamed || !known.senders.is_empty();
                (named, known.suspended.as_ref().or(known.last.as_ref()).map(|cause| cause.at))
            };
            let mut all: Vec<_> =
                self.destinations.iter().map(|(key, known)| (rank(known), key.clone())).collect();
            all.sort_unstable();
            for (_, key) in all.into_iter().take(beyond) {
                self.destinations.remove(&key);
            }
        }
    }

    /// Takes a destination off, with all its senders, and returns what was known of it. What it refused last
    /// goes too, so that a new refusal is told.
    pub fn resume(&mut self, destination: &str) -> Option<Destination> {
        self.destinations.remove(&key(destination))
    }

    /// Takes it on to tell of what is held and not told, although a line of the routes names it: destinations, and
    /// senders of destinations. Nobody else tells of it then until [`told`](Suspended::told), or for a quarter of
    /// an hour; but who has one of the same queue messages does.
    pub fn take_on(&mut self, now: OffsetDateTime, queue_message_ids: &[&str]) -> Vec<Untold> {
        let mut untold = Vec::new();
        for (destination, known) in &mut self.destinations {
            let whole = known.suspended.iter_mut().filter(|_| !known.unnamed).map(|cause| (None, cause));
            let senders = known.senders.iter_mut().map(|(sender, cause)| (Some(sender.clone()), cause));
            for (sender, cause) in whole.chain(senders) {
                let taken_on = cause.telling.as_ref().is_some_and(|telling| {
                    (now - telling.since).abs() < TELLING
                        && !queue_message_ids.contains(&telling.queue_message_id.as_str())
                });
                if !cause.told && !taken_on {
                    let queue_message_id = queue_message_ids.first().copied().unwrap_or_default().to_owned();
                    cause.telling = Some(Telling { since: now, queue_message_id });
                    untold.push(Untold { destination: destination.clone(), sender, cause: cause.clone() });
                }
            }
        }
        untold
    }

    /// Says how telling went: what was not told is told by whoever comes next.
    pub fn told(&mut self, untold: &[Untold], told: bool) {
        for Untold { destination, sender, .. } in untold {
            let Some(known) = self.destinations.get_mut(destination) else { continue };
            let cause = match sender {
                None => known.suspended.as_mut(),
                Some(sender) => known.senders.get_mut(sender),
            };
            if let Some(cause) = cause {
                (cause.told, cause.telling) = (told, None);
            }
        }
    }
}

/// What is held, and nobody has been told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The destination.
    pub destination: String,
    /// The sender whose mail is held; `None` if everybody's is.
    pub sender: Option<String>,
    /// Since when and why.
    pub cause: Cause,
}

fn key(address: &str) -> String {
    address.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn at(hours: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::hours(hours)
    }

    fn event(destination: &str, event: DeliveryKind, code: &str, hours: i64) -> DeliveryEvent {
        DeliveryEvent {
            at: at(hours),
            destination: destination.to_owned(),
            event,
            code: Some(code.to_owned()),
        }
    }

    fn note(state: &mut Suspended, event: &DeliveryEvent, unnamed: bool) {
        let senders = ["jane@x.example".to_owned()];
        state.note(&Noted { event, message_id: "m1", unnamed, answer: false, senders: &senders });
    }

    #[test]
    fn who_refuses_for_good_is_suspended_and_who_complains_is_for_the_sender() {
        use DeliveryKind::{Bounced, Complained, Delayed, Delivered};
        let jane = ["Jane@x.example"];
        for (kind, code, from_jane, from_bob) in [
            (Bounced, "5.1.1", Some(SUSPENDED), Some(SUSPENDED)),
            (Bounced, "OnAccountSuppressionList", Some(SUSPENDED), Some(SUSPENDED)),
            (Bounced, "5.7.1", None, None),
            (Bounced, "5.3.4", None, None),
            (Bounced, "5.2.2", None, None),
            (Complained, "abuse", Some(COMPLAINT), None),
            (Complained, "OnAccountSuppressionList", Some(SUSPENDED), Some(SUSPENDED)),
            (Delayed, "4.4.1", None, None),
            (Delivered, "", None, None),
        ] {
            let mut state = Suspended::default();
            note(&mut state, &event("Ann@out.example", kind, code, 1), false);
            assert_eq!(state.holds("ann@OUT.example", jane), from_jane, "{kind:?} {code}");
            assert_eq!(state.holds("ann@out.example", ["bob@x.example"]), from_bob, "{kind:?} {code}");
            assert_eq!(state.holds("bob@out.example", jane), None, "{kind:?} {code}");
            let line = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<Suspended>(&line).unwrap(), state, "{line}");
            state.resume("ANN@out.example");
            assert_eq!(state.holds("ann@out.example", jane), None);
        }
    }

    #[test]
    fn an_answer_suspends_nobody_and_who_complains_of_one_gets_no_more_of_its_author() {
        use DeliveryKind::{Bounced, Complained, Delayed};
        let (ann, bob) = (["Ann@out.example"], ["bob@out.example"]);
        for (kind, code, from_ann) in [
            (Bounced, "5.1.1", None),
            (Bounced, "OnAccountSuppressionList", None),
            (Delayed, "4.4.1", None),
            (Complained, "abuse", Some(COMPLAINT)),
            (Complained, "OnAccountSuppressionList", Some(COMPLAINT)),
        ] {
            let mut state = Suspended::default();
            let (event, senders) = (event("Jane@x.example", kind, code, 1), ann.map(str::to_owned));
            let senders = &senders;
            state.note(&Noted { event: &event, message_id: "m1", unnamed: false, answer: true, senders });
            assert_eq!(state.holds_answers("jane@X.example", ann), from_ann, "{kind:?} {code}");
            assert_eq!(state.holds("jane@x.example", ann), from_ann, "{kind:?} {code}");
            assert_eq!(state.holds("jane@x.example", bob), None, "{kind:?} {code}");
            assert!(!state.knows("jane@x.example", at(1)));
        }
    }

    #[test]
    fn an_answer_goes_to_who_refuses_forwarded_mail() {
        let mut state = Suspended::default();
        note(&mut state, &event("ann@out.example", DeliveryKind::Bounced, "5.1.1", 1), false);
        assert_eq!(state.holds_answers("ann@out.example", ["jane@x.example"]), None);
        assert_eq!(state.holds("ann@out.example", ["jane@x.example"]), Some(SUSPENDED));
    }

    #[test]
    fn who_has_a_line_is_told_once() {
        let mut state = Suspended::default();
        note(&mut state, &event("ann@out.example", DeliveryKind::Bounced, "5.1.1", 1), false);
        note(&mut state, &event("made-up@out.example", DeliveryKind::Bounced, "5.1.1", 1), true);
        note(&mut state, &event("bob@out.example", DeliveryKind::Complained, "abuse", 1), true);
        let take_on = |state: &mut Suspended, hours, id| {
            let all = state.take_on(at(hours), &[id]);
            let named =
                all.iter().map(|one| (one.destination.clone(), one.sender.clone())).collect::<Vec<_>>();
            (all, named)
        };
        let jane = Some("jane@x.example".to_owned());
        let both = [("ann@out.example".to_owned(), None), ("bob@out.example".to_owned(), jane)];
        assert_eq!(take_on(&mut state, 1, "q1").1, both);
        assert_eq!(take_on(&mut state, 1, "q2").1, [], "another is at it");
        assert_eq!(take_on(&mut state, 1, "q1").1, both, "who was at it is dead: its message is here again");
        let (untold, named) = take_on(&mut state, 2, "q2");
        assert_eq!(named, both, "who was at it is dead: it has not told in time");
        state.told(&untold, false);
        assert_eq!(take_on(&mut state, 2, "q3").1, both, "no channel took it");
        state.told(&untold, true);
        note(&mut state, &event("ann@out.example", DeliveryKind::Bounced, "5.1.1", 2), false);
        assert_eq!(take_on(&mut state, 9, "q3").1, []);
    }

    #[test]
    fn a_refusal_is_known_for_a_day_and_remembered_for_two() {
        let mut state = Suspended::default();
        note(&mut state, &event("ann@out.example", DeliveryKind::Bounced, "5.7.1", 10), false);
        for (hours, known) in [(10, true), (-14, true), (34, true), (35, false), (-15, false)] {
            assert_eq!(state.knows("Ann@out.example", at(hours)), known, "{hours}");
        }
        state.trim(at(57));
        assert!(state.knows("ann@out.example", at(10)));
        state.trim(at(58));
        assert_eq!(state, Suspended::default());
    }

    #[test]
    fn made_up_names_push_out_no_name_that_has_a_line() {
        let mut state = Suspended::default();
        note(&mut state, &event("ann@out.example", DeliveryKind::Bounced, "5.1.1", 0), false);
        for number in 0..DESTINATIONS_MAX {
            let name = format!("n{number}@out.example");
            note(&mut state, &event(&name, DeliveryKind::Bounced, "5.1.1", 1), true);
        }
        note(&mut state, &event("late@out.example", DeliveryKind::Bounced, "5.1.1", 2), true);
        state.trim(at(3));
        assert_eq!(state.destinations.len(), DESTINATIONS_MAX);
        for name in ["ann@out.example", "late@out.example"] {
            assert_eq!(state.holds(name, []), Some(SUSPENDED), "{name}");
        }
    }

    proptest! {
        /// Late, doubled and reordered events suspend the same.
        #[test]
        fn the_order_of_events_does_not_matter(
            mut events in vec((select(vec!["a@x", "b@x"]), 0i64..5, select(vec!["5.1.1", "5.7.1"])), 0..8),
        ) {
            let state = |events: &[(&str, i64, &str)]| {
                let mut state = Suspended::default();
                for (destination, hours, code) in events {
                    note(&mut state, &event(destination, DeliveryKind::Bounced, code, *hours), false);
                }
                let held = |one| state.holds(one, []);
                (held("a@x"), held("b@x"), ["a@x", "b@x"].map(|one| state.destinations.get(one).and_then(|known| known.last.as_ref().map(|last| last.at))))
            };
            let before = state(&events);
            events.reverse();
            let twice = [events.clone(), events].concat();
            prop_assert_eq!(state(&twice), before);
        }
    }
}
