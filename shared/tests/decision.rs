//! What is forwarded and what is dropped: every verdict with every setting, loops, bounces, and
//! recipients that fare differently.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use proptest::prelude::*;
use ses_forwarder::{
    address::Address,
    decision::{Action, Decision, Policy, RECEIVED_MAX, decide, judge},
    delivery::Reason,
    domains::Domains,
    header::{self, HeaderFacts, Marks, Rewrite},
    notification::{Notification, Verdict},
    routes::Routes,
};

const ROUTES: &str = r#"[routes]
"sales@in.example" = ["ann@out.example", "bob@else.example"]
"ann@in.example" = "ann@out.example"
"old-shop@in.example" = []
"abuse" = "postmaster@out.example"
"jane_doe.name@in.example" = "jane@out.example"
"jane_exact.example@in.example" = []
"#;

fn routes(destination_domain: Option<&str>) -> Routes {
    Routes::parse(ROUTES.as_bytes(), &domains(), destination_domain).unwrap()
}

fn domains() -> Domains {
    Domains::parse("in.example").unwrap()
}

const POLICY: Policy = Policy {
    spam: Action::Drop,
    virus: Action::Drop,
    dmarc_reject: Action::Drop,
    dmarc_fail: Action::Tag,
    unauthenticated: Action::Forward,
    spf_fail: Action::Forward,
    dkim_fail: Action::Forward,
};

/// An ordinary message that passed every check.
fn message_to(recipients: &[&str]) -> Notification {
    Notification {
        message_id: "m1".into(),
        source: Some("jane@example.com".into()),
        recipients: recipients.iter().map(ToString::to_string).collect(),
        spam: Verdict::Pass,
        virus: Verdict::Pass,
        spf: Verdict::Pass,
        dkim: Verdict::Pass,
        dmarc: Verdict::Pass,
        ..Notification::default()
    }
}

/// A decision in one line: where mail goes, with the tags, and who is left out; or why it is dropped.
fn shown(decision: &Decision) -> String {
    match decision {
        Decision::Drop { reason, .. } => format!("drop {}", reason.word()),
        Decision::Forward { destinations, tags, left_out, .. } => {
            let destinations: Vec<_> = destinations.iter().map(ToString::to_string).collect();
            let tags: String = tags.iter().map(|tag| format!(" [{}]", tag.word())).collect();
            let left_out: String = left_out
                .iter()
                .map(|one| format!(" not {} ({})", one.recipient, one.reason.word()))
                .collect();
            format!("forward {}{tags}{left_out}", destinations.join(" "))
        }
    }
}

/// With the routes above, of which the default sends everyone else to the same name at out.example.
fn decided(notification: &Notification, header: &HeaderFacts) -> String {
    shown(&decide(notification, header, &POLICY, &routes(Some("out.example")), &domains()))
}

/// The words that SES says of a message; `None` is a verdict that is not there.
#[derive(Clone, Copy, Default)]
struct Words {
    spam: Word,
    virus: Word,
    spf: Word,
    dkim: Word,
    dmarc: Word,
    dmarc_policy: Word,
}

type Word = Option<&'static str>;
type Setting = fn(&Policy) -> Action;
type HasFailed = fn(&Words) -> bool;

/// The rules, most important first: a check, its setting, and when it has failed.
const RULES: [(Reason, Setting, HasFailed); 7] = [
    (Reason::Spam, |policy| policy.spam, |words| failed(words.spam)),
    (Reason::Virus, |policy| policy.virus, |words| failed(words.virus)),
    (
        Reason::Dmarc,
        |policy| policy.dmarc_reject,
        |words| failed(words.dmarc) && matches!(words.dmarc_policy, Some("reject" | "REJECT")),
    ),
    (
        Reason::Dmarc,
        |policy| policy.dmarc_fail,
        |words| failed(words.dmarc) && !matches!(words.dmarc_policy, Some("reject" | "REJECT")),
    ),
    (
        Reason::Unauthenticated,
        |policy| policy.unauthenticated,
        |words| words.spf != Some("PASS") && words.dkim != Some("PASS"),
    ),
    (Reason::Spf, |policy| policy.spf_fail, |words| failed(words.spf)),
    (Reason::Dkim, |policy| policy.dkim_fail, |words| failed(words.dkim)),
];

