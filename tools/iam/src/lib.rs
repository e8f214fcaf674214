//! IAM policies as far as the template uses them: actions and resources with `*` and `?`, explicit
//! denies first, the condition operators and keys of [`Condition::new`].
//!
//! Not supported: `NotAction`, `NotResource`, `NotPrincipal`, policy variables, conditions on keys
//! with several values, permission boundaries. Each is an error when the template is read, not a
//! guess at run time.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

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
}

/// One operator on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    operator: Operator,
    negated: bool,
    if_exists: bool,
    /// In lower case, as IAM's keys have no case.
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    EqualsIgnoreCase,
    Like,
    ArnLike,
    Bool,
    Null,
}

/// What somebody wants to do.
#[derive(Debug, Clone)]
pub struct Call {
    /// Such as `s3:GetObject`.
    pub action: String,
    /// Such as `arn:aws:s3:::bucket/messages/x`.
    pub resource: String,
    /// Condition keys and values, such as `ses:FromAddress`; keys have no case.
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

/// Condition keys that the services here set: those that a template may ask for.
const KEYS: &[&str] = &[
    "aws:PrincipalArn",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    "s3:prefix",
    "ses:FromAddress",
];

impl Condition {
    /// Reads an operator and key as a policy names them; an error is a sentence.
    ///
    /// A missing key fails a condition, except a negated one and with `…IfExists`.
    pub fn new(operator: &str, key: &str, values: Vec<String>) -> Result<Condition, String> {
        if !KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            return Err(format!("condition key {key} is not known here; known are {}", KEYS.join(", ")));
        }
        let (base, if_exists) = match operator.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (operator, false),
        };
        let (known, negated) = match base {
            "StringEquals" => (Operator::Equals, false),
            "StringNotEquals" => (Operator::Equals, true),
            "StringEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, true),
            "StringLike" => (Operator::Like, false),
            "StringNotLike" => (Operator::Like, true),
            "ArnEquals" | "ArnLike" => (Operator::ArnLike, false),
            "ArnNotEquals" | "ArnNotLike" => (Operator::ArnLike, true),
            "Bool" => (Operator::Bool, false),
            "Null" if !if_exists => (Operator::Null, false),
            _ => return Err(format!("condition operator {operator} is not known here")),
        };
        if matches!(known, Operator::Bool | Operator::Null)
            && let Some(value) = values.iter().find(|value| !["true", "false"].contains(&value.as_str()))
        {
            return Err(format!("{operator} takes true or false, not {value:?}"));
        }
        Ok(Condition { operator: known, negated, if_exists, key: key.to_ascii_lowercase(), values })
    }

    fn holds(&self, context: &BTreeMap<String, String>) -> bool {
        let actual =
            context.iter().find(|(key, _)| key.eq_ignore_ascii_case(&self.key)).map(|(_, value)| value);
        if self.operator == Operator::Null {
            return self.values.iter().any(|value| (value == "true") == actual.is_none());
        }
        let Some(actual) = actual else { return self.negated || self.if_exists };
        let matches = self.values.iter().any(|value| match self.operator {
            Operator::Equals => value == actual,
            Operator::EqualsIgnoreCase | Operator::Bool => value.eq_ignore_ascii_case(actual),
            Operator::Like => like(value, actual),
            Operator::ArnLike => arn_like(value, actual),
            Operator::Null => false,
        });
        matches != self.negated
    }

    /// The operator as a policy names it.
    fn operator(&self) -> String {
        let base = match (self.operator, self.negated) {
            (Operator::Equals, false) => "StringEquals",
            (Operator::Equals, true) => "StringNotEquals",
            (Operator::EqualsIgnoreCase, false) => "StringEqualsIgnoreCase",
            (Operator::EqualsIgnoreCase, true) => "StringNotEqualsIgnoreCase",
            (Operator::Like, false) => "StringLike",
            (Operator::Like, true) => "StringNotLike",
            (Operator::ArnLike, false) => "ArnLike",
            (Operator::ArnLike, true) => "ArnNotLike",
            (Operator::Bool, _) => "Bool",
            (Operator::Null, _) => "Null",
        };
        format!("{base}{}", if self.if_exists { "IfExists" } else { "" })
    }
}

impl Statement {
    /// As it stands in a policy document.
    fn document(&self) -> Value {
        let mut document = json!({
            "Effect": if self.allow { "Allow" } else { "Deny" },
            "Action": self.actions,
            "Resource": self.resources,
        });
        if let Some(sid) = &self.sid {
            document["Sid"] = json!(sid);
        }
        for principal in &self.principals {
            let (kind, name) = match principal {
                Principal::Everyone => ("AWS", "*"),
                Principal::Service(name) => ("Service", name.as_str()),
                Principal::Role(arn) => ("AWS", arn.as_str()),
            };
            match &mut document["Principal"][kind] {
                Value::Array(names) => names.push(json!(name)),
                none => *none = json!([name]),
            }
        }
        for condition in &self.conditions {
            document["Condition"][condition.operator()][&condition.key] = json!(condition.values);
        }
        document
    }

