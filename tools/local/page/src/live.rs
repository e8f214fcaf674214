//! The list as it is now, and the bell for those who look at it.

use std::sync::{Arc, Mutex, MutexGuard};

use ses_forwarder_local_aws::journal::{Entry, Journal};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::list::List;

/// Changes that a browser may lag behind before it is told to read the page anew.
const BACKLOG: usize = 4_096;

/// Something that changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
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

    /// What changes from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
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
