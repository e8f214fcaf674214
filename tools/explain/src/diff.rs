//! What forwarding did to a header block, line by line, for people.

use std::fmt;

use similar::{ChangeTag, TextDiff};

/// A line of either header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which block it is from.
    pub change: Change,
    /// The line without its end; what would steer a terminal is escaped.
    pub text: String,
}

/// Which header block a line is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Both.
    Same,
    /// The one that came in, only.
    Removed,
    /// The one that goes out, only.
    Added,
}

/// Compares two header blocks. Line ends don't count: the one that goes out has CRLF whatever came in.
pub fn lines(before: &[u8], after: &[u8]) -> Vec<Line> {
    let (before, after) = (printable(before), printable(after));
    TextDiff::from_lines(&before, &after)
        .iter_all_changes()
        .map(|change| Line {
            change: match change.tag() {
                ChangeTag::Equal => Change::Same,
                ChangeTag::Delete => Change::Removed,
                ChangeTag::Insert => Change::Added,
            },
            text: change.value().trim_end_matches('\n').to_owned(),
        })
        .collect()
}

/// A header block as text whose lines all end in LF.
fn printable(header: &[u8]) -> String {
    let text = String::from_utf8_lossy(header);
    let mut printable = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        for character in line.chars() {
            match character {
                '\t' => printable.push('\t'),
                character if character.is_control() => printable.extend(character.escape_default()),
                character => printable.push(character),
            }
        }
        printable.push('\n');
    }
    printable
}

/// As unified diffs mark lines.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.change {
            Change::Same => ' ',
            Change::Removed => '-',
            Change::Added => '+',
        };
        write!(f, "{mark}{}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_only_what_differs_is_marked() {
        let before = b"Sender: x@y.example\nFrom: Jane\n <jane@example.com>\nSubject: Caf\xe9 \x1b[31m\tx";
        let after = b"From: Jane\r\n <jane_example.com@in.example>\r\nSubject: Caf\xe9 \x1b[31m\tx\r\n";
        let shown: Vec<_> = lines(before, after).iter().map(Line::to_string).collect();
        assert_eq!(
            shown,
            [
                "-Sender: x@y.example",
                " From: Jane",
                "- <jane@example.com>",
                "+ <jane_example.com@in.example>",
                " Subject: Caf\u{fffd} \\u{1b}[31m\tx",
            ]
        );
        assert_eq!(lines(b"", b""), []);
    }
}
