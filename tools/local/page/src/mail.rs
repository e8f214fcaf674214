//! What was sent, as whoever gets it reads it: forwarded mail, stubs, notices and digests; and the button that
//! has a digest made.

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::Markup;
use ses_forwarder_local_aws::{
    journal::{Entry, Event},
    schedules,
};
use time::OffsetDateTime;

use crate::{
    access::Shared,
    html,
    outgoing::{head, is_notice},
    problem::problem,
};

/// Notices in the list.
const NOTICES: usize = 100;

/// What was sent of one id.
pub(super) async fn page(State(page): Shared, Path(ses_id): Path<String>) -> Response {
    let entries = page.access.journal.entries();
    let sent = entries.iter().find_map(|entry| match &entry.event {
        Event::Sent { ses_id: found, from, destinations, path, .. } if *found == ses_id => {
            Some((entry, from, destinations, path))
        }
        _ => None,
    });
    let Some((entry, from, destinations, path)) = sent else {
        return problem(StatusCode::NOT_FOUND, "There is no such mail, or it was sent too long ago.");
    };
    let raw = head(path).await;
    let view = html::mail::View {
        stack: &page.access.deployment,
        about: entry.message_id.as_deref(),
        at: entry.at,
        from,
        destinations,
        raw: &raw,
    };
    html::mail::page(&view).into_response()
}

/// The notices, newest first.
pub(super) async fn notices(State(page): Shared) -> Markup {
    let entries = page.access.journal.entries();
    let is_notice = |entry: &&Arc<Entry>| matches!(&entry.event, Event::Sent { from, .. } if is_notice(from));
    let mut notices = Vec::new();
    for entry in entries.iter().rev().filter(is_notice).take(NOTICES) {
        if let Event::Sent { ses_id, destinations, path, .. } = &entry.event {
            let raw = head(path).await;
            notices.push(html::mail::Line {
                at: entry.at,
                ses_id,
                destinations,
                subject: html::mail::subject(&raw),
            });
        }
    }
    let due = schedules::due(&page.access.deployment, OffsetDateTime::now_utc());
    html::mail::notices(&page.access.deployment, &notices, !due.is_empty())
}

/// Has each schedule of the template run now.
pub(super) async fn run_schedules(State(page): Shared) -> Response {
    // The end of a period is a whole second, and what has been written in this one is to be in it.
    let at = OffsetDateTime::from(SystemTime::now()) + time::Duration::SECOND;
    let due = schedules::due(&page.access.deployment, at);
    if due.is_empty() {
        return problem(
            StatusCode::CONFLICT,
            "The template has no schedule that is switched on: see the parameter Digest.",
        );
    }
    for (function, event) in due {
        if let Err(error) = page.access.lambda.invoke(&function, event.to_string().into()).await {
            return problem(StatusCode::CONFLICT, &error.to_string());
        }
    }
    Redirect::to("/notices").into_response()
}
