//! What the tests of bodies share.

use ses_forwarder::body::{Cursor, LINE_OCTETS, Recoding};

/// A message whose body begins at `body_at` and is re-encoded, read in pieces of about `room` bytes.
pub(crate) fn recoded_in(message: &[u8], body_at: usize, recoding: &Recoding, room: usize) -> Vec<u8> {
    let (header, body) = message.split_at(body_at);
    let mut out = recoding.declared_in(header.to_vec());
    let header = out.len();
    let mut cursor = Cursor::default();
    let mut more = true;
    while more {
        let before = out.len();
        more = recoding.read(body, &mut cursor, &mut out, room);
        assert!(out.len() <= before + room + LINE_OCTETS + 2, "more than asked for");
    }
    assert_eq!((out.len() - header) as u64, recoding.len(), "the length is told beforehand");
    out
}
