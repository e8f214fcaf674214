//! YAML as CloudFormation reads it: every node with its line, scalars as the text that was written
//! (`012345678901` stays an account id, `2012-10-17` a version), short and long forms of an
//! intrinsic function as the same [`Value::Call`].

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Parser, ScalarStyle, Tag};

use crate::error::TemplateError;

/// Intrinsic functions that the evaluator knows; any other is an error where it stands.
const FUNCTIONS: &[&str] = &[
    "And",
    "Condition",
    "Contains",
    "Equals",
    "GetAtt",
    "If",
    "Join",
    "Not",
    "Or",
    "Ref",
    "Select",
    "Split",
    "Sub",
];

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Line, from 1.
    pub(crate) line: usize,
    /// What stands there.
    pub(crate) value: Value,
}

/// What a node can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar.
    Scalar {
        /// As it was written, without quotes.
        text: String,
        /// Whether it had no quotes, so that it can be a number or a boolean to JSON.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
    /// `!Name argument` or `{Fn::Name: argument}`.
    Call(String, Box<Node>),
}

/// One line of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Line of the key.
    pub(crate) line: usize,
    /// The key.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: Node,
}

/// Reads one document.
pub(crate) fn read(text: &str) -> Result<Node, TemplateError> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.early_parse(false);
    let scan_error = |error: &saphyr::ScanError| TemplateError::at(error.marker().line(), error.info());
    Parser::new_from_str(text).load(&mut loader, true).map_err(|error| scan_error(&error))?;
    if let Some(error) = loader.error() {
        return Err(scan_error(error));
    }
    let documents = loader.into_documents();
    match documents.as_slice() {
        [document] => convert(document),
        [] => Err(TemplateError::at(1, "expected a template, but the file is empty")),
        [_, second, ..] => {
            Err(TemplateError::at(second.span.start.line(), "expected one YAML document, but found a second"))
        }
    }
}

fn convert(node: &MarkedYaml<'_>) -> Result<Node, TemplateError> {
    let line = node.span.start.line();
    let value = match &node.data {
        YamlData::Representation(text, style, tag) => {
            let scalar = match (text.as_ref(), style) {
                ("" | "~" | "null", ScalarStyle::Plain) => Value::Null,
                (text, style) => Value::Scalar { text: text.to_owned(), plain: *style == ScalarStyle::Plain },
            };
            match tag {
                Some(tag) => call(line, tag, Node { line, value: scalar })?,
                None => scalar,
            }
        }
        YamlData::Tagged(tag, inner) => call(line, tag, convert(inner)?)?,
        YamlData::Sequence(items) => Value::List(items.iter().map(convert).collect::<Result<_, _>>()?),
        YamlData::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| {
                    let key = convert(key)?;
                    let value = convert(value)?;
                    Ok(Entry { line: key.line, key: key.text()?.to_owned(), value })
                })
                .collect::<Result<Vec<_>, TemplateError>>()?;
            long_form(entries)?
        }
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(TemplateError::at(line, "this YAML construct is not one CloudFormation reads"));
        }
    };
    Ok(Node { line, value })
}

fn call(line: usize, tag: &Tag, argument: Node) -> Result<Value, TemplateError> {
    let name = tag.suffix.as_str();
    if tag.handle != "!" || !FUNCTIONS.contains(&name) {
        return Err(unknown_function(line, &tag.to_string()));
    }
    Ok(Value::Call(name.to_owned(), Box::new(argument)))
}

/// `{Fn::Sub: x}` and `{Ref: x}` are calls; such a key beside others is a mistake.
fn long_form(mut entries: Vec<Entry>) -> Result<Value, TemplateError> {
    let Some(function) = entries.iter().find(|entry| entry.key == "Ref" || entry.key.starts_with("Fn::"))
    else {
        return Ok(Value::Map(entries));
    };
    let name = function.key.trim_start_matches("Fn::").to_owned();
    if !FUNCTIONS.contains(&name.as_str()) {
        return Err(unknown_function(function.line, &function.key));
    }
    if entries.len() > 1 {
        let message = format!("{} can't stand beside other keys", function.key);
        return Err(TemplateError::at(function.line, message));
    }
    let argument = entries.remove(0).value;
    Ok(Value::Call(name, Box::new(argument)))
}

fn unknown_function(line: usize, name: &str) -> TemplateError {
    TemplateError::at(line, format!("function {name} is not known here; known are {}", FUNCTIONS.join(", ")))
}

