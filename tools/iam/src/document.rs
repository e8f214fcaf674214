//! Policy documents: read, and written again.

use serde_json::{Value, json};

use crate::{
    condition::Condition,
    policy::{Call, Decision, Policy, Principal, Statement},
};

const VERSION: &str = "2012-10-17";

/// What is not understood of a document, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {pointer:?} of the policy)")]
pub struct Misread {
    /// JSON pointer (RFC 6901), empty for the document itself.
    pub pointer: String,
    /// What was found and what is known.
    pub message: String,
}

impl Policy {
    /// Reads a document all of which must be understood; condition keys must be among these.
    pub fn read(document: &Value, keys: &[&str]) -> Result<Policy, Misread> {
        let root = Place { value: document, pointer: String::new() };
        for (key, place) in root.members()? {
            match key {
                "Statement" => {}
                "Version" if place.text()? == VERSION => {}
                "Version" => return Err(place.expected(VERSION)),
                other => return Err(place.misread(format!("{other} of a policy is not known here"))),
            }
        }
        // Without it IAM takes a document as one of 2008.
        root.require("Version")?;
        let mut statements = vec![];
        for place in root.require("Statement")?.one_or_many() {
            statements.push(statement(&place, Some(keys))?);
        }
        Ok(Policy { statements })
    }

    /// The policy as a document that says the same.
    pub fn document(&self) -> Value {
        let statements: Vec<_> = self.statements.iter().map(Statement::document).collect();
        json!({ "Version": VERSION, "Statement": statements })
    }
}

/// What a document says of a call by a principal. Statements that are not understood are passed over where
/// the others decide; where they might decide, the first of them is the error.
pub fn decide(document: &Value, principal: &Principal, call: &Call) -> Result<Decision, Misread> {
    let root = Place { value: document, pointer: String::new() };
    let (mut understood, mut allowing, mut denying) = (vec![], None, None);
    for place in root.require("Statement")?.one_or_many() {
        match statement(&place, None) {
            Ok(statement) => understood.push(statement),
            Err(misread) if place.value["Effect"] == "Allow" => _ = allowing.get_or_insert(misread),
            Err(misread) => _ = denying.get_or_insert(misread),
        }
    }
    match (Policy { statements: understood }.decide(principal, call), denying, allowing) {
        (Decision::Allowed, Some(misread), _) | (Decision::NotAllowed, _, Some(misread)) => Err(misread),
        (decision, ..) => Ok(decision),
    }
}

fn statement(place: &Place<'_>, keys: Option<&[&str]>) -> Result<Statement, Misread> {
    const KNOWN: &[&str] = &["Action", "Condition", "Effect", "Principal", "Resource", "Sid"];
    if let Some((other, place)) = place.members()?.into_iter().find(|(key, _)| !KNOWN.contains(key)) {
        let known = KNOWN.join(", ");
        return Err(place.misread(format!("{other} of a statement is not known here; known are {known}")));
    }
    let effect = place.require("Effect")?;
    Ok(Statement {
        sid: place.get("Sid").map(|sid| sid.text()).transpose()?,
        allow: match effect.text()?.as_str() {
            "Allow" => true,
            "Deny" => false,
            _ => return Err(effect.expected("Allow or Deny")),
        },
        principals: place.get("Principal").map_or(Ok(vec![]), |place| principals(&place, keys.is_some()))?,
        actions: place.require("Action")?.texts()?,
        // A trust policy is about the role it belongs to and names no resource.
        resources: place.get("Resource").map_or(Ok(vec!["*".to_owned()]), |place| place.texts())?,
        conditions: place.get("Condition").map_or(Ok(vec![]), |place| conditions(&place, keys))?,
    })
}

fn conditions(place: &Place<'_>, keys: Option<&[&str]>) -> Result<Vec<Condition>, Misread> {
    let mut conditions = vec![];
    for (operator, place) in place.members()? {
        for (key, place) in place.members()? {
            if let Some(keys) = keys
                && !keys.iter().any(|known| known.eq_ignore_ascii_case(key))
            {
                let known = keys.join(", ");
                return Err(
                    place.misread(format!("condition key {key} is not known here; known are {known}"))
                );
            }
            let condition = Condition::new(operator, key, place.texts()?);
            conditions.push(condition.map_err(|message| place.misread(message))?);
        }
    }
    Ok(conditions)
}

