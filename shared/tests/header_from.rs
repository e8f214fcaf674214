//! From: every example of the rule, and what people and attackers write there.

use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::header::{HeaderFacts, Rewrite, rewrite, split};

/// The From and Reply-To lines that come out for a From value, without the first space.
fn rewritten(from: &[u8]) -> (String, String) {
    rewritten_with(from, "", Some("sender@envelope.example"))
}

fn with_from(from: &[u8], fields: &str) -> Vec<u8> {
    [b"From: ", from, b"\r\n", fields.as_bytes(), b"\r\n"].concat()
}

/// For no recipient.
fn how(envelope_sender: Option<&str>) -> Rewrite<'_> {
    Rewrite {
        email_domain: "in.example",
        envelope_sender,
        deliveries: &[],
        recipients: &[],
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
        replies: None,
    }
}

/// The same, beside other fields and with another envelope sender.
fn rewritten_with(from: &[u8], fields: &str, envelope_sender: Option<&str>) -> (String, String) {
    let message = with_from(from, fields);
    let rewritten = rewrite(&split(&message), &how(envelope_sender));
    let header = String::from_utf8(rewritten.header).expect("the header is ASCII");
    let value = |name: &str| {
        let start = header.find(&format!("\r\n{name}: ")).map(|at| at + name.len() + 4);
        let value = start.map(|start| &header[start..]).unwrap_or_default();
        let end = value.match_indices("\r\n").find(|(at, _)| !value[at + 2..].starts_with([' ', '\t']));
        value[..end.map_or(0, |(at, _)| at)].to_owned()
    };
    let from = value("From");
    assert!(from.trim_end_matches('>').ends_with(&rewritten.from), "{from} holds {}", rewritten.from);
    (from, value("Reply-To"))
}

/// What stands for an author that can't be told.
const SENDER: (&str, &str) =
    ("\"sender at envelope.example\" <sender_envelope.example@in.example>", "sender@envelope.example");

