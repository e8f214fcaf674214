//! What a routes file says of senders: whose line decides, what is refused, and what is odd.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use ses_forwarder::{
    address::Address,
    domains::Domains,
    routes::{
        Routes,
        senders::{Claim, SenderAction},
    },
};

const FILE: &str = r#"[senders]
"jane@x.example" = "forward"
"jane+spam@x.example" = "Drop"
"@x.example" = "drop"
"@*.x.example" = "tag"
"@bücher.example" = "tag"
"@lists.example" = "forward"

[senders."info@in.example"]
"eve@x.example" = "tag"
"@" = "refuse"
"@Friends.example" = "forward"

[senders."@in.example"]
"eve@x.example" = "refuse"

[senders.sales]
"@x.example" = "forward"
"#;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn check(file: &str) -> ses_forwarder::routes::Checked {
    Routes::check(file.as_bytes(), &Domains::parse("in.example").unwrap(), Some("out.example"))
}

/// An address and whether somebody vouches for it.
type Sender = Option<(Address, bool)>;

fn claim(sender: &Sender) -> Option<Claim<'_>> {
    let (address, authenticated) = sender.as_ref()?;
    Some(Claim { address, authenticated: *authenticated })
}

/// The line that decides and its word; a sender has an `!` in front if nobody vouches for it.
fn find(routes: &Routes, recipient: &str, author: &str, envelope: &str) -> Option<(usize, &'static str)> {
    let read = |text: &str| -> Sender {
        let (authenticated, text) = text.strip_prefix('!').map_or((true, text), |text| (false, text));
        (!text.is_empty()).then(|| (address(text), authenticated))
    };
    let (author, envelope) = (read(author), read(envelope));
    let found = routes.senders().lookup(&address(recipient), claim(&author), claim(&envelope))?;
    Some((found.line, found.action.word()))
}

#[test]
fn ok_the_line_that_decides() {
    let routes = check(FILE).routes.unwrap();
    assert_eq!(routes.senders().lines(), 11);
    assert!(routes.senders().let_past_verdicts());
    for (recipient, author, envelope, expected) in [
        // For everyone: the address, without its tag, its domain, the domains above it.
        ("ann@b.example", "jane@x.example", "", Some((2, "forward"))),
        ("ann@b.example", "Jane+News@X.example", "", Some((2, "forward"))),
        ("ann@b.example", "jane+spam@x.example", "", Some((3, "drop"))),
        ("ann@b.example", "bob@x.example", "", Some((4, "drop"))),
        ("ann@b.example", "bob@mail.x.example", "", Some((5, "tag"))),
        ("ann@b.example", "bob@notx.example", "", None),
        ("ann@b.example", "x@BÜCHER.example", "", Some((6, "tag"))),
        // The envelope counts too; of two that are as specific the author does.
        ("ann@b.example", "", "bob@x.example", Some((4, "drop"))),
        ("ann@b.example", "bob@else.example", "bounce@lists.example", Some((7, "forward"))),
        ("ann@b.example", "bob@x.example", "bounce@lists.example", Some((4, "drop"))),
        ("ann@b.example", "bob@lists.example", "jane@x.example", Some((2, "forward"))),
        // Nobody gets past the verdicts by a name that he can't prove; then the next line decides.
        ("ann@b.example", "!jane@x.example", "", Some((4, "drop"))),
        ("ann@b.example", "!jane@x.example", "bounce@lists.example", Some((4, "drop"))),
        ("ann@b.example", "!bob@lists.example", "", None),
        // For a recipient, before everyone's; the most specific of its tables first.
        ("info@in.example", "eve@x.example", "", Some((10, "tag"))),
        ("info+x@in.example", "eve@x.example", "", Some((10, "tag"))),
        ("bob@in.example", "eve@x.example", "", Some((15, "refuse"))),
        ("sales@in.example", "eve@x.example", "", Some((18, "forward"))),
        ("sales@in.example", "!eve@x.example", "", Some((15, "refuse"))),
        ("sales@b.example", "!eve@x.example", "", Some((4, "drop"))),
        // Only those who are named.
        ("info@in.example", "ann@friends.example", "", Some((12, "forward"))),
        ("info@in.example", "!ann@friends.example", "", Some((11, "refuse"))),
        ("info@in.example", "jane@x.example", "", Some((11, "refuse"))),
        ("info@in.example", "", "", None),
    ] {
        assert_eq!(
            find(&routes, recipient, author, envelope),
            expected,
            "{author} ({envelope}) to {recipient}"
        );
    }
    let found = check(FILE).routes.unwrap();
    let found = found.senders().lookup(
        &address("info@in.example"),
        Some(Claim { address: &address("eve@x.example"), authenticated: false }),
        None,
    );
    let found = found.unwrap();
    assert_eq!((found.recipient, found.key), (Some("info@in.example"), "eve@x.example"));
}

