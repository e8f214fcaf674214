//! Whether a resource's policy lets a service in: as much of IAM's language as such policies use.
//!
//! Not supported: `NotPrincipal`, `NotAction`, `NotResource`, policy variables, and condition operators
//! besides those of [`Condition`]; a statement with one of them counts as not matching.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>

use serde_json::Value;

/// A call by a service for the sake of one of its own resources.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Such as `ses.amazonaws.com`.
    pub service: &'a str,
    /// Such as `s3:PutObject`.
    pub action: &'a str,
    /// ARN of what it is made on.
    pub resource: &'a str,
    /// Condition keys in lower case, and their values.
    pub context: &'a [(&'a str, &'a str)],
}

/// Whether a policy allows a call: a statement does, and none denies it. The error says why the text
/// is no policy.
pub fn allows(policy: &str, call: &Call<'_>) -> Result<bool, serde_json::Error> {
    let policy: Value = serde_json::from_str(policy)?;
    let statements = listed(&policy["Statement"]);
    let has = |effect: &str| {
        statements.iter().any(|statement| statement["Effect"] == effect && matches(statement, call))
    };
    Ok(has("Allow") && !has("Deny"))
}

fn matches(statement: &Value, call: &Call<'_>) -> bool {
    let principal = &statement["Principal"];
    let principal = principal == "*"
        || principal["AWS"] == "*"
        || listed(&principal["Service"]).iter().any(|service| *service == call.service);
    let action = call.action.to_ascii_lowercase();
    principal
        && texts(&statement["Action"]).any(|pattern| like(&pattern.to_ascii_lowercase(), &action))
        && texts(&statement["Resource"]).any(|pattern| like(pattern, call.resource))
        && conditions_hold(&statement["Condition"], call.context)
}

fn conditions_hold(conditions: &Value, context: &[(&str, &str)]) -> bool {
    let Some(operators) = conditions.as_object() else { return conditions.is_null() };
    operators.iter().all(|(operator, keys)| {
        let Some(keys) = keys.as_object() else { return false };
        keys.iter().all(|(key, allowed)| {
            let value =
                context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value);
            let (operator, if_exists) = match operator.strip_suffix("IfExists") {
                Some(operator) => (operator, true),
                None => (operator.as_str(), false),
            };
            let Some(value) = value else { return if_exists };
            texts(allowed).any(|allowed| match operator {
                "StringEquals" | "ArnEquals" if !allowed.contains(['*', '?']) => allowed == value,
                "StringLike" | "ArnLike" | "ArnEquals" => like(allowed, value),
                "StringEqualsIgnoreCase" | "Bool" => allowed.eq_ignore_ascii_case(value),
                _ => false,
            })
        })
    })
}

/// The elements of a list, or the one thing that stands for a list of one.
fn listed(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(list) => list,
        one => std::slice::from_ref(one),
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    listed(value).iter().filter_map(Value::as_str)
}

/// `*` stands for any text and `?` for any character.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                from = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULE: &str = "arn:aws:ses:us-east-1:123456789012:receipt-rule-set/s:receipt-rule/s";

    fn call() -> Call<'static> {
        Call {
            service: "ses.amazonaws.com",
            action: "s3:PutObject",
            resource: "arn:aws:s3:::mail/messages/x",
            context: &[
                ("aws:sourceaccount", "123456789012"),
                ("aws:sourcearn", RULE),
                ("aws:securetransport", "true"),
            ],
        }
    }

    fn statement(condition: &Value) -> Value {
        json!({
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::mail/messages/*",
            "Condition": condition,
        })
    }

    #[test]
    fn policies() {
        let conditions =
            json!({"StringEquals": {"AWS:SourceAccount": "123456789012", "aws:SourceArn": RULE}});
        let good = statement(&conditions);
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            changed
        };
        let tls = json!({
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::mail/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        });
        let denied =
            json!({"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": ["s3:Put*"], "Resource": "*"});
        let cases = [
            ("the template's", vec![good.clone(), tls], true),
            ("none", vec![], false),
            ("denied", vec![good.clone(), denied], false),
            ("another service", vec![with("Principal", json!({"Service": ["sns.amazonaws.com"]}))], false),
            (
                "several services",
                vec![with("Principal", json!({"Service": ["a", "ses.amazonaws.com"]}))],
                true,
            ),
            ("another action", vec![with("Action", json!("s3:GetObject"))], false),
            ("any action", vec![with("Action", json!(["S3:Put?bject"]))], true),
            ("another prefix", vec![with("Resource", json!("arn:aws:s3:::mail/mail/*"))], false),
            ("another rule", vec![statement(&json!({"ArnLike": {"aws:SourceArn": "arn:*/other"}}))], false),
            (
                "any rule",
                vec![statement(&json!({"ArnLike": {"aws:SourceArn": "arn:aws:ses:*:receipt-rule-set/s:*"}}))],
                true,
            ),
            ("an absent key", vec![statement(&json!({"StringEquals": {"aws:Referer": "1"}}))], false),
            ("if it exists", vec![statement(&json!({"StringEqualsIfExists": {"aws:Referer": "1"}}))], true),
            (
                "an unknown operator",
                vec![statement(&json!({"NumericEquals": {"aws:SourceAccount": "1"}}))],
                false,
            ),
            ("no condition", vec![statement(&Value::Null)], true),
        ];
        for (name, statements, expected) in cases {
            let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
            assert_eq!(allows(&policy, &call()).unwrap(), expected, "{name}");
        }
        assert!(allows(&json!({"Statement": good}).to_string(), &call()).unwrap(), "one statement, no list");
        assert!(allows("{", &call()).is_err());
    }

    #[test]
    fn patterns() {
        let cases = [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "a", false),
            ("abc", "abc", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