fn failed(word: Word) -> bool {
    matches!(word, Some("FAIL" | "fail"))
}

/// All that SES documents, something new, and nothing.
const VERDICTS: [Word; 7] = [
    Some("PASS"),
    Some("fail"),
    Some("GRAY"),
    Some("PROCESSING_FAILED"),
    Some("DISABLED"),
    Some("NEW"),
    None,
];
const DMARC_POLICIES: [Word; 6] =
    [Some("none"), Some("quarantine"), Some("reject"), Some("REJECT"), Some("new"), None];

/// What the rules say where these have failed: the first that drops, else those that tag.
fn expected(failed: [bool; 7], policy: &Policy) -> Result<Vec<Reason>, Reason> {
    let asks = |what: Action| {
        let rules = RULES.iter().zip(failed);
        rules.filter(move |((_, setting, _), failed)| *failed && setting(policy) == what)
    };
    match asks(Action::Drop).next() {
        Some(((reason, ..), _)) => Err(*reason),
        None => Ok(asks(Action::Tag).map(|((reason, ..), _)| *reason).collect()),
    }
}

/// Any two settings in every combination, and most of any four.
fn policies() -> Vec<Policy> {
    let actions = [Action::Forward, Action::Tag, Action::Drop];
    let policy = |n: usize| {
        let [a, b, c, d] = [n % 3, n / 3 % 3, n / 9 % 3, n / 27];
        Policy {
            spam: actions[a],
            virus: actions[b],
            dmarc_reject: actions[c],
            dmarc_fail: actions[d],
            unauthenticated: actions[(a + b + c) % 3],
            spf_fail: actions[(a + 2 * b + d) % 3],
            dkim_fail: actions[(a + c + 2 * d) % 3],
        }
    };
    (0..81).map(policy).collect()
}

fn said(words: &Words) -> Notification {
    let verdict = |word: Word| word.map_or_else(Verdict::default, Verdict::from);
    Notification {
        spam: verdict(words.spam),
        virus: verdict(words.virus),
        spf: verdict(words.spf),
        dkim: verdict(words.dkim),
        dmarc: verdict(words.dmarc),
        dmarc_policy: words.dmarc_policy.map(str::to_owned),
        ..message_to(&["ann@in.example"])
    }
}

/// Every word of every verdict with every other and every setting: eight million combinations.
#[test]
fn ok_every_verdict_with_every_setting() {
    let policies = &policies();
    let numbers: Vec<_> =
        (0..128).map(|bits| [0, 1, 2, 3, 4, 5, 6].map(|bit| bits >> bit & 1 == 1)).collect();
    let answers: HashMap<[bool; 7], Vec<_>> = numbers
        .into_iter()
        .map(|failed| (failed, policies.iter().map(|policy| expected(failed, policy)).collect()))
        .collect();
    let check = |words: &Words| {
        let notification = said(words);
        let failed = RULES.map(|(_, _, has_failed)| has_failed(words));
        for (policy, expected) in policies.iter().zip(&answers[&failed]) {
            assert_eq!(&judge(&notification, policy), expected, "{policy:?} {notification:?}");
        }
    };
    std::thread::scope(|scope| {
        for spam in VERDICTS {
            let check = &check;
            scope.spawn(move || {
                for virus in VERDICTS {
                    for spf in VERDICTS {
                        for dkim in VERDICTS {
                            for dmarc in VERDICTS {
                                for dmarc_policy in DMARC_POLICIES {
                                    check(&Words { spam, virus, spf, dkim, dmarc, dmarc_policy });
                                }
                            }
                        }
                    }
                }
            });
        }
    });
}

