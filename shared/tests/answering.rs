//! The header of an answer: what stays of it, and that nothing else does, whatever came.

use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::{
    address::Address,
    delivery::Delivery,
    domains::Domains,
    header::{AnswerHeader, Rewrite, answer, rewrite, split},
    replies::{Replies, keys::ReplyKeys, signed::Purpose},
};

const OWNER: &str = "ann@out.example";

/// What an answer's header may hold.
const ALLOWED: [&str; 14] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "in-reply-to",
    "references",
    "thread-topic",
    "thread-index",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "content-language",
];

fn address(text: &str) -> Address {
    Address::parse(text).expect("a constant address")
}

fn keys() -> ReplyKeys {
    ReplyKeys::first([7; 32])
}

fn domains() -> Domains {
    Domains::parse("in.example").expect("a constant domain")
}

fn signed(correspondent: &str) -> String {
    let (alias, correspondent) = (address("info@in.example"), address(correspondent));
    keys().sign(Purpose::Answer, &alias, &correspondent).expect("it fits").address.to_string()
}

/// The header of an answer to Jane, as text.
fn answered(message: &[u8]) -> String {
    let (keys, domains) = (keys(), domains());
    let how = AnswerHeader {
        alias: &address("info@in.example"),
        correspondents: &[address("jane@example.com")],
        private: &[address(OWNER), address("bob@else.example")],
        replies: Replies { keys: &keys, contacts: &[], named: &[], domains: &domains },
        subject_prefix: "[in.example]",
    };
    let rewritten = answer(&split(message), &how);
    assert_eq!(rewritten.from, "info@in.example");
    String::from_utf8(rewritten.header).expect("ASCII")
}

/// One field of it, unfolded; empty if it is not there.
fn field(header: &str, name: &str) -> String {
    let unfolded = header.replace("\r\n ", " ");
    let value = unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    value.unwrap_or_default().to_owned()
}

#[test]
fn the_name_stays_unless_it_is_an_address() {
    for (from, expected) in [
        ("Ann Owner <ann@out.example>", "Ann Owner <info@in.example>"),
        ("ann@out.example", "info@in.example"),
        ("\"ann@out.example\" <ann@out.example>", "info@in.example"),
        ("\"Ann (ann@out.example)\" <ann@out.example>", "info@in.example"),
        ("\"Ann at out.example\" <ann@out.example>", "info@in.example"),
        ("=?utf-8?q?ann=40out.example?= <ann@out.example>", "info@in.example"),
        ("=?utf-8?q?Ann=0D=0ABcc:_x?= <ann@out.example>", "\"Ann  Bcc: x\" <info@in.example>"),
        ("=?utf-8?q?Ren=C3=A9e?= <ann@out.example>", "=?UTF-8?B?UmVuw6ll?= <info@in.example>"),
        ("\"Owner, Ann\" <ann@out.example>", "\"Owner, Ann\" <info@in.example>"),
    ] {
        let header = answered(format!("From: {from}\r\n\r\n").as_bytes());
        assert_eq!(field(&header, "From").to_ascii_lowercase(), expected.to_ascii_lowercase(), "{from}");
    }
}

#[test]
fn signed_addresses_become_their_owners_and_private_ones_the_alias() {
    let (jane, tom) = (signed("jane@example.com"), signed("tom@example.com"));
    let wrong = tom.replace("tom=", "tim=");
    for (list, expected) in [
        (format!("Jane <{jane}>"), "Jane <jane@example.com>".to_owned()),
        (format!("{jane}, Tom <{tom}>"), "jane@example.com, Tom <tom@example.com>".to_owned()),
        (format!("{jane}, {}", jane.to_ascii_uppercase()), "jane@example.com".to_owned()),
        (format!("Me <{OWNER}>, {jane}"), "info@in.example, jane@example.com".to_owned()),
        ("BOB@else.example, info@in.example".to_owned(), "info@in.example".to_owned()),
        (format!("x <{wrong}>"), format!("x <{wrong}>")),
        ("Real <real@x.example>".to_owned(), "Real <real@x.example>".to_owned()),
        (format!("\"{OWNER}\" <real@x.example>"), "real@x.example".to_owned()),
        (format!("{OWNER}: real@x.example;"), "real@x.example".to_owned()),
        (format!("{jane}, \"Write to {OWNER}.\" <x@x.example>"), "jane@example.com, x@x.example".to_owned()),
    ] {
        let header = answered(format!("From: {OWNER}\r\nTo: {list}\r\n\r\n").as_bytes());
        assert_eq!(field(&header, "To"), expected, "{list}");
        assert!(!header.contains(OWNER), "{header}");
    }
}

