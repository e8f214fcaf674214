//! The header before and after forwarding, field by field: what stayed, came, went or changed.

use std::{borrow::Cow, ops::Range};

use ses_forwarder::header;
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff, capture_diff_slices};

/// Fields beyond this many a side are not compared: mail may have any number.
const FIELDS: usize = 2_000;

/// Changes inside longer values are not looked for.
const VALUE: usize = 4_000;

/// A field of either side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    /// As written, folding included; bytes that are no UTF-8 replaced.
    pub(super) value: Cow<'a, str>,
}

/// A row of the comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row<'a> {
    /// On both sides alike.
    Same(Field<'a>),
    /// Before only.
    Removed(Field<'a>),
    /// After only.
    Added(Field<'a>),
    /// On both sides, with another value: each side as pieces, marked where they differ.
    Changed { name: Cow<'a, str>, before: Vec<Marked>, after: Vec<Marked> },
}

/// A piece of a changed value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) text: String,
    pub(super) differs: bool,
}

/// Compares the header blocks of two messages.
pub(super) fn compare<'a>(before: &'a [u8], after: &'a [u8]) -> Vec<Row<'a>> {
    let before = fields(before);
    let after = fields(after);
    let mut rows = vec![];
    for op in capture_diff_slices(Algorithm::Patience, &before, &after) {
        match op {
            DiffOp::Equal { old_index, len, .. } => {
                rows.extend(before[old_index..old_index + len].iter().cloned().map(Row::Same));
            }
            DiffOp::Delete { old_index, old_len, .. } => {
                rows.extend(before[old_index..old_index + old_len].iter().cloned().map(Row::Removed));
            }
            DiffOp::Insert { new_index, new_len, .. } => {
                rows.extend(after[new_index..new_index + new_len].iter().cloned().map(Row::Added));
            }
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                replaced(
                    &before[old_index..old_index + old_len],
                    &after[new_index..new_index + new_len],
                    &mut rows,
                );
            }
        }
    }
    pair_strays(rows)
}

fn fields(message: &[u8]) -> Vec<Field<'_>> {
    let block = header::split(message);
    let fields = block.fields().take(FIELDS).map(|field| Field {
        name: String::from_utf8_lossy(field.name),
        value: match String::from_utf8_lossy(field.value.trim_ascii()) {
            Cow::Borrowed(value) if !value.contains('\r') => Cow::Borrowed(value),
            value => Cow::Owned(value.replace("\r\n", "\n")),
        },
    });
    fields.collect()
}

/// Where fields stand for others: those of the same name belong together, in order.
fn replaced<'a>(before: &[Field<'a>], after: &[Field<'a>], rows: &mut Vec<Row<'a>>) {
    let mut shown = 0..0;
    for field in before {
        let same = (shown.end..after.len()).find(|&at| after[at].name.eq_ignore_ascii_case(&field.name));
        match same {
            Some(at) => {
                rows.extend(after[shown.end..at].iter().cloned().map(Row::Added));
                rows.push(changed(field, &after[at]));
                shown = 0..at + 1;
            }
            None => rows.push(Row::Removed(field.clone())),
        }
    }
    let Range { end, .. } = shown;
    rows.extend(after[end..].iter().cloned().map(Row::Added));
}

/// A field that went in one place and came in another, once each, changed its place and value.
fn pair_strays(mut rows: Vec<Row<'_>>) -> Vec<Row<'_>> {
    let mut at = 0;
    while at < rows.len() {
        let Row::Removed(field) = &rows[at] else {
            at += 1;
            continue;
        };
        let named = |row: &Row<'_>, wanted_added: bool| match row {
            Row::Added(other) if wanted_added => other.name.eq_ignore_ascii_case(&field.name),
            Row::Removed(other) if !wanted_added => other.name.eq_ignore_ascii_case(&field.name),
            _ => false,
        };
        let mut added = (0..rows.len()).filter(|&other| named(&rows[other], true));
        let removed = rows.iter().filter(|row| named(row, false)).count();
        if let (Some(other), None, 1) = (added.next(), added.next(), removed)
            && let (Row::Removed(before), Row::Added(after)) = (&rows[at], &rows[other])
        {
            rows[other] = changed(before, after);
            rows.remove(at);
        } else {
            at += 1;
        }
    }
    rows
}

fn changed<'a>(before: &Field<'a>, after: &Field<'a>) -> Row<'a> {
    let whole = |value: &str| vec![Marked { text: value.to_owned(), differs: true }];
    let (mut left, mut right) = (vec![], vec![]);
    if before.value.len().max(after.value.len()) > VALUE {
        (left, right) = (whole(&before.value), whole(&after.value));
    } else {
        for change in TextDiff::from_unicode_words(&*before.value, &*after.value).iter_all_changes() {
            let text = change.value();
            match change.tag() {
                ChangeTag::Equal => {
                    push(&mut left, text, false);
                    push(&mut right, text, false);
                }
                ChangeTag::Delete => push(&mut left, text, true),
                ChangeTag::Insert => push(&mut right, text, true),
            }
        }
    }
    Row::Changed { name: before.name.clone(), before: left, after: right }
}

