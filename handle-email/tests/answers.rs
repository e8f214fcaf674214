//! Answering from an alias, with the real binary, mail over SMTP and the template's own wiring.

mod common;

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{Config, SentMail, Stack};

use self::common::{calls, outcome, started};

const JANE: &str = "jane@example.com";
const OWNER: &str = "info@out.example";

/// A stack whose aliases can be answered from.
async fn replying(routes: &str) -> Stack {
    let mut config = Config::default();
    config.parameters.insert("Replies".to_owned(), "on".to_owned());
    config.parameters.insert("EmailDomain".to_owned(), "in.example,second.example".to_owned());
    let stack = started(config).await;
    if !routes.is_empty() {
        stack.put_object("config/routes.toml", routes.to_owned()).await;
    }
    stack
}

async fn send(stack: &Stack, from: Option<&str>, to: &[&str], message: &str) -> (Value, Vec<SentMail>) {
    let before = stack.sent().len();
    let id = stack.send(from, to, message.as_bytes()).await.expect("it is taken");
    assert_eq!(stack.settled(&id).await, End::Returned, "{}", stack.story(&id));
    (outcome(stack, &id).await, stack.sent().split_off(before))
}

/// A message of Jane's, and the one that it is forwarded as.
async fn forwarded(stack: &Stack, fields: &str) -> SentMail {
    let message = format!(
        "{fields}To: info@in.example\r\nSubject: Hello\r\nMessage-ID: <m1@example.com>\r\n\r\nHi\r\n"
    );
    let (_, mut sent) = send(stack, Some(JANE), &["info@in.example"], &message).await;
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

/// Jane's address as her mail is forwarded under it.
async fn address_of_jane(stack: &Stack) -> String {
    forwarded(stack, "From: Jane <jane@example.com>\r\n").await.from
}

/// The owner's answer.
fn answer(to: &str, fields: &str) -> String {
    format!(
        "Received: from laptop.lan ([192.0.2.7]) by mail.out.example\r\nX-Originating-IP: [192.0.2.7]\r\n\
         From: \"Ann Owner\" <{OWNER}>\r\nTo: Jane <{to}>\r\nSubject: Re: Hello\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <a1@laptop.out.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Reply-To: {OWNER}\r\nAutocrypt: addr={OWNER}\r\n{fields}\r\nHello Jane\r\n"
    )
}

fn text(mail: &SentMail) -> String {
    String::from_utf8(mail.raw.clone()).expect("ASCII")
}

/// The header's fields of this name, unfolded.
fn fields(mail: &SentMail, name: &str) -> Vec<String> {
    let text = text(mail);
    let (header, _) = text.split_once("\r\n\r\n").expect("a header");
    let unfolded = header.replace("\r\n ", " ");
    let of_name = |line: &str| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    unfolded.lines().filter_map(of_name).collect()
}

#[tokio::test]
async fn an_answer_goes_out_from_the_alias_and_tells_nothing_of_its_owner() {
    let stack = replying("").await;
    let mail = forwarded(&stack, "From: Jane Doe <Jane@example.com>\r\n").await;
    assert!(
        mail.from.starts_with("info+jane=example.com+a") && mail.from.ends_with("@in.example"),
        "{}",
        mail.from
    );
    assert_eq!(fields(&mail, "From"), [format!("Jane Doe <{}>", mail.from)]);
    assert_eq!(fields(&mail, "Reply-To"), [format!("Jane Doe <{}>", mail.from)]);

    let parent = format!("<{}@email.amazonses.com>", mail.ses_id);
    let thread = format!("In-Reply-To: {parent}\r\nReferences: <m1@example.com> {parent}\r\n");
    let (outcome, sent) = send(&stack, Some(OWNER), &[&mail.from], &answer(&mail.from, &thread)).await;
    assert_eq!((&outcome["status"], &outcome["aliases"]), (&json!("forwarded"), &json!(["info@in.example"])));
    assert_eq!(outcome["destinations"], json!([JANE]));
    let [sent] = &sent[..] else { panic!("one send: {sent:?}") };
    assert_eq!((sent.from.as_str(), &sent.destinations[..]), ("info@in.example", &[JANE.to_owned()][..]));
    let references = fields(sent, "References").remove(0);
    let (known, hidden) = references.rsplit_once(' ').expect("several ids");
    assert_eq!(known, format!("<m1@example.com> {parent}"));
    assert!(hidden.starts_with("<a.") && hidden.ends_with(".reply@in.example>"), "{hidden}");
    let expected = format!(
        "From: \"Ann Owner\" <info@in.example>\r\nTo: Jane <{JANE}>\r\nSubject: Re: Hello\r\n\
         Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         In-Reply-To: <m1@example.com>\r\nReferences: "
    );
    let expected = expected.replace("\"Ann Owner\"", "Ann Owner");
    assert!(text(sent).starts_with(&expected), "{}", text(sent));
    assert!(text(sent).ends_with("\r\n\r\nHello Jane\r\n"));
    for private in ["out.example", "192.0.2.7", "laptop", "a1@"] {
        assert!(!text(sent).contains(private), "{private} in\n{}", text(sent));
    }
    assert_eq!(calls(&stack, "ses:SendEmail"), 2);
}

#[tokio::test]
async fn a_conversation_keeps_its_thread_on_both_sides() {
    let stack = replying("").await;
    let mail = forwarded(&stack, "From: Jane <jane@example.com>\r\n").await;
    let first = format!("<{}@email.amazonses.com>", mail.ses_id);
    let thread = format!("In-Reply-To: {first}\r\nReferences: <m1@example.com> {first}\r\n");
    let (_, sent) = send(&stack, Some(OWNER), &[&mail.from], &answer(&mail.from, &thread)).await;
    // Jane's mail program knows the answer by the id that SES gave it.
    let given = format!("<{}@email.amazonses.com>", sent[0].ses_id);
    let references = format!("{} {given}", fields(&sent[0], "References")[0]);
    let again = format!(
        "From: Jane <{JANE}>\r\nTo: info@in.example\r\nSubject: Re: Hello\r\nMessage-ID: <m2@example.com>\r\n\
         In-Reply-To: {given}\r\nReferences: {references}\r\n\r\nYes\r\n"
    );
    let (_, sent) = send(&stack, Some(JANE), &["info@in.example"], &again).await;
    // The owner's mail program has filed its own message under the id that it gave it.
    assert_eq!(fields(&sent[0], "In-Reply-To"), ["<a1@laptop.out.example>"]);
    let references = fields(&sent[0], "References").remove(0);
    let ids: Vec<&str> = references.split_ascii_whitespace().collect();
    assert_eq!(
        (ids[0], ids[1], ids[3]),
        ("<m1@example.com>", &*first, "<a1@laptop.out.example>"),
        "{references}"
    );
    assert_eq!((ids[4], ids[5], ids.len()), (&*given, "<m2@example.com>", 6), "{references}");

    // The next answer hides that id again, in the same way.
    let second = format!("<{}@email.amazonses.com>", sent[0].ses_id);
    let thread = format!("In-Reply-To: {second}\r\nReferences: {references} {second}\r\n");
    let letter = answer(&mail.from, &thread).replace("a1@laptop", "a2@laptop");
    let (_, sent) = send(&stack, Some(OWNER), &[&mail.from], &letter).await;
    assert_eq!(fields(&sent[0], "In-Reply-To"), ["<m2@example.com>"]);
    assert!(!text(&sent[0]).contains("laptop"), "{}", text(&sent[0]));
    assert!(fields(&sent[0], "References")[0].contains(ids[2]));
}

/// Answers as mail programs write them, each with what stands for an address or id in braces.
const CLIENTS: [(&str, &str); 13] = [
    ("Apple Mail", include_str!("clients/apple-mail.eml")),
    ("Exchange", include_str!("clients/exchange.eml")),
    ("Fastmail", include_str!("clients/fastmail.eml")),
    ("Gmail's app", include_str!("clients/gmail-app.eml")),
    ("Gmail", include_str!("clients/gmail-web.eml")),
    ("K-9", include_str!("clients/k-9.eml")),
    ("mutt", include_str!("clients/mutt.eml")),
    ("Outlook", include_str!("clients/outlook-desktop.eml")),
    ("Outlook's app", include_str!("clients/outlook-mobile.eml")),
    ("Outlook on the web", include_str!("clients/outlook-web.eml")),
    ("Proton", include_str!("clients/proton.eml")),
    ("Roundcube", include_str!("clients/roundcube.eml")),
    ("Thunderbird", include_str!("clients/thunderbird.eml")),
];

#[tokio::test]
async fn no_mail_program_tells_who_answers() {
    let stack = replying("[routes]\n\"info@in.example\" = \"ann.owner@private.example\"\n").await;
    let mail = forwarded(&stack, "From: Jane Doe <jane@example.com>\r\n").await;
    let parent = format!("<{}@email.amazonses.com>", mail.ses_id);
    for (client, letter) in CLIENTS {
        let letter = letter.replace('\n', "\r\n");
        let filled = letter.replace("{TO}", &mail.from).replace("{PARENT}", &parent);
        let filled = filled.replace("{ORIGINAL}", "<m1@example.com>");
        let (outcome, sent) = send(&stack, Some("ann.owner@private.example"), &[&mail.from], &filled).await;
        assert_eq!(outcome["status"], "forwarded", "{client}: {outcome}");
        let text = String::from_utf8_lossy(&sent[0].raw).into_owned();
        let (header, body) = text.split_once("\r\n\r\n").expect("a header");
        let (_, written) = filled.split_once("\r\n\r\n").expect("a header");
        assert_eq!(body, written, "{client}");
        let lower = without_hidden_ids(header).to_ascii_lowercase();
        for private in
            ["private", "ann.owner", "received", "x-", "autocrypt", "user-agent", "sender:", "reply-to: "]
        {
            let found = lower.match_indices(private).filter(|(at, _)| !lower[..*at].ends_with("in-"));
            assert_eq!(found.count(), 0, "{client}: {private} in\n{header}");
        }
        for host in
            ["mail.gmail.com", "outlook.com", "exchangelabs", "fastmail", "corp", "workstation", "proton"]
        {
            assert!(!lower.contains(host), "{client}: {host} in\n{header}");
        }
        assert!(
            !header.split(['[', ' ', '(', ')', ']']).any(|word| word.parse::<std::net::IpAddr>().is_ok())
        );
        assert_eq!(sent[0].from, "info@in.example", "{client}");
        assert_eq!(sent[0].destinations, [JANE], "{client}");
        assert!(fields(&sent[0], "To")[0].ends_with("<jane@example.com>"), "{client}");
        let of_thread = if client == "Exchange" { &parent } else { "<m1@example.com>" };
        assert_eq!(fields(&sent[0], "In-Reply-To"), [of_thread], "{client}");
        assert!(fields(&sent[0], "References")[0].contains(&parent), "{client}");
    }
    let cc = stack.sent().iter().flat_map(|mail| fields(mail, "Cc")).collect::<Vec<_>>();
    assert_eq!(cc, ["\"Bob\" <bob@real.example>, info@in.example", "info@in.example"]);
}

/// The words of a header, but for the ids that hide others: what is ciphered may spell anything.
fn without_hidden_ids(header: &str) -> String {
    let is_hidden = |word: &&str| word.starts_with("<a.") && word.ends_with(".reply@in.example>");
    header.split_ascii_whitespace().filter(|word| !is_hidden(word)).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn several_people_are_answered_each_by_the_address_that_is_theirs() {
    let stack = replying("").await;
    let jane = address_of_jane(&stack).await;
    // An address that does not fit is kept, and who answers to several gets them all.
    let fields_of = "From: Jane <jane@example.com>\r\n\
                     Reply-To: Tom <tom@example.com>, A <\"a shop of many words\"@customers.example.com>, info@in.example\r\n";
    let mail = forwarded(&stack, fields_of).await;
    assert_eq!(mail.from, jane);
    let reply_to = fields(&mail, "Reply-To").remove(0);
    let [tom, shop, own] = &reply_to.split(", ").collect::<Vec<_>>()[..] else { panic!("three: {reply_to}") };
    assert!(tom.starts_with("Tom <info+tom=example.com+a"), "{tom}");
    assert_eq!(*own, "info@in.example", "mail to it comes here anyway");
    let shop = shop.strip_prefix("A <").and_then(|rest| rest.strip_suffix('>')).expect("a mailbox");
    assert_eq!(
        (shop.len(), stack.keys("contacts/").await.len()),
        ("info+".len() + 26 + "@in.example".len(), 1)
    );

    // To one of them, and in copy to Jane, the alias, oneself and somebody else.
    let letter = answer(shop, &format!("Cc: {jane}, info@in.example, {OWNER}, Bob <bob@real.example>\r\n"));
    let (outcome, sent) = send(&stack, Some(OWNER), &[shop, &jane, "info@in.example"], &letter).await;
    assert_eq!(outcome["status"], "forwarded");
    let answers: Vec<&SentMail> = sent.iter().filter(|mail| mail.from == "info@in.example").collect();
    assert_eq!((answers.len(), sent.len()), (1, 2), "the alias gets its copy as any mail");
    assert_eq!(answers[0].destinations, ["\"a shop of many words\"@customers.example.com", JANE]);
    assert_eq!(fields(answers[0], "To"), ["Jane <\"a shop of many words\"@customers.example.com>"]);
    assert_eq!(fields(answers[0], "Cc"), [format!("{JANE}, info@in.example, Bob <bob@real.example>")]);
    assert!(!text(answers[0]).contains("out.example"));

    // A mailing list wants its answers.
    let mail = forwarded(
        &stack,
        "From: Jane <jane@example.com>\r\nList-Id: <l.example.com>\r\nReply-To: l@example.com\r\n",
    )
    .await;
    assert_eq!(fields(&mail, "Reply-To"), ["l@example.com"]);
}

/// To somebody else, by an address that stands for him: what Jane wrote, as it came, and as it is in a mail program.
#[tokio::test]
async fn what_is_forwarded_as_an_attachment_goes_out_byte_for_byte() {
    let stack = replying("").await;
    let inner = text(&forwarded(&stack, "From: Jane <jane@example.com>\r\n").await);
    let tom = forwarded(&stack, "From: Tom <tom@example.com>\r\n").await.from;
    let fields_of = "Content-Type: multipart/mixed; boundary=o\r\n";
    let letter = answer(&tom, "").replace("Content-Type: text/plain; charset=utf-8\r\n", fields_of);
    let (header, _) = letter.split_once("\r\n\r\n").expect("a header");
    let body = format!(
        "--o\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--o\r\nContent-Type: message/rfc822\r\n\
         Content-Disposition: attachment; filename=Hello.eml\r\n\r\n{inner}\r\n--o--\r\n"
    );
    let (outcome, sent) = send(&stack, Some(OWNER), &[&tom], &format!("{header}\r\n\r\n{body}")).await;
    assert_eq!((&outcome["status"], sent.len()), (&json!("forwarded"), 1), "{outcome}");
    assert_eq!(sent[0].destinations, ["tom@example.com"]);
    let out = text(&sent[0]);
    let (header, out_body) = out.split_once("\r\n\r\n").expect("a header");
    assert_eq!(out_body, body);
    assert_eq!(fields(&sent[0], "From"), ["Ann Owner <info@in.example>"]);
    assert!(!header.contains("out.example"), "{header}");
}

#[tokio::test]
async fn an_alias_is_a_send_of_its_own() {
    let stack = replying("[routes]\n\"@second.example\" = \"@out.example\"\n").await;
    let to = ["info@in.example", "sales@in.example", "info@second.example"];
    let letter = "From: Jane <jane@example.com>\r\nTo: info@in.example, sales@in.example\r\n\r\nHi\r\n";
    let (_, sent) = send(&stack, Some(JANE), &to, letter).await;
    let mut from: Vec<&str> =
        sent.iter().filter_map(|mail| mail.from.split_once("+jane").map(|(alias, _)| alias)).collect();
    from.sort_unstable();
    assert_eq!(from, ["info", "sales"], "info@out.example has its copy");
    let destinations: Vec<&String> = sent.iter().flat_map(|mail| &mail.destinations).collect();
    assert_eq!(destinations, ["info@out.example", "sales@out.example"]);
}

#[tokio::test]
async fn what_an_owner_may_not_or_too_often_does_not_go_out() {
    let stack = replying("").await;
    let jane = address_of_jane(&stack).await;
    let forged = format!("X-Local-Verdict: spf=GRAY, dmarc=GRAY\r\n{}", answer(&jane, ""));
    let (outcome, sent) = send(&stack, Some(OWNER), &[&jane], &forged).await;
    assert_eq!(
        (&outcome["status"], &outcome["reason"], sent.len()),
        (&json!("dropped"), &json!("unverified-answer"), 0)
    );
    let stranger = answer(&jane, "").replace(OWNER, "eve@else.example");
    let (outcome, sent) = send(&stack, Some("eve@else.example"), &[&jane], &stranger).await;
    let went = (&outcome["status"], &sent[0].destinations[0][..]);
    assert_eq!(went, (&json!("forwarded"), OWNER), "mail to the alias");

    // They are counted by the hour: should one begin meanwhile, so does this.
    let this_hour = || time::OffsetDateTime::now_utc().unix_timestamp() / 3600;
    let (stack, id, waits) = loop {
        let stack = replying("[replies]\nper-hour = 2\n").await;
        let jane = address_of_jane(&stack).await;
        let hour = this_hour();
        for _ in 0..2 {
            let (outcome, _) = send(&stack, Some(OWNER), &[&jane], &answer(&jane, "")).await;
            assert_eq!(outcome["status"], "forwarded");
        }
        let id = stack.send(Some(OWNER), &[&jane], answer(&jane, "").as_bytes()).await.expect("it is taken");
        let outcome = tried(&stack, &id).await;
        if this_hour() == hour {
            break (stack, id, outcome);
        }
    };
    assert_eq!((&waits["status"], &waits["error"]["code"]), (&json!("failed"), &json!("AnswersOverLimit")));
    // What waits goes out when there may be more.
    stack.put_object("config/routes.toml", "[replies]\nper-hour = 3\n".to_owned()).await;
    stack
        .until(&id, |events| events.iter().any(|event| matches!(event, Event::Sent { .. })).then_some(()))
        .await;
    stack.emptied().await;
    assert_eq!(outcome_of(&stack, &id).await["status"], "forwarded", "{}", stack.story(&id));
    assert_eq!(stack.sent().iter().filter(|mail| mail.from == "info@in.example").count(), 3);
}

/// What is recorded of a message once it has been tried, and while it is not tried again.
async fn tried(stack: &Stack, id: &str) -> Value {
    let between_tries = || async { stack.outcome(id).await.filter(|outcome| outcome["status"] != "sending") };
    stack.eventually(between_tries).await
}

async fn outcome_of(stack: &Stack, id: &str) -> Value {
    stack.outcome(id).await.expect("it is recorded")
}

#[tokio::test]
async fn without_its_keys_nothing_is_forwarded_and_nothing_lost() {
    let stack = replying("").await;
    stack.put_object("config/reply-keys.json", "{}".to_owned()).await;
    let letter = "From: Jane <jane@example.com>\r\nTo: info@in.example\r\n\r\nHi\r\n";
    let id = stack.send(Some(JANE), &["info@in.example"], letter.as_bytes()).await.expect("it is taken");
    let failed = tried(&stack, &id).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("InvalidReplyKeys")));
    assert_eq!(
        stack
            .sent()
            .iter()
            .filter(|mail| mail.from.ends_with("in.example") && mail.from.contains("jane"))
            .count(),
        0
    );
    stack.delete_object("config/reply-keys.json").await;
    stack.told(1).await;
    stack.emptied().await;
    assert_eq!(outcome_of(&stack, &id).await["status"], "forwarded", "{}", stack.story(&id));
    assert!(stack.object("config/reply-keys.json").await.is_some(), "they are made anew");
}