/// Addresses that hold a private one are somebody else's.
#[test]
fn what_is_part_of_a_longer_address_stays() {
    let jane = signed("jane@example.com");
    for other in ["joann@out.example", "x.ann@out.example", "ann@out.example.com", "o'ann@out.example"] {
        let fields = format!(
            "To: Jane <{jane}>, Jo <{other}>\r\nCc: {other}\r\nSubject: Fwd: {other}\r\n\
             Content-Disposition: attachment; filename=\"jo{OWNER}.vcf\"\r\n"
        );
        let header = answered(format!("From: {OWNER}\r\n{fields}\r\n").as_bytes());
        assert_eq!(field(&header, "To"), format!("Jane <jane@example.com>, Jo <{other}>"));
        assert_eq!(field(&header, "Cc"), other);
        assert_eq!(field(&header, "Subject"), format!("Fwd: {other}"));
        assert_eq!(field(&header, "Content-Disposition"), format!("attachment; filename=\"jo{OWNER}.vcf\""));
    }
}

#[test]
fn the_subject_is_the_one_that_the_correspondent_wrote() {
    for (subject, expected) in [
        ("Re: [in.example] Hello", "Re: Hello"),
        ("[in.example] Hello", "Hello"),
        ("Re: [in.example] Re: Hello", "Re: Hello"),
        ("[in.example] Re: Hello", "Re: Hello"),
        ("AW: Re: [in.example] [SPAM] Hello", "AW: Re: Hello"),
        ("Re: [UNVERIFIED] Hello", "Re: Hello"),
        ("Re: [UNVERIFIED] [TAGGED] Hello", "Re: Hello"),
        ("[TAGGED] [SPAM] [in.example] [VIRUS] Hello", "Hello"),
        ("Re: [SPAM] Re: [in.example] Hello [TAGGED]", "Re: Hello [TAGGED]"),
        ("Hello [in.example] x", "Hello [in.example] x"),
        ("Re: mail to ann@out.example", "Re: mail to info@in.example"),
        ("Re: Hello", "Re: Hello"),
        ("", ""),
    ] {
        let header = answered(format!("Subject: {subject}\r\nThread-Topic: {subject}\r\n\r\n").as_bytes());
        assert_eq!(field(&header, "Subject"), expected, "{subject}");
        assert!(!header.contains(OWNER));
    }
    let header = answered("Subject: Re: [in.example] Grüße\r\n\r\n".as_bytes());
    assert_eq!(field(&header, "Subject").to_ascii_lowercase(), "re: =?utf-8?b?r3ldvmofzq==?=");
}

