//! Parameters: declared in the template, given or by default, checked as CloudFormation checks them.
//!
//! Types: `String`, `Number`, `CommaDelimitedList`. An `AllowedPattern` must match the whole value;
//! it is a Java regular expression to CloudFormation, whose look-ahead the expressions here have too.

use std::collections::BTreeMap;

use fancy_regex::Regex;

use crate::{
    error::TemplateError,
    yaml::{Entry, Node, Value},
};

/// What may stand in a parameter's declaration.
const KNOWN: &[&str] = &[
    "AllowedPattern",
    "AllowedValues",
    "ConstraintDescription",
    "Default",
    "Description",
    "MaxLength",
    "MaxValue",
    "MinLength",
    "MinValue",
    "NoEcho",
    "Type",
];

/// Every declared parameter with its value: what `Ref` gives.
pub(crate) type Parameters = BTreeMap<String, Value>;

/// Takes the given values, fills in defaults, checks each.
pub(crate) fn read(
    section: Option<&Node>,
    given: &BTreeMap<String, String>,
) -> Result<Parameters, TemplateError> {
    let declared = section.map(Node::map).transpose()?.unwrap_or_default();
    if let Some(unknown) = given.keys().find(|name| !declared.iter().any(|entry| entry.key == **name)) {
        let names: Vec<_> = declared.iter().map(|entry| entry.key.as_str()).collect();
        let message = format!("there is no parameter {unknown}; there are {}", names.join(", "));
        return Err(TemplateError::at(section.map_or(1, |section| section.line), message));
    }
    declared.iter().map(|entry| Ok((entry.key.clone(), value(entry, given.get(&entry.key))?))).collect()
}

fn value(entry: &Entry, given: Option<&String>) -> Result<Value, TemplateError> {
    let declaration = &entry.value;
    if let Some(unknown) = declaration.map()?.iter().find(|part| !KNOWN.contains(&part.key.as_str())) {
        return Err(TemplateError::at(unknown.line, format!("a parameter has no {}", unknown.key)));
    }
    let text = match (given, declaration.get("Default")) {
        (Some(given), _) => given,
        (None, Some(default)) => default.text()?,
        (None, None) => {
            return Err(TemplateError::at(entry.line, format!("parameter {} needs a value", entry.key)));
        }
    };
    let kind = declaration.require("Type")?;
    let items: Vec<&str> = match kind.text()? {
        "String" | "Number" => vec![text],
        "CommaDelimitedList" => text.split(',').map(str::trim).collect(),
        _ => return Err(kind.expected("type String, Number or CommaDelimitedList")),
    };
    for item in &items {
        if let Some(broken) = broken_constraint(declaration, item)? {
            let reason = match declaration.get("ConstraintDescription") {
                Some(description) => description.text()?.to_owned(),
                None => broken,
            };
            let message = format!("parameter {} can't be {item:?}: {reason}", entry.key);
            return Err(TemplateError::at(entry.line, message));
        }
    }
    Ok(if kind.text()? == "CommaDelimitedList" {
        Value::List(items.into_iter().map(|item| Node::scalar(entry.line, item)).collect())
    } else {
        Value::Scalar { text: text.to_owned(), plain: kind.text()? == "Number" }
    })
}