#[test]
fn from_as_it_comes_and_as_it_becomes() {
    for (from, expected, reply_to) in [
        (
            "Name One <name1@example.com>",
            "Name One <name1_example.com@in.example>",
            "Name One <name1@example.com>",
        ),
        ("name3@example.com", "\"name3 at example.com\" <name3_example.com@in.example>", "name3@example.com"),
        (
            "\"Doe, John\" <john@x.example>",
            "\"Doe, John\" <john_x.example@in.example>",
            "\"Doe, John\" <john@x.example>",
        ),
        (
            "=?utf-8?q?Ren=C3=A9e?= <r@x.example>",
            "=?utf-8?b?UmVuw6ll?= <r_x.example@in.example>",
            "=?utf-8?b?UmVuw6ll?= <r@x.example>",
        ),
        ("\"x < y\" <a@x.example>", "\"x < y\" <a_x.example@in.example>", "\"x < y\" <a@x.example>"),
        (
            "Friends: a@x.example, b@y.example;",
            "\"a at x.example\" <a_x.example@in.example>",
            "a@x.example, b@y.example",
        ),
        (
            "Jane <jane@x.example>, Bob <bob@y.example>, jane@x.example",
            "Jane <jane_x.example@in.example>",
            "Jane <jane@x.example>, Bob <bob@y.example>",
        ),
        (
            "Mail Delivery Subsystem <MAILER-DAEMON>",
            "Mail Delivery Subsystem <sender_envelope.example@in.example>",
            "Mail Delivery Subsystem <sender@envelope.example>",
        ),
        (
            "MAILER-DAEMON (Mail Delivery System)",
            "Mail Delivery System <sender_envelope.example@in.example>",
            "Mail Delivery System <sender@envelope.example>",
        ),
        (
            "jdoe@test  . example",
            "\"jdoe at test.example\" <jdoe_test.example@in.example>",
            "jdoe@test.example",
        ),
        (
            "test . test@y.example",
            "\"test.test at y.example\" <test.test_y.example@in.example>",
            "test.test@y.example",
        ),
        (
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            "Pete <pete_silly.test@in.example>",
            "Pete <pete@silly.test>",
        ),
        ("A <A <a@x.example>>", "A <a_x.example@in.example>", "A <a@x.example>"),
        ("A <a@x.example> B <b@x.example>", "B <b_x.example@in.example>", "A <a@x.example>, B <b@x.example>"),
        (
            "Jane <jane@x.example> b@y.example",
            "Jane <jane_x.example@in.example>",
            "Jane <jane@x.example>, b@y.example",
        ),
        (
            "Jane <jane@x.example> b@y.example <c@z.example>",
            "\"b at y.example\" <c_z.example@in.example>",
            "Jane <jane@x.example>, \"b@y.example\" <c@z.example>",
        ),
        ("a@x.example>", "\"a at x.example\" <a_x.example@in.example>", "a@x.example"),
        ("a@x.example <>", "\"a at x.example\" <a_x.example@in.example>", "a@x.example"),
        (
            "Doe, John <john@x.example>",
            "\"Doe, John\" <john_x.example@in.example>",
            "\"Doe, John\" <john@x.example>",
        ),
        (
            "Jörg <jörg@x.example>",
            "=?utf-8?b?SsO2cmc=?= <sender_envelope.example@in.example>",
            "=?utf-8?b?SsO2cmc=?= <sender@envelope.example>",
        ),
        (
            "Jörg <jörg@x.example>, Bob <bob@y.example>",
            "Bob <bob_y.example@in.example>",
            "Bob <bob@y.example>",
        ),
        ("<mailto:jane@x.example>", "\"jane at x.example\" <jane_x.example@in.example>", "jane@x.example"),
        ("mailto:jane@x.example", "\"jane at x.example\" <jane_x.example@in.example>", "jane@x.example"),
        (
            "Jane <mailto:jane@x.example?subject=Hello%20you>",
            "Jane <jane_x.example@in.example>",
            "Jane <jane@x.example>",
        ),
        ("jane@x.example?subject=Hello", SENDER.0, SENDER.1),
        ("Jane <> jane@x.example", "Jane <jane_x.example@in.example>", "Jane <jane@x.example>"),
        ("<root> Jane jane@x.example", "Jane <jane_x.example@in.example>", "Jane <jane@x.example>"),
        ("<jane doe@x.example>", SENDER.0, SENDER.1),
        ("<jane doe@x.example> x", SENDER.0, SENDER.1),
        ("<jane doe@x.example", SENDER.0, SENDER.1),
        (
            "<third@x.example, fourth@x.example>",
            "\"third at x.example\" <third_x.example@in.example>",
            "third@x.example, fourth@x.example",
        ),
        (
            "John <john smith@x.example>",
            "John <sender_envelope.example@in.example>",
            "John <sender@envelope.example>",
        ),
        (
            "a@b@x.example",
            "\"sender at envelope.example\" <sender_envelope.example@in.example>",
            "sender@envelope.example",
        ),
        (
            "=?utf-8?q?jane=40x.example?= <=?utf-8?q?jane?=@x.example>",
            "\"jane at x.example\" <sender_envelope.example@in.example>",
            "\"jane@x.example\" <sender@envelope.example>",
        ),
        (
            "a=?b@x.example",
            "=?utf-8?q?a=3D=3Fb_at_x=2Eexample?= <a_b_x.example@in.example>",
            "a=?b@x.example",
        ),
        (
            "=?b.=?c@x.example",
            "=?utf-8?b?PT9iLj0/YyBhdCB4LmV4YW1wbGU=?= <_b._c_x.example@in.example>",
            "\"=?b.=?c\"@x.example",
        ),
        ("Jane Q. jane@x.example", "\"Jane Q.\" <jane_x.example@in.example>", "\"Jane Q.\" <jane@x.example>"),
        ("\"a\tb\"@x.example", "\"a b at x.example\" <a_b_x.example@in.example>", "\"a b\"@x.example"),
        ("root@localhost", "root at localhost <root_localhost@in.example>", "root@localhost"),
        ("a@[192.0.2.1]", "\"a at [192.0.2.1]\" <a__192.0.2.1_@in.example>", "a@[192.0.2.1]"),
        (
            "\"eve@bank.example\" <e@x.example>",
            "\"eve at bank.example\" <e_x.example@in.example>",
            "\"eve@bank.example\" <e@x.example>",
        ),
        (
            "Renée <r@x.example>",
            "=?utf-8?b?UmVuw6ll?= <r_x.example@in.example>",
            "=?utf-8?b?UmVuw6ll?= <r@x.example>",
        ),
        (
            "=?utf-8?q?a=0D=0ABcc:_x@y.example?= <e@x.example>",
            "\"a  Bcc: x at y.example\" <e_x.example@in.example>",
            "\"a  Bcc: x@y.example\" <e@x.example>",
        ),
        ("<@route.example:a@x.example>", "\"a at x.example\" <a_x.example@in.example>", "a@x.example"),
        (
            "",
            "\"sender at envelope.example\" <sender_envelope.example@in.example>",
            "sender@envelope.example",
        ),
        (
            "junk",
            "\"sender at envelope.example\" <sender_envelope.example@in.example>",
            "sender@envelope.example",
        ),
        (
            "John Q. Public <jqp@x.example>",
            "\"John Q. Public\" <jqp_x.example@in.example>",
            "\"John Q. Public\" <jqp@x.example>",
        ),
        ("jane@x.example (Jane Doe)", "Jane Doe <jane_x.example@in.example>", "Jane Doe <jane@x.example>"),
        ("Jane Doe jane@x.example", "Jane Doe <jane_x.example@in.example>", "Jane Doe <jane@x.example>"),
        ("Jane Doe <jane@x.example", "Jane Doe <jane_x.example@in.example>", "Jane Doe <jane@x.example>"),
        ("<<jane@x.example>>", "\"jane at x.example\" <jane_x.example@in.example>", "jane@x.example"),
        ("jane @ x.example", "\"jane at x.example\" <jane_x.example@in.example>", "jane@x.example"),
        (
            "\"john doe\"@x.example",
            "\"john doe at x.example\" <john_doe_x.example@in.example>",
            "\"john doe\"@x.example",
        ),
        (
            "Jane <jane@büro.example>",
            "Jane <jane_xn--bro-hoa.example@in.example>",
            "Jane <jane@xn--bro-hoa.example>",
        ),
        // No host has such a name, so SES refuses it in Reply-To.
        ("Jane <jane@x_y.example>", "Jane <jane_x_y.example@in.example>", "Jane <sender@envelope.example>"),
        (
            "jane@x_y.example, Bob <bob@y.example>",
            "\"jane at x_y.example\" <jane_x_y.example@in.example>",
            "Bob <bob@y.example>",
        ),
        // Of this name nothing is left.
        (
            "=?utf-8?q?=E2=80=AE?= <a@x.example>",
            "\"a at x.example\" <a_x.example@in.example>",
            "=?utf-8?b?4oCu?= <a@x.example>",
        ),
        (
            "=?utf-8?q?=E2=81=A6_=E2=80=AC?= <MAILER-DAEMON>",
            SENDER.0,
            "=?utf-8?b?4oGmIOKArA==?= <sender@envelope.example>",
        ),
        ("a..b.@x.example", "\"a..b. at x.example\" <a._b._x.example@in.example>", "\"a..b.\"@x.example"),
    ] {
        assert_eq!(rewritten(from.as_bytes()), (expected.to_owned(), reply_to.to_owned()), "From: {from}");
    }
}

