//! Who may answer from an alias: each condition, and what an attacker could do without it.

use ses_forwarder::{
    address::Address,
    answers::{Answer, decide},
    decision::{Action, Decision, Policy},
    delivery::Reason,
    domains::Domains,
    header::{HeaderFacts, split},
    notification::{Notification, Verdict},
    replies::{Replies, keys::ReplyKeys, signed::Purpose},
    routes::Routes,
};

const POLICY: Policy = Policy {
    spam: Action::Drop,
    virus: Action::Drop,
    dmarc_reject: Action::Drop,
    dmarc_fail: Action::Tag,
    unauthenticated: Action::Tag,
    spf_fail: Action::Forward,
    dkim_fail: Action::Forward,
};

const ROUTES: &str = "[routes]\n\"info@in.example\" = [\"ann@out.example\", \"bob@else.example\"]\n\
                      \"sales@in.example\" = \"eve@else.example\"\n";

const FROM_ANN: &str = "From: Ann <ann@out.example>\r\n";

fn address(text: &str) -> Address {
    Address::parse(text).expect("a constant address")
}

fn domains() -> Domains {
    Domains::parse("in.example").expect("a constant domain")
}

fn signed(purpose: Purpose, alias: &str, correspondent: &str) -> String {
    let keys = ReplyKeys::first([7; 32]);
    keys.sign(purpose, &address(alias), &address(correspondent)).expect("it fits").address.to_string()
}

/// The address that stands for Jane.
fn jane() -> String {
    signed(Purpose::Answer, "info@in.example", "jane@example.com")
}

/// A notification for these recipients with SPF, DKIM and DMARC's words.
fn notification(recipients: &[&str], [spf, dkim, dmarc]: [Verdict; 3]) -> Notification {
    Notification {
        source: Some("ann@out.example".to_owned()),
        recipients: recipients.iter().map(ToString::to_string).collect(),
        spam: Verdict::Pass,
        virus: Verdict::Pass,
        spf,
        dkim,
        dmarc,
        ..Notification::default()
    }
}

fn decided(notification: &Notification, header: &str, routes: &str) -> (Decision, Vec<Answer>) {
    let keys = ReplyKeys::first([7; 32]);
    let domains = domains();
    // As mail programs do: whom it is for stands in To.
    let named: Vec<Address> = notification.recipients.iter().map(|recipient| address(recipient)).collect();
    let replies = Replies { keys: &keys, contacts: &[], named: &named, domains: &domains };
    let routes = Routes::parse(routes.as_bytes(), &domains, Some("out.example")).expect("constant routes");
    let facts = HeaderFacts::of(&split(header.as_bytes()));
    decide(notification, &facts, &POLICY, &routes, &domains, Some(&replies))
}

/// What becomes of a message to Jane's address: `answer`, where it is forwarded to, or why it goes nowhere.
fn fate(notification: &Notification, header: &str, routes: &str) -> String {
    match decided(notification, header, routes) {
        (Decision::Forward { destinations, .. }, answers) if answers.is_empty() => {
            let destinations: Vec<_> = destinations.iter().map(ToString::to_string).collect();
            format!("to {}", destinations.join(" "))
        }
        (Decision::Forward { deliveries, .. }, answers) => {
            assert!(deliveries.is_empty());
            let answer =
                |Answer { alias, correspondent, .. }: &Answer| format!("answer {alias} {correspondent}");
            answers.iter().map(answer).collect::<Vec<_>>().join(", ")
        }
        (Decision::Drop { reason, .. }, _) => reason.word().to_owned(),
    }
}

const PASSED: [Verdict; 3] = [Verdict::Pass, Verdict::Pass, Verdict::Pass];
const ANSWERED: &str = "answer info@in.example jane@example.com";
const TO_OWNERS: &str = "to ann@out.example bob@else.example";

