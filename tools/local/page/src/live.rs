//! The list as it is now, and server-sent events that tell browsers what changed in it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    extract::{Path, State},
    response::{
        IntoResponse, Sse,
        sse::{self, KeepAlive},
    },
};
use ses_forwarder_local_aws::journal::{Entry, Journal};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{PAGE, Page, Shared, html, list::List};

/// Changes are gathered for this long: a flood of mail makes few events of many rows.
const GATHER: Duration = Duration::from_millis(100);

/// Changes that a browser may lag behind before it is told to read the page anew.
const BACKLOG: usize = 4_096;

/// Something that changed.
#[derive(Debug, Clone)]
enum Change {
    /// What is known of a message, and its row in the list if that place is given.
    Message(Arc<str>, Option<usize>),
    /// Perhaps everything.
    Everything,
}

/// The list, and the bell for those who look at it.
#[derive(Debug)]
pub(super) struct Live {
    list: Mutex<List>,
    changes: broadcast::Sender<Change>,
}

impl Default for Live {
    fn default() -> Self {
        Live { list: Mutex::default(), changes: broadcast::channel(BACKLOG).0 }
    }
}

impl Live {
    /// The list as it is now.
    pub(super) fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().expect("no holder of this lock panics")
    }

    /// Keeps the list up to date.
    pub(super) async fn follow(self: Arc<Self>, journal: Arc<Journal>) {
        loop {
            let (entries, mut coming) = journal.follow();
            *self.list() = List::default();
            for entry in &entries {
                self.list().fold(entry);
            }
            self.tell(Change::Everything);
            loop {
                match coming.recv().await {
                    Ok(entry) => self.take(&entry),
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    fn take(&self, entry: &Entry) {
        let place = self.list().fold(entry);
        if let Some(id) = &entry.message_id {
            self.tell(Change::Message(id.as_str().into(), place));
        }
    }

    fn tell(&self, change: Change) {
        // No listener is no error: the page may not be open.
        let _ = self.changes.send(change);
    }
}

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
    let mut changes = page.live.changes.subscribe();
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