/// What the verdicts say is what becomes of a message that nothing else stops.
#[test]
fn ok_verdicts_decide_a_message() {
    let routes = routes(None);
    let word = |failed| Some(if failed { "FAIL" } else { "PASS" });
    for bits in 0..64 {
        let [spam, virus, dmarc, rejects, spf, dkim] = [0, 1, 2, 3, 4, 5].map(|bit| bits >> bit & 1 == 1);
        let words = Words {
            spam: word(spam),
            virus: word(virus),
            spf: word(spf),
            dkim: word(dkim),
            dmarc: word(dmarc),
            dmarc_policy: Some(if rejects { "reject" } else { "quarantine" }),
        };
        let failed = RULES.map(|(_, _, has_failed)| has_failed(&words));
        for policy in policies() {
            let decision = decide(&said(&words), &HeaderFacts::default(), &policy, &routes, &domains());
            let expected = match expected(failed, &policy) {
                Err(reason) => format!("drop {}", reason.word()),
                Ok(tags) => {
                    let tags: String = tags.iter().map(|tag| format!(" [{}]", tag.word())).collect();
                    format!("forward ann@out.example{tags}")
                }
            };
            assert_eq!(shown(&decision), expected, "{policy:?} {bits:06b}");
        }
    }
}

#[test]
fn ok_recipients_that_fare_differently() {
    for (recipients, expected) in [
        (&["ann@in.example"][..], "forward ann@out.example"),
        (&["sales@in.example"], "forward ann@out.example bob@else.example"),
        // Each destination once, whoever leads to it.
        (&["sales@in.example", "ann@in.example"], "forward ann@out.example bob@else.example"),
        (
            &["ann@in.example", "sales@in.example", "ANN@in.example"],
            "forward ann@out.example bob@else.example",
        ),
        (&["x@in.example", "x@IN.EXAMPLE"], "forward x@out.example"),
        // Local parts that differ in case may be two mailboxes at their domain.
        (&["Dan@in.example", "dan@in.example"], "forward Dan@out.example dan@out.example"),
        // Some go out, others don't.
        (
            &["old-shop@in.example", "ann@in.example"],
            "forward ann@out.example not old-shop@in.example (discarded)",
        ),
        (&["x@shop.example", "ann@in.example"], "forward ann@out.example not x@shop.example (no-route)"),
        (&["nobody@[", "ann@in.example"], "forward ann@out.example not nobody@[ (no-route)"),
        // Nobody: the reason that the owner did not ask for comes first.
        (&["old-shop@in.example"], "drop discarded"),
        (&["x@shop.example"], "drop no-route"),
        (&["old-shop@in.example", "x@shop.example"], "drop no-route"),
        (&["nobody@[", "@", ""], "drop no-route"),
        (&[], "drop no-route"),
        // RFC 5321 section 4.5.1: postmaster needs no domain.
        (&["Postmaster"], "forward Postmaster@out.example"),
        (&["abuse"], "forward postmaster@out.example"),
        // Quotes may be lost on the way.
        (&["john doe@in.example"], "forward \"john doe\"@out.example"),
    ] {
        assert_eq!(decided(&message_to(recipients), &HeaderFacts::default()), expected, "{recipients:?}");
    }
}