#[test]
fn err_every_problem_with_its_place() {
    let file = r#"senders = 5
[routes]
"#;
    let shown = |file: &str| -> Vec<String> {
        let problems = check(file).routes.unwrap_err();
        problems
            .iter()
            .map(|problem| format!("{}:{}: {}", problem.line, problem.column, problem.message))
            .collect()
    };
    assert_eq!(shown(file), ["1:1: senders is an integer; it has to be one table, [senders]"]);
    let file = r#"[senders]
"jane" = "drop"
"jane@" = "drop"
"@x.example" = "block"
"@y.example" = ["drop"]
"jane@z.example" = true
[senders."a b@in.example"]
"@x.example" = "drop"
[senders."info@in.example"]
"@x.example" = {}
"#;
    let senders = r#"a sender is "user@domain", "@domain", "@*.domain" or "@""#;
    let actions = r#"allowed are "forward", "tag", "drop" and "refuse""#;
    let keys = r#"a table of senders is for "user+tag@domain", "user@domain", "user", "@domain", "@*.domain" or "@""#;
    assert_eq!(
        shown(file),
        [
            format!(r#"2:1: expected an @ in "jane"; {senders}"#),
            format!(r#"3:1: expected an address, but "jane@" has no domain; {senders}"#),
            format!(r#"4:16: found "block"; {actions}"#),
            format!("5:16: found a list; {actions}"),
            format!("6:20: found a boolean; {actions}"),
            format!(
                r#"7:10: expected an address, but "a b@in.example" has a local part with a character that is only allowed in quotes, or not at all; {keys}"#
            ),
            format!("10:16: found a table (a key with a dot or @ needs quotes); {actions}"),
        ]
    );
}

#[test]
fn ok_what_is_allowed_but_odd() {
    let file = r#"[routes]
[senders]
"*@x.example" = "drop"
"@y.example" = "drop"
"@Y.example" = "tag"
"#;
    let warnings: Vec<_> = check(file).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            r#"line 3, column 1: "*@x.example" is no wildcard; everyone at x.example is "@x.example", at its subdomains "@*.x.example""#,
            r#"line 5, column 1: "@Y.example" never matches: line 4 is for the same"#,
        ]
    );
}

type Line = (Option<String>, String, SenderAction);

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a@x.example",
        "a+t@x.example",
        "b@x.example",
        "@x.example",
        "@m.x.example",
        "@*.x.example",
        "@*.example",
        "@",
    ])
    .prop_map(str::to_owned)
}

/// The same for recipients, at other domains: TOML knows one key for a line and a table.
fn table() -> impl Strategy<Value = String> {
    key().prop_map(|key| if key == "@" { "@*.in".to_owned() } else { received(&key) })
}

fn received(text: &str) -> String {
    text.replace("example", "in")
}

fn sender() -> impl Strategy<Value = Option<(String, bool)>> {
    let local = prop::sample::select(vec!["a", "a+t", "a+u", "b", "c"]);
    let domain =
        prop::sample::select(vec!["x.example", "m.x.example", "n.m.x.example", "y.example", "z.test"]);
    prop::option::of(
        (local, domain, any::<bool>()).prop_map(|(local, domain, ok)| (format!("{local}@{domain}"), ok)),
    )
}

/// Whether a key of the file names an address, and how specific it is: the longer, the less.
fn rank(key: &str, address: &str) -> Option<usize> {
    let (local, domain) = address.split_once('@').unwrap();
    let user = local.split('+').next().unwrap();
    let parents = domain.match_indices('.').map(|(dot, _)| format!("@*{}", &domain[dot..]));
    let mut keys = vec![address.to_owned(), format!("{user}@{domain}"), local.to_owned(), user.to_owned()];
    keys.push(format!("@{domain}"));
    keys.extend(parents);
    // However many labels the address has, `@` comes last.
    keys.resize(20, String::new());
    keys.push("@".to_owned());
    keys.iter().position(|other| other == key)
}

/// The rules word by word: every line that names the message, the best of them first.
fn reference(lines: &[Line], recipient: &str, claims: [&Option<(String, bool)>; 2]) -> Option<SenderAction> {
    let mut best: Option<((usize, usize, usize, usize), SenderAction)> = None;
    for (table, key, action) in lines {
        let table_rank = match table {
            None => 100,
            Some(table) => match rank(table, recipient) {
                Some(rank) => rank,
                None => continue,
            },
        };
        for (which, claim) in claims.into_iter().enumerate() {
            let Some((address, authenticated)) = claim else { continue };
            let Some(rank) = rank(key, address) else { continue };
            if *action == SenderAction::Forward && !authenticated {
                continue;
            }
            // Subdomains of either claim rank as one kind, the author's first, each nearest first.
            let kind = if (5..20).contains(&rank) { 5 } else { rank };
            let place = (table_rank, kind, which, rank);
            if best.is_none_or(|(other, _)| place < other) {
                best = Some((place, *action));
            }
        }
    }
    best.map(|(_, action)| action)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn lookups_equal_the_reference(
        lines in prop::collection::vec((prop::option::of(table()), key(), 0..4usize), 0..12),
        recipient in sender(),
        author in sender(),
        envelope in sender(),
    ) {
        let actions = [SenderAction::Forward, SenderAction::Tag, SenderAction::Drop, SenderAction::Refuse];
        let mut unique: Vec<Line> = Vec::new();
        for (table, key, action) in lines {
            if !unique.iter().any(|(other, of, _)| *other == table && *of == key) {
                unique.push((table, key, actions[action]));
            }
        }
        let mut file = "[senders]\n".to_owned();
        unique.sort_by(|one, other| one.0.cmp(&other.0));
        let mut table = None;
        for (of, key, action) in &unique {
            if *of != table {
                file.push_str(&format!("[senders.{:?}]\n", of.as_deref().unwrap_or_default()));
                table.clone_from(of);
            }
            file.push_str(&format!("{key:?} = {:?}\n", action.word()));
        }
        let Some((recipient, _)) = recipient else { return Ok(()) };
        let recipient = received(&recipient);
        let routes = check(&file).routes.unwrap();
        let parsed = |claim: &Option<(String, bool)>| claim.as_ref().map(|(text, ok)| (address(text), *ok));
        let (from, source) = (parsed(&author), parsed(&envelope));
        let found = routes.senders().lookup(&address(&recipient), claim(&from), claim(&source));
        let expected = reference(&unique, &recipient, [&author, &envelope]);
        prop_assert_eq!(found.map(|found| found.action), expected, "{}", file);
    }
}