#[tokio::test]
async fn a_bounce_of_an_answer_is_told_to_who_wrote_it() {
    let stack =
        replying("[routes]\n\"info@in.example\" = [\"info@out.example\", \"bob@else.example\"]\n").await;
    let jane = address_of_jane(&stack).await;
    stack.faults().add("ses:Deliver(jane@example.com)=bounce*1".parse().expect("a fault"));
    let (_, sent) = send(&stack, Some(OWNER), &[&jane], &answer(&jane, "")).await;
    assert_eq!(sent.len(), 1);
    let feedback = sent[0].feedback.clone().expect("bounces of it have an address");
    assert!(feedback.starts_with("info+info=out.example+a"), "{feedback}");
    let is_report = |mail: &SentMail| text(mail).contains("MAILER-DAEMON");
    let report = stack.eventually(|| async { stack.sent().into_iter().find(is_report) }).await;
    assert_eq!(report.destinations, [OWNER], "and neither the other owner nor the operator");
    let forged = "X-Local-Verdict: dmarc=FAIL\r\nFrom: MAILER-DAEMON@amazonses.com\r\n\r\n";
    let (outcome, sent) = send(&stack, None, &[&feedback], forged).await;
    assert_eq!((&outcome["reason"], sent.len()), (&json!("unverified-bounce"), 0));
}