#[test]
fn ok_senders() {
    let file = r#"[routes]
"closed@in.example" = "refuse"
[senders]
"jane@x.example" = "forward"
"@blocked.example" = "drop"
"@rude.example" = "refuse"
"@odd.example" = "tag"
"odd@in.example" = "tag"
[senders."ann@in.example"]
"@blocked.example" = "forward"
"#;
    let domains = Domains::parse("in.example,b.example").unwrap();
    let routes = Routes::parse(file.as_bytes(), &domains, Some("out.example")).unwrap();
    let check = |recipients: &[&str], author: &str, change: fn(&mut Notification), expected: &str| {
        let header = HeaderFacts {
            author: Address::parse(author).ok(),
            authors: usize::from(!author.is_empty()),
            ..HeaderFacts::default()
        };
        let mut notification = Notification { source: None, ..message_to(recipients) };
        change(&mut notification);
        let decision = decide(&notification, &header, &POLICY, &routes, &domains);
        assert_eq!(shown(&decision), expected, "{author} to {recipients:?}");
    };
    let spam: fn(&mut Notification) = |notification| notification.spam = Verdict::Fail;
    let forged: fn(&mut Notification) = |notification| {
        (notification.spam, notification.dmarc) = (Verdict::Fail, Verdict::Fail);
    };
    let plain: fn(&mut Notification) = |_| {};
    let nobody: fn(&mut Notification) = |notification| {
        (notification.spf, notification.dkim, notification.dmarc) =
            (Verdict::Gray, Verdict::Gray, Verdict::Gray);
    };
    // Past the verdicts, but only who he says he is.
    check(&["bob@in.example"], "jane@x.example", spam, "forward bob@out.example");
    check(&["bob@in.example"], "jane@x.example", forged, "drop spam");
    check(&["bob@in.example"], "eve@x.example", spam, "drop spam");
    // Blocked, for all but one.
    check(&["bob@b.example"], "eve@blocked.example", plain, "drop sender");
    check(
        &["bob@in.example", "ann@in.example"],
        "eve@blocked.example",
        spam,
        "forward ann@out.example not bob@in.example (spam)",
    );
    check(&["bob@in.example"], "eve@rude.example", plain, "drop refused");
    check(&["bob@in.example"], "eve@odd.example", plain, "forward bob@out.example [sender]");
    check(&["bob@in.example"], "eve@odd.example", spam, "drop spam");
    // An address that takes no mail.
    check(&["closed@in.example"], "eve@else.example", plain, "drop refused");
    check(
        &["closed@in.example", "bob@b.example"],
        "eve@else.example",
        plain,
        "forward bob@out.example not closed@in.example (refused)",
    );
    // Who claims to be one of us is marked unless he is.
    check(&["bob@in.example"], "ceo@in.example", plain, "forward bob@out.example");
    check(&["bob@in.example"], "ceo@in.example", nobody, "forward bob@out.example [forged]");
    check(&["bob@in.example"], "ceo@mail.b.example", nobody, "forward bob@out.example [forged]");
    check(&["bob@in.example"], "ceo@notb.example", nobody, "forward bob@out.example");
    // Whatever else marks it.
    check(&["bob@in.example"], "eve@odd.example", nobody, "forward bob@out.example [sender]");
    check(&["bob@in.example"], "odd@in.example", nobody, "forward bob@out.example [sender] [forged]");
}

#[test]
fn ok_loops() {
    let header = |loops: &[&str], received| HeaderFacts {
        loops: loops.iter().map(ToString::to_string).collect(),
        received,
        ..HeaderFacts::default()
    };
    for (recipients, header, expected) in [
        (&["ann@in.example"][..], header(&[], RECEIVED_MAX), "forward ann@out.example"),
        (&["ann@in.example"], header(&[], RECEIVED_MAX + 1), "drop loop"),
        (&["ann@in.example"], header(&["ann@in.example"], 1), "drop loop"),
        (&["Ann@in.example"], header(&["x", "ANN@IN.example"], 1), "drop loop"),
        (&["\"ann\"@in.example"], header(&["ann@in.example"], 1), "drop loop"),
        // Someone else's mark, or a tag more, is no loop.
        (
            &["ann@in.example"],
            header(&["ann", "list@lists.example", "<>", "bob@in.example"], 1),
            "forward ann@out.example",
        ),
        (&["ann+x@in.example"], header(&["ann@in.example"], 1), "forward ann@out.example"),
        // Each recipient by itself.
        (
            &["ann@in.example", "bob@in.example"],
            header(&["ann@in.example"], 1),
            "forward bob@out.example not ann@in.example (loop)",
        ),
        (
            &["ann@in.example", "old-shop@in.example", "x@shop.example"],
            header(&["ann@in.example"], 1),
            "drop loop",
        ),
    ] {
        assert_eq!(decided(&message_to(recipients), &header), expected, "{recipients:?} {header:?}");
    }
}

