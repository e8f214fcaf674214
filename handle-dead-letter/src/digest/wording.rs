//! What a digest says. Pure; all that comes from mail passes through [`plain_text`](crate::plain_text).

use std::fmt::Write;

use time::{OffsetDateTime, UtcOffset};

use super::{
    Digest,
    gathered::{Command, Entry, Kind},
};
use crate::{
    notice::{Notice, Place, recipients_of, sender_of, subject, subject_of},
    plain_text::{plain, shell_address, shell_word},
};

/// Longest sender or subject shown, in characters: a line is to stay one.
const SHOWN: usize = 80;

/// Writes a digest that has something to tell.
pub fn compose(digest: &Digest, place: &Place) -> Notice {
    let Digest { from, until, shown, counts, unread, unreadable } = digest;
    let summary = summary(digest);
    let mut text = format!(
        "{summary}, from {} to {} (stack {}, {}).\nNothing is lost: each message is kept in S3 for as long as the \
         bucket keeps messages. The command\nbelow a line sends it to its reader.\n",
        when(*from),
        when(*until),
        place.stack,
        place.region
    );
    for (kind, count) in &counts.kinds {
        let of_kind: Vec<_> = shown.iter().filter(|(entry, _)| entry.kind == *kind).collect();
        let _ = write!(text, "\n{}: {count}\n{}\n", kind.title(), kind.explanation());
        for (entry, notification) in &of_kind {
            let Entry { received, reason, whom, .. } = entry;
            let (sender, subject) = match notification {
                Some(notification) => (sender_of(notification), subject_of(notification)),
                None => ("(unknown)".to_owned(), format!("message {}", entry.message_id)),
            };
            let _ = write!(
                text,
                "\n{}  {}  {}  {}  for {}\n  {}\n",
                when(*received),
                plain(reason, SHOWN),
                plain(&sender, SHOWN),
                plain(&subject, SHOWN),
                recipients_of(whom),
                command(entry, place)
            );
        }
        let more = count.saturating_sub(of_kind.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "\nAnd {more} more.");
        }
    }
    if !counts.others.is_empty() {
        let others = counts.others.iter().map(|(reason, count)| format!("{count} {reason}"));
        let _ = writeln!(
            text,
            "\nAlso dropped, with nothing to release: {}.",
            others.collect::<Vec<_>>().join(", ")
        );
    }
    match unread {
        Some(0) => {}
        Some(unread) => {
            let _ = writeln!(text, "\nThere was no time to look at {unread} more messages of this period.");
        }
        None => text.push_str("\nThere was no time to look at all messages of this period.\n"),
    }
    if *unreadable > 0 {
        let _ = writeln!(
            text,
            "\n{unreadable} outcomes could not be read; the log of handle-dead-letter says which."
        );
    }
    text.push_str("\nThe parameter Digest of the stack says how often this comes: off, daily or weekly.\n");
    Notice { subject: subject(&summary, place), text, attachments: Vec::new() }
}

/// Such as `Digest: 3 dropped, 1 held`.
fn summary(digest: &Digest) -> String {
    let counts = digest.counts.kinds.iter().map(|(kind, count)| format!("{count} {}", kind.word()));
    format!("Digest: {}", counts.collect::<Vec<_>>().join(", "))
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Dropped => "dropped",
            Kind::Held => "held",
            Kind::Bounced => "bounced",
            Kind::Refused => "refused",
            Kind::ByRoutes => "dropped by your routes",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Dropped => "Dropped by a verdict",
            Kind::Held => "Held, as the destination refuses mail",
            Kind::Bounced => "Refused by the destination, or called spam by its owner",
            Kind::Refused => "Refused by SES",
            Kind::ByRoutes => "Dropped since your routes say so, or lead nowhere",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Kind::Dropped => {
                "release sends it all the same, and says the line that would have let it through."
            }
            Kind::Held => "resume sends all that is held for the destination, once it takes mail again.",
            Kind::Bounced => "resume sends it again, once the destination takes mail.",
            Kind::Refused => "Where its reader has a stub, the command fetches the message itself.",
            Kind::ByRoutes => {
                "release sends it past a line for its sender; with a new line in the routes, replay does."
            }
        }
    }
}

/// What sends a message to its reader.
fn command(entry: &Entry, place: &Place) -> String {
    let Place { region, stack, bucket, prefixes, .. } = place;
    let id = &*entry.message_id;
    let of_stack = format!("--region {} --stack {}", shell_word(region), shell_word(stack));
    match &entry.command {
        Command::Release { virus: false } => format!("ses-forwarder release {of_stack} {}", shell_word(id)),
        Command::Release { virus: true } => {
            format!("ses-forwarder release --virus {of_stack} {}", shell_word(id))
        }
        Command::Resume(destination) => {
            format!("ses-forwarder resume {of_stack} {}", shell_address(destination))
        }
        Command::Replay => format!("ses-forwarder replay {of_stack} {}", shell_word(id)),
        Command::Fetch => {
            let address = format!("s3://{bucket}/{}", prefixes.message(id));
            let file = format!("{id}.eml");
            format!(
                "aws s3 cp --region {} {} {}",
                shell_word(region),
                shell_word(&address),
                shell_word(&file)
            )
        }
    }
}