#[test]
fn only_an_owner_answers() {
    let allow = format!("{ROUTES}[replies]\nallow = [\"ann@mobile.example\"]\n");
    let off = format!("{ROUTES}[replies]\nenabled = false\n");
    for (case, header, routes, expected) in [
        ("one of the owners", FROM_ANN, ROUTES, ANSWERED),
        ("in any case", "From: ANN@Out.Example\r\n", ROUTES, ANSWERED),
        ("the other one", "From: bob@else.example\r\n", ROUTES, ANSWERED),
        ("who is named", "From: ann@mobile.example\r\n", &allow, ANSWERED),
        ("who is not", "From: ann@mobile.example\r\n", ROUTES, TO_OWNERS),
        ("Jane herself", "From: jane@example.com\r\n", ROUTES, TO_OWNERS),
        ("owner of another alias", "From: eve@else.example\r\n", ROUTES, TO_OWNERS),
        ("nobody", "Subject: x\r\n", ROUTES, TO_OWNERS),
        ("switched off", FROM_ANN, &off, TO_OWNERS),
        (
            "no owner any more",
            FROM_ANN,
            "[routes]\n\"info@in.example\" = \"cat@out.example\"\n",
            "to cat@out.example",
        ),
        ("two authors", "From: ann@out.example, jane@example.com\r\n", ROUTES, TO_OWNERS),
        ("one twice", "From: ann@out.example, ann@out.example\r\n", ROUTES, TO_OWNERS),
        ("two From fields", "From: ann@out.example\r\nFrom: jane@example.com\r\n", ROUTES, TO_OWNERS),
        ("two From fields, alike", "From: ann@out.example\r\nFrom: ann@out.example\r\n", ROUTES, TO_OWNERS),
        ("another first", "From: jane@example.com\r\nFrom: ann@out.example\r\n", ROUTES, TO_OWNERS),
        ("an empty one first", "From:\r\nFrom: ann@out.example\r\n", ROUTES, TO_OWNERS),
        ("a group", "From: Us: ann@out.example;\r\n", ROUTES, TO_OWNERS),
        ("an address in a comment", "From: ann@out.example (jane@example.com)\r\n", ROUTES, TO_OWNERS),
        ("an address for a name", "From: \"jane@example.com\" <ann@out.example>\r\n", ROUTES, TO_OWNERS),
        ("her own for a name", "From: \"ann@out.example\" <Ann@out.example>\r\n", ROUTES, ANSWERED),
        ("a route", "From: <@example.com:ann@out.example>\r\n", ROUTES, TO_OWNERS),
        ("two brackets", "From: <ann@out.example> <jane@example.com>\r\n", ROUTES, TO_OWNERS),
        ("nested", "From: A <B <ann@out.example>>\r\n", ROUTES, ANSWERED),
        (
            "an encoded address",
            "From: =?utf-8?q?ann=40out.example?= <jane@example.com>\r\n",
            ROUTES,
            TO_OWNERS,
        ),
        ("a name that is encoded", "From: =?utf-8?q?R=C3=A9my?= <ann@out.example>\r\n", ROUTES, ANSWERED),
        ("a comment within", "From: ann(x)@out.example\r\n", ROUTES, TO_OWNERS),
        ("as Sender only", "From: jane@example.com\r\nSender: ann@out.example\r\n", ROUTES, TO_OWNERS),
    ] {
        assert_eq!(fate(&notification(&[&jane()], PASSED), header, routes), expected, "{case}");
    }
}

/// Every combination of the words, for an aligned envelope sender, one below the author's domain, and a stranger's.
#[test]
fn only_who_is_surely_the_owner() {
    use Verdict::{Disabled, Fail, Gray, Pass, ProcessingFailed};
    let other = Verdict::Other("MAYBE".to_owned());
    let words = [Pass, Fail, Gray, ProcessingFailed, Disabled, other];
    let (mut answered, mut all) = (0, 0);
    for spf in &words {
        for dkim in &words {
            for dmarc in &words {
                for source in [
                    Some("ann@out.example"),
                    Some("bounce@mail.out.example"),
                    Some("ann@notout.example"),
                    None,
                ] {
                    let verdicts = [spf.clone(), dkim.clone(), dmarc.clone()];
                    let notification = Notification {
                        source: source.map(str::to_owned),
                        ..notification(&[&jane()], verdicts)
                    };
                    let aligned = source
                        .is_some_and(|source| source.ends_with("out.example") && !source.contains("not"));
                    let sure = *dmarc == Pass || (*dmarc == Gray && *spf == Pass && aligned);
                    let expected = match source {
                        // A message from nobody is a machine's.
                        None => "unverified-bounce",
                        Some(_) if sure => ANSWERED,
                        Some(_) => "unverified-answer",
                    };
                    assert_eq!(fate(&notification, FROM_ANN, ROUTES), expected, "{notification:?}");
                    answered += usize::from(expected == ANSWERED);
                    all += 1;
                }
            }
        }
    }
    assert_eq!((answered, all), (6 * 6 * 3 + 6 * 2, 6 * 6 * 6 * 4));
}

