//! Calls to AWS that may fail: how long they may take, which failures are worth another try, and
//! what is said about the ones that are not.
//!
//! Three limits hold, from the inside out:
//!
//! 1. An attempt ends after [`ATTEMPT`] (more for a large body), so that a hang costs one attempt.
//! 2. [`persist`] makes up to [`ATTEMPTS`] attempts for what may pass, or more where that prevents a
//!    duplicate, and none after one that may have sent something. The SDK makes none of its own.
//! 3. Everything ends at the [`Deadline`], before Lambda would kill the process without a word.
//!
//! `Timeout` of the functions in `template.yaml` is chosen for this: three attempts at reading, two
//! at sending 40 MB and the record of it fit.

use std::{
    cell::RefCell,
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use aws_smithy_runtime_api::client::{
    orchestrator::HttpResponse,
    result::{DispatchFailure, SdkError},
};
use aws_smithy_types::{
    error::{display::DisplayErrorContext, metadata::ProvideErrorMetadata},
    timeout::TimeoutConfig,
};
use backon::{ExponentialBuilder, Retryable};
// The clock that waiting goes by.
use tokio::time::Instant;

/// Time for one attempt at a call with a small body. S3 and SES answer in tens of milliseconds.
pub const ATTEMPT: Duration = Duration::from_secs(5);

/// Time to connect.
pub const CONNECT: Duration = Duration::from_secs(3);

/// A body that goes slower than this, in bytes a second, will not arrive in time. Lambda's network
/// and SES's own limit, 40 MB a second, are an order of magnitude above.
const SLOWEST: u64 = 4 * 1024 * 1024;

/// Attempts at a call that fails in a way that may pass.
pub const ATTEMPTS: usize = 3;

/// Kept free at the end of sending to record it: an attempt, another, and the wait between them.
const RECORD: Duration = Duration::from_secs(12);

/// Kept free at the end of an invocation to report what happened.
const MARGIN: Duration = Duration::from_secs(1);

/// Longest time a Lambda function may run; a deadline further away is a clock that is wrong.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
pub const MAX_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// Shortest wait after the first attempt.
const FIRST: Duration = Duration::from_millis(250);

/// Shortest wait after many.
const LONGEST: Duration = Duration::from_secs(2);

/// How many times as long to wait after a call that is throttled: what it needs is time.
const THROTTLED: u32 = 4;

/// Time for one attempt at a call with a body of this many bytes.
pub fn attempt(bytes: u64) -> Duration {
    ATTEMPT + Duration::from_secs(bytes / SLOWEST)
}

/// The SDK's time-outs, with this time for an attempt.
pub fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).build()
}

/// When the calls of an invocation have to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Shortly before the time at which Lambda ends the invocation.
    pub fn before(end: SystemTime) -> Deadline {
        let left = end.duration_since(SystemTime::now()).unwrap_or_default().min(MAX_INVOCATION);
        Deadline::after(left.saturating_sub(MARGIN))
    }

    /// After a time from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    /// When sending has to be over, so that there is time left to record it.
    #[must_use]
    pub fn for_sending(self) -> Deadline {
        Deadline::after(self.left() - RECORD.min(self.left() / 4))
    }

    /// What is left of it.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// What a failure calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// May pass by itself: 5xx, a time-out, a broken connection, and whatever nobody knows.
    Transient,
    /// Passes by waiting: too many requests.
    Throttled,
    /// Passes by itself, but not within an invocation: sending is paused, the day's quota is used up.
    Paused,
    /// The same request fails again.
    Permanent,
    /// The same request succeeds once someone has changed something: a permission, a domain to
    /// verify, a configuration set.
    Configuration,
    /// There is no such object.
    NotFound,
}

/// A call that failed, or whose answer never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// Operation and, if it has one, target, such as `GetObject s3://mail/messages/x`.
    pub step: String,
    /// The service's name for the error, or `Timeout`, `NotConnected`, `ConnectionFailure` and the like.
    pub code: String,
    /// What the service said.
    pub message: String,
    /// What it calls for.
    pub kind: Kind,
    /// Whether the call may have taken effect all the same: it was made, and no answer came.
    pub in_doubt: bool,
}