fn push(pieces: &mut Vec<Marked>, text: &str, differs: bool) {
    match pieces.last_mut() {
        Some(last) if last.differs == differs => last.text.push_str(text),
        _ => pieces.push(Marked { text: text.to_owned(), differs }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows as text: `=`, `-`, `+`, `~`, with brackets around what differs.
    fn shown(before: &str, after: &str) -> Vec<String> {
        let marked = |pieces: &[Marked]| {
            let texts = pieces.iter().map(|piece| match piece.differs {
                true => format!("[{}]", piece.text),
                false => piece.text.clone(),
            });
            texts.collect::<String>()
        };
        let rows = compare(before.as_bytes(), after.as_bytes());
        let rows = rows.iter().map(|row| match row {
            Row::Same(field) => format!("= {}: {}", field.name, field.value),
            Row::Removed(field) => format!("- {}: {}", field.name, field.value),
            Row::Added(field) => format!("+ {}: {}", field.name, field.value),
            Row::Changed { name, before, after } => {
                format!("~ {name}: {} | {}", marked(before), marked(after))
            }
        });
        rows.collect()
    }

    #[test]
    fn fields_are_marked() {
        let cases = [
            ("nothing", "A: 1\r\n\r\nbody", "A: 1\r\n\r\nother", vec!["= A: 1"]),
            ("no header", "", "", vec![]),
            ("line ends alone", "A: 1\n 2\n\n", "A: 1\r\n 2\r\n\r\n", vec!["= A: 1\n 2"]),
            (
                "a usual message",
                "Return-Path: <a@x.example>\nReceived: r\nFrom: Ann <a@x.example>\nTo: i@in.example\nSubject: s\n\n",
                "X-Original-To: i@in.example\nReceived: r\nFrom: Ann <a_x.example@in.example>\nTo: i@out.example\nSubject: s\nReply-To: a@x.example\n\n",
                vec![
                    "- Return-Path: <a@x.example>",
                    "+ X-Original-To: i@in.example",
                    "= Received: r",
                    "~ From: Ann <[a]@[x.example]> | Ann <[a_x.example]@[in.example]>",
                    "~ To: i@[in.example] | i@[out.example]",
                    "= Subject: s",
                    "+ Reply-To: a@x.example",
                ],
            ),
            (
                "moved and changed",
                "From: a@x.example\nA: 1\nB: 2\n\n",
                "A: 1\nB: 2\nFrom: b@x.example\n\n",
                vec!["= A: 1", "= B: 2", "~ From: [a]@x.example | [b]@x.example"],
            ),
            ("copies", "A: 1\nA: 2\nA: 3\n\n", "A: 1\n\n", vec!["= A: 1", "- A: 2", "- A: 3"]),
            ("name's case", "subject: a\n\n", "Subject: a\n\n", vec!["~ subject: a | a"]),
        ];
        for (name, before, after, expected) in cases {
            assert_eq!(shown(before, after), expected, "{name}");
        }
    }

    proptest! {
        /// Each side can be read back from the rows, whatever is in it.
        #[test]
        fn no_field_is_lost(
            before in proptest::collection::vec(("[ABab]", "[xy]{0,3}"), 0..8),
            after in proptest::collection::vec(("[ABab]", "[xy]{0,3}"), 0..8),
        ) {
            let text = |fields: &[(String, String)]| {
                fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>() + "\n"
            };
            let (left, right) = (text(&before), text(&after));
            let (mut old, mut new) = (vec![], vec![]);
            for row in compare(left.as_bytes(), right.as_bytes()) {
                let all = |pieces: &[Marked]| pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
                match row {
                    Row::Same(field) => {
                        old.push(field.value.to_string());
                        new.push(field.value.to_string());
                    }
                    Row::Removed(field) => old.push(field.value.to_string()),
                    Row::Added(field) => new.push(field.value.to_string()),
                    Row::Changed { before, after, .. } => {
                        old.push(all(&before));
                        new.push(all(&after));
                    }
                }
            }
            let mut expected_old: Vec<_> = before.into_iter().map(|(_, value)| value).collect();
            let mut expected_new: Vec<_> = after.into_iter().map(|(_, value)| value).collect();
            for values in [&mut old, &mut new, &mut expected_old, &mut expected_new] {
                values.sort();
            }
            prop_assert_eq!(old, expected_old);
            prop_assert_eq!(new, expected_new);
        }

        #[test]
        fn any_bytes_are_compared(before in any::<Vec<u8>>(), after in any::<Vec<u8>>()) {
            compare(&before, &after);
        }
    }
}
