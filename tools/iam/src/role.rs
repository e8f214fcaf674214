//! Execution roles, which remember what was used of them.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

use crate::{
    pattern::{action_like, resource_like},
    policy::{Call, Decision, Policy, Principal, Statement},
};

/// An execution role: its policy, and which of its grants were used. Clones share the latter.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// ARN.
    pub arn: String,
    /// What it allows.
    pub policy: Policy,
    used: Arc<Mutex<BTreeSet<Grant>>>,
}

/// An action pattern with a resource pattern that a statement allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Action pattern.
    pub action: String,
    /// Resource pattern.
    pub resource: String,
    /// The statement's `Sid`.
    pub sid: Option<String>,
}

impl Role {
    /// A role of which nothing has been used yet.
    pub fn new(arn: impl Into<String>, policy: Policy) -> Role {
        Role { arn: arn.into(), policy, used: Arc::default() }
    }

    /// Whether the role allows a call, without noting it as used.
    pub fn allows(&self, call: &Call) -> bool {
        self.policy.decision(None, call) == Decision::Allowed
    }

    /// Whether the role allows a call; notes the matching grants as used if so. An error is the
    /// sentence AWS would say.
    pub fn check(&self, call: &Call) -> Result<(), String> {
        self.check_with(None, call)
    }

    /// The same for a resource that may have a policy of its own, which can deny or allow too.
    pub fn check_with(&self, resource_policy: Option<&Policy>, call: &Call) -> Result<(), String> {
        let own = self.policy.decision(None, call);
        let principal = Principal::Role(self.arn.clone());
        let resource = resource_policy.map_or(Decision::NotAllowed, |policy| policy.decide(&principal, call));
        let reason = match (own, resource) {
            (Decision::Denied, _) => "with an explicit deny in an identity-based policy".to_owned(),
            (_, Decision::Denied) => "with an explicit deny in a resource-based policy".to_owned(),
            (Decision::Allowed, _) => {
                self.note(call);
                return Ok(());
            }
            (_, Decision::Allowed) => return Ok(()),
            _ => format!("because no identity-based policy allows the {} action", call.action),
        };
        Err(format!(
            "User: {} is not authorized to perform: {} on resource: \"{}\" {reason}",
            self.arn, call.action, call.resource
        ))
    }

    fn note(&self, call: &Call) {
        let mut used = self.used.lock().expect("no holder of this lock panics");
        for statement in &self.policy.statements {
            if statement.allow && statement.matches(None, call) {
                used.extend(statement.grants().filter(|grant| {
                    action_like(&grant.action, &call.action) && resource_like(&grant.resource, &call.resource)
                }));
            }
        }
    }

    /// Grants that some call has used.
    pub fn used(&self) -> BTreeSet<Grant> {
        self.used.lock().expect("no holder of this lock panics").clone()
    }

    /// Grants that no call has used.
    pub fn unused(&self) -> BTreeSet<Grant> {
        let used = self.used();
        let allowing = self.policy.statements.iter().filter(|statement| statement.allow);
        allowing.flat_map(Statement::grants).filter(|grant| !used.contains(grant)).collect()
    }
}