    /// Whether it is about this call by this principal; a role's statements have no principal.
    fn matches(&self, principal: Option<&Principal>, call: &Call) -> bool {
        self.principals_match(principal)
            && self.actions.iter().any(|pattern| action_like(pattern, &call.action))
            && self.resources.iter().any(|pattern| arn_like(pattern, &call.resource))
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

impl Policy {
    /// The policy as a document that says the same.
    pub fn document(&self) -> Value {
        let statements: Vec<_> = self.statements.iter().map(Statement::document).collect();
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// What a resource policy says of a call by a principal.
    pub fn decide(&self, principal: &Principal, call: &Call) -> Decision {
        self.decision(Some(principal), call)
    }

    fn decision(&self, principal: Option<&Principal>, call: &Call) -> Decision {
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
                    action_like(&grant.action, &call.action) && arn_like(&grant.resource, &call.resource)
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

/// Action names have no case.
fn action_like(pattern: &str, action: &str) -> bool {
    like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// A wildcard of one of the first five parts of an ARN stays within that part.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>
pub fn arn_like(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let patterns: Vec<_> = pattern.splitn(6, ':').collect();
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| like(pattern, part))
}

/// `*` stands for any characters, `?` for one.
fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on from if what follows the last star does not fit: one character further.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            ("ses:SendEmail", "arn:aws:ses:*", "ses:SendEmail", "arn:aws:ses:eu-west-1:1:identity/x", false),
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
    fn conditions() {
        let from = |address| vec![("ses:FromAddress", address)];
        let none: Vec<(&str, &str)> = vec![];
        let cases = [
            (condition("StringEquals", "ses:FromAddress", &["a", "b"]), from("b"), true),
            (condition("StringEquals", "ses:FromAddress", &["a"]), from("A"), false),
            (condition("StringEquals", "SES:fromaddress", &["a"]), from("a"), true),
            (condition("StringEquals", "ses:FromAddress", &["a"]), none.clone(), false),
            (condition("StringEqualsIfExists", "ses:FromAddress", &["a"]), none.clone(), true),
            (condition("StringEqualsIfExists", "ses:FromAddress", &["a"]), from("b"), false),
            (condition("StringNotEquals", "ses:FromAddress", &["a", "b"]), from("b"), false),
            (condition("StringNotEquals", "ses:FromAddress", &["a", "b"]), none.clone(), true),
            (condition("StringEqualsIgnoreCase", "ses:FromAddress", &["a"]), from("A"), true),
            (condition("StringLike", "ses:FromAddress", &["*@in.example"]), from("x@in.example"), true),
            (condition("StringLike", "ses:FromAddress", &["*@in.example"]), from("x@in.example.evil"), false),
            (condition("StringNotLike", "ses:FromAddress", &["*@in.example"]), from("x@in.example"), false),
            (
                condition("ArnLike", "aws:SourceArn", &["arn:aws:ses:*:1:r/*"]),
                vec![("aws:SourceArn", "arn:aws:ses:x:1:r/a")],
                true,
            ),
            (
                condition("ArnEquals", "aws:SourceArn", &["arn:aws:*:1:r/*"]),
                vec![("aws:SourceArn", "arn:aws:ses:x:1:r/a")],
                false,
            ),
            (
                condition("Bool", "aws:SecureTransport", &["false"]),
                vec![("aws:SecureTransport", "true")],
                false,
            ),
            (
                condition("Bool", "aws:SecureTransport", &["false"]),
                vec![("aws:SecureTransport", "false")],
                true,
            ),
            (condition("Null", "s3:prefix", &["true"]), none.clone(), true),
            (condition("Null", "s3:prefix", &["false"]), vec![("s3:prefix", "")], true),
            (condition("Null", "s3:prefix", &["false"]), none, false),
        ];
        for (condition, context, expected) in cases {
            let call = call("a", "b", &context);
            assert_eq!(condition.holds(&call.context), expected, "{condition:?} {context:?}");
        }
    }

    #[test]
    fn err_conditions() {
        let cases = [
            ("StringEquals", "aws:UserId", "x", "condition key aws:UserId is not known here; known are"),
            (
                "ForAllValues:StringLike",
                "ses:FromAddress",
                "x",
                "condition operator ForAllValues:StringLike is not known",
            ),
            ("NullIfExists", "ses:FromAddress", "true", "condition operator NullIfExists is not known here"),
            ("DateLessThan", "ses:FromAddress", "x", "condition operator DateLessThan is not known here"),
            ("Bool", "aws:SecureTransport", "yes", "Bool takes true or false, not \"yes\""),
        ];
        for (operator, key, value, message) in cases {
            let error = Condition::new(operator, key, vec![value.to_owned()]).unwrap_err();
            assert!(error.contains(message), "{operator} {key}: {error}");
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

    proptest! {
        /// The matcher agrees with the same pattern as a regular expression.
        #[test]
        fn like_is_a_regular_expression(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let expression: String = pattern
                .chars()
                .map(|c| match c {
                    '*' => ".*".to_owned(),
                    '?' => ".".to_owned(),
                    c => c.to_string(),
                })
                .collect();
            let expected = fancy_regex::Regex::new(&format!("^{expression}$")).unwrap().is_match(&text).unwrap();
            prop_assert_eq!(like(&pattern, &text), expected);
        }
    }
}
