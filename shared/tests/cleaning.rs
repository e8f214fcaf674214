//! The text of an answer without its owner's address: what is replaced, in whatever encoding, and what stays.

mod common;

use base64_simd::STANDARD;
use mail_parser::MessageParser;
use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::{
    address::Address,
    body::{Cleaner, Recoding},
    header::split,
};

use self::common::recoded_in;

fn address(text: &str) -> Address {
    Address::parse(text).expect("a constant address")
}

fn cleaner() -> Cleaner {
    let private = [address("ann@out.example"), address("ann.owner@out.example")];
    Cleaner::new(&private, &address("info@in.example"))
}

/// A message as it goes out, read in pieces of about `room` bytes; `None` if its body stays.
fn sent_in(message: &[u8], room: usize) -> Option<Vec<u8>> {
    let block = split(message);
    let recoding = Recoding::cleaned(&block, &message[block.body_at..], cleaner())?;
    Some(recoded_in(message, block.body_at, &recoding, room))
}

/// What its reader sees of a message's only part.
fn read(message: &[u8]) -> Vec<u8> {
    let parsed = MessageParser::default().parse(message).expect("a message");
    parsed.parts[0].contents().to_vec()
}

/// A text in an encoding.
fn encoded(encoding: &str, text: &str) -> String {
    match encoding {
        "base64" => STANDARD
            .encode_to_string(text)
            .as_bytes()
            .chunks(76)
            .fold(String::new(), |all, line| all + str::from_utf8(line).expect("ASCII") + "\r\n"),
        // Soft line breaks everywhere, in the middle of addresses too.
        "quoted-printable" => text
            .split("\r\n")
            .map(|line| {
                let units: Vec<String> = line
                    .bytes()
                    .map(|byte| match byte {
                        b'=' | 128.. => format!("={byte:02X}"),
                        byte => char::from(byte).to_string(),
                    })
                    .collect();
                units.chunks(3).map(<[String]>::concat).collect::<Vec<_>>().join("=\r\n")
            })
            .collect::<Vec<_>>()
            .join("\r\n"),
        _ => text.to_owned(),
    }
}

#[test]
fn the_alias_takes_the_place_of_the_owner_in_every_encoding() {
    let html = "text/html; charset=utf-8";
    for (case, media, text, expected) in [
        ("alone", "text/plain", "ann@out.example", "info@in.example"),
        ("in any case", "text/plain", "Ann@Out.Example\r\n", "info@in.example\r\n"),
        (
            "at the ends",
            "text/plain",
            "ann@out.example, x <ann@out.example>",
            "info@in.example, x <info@in.example>",
        ),
        (
            "at the end of a sentence",
            "text/plain",
            "Write to ann@out.example.\r\n",
            "Write to info@in.example.\r\n",
        ),
        ("another of hers", "text/plain", "ann.owner@out.example", "info@in.example"),
        (
            "quoted",
            "text/plain",
            "> On Monday ann@out.example wrote:\r\n> x\r\n",
            "> On Monday info@in.example wrote:\r\n> x\r\n",
        ),
        (
            "a link",
            html,
            "<a href=\"mailto:ann@out.example?subject=a\">",
            "<a href=\"mailto:info@in.example?subject=a\">",
        ),
        ("an encoded link", html, "mailto:ann%40out.example", "mailto:info%40in.example"),
        ("a reference", html, "<b>ann&#64;out.example</b>", "<b>info&#64;in.example</b>"),
        (
            "beside others",
            "text/plain",
            "joann@out.example ann@out.example é",
            "joann@out.example info@in.example é",
        ),
        (
            "twice in a row",
            "text/plain",
            "ann@out.example;ann@out.example",
            "info@in.example;info@in.example",
        ),
        (
            "in quotes, stars and paths",
            "text/plain",
            "'ann@out.example' *ann@out.example* |ann@out.example| x/ann%40out.example ?ann@out.example",
            "'info@in.example' *info@in.example* |info@in.example| x/info%40in.example ?info@in.example",
        ),
        ("behind what begins like it", "text/plain", "ann@ann@out.example", "ann@info@in.example"),
        (
            "in a link that leads by way of another",
            html,
            "<a href=\"https://safe.example/?url=https%3A%2F%2Fx.example&amp;data=05%7C02%7Cann%40out.example%7C0\">",
            "<a href=\"https://safe.example/?url=https%3A%2F%2Fx.example&amp;data=05%7C02%7Cinfo%40in.example%7C0\">",
        ),
        (
            "in links that are encoded once and twice",
            html,
            "to=mailto%3Aann%40out.example&a=%3cAnn@out.example%3e&b=%253Cann%2540out.example%253E ann%2540out.example",
            "to=mailto%3Ainfo%40in.example&a=%3cinfo@in.example%3e&b=%253Cinfo%2540in.example%253E info%2540in.example",
        ),
        (
            "in every reference",
            html,
            "ann&#64;out.example ann&#x40;out.example ann&commat;out.example &lt;ann@out.example&gt;",
            "info&#64;in.example info&#x40;in.example info&commat;in.example &lt;info@in.example&gt;",
        ),
        (
            "behind what is no encoded octet",
            "text/plain",
            "100%ann@out.example 5% ann@out.example %%7C'ann@out.example",
            "100%info@in.example 5% info@in.example %%7C'info@in.example",
        ),
    ] {
        for encoding in ["7bit", "quoted-printable", "base64"] {
            let message = format!(
                "Content-Type: {media}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{}",
                encoded(encoding, text)
            );
            for room in [1, 7, 1000] {
                let sent = sent_in(message.as_bytes(), room).unwrap_or_else(|| panic!("{case}: {message}"));
                assert_eq!(String::from_utf8_lossy(&read(&sent)), expected, "{case}, {encoding}");
                assert!(sent.split(|byte| *byte == b'\n').all(|line| line.len() <= 78), "{case}, {encoding}");
            }
        }
    }
}

