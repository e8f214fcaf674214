//! Text beyond ASCII that came raw: in the charset that the message names, and in the form that its place in
//! the header takes. Then threads, fields that may be there once, and what is noted.

use ses_forwarder::header::{Rewrite, rewrite, split};
use ses_forwarder_checker::violations;

const HOW: Rewrite<'static> = Rewrite {
    email_domain: "in.example",
    envelope_sender: None,
    deliveries: &[],
    recipients: &[],
    hide_destinations: false,
    subject_prefix: "",
    tags: &[],
    replies: None,
};

/// The new header block, with its fields on one line each.
fn header(message: &[u8]) -> String {
    let block = split(message);
    let rewritten = rewrite(&block, &HOW);
    let output = [&rewritten.header, &message[block.body_at..]].concat();
    assert_eq!(violations(message, &output, &rewritten.from, &HOW), [""; 0], "{}", message.escape_ascii());
    String::from_utf8(rewritten.header).expect("the header is ASCII").replace("\r\n ", " ")
}

/// A Subject's value, decoded.
fn subject(header: &str) -> String {
    let message = mail_parser::MessageParser::new().parse(header.as_bytes()).expect("a header");
    message.subject().unwrap_or_default().to_owned()
}

#[test]
fn raw_text_is_in_the_charset_that_the_message_names() {
    let multipart = |part: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=\"b b\"\r\n\r\npreamble\r\n--b b\r\n{part}\r\n\r\ntext\r\n--b b--\r\n"
        )
    };
    let nested = multipart(
        "Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain; charset=euc-kr",
    );
    let behind = multipart(
        "Content-Type: image/png\r\n\r\nx\r\n--b b\r\nContent-Type: text/html;\r\n charset=\"windows-1251\"",
    );
    for (case, content, raw, expected) in [
        ("KOI8-R", "Content-Type: text/plain; charset=koi8-r\r\n\r\n", &b"\xf3\xde\xc5\xd4"[..], "Счет"),
        ("GB2312", "Content-Type: text/plain; charset=\"gb2312\"\r\n\r\n", b"\xc4\xe3\xba\xc3", "你好"),
        ("Big5", "Content-Type: text/html;\r\n Charset=Big5\r\n\r\n", b"\xa7\x41\xa6\x6e", "你好"),
        (
            "Shift_JIS",
            "Content-Type: text/plain; charset=shift_jis\r\n\r\n",
            b"\x83\x5c\x83\x74\x83\x67",
            "ソフト",
        ),
        ("EUC-JP", "Content-Type: text/plain; charset=EUC-JP\r\n\r\n", b"\xc6\xfc\xcb\xdc", "日本"),
        ("windows-1250", "Content-Type: text/plain; charset=windows-1250\r\n\r\n", b"k\xf9\xf2", "kůň"),
        ("windows-1253", "Content-Type: text/plain; charset=windows-1253\r\n\r\n", b"\xea\xe1\xe9", "και"),
        ("windows-1254", "Content-Type: text/plain; charset=windows-1254\r\n\r\n", b"\xfd\xfe\xf0", "ışğ"),
        ("windows-1255", "Content-Type: text/plain; charset=windows-1255\r\n\r\n", b"\xf9\xec", "של"),
        ("ISO-8859-2", "Content-Type: text/plain; charset=iso-8859-2\r\n\r\n", b"\xb1\xea", "ąę"),
        ("in a part of a part", &nested, b"\xbe\xc8\xb3\xe7", "안녕"),
        ("behind an attachment", &behind, b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
        ("none named", "\r\n", b"caf\xe9 \x80", "café €"),
        ("a wrong one", "Content-Type: text/plain; charset=us-ascii\r\n\r\n", b"caf\xe9", "café"),
        ("one nobody knows", "Content-Type: text/plain; charset=x-none\r\n\r\n", b"caf\xe9", "café"),
        (
            "one that is no superset of ASCII",
            "Content-Type: text/plain; charset=utf-16\r\n\r\n",
            b"caf\xe9",
            "café",
        ),
        (
            "ISO-2022-JP",
            "Content-Type: text/plain; charset=utf-8\r\n\r\n",
            b"\x1b$B;vED\x1b(B <ok>",
            "事田 <ok>",
        ),
        ("ISO-2022-JP in lines", "\r\n", b"\x1b$B;v\x1b(B\r\n\t\x1b$@ED\x1b(J", "事 田"),
        ("an escape alone", "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n", b"a \x1b b", "a   b"),
        ("ISO-2022-JP that does not end", "\r\n", b"\x1b$B;vED", "事田"),
        ("ISO-2022-JP that goes on in the next line", "\r\n", b"\x1b$B;v\r\n ED\x1b(B", "$B;v ED (B"),
        ("UTF-8 all the same", "Content-Type: text/plain; charset=koi8-r\r\n\r\n", "Счет".as_bytes(), "Счет"),
        (
            "UTF-8 beside it",
            "Content-Type: text/plain; charset=iso-8859-1\r\n\r\n",
            b"caf\xc3\xa9 caf\xe9",
            "café café",
        ),
        (
            "UTF-8 beside the euro sign of ISO-8859-15",
            "Content-Type: text/plain; charset=iso-8859-15\r\n\r\n",
            b"caf\xc3\xa9\xa4",
            "café€",
        ),
        (
            "lines of UTF-8 and another",
            "Content-Type: text/plain; charset=koi8-r\r\n\r\n",
            b"caf\xc3\xa9\r\n \xf3\xde\xc5\xd4\r\n \xe6\x97\xa5\xe6\x9c\xac",
            "café Счет 日本",
        ),
        (
            "lines of UTF-8 and one of two octets a character",
            "Content-Type: text/plain; charset=gb2312\r\n\r\n",
            b"caf\xc3\xa9\r\n \xc4\xe3\xba\xc3",
            "café 你好",
        ),
        // `ё` behind another letter is UTF-8 by chance.
        (
            "by chance, KOI8-R",
            "Content-Type: text/plain; charset=koi8-r\r\n\r\n",
            b"\xcd\xcf\xa3 \xc5\xa3",
            "моё её",
        ),
        ("by chance, Thai", "Content-Type: text/plain; charset=tis-620\r\n\r\n", b"\xca\xba\xd2\xc2", "สบาย"),
        (
            "by chance, Arabic",
            "Content-Type: text/plain; charset=windows-1256\r\n\r\n",
            b"\xdf\xed\xdd\xbf",
            "كيف؟",
        ),
        ("no end of the parts", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b", b"caf\xe9", "café"),
        ("no boundary", "Content-Type: multipart/mixed\r\n\r\n--\r\n\r\n", b"caf\xe9", "café"),
    ] {
        let message = [b"From: a@x.example\r\nSubject: ", raw, b"\r\n", content.as_bytes()].concat();
        assert_eq!(subject(&header(&message)), expected, "{case}");
    }
    let name = header(
        b"From: \xe9\xc7\xcf\xd2\xd8 <i@x.example>\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n",
    );
    assert!(name.contains("\r\nFrom: =?utf-8?b?0JjQs9C+0YDRjA==?= <i_x.example@in.example>\r\n"), "{name}");
    // `<` and `"` are halves of characters here.
    let name =
        header(b"From: \x1b$B;v\"<\x1b(B <t@x.example>\r\nTo: \x1b$B;v\x1b(B <info@in.example>\r\n\r\n");
    assert!(name.contains("\r\nFrom: =?utf-8?b?5LqL4oqG?= <t_x.example@in.example>\r\n"), "{name}");
    assert!(name.contains("\r\nTo: =?utf-8?b?5LqL?= <info@in.example>\r\n"), "{name}");
}

#[test]
fn parameters_are_written_as_rfc_2231_says() {
    let long = "ü".repeat(30);
    let pieces = format!(
        "name*0*=utf-8''{}; name*1*={}; name*2*={}; name*3*=%C3%BC",
        "%C3%BC".repeat(9),
        "%C3%BC".repeat(10),
        "%C3%BC".repeat(10)
    );
    for (case, came, sent) in [
        (
            "quoted",
            "application/pdf; name=\"Prüf.pdf\"; x=1",
            "application/pdf; name*=utf-8''Pr%C3%BCf.pdf; x=1".to_owned(),
        ),
        ("bare, with a space", "a/b; name=Prüf bericht", "a/b; name*=utf-8''Pr%C3%BCf%20bericht".to_owned()),
        (
            "semicolon in quotes",
            "a/b; name=\"ü;\\\"\"; x=1",
            "a/b; name*=utf-8''%C3%BC%3B%22; x=1".to_owned(),
        ),
        (
            "there already",
            "a/b; name=\"ü\"; name*=utf-8''%C3%BC",
            "a/b; name=\"?\"; name*=utf-8''%C3%BC".to_owned(),
        ),
        ("no parameter", "ä/b; ö; name=x", "?/b; ?; name=x".to_owned()),
        ("a quote without an end", "a/b; name=\"ü; x=1", "a/b; name*=utf-8''%C3%BC; x=1".to_owned()),
        (
            "a name that would be repeated",
            &format!("a/b; {}=\"ü\"", "n".repeat(50)),
            format!("a/b; {}=\"?\"", "n".repeat(50)),
        ),
        ("long", &format!("a/b; name=\"{long}\""), format!("a/b; {pieces}")),
    ] {
        for field in ["Content-Type", "Content-Disposition"] {
            let header = header(format!("From: a@x.example\r\n{field}: {came}\r\n\r\n").as_bytes());
            assert!(header.ends_with(&format!("\r\n{field}: {sent}\r\n\r\n")), "{case}: {header}");
        }
    }
}

#[test]
fn in_reply_to_alone_keeps_the_thread() {
    for (case, came, sent) in [
        ("one parent", "In-Reply-To: <p@x>\r\nMessage-ID: <1@x>", Some(" <p@x> <1@x>")),
        (
            "words around it",
            "Message-ID: <1@x>\r\nIn-Reply-To: Your mail <p@x> of Monday",
            Some(" <p@x> <1@x>"),
        ),
        ("two parents", "Message-ID: <1@x>\r\nIn-Reply-To: <p@x>\r\n <q@x>", Some(" <p@x> <q@x> <1@x>")),
        ("its own id", "Message-ID: <1@x>\r\nIn-Reply-To: <1@x>", Some(" <1@x>")),
        ("no id in it", "Message-ID: <1@x>\r\nIn-Reply-To: Monday", Some(" <1@x>")),
        ("empty References", "Message-ID: <1@x>\r\nReferences: \r\nIn-Reply-To: <p@x>", Some(" <p@x> <1@x>")),
        ("References", "Message-ID: <1@x>\r\nReferences: <0@x>\r\nIn-Reply-To: <p@x>", Some(" <0@x> <1@x>")),
        ("no Message-ID", "In-Reply-To: <p@x>", None),
    ] {
        let header = header(format!("From: a@x.example\r\n{came}\r\n\r\n").as_bytes());
        let references: Vec<&str> =
            header.lines().filter_map(|line| line.strip_prefix("References:")).collect();
        assert_eq!(references, sent.into_iter().collect::<Vec<_>>(), "{case}");
    }
}

/// What SES refuses a message for if it is there twice: <https://docs.aws.amazon.com/ses/latest/dg/header-fields.html>.
#[test]
fn what_ses_takes_once_stays_once() {
    const ONCE: [&str; 41] = [
        "Accept-Language",
        "acceptLanguage",
        "Archived-At",
        "Auto-Submitted",
        "Bounces-To",
        "Comments",
        "Content-Alternative",
        "Content-Class",
        "Content-Description",
        "Content-Disposition",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "Delivered-To",
        "Disposition-Notification-Options",
        "Disposition-Notification-To",
        "Errors-To",
        "Importance",
        "In-Reply-To",
        "Keywords",
        "List-Archive",
        "List-Help",
        "List-Id",
        "List-Owner",
        "List-Post",
        "List-Subscribe",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "Message-Context",
        "MIME-Version",
        "Organization",
        "Original-Recipient",
        "Precedence",
        "Priority",
        "Return-Receipt-To",
        "Sensitivity",
        "Solicitation",
        "Thread-Index",
        "Thread-Topic",
        "User-Agent",
        "VBR-Info",
    ];
    let copies = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let fields = format!("From: a@x.example\r\n{name}: 1\r\nX-A: 2\r\n{lower} : 3\r\n{name}: 1\r\n\r\n");
        let header = header(fields.as_bytes());
        let of_the_name = header
            .lines()
            .filter(|line| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name)));
        of_the_name.map(str::to_owned).collect::<Vec<_>>()
    };
    for name in ONCE {
        assert_eq!(copies(name), [format!("{name}: 1")]);
    }
    for name in ["Received", "Received-SPF", "Authentication-Results", "ARC-Seal", "X-Any", "Resend-To"] {
        assert_eq!(copies(name).len(), 3, "{name}");
    }
}

#[test]
fn a_field_name_that_may_be_an_address_is_not_noted() {
    let message = format!("jane@x.example: {0}\r\nList-Post: {0}\r\n\r\n", "x".repeat(1000));
    let long = format!("Received: {}\r\n", "x".repeat(1000));
    let notes = rewrite(&split(message.as_bytes()), &HOW).notes;
    assert!(notes.iter().all(|note| !note.contains('@')), "{notes:?}");
    assert_eq!(rewrite(&split(long.as_bytes()), &HOW).notes.len(), 1);
    assert!(
        notes.contains(&"dropped List-Post: a line of more than 998 bytes without white space".to_owned())
    );
}