#[test]
fn dmarc_has_to_be_of_the_author() {
    let results = |domain: &str| {
        format!(
            "Authentication-Results: amazonses.com; spf=pass; dmarc=pass header.from={domain};\r\n{FROM_ANN}"
        )
    };
    for (domain, expected) in [
        ("out.example", ANSWERED),
        ("Out.Example", ANSWERED),
        ("example.com", "unverified-answer"),
        ("notout.example", "unverified-answer"),
    ] {
        assert_eq!(fate(&notification(&[&jane()], PASSED), &results(domain), ROUTES), expected, "{domain}");
    }
}

#[test]
fn no_machine_answers() {
    for (header, expected) in [
        ("Auto-Submitted: auto-replied\r\n", "auto-reply"),
        ("Auto-Submitted: auto-generated\r\n", "auto-reply"),
        ("Auto-Submitted: no\r\n", ANSWERED),
        ("X-Autoreply: yes\r\n", "auto-reply"),
        ("Precedence: bulk\r\n", "auto-reply"),
        ("Content-Type: multipart/report; report-type=delivery-status\r\n", "unverified-bounce"),
        ("X-Forwarder-Notice: s\r\n", "loop"),
    ] {
        let header = format!("{header}{FROM_ANN}");
        assert_eq!(fate(&notification(&[&jane()], PASSED), &header, ROUTES), expected, "{header}");
    }
    let received = format!("{}{FROM_ANN}", "Received: x\r\n".repeat(51));
    assert_eq!(fate(&notification(&[&jane()], PASSED), &received, ROUTES), "loop");
}

#[test]
fn neither_spam_nor_a_virus_goes_out() {
    let to = [&*jane()];
    for (spam, virus, expected) in [
        (Verdict::Fail, Verdict::Pass, "spam"),
        (Verdict::Pass, Verdict::Fail, "virus"),
        (Verdict::Gray, Verdict::Disabled, ANSWERED),
    ] {
        let notification = Notification { spam, virus, ..notification(&to, PASSED) };
        assert_eq!(fate(&notification, FROM_ANN, ROUTES), expected);
    }
}

#[test]
fn a_wrong_tag_is_mail_to_the_alias() {
    let right = jane();
    let wrong = right.replace("jane=", "joan=");
    assert_eq!(fate(&notification(&[&wrong], PASSED), FROM_ANN, ROUTES), TO_OWNERS);
    assert_eq!(fate(&notification(&[&right.to_ascii_uppercase()], PASSED), FROM_ANN, ROUTES), ANSWERED);
}

#[test]
fn several_recipients_each_get_what_is_theirs() {
    let sales = signed(Purpose::Answer, "sales@in.example", "tom@example.com");
    let tom = signed(Purpose::Answer, "info@in.example", "tom@example.com");
    let to = [&*jane(), &*tom, "info@in.example", &*sales, &*jane()];
    let (decision, answers) = decided(&notification(&to, PASSED), FROM_ANN, ROUTES);
    let shown: Vec<String> =
        answers.iter().map(|answer| format!("{} {}", answer.alias, answer.correspondent)).collect();
    assert_eq!(shown, ["info@in.example jane@example.com", "info@in.example tom@example.com"]);
    let Decision::Forward { deliveries, left_out, .. } = decision else { panic!("it goes on") };
    let recipients: Vec<String> = deliveries.iter().map(|delivery| delivery.recipient.to_string()).collect();
    assert_eq!(recipients, ["info@in.example", "sales@in.example"], "what is no answer is mail to the alias");
    assert_eq!(left_out, []);

    // What is refused for one keeps nothing from the others.
    let verdicts = [Verdict::Fail, Verdict::Fail, Verdict::Fail];
    let (decision, answers) = decided(&notification(&to, verdicts), FROM_ANN, ROUTES);
    assert_eq!(answers, []);
    let Decision::Forward { deliveries, left_out, .. } = decision else { panic!("it goes on") };
    assert_eq!((deliveries.len(), left_out.len()), (2, 3));
    assert!(left_out.iter().all(|one| one.reason == Reason::UnverifiedAnswer));
}