#[test]
fn what_is_no_address_of_hers_stays_byte_for_byte() {
    let boundary = |subtype: &str, part: &str| {
        format!(
            "Content-Type: multipart/{subtype}; boundary=b\r\n\r\n--b\r\n{part}\r\n\r\nann@out.example\r\n--b--\r\n"
        )
    };
    for (case, message) in [
        ("nothing of it", "\r\nHello\r\n".to_owned()),
        (
            "somebody else",
            "\r\njoann@out.example ann@out.example.com ann@out.examples x.ann@out.example x+ann@out.example x-ann@out.example x_ann@out.example\r\n".to_owned(),
        ),
        ("somebody whose name has an apostrophe", "\r\no'ann@out.example x'ann@out.example\r\n".to_owned()),
        (
            "somebody else in a link",
            "\r\n%6Aann%40out.example %2Eann%40out.example o%27ann%40out.example %256Fann%2540out.example\r\n".to_owned(),
        ),
        ("a part of it", "\r\nann@out and out.example\r\n".to_owned()),
        ("signed", boundary("signed", "Content-Type: text/plain")),
        ("encrypted", boundary("encrypted", "Content-Type: text/plain")),
        (
            "a file",
            boundary("mixed", "Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt"),
        ),
        ("a picture", boundary("mixed", "Content-Type: image/svg+xml")),
        ("signed in the text", "\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nann@out.example\r\n".to_owned()),
        (
            "the same in base64",
            format!(
                "Content-Transfer-Encoding: base64\r\n\r\n{}",
                STANDARD.encode_to_string("x\r\n-----BEGIN PGP MESSAGE-----\r\nann@out.example")
            ),
        ),
        (
            "no encoding of MIME's",
            "Content-Transfer-Encoding: uuencode\r\n\r\nann@out.example\r\n".to_owned(),
        ),
    ] {
        assert_eq!(sent_in(message.as_bytes(), 1000), None, "{case}");
    }
}

#[test]
fn of_several_parts_only_those_that_hold_it_change() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\nbefore\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
                   Hi ann@out.example\r\n--b\r\nContent-Type: text/plain\r\n\r\nnothing\r\n--b\r\n\
                   Content-Type: application/pdf\r\n\r\nann@out.example\r\n--b--\r\nbehind\r\n";
    let expected = message.replace(
        "Content-Type: text/plain\r\n\r\nHi ann@out.example",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHi info@in.example",
    );
    let sent = sent_in(message.as_bytes(), 1000).expect("one part changes");
    assert_eq!(String::from_utf8_lossy(&sent), expected);
}

proptest! {
    /// What its reader decodes is what replacing in the decoded text makes.
    #[test]
    fn whatever_stands_around_it(
        pieces in vec(select(vec!["ann@out.example", "ANN@out.example", " ", "\r\n", "é", "=", "x", ".", "<", "ann", "@", "%40", "\t"]), 0..40),
        encoding in select(vec!["8bit", "base64", "quoted-printable"]),
        room in 1_usize..200,
    ) {
        let text = pieces.concat();
        let message = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{}", encoded(encoding, &text));
        if let Some(sent) = sent_in(message.as_bytes(), room) {
            let shown = String::from_utf8(read(&sent)).expect("UTF-8");
            let without = |text: &str| text.to_lowercase().replace("info@in.example", "").replace("ann@out.example", "");
            prop_assert_eq!(without(&shown), without(&text));
            prop_assert!(shown.contains("info@in.example"));
        }
    }
}