impl CallError {
    /// A failure that no service reported.
    pub fn new(step: impl Into<String>, kind: Kind, code: &str, message: impl Into<String>) -> CallError {
        CallError { step: step.into(), code: code.to_owned(), message: message.into(), kind, in_doubt: false }
    }

    /// The same of a call that may have taken effect all the same.
    #[must_use]
    pub fn in_doubt(self) -> CallError {
        CallError { in_doubt: true, ..self }
    }

    /// From what the SDK says; services whose names need another [`Kind`] correct it afterwards.
    pub fn from_sdk<E>(step: impl Into<String>, error: &SdkError<E, HttpResponse>) -> CallError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let step = step.into();
        let service = match error {
            SdkError::ServiceError(service) => service,
            SdkError::TimeoutError(_) => {
                return CallError::new(step, Kind::Transient, "Timeout", "no answer in time").in_doubt();
            }
            SdkError::DispatchFailure(failure) => {
                let unknown = failure.is_user() || failure.is_other();
                let message = if unknown {
                    DisplayErrorContext(error).to_string()
                } else {
                    innermost(error).to_string()
                };
                if is_unconnected(failure) {
                    return CallError::new(step, Kind::Transient, "NotConnected", message);
                }
                let code = if failure.is_timeout() { "Timeout" } else { "ConnectionFailure" };
                let kind = if failure.is_user() { Kind::Configuration } else { Kind::Transient };
                return CallError::new(step, kind, code, message).in_doubt();
            }
            SdkError::ResponseError(_) => {
                let message = innermost(error).to_string();
                return CallError::new(step, Kind::Transient, "UnreadableResponse", message).in_doubt();
            }
            _ => {
                let message = DisplayErrorContext(error).to_string();
                return CallError::new(step, Kind::Configuration, "RequestNotBuilt", message);
            }
        };
        let status = service.raw().status().as_u16();
        let metadata = service.err().meta();
        let code = metadata.code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
        let message = metadata.message().unwrap_or("no message").to_owned();
        let kind = kind_of(&code, status);
        CallError { step, code, message, kind, in_doubt: false }
    }

    /// Whether another attempt may succeed without anyone doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient | Kind::Throttled | Kind::Paused)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}: {}", self.step, self.code, self.message)
    }
}

impl Error for CallError {}

/// By code first, since a status says less: SES uses 400 for a quota. What nobody has heard of may pass.
fn kind_of(code: &str, status: u16) -> Kind {
    match (code, status) {
        ("NoSuchKey" | "NotFound", _) => Kind::NotFound,
        ("LimitExceededException", _) => Kind::Paused,
        (code, _) if aws_runtime::retries::classifiers::THROTTLING_ERRORS.contains(&code) => Kind::Throttled,
        (_, 429) => Kind::Throttled,
        ("MessageRejected" | "BadRequestException", _) | (_, 413) => Kind::Permanent,
        (_, 401..=404 | 407) => Kind::Configuration,
        _ => Kind::Transient,
    }
}