/// A bounce, or a message whose sender is no mailbox either: nobody is there to be answered.
#[test]
fn without_an_envelope_sender() {
    for (from, expected, reply_to) in [
        ("Mail Delivery Subsystem <MAILER-DAEMON>", "Mail Delivery Subsystem <unknown@in.example>", ""),
        ("MAILER-DAEMON (Mail Delivery System)", "Mail Delivery System <unknown@in.example>", ""),
        ("\"Mail, Delivery\" <>", "\"Mail, Delivery\" <unknown@in.example>", ""),
        ("Jörg <jörg@x.example>", "=?utf-8?b?SsO2cmc=?= <unknown@in.example>", ""),
        (
            "Jörg <jörg@x.example>, Jane <jane@y.example>",
            "Jane <jane_y.example@in.example>",
            "Jane <jane@y.example>",
        ),
        ("John <john smith@x.example>", "John <unknown@in.example>", ""),
        ("jane@x_y.example", "\"jane at x_y.example\" <jane_x_y.example@in.example>", ""),
        ("", "unknown <unknown@in.example>", ""),
        ("junk", "unknown <unknown@in.example>", ""),
    ] {
        for envelope_sender in [None, Some(""), Some("<>"), Some("MAILER-DAEMON"), Some("jörg@x.example")] {
            let found = rewritten_with(from.as_bytes(), "", envelope_sender);
            assert_eq!(found, (expected.to_owned(), reply_to.to_owned()), "{from} from {envelope_sender:?}");
        }
    }
}