#[test]
fn ok_our_own_notices_do_not_go_round() {
    let notice = HeaderFacts { notice: Some("s".to_owned()), ..HeaderFacts::default() };
    assert_eq!(decided(&message_to(&["ann@in.example"]), &notice), "drop loop");

    let returned = |source: Option<&str>, recipient: &str| {
        let notification = Notification { source: source.map(str::to_owned), ..message_to(&[recipient]) };
        decided(&notification, &HeaderFacts::default())
    };
    assert_eq!(returned(None, "forwarder-notice@in.example"), "drop loop");
    assert_eq!(
        returned(Some("MAILER-DAEMON@eu-west-1.amazonses.com"), "Forwarder-Notice@in.example"),
        "drop loop"
    );
    assert_eq!(
        returned(Some("oncall@out.example"), "forwarder-notice@in.example"),
        "forward forwarder-notice@out.example"
    );
    assert_eq!(returned(None, "ann@in.example"), "forward ann@out.example");

    // Whoever reads them is on holiday.
    let vacation = HeaderFacts { auto_submitted: Some("auto-replied".to_owned()), ..HeaderFacts::default() };
    for source in [None, Some("oncall@out.example".to_owned())] {
        let notification = Notification { source, ..message_to(&["forwarder-notice@in.example"]) };
        assert_eq!(decided(&notification, &vacation), "drop auto-reply");
    }
}

