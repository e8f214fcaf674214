//! `cargo local routes`: what it prints, and how it exits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

/// Runs it in a folder with this `routes.toml`; the exit code, and everything printed.
fn routes(arguments: &[&str], file: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("routes.toml"), file).unwrap();
    let domains = ["--parameter", "EmailDomain=in.example", "--parameter", "DestinationDomain=out.example"];
    support::run(folder.path(), &[&["routes"], arguments, &domains].concat())
}

#[test]
fn ok_check_prints_problems_as_compilers_do() {
    let file = r#"[routes]
"sales@in.example" = ["ann@out.example", "bob@else.example"]
"Sales@in.example" = "ann@in.example"
"abuse" = 5
"#;
    let printed = r#"routes.toml:3:1: warning: "Sales@in.example" never matches: line 2 is for the same
routes.toml:3:22: error: "ann@in.example" leads back into in.example, so mail would go round; allowed is any other domain
routes.toml:4:11: error: found an integer; allowed are "user@domain", "@domain", a list of these, [] to discard and "refuse"
routes.toml: 2 errors, 1 warning
"#;
    assert_eq!(routes(&["check", "routes.toml"], file), (Some(1), printed.to_owned()));
    let fine = "[routes]\n\"abuse\" = \"ann@out.example\"\n\"@in.example\" = []\n";
    let printed = "routes.toml: 2 lines, 0 errors, 0 warnings\n";
    assert_eq!(routes(&["check", "routes.toml"], fine), (Some(0), printed.to_owned()));
    let printed = "error: nowhere.toml: No such file or directory (os error 2)\n";
    assert_eq!(routes(&["check", "nowhere.toml"], fine), (Some(1), printed.to_owned()));
}

#[test]
fn ok_explain_shows_every_key_up_to_the_one_that_decides() {
    let file = "[routes]\n\"ann@in.example\" = [\"ann@out.example\", \"@else.example\"]\n\"noreply\" = []\n";
    for (arguments, printed) in [
        (
            &["explain", "Ann+x@in.example", "--routes", "routes.toml"][..],
            r#"Ann+x@in.example
  "ann+x@in.example"                       no line
  "ann@in.example"                         line 2: the address without its tag
  goes to ann@out.example, Ann+x@else.example
"#,
        ),
        (
            &["explain", "noreply@shop.example", "--routes", "routes.toml"],
            r#"noreply@shop.example
  "noreply@shop.example"                   no line
  "noreply"                                line 3: the local part, at any received domain
  dropped: discarded
"#,
        ),
        (
            &["explain", "bob@in.example"],
            r#"bob@in.example
  "bob@in.example"                         no line
  "bob"                                    no line
  "@in.example"                            the default: everyone else at the domain
  goes to bob@out.example
"#,
        ),
        (
            &["explain", "bob@shop.example"],
            r#"bob@shop.example
  "bob@shop.example"                       no line
  "bob"                                    no line
  "@shop.example"                          no line
  "@*.example"                             no line
  "@"                                      no line
  dropped: no-route
"#,
        ),
    ] {
        assert_eq!(routes(arguments, file), (Some(0), printed.to_owned()), "{arguments:?}");
    }
    let (code, printed) = routes(&["explain", "bob@in.example", "--routes", "routes.toml"], "routes = 1");
    assert_eq!(code, Some(1));
    assert_eq!(printed, "routes.toml:1:1: error: routes is an integer; it has to be one table, [routes]\n");
}
