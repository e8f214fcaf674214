//! The notice of destinations that refuse mail: what is held, and what was refused although nothing is held.
//!
//! Pure. An address in it was made by a route or by whoever wrote to a name, so it passes through
//! [`plain_text`](crate::plain_text) as all that comes from mail.

use std::fmt::Write;

use ses_forwarder::{
    feedback::{About, REJECTED, about},
    outcome::DeliveryEvent,
    suspended::Untold,
};
use time::Date;

use crate::{
    notice::{Notice, Place, line, subject, when},
    plain_text::{plain, shell_address, shell_word},
};

/// Longest address shown, in characters.
const ADDRESS_SHOWN: usize = 200;

/// Destinations told by name; of more there is a count.
const SHOWN: usize = 100;

/// A refusal that holds no mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the destination did.
    pub event: DeliveryEvent,
    /// The message that it refused.
    pub message_id: String,
    /// Its day.
    pub day: Date,
}

/// Writes a notice of at least one of them.
pub fn compose(held: &[Untold], refused: &[Refusal], place: &Place) -> Notice {
    let summary = summary(held, refused);
    let mut text = format!("{summary} (stack {}, {}).\n", place.stack, place.region);
    if !held.is_empty() {
        text.push_str(
            "Nothing is lost: what comes for it is kept, and not sent, since each refusal counts against your SES\n\
             account. Once it takes mail again, the command below it sends all of that, in order.\n",
        );
    }
    for (number, one) in held.iter().take(SHOWN).enumerate() {
        text.push_str(&held_section(number + 1, one, place));
    }
    let told = held.len().min(SHOWN);
    for (number, one) in refused.iter().take(SHOWN).enumerate() {
        text.push_str(&refused_section(told + number + 1, one, place));
    }
    let more = (held.len() + refused.len()) - told - refused.len().min(SHOWN);
    if more > 0 {
        let _ = writeln!(
            text,
            "\nAnd {more} more: they are in s3://{}/{}",
            place.bucket,
            ses_forwarder::keys::SUSPENDED
        );
    }
    Notice { subject: subject(&summary, place), text, attachments: Vec::new() }
}

