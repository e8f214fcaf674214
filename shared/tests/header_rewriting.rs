//! The rules, one table each: a field as it comes and as it is sent, byte for byte. Then what
//! attackers try, by name; then sizes that would show quadratic time.

use ses_forwarder::{
    address::Address,
    delivery::{Delivery, Reason},
    domains::Domains,
    header::{Rewrite, Rewritten, rewrite, split},
    replies::{Replies, keys::ReplyKeys},
};
use ses_forwarder_checker::violations;

const PLAIN: Rewrite<'static> = Rewrite {
    email_domain: "in.example",
    envelope_sender: Some("sender@envelope.example"),
    deliveries: &[],
    recipients: &[],
    hide_destinations: false,
    subject_prefix: "",
    tags: &[],
    replies: None,
};

fn address(text: &str) -> Address {
    Address::parse(text).expect("a constant address")
}

fn delivery(recipient: &str, destinations: &[&str]) -> Delivery {
    Delivery {
        recipient: address(recipient),
        destinations: destinations.iter().map(|text| address(text)).collect(),
        tags: vec![],
    }
}

/// The message rewritten; everything that must hold of it is checked.
fn rewritten(message: &[u8], how: &Rewrite<'_>) -> Rewritten {
    let block = split(message);
    let rewritten = rewrite(&block, how);
    let output = [&rewritten.header, &message[block.body_at..]].concat();
    let found = violations(message, &output, &rewritten.from, how);
    let shown = String::from_utf8_lossy(&message[..message.len().min(300)]).into_owned();
    assert!(found.is_empty(), "{shown:?}: {found:#?}");
    rewritten
}

fn header(message: &[u8], how: &Rewrite<'_>) -> String {
    String::from_utf8(rewritten(message, how).header).expect("the header is ASCII")
}

/// What stands around the field under test.
const BEFORE: &str = "X-Original-From: a@x.example\r\nFrom: \"a at x.example\" <a_x.example@in.example>\r\nReply-To: a@x.example\r\n";

