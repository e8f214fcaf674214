//! The short form of `cargo local load`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use ses_forwarder_local_stack::{Config, Stack};
use ses_forwarder_local_trials::load::{self, Load};

#[tokio::test]
async fn every_message_is_accounted_for_while_calls_fail() {
    let stack = Stack::start(Config::default()).await.unwrap();
    let load = Load { messages: 300, time: Duration::ZERO, connections: 4, fault_percent: 5 };
    let account = load::run(&stack, load).await.unwrap();
    assert!(account.balances(), "{account}{:#?}", account.problems);
    assert_eq!(account.accepted, 300);
    assert!(account.faults > 0 && account.dropped > 0 && account.dead_lettered > 0, "{account}");
}