fn summary(held: &[Untold], refused: &[Refusal]) -> String {
    let counted = |count: usize, one: String, more: &str| match count {
        0 => None,
        1 => Some(one),
        count => Some(format!("{count} {more}")),
    };
    let first = held.first().map(|one| shown(&one.destination)).unwrap_or_default();
    let parts = [
        counted(held.len(), format!("Mail for {first} is held"), "destinations have mail held"),
        counted(
            refused.len(),
            "1 forwarded message was refused by its destination".to_owned(),
            "forwarded messages were refused by their destinations",
        ),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn held_section(number: usize, untold: &Untold, place: &Place) -> String {
    let Untold { destination, sender, cause } = untold;
    let mut text = format!("\n{number}. {}\n\n", shown(destination));
    let code = cause.code.as_deref().unwrap_or("no code");
    let what = match (sender, code) {
        (Some(sender), _) => format!(
            "Its owner called a message of {} spam ({code}). Mail of that sender is held for this destination; all \
             other mail goes out.",
            shown(sender)
        ),
        (None, "OnAccountSuppressionList" | "OnTenantSuppressionList" | "Suppressed") => {
            "SES has it on a suppression list, takes mail for it, and sends none. Mail for it is held; the command \
             below says what is on the list."
                .to_owned()
        }
        (None, code) => format!("It refuses mail for good ({code}). Mail for it is held."),
    };
    line(&mut text, "What", &what);
    line(&mut text, "Since", &when(cause.at));
    line(&mut text, "Message", &format!("{} made it known", cause.message_id));
    let _ = writeln!(
        text,
        "\nWhen it takes mail again, or to have it sent elsewhere once the routes say so:\n{}",
        resume(place, destination)
    );
    text
}

fn refused_section(number: usize, refusal: &Refusal, place: &Place) -> String {
    let Refusal { event, message_id, day } = refusal;
    let mut text = format!("\n{number}. {}\n\n", shown(&event.destination));
    let code = event.code.as_deref().unwrap_or("no code");
    let what = match (about(event), code) {
        (_, REJECTED) => "SES took the message and then found a virus in it, so nobody gets it.",
        (About::Size, _) => "It refused a message as too large.",
        (About::Content, _) => "It refused a message for what is in it.",
        (_, "5.2.2" | "MailboxFull") => "Its mailbox is full.",
        _ => "It refused a message.",
    };
    line(&mut text, "What", &format!("{what} ({code}) Other mail for it goes out."));
    line(&mut text, "When", &when(event.at));
    line(&mut text, "Message", &format!("s3://{}/{}", place.bucket, place.prefixes.message(message_id)));
    line(
        &mut text,
        "Outcome",
        &format!("s3://{}/{}", place.bucket, place.prefixes.outcome(*day, message_id)),
    );
    let _ = writeln!(text, "\nSend it again:\n{}", resume(place, &event.destination));
    text
}

/// The command that has held and refused mail sent.
fn resume(place: &Place, destination: &str) -> String {
    let Place { region, stack, .. } = place;
    format!(
        "ses-forwarder resume --region {} --stack {} {}",
        shell_word(region),
        shell_word(stack),
        shell_address(destination)
    )
}

fn shown(address: &str) -> String {
    plain(address, ADDRESS_SHOWN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ses_forwarder::{outcome::DeliveryKind, suspended::Cause};

    use super::*;
    use crate::notice::place;

    const EPOCH: time::OffsetDateTime = time::OffsetDateTime::UNIX_EPOCH;

    fn held(destination: &str, sender: Option<&str>, code: &str) -> Untold {
        let cause = Cause {
            at: EPOCH,
            code: Some(code.to_owned()),
            message_id: "m1".to_owned(),
            told: false,
            telling: None,
        };
        Untold { destination: destination.to_owned(), sender: sender.map(str::to_owned), cause }
    }

    fn refused(destination: &str, code: &str) -> Refusal {
        let event = DeliveryEvent {
            at: EPOCH,
            destination: destination.to_owned(),
            event: DeliveryKind::Bounced,
            code: Some(code.to_owned()),
        };
        Refusal { event, message_id: "m2".to_owned(), day: EPOCH.date() }
    }

    #[test]
    fn a_notice_says_what_is_held_and_the_command() {
        let notice = compose(&[held("ann@out.example", None, "5.1.1")], &[], &place());
        assert_eq!(notice.subject, "[forwarder] Mail for ann@out.example is held");
        assert_eq!(
            notice.text,
            "Mail for ann@out.example is held (stack forwarder, eu-west-1).
Nothing is lost: what comes for it is kept, and not sent, since each refusal counts against your SES
account. Once it takes mail again, the command below it sends all of that, in order.

1. ann@out.example

What         It refuses mail for good (5.1.1). Mail for it is held.
Since        1970-01-01 00:00:00 UTC
Message      m1 made it known

When it takes mail again, or to have it sent elsewhere once the routes say so:
ses-forwarder resume --region eu-west-1 --stack forwarder ann@out.example
"
        );
    }

    #[test]
    fn each_kind_has_its_sentence() {
        for (held, refused, subject, sentence) in [
            (
                vec![held("a@x", Some("jane@y"), "abuse")],
                vec![],
                "Mail for a@x is held",
                "called a message of jane@y spam (abuse)",
            ),
            (
                vec![held("a@x", None, "OnAccountSuppressionList")],
                vec![],
                "Mail for a@x is held",
                "SES has it on a suppression list",
            ),
            (
                vec![held("a@x", None, "5.1.1"), held("b@x", None, "5.2.1")],
                vec![],
                "2 destinations have mail held",
                "(5.2.1)",
            ),
            (
                vec![],
                vec![refused("a@x", "5.2.2")],
                "1 forwarded message was refused by its destination",
                "Its mailbox is full. (5.2.2)",
            ),
            (
                vec![],
                vec![refused("a@x", "5.7.1"); 2],
                "2 forwarded messages were refused by their destinations",
                "for what is in it. (5.7.1)",
            ),
            (
                vec![],
                vec![refused("a@x", "MessageTooLarge")],
                "1 forwarded message was refused by its destination",
                "as too large",
            ),
            (
                vec![],
                vec![refused("a@x", REJECTED)],
                "1 forwarded message was refused by its destination",
                "found a virus",
            ),
        ] {
            let notice = compose(&held, &refused, &place());
            assert_eq!(notice.subject, format!("[forwarder] {subject}"));
            assert!(notice.text.contains(sentence), "{}", notice.text);
        }
    }

    #[test]
    fn a_notice_is_bounded() {
        let notice =
            compose(&vec![held("a@x", None, "5.1.1"); 5_000], &vec![refused("b@x", "5.7.1"); 300], &place());
        assert!(notice.text.len() < 128 * 1024, "{}", notice.text.len());
        assert!(
            notice.text.contains("\nAnd 5100 more: "),
            "{}",
            notice.text.lines().last().unwrap_or_default()
        );
    }

    proptest! {
        #[test]
        fn hostile_addresses_stay_in_their_line(destination: String, sender: String, code: String) {
            let hostile = compose(&[held(&destination, Some(&sender), &plain(&code, 40))], &[refused(&destination, "5.7.1")], &place());
            let plain = compose(&[held("a@x", Some("b@y"), "x")], &[refused("a@x", "5.7.1")], &place());
            prop_assert_eq!(hostile.text.lines().count(), plain.text.lines().count());
            prop_assert!(!hostile.subject.contains(char::is_control));
        }
    }
}