#[test]
fn ok_answers_to_forwarded_mail() {
    const NULL: Option<&str> = None;
    const SES: Option<&str> = Some("MAILER-DAEMON@amazonses.com");
    const JANE: Option<&str> = Some("jane@example.com");
    /// A sender that rewriting made, one that it had to cut, and what they would be forwarded to.
    const MADE_UP: &str = "jane_example.com@in.example";
    let cut = format!("{}-0123abcd@in.example", "x".repeat(55));
    let real = "forward jane_example.com@out.example";
    for (recipient, source, report_type, auto_submitted, expected) in [
        // Bounces that SES reports, to every form that rewriting makes.
        (MADE_UP, SES, Some("delivery-status"), None, "drop bounce"),
        (MADE_UP, SES, None, None, "drop bounce"),
        ("JANE_Example.COM@IN.example", SES, Some("delivery-status"), None, "drop bounce"),
        ("j.doe+x_mail.example.co.uk@in.example", SES, Some("delivery-status"), None, "drop bounce"),
        ("john_doe_xn--bcher-kva.example@in.example", SES, Some("delivery-status"), None, "drop bounce"),
        ("root_localhost@in.example", SES, Some("delivery-status"), None, "drop bounce"),
        ("a__192.0.2.1_@in.example", SES, Some("delivery-status"), None, "drop bounce"),
        ("jane_doe@in.example", SES, Some("delivery-status"), None, "drop bounce"),
        ("unknown@in.example", SES, Some("delivery-status"), None, "drop bounce"),
        (&cut, SES, Some("delivery-status"), None, "drop bounce"),
        // A reader called it spam.
        (MADE_UP, Some("complaints@email-abuse.amazonses.com"), Some("feedback-report"), None, "drop bounce"),
        // What others say is one makes no notice.
        (MADE_UP, NULL, Some("delivery-status"), Some("auto-replied"), "drop unverified-bounce"),
        (MADE_UP, NULL, Some("delivery-status"), None, "drop unverified-bounce"),
        (MADE_UP, JANE, Some("delivery-status"), Some("auto-generated"), "drop unverified-bounce"),
        (MADE_UP, NULL, None, None, "drop unverified-bounce"),
        (MADE_UP, NULL, None, Some("no"), "drop unverified-bounce"),
        (MADE_UP, Some("mailer-daemon@mail.example"), None, None, "drop unverified-bounce"),
        ("unknown@in.example", NULL, None, None, "drop unverified-bounce"),
        ("a__192.0.2.1_@in.example", NULL, None, None, "drop unverified-bounce"),
        ("root_localhost@in.example", NULL, None, None, "drop unverified-bounce"),
        (&cut, NULL, None, None, "drop unverified-bounce"),
        // Automatic replies.
        (MADE_UP, NULL, None, Some("auto-replied"), "drop auto-reply"),
        (MADE_UP, NULL, None, Some("auto-generated"), "drop auto-reply"),
        (MADE_UP, NULL, None, Some("auto-notified"), "drop auto-reply"),
        (MADE_UP, JANE, None, Some("auto-replied"), "drop auto-reply"),
        // Reports that answer no message that was forwarded.
        (MADE_UP, NULL, Some("disposition-notification"), Some("auto-replied"), real),
        ("smtp_tls.reports@in.example", JANE, Some("tlsrpt"), None, "forward smtp_tls.reports@out.example"),
        // People, and mail that machines write to people.
        (MADE_UP, JANE, None, None, real),
        (MADE_UP, JANE, None, Some("no"), real),
        (MADE_UP, JANE, None, Some("auto-generated"), real),
        // Answers to what real mailboxes sent.
        ("ann@in.example", NULL, Some("delivery-status"), None, "forward ann@out.example"),
        ("ann@in.example", SES, Some("delivery-status"), None, "forward ann@out.example"),
        ("ann@in.example", NULL, None, Some("auto-replied"), "forward ann@out.example"),
        ("jane_doe@in.example", NULL, None, None, "forward jane_doe@out.example"),
        ("jane_doe@in.example", NULL, None, Some("auto-replied"), "forward jane_doe@out.example"),
        ("jane.doe@in.example", NULL, None, None, "forward jane.doe@out.example"),
        ("_example.com@in.example", NULL, None, None, "forward _example.com@out.example"),
        ("x-0123abcd@in.example", NULL, None, None, "forward x-0123abcd@out.example"),
        // A line of its own says that a mailbox is real.
        ("jane_doe.name@in.example", SES, Some("delivery-status"), None, "forward jane@out.example"),
        ("jane_doe.name+tag@in.example", SES, Some("delivery-status"), None, "forward jane@out.example"),
        ("jane_exact.example@in.example", SES, Some("delivery-status"), None, "drop discarded"),
        // Rewriting makes addresses in EMAIL_DOMAIN only.
        ("jane_example.com@shop.example", NULL, None, None, "drop no-route"),
    ] {
        let notification = Notification { source: source.map(str::to_owned), ..message_to(&[recipient]) };
        let header = HeaderFacts {
            report_type: report_type.map(str::to_owned),
            auto_submitted: auto_submitted.map(str::to_owned),
            from_ses: source.is_some_and(|source| source.ends_with("amazonses.com")),
            ..HeaderFacts::default()
        };
        let case = format!("{recipient} from {source:?}, {report_type:?}, {auto_submitted:?}");
        assert_eq!(decided(&notification, &header), expected, "{case}");
    }
    // Older mail systems have other fields.
    const NONE: Marks = Marks { bounce: false, auto_reply: false, bulk: false };
    for (source, marks, auto_submitted, expected) in [
        (NULL, Marks { auto_reply: true, ..NONE }, None, "drop auto-reply"),
        (NULL, Marks { bulk: true, ..NONE }, None, "drop auto-reply"),
        (JANE, Marks { auto_reply: true, ..NONE }, None, "drop auto-reply"),
        (JANE, Marks { bulk: true, ..NONE }, None, real),
        (JANE, Marks { bulk: true, ..NONE }, Some("auto-generated"), real),
        (NULL, Marks { bounce: true, ..NONE }, Some("auto-replied"), "drop unverified-bounce"),
        (NULL, Marks { bounce: true, bulk: true, ..NONE }, None, "drop unverified-bounce"),
    ] {
        let notification = Notification { source: source.map(str::to_owned), ..message_to(&[MADE_UP]) };
        let auto_submitted = auto_submitted.map(str::to_owned);
        let header = HeaderFacts { marks, auto_submitted, ..HeaderFacts::default() };
        assert_eq!(decided(&notification, &header), expected, "from {source:?}, {header:?}");
    }
    // A catch-all whose owner writes to a name that may be real, or to one that was made up.
    let own = |recipient: &str| {
        let source = recipient.replace("@in.", "@out.");
        Notification { source: Some(source), ..message_to(&[recipient]) }
    };
    let plain = HeaderFacts::default();
    assert_eq!(decided(&own("john_doe@in.example"), &plain), "forward john_doe@out.example");
    assert_eq!(decided(&own(MADE_UP), &plain), "drop auto-reply");
    // Without a default, and beside a real recipient.
    let of_ses = HeaderFacts { from_ses: true, ..HeaderFacts::default() };
    let bounce = Notification { source: None, ..message_to(&[MADE_UP, "ann@in.example"]) };
    assert_eq!(decided(&bounce, &of_ses), "forward ann@out.example not jane_example.com@in.example (bounce)");
    let bounce =
        Notification { source: None, ..message_to(&[MADE_UP, "old-shop@in.example", "x@shop.example"]) };
    let decision = decide(&bounce, &of_ses, &POLICY, &routes(None), &domains());
    assert_eq!(shown(&decision), "drop bounce");
}