/// The lines that a field becomes, without the last CRLF.
fn field(field: &[u8], how: &Rewrite<'_>) -> String {
    let message = [b"From: a@x.example\r\n", field, b"\r\n\r\nbody"].concat();
    let header = header(&message, how);
    let start = header.find(BEFORE).expect("From stands first") + BEFORE.len();
    header[start..]
        .strip_suffix("\r\n")
        .expect("an empty line")
        .strip_suffix("\r\n")
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_whole_message() {
    let message = b"Return-Path: <jane@example.com>\r\nReceived: from mx\r\n by inbound-smtp\r\nX-SES-Spam-Verdict: PASS\r\n\
        X-SES-RECEIPT: x\r\nDKIM-Signature: v=1;\r\n b=x\r\nReceived: 2\r\nFrom: Jane Doe <jane@example.com>\r\n\
        Sender: robot@example.com\r\nTo: Info <INFO@in.example>, \"Bob\" <bob@y.example>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\
        Message-ID: <1@example.com>\r\nReferences: <0@example.com>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
        MIME-Version: 1.0\r\nMIME-Version: 1.0\r\nX-Odd:   spaces  stay \r\n\r\nbody \0\xff\n\n";
    let how = Rewrite {
        deliveries: &[delivery("info@in.example", &["ann@out.example", "bob@else.example"])],
        recipients: &[address("info@in.example")],
        ..PLAIN
    };
    let rewritten = rewritten(message, &how);
    assert_eq!(
        String::from_utf8(rewritten.header).unwrap(),
        "X-Original-To: info@in.example\r\nX-Original-From: Jane Doe <jane@example.com>\r\n\
         X-Original-Message-ID: <1@example.com>\r\nX-Loop: info@in.example\r\nReceived: from mx\r\n by inbound-smtp\r\n\
         Received: 2\r\nFrom: Jane Doe <jane_example.com@in.example>\r\nReply-To: Jane Doe <jane@example.com>\r\n\
         To: Info <INFO@in.example>, \"Bob\" <bob@y.example>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\
         Message-ID: <1@example.com>\r\nReferences: <0@example.com> <1@example.com>\r\n\
         Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMIME-Version: 1.0\r\nX-Odd:   spaces  stay \r\n\r\n"
    );
    assert_eq!(rewritten.from, "jane_example.com@in.example");
    assert_eq!(rewritten.notes, [""; 0]);
}

#[test]
fn messages_without_what_others_have() {
    let unknown = "From: unknown <unknown@in.example>\r\n\r\n";
    let sender = "From: \"sender at envelope.example\" <sender_envelope.example@in.example>\r\nReply-To: sender@envelope.example\r\n\r\n";
    for (case, message, envelope_sender, expected) in [
        ("0 bytes", "", None, unknown),
        ("0 bytes from somebody", "", Some("sender@envelope.example"), sender),
        ("an empty line first", "\r\nFrom: a@x.example\r\n", None, unknown),
        ("only a body", "hello\r\n", None, unknown),
        ("null sender", "", Some("<>"), unknown),
        ("sender without a domain", "", Some("MAILER-DAEMON"), unknown),
        ("sender in brackets", "", Some("<sender@envelope.example>"), sender),
        (
            "an empty From",
            "From:\r\n\r\n",
            None,
            "X-Original-From:\r\nFrom: unknown <unknown@in.example>\r\n\r\n",
        ),
        (
            "a Reply-To alone",
            "Reply-To: b@y.example\r\n\r\n",
            None,
            "From: unknown <unknown@in.example>\r\nReply-To: b@y.example\r\n\r\n",
        ),
        ("no end", "X-A: 1", None, "From: unknown <unknown@in.example>\r\nX-A: 1\r\n\r\n"),
        (
            "two of From and Reply-To",
            "From: a@x.example\nFrom: b@x.example\nReply-To: c@x.example\nReply-To: d@x.example\n\n",
            None,
            "X-Original-From: a@x.example\r\nFrom: \"a at x.example\" <a_x.example@in.example>\r\nReply-To: c@x.example\r\n\r\n",
        ),
    ] {
        assert_eq!(header(message.as_bytes(), &Rewrite { envelope_sender, ..PLAIN }), expected, "{case}");
    }
}

#[test]
fn fields_that_stay_go_or_change() {
    for (case, came, sent) in [
        ("plain", "X-A: 1", "X-A: 1"),
        ("folding stays", "Received: a\r\n\tb\r\n   c", "Received: a\r\n\tb\r\n   c"),
        ("LF", "X-A: 1\n 2\nX-B: 3", "X-A: 1\r\n 2\r\nX-B: 3"),
        ("space before the colon", "X-A \t: 1", "X-A: 1"),
        ("blank continuation", "X-A: 1\r\n \t\r\n 2\r\n ", "X-A: 1\r\n 2"),
        ("blank first line", "X-A: \r\n 2", "X-A: \r\n 2"),
        ("mbox line", "X-A: 1\r\n>From x\r\nFrom y z\r\nX-B: 2", "X-A: 1\r\nX-B: 2"),
        ("mbox line in a field", "X-A: 1\r\nFrom y z\r\n 2", "X-A: 1\r\n 2"),
        ("empty value", "X-A:", "X-A:"),
        (
            "removed",
            "Sender: s@x\r\nBcc: b@x\r\n f\r\nReturn-path: r\r\nX-Ses-Message-Tags: t\r\nDomainKey-Signature: d",
            "",
        ),
        ("removed at the end too", "X-A: 1\r\nDKIM-Signature: a\r\ndkim-signature: b", "X-A: 1"),
        (
            "resent",
            "Resent-From: r@x\r\nresent-to: t@x\r\nResent-From: r2@x",
            "X-Original-Resent-From: r@x\r\nX-Original-resent-to: t@x\r\nX-Original-Resent-From: r2@x",
        ),
        (
            "once only",
            "Content-Type: a\r\nX-A: 1\r\ncontent-type: b\r\nContent-ID: c",
            "Content-Type: a\r\nX-A: 1\r\nContent-ID: c",
        ),
        (
            "as often as it likes",
            "Received: a\r\nReceived: b\r\nTo: c@x\r\nTo: d@x\r\nCc: e@x\r\nCc: f@x",
            "Received: a\r\nReceived: b\r\nTo: c@x\r\nTo: d@x\r\nCc: e@x\r\nCc: f@x",
        ),
        ("bare CR and NUL", "X-A: 1\r2\0\x0b3\x7f4", "X-A: 1 2  3 4"),
        ("a line of controls", "X-A: 1\r\n \0\0\r\n 2", "X-A: 1\r\n 2"),
        ("In-Reply-To", "In-Reply-To: <p@x>\r\nIn-Reply-To: <q@x>", "In-Reply-To: <p@x>"),
        ("Postfix writes one as well", "X-Original-To: user@in.example", "X-Original-To: user@in.example"),
    ] {
        assert_eq!(field(came.as_bytes(), &PLAIN), sent, "{case}");
    }
}

#[test]
fn text_that_is_not_ascii() {
    for (case, came, sent) in [
        ("UTF-8", "Subject: café au lait".as_bytes(), "Subject: =?utf-8?b?Y2Fmw6k=?= au lait"),
        ("Latin-1", b"Subject: caf\xe9 au lait", "Subject: =?utf-8?b?Y2Fmw6k=?= au lait"),
        ("windows-1252", b"X-A: \x80 5", "X-A: =?utf-8?b?4oKs?= 5"),
        ("both", b"X-A: \xc3\xa9\xe9", "X-A: =?utf-8?b?w6nDqQ==?="),
        ("neighbours together", "Subject: é è b".as_bytes(), "Subject: =?utf-8?b?w6kgw6g=?= b"),
        ("across a fold", "Subject: é\r\n è b".as_bytes(), "Subject: =?utf-8?b?w6kgw6g=?= b"),
        (
            "beside encoded-words",
            "Subject: =?utf-8?q?a?= é =?utf-8?q?b?=".as_bytes(),
            "Subject: =?utf-8?q?a?= =?utf-8?q?_=C3=A9_?= =?utf-8?q?b?=",
        ),
        ("no space behind the colon", "X-A:é".as_bytes(), "X-A:=?utf-8?b?w6k=?="),
        ("a C1 control", "X-A: \u{85}é".as_bytes(), "X-A: =?utf-8?b?IMOp?="),
        ("base64", "Subject: 日本語".as_bytes(), "Subject: =?utf-8?b?5pel5pys6Kqe?="),
        (
            "display name",
            "Cc: Renée <r@x.example>, b@y.example".as_bytes(),
            "Cc: =?utf-8?b?UmVuw6ll?= <r@x.example>, b@y.example",
        ),
        (
            "quoted display name",
            "Cc: \"Renée, Dr.\" <r@x.example>".as_bytes(),
            "Cc: =?utf-8?b?UmVuw6llLCBEci4=?= <r@x.example>",
        ),
        (
            "comment for a name",
            "Cc: r@x.example (Renée)".as_bytes(),
            "Cc: =?utf-8?b?UmVuw6ll?= <r@x.example>",
        ),
        (
            "group",
            "Cc: Ämter: a@x.example, Bö <b@x.example>;".as_bytes(),
            "Cc: =?utf-8?b?w4RtdGVy?=: a@x.example, =?utf-8?b?QsO2?= <b@x.example>;",
        ),
        (
            "local part",
            "Cc: ré@x.example".as_bytes(),
            "X-Original-Cc-Field: =?utf-8?b?csOpQHguZXhhbXBsZQ==?=",
        ),
        (
            "keywords",
            "Keywords: thé, café".as_bytes(),
            "Keywords: =?utf-8?q?th=C3=A9?=, =?utf-8?b?Y2Fmw6k=?=",
        ),
        ("list", "List-Id: Café <c.x.example>".as_bytes(), "List-Id: =?utf-8?b?Q2Fmw6k=?= <c.x.example>"),
        (
            "parameter",
            "Content-Type: text/plain; name=\"é\"".as_bytes(),
            "Content-Type: text/plain; name*=utf-8''%C3%A9",
        ),
        ("Received", "Received: from é (ü)".as_bytes(), "Received: from ?? (??)"),
        (
            "resent",
            "Resent-From: Renée <r@x>".as_bytes(),
            "X-Original-Resent-From: =?utf-8?b?UmVuw6ll?= <r@x>",
        ),
        (
            "a long word",
            "Subject: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxéé yy".as_bytes(),
            "Subject: =?utf-8?q?xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx?=\r\n =?utf-8?q?xxxxxxxxx=C3=A9=C3=A9?= yy",
        ),
    ] {
        assert_eq!(field(came, &PLAIN), sent, "{case}");
    }
}

#[test]
fn lines_that_are_too_long() {
    let x = |count: usize| "x".repeat(count);
    let (w500, w600) = ("y".repeat(500), "z".repeat(600));
    for (case, came, sent) in [
        ("998 is allowed", format!("X-A: {}", x(993)), format!("X-A: {}", x(993))),
        ("999 is folded at its only space", format!("X-A: {}", x(994)), format!("X-A:\r\n {}", x(994))),
        (
            "at the last space that fits",
            format!("Received: {w500} b {w600} c"),
            format!("Received: {w500} b\r\n {w600} c"),
        ),
        (
            "only the line that is too long",
            format!("Received: a\r\n\t{w500}  {w600}\r\n  c"),
            format!("Received: a\r\n\t{w500}\r\n  {w600}\r\n  c"),
        ),
        ("X- is cut", format!("X-A: {}", x(2000)), format!("X-A: {}\r\n {}\r\n {}", x(993), x(997), x(10))),
        ("X- without any space", format!("X-A:{}", x(1500)), format!("X-A:{}\r\n {}", x(994), x(506))),
        (
            "References is cut",
            format!("References: {}", x(1000)),
            format!("References: {}\r\n {}", x(986), x(14)),
        ),
        ("others go", format!("Received: {}\r\nX-B: 1", x(1000)), "X-B: 1".to_owned()),
        (
            "others fit on a line of their own",
            format!("Received: {}", x(997)),
            format!("Received:\r\n {}", x(997)),
        ),
        ("white space at the end", format!("X-A: 1{}", " ".repeat(2000)), "X-A: 1".to_owned()),
        (
            "white space inside",
            format!("X-A: 1{}2", " ".repeat(2000)),
            format!("X-A: 1\r\n{}2", " ".repeat(997)),
        ),
        ("a name that is too long", format!("X-{}: 1\r\nX-B: 1", x(1000)), "X-B: 1".to_owned()),
        ("a name of a whole line", format!("X-{}: 1", x(995)), format!("X-{}:\r\n 1", x(995))),
        (
            "a renamed field",
            format!("Resent-To: {}", x(986)),
            format!("X-Original-Resent-To:\r\n {}", x(986)),
        ),
    ] {
        assert_eq!(field(came.as_bytes(), &PLAIN), sent, "{case}");
    }
    let dropped = rewritten(format!("Received: {}\r\n\r\n", x(1000)).as_bytes(), &PLAIN);
    assert_eq!(dropped.notes, ["dropped Received: a line of more than 998 bytes without white space"]);
}

#[test]
fn recipients_that_lead_to_one_destination_give_way_to_it() {
    let deliveries = [
        delivery("desk@in.example", &["ann@out.example"]),
        delivery("team@in.example", &["ann@out.example", "bob@else.example"]),
        delivery("\"o p\"@in.example", &["op@out.example"]),
        delivery("old@in.example", &[]),
        delivery("info@xn--bro-hoa.example", &["ann@out.example"]),
    ];
    let how = Rewrite { deliveries: &deliveries, ..PLAIN };
    for (case, came, sent) in [
        ("bare", "To: desk@in.example", "To: ann@out.example"),
        ("any case", "to: DESK@IN.Example", "to: ann@out.example"),
        ("the name stays", "Cc: Info Desk <desk@in.example>", "Cc: Info Desk <ann@out.example>"),
        (
            "the comment stays",
            "To: desk@in.example (Desk), b@x.example",
            "To: ann@out.example (Desk), b@x.example",
        ),
        ("an alias of several", "To: \"Team\" <team@in.example>", "To: \"Team\" <team@in.example>"),
        (
            "among others",
            "To: \"A, B\" <a@x.example>,\r\n desk@in.example,\r\n C <c@x.example>",
            "To: \"A, B\" <a@x.example>,\r\n ann@out.example,\r\n C <c@x.example>",
        ),
        (
            "others alone",
            "To:  \"A, B\"  <a@x.example> , x@in.example (it's)",
            "To:  \"A, B\"  <a@x.example> , x@in.example (it's)",
        ),
        ("twice", "To: desk@in.example, Desk <desk@in.example>", "To: ann@out.example"),
        ("with its destination", "To: Ann <ann@out.example>, desk@in.example", "To: Ann <ann@out.example>"),
        ("quoted local part", "To: \"o p\"@in.example", "To: op@out.example"),
        ("needlessly quoted", "To: \"desk\"@in.example", "To: ann@out.example"),
        ("comments inside", "To: desk(x)@(y)in.example", "To: ann@out.example"),
        ("in a group", "To: all: a@x.example, desk@in.example;", "To: all: a@x.example, ann@out.example;"),
        ("route", "To: <@r.example:desk@in.example>", "To: ann@out.example"),
        ("without an end", "To: Desk <desk@in.example", "To: Desk <ann@out.example>"),
        ("IDN", "To: info@büro.example", "To: ann@out.example"),
        ("discarded", "To: old@in.example, b@x.example", "To: old@in.example, b@x.example"),
        (
            "only its name is one",
            "To: \"desk@in.example\" <b@x.example>",
            "To: \"desk@in.example\" <b@x.example>",
        ),
        (
            "part of another",
            "To: xdesk@in.example, desk@in.example.x",
            "To: xdesk@in.example, desk@in.example.x",
        ),
        ("in another field", "X-To: desk@in.example", "X-To: desk@in.example"),
        (
            "beside 8-bit",
            "To: Renée <r@x.example>, desk@in.example",
            "To: =?utf-8?b?UmVuw6ll?= <r@x.example>, ann@out.example",
        ),
    ] {
        assert_eq!(field(came.as_bytes(), &how), sent, "{case}");
        let hidden = field(came.as_bytes(), &Rewrite { hide_destinations: true, ..how });
        assert!(!hidden.contains("out.example") || came.contains("out.example"), "{case}: {hidden}");
    }
}

/// What SES refuses a message for, in To, Cc and Reply-To alike, and what it takes.
#[test]
fn lists_of_mailboxes_that_ses_cannot_read_are_mended() {
    let long = "Ticket ".repeat(60);
    let cut = format!("{}Tick <a@x.example>", "Ticket ".repeat(43));
    let many: Vec<String> = (0..90).map(|n| format!("a{n}@x.example")).collect();
    let (many, many_folded) = (many.join(","), many.join(", "));
    let long_list = format!("{long}<a@x.example>, b@x.example");
    let cut_list = format!("{cut}, b@x.example");
    for (case, came, sent, loses) in [
        ("no domain", "root", "", true),
        ("no group", "undisclosed-recipients", "", true),
        ("a group without an end", "undisclosed-recipients:", "", true),
        ("empty", "", "", false),
        ("nothing but a comment", "(none)", "", true),
        ("brackets without an address", "<>", "", true),
        ("an empty group", "undisclosed-recipients:;", "undisclosed-recipients:;", false),
        (
            "one of two",
            "root, Jane Q. Doe <jane@x.example>, bob",
            "\"root, Jane Q. Doe\" <jane@x.example>",
            true,
        ),
        ("one of two, bare", "root, jane@x.example", "jane@x.example", true),
        ("white space in an address", "john <john smith@x.example>, b@x.example", "b@x.example", true),
        ("white space beside a dot", "john@x . example", "john@x.example", false),
        (
            "brackets without an end",
            "<First Last <first@x.example, Second <second@x.example>",
            "First Last <first@x.example>, Second <second@x.example>",
            false,
        ),
        ("a stray bracket", "a@x.example>, B <b@x.example>>", "a@x.example, B <b@x.example>", false),
        ("a bracket in a name", "A [B <a@x.example>", "\"A [B\" <a@x.example>", false),
        ("no comma", "A <a@x.example> b@x.example", "A <a@x.example>, b@x.example", false),
        ("no comma, bare", "a@x.example b@x.example", "a@x.example, b@x.example", false),
        ("semicolons", "a@x.example; B <b@x.example>;", "a@x.example, B <b@x.example>", false),
        (
            "an unquoted comma",
            "Doe, Jane <a@x.example>, b@x.example",
            "\"Doe, Jane\" <a@x.example>, b@x.example",
            false,
        ),
        ("mailto", "mailto:a@x.example, <mailto:b@x.example>", "a@x.example, b@x.example", false),
        ("words behind", "<a@x.example> Jane Doe", "a@x.example", true),
        ("a name without brackets", "Jane Doe a@x.example", "Jane Doe <a@x.example>", false),
        ("dots", "a..b.@x.example", "\"a..b.\"@x.example", false),
        ("a root's dot", "a@x.example.", "a@x.example", false),
        ("no host's name", "a@x_y.example, b@x.example", "b@x.example", true),
        ("8-bit local part", "Jörg <jörg@x.example>, b@x.example", "b@x.example", true),
        ("U-label", "Jane <a@büro.example>", "Jane <a@xn--bro-hoa.example>", false),
        (
            "8-bit comment",
            "Jane (Büro) <a@x.example> (ok)",
            "Jane <a@x.example> (=?utf-8?b?QsO8cm8=?=) (ok)",
            false,
        ),
        (
            "an encoded-word with a comma",
            "=?utf-8?q?Doe,_Jane?= <a@x.example>",
            "\"Doe, Jane\" <a@x.example>",
            false,
        ),
        ("too long", &long_list, &cut_list, false),
        ("repeated", "a@x.example, A <A@X.example>, b@x.example", "a@x.example, b@x.example", false),
        ("name with an address", "a@x.example <a@x.example>", "a@x.example <a@x.example>", false),
        ("an address beside brackets without one", "Info a@x.example<0>", "Info <a@x.example>", true),
        ("the same, after a line end that was lost", "a@x.exampleIvan <iv>", "a@x.exampleIvan", true),
        ("a name with an address beside them", "\"a@x.example\" <iv>, b@x.example", "b@x.example", true),
        ("obsolete commas", " a@x.example,, b@x.example,", " a@x.example,, b@x.example,", false),
        ("comment at the end", "A: a@x.example; (end)", "A: a@x.example; (end)", false),
        ("group in a group", "A: B: a@x.example;", "A: a@x.example;", true),
        (
            "Latin-1 beside U-label",
            "R <a@x.example>, é: b@x.example;",
            "R <a@x.example>, =?utf-8?b?w6k=?=: b@x.example;",
            false,
        ),
        ("no white space in a long list", &many, &many_folded, false),
    ] {
        let message = format!("From: f@x.example\r\nTo:{came}\r\nCc:{came}\r\nReply-To:{came}\r\n\r\n");
        let header = header(message.as_bytes(), &PLAIN);
        let value = |name: &str| {
            let start = header.find(&format!("\r\n{name}:"))? + name.len() + 3;
            let lines = header[start..].split("\r\n");
            let mut value = String::new();
            for (index, line) in lines.enumerate() {
                if index > 0 && !line.starts_with([' ', '\t']) {
                    break;
                }
                value += line;
            }
            Some(value)
        };
        let sent = Some(sent).filter(|sent| !sent.is_empty());
        for name in ["To", "Cc"] {
            assert_eq!(value(name).as_deref().map(str::trim), sent.map(str::trim), "{case}: {header}");
            let original = value(&format!("X-Original-{name}-Field"));
            assert_eq!(original.is_some(), loses, "{case}: {header}");
        }
        let answer = sent.filter(|sent| sent.contains('@')).unwrap_or("f@x.example");
        assert_eq!(value("Reply-To").as_deref().map(str::trim), Some(answer.trim()), "{case}: {header}");
    }
}

/// What is written anew can be longer than what came, and then has lines of its own too.
#[test]
fn lists_that_become_too_long_are_folded() {
    let many = |separator: &str, mailbox: &dyn Fn(usize) -> String| {
        (0..60).map(mailbox).collect::<Vec<_>>().join(separator)
    };
    let plain = |n: usize| format!("a{n:02}@xxx.example");
    let others = many(",", &plain);
    let x = |count: usize| "x".repeat(count);
    for (case, came, sent) in [
        (
            "a long destination",
            format!("info@in.example,{others}"),
            format!("someone.with.a.long.name@mail.out.example,{others}"),
        ),
        (
            "U-labels",
            many(",", &|n| format!("a{n:02}@é.example")),
            many(",", &|n| format!("a{n:02}@xn--9ca.example")),
        ),
        ("semicolons", many(";", &plain), others.clone()),
        (
            "odd names across lines",
            many(",", &|n| format!("J [Q\r\n X<{n:02}{}@x.example>", x(20))),
            many(",", &|n| format!("\"J [Q X\" <{n:02}{}@x.example>", x(20))),
        ),
        ("a comment alone", format!("a@x.example, ({})", x(1200)), "a@x.example".to_owned()),
        ("a comment first", format!("({}), a@x.example", x(1200)), "a@x.example".to_owned()),
        (
            "a comment between",
            format!("a@x.example,({}),info@in.example", x(940)),
            "a@x.example,someone.with.a.long.name@mail.out.example".to_owned(),
        ),
        ("a comment in a group", format!("A: a@x.example, ({});", x(1200)), "A: a@x.example;".to_owned()),
        ("commas", format!("a@x.example{}", ",".repeat(1200)), "a@x.example".to_owned()),
        (
            "groups",
            many("", &|n| format!("Gruppe{n:02}:info@in.example,a{n:02}é@x.example;")),
            format!(
                "Gruppe00:someone.with.a.long.name@mail.out.example;{}",
                (1..60).map(|n| format!(",Gruppe{n:02}:;")).collect::<String>()
            ),
        ),
    ] {
        let how = Rewrite {
            deliveries: &[delivery("info@in.example", &["someone.with.a.long.name@mail.out.example"])],
            ..PLAIN
        };
        let sent = sent.replace(' ', "");
        let header = header(format!("From: f@x.example\r\nTo:{came}\r\nCc:{came}\r\n\r\n").as_bytes(), &how);
        let solid = header.replace("\r\n ", "").replace(' ', "");
        for name in ["To", "Cc"] {
            assert!(solid.contains(&format!("\r\n{name}:{sent}\r\n")), "{case}: {header}");
        }
    }
}

/// Signed addresses are longer than what they stand for.
#[test]
fn a_long_reply_to_is_signed() {
    let (keys, domains) = (ReplyKeys::first([7; 32]), Domains::parse("in.example").unwrap());
    let how = Rewrite {
        recipients: &[address("info@in.example")],
        replies: Some(Replies { keys: &keys, contacts: &[], named: &[], domains: &domains }),
        ..PLAIN
    };
    let list: Vec<String> = (0..69).map(|n| format!("a{n:02}@x.example")).collect();
    let message = format!("From: f@x.example\r\nReply-To:{}\r\n\r\n", list.join(","));
    let header = header(message.as_bytes(), &how);
    assert!(header.contains("\r\nReply-To:info+a00=x.example+"), "{header}");
    assert_eq!(header.matches("@in.example").count(), 2 + 1 + 15, "{header}");
    assert!(header.contains(",a68@x.example\r\n"), "{header}");
}

#[test]
fn recipients_are_named_at_the_top() {
    let many: Vec<Address> = (0..100).map(|n| address(&format!("r{n}@in.example"))).collect();
    let header = header(b"\r\n", &Rewrite { recipients: &many, ..PLAIN });
    assert_eq!(header.matches("X-Original-To: ").count(), 100);
    assert!(header.starts_with("X-Original-To: r0@in.example\r\nX-Original-To: r1@in.example\r\n"));
    assert_eq!(header.matches("X-Loop: ").count(), 100);
}

#[test]
fn message_id_goes_into_references() {
    let x = "x".repeat(60);
    let long = "y".repeat(1200);
    for (case, came, sent) in [
        (
            "no References",
            "Message-ID: <1@x>".to_owned(),
            "Message-ID: <1@x>\r\nReferences: <1@x>".to_owned(),
        ),
        (
            "References before",
            "References: <0@x>\r\nMessage-ID: <1@x>".into(),
            "References: <0@x> <1@x>\r\nMessage-ID: <1@x>".into(),
        ),
        (
            "References behind",
            "Message-ID: <1@x>\r\nReferences: <0@x>".into(),
            "Message-ID: <1@x>\r\nReferences: <0@x> <1@x>".into(),
        ),
        (
            "there already",
            "References: <1@x>  <0@x>\r\nMessage-ID: <1@x>".into(),
            "References: <1@x>  <0@x>\r\nMessage-ID: <1@x>".into(),
        ),
        (
            "there already, behind a comma",
            "References: <0@x>,<1@x>\r\nMessage-ID: <1@x>".into(),
            "References: <0@x>,<1@x>\r\nMessage-ID: <1@x>".into(),
        ),
        (
            "only as part of another",
            "References: <1@xy>\r\nMessage-ID: <1@x".into(),
            "References: <1@xy> <1@x\r\nMessage-ID: <1@x".into(),
        ),
        (
            "a long line",
            format!("References: <{x}@x>\r\nMessage-ID: <1234@x>"),
            format!("References: <{x}@x>\r\n <1234@x>\r\nMessage-ID: <1234@x>"),
        ),
        (
            "folded References",
            format!("References: <{x}@x>\r\n\t<2@x>\r\nMessage-ID: <1@x>"),
            format!("References: <{x}@x>\r\n\t<2@x> <1@x>\r\nMessage-ID: <1@x>"),
        ),
        (
            "folded Message-ID",
            format!("Message-ID:\r\n <{x}@x>"),
            format!("Message-ID:\r\n <{x}@x>\r\nReferences: <{x}@x>"),
        ),
        (
            "two of each",
            "Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\nReferences: <3@x>\r\nReferences: <4@x>".into(),
            "Message-ID: <1@x>\r\nReferences: <3@x> <1@x>".into(),
        ),
        (
            "empty Message-ID",
            "Message-ID: \r\nReferences: <3@x>".into(),
            "Message-ID: \r\nReferences: <3@x>".into(),
        ),
        (
            "empty References",
            "Message-ID: <1@x>\r\nReferences:".into(),
            "Message-ID: <1@x>\r\nReferences: <1@x>".into(),
        ),
        (
            "junk",
            "Message-ID: no id (at all)".into(),
            "Message-ID: no id (at all)\r\nReferences: no id (at all)".into(),
        ),
        ("8-bit", "Message-ID: <é@x>".into(), "Message-ID: <??@x>\r\nReferences: <??@x>".into()),
        (
            "too long",
            format!("Message-ID: <{long}@x>"),
            format!("References: <{}\r\n {}@x>", &long[..985], &long[985..]),
        ),
    ] {
        let message = format!("From: a@x.example\r\n{came}\r\n\r\nbody");
        let header = header(message.as_bytes(), &PLAIN);
        let start = header.find("Reply-To: a@x.example\r\n").unwrap() + 23;
        assert_eq!(&header[start..header.len() - 4], sent, "{case}");
        let id = came.lines().find_map(|line| line.strip_prefix("Message-ID:"));
        let top = id
            .filter(|id| id.is_ascii() && id.len() < 900 && !id.is_empty())
            .map(|id| format!("\r\nX-Original-Message-ID:{id}\r\n"));
        assert!(top.is_none_or(|top| header.contains(&top)), "{case}: {header}");
    }
}

#[test]
fn subject_with_a_prefix() {
    let spam = [Reason::Spam];
    let all = [Reason::Spam, Reason::Dmarc, Reason::Unauthenticated, Reason::Virus];
    for (case, prefix, tags, came, sent) in [
        ("setting", "[x]", &[][..], "Subject: Hello", "Subject: [x] Hello"),
        ("setting with a space", "[x] ", &[], "Subject: Hello", "Subject: [x] Hello"),
        ("tag", "", &spam, "Subject: Hello", "Subject: [SPAM] Hello"),
        ("both", "[x]", &spam, "Subject: Hello", "Subject: [x] [SPAM] Hello"),
        ("each tag once", "", &all, "Subject: Hello", "Subject: [SPAM] [UNVERIFIED] [VIRUS] Hello"),
        ("by its sender", "", &[Reason::Sender], "Subject: Hello", "Subject: [TAGGED] Hello"),
        ("encoded", "", &spam, "Subject: =?utf-8?q?a?=", "Subject: [SPAM] =?utf-8?q?a?="),
        ("8-bit", "", &spam, "Subject: é", "Subject: [SPAM] =?utf-8?b?w6k=?="),
        ("folded", "", &spam, "Subject: a\r\n b", "Subject: [SPAM] a\r\n b"),
        ("folded at once", "", &spam, "Subject:\r\n b", "Subject: [SPAM]\r\n b"),
        ("no space", "", &spam, "Subject:Hello", "Subject: [SPAM] Hello"),
        ("empty", "", &spam, "Subject:", "Subject: [SPAM]"),
        ("none", "", &spam, "X-A: 1", "X-A: 1\r\nSubject: [SPAM]"),
        ("two", "", &spam, "Subject: 1\r\nSubject: 2", "Subject: [SPAM] 1"),
        ("there already", "[x]", &[], "Subject: [x] Hello", "Subject: [x] Hello"),
        (
            "there already, encoded",
            "[é]",
            &[],
            "Subject: =?utf-8?q?=5B=C3=A9=5D_a?=",
            "Subject: =?utf-8?q?=5B=C3=A9=5D_a?=",
        ),
        ("not ASCII", "[é]", &[], "Subject: Hello", "Subject: =?utf-8?b?W8OpXQ==?= Hello"),
        (
            "not ASCII before encoded",
            "[é]",
            &[],
            "Subject: =?utf-8?q?a?=",
            "Subject: =?utf-8?b?W8OpXSA=?= =?utf-8?q?a?=",
        ),
        (
            "not ASCII before 8-bit",
            "[é]",
            &[],
            "Subject: é",
            "Subject: =?utf-8?b?W8OpXQ==?= =?utf-8?b?IMOp?=",
        ),
        ("an attack by setting", "a\r\nBcc: x", &[], "Subject: Hello", "Subject: a  Bcc: x Hello"),
    ] {
        let how = Rewrite { subject_prefix: prefix, tags, ..PLAIN };
        let message = format!("From: a@x.example\r\n{came}\r\n\r\nbody");
        let header = header(message.as_bytes(), &how);
        let start = header.find("Reply-To: a@x.example\r\n").unwrap() + 23;
        assert_eq!(&header[start..header.len() - 4], sent, "{case}");
    }
    let tagged = header(b"From: a@x.example\r\n\r\n", &Rewrite { tags: &all, ..PLAIN });
    assert!(
        tagged.contains("\r\nX-Forwarder-Verdict: spam, dmarc, unauthenticated, virus\r\nFrom: "),
        "{tagged}"
    );
}

/// X-Original-* of an earlier pass give way, X-Loop of other recipients stay: a loop stays visible
/// and nothing grows.
#[test]
fn rewriting_again_and_again_does_not_nest() {
    let here = [address("info@in.example")];
    let there = [address("ann@out.example")];
    let pass = |message: &[u8], how: &Rewrite<'_>| rewritten(message, how).header;
    let first = pass(
        b"From: Jane <jane@x.example>\r\nMessage-ID: <1@x>\r\nSubject: Hello\r\n\r\n",
        &Rewrite { recipients: &here, tags: &[Reason::Spam], ..PLAIN },
    );
    let second = pass(&first, &Rewrite { recipients: &there, email_domain: "out.example", ..PLAIN });
    assert_eq!(
        String::from_utf8_lossy(&second),
        "X-Original-To: ann@out.example\r\nX-Original-From: Jane <jane_x.example@in.example>\r\n\
         X-Original-Message-ID: <1@x>\r\nX-Loop: ann@out.example\r\nX-Loop: info@in.example\r\n\
         From: Jane <jane_x.example_in.example@out.example>\r\nReply-To: Jane <jane@x.example>\r\n\
         Message-ID: <1@x>\r\nReferences: <1@x>\r\nSubject: [SPAM] Hello\r\n\r\n"
    );
    let mut message = second;
    let mut sizes = Vec::new();
    for _ in 0..20 {
        message = pass(&message, &Rewrite { recipients: &here, subject_prefix: "[é]", ..PLAIN });
        sizes.push(message.len());
    }
    assert_eq!(sizes[10], sizes[19], "{sizes:?}");
}

/// What attackers try: nothing of it ends up as a field of its own, or in an address.
mod hostile {
    use super::*;

    /// The header of a message whose From is hostile; there are no fields but our own.
    fn from(value: &[u8]) -> String {
        let header = header(&[b"From: ", value, b"\r\n\r\n"].concat(), &PLAIN);
        for line in header.lines().filter(|line| !line.starts_with([' ', '\t']) && !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            assert!(["X-Original-From", "From", "Reply-To"].contains(&name), "{header}");
        }
        header
    }

    #[test]
    fn cr_lf_and_nul_in_a_display_name() {
        assert!(
            from(b"\"a\rBcc: x@y.example\0\" <e@x.example>")
                .contains("From: \"a Bcc: x at y.example\" <e_x.example@in.example>\r\n")
        );
    }

    #[test]
    fn encoded_words_that_decode_to_line_ends() {
        for encoded in [
            "=?utf-8?q?a=0D=0ABcc:_x@y.example?=",
            "=?utf-8?b?YQ0KQmNjOiB4QHkuZXhhbXBsZQ==?=",
            "=?utf-7?q?a+AA0ACg-Bcc:_x@y.example?=",
        ] {
            let header = from(format!("{encoded} <e@x.example>").as_bytes());
            assert!(
                header.contains("From: \"a  Bcc: x at y.example\" <e_x.example@in.example>\r\n"),
                "{header}"
            );
        }
    }

    #[test]
    fn encoded_words_that_decode_to_encoded_words() {
        let header = from(b"=?utf-8?q?=3D=3Futf-8=3Fq=3Feve=40bank.example=3F=3D?= <e@x.example>");
        assert!(header.contains("From: =?utf-8?b?PT91dGYtOD9xP2V2ZSBhdCBiYW5rLmV4YW1wbGU/PQ==?=\r\n <e_x.example@in.example>\r\n"), "{header}");
        let header = from(b"\"=?utf-8?q?eve=40bank.example?=\" <e@x.example>");
        assert!(header.contains("From: \"eve at bank.example\" <e_x.example@in.example>\r\n"), "{header}");
    }

    #[test]
    fn bidirectional_overrides_and_lookalikes_of_at() {
        let header = from("\u{202e}eve\u{2066}＠bank﹫x <e@x.example>".as_bytes());
        assert!(header.contains("\r\nFrom: eve at bank at x <e_x.example@in.example>\r\n"), "{header}");
    }

    #[test]
    fn eight_bit_in_every_place() {
        let header = from("ré <r\u{e9}@x.example>, ÿ (é) \"é\" ; é:".as_bytes());
        assert!(
            header.contains("\r\nFrom: =?utf-8?b?csOp?= <sender_envelope.example@in.example>\r\n"),
            "{header}"
        );
    }

    #[test]
    fn folding_tricks() {
        let header = from(b"\r\n \r\n\t\r\n \"a\r\n \r\n b\"\r\n <e@x.example>\r\n \r\n");
        assert!(header.contains("\r\nFrom: a b <e_x.example@in.example>\r\n"), "{header}");
    }

    #[test]
    fn an_invisible_character_on_a_line_of_its_own() {
        assert!(from("\r\n \u{85}\r\n <e@x.example>".as_bytes()).contains("<e_x.example@in.example>"));
        from("\r\n \u{85}".as_bytes());
    }

    #[test]
    fn a_backslash_before_a_fold() {
        assert!(from("é\\\r\n é <e@x.example>".as_bytes()).contains("<e_x.example@in.example>"));
        from("@é\\\r\n \u{1b}".as_bytes());
    }

    #[test]
    fn quotes_and_comments_without_an_end() {
        for value in [
            "\"a <e@x.example>",
            "a (b <e@x.example>",
            "\"a (b <e@x.example>",
            "(((\"\"\" <e@x.example>",
            "a\\ <e@x.example",
        ] {
            let header = from(value.as_bytes());
            assert!(header.contains("e_x.example@in.example>\r\n"), "{value}: {header}");
        }
    }

    #[test]
    fn what_fuzzing_has_found() {
        let deliveries = [delivery("info@in.example", &["ann@out.example", "bob@else.example"])];
        let how = Rewrite { deliveries: &deliveries, ..PLAIN };
        for (field, written) in [
            ("X-Loop: info@in\0\0.example", "X-Loop: info@in  .example"),
            ("To: Info <info@in.example,", "To: Info <info@in.example>"),
            ("To: info@in.example.", "To: info@in.example"),
            (
                &format!("To: a@x.example,{}Jané <b@x.example> (c)", " ".repeat(400)),
                "To: a@x.example,\r\n =?utf-8?b?SmFuw6k=?= <b@x.example> (c)",
            ),
            (
                "To: Info<info@in.example>\r\nTo: Info<in\0fo@in.example>",
                "To: Info<info@in.example>\r\nX-Original-To-Field: Info<in fo@in.example>",
            ),
            ("To: =?utf-8?q?Info:\r\n b?= <info@in.example>", "To: \"Info: b\" <info@in.example>"),
            (
                "To: =?p?b?: ?\\ ?=@b, =?p?b?@c.example",
                "To: =?utf-8?b?PT9wP2I/?=: \"?\\\\\" <?=@b>, \"=?p?b?\"@c.example;",
            ),
            (
                "To: Jane jane@x.example (J) (Doe), b@x.example",
                "To: Jane <jane@x.example> (J) (Doe), b@x.example",
            ),
            (
                &format!("To: Jane jane@x.example ({}) (J), b@x.example", "x".repeat(300)),
                "To: Jane <jane@x.example> (J), b@x.example",
            ),
            ("Reply-To: a@x_y.example\r\nReply-To: b@x.example", "Reply-To: b@x.example"),
            ("To: =?utf-8?q?Inf <info@in.example>", "To: =?utf-8?b?PT91dGYtOD9xP0luZg==?= <info@in.example>"),
            (
                "To: Jane <jane@x.example>\r\nX-Original-To-Field: Jane <ja ne@x.example>",
                "To: Jane <jane@x.example>\r\nX-Original-To-Field: Jane <ja ne@x.example>",
            ),
            (
                "To: a@x.example\r\nTo: x <b@x@5>o\u{1b}(B",
                "To: a@x.example\r\nX-Original-To-Field: x <b@x@5>o",
            ),
        ] {
            let header = header(format!("From: a@x.example\r\n{field}\r\n\r\n").as_bytes(), &how);
            assert!(header.contains(&format!("\r\n{written}\r\n")), "{field}: {header}");
        }
    }

    #[test]
    fn addresses_that_are_too_long() {
        let long = "l".repeat(400);
        let header = from(format!("{long}@{long}.example").as_bytes());
        let expected = format!("From: {}-", "l".repeat(55));
        assert!(header.contains(&expected.replace("From: ", "<")) || header.contains(&expected), "{header}");
        // SES would refuse the message for the author's own.
        assert!(header.ends_with("\r\nReply-To: sender@envelope.example\r\n\r\n"), "{header}");
        for name in
            ["n".repeat(5000), "é".repeat(5000), "日本".repeat(5000), "\"\\\"".repeat(3000), "@".repeat(5000)]
        {
            from(format!("\"{name}\" <e@x.example>").as_bytes());
        }
    }

    #[test]
    fn addresses_that_differ_only_behind_the_cut_stay_apart() {
        let long = "l".repeat(80);
        let [one, other] = ["a", "b"]
            .map(|end| rewrite(&split(format!("From: {long}@{end}.example\n\n").as_bytes()), &PLAIN).from);
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[55..56]), (64 + "@in.example".len(), "-"));
    }

    #[test]
    fn an_envelope_sender_that_is_an_attack() {
        for sender in [
            "\"R\0\n \"@x.example",
            "a\r\nBcc: x@y.example",
            "\"a\r\n\"@x.example",
            "é@é",
            "@",
            "a@b@c",
            "<script>@x",
            "\0@\0",
        ] {
            header(b"\r\n", &Rewrite { envelope_sender: Some(sender), ..PLAIN });
        }
    }
}