#[tokio::test]
async fn a_body_is_cleaned_if_that_is_asked_for() {
    let mut config = Config::default();
    config.parameters.insert("Replies".to_owned(), "on".to_owned());
    config.parameters.insert("ReplyBody".to_owned(), "clean".to_owned());
    let stack = started(config).await;
    let jane = address_of_jane(&stack).await;
    let letter = format!("{}On Thursday {OWNER} wrote:\r\n> {}\r\n", answer(&jane, ""), "x".repeat(2_000));
    let (outcome, sent) = send(&stack, Some(OWNER), &[&jane], &letter).await;
    assert_eq!(outcome["status"], "forwarded");
    assert!(text(&sent[0]).contains("\r\nOn Thursday info@in.example wrote:\r\n"), "{}", text(&sent[0]));
    assert!(!text(&sent[0]).contains("out.example"));
    assert_eq!(fields(&sent[0], "Content-Transfer-Encoding"), ["quoted-printable"]);
}

#[tokio::test]
async fn switched_off_every_byte_is_as_before() {
    let stack = started(Config::default()).await;
    let mail =
        forwarded(&stack, "From: Jane <jane@example.com>\r\nReferences: <a.aaaa.reply@in.example>\r\n").await;
    assert_eq!(mail.from, "jane_example.com@in.example");
    assert_eq!(fields(&mail, "Reply-To"), ["Jane <jane@example.com>"]);
    assert_eq!(fields(&mail, "References"), ["<a.aaaa.reply@in.example> <m1@example.com>"]);
    assert_eq!(stack.object("config/reply-keys.json").await, None);
}

