//! How much work reading takes, counted in tests: a clock would tell of the machine as well.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts octets that were looked at.
#[inline(always)]
pub(crate) fn count(octets: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + octets));
    #[cfg(not(test))]
    let _ = octets;
}

#[cfg(test)]
mod tests {
    use super::STEPS;
    use crate::{
        address::Address,
        body::Recoding,
        delivery::Delivery,
        domains::Domains,
        header::{
            AnswerHeader, HeaderFacts, Rewrite, Signatures, answer, named, recipients_at, rewrite, split,
        },
        replies::{Replies, keys::ReplyKeys},
    };

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
    const MORE: [&str; 10] = [
        "<@r:",
        "a@x.example",
        "\\\"",
        "mailto:",
        "=?utf-8?b?w6k=?=",
        "a=",
        "%\0",
        "info@in.example",
        "<> ",
        "a*0*=",
    ];
    /// Every field that is read, not just copied.
    const FIELDS: [&str; 20] = [
        "From",
        "To",
        "Cc",
        "Reply-To",
        "Subject",
        "Message-ID",
        "In-Reply-To",
        "References",
        "Keywords",
        "Received",
        "Authentication-Results",
        "X-Loop",
        "Auto-Submitted",
        "Precedence",
        "X-Auto-Reply",
        "Content-Description",
        "Content-Transfer-Encoding",
        "Resent-To",
        "DKIM-Signature",
        "Thread-Topic",
    ];
    /// What a body is made of whose structure is walked.
    const LINES: [&str; 14] = [
        "Content-Type: multipart/mixed; boundary=b\n",
        "Content-Type: multipart/digest; boundary=\"b\"\n",
        "Content-Type: multipart/mixed; boundary=",
        "Content-Type: message/rfc822\n",
        "Content-Transfer-Encoding: base64\n",
        "--b\n",
        "--b--\r\n",
        "--",
        "\n",
        "a\n",
        " a\n",
        "a: b\n",
        "\";\n",
        "-----BEGIN PGP ",
    ];

    fn steps(work: impl FnOnce()) -> usize {
        let before = STEPS.with(std::cell::Cell::get);
        work();
        STEPS.with(std::cell::Cell::get) - before
    }

    fn delivery(recipient: &str, destination: &str) -> Delivery {
        let [recipient, destination] =
            [recipient, destination].map(|text| Address::parse(text).expect("a constant address"));
        Delivery { recipient, destinations: vec![destination], tags: Vec::new() }
    }

    /// The steps that reading and rewriting takes for fields of a piece repeated, and the size of the new block.
    fn of_header(piece: &str, times: usize) -> (usize, usize) {
        let value = piece.repeat(times);
        let fields = FIELDS.map(|name| format!("{name}: {value}\r\n")).concat();
        // Readers of parameters and results, with the value where one begins and where its name is known.
        let message = format!(
            "Authentication-Results: amazonses.com; dkim=pass {value}\r\n{fields}Content-Type: multipart/report;{value}\r\nContent-Disposition: a; filename={value}\r\n\r\n"
        );
        of_message(&message, &value)
    }

    /// The same for the authors or recipients of a message, and for what is written of them: a piece repeated, in which
    /// `#` is another number each time, as of an address that repeats only the first is written.
    fn of_mailboxes(name: &str, piece: &str, times: usize) -> (usize, usize) {
        let value: String = (0..times).map(|number| piece.replace('#', &format!("{number:03}"))).collect();
        of_message(&format!("{name}: {value}\r\n\r\n"), "")
    }

    fn of_message(message: &str, envelope_sender: &str) -> (usize, usize) {
        let deliveries = [delivery("info@in.example", "ann@out.example")];
        let how = Rewrite {
            email_domain: "in.example",
            envelope_sender: Some(envelope_sender),
            deliveries: &deliveries,
            recipients: &[],
            hide_destinations: false,
            subject_prefix: "[x]",
            tags: &[],
            replies: None,
        };
        let domains = Domains::parse("in.example").expect("a constant domain");
        let keys = ReplyKeys::first([7; 32]);
        let answered = AnswerHeader {
            alias: &deliveries[0].recipient,
            correspondents: &[],
            private: &deliveries[0].destinations,
            replies: Replies { keys: &keys, contacts: &[], named: &[], domains: &domains },
            subject_prefix: "[x]",
        };
        let mut written = 0;
        let steps = steps(|| {
            let block = split(message.as_bytes());
            let _ = (HeaderFacts::of(&block), named(&block, &deliveries));
            let signatures = Signatures::of(&block);
            let _ = recipients_at(&block, &domains, |field| signatures.cover(field));
            written = rewrite(&block, &how).header.len() + answer(&block, &answered).header.len();
        });
        (steps, written)
    }

