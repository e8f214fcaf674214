//! Server-sent events that tell browsers what changed in the list or about a message.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::{
        IntoResponse, Sse,
        sse::{self, KeepAlive},
    },
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    access::{PAGE, Page, Shared},
    html,
    live::Change,
};

/// Changes are gathered for this long: a flood of mail makes few events of many rows.
const GATHER: Duration = Duration::from_millis(100);

/// Events of the list, none without data, since browsers drop those: `row` with a row as HTML, `total` with the number of messages, `stale` when
/// the page should be read anew.
pub(super) async fn rows(State(page): Shared) -> impl IntoResponse {
    events(page, |page, changes| {
        let mut places = BTreeSet::new();
        for change in changes {
            match change {
                Change::Message(_, place) => places.extend(place),
                Change::Everything => return vec![sse::Event::default().event("stale").data("read anew")],
            }
        }
        if places.is_empty() {
            return vec![];
        }
        let list = page.live.list();
        let shown = list.len().saturating_sub(PAGE);
        let rows = places.range(shown..).filter_map(|&place| list.at(place));
        let mut events: Vec<_> = rows
            .map(|row| sse::Event::default().event("row").data(html::list::row(row).into_string()))
            .collect();
        events.push(sse::Event::default().event("total").data(list.len().to_string()));
        events
    })
}

/// Events of one message: `changed`, when its page should be read anew.
pub(super) async fn message(State(page): Shared, Path(id): Path<String>) -> impl IntoResponse {
    events(page, move |_, changes| {
        let about = |change: &Change| match change {
            Change::Message(message, _) => **message == *id,
            Change::Everything => true,
        };
        if changes.iter().any(about) {
            vec![sse::Event::default().event("changed").data("read anew")]
        } else {
            vec![]
        }
    })
}

/// A stream of what `render` makes of the changes, gathered, until the browser goes away.
fn events(
    page: Arc<Page>,
    render: impl Fn(&Page, Vec<Change>) -> Vec<sse::Event> + Send + 'static,
) -> impl IntoResponse {
    let (sender, receiver) = mpsc::channel::<Result<sse::Event, Infallible>>(PAGE);
    let mut changes = page.live.changes();
    tokio::spawn(async move {
        loop {
            let first = tokio::select! {
                change = changes.recv() => change,
                () = sender.closed() => return,
            };
            tokio::time::sleep(GATHER).await;
            let mut gathered = vec![];
            let mut next = Ok(first);
            loop {
                match next {
                    Ok(Ok(change)) => gathered.push(change),
                    Ok(Err(RecvError::Lagged(_))) | Err(broadcast::error::TryRecvError::Lagged(_)) => {
                        gathered.push(Change::Everything);
                    }
                    Ok(Err(RecvError::Closed)) | Err(broadcast::error::TryRecvError::Closed) => return,
                    Err(broadcast::error::TryRecvError::Empty) => break,
                }
                next = changes.try_recv().map(Ok);
            }
            for event in render(&page, gathered) {
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())
}
