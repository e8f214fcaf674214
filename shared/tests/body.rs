//! Bodies with lines that are too long: what is re-encoded, what never is, and that its reader decodes the
//! same.

mod common;

use std::fmt::Write;

use mail_parser::{MessageParser, PartType};
use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::{
    body::{LINE_OCTETS, Recoding, long_line},
    header::split,
};

use self::common::recoded_in;

/// A message as it is sent, read in pieces of about `room` bytes; `None` if its body stays.
fn sent_in(message: &[u8], room: usize) -> Option<Vec<u8>> {
    let block = split(message);
    let recoding = Recoding::of(&block, &message[block.body_at..])?;
    Some(recoded_in(message, block.body_at, &recoding, room))
}

fn sent(message: &str) -> Option<String> {
    sent_in(message.as_bytes(), 1000).map(|sent| String::from_utf8(sent).expect("the tests are of text"))
}

fn long(text: &str) -> String {
    text.repeat(LINE_OCTETS / text.len() + 1)
}

#[test]
fn the_first_line_that_is_too_long_is_found() {
    let line = |length: usize| "x".repeat(length);
    for (case, text, expected) in [
        ("nothing", String::new(), None),
        ("longest, CRLF", format!("{}\r\n{}\r\n", line(998), line(998)), None),
        ("longest, LF", format!("{}\n{}\n", line(998), line(998)), None),
        ("longest, without an end", format!("a\n{}", line(998)), None),
        ("longest, CR at the end", format!("a\n{}\r", line(998)), None),
        ("one more, CRLF", format!("a\r\n{}\r\n", line(999)), Some(3)),
        ("one more, LF", format!("a\n{}\na", line(999)), Some(2)),
        ("one more, without an end", format!("a\n{}", line(999)), Some(2)),
        ("one more, CR at the end", format!("{}\r", line(999)), Some(0)),
        ("short ones before", format!("{}{}\n", "a\n".repeat(700), line(5000)), Some(1400)),
        ("a short one in reach", format!("{}\n{}\r\n", line(500), line(499)), None),
        ("only line ends", "\r\n".repeat(3000), None),
    ] {
        assert_eq!(long_line(text.as_bytes(), 0), expected, "{case}");
    }
    let text = format!("{}\nb\n{}\n", line(999), line(1000));
    assert_eq!(long_line(text.as_bytes(), 1000), Some(1002));
    assert_eq!(long_line(text.as_bytes(), text.len()), None);
}

proptest! {
    #[test]
    fn it_is_the_line_that_reading_each_finds(lengths in vec(prop_oneof![0..20_usize, 990..1010_usize, 2..3000_usize], 0..8), end in select(&["\n", "\r\n"][..])) {
        let text: String = lengths.iter().map(|length| format!("{}{end}", "x".repeat(*length))).collect();
        let mut at = 0;
        let mut expected = None;
        for length in &lengths {
            if *length > LINE_OCTETS && expected.is_none() {
                expected = Some(at);
            }
            at += length + end.len();
        }
        prop_assert_eq!(long_line(text.as_bytes(), 0), expected);
    }
}

#[test]
fn a_message_of_one_part() {
    let ones = long("1");
    let wrapped = |per_line: usize, end: &str| {
        let mut lines = String::new();
        let mut rest = ones.len();
        while rest > per_line {
            write!(lines, "{}{end}", "1".repeat(per_line)).unwrap();
            rest -= per_line;
        }
        lines + &"1".repeat(rest)
    };
    let quoted = wrapped(75, "=\r\n");
    for (case, message, expected) in [
        (
            "plain",
            format!("MIME-Version: 1.0\r\nSubject: s\r\n\r\na = b \r\n{ones}\r\n\u{fc}\r\n"),
            format!(
                "MIME-Version: 1.0\r\nSubject: s\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                 a =3D b=20\r\n{quoted}\r\n=C3=BC\r\n"
            ),
        ),
        (
            "8bit, no MIME-Version, LF",
            format!(
                "content-transfer-encoding:\n 8BIT (all)\nContent-Type: TEXT/html; charset=utf-8\n\n{ones}\n\t"
            ),
            format!(
                "Content-Type: TEXT/html; charset=utf-8\nMIME-Version: 1.0\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\n{quoted}\n=09"
            ),
        ),
        (
            "base64 on one line",
            format!("Content-Transfer-Encoding: base64\r\nContent-Type: a/b\r\n\r\n{ones}\r\nMTEx\r\n"),
            format!(
                "Content-Transfer-Encoding: base64\r\nContent-Type: a/b\r\n\r\n{}\r\nMTEx\r\n",
                wrapped(76, "\r\n")
            ),
        ),
        (
            "quoted-printable, a line too long",
            format!("Content-Transfer-Encoding: Quoted-Printable\r\n\r\na=\r\n=3D{ones}=\r\nb\r\n"),
            format!(
                "Content-Transfer-Encoding: Quoted-Printable\r\n\r\na=\r\n=3D{}=\r\n{}=\r\nb\r\n",
                "1".repeat(72),
                {
                    let rest = "1".repeat(ones.len() - 72);
                    let lines: Vec<_> = rest
                        .as_bytes()
                        .chunks(75)
                        .map(|line| String::from_utf8_lossy(line).into_owned())
                        .collect();
                    lines.join("=\r\n")
                },
            ),
        ),
    ] {
        assert_eq!(sent(&message).as_deref(), Some(&*expected), "{case}");
    }
    let bytes = format!("Content-Type: application/json\r\n\r\n{{\r\n{ones}\r\n}}\r\n");
    let sent = sent(&bytes).unwrap();
    let expected = "Content-Type: application/json\r\nMIME-Version: 1.0\r\n\
                    Content-Transfer-Encoding: base64\r\n\r\new0KMTExMTExMTEx";
    assert!(sent.starts_with(expected), "{sent}");
    assert!(sent.ends_with("DQp9DQo=\r\n"), "{sent}");
    assert!(long_line(sent.as_bytes(), 0).is_none());
}

