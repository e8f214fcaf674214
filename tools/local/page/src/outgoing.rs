//! What was sent, as the stack keeps it.

use std::path::Path;

use bytes::Bytes;
use ses_forwarder::notice_mark;
use ses_forwarder_local_aws::journal::Event;
use tokio::io::AsyncReadExt;

use crate::access::Page;

/// Bytes of an outgoing message that are read to show its header or a notice's text.
pub(crate) const SHOWN: u64 = 512 * 1024;

/// Whether what was sent from an address is a notice.
pub(super) fn is_notice(from: &str) -> bool {
    from.rsplit_once('@').is_some_and(|(local, _)| local == notice_mark::SENDER)
}

/// What was sent about a message under an id of SES, and whom to.
pub(super) async fn sent_as(page: &Page, id: &str, ses_id: &str) -> Option<(Bytes, Vec<String>)> {
    let entries = page.access.journal.of(id);
    let (path, destinations) = entries.iter().find_map(|entry| match &entry.event {
        Event::Sent { ses_id: found, path, destinations, .. } if *found == ses_id => {
            Some((path.clone(), destinations.clone()))
        }
        _ => None,
    })?;
    Some((tokio::fs::read(path).await.ok()?.into(), destinations))
}

/// The beginning of a message that was sent; less if it is cut off, and nothing if it is not there.
pub(super) async fn head(path: &Path) -> Vec<u8> {
    let mut head = vec![];
    if let Ok(file) = tokio::fs::File::open(path).await {
        let _ = file.take(SHOWN).read_to_end(&mut head).await;
    }
    head
}