/// Sizes at which quadratic time would take minutes.
mod large {
    use super::*;

    fn from_and_to(value: &str) {
        let message = format!("From: {value}\r\nTo: {value}\r\nSubject: {value}\r\nX-A: {value}\r\n\r\nbody");
        let how = Rewrite { deliveries: &[delivery("info@in.example", &["ann@out.example"])], ..PLAIN };
        let header = rewrite(&split(message.as_bytes()), &how).header;
        assert!(header.is_ascii());
        assert!(header.len() < 4 * message.len() + 4096, "{} from {}", header.len(), message.len());
    }

    #[test]
    fn a_hundred_thousand_addresses() {
        from_and_to(&"Näme <user@x.example>, info@in.example,\r\n ".repeat(50_000));
    }

    #[test]
    fn two_hundred_thousand_fields() {
        for field in [
            "X-A: 1\r\n",
            "Received: 1\n",
            "Content-Type: a\r\n",
            "To: info@in.example\r\n",
            "From: a@x\r\n",
            "X-Original-To: a\r\n",
            "X-Loop: a\r\n",
            "From x\r\n",
        ] {
            let message = field.repeat(200_000);
            let how = Rewrite { deliveries: &[delivery("info@in.example", &["ann@out.example"])], ..PLAIN };
            assert!(
                rewrite(&split(message.as_bytes()), &how).header.len() < 3 * message.len() + 4096,
                "{field}"
            );
        }
        let distinct: String = (0..200_000).map(|n| format!("Content-{n}: x\r\n")).collect();
        assert!(rewrite(&split(distinct.as_bytes()), &PLAIN).header.len() > distinct.len());
    }