/// Whether there was no connection, so that nobody can have heard of the call.
fn is_unconnected(failure: &DispatchFailure) -> bool {
    let mut error = failure.as_connector_error().map(|error| error as &(dyn Error + 'static));
    while let Some(this) = error {
        if this.downcast_ref().is_some_and(hyper_util::client::legacy::Error::is_connect) {
            return true;
        }
        error = this.source();
    }
    false
}

/// The cause at the end of the chain, which names the system's error: "connection refused".
fn innermost(error: &dyn Error) -> &dyn Error {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// What came of a call that sends something. It took effect if the status said so, even if the rest of
/// the answer was lost: then there is no output.
pub fn sent<T, E>(step: &str, result: Result<T, SdkError<E, HttpResponse>>) -> Result<Option<T>, CallError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match result {
        Ok(output) => Ok(Some(output)),
        Err(SdkError::ResponseError(lost)) if lost.raw().status().is_success() => {
            tracing::warn!(step, "done, but the answer broke off");
            Ok(None)
        }
        Err(error) => Err(CallError::from_sdk(step, &error)),
    }
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Up to [`ATTEMPTS`], while it may pass.
    Usual,
    /// The same, but none after one that may have taken effect: for what sends something.
    Sending,
    /// As many as it takes until the deadline, while it may pass: for what prevents a duplicate.
    Hard,
}

impl Persistence {
    /// The waits between attempts, as many as there may be: twice as long each time, and by chance up to twice that,
    /// so that those who failed together do not come together again.
    /// <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>
    fn waits(self) -> ExponentialBuilder {
        let waits = ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST).with_jitter();
        match self {
            Persistence::Usual | Persistence::Sending => waits.with_max_times(ATTEMPTS - 1),
            Persistence::Hard => waits.without_max_times(),
        }
    }

    /// Whether there may be another attempt after one that failed so.
    fn goes_on(self, error: &CallError) -> bool {
        let may_pass = matches!(error.kind, Kind::Transient | Kind::Throttled);
        may_pass && !(self == Persistence::Sending && error.in_doubt)
    }
}

/// Makes a call until it succeeds, fails in a way that persistence does not cover, or the deadline
/// comes. `step` names it should the deadline come first.
pub async fn persist<T>(
    step: &str,
    deadline: Deadline,
    persistence: Persistence,
    call: impl AsyncFn() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let last = RefCell::new(None);
    let attempt = async || {
        if deadline.left().is_zero() {
            return Err(last.take().unwrap_or_else(|| {
                CallError::new(step, Kind::Transient, "Timeout", "there was no time left to begin")
            }));
        }
        let in_time = tokio::time::timeout(deadline.left(), call()).await;
        in_time.unwrap_or_else(|_| {
            let message = "no answer in the time that was left";
            let timeout = || CallError::new(step, Kind::Transient, "Timeout", message);
            Err(last.take().unwrap_or_else(timeout).in_doubt())
        })
    };
    attempt
        .retry(persistence.waits())
        .sleep(tokio::time::sleep)
        .when(|error| persistence.goes_on(error))
        .adjust(|error, wait| {
            let factor = if error.kind == Kind::Throttled { THROTTLED } else { 1 };
            wait.map(|wait| wait * factor).filter(|wait| *wait < deadline.left())
        })
        .notify(|error, wait| {
            tracing::warn!(step, code = %error.code, "trying again in {} ms", wait.as_millis());
            last.replace(Some(error.clone()));
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeSet};

    use super::*;

    #[test]
    fn a_failure_is_told_by_its_name_and_else_by_its_status() {
        let cases = [
            ("TooManyRequestsException", 429, Kind::Throttled),
            ("ThrottlingException", 400, Kind::Throttled),
            ("SlowDown", 503, Kind::Throttled),
            ("LimitExceededException", 400, Kind::Paused),
            ("InternalError", 500, Kind::Transient),
            ("ServiceUnavailable", 503, Kind::Transient),
            ("RequestTimeout", 400, Kind::Transient),
            ("HTTP 502", 502, Kind::Transient),
            ("HTTP 429", 429, Kind::Throttled),
            ("NoSuchKey", 404, Kind::NotFound),
            ("NoSuchBucket", 404, Kind::Configuration),
            ("NotFoundException", 404, Kind::Configuration),
            ("AccessDenied", 403, Kind::Configuration),
            ("MessageRejected", 400, Kind::Permanent),
            ("BadRequestException", 400, Kind::Permanent),
            ("HTTP 413", 413, Kind::Permanent),
            ("ConditionalRequestConflict", 409, Kind::Transient),
            ("UnheardOfException", 400, Kind::Transient),
            ("HTTP 418", 418, Kind::Transient),
        ];
        for (code, status, kind) in cases {
            assert_eq!(kind_of(code, status), kind, "{code} with status {status}");
        }
    }

    #[test]
    fn a_deadline_ends_before_the_invocation_and_is_never_absurd() {
        let before = Instant::now();
        let minute = Deadline::before(SystemTime::now() + Duration::from_secs(60)).left();
        let passed = before.elapsed();
        let most = Duration::from_secs(59);
        assert!(minute <= most && minute + passed >= most, "{minute:?}, of which {passed:?} have passed");
        assert_eq!(Deadline::before(SystemTime::UNIX_EPOCH).left(), Duration::ZERO);
        let absurd = SystemTime::UNIX_EPOCH + Duration::from_secs(99_999_999_999);
        assert!(Deadline::before(absurd).left() <= MAX_INVOCATION);
    }

    /// Calls that fail in turn with these kinds, then succeed: what is returned, and after how many.
    async fn outcome(
        kinds: &[Kind],
        persistence: Persistence,
        deadline: Duration,
    ) -> (Result<&'static str, Kind>, usize) {
        let calls = Cell::new(0);
        let result = persist("Test", Deadline::after(deadline), persistence, async || {
            let call = calls.replace(calls.get() + 1);
            kinds.get(call).map_or(Ok("done"), |kind| Err(CallError::new("Test", *kind, "Code", "")))
        })
        .await;
        (result.map_err(|error| error.kind), calls.get())
    }

    #[tokio::test(start_paused = true)]
    async fn persistence_covers_what_may_pass() {
        use Kind::{Configuration, Paused, Permanent, Throttled, Transient};
        let long = Duration::from_secs(600);
        let cases = [
            (&[][..], Persistence::Usual, long, Ok("done"), 1),
            (&[Throttled, Transient], Persistence::Usual, long, Ok("done"), 3),
            (&[Transient; 9], Persistence::Usual, long, Err(Transient), 3),
            (&[Throttled; 9], Persistence::Sending, long, Err(Throttled), 3),
            (&[Transient, Throttled, Transient, Transient], Persistence::Hard, long, Ok("done"), 5),
            (&[Permanent], Persistence::Hard, long, Err(Permanent), 1),
            (&[Configuration], Persistence::Hard, long, Err(Configuration), 1),
            (&[Paused], Persistence::Hard, long, Err(Paused), 1),
            (&[Throttled; 9], Persistence::Usual, Duration::from_millis(500), Err(Throttled), 1),
        ];
        for (kinds, persistence, deadline, result, calls) in cases {
            let got = outcome(kinds, persistence, deadline).await;
            assert_eq!(got, (result, calls), "{kinds:?} {persistence:?} {deadline:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_sent_is_not_sent_again() {
        for (in_doubt, expected) in [(false, 3), (true, 1)] {
            let calls = Cell::new(0);
            let failing = async || {
                calls.set(calls.get() + 1);
                let error = CallError::new("Test", Kind::Transient, "Reset", "");
                Err::<(), _>(CallError { in_doubt, ..error })
            };
            let deadline = Deadline::after(Duration::from_secs(600));
            assert!(persist("Test", deadline, Persistence::Sending, failing).await.is_err());
            assert_eq!(calls.get(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_differ_and_grow_to_a_bound() {
        for (kind, first, longest) in
            [(Kind::Transient, FIRST, LONGEST), (Kind::Throttled, 4 * FIRST, 4 * LONGEST)]
        {
            let mut firsts = BTreeSet::new();
            for _ in 0..10 {
                let at = RefCell::new(vec![Instant::now()]);
                let failing = async || {
                    at.borrow_mut().push(Instant::now());
                    Err::<(), _>(CallError::new("Test", kind, "Code", ""))
                };
                persist("Test", Deadline::after(MAX_INVOCATION), Persistence::Hard, failing)
                    .await
                    .unwrap_err();
                let at = at.borrow();
                let waits: Vec<_> = at.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
                for (number, wait) in (0..).zip(&waits) {
                    let shortest = longest.min(first * 2_u32.pow(number.min(8)));
                    // The clock has whole milliseconds.
                    let longest = 2 * shortest + Duration::from_millis(2);
                    assert!(*wait >= shortest && *wait <= longest, "{kind:?}, {number}: {wait:?}");
                }
                firsts.insert(waits[0]);
            }
            assert!(firsts.len() > 1, "{firsts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_no_time_for_is_not_begun() {
        let never = async || panic!("it was begun");
        let error = persist::<()>("Test", Deadline::after(Duration::ZERO), Persistence::Sending, never).await;
        assert_eq!(
            error,
            Err(CallError::new("Test", Kind::Transient, "Timeout", "there was no time left to begin"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_ends_at_the_deadline() {
        let hang = persist("Test", Deadline::after(ATTEMPT), Persistence::Hard, async || {
            std::future::pending::<Result<(), CallError>>().await
        });
        let expected =
            CallError::new("Test", Kind::Transient, "Timeout", "no answer in the time that was left")
                .in_doubt();
        assert_eq!(hang.await, Err(expected));
    }
}
