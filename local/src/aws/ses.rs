//! SES v2 sending.

use std::collections::BTreeSet;

/// The SES account as far as it decides about sending.
#[derive(Debug, Clone)]
pub struct Account {
    /// Verified domains and addresses, lower case.
    pub identities: BTreeSet<String>,
    /// Whether recipients must be verified too.
    pub sandbox: bool,
    /// Off while SES has paused sending.
    pub sending_enabled: bool,
    /// Configuration sets that exist.
    pub configuration_sets: BTreeSet<String>,
    /// Recipients a second; `None` is no limit.
    pub max_send_rate: Option<u32>,
    /// Recipients in 24 hours; `None` is no limit.
    pub max_24_hour_send: Option<u32>,
}

/// Takes outgoing mail.
#[derive(Debug, Clone)]
pub struct Sender {}

impl Sender {
    /// Changes the account.
    pub fn configure(&self, change: impl FnOnce(&mut Account)) {
        let _ = change;
        todo!()
    }
}
