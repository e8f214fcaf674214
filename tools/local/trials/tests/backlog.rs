//! The short forms of `cargo local backlog`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ses_forwarder_local_stack::Config;
use ses_forwarder_local_trials::backlog::{self, Backlog};

#[tokio::test]
async fn days_of_paused_sending_end_by_themselves() {
    let backlog = Backlog { messages: 40, paused_hours: 72, rate: None, instances: 10, times: Some(10_000) };
    let account = backlog::run(Config::default(), backlog).await.unwrap();
    assert!(account.holds(), "{account}");
    assert!(account.notices.len() >= 2, "{account}");
}

#[tokio::test]
async fn a_burst_goes_out_at_the_pace_that_ses_takes() {
    let backlog = Backlog { messages: 100, paused_hours: 0, rate: Some(1), instances: 20, times: None };
    let account = backlog::run(Config::default(), backlog).await.unwrap();
    assert!(account.holds(), "{account}");
}
