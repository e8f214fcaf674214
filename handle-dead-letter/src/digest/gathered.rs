//! What a digest tells of outcomes: the newest of each kind by name, of the others the number. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ses_forwarder::{
    delivery::Reason,
    feedback::{is_only_answered, is_refused},
    outcome::{DeliveryEvent, DeliveryKind, Outcome, Status},
};
use time::{Date, Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Lines that a digest has at most.
pub const LINES: usize = 100;

/// How much later than it happens SES may tell what a destination did.
const LATE: Duration = Duration::hours(1);

/// Destinations of one message that make a line of their own; a list's hundred are one case.
const OF_A_MESSAGE: usize = 3;

/// A kind of line, in the order of the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Dropped by a verdict.
    Dropped,
    /// Kept, since its destination refuses mail.
    Held,
    /// Accepted by SES and refused by its destination, or called spam by its owner.
    Bounced,
    /// Refused by SES.
    Refused,
    /// Dropped since the routes say so, or lead it nowhere.
    ByRoutes,
}

/// What sends a message to its reader, or says where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// `ses-forwarder release`.
    Release {
        /// SES found a virus in it.
        virus: bool,
    },
    /// `ses-forwarder resume` of this destination.
    Resume(String),
    /// `ses-forwarder replay`, after a change.
    Replay,
    /// `aws s3 cp`: its reader has a stub.
    Fetch,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When the message came.
    pub received: OffsetDateTime,
    /// What kind of line it is.
    pub kind: Kind,
    /// The message.
    pub message_id: String,
    /// Its day.
    pub day: Date,
    /// Why, in a word or with a code.
    pub reason: String,
    /// Whom it did not reach: recipients as they were written to, or a destination.
    pub whom: Vec<String>,
    /// What to do about it.
    pub command: Command,
}

/// How much there is of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of each kind of line.
    pub kinds: BTreeMap<Kind, u64>,
    /// What was dropped and makes no line, by its reason.
    pub others: BTreeMap<String, u64>,
}

/// Takes in outcomes, in bounded memory.
#[derive(Debug)]
pub struct Gathered {
    from: OffsetDateTime,
    /// The newest of each kind.
    newest: BTreeMap<Kind, BTreeSet<Reverse<Entry>>>,
    counts: Counts,
}

impl Counts {
    /// Whether there is anything that somebody may miss.
    pub fn is_worth_telling(&self) -> bool {
        self.kinds.values().any(|count| *count > 0)
    }
}

impl Gathered {
    /// For a period that begins then.
    pub fn new(from: OffsetDateTime) -> Gathered {
        Gathered { from, newest: BTreeMap::new(), counts: Counts::default() }
    }

    /// Takes in an outcome, which is of this day.
    pub fn add(&mut self, outcome: &Outcome, day: Date) {
        for entry in entries(outcome, day, self.from) {
            *self.counts.kinds.entry(entry.kind).or_default() += 1;
            let newest = self.newest.entry(entry.kind).or_default();
            newest.insert(Reverse(entry));
            if newest.len() > LINES {
                newest.pop_last();
            }
        }
        if let Some(reason) = uncalled_for(outcome) {
            *self.counts.others.entry(reason.word().to_owned()).or_default() += 1;
        }
    }

    /// At most [`LINES`] lines, by kind and time, and the counts. Each kind has its share of the lines.
    pub fn finish(self) -> (Vec<Entry>, Counts) {
        let sizes: Vec<usize> = self.newest.values().map(BTreeSet::len).collect();
        let mut lines = Vec::new();
        for (newest, share) in self.newest.into_values().zip(shares(&sizes, LINES)) {
            let mut of_kind: Vec<Entry> =
                newest.into_iter().take(share).map(|Reverse(entry)| entry).collect();
            of_kind.reverse();
            lines.extend(of_kind);
        }
        (lines, self.counts)
    }
}

/// How many of each to take of so many in all: those with few are taken whole, the others share what is left.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let mut shares = vec![0; sizes.len()];
    let mut left = total;
    while left > 0 {
        let open: Vec<usize> = (0..sizes.len()).filter(|&at| shares[at] < sizes[at]).collect();
        if open.is_empty() {
            break;
        }
        let each = (left / open.len()).max(1);
        for at in open {
            let taken = each.min(sizes[at] - shares[at]).min(left);
            shares[at] += taken;
            left -= taken;
        }
    }
    shares
}