/// Anybody can write as SES; what DMARC says of it counts.
#[test]
fn ok_a_forged_bounce_makes_no_notice() {
    use Verdict::{Fail, Gray, Pass};
    let header =
        HeaderFacts { report_type: Some("delivery-status".into()), from_ses: true, ..HeaderFacts::default() };
    for (spf, dkim, dmarc, expected) in [
        (Pass, Pass, Pass, "drop bounce"),
        (Fail, Gray, Pass, "drop bounce"),
        (Fail, Pass, Gray, "drop bounce"),
        (Pass, Pass, Fail, "drop unverified-bounce"),
        (Gray, Fail, Gray, "drop unverified-bounce"),
    ] {
        let message = message_to(&["jane_example.com@in.example"]);
        let case = format!("{spf:?}, {dkim:?}, {dmarc:?}");
        let notification = Notification { source: None, spf, dkim, dmarc, ..message };
        assert_eq!(decided(&notification, &header), expected, "{case}");
    }
}

/// What the owner of a catch-all sends to the sender of a message that was forwarded to them.
#[test]
fn ok_answers_through_a_catch_all_do_not_circle() {
    let routes =
        Routes::parse(b"[routes]\n\"@in.example\" = \"Me@out.example\"\n", &domains(), None).unwrap();
    for (recipient, source, is_answer, expected) in [
        // A vacation program that marks nothing, and a person.
        ("jane_example.com@in.example", "me@out.example", false, "drop auto-reply"),
        ("jane_example.com@in.example", "me@out.example", true, "forward Me@out.example"),
        // A program that answers even what came back to it.
        ("me_out.example@in.example", "me@out.example", true, "drop loop"),
        ("me_out.example@in.example", "me@out.example", false, "drop loop"),
        // Others, and other addresses.
        ("jane_example.com@in.example", "jane@example.com", false, "forward Me@out.example"),
        ("info@in.example", "me@out.example", false, "forward Me@out.example"),
    ] {
        let notification = Notification { source: Some(source.into()), ..message_to(&[recipient]) };
        let header = HeaderFacts { is_answer, ..HeaderFacts::default() };
        let decision = decide(&notification, &header, &POLICY, &routes, &domains());
        assert_eq!(shown(&decision), expected, "{recipient} from {source}, {is_answer}");
    }
}

