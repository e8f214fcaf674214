//! Policy documents of a template.

use ses_forwarder_iam::Policy;

use crate::{error::TemplateError, yaml::Node};

/// Condition keys that the services of the local stack set: those that a template may ask for. There is no KMS
/// here, so nothing asks for what its key lets a role do.
const KEYS: &[&str] = &[
    "aws:PrincipalArn",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
    "kms:ViaService",
    "s3:prefix",
    "ses:FromAddress",
];

/// Reads an evaluated policy document.
pub(crate) fn policy(document: &Node) -> Result<Policy, TemplateError> {
    Policy::read(&document.json()?, KEYS).map_err(|misread| {
        let keys = misread.pointer.split('/').skip(1);
        TemplateError::at(keys.fold(document, Node::inner).line, misread.message)
    })
}

#[cfg(test)]
mod tests {
    use ses_forwarder_iam::{Condition, Principal, Statement};

    use super::*;
    use crate::yaml;

    fn read(text: &str) -> Result<Policy, String> {
        policy(&yaml::read(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn ok_document() {
        let text = r#"{
            "Version": "2012-10-17",
            "Statement": {
                "Sid": "A", "Effect": "Deny", "Principal": {"Service": ["a.amazonaws.com", "b.amazonaws.com"]},
                "Action": "s3:*", "Resource": ["x", "y"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}, "StringLike": {"s3:prefix": ["a", "b"]}}
            }
        }"#;
        let service = |name: &str| Principal::Service(name.to_owned());
        let expected = Statement {
            sid: Some("A".to_owned()),
            allow: false,
            principals: vec![service("a.amazonaws.com"), service("b.amazonaws.com")],
            actions: vec!["s3:*".to_owned()],
            resources: vec!["x".to_owned(), "y".to_owned()],
            conditions: vec![
                Condition::new("Bool", "aws:SecureTransport", vec!["false".to_owned()]).unwrap(),
                Condition::new("StringLike", "s3:prefix", vec!["a".to_owned(), "b".to_owned()]).unwrap(),
            ],
        };
        assert_eq!(read(text), Ok(Policy { statements: vec![expected] }));
    }

    #[test]
    fn ok_document_written_again() {
        let operators = [
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCaseIfExists",
            "StringLike",
            "StringNotLike",
            "ArnLikeIfExists",
            "ArnNotLike",
            "Bool",
            "Null",
        ];
        let conditions: Vec<_> = operators
            .map(|name| format!(r#""{name}": {{"aws:SourceArn": ["true"], "s3:prefix": "false"}}"#))
            .into();
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": [
                {{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "x"}},
                {{"Sid": "B", "Effect": "Allow", "Action": ["a:b", "a:c"], "Resource": ["x", "y"],
                  "Principal": {{"Service": ["a.amazonaws.com", "b.amazonaws.com"], "AWS": "arn:aws:iam::1:role/r"}},
                  "Condition": {{{}}}}}
            ]}}"#,
            conditions.join(", ")
        );
        let mut policy = read(&text).unwrap();
        let mut again = read(&policy.document().to_string()).unwrap();
        for statement in policy.statements.iter_mut().chain(&mut again.statements) {
            statement.principals.sort_by_key(|principal| format!("{principal:?}"));
            statement.conditions.sort_by_key(|condition| format!("{condition:?}"));
        }
        assert_eq!(again, policy);
    }

    #[test]
    fn err_documents() {
        let with = |line: &str| format!("Version: 2012-10-17\nStatement:\n- {line}\n");
        let cases = [
            ("Statement: []".to_owned(), "line 1: Version is missing"),
            (
                "Version: 2008-10-17\nStatement: []".to_owned(),
                "line 1: expected 2012-10-17, but found \"2008-10-17\"",
            ),
            ("Version: 2012-10-17\nId: x".to_owned(), "line 2: Id of a policy is not known here"),
            (
                with("{Effect: Maybe, Action: a, Resource: '*'}"),
                "line 3: expected Allow or Deny, but found \"Maybe\"",
            ),
            (
                with("{Effect: Allow, NotAction: a, Resource: '*'}"),
                "line 3: NotAction of a statement is not known here",
            ),
            (with("{Effect: Allow, Resource: '*'}"), "line 3: Action is missing"),
            (
                with("{Effect: Allow, Action: a, Resource: '${aws:username}'}"),
                "line 3: expected a text without a policy variable",
            ),
            (
                with("{Effect: Allow, Action: a, Principal: {Federated: x}}"),
                "line 3: principal Federated: x is not known here",
            ),
            (
                with(
                    "{Effect: Allow, Action: a, Resource: '*', Condition: {StringEquals: {aws:Nothing: x}}}",
                ),
                "line 3: condition key aws:Nothing is not known here",
            ),
            (
                with("{Effect: Allow, Action: a, Resource: '*', Condition: {StringIs: {aws:SourceArn: x}}}"),
                "line 3: condition operator StringIs is not known here",
            ),
        ];
        for (text, message) in cases {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
