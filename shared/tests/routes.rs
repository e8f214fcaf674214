//! The routes file: what each line does, what is refused, and what is odd.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use ses_forwarder::{
    address::Address,
    domains::Domains,
    routes::{FILE_MAX, How, Routes},
};

/// A file with every kind of line. `EMAIL_DOMAIN` is in.example, `DESTINATION_DOMAIN` out.example.
const FILE: &str = r#"[routes]
# One person, several people, nobody.
"ann@in.example" = "ann.smith@mail.example"
"sales@in.example" = ["ann@out.example", "bob@else.example"]
"old-shop@in.example" = []

# A tag of its own, and the same user without or with any other tag.
"bob+lists@in.example" = "archive@out.example"
"bob@in.example" = "bob@out.example"
"carol@in.example" = "@carol.example"
"carol+private@in.example" = []

# Local parts alone: at any received domain.
"abuse" = "postmaster@out.example"
"postmaster" = ["postmaster@out.example", "ops@else.example"]
"noreply" = []
"ci+failed" = "oncall@out.example"
"ci" = "builds@out.example"

# Addresses that look odd, but are none the less addresses.
'"john doe"@in.example' = "john@out.example"
'"a@b"@in.example' = "at@out.example"
'"quoted"@in.example' = '"needs quotes"@out.example'
"o'hara@in.example" = "ohara@out.example"
"a=b@in.example" = "verp@out.example"
"x/y@in.example" = "slash@out.example"
"+plus@in.example" = "plus@out.example"
"Mixed.Case@In.Example" = "Mixed.Case@Out.Example"
"star*@in.example" = "star@out.example"

# Other domains that the receipt rule is for.
"@shop.example" = "@out.example"
"info@shop.example" = "@info.example"
"@bücher.example" = "@xn--bcher-kva.out.example"
"lesen@bücher.example" = "leser@lesen.example"
"@closed.example" = []
"@team.example" = ["ann@out.example", "@out.example"]
"#;

