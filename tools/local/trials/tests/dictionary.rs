//! The short form of `cargo local dictionary`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ses_forwarder_local_stack::Config;
use ses_forwarder_local_trials::dictionary::{self, Dictionary};

#[tokio::test]
async fn names_that_do_not_exist_bounce_once_and_then_no_more() {
    let dictionary = Dictionary { messages: 300, names: 100, connections: 1, routes: None, patient: true };
    let account = dictionary::run(Config::default(), dictionary).await.unwrap();
    assert_eq!((account.accepted, account.listed, account.notices), (300, 100, 0), "{account}");
    assert_eq!((account.bounced, account.held), (100, 200), "{account}");
}

/// With a list of those who exist, in the rule or in the routes, nothing bounces at all.
#[tokio::test]
async fn names_that_a_list_leaves_out_do_not_bounce() {
    let routes = "[routes]\n\"info\" = \"ann@out.example\"\n\"@in.example\" = []\n";
    let dictionary =
        Dictionary { messages: 200, names: 100, connections: 1, routes: Some(routes), patient: false };
    let account = dictionary::run(Config::default(), dictionary).await.unwrap();
    assert_eq!((account.accepted, account.dropped), (200, 200), "{account}");
    assert_eq!((account.bounced, account.held, account.listed, account.notices), (0, 0, 0, 0), "{account}");

    let mut config = Config::default();
    config.parameters.insert("Recipients".to_owned(), "info@in.example".to_owned());
    let account = dictionary::run(config, Dictionary { routes: None, ..dictionary }).await.unwrap();
    assert_eq!((account.accepted, account.refused, account.bounced), (0, 200, 0), "{account}");
}
