//! The short form of `cargo local dictionary`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ses_forwarder_local_stack::Config;
use ses_forwarder_local_trials::dictionary::{self, Dictionary};

#[tokio::test]
async fn names_that_do_not_exist_bounce_once_and_then_no_more() {
    // Enough that the list is read again before the second round: that takes seconds.
    let dictionary = Dictionary { messages: 600, names: 200, connections: 1 };
    let account = dictionary::run(Config::default(), dictionary).await.unwrap();
    assert_eq!((account.accepted, account.listed, account.notices), (600, 200, 0), "{account}");
    assert!(account.bounced + account.held == 600 && account.held > 0, "{account}");
}
