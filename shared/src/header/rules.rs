//! What happens to a field, by its name: the table the rest of this module carries out.

/// What happens to a field, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) action: Action,
    pub(super) syntax: Syntax,
    /// SES refuses a message that has the field twice: the first copy stays. (`Reply-To` is one of these too, but
    /// its first copy need not be the one that stays.)
    pub(super) once: bool,
}

/// What happens to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// All copies go, wherever they stand.
    Remove,
    /// The name gets `X-Original-` in front.
    Rename,
    /// Becomes a mailbox at `EMAIL_DOMAIN`.
    From,
    /// The first that holds an address stays; made from the authors' addresses if there is none.
    ReplyTo,
    /// Recipients of this invocation that lead to one destination give way to it.
    Recipients,
    /// Stays; its value is copied to `X-Original-Message-ID` and `References`.
    MessageId,
    /// Gets the Message-ID at its end.
    References,
    /// Gets the prefix.
    Subject,
    /// Written by an earlier pass: replaced by this one's.
    Ours,
    /// Stays, unless it says what we say.
    Loop,
    /// Byte for byte, in place.
    Keep,
}

/// Where a field may hold text that is not ASCII, and how it is then written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Free text: encoded-words (RFC 2047 section 5 (1)).
    Text,
    /// Mailboxes or phrases: encoded-words in display names and comments (section 5 (2) and (3)).
    Mailboxes,
    /// A value and parameters: those percent-encoded (RFC 2231).
    Parameters,
    /// Anything else with a grammar: no place for an encoded-word, so `?`.
    Tokens,
}

use Action::*;
use Syntax::{Mailboxes, Parameters, Text, Tokens};

/// The fields that an answer keeps, or something of them.
pub(super) const KEPT_IN_ANSWERS: [&[u8]; 15] = [
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"in-reply-to",
    b"references",
    b"message-id",
    b"thread-topic",
    b"thread-index",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"content-disposition",
    b"content-language",
];

/// Longest name that the table names in full, `disposition-notification-options`, and some more.
const LONGEST: usize = 40;

/// The rule for a field name in any case.
///
/// Once-only fields: <https://docs.aws.amazon.com/ses/latest/dg/header-fields.html>.
pub(super) fn rule(name: &[u8]) -> Rule {
    let mut buffer = [0; LONGEST];
    let lower = &mut buffer[..name.len().min(LONGEST)];
    lower.copy_from_slice(&name[..lower.len()]);
    lower.make_ascii_lowercase();
    let many = |action, syntax| Rule { action, syntax, once: false };
    let once = |action, syntax| Rule { action, syntax, once: true };

    match &*lower {
        // They name or sign for a sender that SES has not verified, or reveal blind recipients.
        b"return-path" | b"dkim-signature" | b"domainkey-signature" | b"sender" | b"bcc" | b"resent-bcc" => {
            many(Remove, Tokens)
        }
        // A stranger could pick our configuration set or sending identity.
        [b'x', b'-', b's', b'e', b's', b'-', ..] => many(Remove, Tokens),

        b"resent-date" | b"resent-message-id" => many(Rename, Tokens),
        [b'r', b'e', b's', b'e', b'n', b't', b'-', ..] => many(Rename, Mailboxes),

        b"from" => once(From, Mailboxes),
        b"reply-to" => many(ReplyTo, Mailboxes),
        b"to" | b"cc" => many(Recipients, Mailboxes),
        b"message-id" => once(MessageId, Tokens),
        b"references" => once(References, Tokens),
        b"subject" => once(Subject, Text),

        b"x-original-to" | b"x-original-from" | b"x-original-message-id" | b"x-forwarder-verdict" => {
            many(Ours, Text)
        }
        b"x-loop" => many(Loop, Text),

        b"comments" | b"organization" | b"thread-topic" | b"user-agent" | b"content-description" => {
            once(Keep, Text)
        }
        b"disposition-notification-to" | b"errors-to" | b"return-receipt-to" | b"list-id" | b"keywords" => {
            once(Keep, Mailboxes)
        }
        b"content-type" | b"content-disposition" => once(Keep, Parameters),
        b"accept-language"
        | b"acceptlanguage"
        | b"archived-at"
        | b"auto-submitted"
        | b"bounces-to"
        | b"date"
        | b"delivered-to"
        | b"importance"
        | b"in-reply-to"
        | b"list-archive"
        | b"list-help"
        | b"list-owner"
        | b"list-post"
        | b"list-subscribe"
        | b"list-unsubscribe"
        | b"list-unsubscribe-post"
        | b"message-context"
        | b"mime-version"
        | b"precedence"
        | b"priority"
        | b"sensitivity"
        | b"solicitation"
        | b"thread-index"
        | b"vbr-info" => once(Keep, Tokens),
        [b'o', b'r', b'i', b'g', b'i', b'n', b'a', b'l', b'-', ..] => once(Keep, Text),
        [b'c', b'o', b'n', b't', b'e', b'n', b't', b'-', ..] => once(Keep, Tokens),
        lower if lower.starts_with(b"disposition-notification-") => once(Keep, Tokens),

        b"received" | b"received-spf" | b"authentication-results" => many(Keep, Tokens),
        [b'a', b'r', b'c', b'-', ..] | [b'l', b'i', b's', b't', b'-', ..] => many(Keep, Tokens),
        // RFC 5322 section 3.6.8: what has no grammar of its own is unstructured.
        _ => many(Keep, Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        for (name, expected) in [
            ("Return-PATH", Rule { action: Remove, syntax: Tokens, once: false }),
            ("x-ses-Configuration-Set", Rule { action: Remove, syntax: Tokens, once: false }),
            ("X-SES-", Rule { action: Remove, syntax: Tokens, once: false }),
            ("X-SESSION", Rule { action: Keep, syntax: Text, once: false }),
            ("RESENT-From", Rule { action: Rename, syntax: Mailboxes, once: false }),
            ("Content-Anything", Rule { action: Keep, syntax: Tokens, once: true }),
            ("Disposition-Notification-Options", Rule { action: Keep, syntax: Tokens, once: true }),
            ("Content-Type", Rule { action: Keep, syntax: Parameters, once: true }),
            ("AcceptLanguage", Rule { action: Keep, syntax: Tokens, once: true }),
            ("Resent-BCC", Rule { action: Remove, syntax: Tokens, once: false }),
            ("Original-Recipient", Rule { action: Keep, syntax: Text, once: true }),
            ("CC", Rule { action: Recipients, syntax: Mailboxes, once: false }),
            ("X-Original-Resent-From", Rule { action: Keep, syntax: Text, once: false }),
        ] {
            assert_eq!(rule(name.as_bytes()), expected, "{name}");
        }
        let long = format!("From{}", "x".repeat(100));
        assert_eq!(rule(long.as_bytes()), Rule { action: Keep, syntax: Text, once: false });
        let long = format!("Content-{}", "x".repeat(100));
        assert!(rule(long.as_bytes()).once);
    }
}
