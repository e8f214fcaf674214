//! Where the header of a message ends.

/// A message up to the empty line, with the line end before it.
pub(super) fn header_block(message: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        end += line.len();
    }
    &message[..end]
}
