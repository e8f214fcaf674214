//! Asynchronous invocation: an event waits for a free instance, is tried again one and two minutes after a
//! failure with the same request id, and goes to the dead-letter queue when its tries or its time are used up.
//!
//! Deviation: on Lambda a throttled event is put back and read again after a growing delay; here it
//! waits its turn. Destinations, and dead letters to anything other than SQS, are not played.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ses_forwarder_iam::Call;

use super::{
    attempt::{self, Means, note_for_each, note_returned},
    error::InvocationError,
    pool::Pool,
    work::Work,
};
use crate::{journal::Event, sqs::Attribute};

/// Before the second attempt and before the third.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// What a dead letter says of the error, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
const MAX_ERROR_MESSAGE: usize = 1024;

/// Why an event is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    RetriesExhausted,
    EventAgeExceeded,
}

/// Sees an event through, whatever becomes of it.
pub(super) async fn see_through(means: Means, pool: Arc<Pool>, work: Work) {
    let function = pool.function();
    let mut clock = Clock { start: Instant::now(), skipped: Duration::ZERO };
    let mut attempt = 0;
    let mut last_error = None;
    let condition = loop {
        let age_left = function.maximum_event_age.saturating_sub(clock.elapsed());
        let Ok(permit) = tokio::time::timeout(age_left, pool.permit()).await else {
            break Condition::EventAgeExceeded;
        };
        attempt += 1;
        let report = attempt::attempt(&pool, &means.journal, &work, permit, attempt).await;
        let delay = match (&report.result, RETRY_DELAYS.get(attempt as usize - 1)) {
            (Err(_), Some(delay)) if attempt <= function.maximum_retry_attempts => Some(*delay),
            _ => None,
        };
        let too_old = delay.is_some_and(|delay| clock.elapsed() + delay >= function.maximum_event_age);
        let retry_in = delay.filter(|_| !too_old).map(|delay| means.pace.scale(delay));
        note_returned(&pool, &means.journal, &work.messages, &work.request_id, attempt, &report, retry_in);
        match report.result {
            Ok(_) => return,
            Err(error) => last_error = Some(error),
        }
        match delay {
            None => break Condition::RetriesExhausted,
            Some(_) if too_old => break Condition::EventAgeExceeded,
            Some(delay) => clock.sleep(delay, means.pace.scale(delay)).await,
        }
    };
    give_up(&means, &pool, &work, condition, last_error.as_ref());
}

/// An event's age, as if delays were not shortened.
struct Clock {
    start: Instant,
    skipped: Duration,
}

impl Clock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed() + self.skipped
    }

    async fn sleep(&mut self, nominal: Duration, real: Duration) {
        tokio::time::sleep(real).await;
        self.skipped += nominal.saturating_sub(real);
    }
}

/// Keeps an event where the template says, in the function's name and if its role allows.
fn give_up(means: &Means, pool: &Pool, work: &Work, condition: Condition, error: Option<&InvocationError>) {
    let function = pool.function();
    let reason = error.map_or_else(|| format!("{condition:?}"), ToString::to_string);
    let lost = |error| Event::Lost { function: function.name.clone(), error };
    let event = match &function.dead_letter_arn {
        None => lost(reason),
        Some(queue) => match send(means, pool, queue, work, error) {
            Ok(queue) => Event::DeadLettered { queue, error: reason },
            Err(refusal) => lost(format!("{reason}; and it could not be kept: {refusal}")),
        },
    };
    note_for_each(&means.journal, &work.messages, &event);
}

/// Puts an event on a queue and returns the queue's name.
fn send(
    means: &Means,
    pool: &Pool,
    queue_arn: &str,
    work: &Work,
    error: Option<&InvocationError>,
) -> Result<String, String> {
    let call =
        Call { action: "sqs:SendMessage".into(), resource: queue_arn.to_owned(), context: BTreeMap::new() };
    pool.function().role.check(&call)?;
    let queue = means.queues.by_arn(queue_arn).ok_or_else(|| format!("there is no queue {queue_arn}"))?;
    let body = String::from_utf8_lossy(&work.payload);
    let attributes = dead_letter_attributes(work, error);
    queue.send_traced(&body, attributes, Some(work.trace.to_string()), Duration::ZERO);
    Ok(queue.name().to_owned())
}

fn dead_letter_attributes(work: &Work, error: Option<&InvocationError>) -> BTreeMap<String, Attribute> {
    let attribute =
        |data_type: &str, value: &str| Attribute { data_type: data_type.into(), value: value.into() };
    let mut attributes = BTreeMap::from([
        ("RequestID".to_owned(), attribute("String", &work.request_id)),
        // A function that failed was still invoked: HTTP 200.
        ("ErrorCode".to_owned(), attribute("Number", if error.is_some() { "200" } else { "429" })),
    ]);
    // SQS refuses an empty attribute.
    let message = error.map_or("", |error| truncate(&error.error_message, MAX_ERROR_MESSAGE));
    if !message.is_empty() {
        attributes.insert("ErrorMessage".to_owned(), attribute("String", message));
    }
    attributes
}

fn truncate(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::lambda::trace::Trace;

    fn work() -> Work {
        Work {
            request_id: "r-1".into(),
            payload: Bytes::from_static(b"{\"a\":1}"),
            messages: vec![],
            trace: Trace::of(None),
        }
    }

    fn error(message: &str) -> InvocationError {
        InvocationError::new("Transient", message.to_owned())
    }

    #[test]
    fn a_dead_letter_says_what_failed() {
        let text =
            |data_type: &str, value: &str| Attribute { data_type: data_type.into(), value: value.into() };
        assert_eq!(
            dead_letter_attributes(&work(), Some(&error("no"))),
            BTreeMap::from([
                ("ErrorCode".to_owned(), text("Number", "200")),
                ("ErrorMessage".to_owned(), text("String", "no")),
                ("RequestID".to_owned(), text("String", "r-1")),
            ])
        );
        assert_eq!(
            dead_letter_attributes(&work(), None),
            BTreeMap::from([
                ("ErrorCode".to_owned(), text("Number", "429")),
                ("RequestID".to_owned(), text("String", "r-1")),
            ])
        );
        let long = dead_letter_attributes(&work(), Some(&error(&format!("x{}", "é".repeat(1000)))));
        assert_eq!(long["ErrorMessage"].value, format!("x{}", "é".repeat(511)));
    }
}