/// What rewriting makes of a From and what is taken for such an address are the same.
#[test]
fn ok_every_rewritten_from_is_known_again() {
    let long = format!("{}@example.com", "x".repeat(200));
    let long_domain = format!("jane@{}example.com", "sub.".repeat(30));
    for author in [
        "jane@example.com",
        "Jane.Doe+tag@mail.example.co.uk",
        "bounce+a=b.example_1@lists.example",
        "\"john doe\"@example.com",
        "o'hara@example.com",
        "jane@bücher.example",
        &long,
        &long_domain,
    ] {
        let message = format!("From: <{author}>\r\n\r\n");
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
        let made_up = header::rewrite(&header::split(message.as_bytes()), &how).from;
        let bounce = Notification { source: None, ..message_to(&[&made_up]) };
        let header = HeaderFacts { from_ses: true, ..HeaderFacts::default() };
        assert_eq!(decided(&bounce, &header), "drop bounce", "{author} became {made_up}");
    }
}

#[test]
fn ok_what_comes_first() {
    let spam =
        Notification { spam: Verdict::Fail, source: None, ..message_to(&["jane_example.com@in.example"]) };
    let round = HeaderFacts { loops: vec!["jane_example.com@in.example".into()], ..HeaderFacts::default() };
    assert_eq!(decided(&spam, &round), "drop spam", "verdicts before loops");
    let bounce = Notification { spam: Verdict::Pass, ..spam };
    assert_eq!(decided(&bounce, &round), "drop loop", "loops before bounces");
    assert_eq!(decided(&bounce, &HeaderFacts::default()), "drop unverified-bounce", "bounces before routes");
}

#[test]
fn ok_reason_for_the_outcome() {
    let decide = |notification: &Notification, policy: &Policy| {
        decide(notification, &HeaderFacts::default(), policy, &routes(Some("out.example")), &domains())
            .reason()
    };
    let tag = Policy { spam: Action::Tag, ..POLICY };
    let spam = |recipients| Notification { spam: Verdict::Fail, ..message_to(recipients) };
    assert_eq!(decide(&message_to(&["ann@in.example"]), &POLICY), None);
    assert_eq!(
        decide(&message_to(&["ann@in.example", "old-shop@in.example"]), &POLICY),
        None,
        "as asked for"
    );
    assert_eq!(decide(&message_to(&["ann@in.example", "x@shop.example"]), &POLICY), Some(Reason::NoRoute));
    assert_eq!(decide(&spam(&["ann@in.example"]), &tag), Some(Reason::Spam));
    assert_eq!(decide(&spam(&["ann@in.example", "x@shop.example"]), &tag), Some(Reason::NoRoute));
    assert_eq!(decide(&spam(&["ann@in.example"]), &POLICY), Some(Reason::Spam));
}

proptest! {
    /// Whatever comes in, mail goes to what the lines of its recipients name, and each address once.
    #[test]
    fn destinations_are_the_deliveries_each_once(
        recipients in prop::collection::vec("(sales|ann|Ann|abuse|old-shop|[a-c]{1,2})@(in|IN|shop)\\.example|\\PC{0,9}", 0..8),
        loops in prop::collection::vec("(sales|ann|[a-c])@in\\.example", 0..3),
        source in prop::option::of("\\PC{0,12}"),
    ) {
        let notification = Notification { recipients: recipients.clone(), source, ..message_to(&[]) };
        let header = HeaderFacts { loops, ..HeaderFacts::default() };
        let routes = routes(Some("out.example"));
        let decision = decide(&notification, &header, &POLICY, &routes, &domains());
        if let Decision::Forward { deliveries, destinations, left_out, .. } = decision {
            let mut expected: Vec<String> = Vec::new();
            for delivery in &deliveries {
                let line = routes.lookup(&delivery.recipient).unwrap();
                prop_assert_eq!(&delivery.destinations, &line.destinations);
                for destination in line.destinations.iter().map(ToString::to_string) {
                    if !expected.contains(&destination) {
                        expected.push(destination);
                    }
                }
            }
            prop_assert_eq!(destinations.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
            let different = recipients.iter().collect::<std::collections::HashSet<_>>().len();
            prop_assert_eq!(deliveries.len() + left_out.len(), different, "everyone is accounted for");
        }
    }
}
