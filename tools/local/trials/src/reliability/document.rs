//! The table as a document.

use std::fmt::{Display, Write};

use super::Row;

/// Where the part that a load run writes begins.
const LOAD: &str = "\n## Under load\n";

const INTRODUCTION: &str = "\
# What becomes of a message when a call goes wrong

Made by `cargo local reliability`: what was seen in one run. The tests fail if they see anything else, but for what
depends on which of two calls ends first: how often something bold was sent or told, and, in *lasting*, whether a message
that then went out by itself was told before the fault was gone. Each line is two runs of
the real functions on the local stack with one message each: in *once* the fault hits the call's first try, in
*lasting* every try until the event is a dead letter (`handle-email`) or its batch has failed three times
(`handle-dead-letter`). After that the fault is gone, and everything runs its course.

*sent* is a copy that SES accepted, *told* a notice to the operator, by SES and by SNS, with the error it names; the one
that mail goes out again is not counted. Every line is held to the promises: nothing is lost; what is not recorded as
forwarded is told; the notice names the true cause; nothing is sent or told twice unless SES or SNS accepted what could
not be recorded. Such lines are in bold.

- *For a stub*: SES refuses the message, and the fault is for the send of the stub that goes out in its place; all other
  calls are those of any message.
- *Told by SES*: the event that a destination has refused a message for good has to be *recorded*, mail for that
  destination *held*, and the operator told.
- *Told by SES of a message too large*: that has to be *recorded*, and `handle-email` asked for a stub, which is *sent*.
  The fault hits the calls of both functions.
- *For a digest*: a schedule invokes the function, and Lambda tries three times. *Given up* is the error that it ends
  with, which an alarm tells of; what the digest would have told is on record.

The faults: an answer of throttling, 500, 503, access denied or not found; no answer at all (`hang`); a connection
that is cut before or after the call took effect (`reset-before`, `reset-after`) or in the middle of the answer
(`truncate`); the process killed before or after the call took effect (`kill-before`, `kill-after`).
";

const LOAD_INTRODUCTION: &str = "
Messages from 1 KB to 1 MB over SMTP to 50 destinations, while calls are throttled, fail, are cut off, and functions are
killed. Nobody types a command, and the queue is empty in the end. Then each message that SMTP took is looked for in the
bucket, the records, the mailboxes and the notices: a run fails if one is not where it belongs, was sent twice without a
fault on its way, or shows in a log.

`cargo local backlog` sends while SES takes none of it for days, or few a second, and asks of each message whether it
was forwarded once. Hours are the stack's, whose clock runs faster than on AWS.

`cargo local dictionary` sends to names that do not exist, each in its turn and then all again: each may bounce once.
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

/// A document with a new table, and what it said of a load.
pub fn with_rows(existing: &str, rows: &[Row]) -> String {
    let load = existing.find(LOAD).map_or("", |at| &existing[at..]);
    document(rows) + load
}

/// A document with what a load, or a backlog, came to: instead of what it says of the same command, or behind the others.
pub(super) fn with_load(existing: &str, command: &str, account: &impl Display) -> String {
    let mut text = existing.to_owned();
    if !text.contains(LOAD) {
        text += LOAD;
        text += LOAD_INTRODUCTION;
    }
    let heading = format!("\n`{command}`:\n\n```text\n");
    let start = text.find(&heading).unwrap_or(text.len());
    let length = text[start..].find("```\n\n").map_or(text.len() - start, |end| end + "```\n".len());
    text.replace_range(start..start + length, &format!("{heading}{account}```\n"));
    text
}

fn emphasised(cell: &str) -> String {
    let doubled = ["twice", "times"].iter().any(|word| cell.contains(word));
    if doubled { format!("**{cell}**") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Account;

    #[test]
    fn each_part_is_renewed_without_the_other() {
        let empty = document(&[]);
        let account = Account { accepted: 2, forwarded: 2, ..Account::default() };
        let loaded = with_load(&empty, "cargo local load", &account);
        assert!(loaded.starts_with(&empty) && loaded.contains("accepted       2\n"), "{loaded}");
        assert_eq!(with_rows(&loaded, &[]), loaded);
        let longer = with_load(&loaded, "cargo local load --minutes 10", &account);
        assert!(longer.starts_with(&loaded) && longer.matches("accepted       2\n").count() == 2, "{longer}");
        let again = Account { accepted: 3, ..account };
        let renewed = with_load(&longer, "cargo local load", &again);
        assert_eq!(renewed, longer.replacen("accepted       2\n", "accepted       3\n", 1));
    }
}
