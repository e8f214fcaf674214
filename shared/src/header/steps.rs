//! How much work reading takes, counted in tests: a clock would tell of the machine as well.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts octets that were looked at.
#[inline(always)]
pub(super) fn count(octets: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + octets));
    #[cfg(not(test))]
    let _ = octets;
}

#[cfg(test)]
mod tests {
    use super::STEPS;
    use crate::header::{Rewrite, rewrite, split};

    /// What a structured field is made of, and what opens something that need not end.
    const TOKENS: [&str; 20] = [
        "<",
        ">",
        "\\",
        "(",
        ")",
        "\"",
        ",",
        ";",
        ":",
        "=?",
        "?=",
        "=?utf-8?q?",
        "@",
        ".",
        "[",
        "]",
        "a",
        " ",
        "\r\n ",
        "é",
    ];
    const MORE: [&str; 8] =
        ["<@r:", "a@x.example", "\\\"", "mailto:", "=?utf-8?b?w6k=?=", "a=", "%\0", "info@in.example"];

    const HOW: Rewrite<'static> = Rewrite {
        email_domain: "in.example",
        envelope_sender: None,
        deliveries: &[],
        recipients: &[],
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
    };

    /// The steps that rewriting takes for fields of a piece repeated, and the size of the new block.
    fn of(piece: &str, times: usize) -> (usize, usize) {
        let value = piece.repeat(times);
        let message = format!(
            "From: {value}\r\nTo: {value}\r\nReply-To: {value}\r\nSubject: {value}\r\nContent-Type: a;{value}\r\nKeywords: {value}\r\n\r\n"
        );
        let before = STEPS.with(std::cell::Cell::get);
        let written = rewrite(&split(message.as_bytes()), &HOW).header.len();
        (STEPS.with(std::cell::Cell::get) - before, written)
    }

    fn check(piece: &str) {
        let ((few, short), (many, long)) = (of(piece, 20), of(piece, 100));
        assert!(many <= 6 * few + 2_000, "{piece:?}: {few} steps became {many}");
        assert!(long <= 6 * short + 2_000, "{piece:?}: {short} octets became {long}");
    }

    /// What is written is bounded where a long name could be repeated with every piece of its value.
    #[test]
    fn a_long_name_is_not_repeated() {
        let size = |length: usize| {
            let message = format!("Content-Type: a; {}={}\r\n\r\n", "n".repeat(length), "é".repeat(length));
            rewrite(&split(message.as_bytes()), &HOW).header.len()
        };
        assert!(size(10_000) <= 11 * size(1_000), "{} and {}", size(1_000), size(10_000));
        assert!(size(30) < 1_000);
    }

    /// Time is linear whatever is repeated: five times as much takes five times the steps.
    #[test]
    fn pairs_and_triples_of_tokens_repeated() {
        for first in TOKENS.into_iter().chain(MORE) {
            check(first);
            for second in TOKENS.into_iter().chain(MORE) {
                check(&[first, second].concat());
            }
        }
        for first in TOKENS {
            for second in TOKENS {
                for third in TOKENS {
                    check(&[first, second, third].concat());
                }
            }
        }
    }
}