#[track_caller]
fn address(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn domains(list: &str) -> Domains {
    Domains::parse(list).unwrap_or_else(|| panic!("{list} are domains"))
}

fn parse(file: &str) -> Routes {
    Routes::parse(file.as_bytes(), &domains("in.example"), Some("out.example"))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What a lookup finds: the key's line and how it matches, and the destinations in one text.
fn find(routes: &Routes, recipient: &str) -> Option<(Option<usize>, How, String)> {
    let found = routes.lookup(&address(recipient))?;
    let destinations: Vec<_> = found.destinations.iter().map(Address::to_string).collect();
    Some((found.line, found.how, destinations.join(" ")))
}

#[test]
fn ok_who_gets_what() {
    use How::{Address, AddressWithoutTag, Domain, User, UserWithoutTag};
    let routes = parse(FILE);
    let cases = [
        // One address to another one.
        ("ann@in.example", "ann@in.example", Address, "ann.smith@mail.example"),
        ("ANN@IN.EXAMPLE", "ann@in.example", Address, "ann.smith@mail.example"),
        // A tag finds its user's line, and a whole address as destination is taken as it stands.
        ("ann+news@in.example", "ann@in.example", AddressWithoutTag, "ann.smith@mail.example"),
        ("ann+@in.example", "ann@in.example", AddressWithoutTag, "ann.smith@mail.example"),
        ("ann+a+b@in.example", "ann@in.example", AddressWithoutTag, "ann.smith@mail.example"),
        // Several people.
        ("sales@in.example", "sales@in.example", Address, "ann@out.example bob@else.example"),
        ("Sales+eu@in.example", "sales@in.example", AddressWithoutTag, "ann@out.example bob@else.example"),
        // Nobody: discarded, with every tag.
        ("old-shop@in.example", "old-shop@in.example", Address, ""),
        ("old-shop+x@in.example", "old-shop@in.example", AddressWithoutTag, ""),
        // The tag's own line goes before the user's, wherever they stand in the file.
        ("bob+lists@in.example", "bob+lists@in.example", Address, "archive@out.example"),
        ("bob+LISTS@in.example", "bob+lists@in.example", Address, "archive@out.example"),
        ("bob+lists+x@in.example", "bob@in.example", AddressWithoutTag, "bob@out.example"),
        ("bob+other@in.example", "bob@in.example", AddressWithoutTag, "bob@out.example"),
        ("bob@in.example", "bob@in.example", Address, "bob@out.example"),
        ("carol+private@in.example", "carol+private@in.example", Address, ""),
        // `@domain` as destination keeps the local part as it was written, tag included.
        ("carol@in.example", "carol@in.example", Address, "carol@carol.example"),
        ("Carol+News@in.example", "carol@in.example", AddressWithoutTag, "Carol+News@carol.example"),
        // A local part alone is for every received domain.
        ("abuse@in.example", "abuse", User, "postmaster@out.example"),
        ("abuse@shop.example", "abuse", User, "postmaster@out.example"),
        ("Abuse@other.example", "abuse", User, "postmaster@out.example"),
        ("abuse+spam@in.example", "abuse", UserWithoutTag, "postmaster@out.example"),
        ("postmaster@bücher.example", "postmaster", User, "postmaster@out.example ops@else.example"),
        ("noreply@in.example", "noreply", User, ""),
        ("ci+failed@in.example", "ci+failed", User, "oncall@out.example"),
        ("ci+ok@in.example", "ci", UserWithoutTag, "builds@out.example"),
        ("ci@shop.example", "ci", User, "builds@out.example"),
        // It goes before the line of a domain, even one that discards.
        ("abuse@closed.example", "abuse", User, "postmaster@out.example"),
        ("anyone@closed.example", "@closed.example", Domain, ""),
        // Quotes are not part of a local part; what is in them is.
        ("\"john doe\"@in.example", "\"john doe\"@in.example", Address, "john@out.example"),
        ("\"John Doe\"@in.example", "\"john doe\"@in.example", Address, "john@out.example"),
        ("\"a@b\"@in.example", "\"a@b\"@in.example", Address, "at@out.example"),
        ("quoted@in.example", "\"quoted\"@in.example", Address, "\"needs quotes\"@out.example"),
        ("\"ann\"@in.example", "ann@in.example", Address, "ann.smith@mail.example"),
        ("\"ann+x y\"@in.example", "ann@in.example", AddressWithoutTag, "ann.smith@mail.example"),
        ("o'hara@in.example", "o'hara@in.example", Address, "ohara@out.example"),
        ("a=b@in.example", "a=b@in.example", Address, "verp@out.example"),
        ("x/y@in.example", "x/y@in.example", Address, "slash@out.example"),
        // A leading `+` begins no tag.
        ("+plus@in.example", "+plus@in.example", Address, "plus@out.example"),
        ("+other@in.example", "@in.example", Domain, "+other@out.example"),
        // No case counts, and none is lost.
        ("mixed.case@in.example", "Mixed.Case@In.Example", Address, "Mixed.Case@out.example"),
        ("MiXeD+T@in.example", "@in.example", Domain, "MiXeD+T@out.example"),
        // No wildcards.
        ("star*@in.example", "star*@in.example", Address, "star@out.example"),
        ("stars@in.example", "@in.example", Domain, "stars@out.example"),
        // Dots are letters like others.
        ("a.nn@in.example", "@in.example", Domain, "a.nn@out.example"),
        // From one domain to another.
        ("any.one+tag@shop.example", "@shop.example", Domain, "any.one+tag@out.example"),
        ("info@shop.example", "info@shop.example", Address, "info@info.example"),
        ("\"john doe\"@shop.example", "@shop.example", Domain, "\"john doe\"@out.example"),
        // An international domain is one domain, however it is written.
        ("x@bücher.example", "@bücher.example", Domain, "x@xn--bcher-kva.out.example"),
        ("x@BÜCHER.example", "@bücher.example", Domain, "x@xn--bcher-kva.out.example"),
        ("x@xn--bcher-kva.example", "@bücher.example", Domain, "x@xn--bcher-kva.out.example"),
        ("lesen@xn--bcher-kva.example", "lesen@bücher.example", Address, "leser@lesen.example"),
        // A whole domain to someone in particular and to its own name elsewhere.
        ("dan@team.example", "@team.example", Domain, "ann@out.example dan@out.example"),
        // The default closes the table.
        ("everyone.else@in.example", "@in.example", Domain, "everyone.else@out.example"),
        ("Everyone+Else@IN.example", "@in.example", Domain, "Everyone+Else@out.example"),
    ];
    for (recipient, key, how, destinations) in cases {
        let routes_to = routes.lookup(&address(recipient)).unwrap_or_else(|| panic!("{recipient}: no line"));
        let found: Vec<_> = routes_to.destinations.iter().map(ToString::to_string).collect();
        assert_eq!(
            (routes_to.key, routes_to.how, &*found.join(" ")),
            (key, how, destinations),
            "{recipient}"
        );
        let line = FILE.lines().position(|line| {
            line.starts_with(&format!("\"{key}\"")) || line.starts_with(&format!("'{key}'"))
        });
        assert_eq!(routes_to.line, line.map(|index| index + 1), "{recipient}: the line of {key}");
    }
    // Neither subdomains nor domains that no line names lead anywhere.
    for recipient in
        ["x@sub.in.example", "x@example", "ann@out.example", "x@notin.example", "x@in.example.com"]
    {
        assert_eq!(find(&routes, recipient), None, "{recipient}");
    }
}

#[test]
fn ok_what_closes_the_table() {
    let all = |routes: &Routes| {
        find(routes, "Any+Tag@in.example").map(|(line, _, destinations)| (line, destinations))
    };
    let default = Some((None, "Any+Tag@out.example".to_owned()));
    let own = |line, destination: &str| Some((Some(line), destination.to_owned()));

    assert_eq!(all(&Routes::default_for(&domains("in.example"), Some("out.example"))), default);
    assert_eq!(all(&Routes::default_for(&domains("In.Example"), Some("OUT.example"))), default);
    assert_eq!(all(&Routes::default_for(&domains("in.example"), None)), None);
    assert_eq!(
        all(&Routes::default_for(&domains("in.example"), Some("IN.example"))),
        None,
        "not back into itself"
    );
    for (file, expected) in [
        ("", default.clone()),
        ("# nothing yet\n", default.clone()),
        ("[routes]\n", default.clone()),
        ("[routes]\n\"x@in.example\" = []\n", default.clone()),
        ("[routes]\n\"@other.example\" = []\n", default.clone()),
        ("[routes]\n\"@in.example\" = \"@own.example\"\n", own(2, "Any+Tag@own.example")),
        ("[routes]\n\"@IN.Example\" = \"me@own.example\"\n", own(2, "me@own.example")),
        ("[routes]\n\"@in.example\" = []\n", own(2, "")),
        ("\u{feff}[routes]\r\n\"@in.example\" = []\r\n", own(2, "")),
        ("routes = { \"@in.example\" = [] }", own(1, "")),
    ] {
        assert_eq!(all(&parse(file)), expected, "{file:?}");
    }
    let without = Routes::parse(b"[routes]\n\"x\" = []", &domains("in.example"), None).unwrap();
    assert_eq!(all(&without), None);
}

#[test]
fn ok_several_domains() {
    let two = domains("in.example, second.example");
    let file = |file: &str| Routes::parse(file.as_bytes(), &two, Some("out.example")).unwrap();
    let found = |routes: &Routes, recipient: &str| find(routes, recipient);
    let to = |line, how, destination: &str| Some((line, how, destination.to_owned()));

    // One destination domain is the default of all of them, a line for one of them is that one's alone.
    for routes in [Routes::default_for(&two, Some("out.example")), file("")] {
        assert_eq!(found(&routes, "ann@in.example"), to(None, How::Domain, "ann@out.example"));
        assert_eq!(found(&routes, "ann@second.example"), to(None, How::Domain, "ann@out.example"));
        assert_eq!(found(&routes, "ann@sub.second.example"), None);
    }
    let routes =
        file("[routes]\n\"@second.example\" = \"@else.example\"\n\"abuse\" = \"ops@else.example\"\n");
    assert_eq!(found(&routes, "ann@in.example"), to(None, How::Domain, "ann@out.example"));
    assert_eq!(found(&routes, "ann@second.example"), to(Some(2), How::Domain, "ann@else.example"));
    assert_eq!(found(&routes, "abuse@in.example"), to(Some(3), How::User, "ops@else.example"));
    assert_eq!(found(&routes, "abuse@second.example"), to(Some(3), How::User, "ops@else.example"));

    // A line for all domains stands where the defaults would.
    let routes = file("[routes]\n\"@\" = \"me@else.example\"\n\"@in.example\" = []\n");
    assert_eq!(found(&routes, "ann@in.example"), to(Some(3), How::Domain, ""));
    assert_eq!(found(&routes, "ann@second.example"), to(Some(2), How::Everyone, "me@else.example"));
    assert_eq!(found(&routes, "ann@sub.in.example"), to(Some(2), How::Everyone, "me@else.example"));

    // Subdomains, of which the nearest line decides.
    let routes = file(
        "[routes]\n\"@*.in.example\" = \"a@else.example\"\n\"@*.x.in.example\" = \"b@else.example\"\n\"@y.x.in.example\" = []\n",
    );
    for (recipient, expected) in [
        ("ann@in.example", to(None, How::Domain, "ann@out.example")),
        ("ann@x.in.example", to(Some(2), How::Subdomain, "a@else.example")),
        ("ann@z.x.in.example", to(Some(3), How::Subdomain, "b@else.example")),
        ("ann@z.y.x.in.example", to(Some(3), How::Subdomain, "b@else.example")),
        ("ann@y.x.in.example", to(Some(4), How::Domain, "")),
        ("ann@notin.example", None),
    ] {
        assert_eq!(found(&routes, recipient), expected, "{recipient}");
    }

    // A destination at any of the domains would come back.
    let errors = shown(&Routes::parse(b"[routes]\nx = \"@second.example\"", &two, None).unwrap_err());
    assert_eq!(
        errors,
        [
            r#"2:5: "@second.example" leads back into second.example, so mail would go round; allowed is any other domain"#
        ]
    );
}

#[test]
fn ok_refused_and_named() {
    let routes = parse(
        "[routes]\n\"old@in.example\" = \"refuse\"\n\"older\" = \"Refuse\"\n\"ann\" = \"Ann <ann@out.example>\"\n\"bob\" = ['\"Bob, Jr.\" <bob@out.example>', \"bob@out.example\"]\n",
    );
    for recipient in ["old@in.example", "Old+x@in.example", "older@in.example"] {
        let found = routes.lookup(&address(recipient)).unwrap();
        assert!(found.refused && found.destinations.is_empty(), "{recipient}: {found:?}");
    }
    for (recipient, destination) in
        [("ann@in.example", "ann@out.example"), ("bob@in.example", "bob@out.example")]
    {
        let found = routes.lookup(&address(recipient)).unwrap();
        assert_eq!((found.refused, found.destinations), (false, vec![address(destination)]), "{recipient}");
    }
}

#[test]
fn ok_where_mail_may_go() {
    let routes = parse(
        "[routes]\n\"ann@in.example\" = \"Ann <Ann@else.example>\"\n\"bob@in.example\" = '@new.example'\n\
         [senders]\n\"eve@spam.example\" = \"drop\"\n\"@ads.example\" = \"tag\"\n",
    );
    for (destination, may_go) in [
        ("x@out.example", true),
        ("ann@ELSE.example", true),
        ("bob@else.example", false),
        ("bob@new.example", true),
        ("ann@in.example", false),
        ("eve@spam.example", false),
        ("x@ads.example", false),
    ] {
        assert_eq!(routes.may_lead_to(&address(destination)), may_go, "{destination}");
    }
    // A line for the whole domain stands where the default would.
    assert!(!parse("[routes]\n\"@in.example\" = []\n").may_lead_to(&address("x@out.example")));
}

/// Each problem as `line:column: message`.
fn shown(problems: &[ses_forwarder::routes::Problem]) -> Vec<String> {
    problems
        .iter()
        .map(|problem| format!("{}:{}: {}", problem.line, problem.column, problem.message))
        .collect()
}

fn errors(file: &[u8]) -> Vec<String> {
    shown(&Routes::parse(file, &domains("in.example"), Some("out.example")).expect_err("an error"))
}

#[test]
fn err_every_problem_with_its_place() {
    let keys = r#"a line is for "user+tag@domain", "user@domain", "user", "@domain", "@*.domain" or "@""#;
    let allowed = r#"allowed are "user@domain", "@domain", a list of these, [] to discard and "refuse""#;
    let file = r#"title = "mine"
[routes]
"a b@in.example" = "ann@out.example"
"@*" = "ann@out.example"
"" = "ann@out.example"
"ü@in.example" = "ann@out.example"
"ok@in.example" = "ann"
"ok1@in.example" = ["ann@out.example", 5, "b@", true]
"ok2@in.example" = 1.5
"ok3@in.example" = 2026-01-01
"ok4@in.example" = "Ann <ann>"
"ok5@in.example" = [["ann@out.example"]]
"ok6@in.example" = ""
"Übung" = "x@in.example"
"ok7@in.example" = ["@IN.example", "ann@out.example"]
abuse.x = "ann@out.example"
[other]
"x" = "y"
"#;
    let expected = [
        r#"1:1: "title" stands outside of the tables [routes], [senders] and [replies]"#.to_owned(),
        format!(
            r#"3:1: expected an address, but "a b@in.example" has a local part with a character that is only allowed in quotes, or not at all; {keys}"#
        ),
        format!(
            r#"4:1: expected a domain, but "@*" has a domain that is not made of letters, digits, hyphens and single dots; {keys}"#
        ),
        format!(r#"5:1: expected a local part, but found ""; {keys}"#),
        format!(
            r#"6:1: expected an address, but "ü@in.example" has a local part with a character that is only allowed in quotes, or not at all; {keys}"#
        ),
        format!(r#"7:19: expected an address, but "ann" has no @; {allowed}"#),
        format!(r#"8:40: found an integer in a list of destinations; {allowed}"#),
        format!(r#"8:43: expected an address, but "b@" has no domain; {allowed}"#),
        format!(r#"8:49: found a boolean in a list of destinations; {allowed}"#),
        format!(r#"9:20: found a float; {allowed}"#),
        format!(r#"10:20: found a date or time; {allowed}"#),
        format!(r#"11:20: expected an address, but "ann" has no @; {allowed}"#),
        format!(r#"12:21: found a list in a list of destinations; {allowed}"#),
        format!(r#"13:20: expected an address, but "" has no @; {allowed}"#),
        format!(r#"14:1: expected a local part, but found "Übung"; {keys}"#),
        r#"14:11: "x@in.example" leads back into in.example, so mail would go round; allowed is any other domain"#.to_owned(),
        r#"15:21: "@IN.example" leads back into in.example, so mail would go round; allowed is any other domain"#.to_owned(),
        format!(r#"16:1: found a table (a key with a dot or @ needs quotes); {allowed}"#),
        r#"17:2: unknown table "other"; there are [routes], [senders] and [replies]"#.to_owned(),
    ];
    let found = errors(file.as_bytes());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn err_what_is_no_toml() {
    for (file, expected) in [
        (
            "[routes]\n\"x@in.example\" = \"y@out.example\n",
            &["2:32: not TOML: found the end of the line: invalid basic string, expected `\"`"][..],
        ),
        (
            "[routes]\nsales@in.example = \"y@out.example\"\n",
            &[
                "2:6: not TOML: found \"@\": invalid unquoted key, expected letters, numbers, `-`, `_` (a key with an @ needs quotes)",
            ],
        ),
        (
            "[routes]\n\"x\" = []\n\"x\" = \"y@out.example\"\n",
            &[
                "3:1: not TOML: found \"\\\"x\\\"\": duplicate key; a line is such as \"user@domain\" = \"user@domain\", each key once",
            ],
        ),
        (
            "[routes]\n[routes]\n",
            &[
                "2:2: not TOML: found \"routes\": duplicate key; a line is such as \"user@domain\" = \"user@domain\", each key once",
            ],
        ),
        ("[[routes]]\n\"x\" = []\n", &["1:3: routes is a list; it has to be one table, [routes]"]),
        ("routes = 5\n", &["1:1: routes is an integer; it has to be one table, [routes]"]),
        (
            "[routes]\n\"x\" = \n\"y\" = [\n",
            &[
                "2:7: not TOML: found the end of the line: string values must be quoted, expected literal string",
                "3:8: not TOML: found the end of the line: unclosed array, expected `]`",
            ],
        ),
        ("{\"routes\": {}}", &["1:1: not TOML: found \"{\": invalid key-value pair, expected key"]),
    ] {
        assert_eq!(errors(file.as_bytes()), expected, "{file:?}");
    }
    let deep = format!("[routes]\n\"x\" = []\n{}a = 1\n", "a.".repeat(80));
    let expected = format!(
        "3:1: not TOML: found {:?}…: recursion limit; a line is such as \"user@domain\" = \"user@domain\", each key once",
        "a.".repeat(40)
    );
    assert_eq!(errors(deep.as_bytes()), [expected]);
    assert_eq!(
        errors(b"[routes]\n# \xc3\xbcber\n\"\xc3\xbc\xfcx\" = []"),
        ["3:3: byte 0xfc is no UTF-8; the file has to be stored as UTF-8"]
    );
    assert_eq!(
        errors(&vec![b'#'; FILE_MAX + 1]),
        [format!("1:1: the file has {} bytes; at most {FILE_MAX} are read", FILE_MAX + 1)]
    );
}

#[test]
fn ok_what_is_allowed_but_odd() {
    for (line, expected) in [
        // Nothing odd.
        ("\"@in.example\" = \"@out.example\"", &[][..]),
        ("\"ann+x@in.example\" = []\n\"ann@in.example\" = []\n\"bob\" = []", &[]),
        // The same for twice: the first line decides.
        (
            "\"ann@in.example\" = []\n\"ANN@IN.example\" = \"x@out.example\"",
            &["3:1: \"ANN@IN.example\" never matches: line 2 is for the same"],
        ),
        ("\"ann\" = []\n'\"Ann\"' = []", &["3:1: \"\\\"Ann\\\"\" never matches: line 2 is for the same"]),
        // A destination twice.
        (
            "\"ann\" = [\"a@out.example\", \"b@out.example\", \"a@OUT.example\"]",
            &["2:44: \"a@OUT.example\" stands in this list twice"],
        ),
        ("\"ann\" = [\"a@out.example\", \"A@out.example\"]", &[]),
        // Domains that the receipt rule does not name, once each.
        (
            "\"@shop.example\" = []\n\"x@shop.example\" = []\n\"@Bücher.example\" = []",
            &[
                "2:1: \"@shop.example\" matches only if SES receives mail for shop.example too; the stack's own receipt rule is for in.example",
                "4:1: \"@Bücher.example\" matches only if SES receives mail for xn--bcher-kva.example too; the stack's own receipt rule is for in.example",
            ],
        ),
        // A local part that another line takes at EMAIL_DOMAIN.
        (
            "\"ann\" = []\n\"ann@in.example\" = []",
            &["2:1: \"ann\" never matches at in.example, where line 3 decides"],
        ),
        (
            "\"ann@in.example\" = []\n\"ann+shop\" = []\n\"bob+shop\" = []",
            &["3:1: \"ann+shop\" never matches at in.example, where line 2 decides"],
        ),
        // What looks like something else.
        (
            "\"in.example\" = []",
            &["2:1: \"in.example\" is a local part; everyone at in.example is \"@in.example\""],
        ),
        ("\"*\" = []", &["2:1: \"*\" is no wildcard; everyone at in.example is \"@in.example\""]),
        (
            "\"*@in.example\" = []",
            &["2:1: \"*@in.example\" is no wildcard; everyone at in.example is \"@in.example\""],
        ),
        (
            "\"sales-*@in.example\" = []",
            &["2:1: \"sales-*@in.example\" is no wildcard; everyone at in.example is \"@in.example\""],
        ),
        (
            "\"^.*@in.example\" = []",
            &["2:1: \"^.*@in.example\" is no regular expression; everyone at in.example is \"@in.example\""],
        ),
        (
            "\"ann@in.example\" = \"$1@out.example\"",
            &[
                "2:1: \"ann@in.example\" leads to an address that is nothing to fill in; \"@domain\" keeps the recipient's name",
            ],
        ),
        ("\"@*.in.example\" = []\n\"x@sub.in.example\" = []\n\"@\" = []", &[]),
        // A chain.
        (
            "\"ann@in.example\" = \"ann@shop.example\"\n\"@shop.example\" = \"@out.example\"",
            &[
                "2:1: \"ann@in.example\" leads to shop.example, for which line 3 takes mail: destinations are not looked up again",
                "3:1: \"@shop.example\" matches only if SES receives mail for shop.example too; the stack's own receipt rule is for in.example",
            ],
        ),
    ] {
        let file = format!("[routes]\n{line}\n");
        let checked = Routes::check(file.as_bytes(), &domains("in.example"), Some("out.example"));
        assert!(checked.routes.is_ok(), "{line}: {:?}", checked.routes);
        assert_eq!(shown(&checked.warnings), expected, "{line}");
    }
    let empty = Routes::check(b"# nothing", &domains("in.example"), Some("out.example"));
    assert_eq!(shown(&empty.warnings), ["1:1: there is no table [routes], so only the default applies"]);
}

/// No input costs more than its size in time: each of these would take minutes if it did.
#[test]
fn err_hostile_files_end() {
    let million = 1 << 20;
    for (what, file) in [
        ("lists in lists", format!("[routes]\nx = {}", "[".repeat(million))),
        ("tables in tables", format!("[routes]\nx = {}", "{a=".repeat(million))),
        ("a long dotted key", format!("[routes]\n{}a = 1", "a.".repeat(million))),
        ("a long table name", format!("[{}a]", "a.".repeat(million))),
        ("as many errors as bytes", "=".repeat(200_000)),
        ("as many errors as lines", "=\n".repeat(100_000)),
        ("as many tables as lines", "[routes]\n".repeat(20_000)),
        (
            "as many bad addresses as lines",
            (0..100_000).fold("[routes]\n".to_owned(), |file, n| file + &format!("\"{n} \"=\"x\"\n")),
        ),
        (
            "bad addresses on one line",
            format!("routes={{{}}}", (0..50_000).map(|n| format!("\"{n} \"=1,")).collect::<String>()),
        ),
        ("one long string", format!("[routes]\n\"{}\" = []", "@".repeat(million))),
        ("an unclosed string", format!("[routes]\n\"\"\"{}", "\"\\\n".repeat(million))),
        ("a list of numbers", format!("[routes]\nx = [{}]", "1,".repeat(million))),
        ("a list of the same", format!("[routes]\nx = [{}5]", "\"a@b.example\",".repeat(100_000))),
        ("nothing but NUL", "\0".repeat(million)),
        ("a long word", "a".repeat(FILE_MAX)),
    ] {
        let problems = Routes::parse(file.as_bytes(), &domains("in.example"), None).expect_err(what);
        assert!((1..=100).contains(&problems.len()), "{what}: {}", problems.len());
        assert!(problems.iter().all(|problem| problem.message.len() < 1000), "{what}");
    }
}

#[test]
fn ok_a_hundred_thousand_lines() {
    let mut file = "[routes]\n".to_owned();
    for number in 0..100_000 {
        file.push_str(&format!("\"person.{number}@in.example\" = \"mailbox.{number}@out.example\"\n"));
    }
    let routes = parse(&file);
    for number in (0..100_000).step_by(997) {
        let found = find(&routes, &format!("Person.{number}+tag@in.example"));
        assert_eq!(
            found,
            Some((Some(number + 2), How::AddressWithoutTag, format!("mailbox.{number}@out.example")))
        );
    }
}

/// Local parts from few letters, so that tables and addresses meet.
fn local() -> impl Strategy<Value = String> {
    "\\+?[aAb]{1,2}(\\+[aAb]?){0,2}"
}

fn received_domain() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "in.example",
        "In.Example",
        "shop.example",
        "sub.in.example",
        "a.sub.in.example",
    ])
}

/// A table as pairs of a key and its destinations, in the order of the file, no key twice.
fn table() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    let key = prop_oneof![
        (local(), received_domain()).prop_map(|(local, domain)| format!("{local}@{domain}")),
        local(),
        received_domain().prop_map(|domain| format!("@{domain}")),
        prop::sample::select(vec!["@", "@*.example", "@*.in.example", "@*.Sub.in.example"])
            .prop_map(str::to_owned),
    ];
    let destination = ("([ab]{1,2}(\\+[ab])?)?", prop::sample::select(vec!["out.example", "else.example"]))
        .prop_map(|(local, domain)| format!("{local}@{domain}"));
    let destinations =
        prop::collection::btree_set(destination, 0..3).prop_map(|set| set.into_iter().collect());
    prop::collection::vec((key, destinations), 0..20).prop_map(|lines| {
        let mut keys = BTreeSet::new();
        lines.into_iter().filter(|(key, _)| keys.insert(key.clone())).collect()
    })
}

fn written(table: &[(String, Vec<String>)]) -> String {
    let lines = table.iter().map(|(key, destinations)| format!("{key:?} = {destinations:?}\n"));
    "[routes]\n".to_owned() + &lines.collect::<String>()
}

/// The rules word by word: each key that may match, in order, is looked for from the top of the file.
fn reference(table: &[(String, Vec<String>)], local: &str, domain: &str) -> Option<Vec<String>> {
    let mut table = table.to_vec();
    let mut keys = vec![format!("{local}@{domain}")];
    let plus = local.find('+').filter(|at| *at > 0);
    let user = plus.map(|at| &local[..at]);
    keys.extend(user.map(|user| format!("{user}@{domain}")));
    keys.push(local.to_owned());
    keys.extend(user.map(str::to_owned));
    keys.push(format!("@{domain}"));
    keys.extend(domain.match_indices('.').map(|(dot, _)| format!("@*{}", &domain[dot..])));
    let is_default_for = |key: &String| key.eq_ignore_ascii_case("@in.example");
    if table.iter().all(|(key, _)| key != "@" && !is_default_for(key)) {
        table.push(("@in.example".to_owned(), vec!["@out.example".to_owned()]));
    }
    keys.push("@".to_owned());
    let line = keys.iter().find_map(|key| table.iter().find(|(other, _)| other.eq_ignore_ascii_case(key)));
    let (_, destinations) = line?;
    let of = |destination: &String| match destination.strip_prefix('@') {
        Some(domain) => format!("{local}@{domain}"),
        None => destination.clone(),
    };
    Some(destinations.iter().map(of).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn lookups_equal_the_reference(table in table(), local in local(), domain in received_domain()) {
        let routes = parse(&written(&table));
        let found = find(&routes, &format!("{local}@{domain}")).map(|(_, _, destinations)| destinations);
        let expected = reference(&table, &local, domain).map(|destinations| destinations.join(" "));
        prop_assert_eq!(found, expected, "{}@{} in {}", local, domain, written(&table));
    }

    #[test]
    fn nothing_goes_outside_the_table(table in table(), text in "(\"[ -~]{1,9}\"|[!-~]{1,9})@(in|shop|any)\\.example") {
        let Ok(recipient) = Address::parse(&text) else { return Ok(()) };
        let routes = parse(&written(&table));
        let allowed: BTreeSet<_> = table.iter().flat_map(|(_, all)| all).map(String::as_str).chain(["@out.example"]).collect();
        for destination in routes.lookup(&recipient).into_iter().flat_map(|line| line.destinations) {
            let kept = format!("@{}", destination.domain());
            prop_assert!(
                allowed.contains(&*destination.to_string())
                    || (destination.local() == recipient.local() && allowed.contains(&*kept)),
                "{} to {}", recipient, destination
            );
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(\\[routes\\]\n)?(\\PC|[\"'@=\\[\\]{}.,#\\\\\n\r\t x1]){0,200}") {
        check_places(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_places(&bytes);
    }

    /// A file that someone was still writing when it was read.
    #[test]
    fn any_part_of_a_file_is_read_or_refused(from in 0..FILE.len(), to in 0..FILE.len(), inserted in "[\"'@=\\[\\]{}\n]{0,3}") {
        check_places(&[&FILE.as_bytes()[..from], inserted.as_bytes(), &FILE.as_bytes()[to..]].concat());
    }
}

/// Reads a file; every problem lies in it, and they are in order.
fn check_places(file: &[u8]) {
    let checked = Routes::check(file, &domains("in.example"), Some("out.example"));
    let text = String::from_utf8_lossy(file);
    let lines: Vec<_> = text.split('\n').collect();
    for problems in [checked.routes.as_ref().err(), Some(&checked.warnings)].into_iter().flatten() {
        assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)), "{problems:?}");
        for problem in problems {
            let line = lines.get(problem.line - 1).unwrap_or_else(|| panic!("{problem:?} is behind the end"));
            assert!((1..=line.chars().count() + 1).contains(&problem.column), "{problem:?} in {line:?}");
        }
    }
}

/// The manual's first file and the table under it, and the README's file.
#[test]
fn ok_the_manual_tells_the_truth() {
    let manual = include_str!("../../docs/routes.md");
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (file, rest) = rest.split_once("```").unwrap();
    let routes = parse(file);
    let rows: Vec<_> = rest
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .collect();
    assert!(rows.len() >= 7, "{rows:?}");
    for (recipient, destinations) in rows {
        let expected =
            if destinations.starts_with("nobody") { String::new() } else { destinations.replace(',', "") };
        let found = find(&routes, recipient).map(|(_, _, destinations)| destinations);
        assert_eq!(found, Some(expected), "{recipient}");
    }

    let (_, rest) = include_str!("../../README.md").split_once("```toml\n").unwrap();
    let routes = parse(rest.split_once("```").unwrap().0);
    for (recipient, expected) in [
        ("sales@in.example", "ann@out.example bob@else.example"),
        ("ann+shop@in.example", "shopping@else.example"),
        ("old-shop+x@in.example", ""),
        ("jane+x@in.example", "jane+x@new.example"),
        ("anyone@in.example", "me@out.example"),
    ] {
        let found = find(&routes, recipient).map(|(_, _, destinations)| destinations);
        assert_eq!(found.as_deref(), Some(expected), "{recipient}");
    }
}

#[test]
fn ok_a_number_of_answers_in_every_notation_of_toml() {
    for (number, expected) in
        [("64", Some(64)), ("0x64", Some(100)), ("0o144", Some(100)), ("1_00", Some(100)), ("0b0", None)]
    {
        let file = format!("[replies]\nper-hour = {number}\n");
        let routes = Routes::parse(file.as_bytes(), &domains("in.example"), None).ok();
        assert_eq!(routes.map(|routes| routes.replies().per_hour), expected, "{number}");
    }
}

#[test]
fn ok_recipients_that_a_rule_has_to_take() {
    let two = domains("in.example, second.example");
    for (file, expected) in [
        // The default is no line.
        ("", ""),
        ("\"info@in.example\" = \"a@x.example\"", "info@in.example"),
        ("\"info+a@in.example\" = []\n\"info@in.example\" = []", "info@in.example"),
        ("\"old@in.example\" = \"refuse\"", ""),
        ("\"abuse\" = \"a@x.example\"", "abuse@in.example,abuse@second.example"),
        ("\"abuse\" = \"a@x.example\"\n\"@in.example\" = []", "abuse@second.example,in.example"),
        ("\"abuse\" = \"a@x.example\"\n\"abuse@second.example\" = \"refuse\"", "abuse@in.example"),
        ("\"@\" = \"a@x.example\"\n\"b@in.example\" = []", "in.example,second.example"),
        ("\"@*.in.example\" = []\n\"x@a.in.example\" = []", ".in.example"),
        ("'\"john doe\"@in.example' = []", "\"john doe\"@in.example"),
        // A line for a name with a tag alone, beside one that refuses the others.
        (
            "\"shop+news\" = \"a@x.example\"\n\"@in.example\" = \"refuse\"",
            "shop@in.example,shop@second.example",
        ),
        ("\"shop+news\" = []\n\"shop\" = \"refuse\"", "shop@in.example,shop@second.example"),
        ("\"shop+news\" = []\n\"shop+news@in.example\" = \"refuse\"", "shop@second.example"),
    ] {
        let file = format!("[routes]\n{file}\n");
        let routes = Routes::parse(file.as_bytes(), &two, Some("out.example")).unwrap();
        let recipients: Vec<_> = routes.recipients(&two).into_iter().collect();
        assert_eq!(recipients.join(","), expected, "{file}");
    }
}
