//! One attempt at an event, and what the journal is told of it.

use std::{sync::Arc, time::Duration};

use super::{
    instance::Report,
    pool::{Permit, Pool},
    work::Work,
};
use crate::{
    journal::{Event, Journal},
    pace::Pace,
    sqs::Queues,
};

/// What seeing an event through takes besides the function.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub(super) queues: Queues,
    pub(super) journal: Arc<Journal>,
    pub(super) pace: Pace,
}

/// Runs one attempt and tells the journal that it begins.
pub(super) async fn attempt(
    pool: &Arc<Pool>,
    journal: &Journal,
    work: &Work,
    permit: Permit,
    attempt: u32,
) -> Report {
    let event = Event::Invoked {
        function: pool.function().name.clone(),
        request_id: work.request_id.clone(),
        attempt,
    };
    note_for_each(journal, &work.messages, &event);
    pool.run(work, permit).await
}

/// Tells the journal that an attempt ended.
pub(super) fn note_returned(
    pool: &Pool,
    journal: &Journal,
    messages: &[String],
    request_id: &str,
    attempt: u32,
    report: &Report,
    retry_in: Option<Duration>,
) {
    let result = match &report.result {
        Ok(answer) => Ok(String::from_utf8_lossy(answer).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    let event = Event::Returned {
        function: pool.function().name.clone(),
        request_id: request_id.to_owned(),
        attempt,
        result,
        retry_in,
        took: report.took,
        memory: report.memory,
    };
    note_for_each(journal, messages, &event);
}

/// Notes an event once for each message it is about, or once if it is about none.
pub(super) fn note_for_each(journal: &Journal, messages: &[String], event: &Event) {
    if messages.is_empty() {
        journal.note(None, event.clone());
    }
    for message in messages {
        journal.note(Some(message), event.clone());
    }
}
