//! Conditions of a statement.

use std::collections::BTreeMap;

use crate::pattern::{arn_like, like};

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

impl Condition {
    /// Reads an operator and key as a policy names them; an error is a sentence.
    ///
    /// A missing key fails a condition, except a negated one and with `…IfExists`.
    pub fn new(operator: &str, key: &str, values: Vec<String>) -> Result<Condition, String> {
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

    pub(crate) fn holds(&self, context: &BTreeMap<String, String>) -> bool {
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

    /// The key it is about, in lower case.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The values, of which one must match.
    pub(crate) fn values(&self) -> &[String] {
        &self.values
    }

    /// The operator as a policy names it.
    pub(crate) fn operator(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(operator: &str, key: &str, values: &[&str]) -> Condition {
        Condition::new(operator, key, values.iter().map(|value| (*value).to_owned()).collect()).unwrap()
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
            let given = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(condition.holds(&given), expected, "{condition:?} {context:?}");
        }
    }

    #[test]
    fn err_conditions() {
        let cases = [
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
}