/// A multipart that holds `part`, and others around it.
fn around(part: &str) -> String {
    format!(
        "Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\npreamble\r\n--a b\r\n\r\nfirst = \u{fc}\r\n\
         --a b \t\r\n{part}\r\n--a b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         MTEx\r\n\r\n--a b--\r\nepilogue\r\n--a b\r\n"
    )
}

#[test]
fn only_the_part_that_holds_the_line_changes() {
    let ones = long("1");
    let quoted: Vec<_> =
        ones.as_bytes().chunks(75).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let quoted = quoted.join("=\r\n");
    let field = "Content-Transfer-Encoding: quoted-printable\r\n";
    for (case, part, expected) in [
        ("no header", format!("\r\n{ones}"), format!("{field}\r\n{quoted}")),
        ("no empty line", format!("a line\r\n{ones}"), format!("{field}\r\na line\r\n{quoted}")),
        (
            "a header",
            format!("Content-Type: text/html\r\n\r\n<p>\r\n{ones}"),
            format!("Content-Type: text/html\r\n{field}\r\n<p>\r\n{quoted}"),
        ),
        (
            "its own encoding, twice",
            format!(
                "A: 1\r\nContent-Transfer-Encoding: 7bit\r\nB: 2\r\nContent-transfer-encoding :\r\n base64\r\nC: 3\r\n\r\n{ones}"
            ),
            format!("A: 1\r\nB: 2\r\nC: 3\r\n{field}\r\n{quoted}"),
        ),
        (
            "a multipart in it, not closed",
            format!(
                "Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n1\r\n--c\r\n\r\n{ones}"
            ),
            format!(
                "Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n1\r\n--c\r\n{field}\r\n{quoted}"
            ),
        ),
        (
            "a message in it",
            format!(
                "Content-Type: message/rfc822\r\n\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n{ones}\r\n--c--"
            ),
            format!(
                "Content-Type: message/rfc822\r\n\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n{field}\r\n{quoted}\r\n--c--"
            ),
        ),
        (
            "a digest in it",
            format!(
                "Content-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\nSubject: s\r\n\r\n{ones}\r\n--c--"
            ),
            format!(
                "Content-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\nSubject: s\r\n{field}\r\n{quoted}\r\n--c--"
            ),
        ),
        (
            "beside what is signed",
            format!(
                "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: multipart/signed; boundary=d\r\n\r\n--d\r\n\r\n{ones}\r\n--d--\r\n--c\r\n\r\n{ones}\r\n--c--"
            ),
            format!(
                "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: multipart/signed; boundary=d\r\n\r\n--d\r\n\r\n{ones}\r\n--d--\r\n--c\r\n{field}\r\n{quoted}\r\n--c--"
            ),
        ),
    ] {
        assert_eq!(sent(&around(&part)).as_deref(), Some(&*around(&expected)), "{case}");
        let lf = |text: &str| text.replace("\r\n", "\n");
        let sent = sent(&lf(&around(&part))).map(|sent| lf(&sent));
        assert_eq!(sent, Some(lf(&around(&expected))), "{case}, with LF");
    }
}

#[test]
fn what_never_changes() {
    let ones = long("1");
    let signed = format!("\r\n\r\n--c\r\n\r\n{ones}\r\n--c--");
    for part in [
        format!("Content-Type: multipart/signed; boundary=c{signed}"),
        format!("Content-Type: Multipart/Encrypted; boundary=c{signed}"),
        format!("Content-Type: multipart/mixed{signed}"),
        format!("Content-Type: multipart/mixed; boundary=\"\"{signed}"),
        format!(
            "Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n{ones}"
        ),
        format!("Content-Type: application/x-pkcs7-mime\r\n\r\n{ones}"),
        format!("Content-Transfer-Encoding: x-uuencode\r\n\r\n{ones}"),
        format!(
            "\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n{ones}\r\n-----BEGIN PGP SIGNATURE-----"
        ),
        format!(
            "Content-Transfer-Encoding: quoted-printable\r\n\r\nHello\r\n-----BEGIN PGP MESSAGE-----\r\n{ones}"
        ),
        format!("X: {ones}\r\n\r\nthe line is in a header"),
    ] {
        assert_eq!(sent(&part), None, "{part}");
        assert_eq!(sent(&around(&part)), None, "{part}");
    }
    let between = around("\r\nx").replace("preamble", &ones).replace("epilogue", &ones);
    assert_eq!(sent(&between), None);
    let deep: String =
        (0..40).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
    assert_eq!(sent(&format!("{deep}\r\n{ones}\r\n")), None, "nested too deep");
    let quoted_in_a_line = format!("\r\nsay -----BEGIN PGP \r\n{ones}");
    assert!(sent(&quoted_in_a_line).is_some());
}

