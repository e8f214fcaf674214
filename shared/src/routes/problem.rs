//! What is wrong or odd, and where it stands.

/// How many problems are reported at most, of errors and of warnings; the last says how many more.
pub(super) const PROBLEMS_MAX: usize = 100;

/// How much of a text a message quotes, in characters.
const QUOTE_MAX: usize = 80;

/// What is wrong with a routes file, or odd about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line in characters, from 1.
    pub column: usize,
    /// What was found and what is allowed.
    pub message: String,
}

/// A problem, by its byte in the file.
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) message: String,
}

/// A text for a sentence: escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(QUOTE_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

/// Bytes of the file as lines and columns.
pub(super) struct Places<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(super) fn of(text: &'a str) -> Places<'a> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Places { text, starts }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    pub(super) fn problem(&self, found: Found) -> Problem {
        let line = self.line(found.at);
        let before = &self.text.as_bytes()[self.starts[line - 1]..found.at.min(self.text.len())];
        // A character is a byte that continues none (RFC 3629 section 3).
        let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        Problem { line, column, message: found.message }
    }
}

/// What was found, but no more of it than anyone reads.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) found: Vec<Found>,
    more: usize,
}

impl Problems {
    pub(super) fn push(&mut self, at: usize, message: String) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(Found { at, message });
        } else {
            self.more += 1;
        }
    }

    /// In the order of the file.
    pub(super) fn placed(mut self, places: &Places<'_>) -> Vec<Problem> {
        self.found.sort_by_key(|found| found.at);
        let mut problems: Vec<_> = self.found.into_iter().map(|found| places.problem(found)).collect();
        if let Some(last) = problems.last_mut().filter(|_| self.more > 0) {
            last.message.push_str(&format!(" (and {} more)", self.more));
        }
        problems
    }
}
