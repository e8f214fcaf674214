//! Values of fields as text.

use super::block::Field;

/// The value on one line, trimmed; bytes that are not UTF-8 are replaced.
pub(super) fn unfolded(field: &Field<'_>) -> String {
    let mut value = Vec::with_capacity(field.value.len());
    for line in field.lines() {
        value.extend_from_slice(line);
    }
    String::from_utf8_lossy(&value).trim().to_owned()
}