impl Node {
    /// A scalar made by evaluation.
    pub(crate) fn scalar(line: usize, text: impl Into<String>) -> Node {
        Node { line, value: Value::Scalar { text: text.into(), plain: false } }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Result<&str, TemplateError> {
        match &self.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Result<bool, TemplateError> {
        match self.text() {
            Ok("true") => Ok(true),
            Ok("false") => Ok(false),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A whole number within limits.
    pub(crate) fn number(&self, limits: std::ops::RangeInclusive<u64>) -> Result<u64, TemplateError> {
        match self.text().map(str::parse) {
            Ok(Ok(number)) if limits.contains(&number) => Ok(number),
            _ => Err(self.expected(&format!("a number from {} to {}", limits.start(), limits.end()))),
        }
    }

    /// The items of a sequence.
    pub(crate) fn list(&self) -> Result<&[Node], TemplateError> {
        match &self.value {
            Value::List(items) => Ok(items),
            _ => Err(self.expected("a list")),
        }
    }

    /// The items of a sequence, or a lone value as the only one, as IAM and SAM allow.
    pub(crate) fn one_or_many(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The entries of a mapping.
    pub(crate) fn map(&self) -> Result<&[Entry], TemplateError> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.expected("a mapping")),
        }
    }

    /// As JSON; an error if something is not evaluated. What has no quotes is a number or a boolean if JSON writes
    /// it with the same characters: an account id keeps its zeros.
    pub(crate) fn json(&self) -> Result<serde_json::Value, TemplateError> {
        Ok(match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Scalar { text, plain } => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(value) if *plain && format!("{value}") == *text => value,
                _ => text.as_str().into(),
            },
            Value::List(items) => items.iter().map(Node::json).collect::<Result<Vec<_>, _>>()?.into(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|entry| Ok((entry.key.clone(), entry.value.json()?))).collect::<Result<
                    _,
                    TemplateError,
                >>(
                )?,
            ),
            Value::Call(..) => return Err(self.expected("a value")),
        })
    }

    /// What stands under a key or an index, or this node itself if nothing does.
    pub(crate) fn inner(&self, key: &str) -> &Node {
        match &self.value {
            Value::List(items) => key.parse().ok().and_then(|index: usize| items.get(index)).unwrap_or(self),
            _ => self.get(key).unwrap_or(self),
        }
    }

    /// The value of a key; `None` if it is absent or this is no mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&self, key: &str) -> Result<&Node, TemplateError> {
        self.map()?;
        self.get(key).ok_or_else(|| TemplateError::at(self.line, format!("{key} is missing")))
    }

    /// An error that tells what stands here instead of what should.
    pub(crate) fn expected(&self, what: &str) -> TemplateError {
        let found = match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Call(name, _) => format!("!{name}"),
        };
        TemplateError::at(self.line, format!("expected {what}, but found {found}"))
    }
}

/// Holds the keys of a mapping against those that are known.
pub(crate) fn check_keys(node: &Node, of: &str, known: &[&str]) -> Result<(), TemplateError> {
    match node.map()?.iter().find(|entry| !known.contains(&entry.key.as_str())) {
        None => Ok(()),
        Some(other) => {
            let message = format!("{} of {of} is not known here; known are {}", other.key, known.join(", "));
            Err(TemplateError::at(other.line, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ok_scalars_keep_their_text() {
        let cases = [
            ("012345678901", Ok("012345678901"), json!("012345678901")),
            ("2012-10-17", Ok("2012-10-17"), json!("2012-10-17")),
            ("0x10", Ok("0x10"), json!("0x10")),
            ("12.50", Ok("12.50"), json!("12.50")),
            ("-0.5", Ok("-0.5"), json!(-0.5)),
            ("9", Ok("9"), json!(9)),
            ("'9'", Ok("9"), json!("9")),
            ("true", Ok("true"), json!(true)),
            ("'true'", Ok("true"), json!("true")),
            ("''", Ok(""), json!("")),
            ("", Err("template line 1: expected a string, but found nothing"), json!(null)),
            ("~", Err("template line 1: expected a string, but found nothing"), json!(null)),
        ];
        for (written, text, json) in cases {
            let root = read(&format!("a: {written}")).unwrap();
            let node = root.get("a").unwrap();
            let error = node.text().map_err(|error| error.to_string());
            assert_eq!(
                (error.as_deref().map_err(String::as_str), node.json()),
                (text, Ok(json)),
                "{written}"
            );
        }
    }

    #[test]
    fn ok_short_and_long_forms_are_the_same() {
        let cases = [
            ("a: !Ref X", "a: {Ref: X}"),
            ("a: !Sub '${X}'", "a: {'Fn::Sub': '${X}'}"),
            ("a: !Join [',', [x, !Ref Y]]", "a: {'Fn::Join': [',', [x, {Ref: Y}]]}"),
            ("a: !If [C, {b: c}, !Ref 'AWS::NoValue']", "a: {'Fn::If': [C, {b: c}, {Ref: 'AWS::NoValue'}]}"),
        ];
        for (short, long) in cases {
            assert_eq!(read(short), read(long), "{short}");
        }
    }

    #[test]
    fn err_names_the_line() {
        let cases = [
            ("a: b\nc: !Base64 x\n", 2, "function !Base64 is not known here"),
            ("a: b\nc:\n  Fn::GetAZs: x\n", 3, "function Fn::GetAZs is not known here"),
            ("a: b\nc:\n  Ref: x\n  d: e\n", 3, "Ref can't stand beside other keys"),
            ("a: b\nc: d\na: e\n", 3, "duplicate"),
            ("a: b\n---\nc: d\n", 3, "found a second"),
            ("a: b\nc: [d\n", 3, ""),
            ("", 1, "the file is empty"),
        ];
        for (text, line, message) in cases {
            let error = read(text).unwrap_err();
            assert!(error.line == line && error.message.contains(message), "{text:?}: {error}");
        }
    }
}