    fn check_header(piece: &str) {
        check_growth(piece, of_header(piece, 20), of_header(piece, 100));
    }

    fn check_growth(piece: &str, (few, short): (usize, usize), (many, long): (usize, usize)) {
        assert!(many <= 6 * few + 4_000, "{piece:?}: {few} steps became {many}");
        assert!(long <= 6 * short + 4_000, "{piece:?}: {short} octets became {long}");
    }

    /// The steps that it takes to find what has to be re-encoded in a body of a piece repeated, the octets that
    /// this sends, and those that the body has. Only a line that is too long has a body walked at all.
    fn of_body(piece: &str, times: usize) -> (usize, u64, u64) {
        let long = "x".repeat(1_000);
        let body = format!("{}{long}\n{}\n--b--\n{long}", piece.repeat(times), piece.repeat(times));
        let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{body}");
        let mut sent = body.len() as u64;
        let steps = steps(|| {
            let recoding = Recoding::of(&split(message.as_bytes()), body.as_bytes());
            sent = recoding.map_or(sent, |recoding| recoding.len());
        });
        (steps, sent, body.len() as u64)
    }

    fn check_body(piece: &str) {
        // Beyond the depth to which multiparts are followed.
        let ((few, ..), (many, sent, came)) = (of_body(piece, 40), of_body(piece, 200));
        assert!(many <= 6 * few + 4_000, "{piece:?}: {few} steps became {many}");
        assert!(sent <= 3 * came + 4_000, "{piece:?}: {came} octets became {sent}");
    }

    /// What is written is bounded where a long name could be repeated with every piece of its value.
    #[test]
    fn a_long_name_is_not_repeated() {
        let how = Rewrite {
            email_domain: "in.example",
            envelope_sender: None,
            deliveries: &[],
            recipients: &[],
            hide_destinations: false,
            subject_prefix: "",
            tags: &[],
            replies: None,
        };
        let size = |length: usize| {
            let message = format!("Content-Type: a; {}={}\r\n\r\n", "n".repeat(length), "é".repeat(length));
            rewrite(&split(message.as_bytes()), &how).header.len()
        };
        assert!(size(10_000) <= 11 * size(1_000), "{} and {}", size(1_000), size(10_000));
        assert!(size(30) < 1_000);
    }

    /// Time is linear whatever is repeated: five times as much takes five times the steps.
    fn pairs_and_triples(pieces: &[&str], more: &[&str], check: fn(&str)) {
        let all = || pieces.iter().chain(more);
        for first in all() {
            check(first);
            for second in all() {
                check(&[*first, *second].concat());
            }
        }
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    check(&[*first, *second, *third].concat());
                }
            }
        }
    }

    #[test]
    fn mailboxes_that_differ() {
        const MAILBOXES: [&str; 8] = [
            "# <#@x.example>",
            "\"#.\" <#@x.example>",
            "# [ <#@x.example>",
            "#\r\n [ <#@x.example>",
            "é# <#@x.example>",
            "#@x.example",
            "#: #@x.example;",
            "[#: #@x.example;",
        ];
        let name = "n".repeat(280);
        for mailbox in MAILBOXES {
            for separator in [",", ", ", ";", ";\r\n ", ",(c)", " "] {
                for piece in [format!("{mailbox}{separator}"), format!("{name} {mailbox}{separator}")] {
                    for field in ["From", "To"] {
                        let [few, many] = [200, 1000].map(|times| of_mailboxes(field, &piece, times));
                        check_growth(&piece, few, many);
                    }
                }
            }
        }
    }

    #[test]
    fn fields_that_repeat() {
        let of = |fields: &str, times| of_message(&(fields.repeat(times) + "\r\n"), "");
        let more = ["Content-Type", "x"];
        for name in FIELDS.iter().chain(&more) {
            for value in ["", "a@in.example", "v=1; h=to:cc"] {
                for signature in ["", "DKIM-Signature: h=to\r\n"] {
                    let fields = format!("{name}: {value}\r\n{signature}");
                    check_growth(&fields, of(&fields, 200), of(&fields, 1000));
                }
            }
        }
    }

    #[test]
    fn pairs_and_triples_of_tokens_repeated_in_every_field() {
        pairs_and_triples(&TOKENS, &MORE, check_header);
    }

    #[test]
    fn pairs_and_triples_of_lines_repeated_in_a_body() {
        let (counted, _, came) = of_body("--b\n\na\n", 200);
        assert!(counted as u64 >= came, "{counted} steps of {came} octets were counted");
        pairs_and_triples(&LINES, &[], check_body);
    }
}
