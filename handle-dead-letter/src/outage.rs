//! Which delays have been told: one notice for all mail that waits for the same reason, and one when it
//! goes out again. Pure.
//!
//! Thousands of letters may wait, and many instances of this function look after them. What they share
//! is one object of the bucket; it is written only over the version that was read, so of all that want
//! to tell something one does.
//!
//! - A reason is told once. It is told again after a day, or if it comes back after an all-clear.
//! - Delay notices are at least an hour apart, whatever the reasons, and so are all-clears; one that would come
//!   sooner is left out.
//! - Whoever writes that it tells a reason has not told it yet: `pending` says so until it has. If it
//!   never does, because it was killed, another tells it later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// Least time between two notices of a kind.
const APART: Duration = Duration::hours(1);

/// A reason that lasts is told again after so long.
const REMINDER: Duration = Duration::hours(24);

/// Time in which a notice is surely sent, or its sender dead.
const PENDING: Duration = Duration::minutes(15);

/// Reasons kept; there are not that many error codes.
const KEPT: usize = 32;

/// What has been told.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Error codes for which mail is known to wait, and when that was told.
    pub reasons: BTreeMap<String, Moment>,
    /// The last delay notice.
    pub delay: Option<Moment>,
    /// The last all-clear.
    pub clear: Option<Moment>,
    /// Somebody is about to send a notice and has not said yet that it is out.
    pub pending: bool,
}

/// A time, as RFC 3339 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(#[serde(with = "time::serde::rfc3339")] pub OffsetDateTime);

impl Moment {
    /// Whether less than `time` has passed. What lies ahead was written by a clock that is wrong.
    fn within(self, time: Duration, now: OffsetDateTime) -> bool {
        let passed = now - self.0;
        passed < time && passed > -APART
    }
}

impl Told {
    /// What to write before mail is told that waits for these reasons; `None` if that has been told, or
    /// can wait.
    pub fn telling<'a>(&self, codes: impl IntoIterator<Item = &'a str>, now: OffsetDateTime) -> Option<Told> {
        let lost = self.pending && !self.delay.is_some_and(|delay| delay.within(PENDING, now));
        if !lost && self.delay.is_some_and(|delay| delay.within(APART, now)) {
            return None;
        }
        let mut codes = codes
            .into_iter()
            .filter(|code| lost || !self.reasons.get(*code).is_some_and(|told| told.within(REMINDER, now)));
        let first = codes.next()?;
        let mut next = Told { delay: Some(Moment(now)), pending: true, ..self.clone() };
        for code in [first].into_iter().chain(codes) {
            next.reasons.insert(code.to_owned(), Moment(now));
        }
        while next.reasons.len() > KEPT {
            let oldest = next.reasons.iter().min_by_key(|(_, told)| **told).map(|(code, _)| code.clone());
            next.reasons.remove(&oldest?);
        }
        Some(next)
    }

    /// What to write before it is told that mail goes out again that waited for these reasons; `None` if
    /// nobody was told that it waits. Within an hour of another all-clear nothing is told ([`Told::clears`]), but
    /// should they come back, that is.
    pub fn clearing<'a>(
        &self,
        codes: impl IntoIterator<Item = &'a str>,
        now: OffsetDateTime,
    ) -> Option<Told> {
        let clear = self.clear.filter(|clear| clear.within(APART, now)).unwrap_or(Moment(now));
        let mut next = Told { clear: Some(clear), ..self.clone() };
        let known = codes.into_iter().filter(|code| next.reasons.remove(*code).is_some()).count();
        (known > 0).then_some(next)
    }

    /// Whether this is to be told as an all-clear, after what was there before.
    pub fn clears(&self, before: &Told) -> bool {
        self.clear != before.clear
    }

    /// What to write once a notice is out.
    pub fn sent(self) -> Told {
        Told { pending: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::select};

    fn at(minutes: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::minutes(minutes)
    }

    fn told(codes: &[&str], minutes: i64) -> Told {
        Told::default().telling(codes.iter().copied(), at(minutes)).unwrap().sent()
    }

    #[test]
    fn a_reason_is_told_once_a_day() {
        let paused = told(&["Paused"], 0);
        for (name, codes, minutes, tells) in [
            ("the same a moment later", &["Paused"][..], 1, false),
            ("the same", &["Paused"], 23 * 60, false),
            ("the same, a day later", &["Paused"], 24 * 60, true),
            ("another within the hour", &["Timeout"], 59, false),
            ("another", &["Timeout"], 60, true),
            ("another beside it", &["Paused", "Timeout"], 61, true),
            ("told by a clock that was wrong", &["Timeout"], -120, true),
            ("nothing", &[], 600, false),
        ] {
            assert_eq!(paused.telling(codes.iter().copied(), at(minutes)).is_some(), tells, "{name}");
        }
    }

    #[test]
    fn a_notice_that_was_never_sent_is_sent_by_another() {
        let killed = Told::default().telling(["Paused"], at(0)).unwrap();
        assert_eq!(killed.telling(["Paused"], at(14)), None);
        assert!(killed.telling(["Paused"], at(15)).is_some());
    }

    #[test]
    fn an_all_clear_answers_a_notice() {
        let paused = told(&["Paused", "Timeout"], 0);
        assert_eq!(paused.clearing(["AccessDenied"], at(5)), None, "nobody was told of that");
        let clear = paused.clearing(["Paused"], at(5)).unwrap();
        assert_eq!(clear.reasons.keys().collect::<Vec<_>>(), ["Timeout"]);
        assert!(clear.clears(&paused));
        let soon = clear.clearing(["Timeout"], at(64)).unwrap();
        assert!(!soon.clears(&clear), "within the hour");
        assert!(
            soon.telling(["Timeout"], at(65)).is_some(),
            "it is back, though nobody was told that it had gone"
        );
        assert!(clear.clearing(["Timeout"], at(65)).unwrap().clears(&clear));
        assert!(clear.telling(["Paused"], at(60)).is_some(), "it is back");
    }

    proptest! {
        /// However many instances want to tell whatever, in any order of events.
        #[test]
        fn notices_of_a_kind_are_an_hour_apart(
            wishes in vec((select(vec!["a", "b", "c"]), 0i64..30, any::<bool>()), 0..200),
        ) {
            let (mut state, mut now) = (Told::default(), 0);
            let mut last = [-1_000, -1_000];
            for (code, step, delay) in wishes {
                now += step;
                let next = if delay { state.telling([code], at(now)) } else { state.clearing([code], at(now)) };
                if let Some(next) = next {
                    if !delay && !next.clears(&state) {
                        state = next;
                        continue;
                    }
                    let last = &mut last[usize::from(delay)];
                    prop_assert!(now - *last >= 60);
                    *last = now;
                    state = next.sent();
                }
            }
        }

        #[test]
        fn what_is_kept_is_bounded(codes in vec("[a-z]{1,4}", 0..100)) {
            let mut state = Told::default();
            for (number, code) in codes.iter().enumerate() {
                let now = at(60 * i64::try_from(number).unwrap());
                state = state.telling([code.as_str()], now).map_or(state, Told::sent);
                prop_assert!(state.reasons.len() <= KEPT);
            }
        }
    }
}