/// Why a message was dropped that makes no line: what was asked for, or travels in circles.
fn uncalled_for(outcome: &Outcome) -> Option<Reason> {
    let reason = dropped_for(outcome)?;
    (outcome.releasable().is_none() && !takes_a_change(reason)).then_some(reason)
}

/// Why a message was dropped, if it was.
fn dropped_for(outcome: &Outcome) -> Option<Reason> {
    let reason = (outcome.status == Status::Dropped).then_some(outcome.reason.as_deref()).flatten();
    reason.and_then(Reason::of_word)
}

/// Whether a message that was dropped for this goes out once the routes, or who may answer, are other ones.
fn takes_a_change(reason: Reason) -> bool {
    matches!(reason, Reason::NoRoute | Reason::UnverifiedAnswer)
}

/// The lines that an outcome makes.
fn entries(outcome: &Outcome, day: Date, from: OffsetDateTime) -> Vec<Entry> {
    let received = OffsetDateTime::parse(&outcome.timestamp, &Rfc3339).unwrap_or(day.midnight().assume_utc());
    let entry = |kind, reason: &str, whom: Vec<String>, command| Entry {
        received,
        kind,
        message_id: outcome.message_id.clone(),
        day,
        reason: reason.to_owned(),
        whom,
        command,
    };
    let mut entries = Vec::new();
    if let Some(reason) = outcome.releasable() {
        let kind = match reason {
            Reason::Sender | Reason::Refused => Kind::ByRoutes,
            _ => Kind::Dropped,
        };
        let command = Command::Release { virus: reason == Reason::Virus };
        entries.push(entry(kind, reason.word(), without(outcome), command));
    } else if let Some(reason) = dropped_for(outcome).filter(|reason| takes_a_change(*reason)) {
        let kind = if reason == Reason::NoRoute { Kind::ByRoutes } else { Kind::Dropped };
        entries.push(entry(kind, reason.word(), without(outcome), Command::Replay));
    }
    if outcome.status == Status::Held {
        let has_it =
            |destination: &String| outcome.sent.iter().any(|sent| sent.destinations.contains(destination));
        let reason = outcome.reason.as_deref().unwrap_or("held");
        for destination in outcome.destinations.iter().filter(|one| !has_it(one)).take(OF_A_MESSAGE) {
            let resume = Command::Resume(destination.clone());
            entries.push(entry(Kind::Held, reason, vec![destination.clone()], resume));
        }
    }
    let code = outcome.error.as_ref().map_or("refused", |error| &*error.code);
    if outcome.status == Status::Rejected {
        entries.push(entry(Kind::Refused, code, outcome.destinations.clone(), Command::Replay));
    } else if outcome.sent.iter().any(|sent| sent.stub) {
        let stubs = outcome.sent.iter().filter(|sent| sent.stub);
        let whom = stubs.flat_map(|sent| sent.destinations.clone()).collect();
        entries.push(entry(Kind::Refused, code, whom, Command::Fetch));
    }
    // A report that came by mail is about another message, which has it too.
    if outcome.status != Status::Dropped {
        let is_bounce = |kind| matches!(kind, DeliveryKind::Bounced | DeliveryKind::Complained);
        // Who has a stub stands above, unless that came back too.
        let has_stub = |destination: &String| {
            let mut stubs = outcome.sent.iter().filter(|sent| sent.stub);
            stubs.any(|sent| sent.destinations.contains(destination)) && !is_refused(outcome, destination)
        };
        // Who wrote an answer is told of its bounce.
        let is_told = |event: &&DeliveryEvent| {
            event.event == DeliveryKind::Bounced && is_only_answered(outcome, &event.destination)
        };
        let bounces =
            outcome.delivery.iter().filter(|event| is_bounce(event.event)).filter(|event| !is_told(event));
        let recent = bounces.filter(|event| event.at >= from - LATE && !has_stub(&event.destination));
        let of_destination: BTreeMap<&str, _> = recent.map(|event| (&*event.destination, event)).collect();
        for (destination, event) in of_destination.into_iter().take(OF_A_MESSAGE) {
            let reason = match (event.event, event.code.as_deref()) {
                (DeliveryKind::Complained, _) => "called spam",
                (_, Some(code)) => code,
                (_, None) => "refused",
            };
            let resume = Command::Resume(destination.to_owned());
            entries.push(entry(Kind::Bounced, reason, vec![destination.to_owned()], resume));
        }
    }
    entries
}

