//! Policies and what they say of a call.

use std::collections::BTreeMap;

use crate::{
    condition::Condition,
    pattern::{action_like, resource_like},
};

/// A policy document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its statements.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `Sid`, if it has one.
    pub sid: Option<String>,
    /// `Effect: Allow`, else `Deny`.
    pub allow: bool,
    /// Whom a resource policy is about; empty in a role's.
    pub principals: Vec<Principal>,
    /// Action patterns.
    pub actions: Vec<String>,
    /// Resource patterns.
    pub resources: Vec<String>,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// Who calls, or whom a statement of a resource policy is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// `*`.
    Everyone,
    /// A service, such as `ses.amazonaws.com`.
    Service(String),
    /// The ARN of a role.
    Role(String),
    /// Somebody whom nothing here can be: an account, a user, a federated identity; as the document says.
    Other(String, String),
}

/// What somebody wants to do.
#[derive(Debug, Clone)]
pub struct Call {
    /// Such as `s3:GetObject`.
    pub action: String,
    /// Such as `arn:aws:s3:::bucket/messages/x`.
    pub resource: String,
    /// Condition keys and values, such as `ses:FromAddress`; keys have no case. What a resource policy is asked has
    /// those of its principal too.
    pub context: BTreeMap<String, String>,
}

/// What a policy says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// An `Allow` matches and no `Deny`.
    Allowed,
    /// A `Deny` matches.
    Denied,
    /// Nothing matches.
    NotAllowed,
}

impl Statement {
    /// Whether it is about this call by this principal; a role's statements have no principal.
    pub(crate) fn matches(&self, principal: Option<&Principal>, call: &Call) -> bool {
        self.principals_match(principal)
            && self.actions.iter().any(|pattern| action_like(pattern, &call.action))
            && self.resources.iter().any(|pattern| resource_like(pattern, &call.resource))
            && self.conditions.iter().all(|condition| condition.holds(&call.context))
    }

    fn principals_match(&self, principal: Option<&Principal>) -> bool {
        match principal {
            None => true,
            Some(principal) => {
                self.principals.iter().any(|named| *named == Principal::Everyone || named == principal)
            }
        }
    }
}

impl Principal {
    /// The condition keys that AWS sets by who calls: a policy that keeps out whoever is not of an organisation makes
    /// an exception of services by them.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
    fn keys(&self) -> Vec<(&'static str, &str)> {
        const IS_SERVICE: &str = "aws:PrincipalIsAWSService";
        match self {
            Principal::Service(name) => vec![(IS_SERVICE, "true"), ("aws:PrincipalServiceName", name)],
            Principal::Role(_) | Principal::Other(..) => vec![(IS_SERVICE, "false")],
            // Whoever does not say who it is.
            Principal::Everyone => vec![],
        }
    }
}

impl Policy {
    /// What a resource policy says of a call by a principal.
    pub fn decide(&self, principal: &Principal, call: &Call) -> Decision {
        let mut call = call.clone();
        call.context.extend(principal.keys().iter().map(|(key, value)| ((*key).into(), (*value).into())));
        self.decision(Some(principal), &call)
    }

    pub(crate) fn decision(&self, principal: Option<&Principal>, call: &Call) -> Decision {
        let mut decision = Decision::NotAllowed;
        for statement in self.statements.iter().filter(|statement| statement.matches(principal, call)) {
            if !statement.allow {
                return Decision::Denied;
            }
            decision = Decision::Allowed;
        }
        decision
    }
}
