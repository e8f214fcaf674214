//! Stubs: what their reader sees, and that they are messages that SES takes, whatever they stand for.

use std::fmt::Write;

use mail_parser::MessageParser;
use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::{
    address::Address,
    delivery::Delivery,
    header::{Rewrite, rewrite, split},
    stub::{About, HEADER_OCTETS, STUB_OCTETS, TEXT_OCTETS, Why, stub},
};

const WHERE: &str = "s3://mail/messages/m1";

/// The stub of a message, under the header that it is forwarded with.
fn stub_of(message: &[u8]) -> Vec<u8> {
    let recipients = [Address::parse("info@in.example").expect("an address")];
    let destinations = vec![Address::parse("ann@out.example").expect("an address")];
    let deliveries = [Delivery { recipient: recipients[0].clone(), destinations, tags: Vec::new() }];
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender: Some("jane@x.example"),
        deliveries: &deliveries,
        recipients: &recipients,
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
        replies: None,
    };
    let block = split(message);
    let about = About {
        why: Why::Content,
        words: "Illegal filename 'a.exe'.\r\nBcc: eve@evil.example",
        bytes: message.len(),
        original: WHERE,
    };
    let stub = stub(&block, &rewrite(&block, &how).header, &about);
    [stub.header, stub.body].concat()
}

/// The header of a stub, and its text as a mail program shows it.
fn shown(stub: &[u8]) -> (String, String) {
    let message = MessageParser::default().parse(stub).expect("it is a message");
    let text = message.body_text(0).expect("it has a text").replace("\r\n", "\n");
    let header = &stub[..split(stub).body_at];
    (String::from_utf8(header.to_vec()).expect("a header is ASCII"), text)
}

const MIXED: &str = "From: Jane <jane@x.example>\r\nTo: info@in.example\r\nSubject: Plans\r\n\
    Message-ID: <2@x.example>\r\nReferences: <1@x.example>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b; name=x.exe\r\nContent-Language: en\r\n\r\n";

#[test]
fn its_reader_sees_who_wrote_why_and_what() {
    let message = format!(
        "{MIXED}preamble\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\
         Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         Gr=FC=DFe=\r\n!\r\n--c\r\nContent-Type: text/html\r\n\r\n<b>Gr&uuml;&szlig;e</b>\r\n--c--\r\n\
         --b\r\nContent-Type: application/x-msdownload; name=\"setup 1.exe\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n{}\r\n\
         --b\r\nContent-Disposition: attachment; filename*=utf-8''R%C3%A9sum%C3%A9.txt\r\n\r\nI can\r\n--b--\r\n",
        "QUJD\r\n".repeat(1000)
    );
    let (header, text) = shown(&stub_of(message.as_bytes()));
    let expected = "X-Forwarder-Stub: content\r\nX-Original-To: info@in.example\r\n\
         X-Original-From: Jane <jane@x.example>\r\nX-Original-Message-ID: <2@x.example>\r\n\
         X-Loop: info@in.example\r\nFrom: Jane <jane_x.example@in.example>\r\nReply-To: Jane <jane@x.example>\r\n\
         To: ann@out.example\r\nSubject: Plans\r\nMessage-ID: <2@x.example>\r\n\
         References: <1@x.example> <2@x.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
    let sort = |header: &str| {
        let mut lines: Vec<String> = header.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sort(&header), sort(expected), "{header}");
    let size = format!("{} kB", message.len().div_ceil(1000));
    assert_eq!(
        text,
        format!(
            "This message could not be forwarded: Amazon SES does not send what is in it, such as a file of a kind \
             that may do harm.\n\nWhy: Illegal filename 'a.exe'.  Bcc: eve@evil.example\nSize: {size}\n\
             The message itself: {WHERE}\n\nWhat else is in it:\n- setup 1.exe, 3 kB, application/x-msdownload\n\
             - Résumé.txt, 5 bytes, text/plain\n\n-------- Its text --------\n\nGrüße!\n"
        )
    );
}

