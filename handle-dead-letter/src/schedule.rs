//! When a dead letter is tried again. Pure.
//!
//! The model is an MTA's queue: the older a letter, the longer it waits, until it is given up
//! (`maximal_queue_lifetime` of Postfix). All that is asked is the letter's age, which the queue knows;
//! so the schedule needs no state, and a letter that is handed out once more than it should be is tried
//! once more and nothing else.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// From this age on, wait so long: the first try is over when a letter is made, the next follow 5, 20, 50
/// minutes and about 2, 4 and 8 hours later, and so on.
const WAITS: [(Duration, Duration); 6] = [
    (Duration::ZERO, Duration::from_secs(5 * 60)),
    (Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)),
    (Duration::from_secs(20 * 60), Duration::from_secs(30 * 60)),
    (Duration::from_secs(50 * 60), HOUR),
    (Duration::from_secs(110 * 60), Duration::from_secs(2 * 60 * 60)),
    (Duration::from_secs(230 * 60), LONGEST),
];

/// Longest wait. SQS hides a message for twelve hours at most, counted from when it was received.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
pub const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);

/// Jitter, in a part of the wait. It only adds, so that a letter is never back before its time.
const JITTER: f64 = 0.1;

/// Wait of a letter that there was no time for.
const SOON: Duration = MINUTE;

/// How long a letter that has been tried, or is not to be tried now, waits for its next try.
pub fn wait(age: Duration) -> Duration {
    let (_, wait) = WAITS.iter().rev().find(|(from, _)| age >= *from).unwrap_or(&WAITS[0]);
    jittered(*wait)
}

/// How long a letter waits that should have been tried by now.
pub fn soon() -> Duration {
    jittered(SOON)
}

/// Whether a letter has come of age for a try: all have that have waited once.
pub fn is_due(age: Duration) -> bool {
    age >= WAITS[1].0
}

/// The least age of a letter that is received for the `count`-th time, for a queue that does not say
/// when the letter was sent.
pub fn age_at(count: u32) -> Duration {
    let mut age = Duration::ZERO;
    for _ in 1..count.min(1_000) {
        age += WAITS.iter().rev().find(|(from, _)| age >= *from).map_or(LONGEST, |(_, wait)| *wait);
    }
    age
}

/// The same duration and up to a tenth more.
pub fn jittered(wait: Duration) -> Duration {
    wait + wait.mul_f64(JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minutes(count: u64) -> Duration {
        MINUTE * u32::try_from(count).unwrap()
    }

    #[test]
    fn waits_grow_up_to_four_hours() {
        let cases =
            [(0, 5), (4, 5), (5, 15), (19, 15), (20, 30), (50, 60), (110, 120), (230, 240), (6_000, 240)];
        for (age, expected) in cases {
            let (wait, expected) = (wait(minutes(age)), minutes(expected));
            assert!(wait >= expected && wait <= expected.mul_f64(1.0 + JITTER), "{age} minutes: {wait:?}");
        }
    }

    #[test]
    fn a_count_of_deliveries_tells_the_least_age() {
        let ages = [0, 0, 5, 20, 50, 110, 230, 470, 710];
        for (count, age) in ages.into_iter().enumerate() {
            assert_eq!(age_at(u32::try_from(count).unwrap()), minutes(age), "{count}");
        }
        assert!(age_at(u32::MAX) > 96 * HOUR);
    }

    #[test]
    fn a_letter_is_due_once_it_has_waited() {
        assert!(!is_due(minutes(4)));
        assert!(is_due(minutes(5)));
    }

    #[test]
    fn letters_that_fail_together_do_not_come_back_together() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|_| wait(Duration::ZERO)).collect();
        assert!(waits.len() > 90, "{} different waits of 100", waits.len());
    }

    proptest! {
        #[test]
        fn a_letter_is_never_back_before_its_time_nor_later_than_sqs_hides_it(age in 0u64..1_000_000) {
            let age = Duration::from_secs(age);
            let wait = wait(age);
            prop_assert!(wait >= minutes(5) && wait < 12 * HOUR);
            prop_assert!(is_due(age + wait));
        }
    }
}
