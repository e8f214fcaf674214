//! IAM policies as far as the template uses them: actions and resources with `*` and `?`, the
//! condition operators it has, explicit denies first. An operator or key that is not known is an
//! error when the template is read, not a guess at run time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// A policy document.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Its statements.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// `Sid`, if it has one.
    pub sid: Option<String>,
    /// `Effect: Allow`, else `Deny`.
    pub allow: bool,
    /// Service principals and account ARNs of a resource policy; `*` is everyone; empty in a role.
    pub principals: Vec<String>,
    /// Action patterns.
    pub actions: Vec<String>,
    /// Resource patterns.
    pub resources: Vec<String>,
    /// Operator, key, values.
    pub conditions: Vec<(String, String, Vec<String>)>,
}

/// What somebody wants to do.
#[derive(Debug, Clone)]
pub struct Call {
    /// Such as `s3:GetObject`.
    pub action: String,
    /// Such as `arn:aws:s3:::bucket/messages/x`.
    pub resource: String,
    /// Condition keys and values, such as `ses:FromAddress`.
    pub context: BTreeMap<String, String>,
}

/// An execution role: its policy, and which of its actions were used.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// What it allows.
    pub policy: Policy,
    used: Arc<Mutex<std::collections::BTreeSet<(String, String)>>>,
}

impl Role {
    /// Whether the role allows a call; notes the statement's action as used if so. An error is the
    /// sentence AWS would say.
    pub fn check(&self, call: &Call) -> Result<(), String> {
        todo!("{call:?}")
    }

    /// Allowed actions with their resource pattern that no call has used.
    pub fn unused(&self) -> Vec<(String, String)> {
        todo!()
    }
}