#[test]
fn parts_beyond_what_ses_takes_stay() {
    let ones = long("1");
    let parts = format!("--b\r\n\r\n{ones}\r\n").repeat(600);
    let sent = sent(&format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n")).unwrap();
    assert_eq!(sent.matches("quoted-printable").count(), 500);
    assert_eq!(sent.matches(&ones).count(), 100);
}

/// What a reader decodes: each part's header without the encoding, and its content.
fn decoded(message: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    fn add(message: &mail_parser::Message<'_>, all: &mut Vec<(String, Vec<u8>)>) {
        for part in &message.parts {
            let names: String = part
                .headers()
                .iter()
                .map(|header| header.name().to_ascii_lowercase())
                .filter(|name| name != "content-transfer-encoding" && name != "mime-version")
                .collect();
            match &part.body {
                PartType::Message(inner) => {
                    all.push((names, Vec::new()));
                    add(inner, all);
                }
                PartType::Multipart(_) => all.push((names, Vec::new())),
                _ => all.push((names, part.contents().trim_ascii_end().to_vec())),
            }
        }
    }
    // mail-parser asserts, in debug builds, that it understood the nesting, and does not always: then it is no
    // judge.
    let message = std::panic::catch_unwind(|| MessageParser::default().parse(message)).ok()?;
    let mut all = Vec::new();
    if let Some(message) = message {
        add(&message, &mut all);
    }
    Some(all)
}

fn line() -> impl Strategy<Value = String> {
    let words = select(
        &["a", "=", "=3D", " ", "\t", ".", "From ", "\u{fc}", "\u{65e5}", "--", "--b", "x y z", "\0"][..],
    );
    (vec(words, 0..6), prop_oneof![4 => Just(1), 1 => 1..700_usize])
        .prop_map(|(words, times)| words.concat().repeat(times))
}

fn leaf() -> impl Strategy<Value = String> {
    let media = select(
        &[
            "",
            "Content-Type: text/html; charset=utf-8\r\n",
            "Content-Type: text/plain; charset=\"utf-8\"\r\n",
            "Content-Type: application/octet-stream\r\n",
        ][..],
    );
    let encoding =
        select(&["", "Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: binary\r\n"][..]);
    (media, encoding, vec(line(), 0..5))
        .prop_map(|(media, encoding, lines)| format!("{media}{encoding}\r\n{}", lines.join("\r\n")))
}

/// No line begins as a delimiter does and goes on otherwise: whether that is one, readers disagree (RFC 2046 section
/// 5.1.1 has it so, most programs do not).
fn entity() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            (vec(inner.clone(), 1..4), "[c-z]{1,5}_").prop_map(|(parts, boundary)| {
                let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
                format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{parts}--{boundary}--\r\n")
            }),
            inner.prop_map(|message| format!("Content-Type: message/rfc822\r\n\r\nSubject: s\r\n{message}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn its_reader_decodes_the_same(message in entity(), room in 1..5000_usize) {
        let message = format!("MIME-Version: 1.0\r\n{message}");
        let sent = sent_in(message.as_bytes(), room);
        prop_assert_eq!(&sent, &sent_in(message.as_bytes(), 1 << 20), "in any pieces");
        if let Some(sent) = sent {
            prop_assert_eq!(long_line(&sent, 0), None, "{}", sent.escape_ascii());
            let both = decoded(&sent).zip(decoded(message.as_bytes()));
            prop_assume!(both.is_some(), "the parser is no judge of it");
            let (after, before) = both.unwrap_or_default();
            prop_assert_eq!(after, before, "{}", sent.escape_ascii());
        } else {
            prop_assert_eq!(long_line(message.as_bytes(), 0), None, "{}", message);
        }
    }

    #[test]
    fn any_body_is_walked(pieces in vec(select(&["--", "--b", "--b--", "\r\n", "\n", "\r", "b", "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: multipart/digest; boundary=b:\r\n", "Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: base64\n", "=", "--b:\n", ":", "\u{fc}"][..]), 0..40), long in 0..1500_usize, at in 0..40_usize) {
        let mut pieces: Vec<String> = pieces.into_iter().map(str::to_owned).collect();
        pieces.insert(at.min(pieces.len()), "1".repeat(long));
        let message = pieces.concat();
        let _ = sent_in(message.as_bytes(), 100);
    }
}