#[tokio::test]
async fn a_message_that_is_sent_again_goes_out_once() {
    let stack = replying("").await;
    let jane = address_of_jane(&stack).await;
    let letter = answer(&jane, "");
    let (outcome, sent) = send(&stack, Some("eve@else.example"), &[&jane], &letter).await;
    assert_eq!(
        (&outcome["status"], sent.len()),
        (&json!("forwarded"), 1),
        "by a service that signs for the owner"
    );
    for sender in ["eve@else.example", "mallory@else.example"] {
        let (outcome, sent) = send(&stack, Some(sender), &[&jane], &letter).await;
        let went = (&outcome["status"], &outcome["reason"], sent.len());
        assert_eq!(went, (&json!("dropped"), &json!("unverified-answer"), 0), "{outcome}");
    }
    let (outcome, _) =
        send(&stack, Some("eve@else.example"), &[&jane], &letter.replace("<a1@", "<a2@")).await;
    assert_eq!(outcome["status"], "forwarded");
}

/// What comes from where the owner's domain sends goes out each time, and is known when somebody else sends it again.
#[tokio::test]
async fn what_surely_was_the_owners_goes_out_once_when_others_send_it() {
    let stack = replying("").await;
    let (jane, bob) =
        (address_of_jane(&stack).await, forwarded(&stack, "From: Bob <bob@example.com>\r\n").await.from);
    let letter = answer(&jane, &format!("Cc: {bob}\r\n"));
    // The function dies when it has kept the id, and the next try is no other message.
    let other = letter.replace("<a1@", "<a2@");
    for (sender, letter) in [(OWNER, &letter), ("eve@else.example", &other)] {
        stack.faults().add("ses:SendEmail=kill-before@1".parse().expect("a fault"));
        let id = stack.send(Some(sender), &[&jane], letter.as_bytes()).await.expect("it is taken");
        assert_eq!(stack.settled(&id).await, End::Noticed, "{}", stack.story(&id));
        assert_eq!(outcome_of(&stack, &id).await["status"], "forwarded", "{}", stack.story(&id));
    }
    let folded = letter.replace("Message-ID: ", "Message-ID:\r\n\t ");
    for (case, sender, to, letter, status) in [
        ("by somebody else", "eve@else.example", &jane, &letter, "dropped"),
        ("with other white space", "eve@else.example", &jane, &folded, "dropped"),
        ("by the owner", OWNER, &jane, &letter, "forwarded"),
        ("to whom it has not gone", "eve@else.example", &bob, &letter, "forwarded"),
    ] {
        let (outcome, _) = send(&stack, Some(sender), &[to], letter).await;
        assert_eq!(outcome["status"], status, "{case}: {outcome}");
    }
}