/// The recipients that a dropped message, or a part of it, did not reach.
fn without(outcome: &Outcome) -> Vec<String> {
    let left_out: Vec<String> = outcome.left_out.iter().map(|one| one.recipient.clone()).collect();
    if left_out.is_empty() { outcome.recipients.clone() } else { left_out }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use ses_forwarder::{
        notification::Notification,
        outcome::{Failure, LeftOut, Sent},
    };

    use super::*;

    fn time(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + second).unwrap()
    }

    fn outcome(id: &str, second: i64, status: Status, reason: Option<&str>) -> Outcome {
        let notification = Notification {
            message_id: id.to_owned(),
            recipients: vec!["info@in.example".to_owned()],
            ..Notification::default()
        };
        Outcome {
            reason: reason.map(str::to_owned),
            destinations: vec!["info@out.example".to_owned()],
            ..Outcome::new(&notification, time(second), "r", status)
        }
    }

    fn lines(outcome: &Outcome) -> Vec<(Kind, String, String, Command)> {
        let entries = entries(outcome, time(0).date(), time(0)).into_iter();
        entries.map(|entry| (entry.kind, entry.reason, entry.whom.join(" "), entry.command)).collect()
    }

    #[test]
    fn what_makes_a_line() {
        let release = || Command::Release { virus: false };
        let line =
            |kind, reason: &str, whom: &str, command| (kind, reason.to_owned(), whom.to_owned(), command);
        let resume = || Command::Resume("info@out.example".to_owned());
        let plain = |status, reason| outcome("m", 0, status, reason);
        let event = |event, code: Option<&str>, second| DeliveryEvent {
            at: time(second),
            destination: "info@out.example".to_owned(),
            event,
            code: code.map(str::to_owned),
        };
        let forwarded = |delivery| Outcome { delivery, ..plain(Status::Forwarded, None) };
        let sent = |stub| Sent {
            message_id: "s".to_owned(),
            destinations: vec!["info@out.example".to_owned()],
            stub,
            alias: None,
        };
        let answer = || Sent { alias: Some("info@in.example".to_owned()), ..sent(false) };
        let refused = Failure { code: "MessageRejected".to_owned(), message: String::new() };
        let late = -2 * 60 * 60;
        for (outcome, expected) in [
            (
                plain(Status::Dropped, Some("spam")),
                vec![line(Kind::Dropped, "spam", "info@in.example", release())],
            ),
            (
                plain(Status::Dropped, Some("virus")),
                vec![line(Kind::Dropped, "virus", "info@in.example", Command::Release { virus: true })],
            ),
            (
                plain(Status::Dropped, Some("sender")),
                vec![line(Kind::ByRoutes, "sender", "info@in.example", release())],
            ),
            (
                plain(Status::Dropped, Some("no-route")),
                vec![line(Kind::ByRoutes, "no-route", "info@in.example", Command::Replay)],
            ),
            (
                plain(Status::Dropped, Some("unverified-answer")),
                vec![line(Kind::Dropped, "unverified-answer", "info@in.example", Command::Replay)],
            ),
            (plain(Status::Dropped, Some("discarded")), vec![]),
            (plain(Status::Dropped, Some("loop")), vec![]),
            (
                Outcome {
                    left_out: vec![LeftOut {
                        recipient: "bob@in.example".to_owned(),
                        reason: "dmarc".to_owned(),
                    }],
                    ..plain(Status::Forwarded, None)
                },
                vec![line(Kind::Dropped, "dmarc", "bob@in.example", release())],
            ),
            (
                plain(Status::Held, Some("suspended")),
                vec![line(Kind::Held, "suspended", "info@out.example", resume())],
            ),
            (Outcome { sent: vec![sent(false)], ..plain(Status::Held, Some("suspended")) }, vec![]),
            (
                Outcome { error: Some(refused.clone()), ..plain(Status::Rejected, Some("MessageRejected")) },
                vec![line(Kind::Refused, "MessageRejected", "info@out.example", Command::Replay)],
            ),
            (
                Outcome { error: Some(refused), sent: vec![sent(true)], ..plain(Status::Forwarded, None) },
                vec![line(Kind::Refused, "MessageRejected", "info@out.example", Command::Fetch)],
            ),
            (
                forwarded(vec![
                    event(DeliveryKind::Bounced, Some("5.1.1"), 0),
                    event(DeliveryKind::Delayed, None, 9),
                ]),
                vec![line(Kind::Bounced, "5.1.1", "info@out.example", resume())],
            ),
            (
                forwarded(vec![event(DeliveryKind::Complained, None, 0)]),
                vec![line(Kind::Bounced, "called spam", "info@out.example", resume())],
            ),
            (forwarded(vec![event(DeliveryKind::Bounced, None, late)]), vec![]),
            (
                Outcome { sent: vec![answer()], ..forwarded(vec![event(DeliveryKind::Bounced, None, 0)]) },
                vec![],
            ),
            (
                Outcome { sent: vec![answer()], ..forwarded(vec![event(DeliveryKind::Complained, None, 0)]) },
                vec![line(Kind::Bounced, "called spam", "info@out.example", resume())],
            ),
            (
                Outcome {
                    delivery: vec![event(DeliveryKind::Bounced, None, 0)],
                    ..plain(Status::Dropped, Some("bounce"))
                },
                vec![],
            ),
            (plain(Status::Forwarded, None), vec![]),
            (plain(Status::Failed, Some("ThrottlingException")), vec![]),
        ] {
            assert_eq!(lines(&outcome), expected, "{outcome:#?}");
        }
    }

    #[test]
    fn the_newest_are_told_by_name_and_all_are_counted() {
        let mut gathered = Gathered::new(time(0));
        for number in 0..250 {
            gathered.add(
                &outcome(&format!("s{number:03}"), number, Status::Dropped, Some("spam")),
                time(0).date(),
            );
        }
        for number in 0..3 {
            gathered.add(&outcome(&format!("h{number}"), number, Status::Held, None), time(0).date());
            gathered
                .add(&outcome(&format!("l{number}"), number, Status::Dropped, Some("loop")), time(0).date());
        }
        let (lines, counts) = gathered.finish();
        let ids: Vec<&str> = lines.iter().map(|entry| &*entry.message_id).collect();
        let expected: Vec<String> = (153..250)
            .map(|number| format!("s{number}"))
            .chain((0..3).map(|number| format!("h{number}")))
            .collect();
        assert_eq!(ids, expected);
        assert_eq!(counts.kinds, BTreeMap::from([(Kind::Dropped, 250), (Kind::Held, 3)]));
        assert_eq!(counts.others, BTreeMap::from([("loop".to_owned(), 3)]));
        assert!(counts.is_worth_telling());
    }

    #[test]
    fn loops_and_what_was_asked_for_are_not_worth_a_digest() {
        let mut gathered = Gathered::new(time(0));
        for reason in ["loop", "discarded", "bounce", "auto-reply"] {
            gathered.add(&outcome("m", 0, Status::Dropped, Some(reason)), time(0).date());
        }
        gathered.add(&outcome("m", 0, Status::Forwarded, None), time(0).date());
        assert!(!gathered.finish().1.is_worth_telling());
    }

    proptest! {
        #[test]
        fn shares_are_fair(sizes in vec(0..200_usize, 0..6), total in 0..150_usize) {
            let shares = shares(&sizes, total);
            prop_assert_eq!(shares.iter().sum::<usize>(), total.min(sizes.iter().sum()));
            for (share, size) in shares.iter().zip(&sizes) {
                prop_assert!(share <= size);
                // Whoever has fewer lines than another has all of its own, or one less for the remainder.
                prop_assert!(*share == *size || shares.iter().all(|other| *other <= share + 1));
            }
        }
    }
}
