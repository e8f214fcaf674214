//! How fast time passes in the services.

use std::time::Duration;

/// How fast the clocks of Lambda and SQS run: retry delays, visibility time-outs, batching windows.
/// A function's own time-out is never shortened, since the function's work isn't either.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace(f64);

impl Pace {
    /// As on AWS: the first retry comes after a minute.
    pub fn real() -> Self {
        Pace(1.0)
    }

    /// A thousand times as fast: the first retry comes after 60 ms.
    pub fn fast() -> Self {
        Pace(0.001)
    }

    /// How long `duration` takes here.
    pub fn scale(self, duration: Duration) -> Duration {
        duration.mul_f64(self.0)
    }
}
