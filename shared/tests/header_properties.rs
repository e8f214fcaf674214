//! What must hold for every input, on generated messages: fields that exist, with values put
//! together from what mail and attacks are made of.

use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::{
    address::Address,
    delivery::{Delivery, Reason},
    header::{HeaderFacts, Rewrite, rewrite, split},
};
use ses_forwarder_checker::violations;

const NAMES: &[&str] = &[
    "From",
    "from",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Sender",
    "Subject",
    "Message-ID",
    "References",
    "In-Reply-To",
    "Date",
    "Received",
    "Return-Path",
    "DKIM-Signature",
    "X-SES-RECEIPT",
    "Resent-From",
    "Resent-Bcc",
    "Content-Type",
    "Content-Description",
    "content-type",
    "MIME-Version",
    "List-Id",
    "Keywords",
    "Delivered-To",
    "Original-To",
    "X-Loop",
    "X-Original-To",
    "X-Original-From",
    "X-Original-Message-ID",
    "X-Forwarder-Verdict",
    "X-A",
    "Odd$Name",
    ">From",
];

const PARTS: &[&[u8]] = &[
    b" ",
    b"  ",
    b"\t",
    b"\r\n ",
    b"\n\t",
    b"\r\n \r\n ",
    b"\r\nFrom x y\r\n ",
    b"\r",
    b"\0",
    b"\x7f",
    b"\x1b[31m",
    b"a",
    b"word",
    b"@",
    b".",
    b"..",
    b",",
    b";",
    b":",
    b"<",
    b">",
    b"(",
    b")",
    b"\"",
    b"\\",
    b"[",
    b"]",
    b"=?",
    b"?=",
    b"a@x.example",
    b"info@in.example",
    b"INFO@In.Example",
    b"<info@in.example>",
    b"\"o p\"@in.example",
    b"ann@out.example",
    b"Jane Doe <jane@x.example>",
    b"\"Doe, Jane\" <jane@x.example>",
    b"jane@x.example (Jane)",
    b"Team: a@x, info@in.example;",
    b"=?utf-8?q?Ren=C3=A9e?=",
    b"=?utf-8?q?a=0D=0ABcc:_b@x?=",
    b"=?utf-8?b?4oCuQA==?=",
    b"=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=40b=3F=3D?=",
    b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=",
    b"=?utf-7?q?+AEA-?=",
    b"=?utf-16?b?AEA=?=",
    b"=?x?q?=FF?=",
    b"\xc3\xa9",
    b"\xe9",
    b"\xe6\x97\xa5\xe6\x9c\xac",
    b"\xe2\x80\xae",
    b"\xef\xbc\xa0",
    b"\xc2\x85",
    b"\x81",
    b"\xff\xfe",
    b"<1@x>",
    b"<1@x> <2@x>",
    b"user@b\xc3\xbccher.example",
];

const LINE_ENDS: &[&[u8]] = &[b"\r\n", b"\r\n", b"\n"];

const ODD_LINES: &[&[u8]] = &[
    b"From a@x Mon\n",
    b">From a@x Mon\r\n",
    b" \r\n",
    b" 1\n",
    b": 1\n",
    b"\xe9: 1\n",
    b"body\r\n",
    b"\r\n",
    b"\n",
];

const BODIES: &[&[u8]] = &[b"", b"\r\n", b"\n", b"\r\nbody\r\n", b"\n\xff\0\nFrom: x\n", b"\r"];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        20 => select(PARTS).prop_map(<[u8]>::to_vec),
        3 => "[ -~]{0,40}".prop_map(String::into_bytes),
        1 => "\\PC{0,20}".prop_map(String::into_bytes),
        1 => (select(PARTS), 1..400_usize).prop_map(|(part, times)| part.repeat(times)),
        1 => (900..1100_usize).prop_map(|length| vec![b'x'; length]),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let end = select(LINE_ENDS);
    let field = (select(NAMES), select(&["", "", "", " ", "\t "][..]), value(), end.clone()).prop_map(
        |(name, space, value, end)| [name.as_bytes(), space.as_bytes(), b": ", &value, end].concat(),
    );
    prop_oneof![
        30 => field,
        1 => (900..1100_usize).prop_map(|length| [&vec![b'X'; length][..], b": 1\r\n"].concat()),
        1 => select(ODD_LINES).prop_map(<[u8]>::to_vec),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let body = select(BODIES);
    prop_oneof![
        9 => (vec(line(), 0..16), body).prop_map(|(lines, body)| [&lines.concat(), body].concat()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

/// To, Cc and Reply-To: what SES can read once stays as it is.
fn lists(message: &[u8]) -> Vec<(String, String)> {
    let fields = split(message).fields();
    let lists = fields.filter(|field| ["To", "Cc", "Reply-To"].iter().any(|name| field.is(name)));
    lists
        .map(|field| (field.name.escape_ascii().to_string(), field.value.escape_ascii().to_string()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_that_must_hold(
        message in message(),
        envelope_sender in prop_oneof![Just(None), Just(Some("s@envelope.example".to_owned())), "\\PC{0,30}".prop_map(Some)],
        subject_prefix in select(&["", "", "[x] ", "[é]"][..]),
        tags in vec(select(&[Reason::Spam, Reason::Unauthenticated][..]), 0..2),
    ) {
        let address = |text: &str| Address::parse(text).expect("a constant address");
        let deliveries = [
            Delivery { recipient: address("info@in.example"), destinations: vec![address("ann@out.example"), address("bob@else.example")], tags: vec![] },
            Delivery { recipient: address("\"o p\"@in.example"), destinations: vec![], tags: vec![] },
        ];
        let recipients = [address("info@in.example"), address("\"o p\"@in.example")];
        let how = Rewrite {
            email_domain: "in.example",
            envelope_sender: envelope_sender.as_deref(),
            deliveries: &deliveries,
            recipients: &recipients,
            hide_destinations: false,
            subject_prefix,
            tags: &tags,
            replies: None,
        };
        let mut message = message;
        let mut sizes = Vec::new();
        let mut before: Vec<_> = Vec::new();
        for _ in 0..4 {
            let block = split(&message);
            let rewritten = rewrite(&block, &how);
            let output = [&rewritten.header, &message[block.body_at..]].concat();
            prop_assert_eq!(violations(&message, &output, &rewritten.from, &how), Vec::<String>::new(), "{}", message.escape_ascii());
            let facts = HeaderFacts::of(&split(&output));
            prop_assert!(facts.loops.iter().any(|value| value == "info@in.example"));
            sizes.push(rewritten.header.len());
            let lists = lists(&output);
            prop_assert!(before.iter().all(|list| lists.contains(list)), "{:?} was mended again: {:?}", before, lists);
            before = lists;
            message = output;
        }
        // A From grows until its local part and its name are cut; nothing else may.
        prop_assert!(sizes[3] <= sizes[2] + 2 * 320, "{:?}", sizes);
    }
}