fn principals(place: &Place<'_>, all_known: bool) -> Result<Vec<Principal>, Misread> {
    if place.value == "*" {
        return Ok(vec![Principal::Everyone]);
    }
    let mut principals = vec![];
    for (kind, place) in place.members()? {
        for name in place.texts()? {
            principals.push(match (kind, name.as_str()) {
                ("AWS", "*") => Principal::Everyone,
                ("AWS", arn) if arn.contains(":role/") => Principal::Role(name),
                ("Service", _) => Principal::Service(name),
                _ if all_known => {
                    return Err(place.misread(format!("principal {kind}: {name} is not known here")));
                }
                _ => Principal::Other(kind.to_owned(), name),
            });
        }
    }
    Ok(principals)
}

/// A value of a document, and where it stands.
struct Place<'v> {
    value: &'v Value,
    pointer: String,
}

impl<'v> Place<'v> {
    fn get(&self, key: &str) -> Option<Place<'v>> {
        let value = self.value.get(key)?;
        Some(Place { value, pointer: format!("{}/{key}", self.pointer) })
    }

    fn require(&self, key: &str) -> Result<Place<'v>, Misread> {
        self.get(key).ok_or_else(|| self.misread(format!("{key} is missing")))
    }

    fn members(&self) -> Result<Vec<(&'v str, Place<'v>)>, Misread> {
        let members = self.value.as_object().ok_or_else(|| self.expected("a mapping"))?;
        let place = |(key, value): (&'v String, &'v Value)| {
            (key.as_str(), Place { value, pointer: format!("{}/{key}", self.pointer) })
        };
        Ok(members.iter().map(place).collect())
    }

    /// The elements of a list, or a lone value as the only one, as IAM allows.
    fn one_or_many(&self) -> Vec<Place<'v>> {
        match self.value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, value)| Place { value, pointer: format!("{}/{index}", self.pointer) })
                .collect(),
            value => vec![Place { value, pointer: self.pointer.clone() }],
        }
    }

    fn text(&self) -> Result<String, Misread> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            // A condition's value may be either.
            // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
            Value::Bool(_) | Value::Number(_) => Ok(self.value.to_string()),
            _ => Err(self.expected("a string")),
        }
    }

    fn texts(&self) -> Result<Vec<String>, Misread> {
        let text = |place: &Place<'_>| match place.text()? {
            text if text.contains("${") => Err(place.expected("a text without a policy variable")),
            text => Ok(text),
        };
        self.one_or_many().iter().map(text).collect()
    }

    fn expected(&self, what: &str) -> Misread {
        self.misread(format!("expected {what}, but found {}", self.value))
    }

    fn misread(&self, message: String) -> Misread {
        Misread { pointer: self.pointer.clone(), message }
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
                Principal::Other(kind, name) => (kind.as_str(), name.as_str()),
            };
            match &mut document["Principal"][kind] {
                Value::Array(names) => names.push(json!(name)),
                none => *none = json!([name]),
            }
        }
        for condition in &self.conditions {
            document["Condition"][condition.operator()][condition.key()] = json!(condition.values());
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "arn:aws:ses:us-east-1:123456789012:receipt-rule-set/s:receipt-rule/s";

    /// SES stores a message for its rule.
    fn put() -> Call {
        let context =
            [("aws:SourceAccount", "123456789012"), ("aws:SourceArn", RULE), ("aws:SecureTransport", "true")];
        Call {
            action: "s3:PutObject".to_owned(),
            resource: "arn:aws:s3:::mail/messages/x".to_owned(),
            context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }

    fn allow(change: &[(&str, Value)]) -> Value {
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::mail/messages/*",
            "Condition": {"StringEquals": {"AWS:SourceAccount": "123456789012", "aws:SourceArn": RULE}},
        });
        for (name, value) in change {
            statement[*name] = value.clone();
        }
        statement
    }

    #[test]
    fn what_others_wrote_is_judged() {
        let with = |name: &str, value: Value| allow(&[(name, value)]);
        let condition = |value: Value| allow(&[("Condition", value)]);
        let deny = |name: &str, value: Value| {
            let principal = ("Principal", json!({"AWS": "*"}));
            allow(&[("Effect", json!("Deny")), principal, ("Condition", json!({})), (name, value)])
        };
        let tls = deny("Condition", json!({"Bool": {"aws:SecureTransport": "false"}}));
        let perimeter = |is_service: &str| {
            let outside = json!({"aws:PrincipalOrgID": "o-1"});
            let kind = json!({"aws:PrincipalIsAWSService": is_service});
            deny("Condition", json!({"StringNotEqualsIfExists": outside, "BoolIfExists": kind}))
        };
        let of_ses = json!({"StringEquals": {"aws:PrincipalServiceName": "ses.amazonaws.com"}});
        let unknown = json!({"NumericEquals": {"aws:SourceAccount": "1"}});
        let strange = |message: &str| Err(message.to_owned());
        let cases = [
            ("the template's", vec![allow(&[]), tls], Ok(Decision::Allowed)),
            ("none", vec![], Ok(Decision::NotAllowed)),
            ("a data perimeter", vec![allow(&[]), perimeter("false")], Ok(Decision::Allowed)),
            ("one for services", vec![allow(&[]), perimeter("true")], Ok(Decision::Denied)),
            ("by the service's name", vec![condition(of_ses)], Ok(Decision::Allowed)),
            ("denied", vec![allow(&[]), deny("Action", json!(["s3:Put*"]))], Ok(Decision::Denied)),
            (
                "another service",
                vec![with("Principal", json!({"Service": ["sns.amazonaws.com"]}))],
                Ok(Decision::NotAllowed),
            ),
            (
                "an account",
                vec![with("Principal", json!({"AWS": "arn:aws:iam::123456789012:root"}))],
                Ok(Decision::NotAllowed),
            ),
            (
                "several services",
                vec![with("Principal", json!({"Service": ["a", "ses.amazonaws.com"]}))],
                Ok(Decision::Allowed),
            ),
            ("any action", vec![with("Action", json!(["S3:Put?bject"]))], Ok(Decision::Allowed)),
            ("another prefix", vec![with("Resource", json!("arn:aws:s3:::b/*"))], Ok(Decision::NotAllowed)),
            (
                "any rule",
                vec![condition(
                    json!({"ArnLike": {"aws:SourceArn": "arn:aws:ses:*:*:receipt-rule-set/s:*"}}),
                )],
                Ok(Decision::Allowed),
            ),
            (
                "an absent key",
                vec![condition(json!({"StringEquals": {"aws:Referer": "1"}}))],
                Ok(Decision::NotAllowed),
            ),
            (
                "if it exists",
                vec![condition(json!({"StringEqualsIfExists": {"aws:Referer": "1"}}))],
                Ok(Decision::Allowed),
            ),
            (
                "an operator that might allow",
                vec![condition(unknown.clone())],
                strange("condition operator NumericEquals is not known here"),
            ),
            (
                "an operator that need not be known",
                vec![condition(unknown.clone()), allow(&[])],
                Ok(Decision::Allowed),
            ),
            (
                "an operator that might deny",
                vec![allow(&[]), deny("Condition", unknown)],
                strange("condition operator NumericEquals is not known here"),
            ),
        ];
        let ses = Principal::Service("ses.amazonaws.com".to_owned());
        for (name, statements, expected) in cases {
            let policy = json!({"Version": "2012-10-17", "Statement": statements});
            let judged = decide(&policy, &ses, &put()).map_err(|misread| misread.message);
            assert_eq!(judged, expected, "{name}");
        }
        let number = condition(json!({"StringEquals": {"aws:SourceAccount": 123_456_789_012_u64}}));
        assert_eq!(decide(&json!({"Statement": number}), &ses, &put()), Ok(Decision::Allowed), "a number");
        let alone = json!({"Statement": allow(&[])});
        assert_eq!(decide(&alone, &ses, &put()), Ok(Decision::Allowed), "one statement, no list");
        let pointer = |policy: Value| decide(&policy, &ses, &put()).unwrap_err().pointer;
        assert_eq!(pointer(json!({})), "");
        let strange = with("Condition", json!({"StringEquals": {"aws:SourceArn": ["a", null]}}));
        assert_eq!(
            pointer(json!({"Statement": [strange]})),
            "/Statement/0/Condition/StringEquals/aws:SourceArn/1"
        );
    }
}