#[test]
fn the_first_text_is_found_and_decoded_in_whatever_it_is_written() {
    let part = |header: &str, body: &[u8]| [header.as_bytes(), b"\r\n\r\n", body].concat();
    let utf_16: Vec<u8> = "日本".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let in_mixed = |kind: &str, parts: &[&str]| {
        let parts = parts.iter().fold(String::new(), |mut text, part| {
            let _ = write!(text, "--b\r\n{part}\r\n");
            text
        });
        format!("Content-Type: multipart/{kind}; boundary=b\r\n\r\n{parts}--b--\r\n").into_bytes()
    };
    for (message, expected) in [
        (b"Subject: x\r\n\r\nplain\r\n".to_vec(), "plain"),
        (b"\r\nno header\r\n".to_vec(), "no header"),
        (part("Content-Type: text/plain; charset=utf-8", "日本 Grüße".as_bytes()), "日本 Grüße"),
        (part("Content-Type: text/plain", b"Gr\xfc\xdfe"), "Grüße"),
        (part("Content-Type: text/plain; charset=utf-8", b"Gr\xfc\xdfe \xe2\x82\xac"), "Gr"),
        (part("Content-Type: text/plain; charset=koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4"), "Привет"),
        (part("Content-Type: text/plain; charset=\"Shift_JIS\"", b"\x93\xfa\x96\x7b"), "日本"),
        (part("Content-Type: text/plain; charset=iso-2022-jp", b"\x1b$BF|K\\\x1b(B"), "日本"),
        (part("Content-Type: text/plain; charset=gb18030", b"\xc8\xd5\xb1\xbe"), "日本"),
        (part("Content-Type: text/plain; charset=utf-16le", &utf_16), "日本"),
        (part("Content-Type: text/plain; charset=utf-7", b"+ZeVnLA-"), "日本"),
        (part("Content-Type: text/plain; charset=made-up", b"Gr\xfc\xdfe"), "Grüße"),
        (
            part(
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: BASE64",
                b"5pel\r\n5pys",
            ),
            "日本",
        ),
        (part("Content-Type: text/html", b"<style>x{}</style><p>One &amp; two</p>"), "One & two"),
        (in_mixed("mixed", &["Content-Type: text/html\r\n\r\n<b>html</b>", "\r\nplain"]), "plain"),
        (
            in_mixed(
                "mixed",
                &["Content-Disposition: attachment\r\n\r\na file", "Content-Type: text/plain\r\n\r\ntext"],
            ),
            "text",
        ),
        (in_mixed("mixed", &["Content-Type: text/plain; name=a.txt\r\n\r\na file", "\r\ntext"]), "text"),
        (
            in_mixed("signed", &["\r\nsigned text", "Content-Type: application/pgp-signature\r\n\r\nx"]),
            "signed text",
        ),
        (
            in_mixed("mixed", &["Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text"]),
            "inner text",
        ),
    ] {
        let (_, text) = shown(&stub_of(&message));
        let (_, text) = text.split_once("-------- Its text --------\n\n").expect(expected);
        assert!(text.starts_with(expected), "{expected}: {text:?}");
    }
    for message in [
        part("Content-Type: application/pdf; name=a.pdf", b"%PDF"),
        part("Content-Type: text/plain", b" \r\n"),
        in_mixed("mixed", &[]),
    ] {
        let (_, text) = shown(&stub_of(&message));
        assert!(text.ends_with("\nThere is no text in it.\n"), "{text}");
    }
}

#[test]
fn what_is_very_large_is_cut_and_counted() {
    let long = format!("{MIXED}--b\r\n\r\n{}\r\n--b--\r\n", "äöü €\r\n".repeat(1 << 18));
    let stub = stub_of(long.as_bytes());
    assert!(stub.len() <= STUB_OCTETS, "{}", stub.len());
    let (_, text) = shown(&stub);
    assert!(text.ends_with("-------- The text goes on; there is no room for the rest. --------\n"));
    assert!((TEXT_OCTETS - 300_000..=TEXT_OCTETS + 1000).contains(&text.len()), "{}", text.len());

    let files: String = (0..600).fold(String::new(), |mut files, number| {
        let _ = write!(files, "--b\r\nContent-Disposition: attachment; filename={number}.exe\r\n\r\nxx\r\n");
        files
    });
    let (_, text) = shown(&stub_of(format!("{MIXED}{files}--b--\r\n").as_bytes()));
    assert!(text.contains("\n- 99.exe, 2 bytes, text/plain\n- 400 more, 800 bytes\n"), "{text}");

    let wide = format!("{}{MIXED}--b\r\n\r\nHi\r\n--b--\r\n", "X-Junk: abcdefgh\r\n".repeat(1 << 18));
    let (header, text) = shown(&stub_of(wide.as_bytes()));
    assert!(header.len() < HEADER_OCTETS + 1000, "{}", header.len());
    assert!(header.contains("\r\nFrom: Jane <jane_x.example@in.example>\r\n") && text.ends_with("Hi\n"));
}