fn when(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use ses_forwarder::notification::Notification;

    use super::*;
    use crate::{digest::gathered::Counts, notice::place};

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn entry(kind: Kind, reason: &str, whom: &str, command: Command) -> Entry {
        Entry {
            received: EPOCH,
            kind,
            message_id: "m1".to_owned(),
            day: EPOCH.date(),
            reason: reason.to_owned(),
            whom: vec![whom.to_owned()],
            command,
        }
    }

    fn from(author: &str, subject: &str) -> Option<Notification> {
        Some(Notification {
            from: vec![author.to_owned()],
            subject: Some(subject.to_owned()),
            ..Notification::default()
        })
    }

    #[test]
    fn each_line_has_its_command() {
        let digest = Digest {
            from: EPOCH,
            until: EPOCH + time::Duration::DAY,
            shown: vec![
                (
                    entry(Kind::Dropped, "spam", "info@in.example", Command::Release { virus: false }),
                    from("=?utf-8?q?Ren=C3=A9e?= <r@x.example>", "Lunch\r\nBcc: eve@evil.example"),
                ),
                (entry(Kind::Dropped, "virus", "info@in.example", Command::Release { virus: true }), None),
                (
                    entry(
                        Kind::Held,
                        "suspended",
                        "ann@out.example",
                        Command::Resume("ann@out.example".to_owned()),
                    ),
                    from("jane@x.example", "Offer"),
                ),
                (
                    entry(Kind::Refused, "MessageRejected", "ann@out.example", Command::Fetch),
                    from("a@x.example", ""),
                ),
            ],
            counts: Counts {
                kinds: BTreeMap::from([(Kind::Dropped, 40), (Kind::Held, 1), (Kind::Refused, 1)]),
                others: BTreeMap::from([("discarded".to_owned(), 7), ("loop".to_owned(), 1)]),
            },
            unread: Some(9),
            unreadable: 2,
        };
        let Notice { subject, text, attachments } = compose(&digest, &place());
        assert_eq!(
            (subject.as_str(), attachments.len()),
            ("[forwarder] Digest: 40 dropped, 1 held, 1 refused", 0)
        );
        assert_eq!(
            text,
            "Digest: 40 dropped, 1 held, 1 refused, from 1970-01-01 00:00 UTC to 1970-01-02 00:00 UTC (stack forwarder, eu-west-1).
Nothing is lost: each message is kept in S3 for as long as the bucket keeps messages. The command
below a line sends it to its reader.

Dropped by a verdict: 40
release sends it all the same, and says the line that would have let it through.

1970-01-01 00:00 UTC  spam  Renée <r@x.example>  Lunch Bcc: eve@evil.example  for info@in.example
  ses-forwarder release --region eu-west-1 --stack forwarder m1

1970-01-01 00:00 UTC  virus  (unknown)  message m1  for info@in.example
  ses-forwarder release --virus --region eu-west-1 --stack forwarder m1

And 38 more.

Held, as the destination refuses mail: 1
resume sends all that is held for the destination, once it takes mail again.

1970-01-01 00:00 UTC  suspended  jane@x.example  Offer  for ann@out.example
  ses-forwarder resume --region eu-west-1 --stack forwarder ann@out.example

Refused by SES: 1
Where its reader has a stub, the command fetches the message itself.

1970-01-01 00:00 UTC  MessageRejected  a@x.example  (no subject)  for ann@out.example
  aws s3 cp --region eu-west-1 s3://mail/messages/m1 m1.eml

Also dropped, with nothing to release: 7 discarded, 1 loop.

There was no time to look at 9 more messages of this period.

2 outcomes could not be read; the log of handle-dead-letter says which.

The parameter Digest of the stack says how often this comes: off, daily or weekly.
"
        );
    }

    proptest! {
        /// Whatever a mail says, a line stays a line, and a command one.
        #[test]
        fn nothing_from_a_mail_makes_a_line(author: String, subject: String, whom: String) {
            let resume = Command::Resume(whom.clone());
            let digest = Digest {
                from: EPOCH,
                until: EPOCH,
                shown: vec![(entry(Kind::Held, "suspended", &whom, resume), from(&author, &subject))],
                counts: Counts { kinds: BTreeMap::from([(Kind::Held, 1)]), others: BTreeMap::new() },
                unread: Some(0),
                unreadable: 0,
            };
            let Notice { text, .. } = compose(&digest, &place());
            prop_assert_eq!(text.matches('\n').count(), 11, "{}", text);
            prop_assert!(!text.chars().any(|char| char.is_control() && char != '\n'));
            let commands = text.lines().filter(|line| line.starts_with("  ses-forwarder resume ")).count();
            prop_assert_eq!(commands, 1);
        }
    }
}