#[test]
fn no_parameter_holds_a_private_address() {
    for (came, expected) in [
        (
            "attachment; filename=\"Ann <ANN@out.example>.vcf\"",
            "attachment; filename=\"Ann <info@in.example>.vcf\"",
        ),
        ("attachment; filename=ann@out.example.vcf", "attachment; filename=\"info@in.example.vcf\""),
        (
            "attachment; filename=scan_ann@out.example-2.pdf",
            "attachment; filename=\"scan_info@in.example-2.pdf\"",
        ),
        ("attachment; filename=a.vcf; x=\"a \\\" b\"", "attachment; filename=a.vcf; x=\"a \\\" b\""),
        (
            "attachment; x=\"a \\\" b\"; filename=\"ann@out.\\example\"",
            "attachment; x=\"a \\\" b\"; filename=\"info@in.example\"",
        ),
        (
            "attachment; filename=\"=?utf-8?q?ann=40out.example?=\"",
            "attachment; filename=\"info@in.example\"",
        ),
        (
            "attachment; filename*=utf-8''%C3%A9%20ann%40out.example; size=1",
            "attachment; filename*=utf-8''%C3%A9%20info%40in.example; size=\"1\"",
        ),
        (
            "attachment; filename*1=\"out.example\"; filename*0*=iso-8859-1''%E9ann%40",
            "attachment; filename*=utf-8''%C3%A9info%40in.example",
        ),
        (
            "attachment; filename=\"?\"; filename*=''bob%40else.example; filename*0=x",
            "attachment; filename=\"info@in.example\"",
        ),
        ("ann@out.example; ann@out.example; bob@else.example=1; x=1", "info@in.example; x=\"1\""),
        (
            "multipart/mixed; boundary=\"ann@out.example\"; type=\"<ann@out.example>\"",
            "multipart/mixed; boundary=\"ann@out.example\"; type=\"<info@in.example>\"",
        ),
        (
            "multipart/mixed; Boundary = abc (c) ; name=\"ann@out.example\"",
            "multipart/mixed; Boundary = abc (c); name=\"info@in.example\"",
        ),
        (
            "multipart/mixed; boundary*0=a; boundary*1=\"b\\\"\"; name=\"ann@out.example\"",
            "multipart/mixed; boundary*0=a; boundary*1=\"b\\\"\"; name=\"info@in.example\"",
        ),
        (
            "multipart/mixed; boundary=\"a\\\r\n b\"; name=\"ann@out.example \\\r\n c\"",
            "multipart/mixed; boundary=\"a\\ b\"; name=\"info@in.example  c\"",
        ),
    ] {
        for name in ["Content-Type", "Content-Disposition"] {
            let header = answered(format!("From: {OWNER}\r\n{name}: {came}\r\n\r\n").as_bytes());
            assert_eq!(field(&header, name), expected, "{came}");
        }
    }
}

#[test]
fn ids_are_those_that_the_correspondent_knows() {
    const SES: &str = "<s1@email.amazonses.com>";
    let hidden = |id: &str| format!("<{}>", keys().hide_id(id.as_bytes(), "in.example").expect("an id"));
    let own = hidden("own@mail.out.example");
    let former = hidden("a1@mail.out.example");
    for (case, in_reply_to, references, parent, known) in [
        ("nothing", "", "", "", String::new()),
        (
            "an answer",
            SES,
            "<m1@example.com> <s1@email.amazonses.com>",
            "<m1@example.com>",
            format!("<m1@example.com> {SES}"),
        ),
        ("without References", SES, "", SES, SES.to_owned()),
        (
            "commas",
            SES,
            "<m1@example.com>,<s1@email.amazonses.com>",
            "<m1@example.com>",
            format!("<m1@example.com> {SES}"),
        ),
        (
            "one that was sent before, behind what hides it",
            SES,
            &format!("{former} <a1@mail.out.example> {SES}"),
            SES,
            format!("{former} {SES}"),
        ),
        (
            "one that was sent before",
            "<a1@mail.out.example>",
            "<m1@example.com> <a1@mail.out.example>",
            &former,
            format!("<m1@example.com> {former}"),
        ),
        // Of the owner's mail system, though SES's stands behind it: some programs cut the list in its middle.
        ("cut", SES, &format!("<a1@mail.out.example> {SES}"), SES, format!("{former} {SES}")),
        (
            "of others",
            "<x@other.example>",
            "<y@other.example> <x@other.example>",
            "<x@other.example>",
            "<y@other.example> <x@other.example>".to_owned(),
        ),
        ("no ids", "a b", "c (d)", "", String::new()),
    ] {
        let message = format!(
            "From: {OWNER}\r\nMessage-ID: <own@mail.out.example>\r\nIn-Reply-To: {in_reply_to}\r\n\
             References: {references}\r\n\r\n"
        );
        let header = answered(message.as_bytes());
        assert_eq!(field(&header, "In-Reply-To"), parent, "{case}: {header}");
        assert_eq!(field(&header, "References"), format!("{known} {own}").trim_start(), "{case}");
        assert!(!header.contains("out.example"), "{case}: {header}");
    }
    // Both sides' mail systems may be the same: what SES has forwarded is the other side's.
    let message = format!(
        "From: {OWNER}\r\nMessage-ID: <own@mail.gmail.example>\r\nIn-Reply-To: {SES}\r\n\
         References: <m1@mail.gmail.example> {SES}\r\n\r\n"
    );
    let header = answered(message.as_bytes());
    assert_eq!(field(&header, "In-Reply-To"), "<m1@mail.gmail.example>");
    assert!(field(&header, "References").starts_with("<m1@mail.gmail.example> <s1@"), "{header}");
}

