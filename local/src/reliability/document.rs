//! The table as a document.

use std::fmt::Write;

use super::Row;

const INTRODUCTION: &str = "\
# What becomes of a message when a call goes wrong

Made by `cargo local reliability`; the tests fail if it is not what they see. Each line is two runs of the real
functions on the local stack with one message each: in *once* the fault hits the call's first try, in *lasting* every
try until the event is a dead letter (`handle-email`) or its batch has failed three times (`handle-dead-letter`).
After that the fault is gone, and everything runs its course.

*sent* is a copy that SES accepted, *told* a notice to the operator, by SES and by SNS, with the error it names. Every
line is held to the promises: nothing is lost; what is not recorded as forwarded is told; the notice names the true
cause; nothing is sent or told twice unless SES or SNS accepted what could not be recorded. Such lines are in bold.

The faults: an answer of throttling, 500, 503, access denied or not found; no answer at all (`hang`); a connection
that is cut before or after the call took effect (`reset-before`, `reset-after`) or in the middle of the answer
(`truncate`); the process killed before or after the call took effect (`kill-before`, `kill-after`).
";

/// Writes the document.
pub fn document(rows: &[Row]) -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut function = "";
    for row in rows {
        if row.function != function {
            function = row.function;
            let _ = write!(text, "\n## {function}\n\n| call | fault | once | lasting |\n|---|---|---|---|\n");
        }
        let Row { call, effect, .. } = row;
        let _ = writeln!(
            text,
            "| {call} | {effect} | {} | {} |",
            emphasised(&row.once),
            emphasised(&row.lasting)
        );
    }
    text
}

fn emphasised(cell: &str) -> String {
    if cell.contains("twice") || cell.contains("times") { format!("**{cell}**") } else { cell.to_owned() }
}