impl Statement {
    fn grants(&self) -> impl Iterator<Item = Grant> {
        self.actions.iter().flat_map(move |action| {
            self.resources.iter().map(move |resource| Grant {
                action: action.clone(),
                resource: resource.clone(),
                sid: self.sid.clone(),
            })
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)?;
        self.sid.iter().try_for_each(|sid| write!(f, " ({sid})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Condition;

    fn call(action: &str, resource: &str, context: &[(&str, &str)]) -> Call {
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Call { action: action.to_owned(), resource: resource.to_owned(), context }
    }

    fn allow(actions: &[&str], resources: &[&str]) -> Statement {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Statement {
            sid: None,
            allow: true,
            principals: vec![],
            actions: owned(actions),
            resources: owned(resources),
            conditions: vec![],
        }
    }

    fn condition(operator: &str, key: &str, values: &[&str]) -> Condition {
        Condition::new(operator, key, values.iter().map(|value| (*value).to_owned()).collect()).unwrap()
    }

    #[test]
    fn actions_and_resources() {
        let bucket = "arn:aws:s3:::mail";
        let cases = [
            (
                "s3:GetObject",
                "arn:aws:s3:::mail/messages/*",
                "s3:GetObject",
                "arn:aws:s3:::mail/messages/a/b",
                true,
            ),
            ("s3:getobject", "*", "s3:GetObject", "arn:aws:s3:::mail/x", true),
            ("s3:Get*", "arn:aws:s3:::mail/*", "s3:GetObjectTagging", "arn:aws:s3:::mail/x", true),
            ("s3:*", bucket, "s3:ListBucket", bucket, true),
            ("s3:*", bucket, "s3:GetObject", "arn:aws:s3:::mail/x", false),
            (
                "s3:GetObject",
                "arn:aws:s3:::mail/messages/*",
                "s3:GetObject",
                "arn:aws:s3:::mail/error/x",
                false,
            ),
            ("s3:GetObject", "arn:aws:s3:::MAIL/*", "s3:GetObject", "arn:aws:s3:::mail/x", false),
            ("s3:GetObject", "arn:aws:s3:::mail/?", "s3:GetObject", "arn:aws:s3:::mail/xy", false),
            (
                "ses:SendEmail",
                "arn:aws:ses:*:1:identity/*",
                "ses:SendEmail",
                "arn:aws:ses:eu-west-1:1:identity/x",
                true,
            ),
            ("ses:SendEmail", "arn:aws:ses:*", "ses:SendEmail", "arn:aws:ses:eu-west-1:1:identity/x", true),
            ("ses:SendEmail", "arn:aws:s3:*", "ses:SendEmail", "arn:aws:ses:eu-west-1:1:identity/x", false),
            ("*", "*", "sqs:SendMessage", "arn:aws:sqs:eu-west-1:1:q", true),
        ];
        for (action, resource, called, on, expected) in cases {
            let role = Role::new("r", Policy { statements: vec![allow(&[action], &[resource])] });
            assert_eq!(
                role.check(&call(called, on, &[])).is_ok(),
                expected,
                "{action} {resource} {called} {on}"
            );
        }
    }

    #[test]
    fn a_deny_wins() {
        let deny = Statement { allow: false, ..allow(&["s3:PutObject"], &["arn:aws:s3:::mail/config/*"]) };
        let role = Role::new("arn:r", Policy { statements: vec![allow(&["s3:*"], &["*"]), deny] });
        assert_eq!(role.check(&call("s3:PutObject", "arn:aws:s3:::mail/x", &[])), Ok(()));
        assert_eq!(
            role.check(&call("s3:PutObject", "arn:aws:s3:::mail/config/x", &[])),
            Err("User: arn:r is not authorized to perform: s3:PutObject on resource: \
                 \"arn:aws:s3:::mail/config/x\" with an explicit deny in an identity-based policy"
                .to_owned())
        );
        assert_eq!(
            role.check(&call("ses:SendEmail", "arn:aws:ses:::x", &[])),
            Err("User: arn:r is not authorized to perform: ses:SendEmail on resource: \"arn:aws:ses:::x\" \
                 because no identity-based policy allows the ses:SendEmail action"
                .to_owned())
        );
    }

    #[test]
    fn resource_policies_know_their_principal() {
        let rule = "arn:aws:ses:eu-west-1:1:receipt-rule-set/s:receipt-rule/r";
        let ses = Statement {
            principals: vec![Principal::Service("ses.amazonaws.com".to_owned())],
            conditions: vec![condition("StringEquals", "aws:SourceArn", &[rule])],
            ..allow(&["s3:PutObject"], &["arn:aws:s3:::mail/messages/*"])
        };
        let tls = Statement {
            allow: false,
            principals: vec![Principal::Everyone],
            conditions: vec![condition("Bool", "aws:SecureTransport", &["false"])],
            ..allow(&["s3:*"], &["arn:aws:s3:::mail/*"])
        };
        let policy = Policy { statements: vec![ses, tls] };
        let ses = Principal::Service("ses.amazonaws.com".to_owned());
        let sns = Principal::Service("sns.amazonaws.com".to_owned());
        let put = |context: &[(&str, &str)]| call("s3:PutObject", "arn:aws:s3:::mail/messages/x", context);
        let by_rule = put(&[("aws:SourceArn", rule)]);
        assert_eq!(policy.decide(&ses, &by_rule), Decision::Allowed);
        assert_eq!(policy.decide(&sns, &by_rule), Decision::NotAllowed);
        assert_eq!(
            policy.decide(&ses, &put(&[("aws:SourceArn", "arn:aws:ses:::other")])),
            Decision::NotAllowed
        );
        let plain = put(&[("aws:SourceArn", rule), ("aws:SecureTransport", "false")]);
        assert_eq!(policy.decide(&ses, &plain), Decision::Denied);

        let role = Role::new("arn:r", Policy { statements: vec![allow(&["s3:PutObject"], &["*"])] });
        assert!(role.check_with(Some(&policy), &by_rule).is_ok());
        let error = role.check_with(Some(&policy), &plain).unwrap_err();
        assert!(error.ends_with("with an explicit deny in a resource-based policy"), "{error}");
    }

    #[test]
    fn used_and_unused_grants() {
        let sid = Statement {
            sid: Some("Read".to_owned()),
            ..allow(&["s3:GetObject", "s3:ListBucket"], &["arn:aws:s3:::b", "arn:aws:s3:::b/*"])
        };
        let role = Role::new("r", Policy { statements: vec![sid, allow(&["sqs:*"], &["*"])] });
        let clone = role.clone();
        clone.check(&call("s3:GetObject", "arn:aws:s3:::b/x", &[])).unwrap();
        clone.check(&call("sns:Publish", "arn:aws:s3:::b/x", &[])).unwrap_err();
        let unused: Vec<_> = role.unused().iter().map(Grant::to_string).collect();
        assert_eq!(
            unused,
            [
                "s3:GetObject on arn:aws:s3:::b (Read)",
                "s3:ListBucket on arn:aws:s3:::b (Read)",
                "s3:ListBucket on arn:aws:s3:::b/* (Read)",
                "sqs:* on *"
            ]
        );
    }
}