/// What SES asks of a message (`tools/local/aws/src/ses_message.rs` refuses it otherwise), and what a stub promises.
fn holds(message: &[u8], stub: &[u8]) -> Result<(), TestCaseError> {
    prop_assert!(stub.len() <= STUB_OCTETS);
    prop_assert!(stub.is_ascii());
    let text = std::str::from_utf8(stub).expect("it is ASCII");
    prop_assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    prop_assert_eq!(text.matches('\r').count(), text.matches("\r\n").count());
    prop_assert!(!text.contains('\0'));
    let body_at = split(stub).body_at;
    let (header, body) = text.split_at(body_at);
    prop_assert!(header.ends_with("\r\n\r\n"));
    prop_assert!(header.lines().all(|line| line.len() <= 998));
    prop_assert!(body.lines().all(|line| line.len() <= 76));
    for name in ["content-type", "content-transfer-encoding", "mime-version", "from", "x-forwarder-stub"] {
        let fields = split(stub).fields().filter(|field| field.is(name)).count();
        prop_assert_eq!(fields, 1, "{} in {}", name, header);
    }
    let content =
        split(stub).fields().filter(|field| field.name.to_ascii_lowercase().starts_with(b"content-"));
    for field in content {
        let value = String::from_utf8_lossy(field.value).into_owned();
        prop_assert!(!value.contains("name"), "{} of {:?}", value, message);
    }
    let (_, shown) = shown(stub);
    prop_assert!(shown.contains(WHERE), "{}", shown);
    Ok(())
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &[&[u8]] = &[
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"--b",
        b"--b--",
        b"--c",
        b"From: a@x.example",
        b"Content-Type: ",
        b"multipart/mixed; boundary=b",
        b"multipart/alternative; boundary=\"c\"",
        b"text/plain",
        b"text/html",
        b"; charset=",
        b"utf-16",
        b"iso-2022-jp",
        b"gb18030",
        b"utf-7",
        b"koi8-r",
        b"utf-8",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: quoted-printable",
        b"Content-Disposition: attachment; filename*0*=",
        b"filename=\"",
        b"name=a.exe",
        b"message/rfc822",
        b"X-Forwarder-Stub: x",
        b"MIME-Version: 2",
        b"=3D",
        b"=\r\n",
        b"=",
        b"<!--",
        b"<script>",
        b"&#x110000;",
        b"&",
        b";",
        b"<",
        b">",
        b"\0",
        b"\xff\xfe",
        b"\xc3",
        b"\x1b$B",
        b"AAAA",
        b" ",
        b"a",
    ];
    prop_oneof![8 => select(tokens).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..8)]
}

proptest! {
    #[test]
    fn it_is_always_a_message_that_ses_takes(
        tokens in vec(token(), 0..60),
        head in select(&["", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", "Subject: =?utf-8?q?=0D=0A?=\r\n"][..]),
    ) {
        let message = [head.as_bytes().to_vec()].into_iter().chain(tokens).collect::<Vec<_>>().concat();
        holds(&message, &stub_of(&message))?;
    }

    #[test]
    fn its_text_is_the_message_s(text in "[ -~äöü€日本\n]{1,200}", base64: bool) {
        let text = text.trim().to_owned();
        prop_assume!(!text.is_empty());
        let (encoding, body) = if base64 {
            ("base64", base64_simd::STANDARD.encode_to_string(text.as_bytes()))
        } else {
            ("8bit", text.clone())
        };
        let head = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        let message = format!("{head}{body}").into_bytes();
        let stub = stub_of(&message);
        holds(&message, &stub)?;
        prop_assert!(shown(&stub).1.ends_with(&format!("\n\n{text}\n")), "{:?}", shown(&stub).1);
    }
}
