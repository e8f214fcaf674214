//! Where the mail of each recipient goes, or why it goes nowhere: what deciding says, and rewriting and the
//! record repeat.

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// One envelope recipient and where its mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The envelope recipient.
    pub recipient: Address,
    /// Its destinations.
    pub destinations: Vec<Address>,
    /// What asked for a tag.
    pub tags: Vec<Reason>,
}

/// One envelope recipient whose mail goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The envelope recipient as SES wrote it.
    pub recipient: String,
    /// Why.
    pub reason: Reason,
}

/// Why a message was dropped or tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The spam scanner said FAIL.
    Spam,
    /// The virus scanner said FAIL.
    Virus,
    /// DMARC failed.
    Dmarc,
    /// Neither SPF nor DKIM passed.
    Unauthenticated,
    /// SPF failed.
    Spf,
    /// DKIM failed.
    Dkim,
    /// It says that it is from a domain of ours, and nobody vouches for that.
    Forged,
    /// A line of the routes for its sender.
    Sender,
    /// A line of the routes refuses it.
    Refused,
    /// It has been here before, or travels in circles.
    Loop,
    /// No line of the routes matches any recipient.
    NoRoute,
    /// The routes discard it.
    Discarded,
    /// A destination's refusal of a message we forwarded, which SES reports.
    Bounce,
    /// What looks like one, but SES did not send it: anybody could have.
    UnverifiedBounce,
    /// An automatic reply to a message we forwarded, or a machine's answer.
    AutoReply,
    /// An answer that says it is the owner's, and nobody vouches for that.
    UnverifiedAnswer,
}

impl Reason {
    /// All of them.
    const ALL: [Reason; 16] = [
        Reason::Spam,
        Reason::Virus,
        Reason::Dmarc,
        Reason::Unauthenticated,
        Reason::Spf,
        Reason::Dkim,
        Reason::Forged,
        Reason::Sender,
        Reason::Refused,
        Reason::Loop,
        Reason::NoRoute,
        Reason::Discarded,
        Reason::Bounce,
        Reason::UnverifiedBounce,
        Reason::AutoReply,
        Reason::UnverifiedAnswer,
    ];

    /// As records, logs and `X-Forwarder-Verdict` write it.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Spam => "spam",
            Reason::Virus => "virus",
            Reason::Dmarc => "dmarc",
            Reason::Unauthenticated => "unauthenticated",
            Reason::Spf => "spf",
            Reason::Dkim => "dkim",
            Reason::Forged => "forged",
            Reason::Sender => "sender",
            Reason::Refused => "refused",
            Reason::Loop => "loop",
            Reason::NoRoute => "no-route",
            Reason::Discarded => "discarded",
            Reason::Bounce => "bounce",
            Reason::UnverifiedBounce => "unverified-bounce",
            Reason::AutoReply => "auto-reply",
            Reason::UnverifiedAnswer => "unverified-answer",
        }
    }

    /// Whether the owner may have a message sent that was dropped for this: a verdict, or a line for its
    /// sender. A loop stays one, and what no route leads anywhere, or answers what nobody here wrote, has nowhere to
    /// go.
    pub fn may_be_released(self) -> bool {
        match self {
            Reason::Spam
            | Reason::Virus
            | Reason::Dmarc
            | Reason::Unauthenticated
            | Reason::Spf
            | Reason::Dkim
            | Reason::Forged
            | Reason::Sender
            | Reason::Refused => true,
            Reason::Loop
            | Reason::NoRoute
            | Reason::Discarded
            | Reason::Bounce
            | Reason::UnverifiedBounce
            | Reason::AutoReply
            | Reason::UnverifiedAnswer => false,
        }
    }

    /// The reason that a record means.
    pub fn of_word(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_is_recorded_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.word());
            assert_eq!(Reason::of_word(reason.word()), Some(reason));
        }
        assert_eq!(Reason::of_word("ThrottlingException"), None);
    }
}
