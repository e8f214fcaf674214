//! One message: gathers what its page shows from the journal, the bucket and what was sent.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use ses_forwarder::{delivery::Reason, outcome::Outcome};
use ses_forwarder_local_aws::journal::{Entry, Event};
use ses_forwarder_local_template::deployment::{Deployment, RuleAction};

use crate::{
    access::{Page, Shared},
    html::{
        self,
        message::{Outgoing, Record},
    },
    outgoing::{head, is_notice, sent_as},
    problem::problem,
    way,
};

/// Notices looked through for one about a message.
const NOTICES: usize = 50;

/// The message's page.
pub(super) async fn page(State(page): Shared, Path(id): Path<String>) -> Response {
    let entries = page.access.journal.of(&id);
    let Some(row) = page.live.list().get(&id).cloned() else {
        return problem(StatusCode::NOT_FOUND, "There is no such message, or it came too long ago.");
    };
    let original = stored(&page, &entries).await;
    let (forwarded, mut notices) = sent(&entries).await;
    let others = if entries.iter().any(|entry| matches!(entry.event, Event::DeadLettered { .. })) {
        page.access.journal.entries()
    } else {
        vec![]
    };
    let others: Vec<_> = others.into_iter().filter(|entry| entry.message_id.is_none()).collect();
    notices.extend(shared_notices(&others, &id).await);
    let published = entries.iter().chain(&others).filter_map(|entry| match &entry.event {
        Event::Published { topic, subject, text } if entry.message_id.is_some() || text.contains(&id) => {
            Some((topic.as_str(), subject.as_str(), text.as_str()))
        }
        _ => None,
    });
    html::message::page(&html::message::View {
        stack: &page.access.deployment,
        row: &row,
        steps: &way::steps(&entries),
        original: original.as_deref(),
        forwarded: &forwarded,
        notices: &notices,
        published: &published.collect::<Vec<_>>(),
        index: record(&page, &entries, "INDEX_PREFIX").await,
        outcome: record(&page, &entries, "OUTCOME_PREFIX").await,
        releasable: releasable(&page, &id).await,
        answerable: answerable(&page.access.deployment),
        refused: refused_key(&page, &entries, &id).is_some(),
    })
    .into_response()
}

/// The message as it is stored.
pub(super) async fn original(State(page): Shared, Path(id): Path<String>) -> Response {
    download(stored(&page, &page.access.journal.of(&id)).await, &id)
}

/// What was sent.
pub(super) async fn outgoing(State(page): Shared, Path((id, ses_id)): Path<(String, String)>) -> Response {
    download(sent_as(&page, &id, &ses_id).await.map(|(body, _)| body), &ses_id)
}

/// What SES refused.
pub(super) async fn refused(State(page): Shared, Path(id): Path<String>) -> Response {
    let entries = page.access.journal.of(&id);
    let body = match refused_key(&page, &entries, &id) {
        Some((bucket, key)) => read(&page, bucket, key).await,
        None => None,
    };
    download(body, &id)
}

/// Mail as a file: a browser must not show it as anything else.
fn download(body: Option<Bytes>, name: &str) -> Response {
    let Some(body) = body else { return problem(StatusCode::NOT_FOUND, "It is not there (any more).") };
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let disposition = format!("attachment; filename=\"{name}.eml\"");
    ([(header::CONTENT_TYPE, "message/rfc822".to_owned()), (header::CONTENT_DISPOSITION, disposition)], body)
        .into_response()
}

/// The archived notification of a message, which invokes the function again as it stands.
pub(super) async fn notification(page: &Page, id: &str) -> Option<Bytes> {
    let entries = page.access.journal.of(id);
    let (bucket, key) = record_key(page, &entries, "INDEX_PREFIX")?;
    read(page, bucket, key).await
}

/// What keeps a message back that its owner may have sent all the same, by its outcome.
pub(super) async fn releasable(page: &Page, id: &str) -> Option<Reason> {
    let entries = page.access.journal.of(id);
    let (bucket, key) = record_key(page, &entries, "OUTCOME_PREFIX")?;
    let outcome: Outcome = serde_json::from_slice(&read(page, bucket, key).await?).ok()?;
    outcome.releasable()
}

/// Whether what is forwarded can be answered from the alias.
fn answerable(deployment: &Deployment) -> bool {
    let replies = deployment.functions.iter().find_map(|function| function.environment.get("REPLIES"));
    replies.is_some_and(|replies| replies == "on")
}

/// The function that a receipt rule invokes.
pub(super) fn forwarder(deployment: &Deployment) -> Option<&str> {
    deployment.rules.iter().flat_map(|rule| &rule.actions).find_map(|action| match action {
        RuleAction::Lambda { function_arn, .. } => Some(function_arn.as_str()),
        RuleAction::S3 { .. } => None,
    })
}

async fn stored(page: &Page, entries: &[Arc<Entry>]) -> Option<Bytes> {
    let (bucket, key) = entries.iter().find_map(|entry| match &entry.event {
        Event::Stored { bucket, key } => Some((bucket.as_str(), key.as_str())),
        _ => None,
    })?;
    read(page, bucket, key).await
}

async fn read(page: &Page, bucket: &str, key: &str) -> Option<Bytes> {
    page.access.services.buckets().read(bucket, key).await.ok().flatten()
}

/// The object that the functions were told to keep under a prefix, where a call named one.
fn record_key<'e>(page: &Page, entries: &'e [Arc<Entry>], variable: &str) -> Option<(&'e str, &'e str)> {
    let function = page.access.deployment.functions.iter().find(|f| f.environment.contains_key(variable))?;
    let prefix = function.environment[variable].as_str();
    way::objects(entries).into_iter().find(|(_, key)| key.starts_with(prefix))
}

/// The outgoing message that SES refused: notes about notices are kept under that prefix too.
fn refused_key<'e>(page: &Page, entries: &'e [Arc<Entry>], id: &str) -> Option<(&'e str, &'e str)> {
    record_key(page, entries, "ERROR_PREFIX").filter(|(_, key)| key.ends_with(&format!("/{id}.eml")))
}

async fn record(page: &Page, entries: &[Arc<Entry>], variable: &str) -> Option<Record> {
    let (bucket, key) = record_key(page, entries, variable)?;
    let body = read(page, bucket, key).await?;
    let text = match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) => format!("{value:#}"),
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    Some(Record { key: key.to_owned(), text })
}

/// What was sent while a function worked on the message: forwarded mail, and notices.
async fn sent(entries: &[Arc<Entry>]) -> (Vec<Outgoing<'_>>, Vec<Outgoing<'_>>) {
    let (mut forwarded, mut notices) = (vec![], vec![]);
    for entry in entries {
        if let Event::Sent { ses_id, from, destinations, path, .. } = &entry.event {
            let to = if is_notice(from) { &mut notices } else { &mut forwarded };
            to.push(Outgoing { ses_id, from, destinations, head: head(path).await });
        }
    }
    (forwarded, notices)
}

/// Notices about several messages, this one among them.
async fn shared_notices<'e>(others: &'e [Arc<Entry>], id: &str) -> Vec<Outgoing<'e>> {
    let mut notices = vec![];
    let sent = others.iter().rev().filter_map(|entry| match &entry.event {
        Event::Sent { ses_id, from, destinations, path, .. } => Some((ses_id, from, destinations, path)),
        _ => None,
    });
    for (ses_id, from, destinations, path) in sent.take(NOTICES) {
        let head = head(path).await;
        if head.windows(id.len()).any(|window| window == id.as_bytes()) {
            notices.push(Outgoing { ses_id, from, destinations, head });
        }
    }
    notices
}