    #[test]
    fn a_header_block_of_40_mb() {
        let line = "X-Line: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
        let message = line.repeat(40_000_000 / line.len());
        let header = rewrite(&split(message.as_bytes()), &PLAIN).header;
        assert!(header.ends_with(&[line.as_bytes(), b"\r\n"].concat()));
        let one = format!("X-One: {}\r\n", "x".repeat(40_000_000));
        assert!(rewrite(&split(one.as_bytes()), &PLAIN).header.len() > one.len());
    }

    #[test]
    fn nested_and_endless_everything() {
        for part in [
            "(",
            "((\\",
            ")",
            "<",
            "<a",
            "\"",
            "\\",
            "\\\"",
            "\"<",
            "<\"",
            "<\\\"",
            "=?",
            "=?a?q?",
            "=?utf-8?q?x",
            "=?utf-8?q?x?= ",
            "@",
            "a@",
            ",",
            ";",
            ":",
            "a:",
            "[",
            "\r\n ",
            "é",
            "é ",
            "é x ",
            "(é",
            "\"é\" ",
            "=?utf-8?b?/?=",
            "=?utf-7?q?+?=",
            "=?iso-2022-jp?q?=1B?=",
            "=?utf-8?q?=C3?= ",
            " ",
            "\r",
            "\0",
        ] {
            from_and_to(&part.repeat(200_000 / part.len()));
            from_and_to(&format!("{}\" <info@in.example>", part.repeat(200_000 / part.len())));
        }
        from_and_to(&("(".repeat(100_000) + &")".repeat(100_000) + " a <info@in.example>"));
    }
}