/// The first Reply-To that holds an address, or else the authors.
#[test]
fn reply_to_as_it_comes_and_as_it_becomes() {
    for (fields, expected) in [
        ("Reply-To: b@y.example\r\n", "b@y.example"),
        ("Reply-To: B <b@y.example>,\r\n c@y.example\r\n", "B <b@y.example>, c@y.example"),
        ("Reply-To: noreply\r\nReply-To: b@y.example\r\nReply-To: c@y.example\r\n", "b@y.example"),
        ("Reply-To: noreply, b@y.example\r\n", "b@y.example"),
        ("Reply-To: Jörg <jörg@y.example>, b@y.example\r\n", "b@y.example"),
        ("Reply-To: <mailto:b@büro.example>\r\n", "b@xn--bro-hoa.example"),
        ("Reply-To: \"B\r\n", AUTHORS),
        ("Reply-To:\r\n", AUTHORS),
        ("Reply-To: <>\r\n", AUTHORS),
        ("Reply-To: noreply\r\n", AUTHORS),
        ("Reply-To: <john smith@y.example>\r\n", AUTHORS),
        ("Reply-To: =?utf-8?q?b=40y.example?=\r\n", AUTHORS),
        ("Reply-To: <=?utf-8?q?b?=@y.example>\r\n", AUTHORS),
        ("Reply-To: jörg@y.example\r\n", AUTHORS),
        ("Reply-To: \"b@y.example,c@y.example\"\r\n", AUTHORS),
        ("Reply-To: nobody:;\r\n", AUTHORS),
        ("", AUTHORS),
    ] {
        let from = b"Jane <jane@x.example>, \"Roe, Bob\" <bob@z.example>";
        let (_, reply_to) = rewritten_with(from, fields, Some("sender@envelope.example"));
        assert_eq!(reply_to.replace("\r\n ", " "), expected, "{fields}");
    }
}

const AUTHORS: &str = "Jane <jane@x.example>, \"Roe, Bob\" <bob@z.example>";

/// What odd mailboxes are made of. No domain literals: [`HeaderFacts`] can't name their authors.
const PARTS: &[&[u8]] = &[
    b" ",
    b", ",
    b"; ",
    b":",
    b"<",
    b">",
    b"> ",
    b"(c)",
    b"\"",
    b"\\",
    b"\r\n ",
    b"Jane",
    b"\xe9",
    b"\xc3\xa9",
    b"\x83\x40",
    b"\x1b$B;v\"<\x1b(B",
    b"a@x.example",
    b"<b@y.example>",
    b"Jane <c@z.example> ",
    b"j\xc3\xb6rg@x.example",
    b"<j\xc3\xb6rg@x.example> ",
    b"d@x_y.example",
    b"root",
    b"\"o p\"@x.example",
    b"=?utf-8?q?a=40x.example?=",
    b"<@r.example:e@x.example>",
    b"mailto:f@x.example",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Routes decide by the author whom the reader sees.
    #[test]
    fn facts_name_the_author_whom_from_shows(parts in vec(select(PARTS), 0..10), charset in select(&["koi8-r", "shift_jis"][..])) {
        let shown = |from: &[u8], more: &str| {
            let message = with_from(from, more);
            let block = split(&message);
            (rewrite(&block, &how(None)).from.to_ascii_lowercase(), HeaderFacts::of(&block))
        };
        let more = format!("Content-Type: text/plain; charset={charset}\r\nFrom: second@x.example\r\n");
        let (from, facts) = shown(&parts.concat(), &more);
        let author = facts.author.map(|author| author.to_string()).unwrap_or_default();
        prop_assert_eq!(&from, &shown(author.as_bytes(), "").0, "{}", parts.concat().escape_ascii());
        let sole = facts.sole_author.map(|author| author.to_string());
        prop_assert!(sole.is_none_or(|sole| sole == author));
    }
}