#[test]
fn a_bounce_of_an_answer_goes_to_who_wrote_it() {
    let bounce = "From: MAILER-DAEMON@amazonses.com\r\nContent-Type: multipart/report; report-type=delivery-status\r\n";
    let to = signed(Purpose::Bounce, "info@in.example", "ann@out.example");
    let of_ses = Notification { source: None, ..notification(&[&to], PASSED) };
    assert_eq!(fate(&of_ses, bounce, ROUTES), "to ann@out.example");
    // One that anybody could have written tells nobody anything, nor does one that comes to what is no such address.
    let forged = Notification { dmarc: Verdict::Fail, ..of_ses.clone() };
    assert_eq!(fate(&forged, bounce, ROUTES), "unverified-bounce");
    let wrong = Notification { recipients: vec![to.replace("ann=", "eve=")], ..of_ses.clone() };
    assert_ne!(fate(&wrong, bounce, ROUTES), "to eve@out.example");
    assert_eq!(fate(&of_ses, bounce, "[routes]\n\"info@in.example\" = \"cat@out.example\"\n"), "bounce");
    // Of what was forwarded under Jane's address.
    let of_forwarded = Notification { recipients: vec![jane()], ..of_ses };
    assert_eq!(fate(&of_forwarded, bounce, ROUTES), "bounce");
}

#[test]
fn without_keys_nothing_is_an_answer() {
    let domains = domains();
    let routes = Routes::parse(ROUTES.as_bytes(), &domains, None).expect("constant routes");
    let facts = HeaderFacts::of(&split(FROM_ANN.as_bytes()));
    let (decision, answers) =
        decide(&notification(&[&jane()], PASSED), &facts, &POLICY, &routes, &domains, None);
    assert!(matches!(decision, Decision::Forward { .. }) && answers.is_empty());
}

/// Who has got a message of the owner's, in copy say, can send it again, and its signature still holds.
#[test]
fn what_is_sent_again_goes_nowhere_else() {
    let (keys, domains) = (ReplyKeys::first([7; 32]), domains());
    let routes = Routes::parse(ROUTES.as_bytes(), &domains, None).expect("constant routes");
    let facts = HeaderFacts::of(&split(FROM_ANN.as_bytes()));
    let (jane, tom) = (jane(), signed(Purpose::Answer, "info@in.example", "tom@example.com"));
    let fate = |spf: Verdict, source: &str, named: &[Address]| {
        let notification = Notification {
            source: Some(source.to_owned()),
            ..notification(&[&jane], [spf, Verdict::Pass, Verdict::Pass])
        };
        let replies = Replies { keys: &keys, contacts: &[], named, domains: &domains };
        match decide(&notification, &facts, &POLICY, &routes, &domains, Some(&replies)) {
            (Decision::Forward { .. }, answers) => Ok(answers.iter().any(|answer| answer.once)),
            (Decision::Drop { reason, .. }, _) => Err(reason),
        }
    };
    let (to_jane, to_tom) = ([address(&jane)], [address(&tom)]);
    let refused = Err(Reason::UnverifiedAnswer);
    for (case, spf, source, named, expected) in [
        ("from the owner's mail system", Verdict::Pass, "ann@out.example", &to_jane[..], Ok(false)),
        ("a blind copy from there", Verdict::Pass, "ann@out.example", &to_tom, Ok(false)),
        ("by way of another", Verdict::Fail, "ann@out.example", &to_jane, Ok(true)),
        ("in the name of another", Verdict::Pass, "eve@else.example", &to_jane, Ok(true)),
        ("to whom it was not for", Verdict::Pass, "eve@else.example", &to_tom, refused),
        ("to whom it was not for, by way of another", Verdict::Gray, "ann@out.example", &[], refused),
    ] {
        assert_eq!(fate(spf, source, named), expected, "{case}");
    }
}