/// The signature of the owner's domain holds whatever is added that it does not speak of.
#[tokio::test]
async fn what_was_added_to_a_signed_message_does_not_send_it_again() {
    let stack = replying("").await;
    let (jane, bob) =
        (address_of_jane(&stack).await, forwarded(&stack, "From: Bob <bob@example.com>\r\n").await.from);
    let signed = |names: &str| {
        let names = names.to_owned();
        answer(&jane, &format!("DKIM-Signature: v=1; d=out.example; s=k; h={names}; bh=x; b=y\r\n"))
    };
    let all = signed("From:To:Cc:Subject:Message-ID");
    let some = signed("From:To:Subject:Message-ID");
    let to_bob = format!("Cc: {bob}\r\n{all}").replace("<a1@", "<a3@");
    let id = "Message-ID: <new@evil.example>\r\n";
    for (case, to, letter, status) in [
        ("as it was signed", &jane, all.clone(), "forwarded"),
        ("again", &jane, all.clone(), "dropped"),
        ("again with another id on top", &jane, format!("{id}{all}"), "dropped"),
        ("with another To on top", &bob, format!("To: {bob}\r\n{all}"), "dropped"),
        ("with a Cc that no signature speaks of", &bob, format!("Cc: {bob}\r\n{some}"), "dropped"),
        ("whose id is not signed", &jane, signed("From:To").replace("<a1@", "<a2@"), "dropped"),
        ("with another Subject on top", &bob, format!("Subject: New account\r\n{to_bob}"), "dropped"),
        ("with another Cc on top", &bob, format!("Cc: eve@evil.example\r\n{to_bob}"), "dropped"),
        ("with another Content-Type on top", &bob, format!("Content-Type: text/html\r\n{to_bob}"), "dropped"),
        ("whose subject is not signed", &bob, to_bob.replace(":Subject:", ":"), "dropped"),
        ("with room behind the body", &bob, to_bob.replace("; bh=", "; l=5; bh="), "dropped"),
        ("whose Cc is signed", &bob, to_bob.clone(), "forwarded"),
    ] {
        let (outcome, _) = send(&stack, Some("eve@else.example"), &[to], &letter).await;
        assert_eq!(outcome["status"], status, "{case}: {outcome}");
    }
}