/// Which constraint a value breaks, as a sentence.
fn broken_constraint(declaration: &Node, value: &str) -> Result<Option<String>, TemplateError> {
    if let Some(allowed) = declaration.get("AllowedValues") {
        let allowed = allowed.list()?.iter().map(Node::text).collect::<Result<Vec<_>, _>>()?;
        if !allowed.contains(&value) {
            return Ok(Some(format!("allowed are {}", allowed.join(", "))));
        }
    }
    if let Some(node) = declaration.get("AllowedPattern") {
        let pattern = Regex::new(&format!("^(?:{})$", node.text()?))
            .map_err(|error| TemplateError::at(node.line, format!("AllowedPattern: {error}")))?;
        if !pattern.is_match(value).map_err(|error| TemplateError::at(node.line, error.to_string()))? {
            return Ok(Some(format!("it must match {}", node.text()?)));
        }
    }
    if declaration.require("Type")?.text()? == "Number" && value.parse::<f64>().is_err() {
        return Ok(Some("it must be a number".to_owned()));
    }
    #[expect(clippy::cast_precision_loss, reason = "CloudFormation limits a value to 4096 characters")]
    let length = value.chars().count() as f64;
    let number = value.parse().unwrap_or(f64::NAN);
    for (name, actual, least) in [
        ("MinLength", length, true),
        ("MaxLength", length, false),
        ("MinValue", number, true),
        ("MaxValue", number, false),
    ] {
        let Some(node) = declaration.get(name) else { continue };
        let bound: f64 = node.text()?.parse().map_err(|_| node.expected("a number"))?;
        if !(if least { actual >= bound } else { actual <= bound }) {
            return Ok(Some(format!("{name} is {bound}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn check(declaration: &str, given: Option<&str>) -> Result<Value, String> {
        let section = yaml::read(&format!("\nP: {declaration}")).unwrap();
        let given = given.map(|value| ("P".to_owned(), value.to_owned())).into_iter().collect();
        read(Some(&section), &given)
            .map(|mut values| values.remove("P").unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn ok_values() {
        let scalar = |text: &str| Node::scalar(2, text).value;
        let cases = [
            ("{Type: String, Default: a}", None, scalar("a")),
            ("{Type: String, Default: a}", Some("b"), scalar("b")),
            ("{Type: String, Default: ''}", None, scalar("")),
            ("{Type: String, AllowedValues: [x, y]}", Some("y"), scalar("y")),
            ("{Type: String, AllowedPattern: 'a|b+'}", Some("bb"), scalar("bb")),
            (
                "{Type: Number, MinValue: 1, MaxValue: 10}",
                Some("10"),
                Value::Scalar { text: "10".to_owned(), plain: true },
            ),
            (
                "{Type: CommaDelimitedList}",
                Some("a, b"),
                Value::List(vec![Node::scalar(2, "a"), Node::scalar(2, "b")]),
            ),
        ];
        for (declaration, given, expected) in cases {
            assert_eq!(check(declaration, given), Ok(expected), "{declaration}");
        }
    }

    #[test]
    fn err_tells_the_constraint() {
        let cases = [
            ("{Type: String}", None, "template line 2: parameter P needs a value"),
            (
                "{Type: String, AllowedValues: [x, y]}",
                Some("z"),
                "template line 2: parameter P can't be \"z\": allowed are x, y",
            ),
            (
                "{Type: String, AllowedPattern: 'a|b', ConstraintDescription: a letter please}",
                Some("ab"),
                "template line 2: parameter P can't be \"ab\": a letter please",
            ),
            (
                "{Type: String, AllowedPattern: 'a+'}",
                Some("a\nb"),
                "template line 2: parameter P can't be \"a\\nb\": it must match a+",
            ),
            ("{Type: Number}", Some("x"), "template line 2: parameter P can't be \"x\": it must be a number"),
            (
                "{Type: Number, MinValue: 1}",
                Some("0"),
                "template line 2: parameter P can't be \"0\": MinValue is 1",
            ),
            (
                "{Type: Number, MaxValue: 1}",
                Some("2"),
                "template line 2: parameter P can't be \"2\": MaxValue is 1",
            ),
            (
                "{Type: String, MinLength: 2}",
                Some("é"),
                "template line 2: parameter P can't be \"é\": MinLength is 2",
            ),
            (
                "{Type: String, MaxLength: 1}",
                Some("ab"),
                "template line 2: parameter P can't be \"ab\": MaxLength is 1",
            ),
            ("{Type: String, Defualt: a}", None, "template line 2: a parameter has no Defualt"),
            (
                "{Type: 'AWS::SSM::Parameter::Value<String>'}",
                Some("a"),
                "template line 2: expected type String, Number or CommaDelimitedList, \
                 but found \"AWS::SSM::Parameter::Value<String>\"",
            ),
        ];
        for (declaration, given, expected) in cases {
            assert_eq!(check(declaration, given), Err(expected.to_owned()), "{declaration}");
        }
    }

    #[test]
    fn err_unknown_name() {
        let section = yaml::read("A: {Type: String, Default: ''}").unwrap();
        let given = BTreeMap::from([("B".to_owned(), String::new())]);
        let error = read(Some(&section), &given).unwrap_err();
        assert_eq!(error.to_string(), "template line 1: there is no parameter B; there are A");
    }
}