#[test]
fn what_was_hidden_is_shown_to_the_owner_again_and_to_nobody_else() {
    let hidden = keys().hide_id(b"a1@laptop.out.example", "in.example").expect("an id");
    let message = format!(
        "From: jane@example.com\r\nMessage-ID: <m2@example.com>\r\nIn-Reply-To: <s2@email.amazonses.com>\r\n\
         References: <m1@example.com> <{hidden}> <s2@email.amazonses.com>\r\n\r\n"
    );
    let (keys, domains) = (keys(), domains());
    let recipients = [address("info@in.example")];
    let deliveries =
        [Delivery { recipient: recipients[0].clone(), destinations: vec![address(OWNER)], tags: vec![] }];
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender: Some("jane@example.com"),
        deliveries: &deliveries,
        recipients: &recipients,
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
        replies: Some(Replies { keys: &keys, contacts: &[], named: &[], domains: &domains }),
    };
    let with = String::from_utf8(rewrite(&split(message.as_bytes()), &how).header).expect("ASCII");
    assert_eq!(field(&with, "In-Reply-To"), "<a1@laptop.out.example>");
    let expected = format!(
        "<m1@example.com> <{hidden}> <a1@laptop.out.example> <s2@email.amazonses.com> <m2@example.com>"
    );
    assert_eq!(field(&with, "References"), expected);
    let without =
        String::from_utf8(rewrite(&split(message.as_bytes()), &Rewrite { replies: None, ..how }).header);
    assert!(!without.expect("ASCII").contains("laptop"));
}

proptest! {
    #[test]
    fn nothing_else_gets_through(
        fields in vec((
            select(vec![
                "From", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Received",
                "X-Originating-IP", "Reply-To", "Sender", "Thread-Topic", "Thread-Index", "MIME-Version",
                "Content-Type", "Content-Disposition", "Content-Id", "User-Agent", "Autocrypt", "cc", "TO", "x",
            ]),
            prop_oneof![
                "[ -~]{0,80}",
                select(vec![
                    "ann@out.example", "Ann <ANN@out.example>, bob@else.example", "<a1@mail.out.example>",
                    "\"ann@out.example\" <x@x.example>", "=?utf-8?q?ann=40out.example?=", "x\r\n y\r\n\tz",
                    "<a@b> <c@email.amazonses.com>", "text/plain; name=\"ann@out.example\"",
                ]).prop_map(str::to_owned),
                vec(any::<u8>(), 0..40).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            ],
        ), 0..12),
        lines in vec("[ -~]{0,30}", 0..3),
    ) {
        let text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).chain(lines).collect();
        let header = answered(text.as_bytes());
        prop_assert!(header.ends_with("\r\n"));
        let block = split(header.as_bytes());
        prop_assert_eq!(block.body_at, header.len(), "one empty line, and behind it nothing");
        let mut seen = Vec::new();
        for field in block.fields() {
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            prop_assert!(ALLOWED.contains(&&*name), "{}", name);
            prop_assert!(matches!(&*name, "to" | "cc") || !seen.contains(&name), "{} twice", name);
            let value = String::from_utf8_lossy(field.value).to_ascii_lowercase();
            prop_assert!(!value.contains("ann@out.example") && !value.contains("bob@else.example"), "{}", header);
            seen.push(name);
        }
        prop_assert!(header.split("\r\n").all(|line| line.is_ascii() && line.len() <= 998));
    }
}
