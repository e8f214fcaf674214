//! How fast time passes in the services.
//!
//! There is one clock: retry delays, windows, visibility time-outs, retention, the age of messages and the
//! rates and quotas of SES all go by it, so that four days pass in minutes. A function's own time-out is
//! never shortened, since the function's work isn't either, and what it reads of the time is the machine's
//! clock. So a timestamp that a function is given lies as far back from that clock as the thing is old by
//! this one: the ages that it computes are right, and so is all that follows from them.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How fast the clocks of Lambda, SQS and SES run, by the part of a second that a second takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace(f64);

impl Pace {
    /// As on AWS: an hour takes an hour.
    pub fn real() -> Self {
        Pace(1.0)
    }

    /// A thousand times as fast: a minute takes 60 ms.
    pub fn fast() -> Self {
        Pace::times(1_000)
    }

    /// So many times as fast as on AWS.
    pub fn times(factor: u32) -> Self {
        Pace(1.0 / f64::from(factor.max(1)))
    }

    /// How long `duration` takes here.
    pub fn scale(self, duration: Duration) -> Duration {
        duration.mul_f64(self.0)
    }

    /// How much time has passed since then.
    pub fn since(self, then: Instant) -> Duration {
        then.elapsed().div_f64(self.0)
    }

    /// What the machine's clock would have shown then, had it always run at this pace.
    pub fn timestamp(self, then: Instant) -> SystemTime {
        SystemTime::now().checked_sub(self.since(then)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
