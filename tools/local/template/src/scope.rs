//! Intrinsic functions, evaluated among the parameters, conditions and resources of a template.
//!
//! Where a resource has its name and which attributes it has is told by [`kinds`].

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::TemplateError,
    expressions::{Part, arguments, get_att, sub_parts},
    kinds::{self, Resource},
    parameters::Parameters,
    yaml::{Entry, Node, Value},
};

/// What an expression can name.
#[derive(Debug)]
pub(crate) struct Scope<'t> {
    /// Parameters with their values.
    pub(crate) parameters: Parameters,
    /// The `Conditions` section.
    pub(crate) conditions: &'t [Entry],
    /// Resources whose condition holds, by logical id.
    pub(crate) resources: BTreeMap<String, Resource<'t>>,
    /// Logical ids of resources whose condition does not hold.
    pub(crate) absent: BTreeSet<&'t str>,
    /// `AWS::StackName`.
    pub(crate) stack_name: &'t str,
    /// `AWS::Region`.
    pub(crate) region: &'t str,
    /// `AWS::AccountId`.
    pub(crate) account: &'t str,
}

impl<'t> Scope<'t> {
    /// A node with every function evaluated and every `AWS::NoValue` taken out; `None` if the node
    /// itself is `AWS::NoValue`.
    pub(crate) fn resolve(&self, node: &Node) -> Result<Option<Node>, TemplateError> {
        let value = match &node.value {
            Value::Null | Value::Scalar { .. } => node.value.clone(),
            Value::List(items) => {
                let items = items.iter().map(|item| self.resolve(item)).filter_map(Result::transpose);
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|entry| {
                        let value = self.resolve(&entry.value)?;
                        Ok(value.map(|value| Entry { line: entry.line, key: entry.key.clone(), value }))
                    })
                    .filter_map(Result::transpose)
                    .collect::<Result<_, TemplateError>>()?,
            ),
            Value::Call(name, argument) => return self.call(node.line, name, argument),
        };
        Ok(Some(Node { line: node.line, value }))
    }

    /// A node that must yield a string.
    pub(crate) fn string(&self, node: &Node) -> Result<String, TemplateError> {
        match self.resolve(node)? {
            Some(resolved) => Ok(resolved.text()?.to_owned()),
            None => Err(node.expected("a string")),
        }
    }

    fn call(&self, line: usize, name: &str, argument: &Node) -> Result<Option<Node>, TemplateError> {
        let scalar = |text: String| Ok(Some(Node::scalar(line, text)));
        match name {
            "Ref" => self.reference(line, argument.text()?),
            "GetAtt" => scalar(self.attribute(argument)?),
            "Sub" => scalar(self.substitute(argument)?),
            "If" => {
                let [_, _, _] = arguments::<3>(argument)?;
                self.resolve(self.branch(argument)?)
            }
            "Join" => {
                let [separator, items] = arguments(argument)?;
                let items = self.items(items)?;
                let texts = items.iter().map(Node::text).collect::<Result<Vec<_>, _>>()?;
                scalar(texts.join(&self.string(separator)?))
            }
            "Split" => {
                let [separator, text] = arguments(argument)?;
                let (separator, text) = (self.string(separator)?, self.string(text)?);
                let items = text.split(&separator).map(|item| Node::scalar(line, item)).collect();
                Ok(Some(Node { line, value: Value::List(items) }))
            }
            "Select" => {
                let [index, items] = arguments(argument)?;
                let items = self.items(items)?;
                let Some(last) = (items.len() as u64).checked_sub(1) else {
                    return Err(TemplateError::at(line, "can't select from an empty list"));
                };
                let index = Node::scalar(index.line, self.string(index)?).number(0..=last)?;
                Ok(items.into_iter().nth(usize::try_from(index).expect("an index into a list in memory")))
            }
            _ => Err(TemplateError::at(line, format!("!{name} yields a condition and can't stand here"))),
        }
    }

    fn items(&self, node: &Node) -> Result<Vec<Node>, TemplateError> {
        match self.resolve(node)? {
            Some(Node { value: Value::List(items), .. }) => Ok(items),
            Some(other) => Err(other.expected("a list")),
            None => Err(node.expected("a list")),
        }
    }

    /// The branch of `Fn::If` that is taken.
    pub(crate) fn branch<'n>(&self, argument: &'n Node) -> Result<&'n Node, TemplateError> {
        let [condition, then, otherwise] = arguments(argument)?;
        Ok(if self.holds(condition)? { then } else { otherwise })
    }

    fn reference(&self, line: usize, name: &str) -> Result<Option<Node>, TemplateError> {
        if name == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(value) = self.parameters.get(name) {
            return Ok(Some(Node { line, value: value.clone() }));
        }
        let text = match name {
            "AWS::StackName" => self.stack_name.to_owned(),
            "AWS::Region" => self.region.to_owned(),
            "AWS::AccountId" => self.account.to_owned(),
            "AWS::Partition" => self.partition().to_owned(),
            "AWS::URLSuffix" => self.url_suffix().to_owned(),
            "AWS::StackId" => {
                // Its end is of this stack only, as names are made of it, and the same each time: in place of
                // CloudFormation's UUID the name in hexadecimal.
                let own = self.stack_name.bytes().fold(String::new(), |own, byte| format!("{own}{byte:02x}"));
                self.arn("cloudformation", &format!("stack/{}/{own}", self.stack_name))
            }
            _ if name.starts_with("AWS::") => {
                return Err(TemplateError::at(line, format!("pseudo parameter {name} is not known here")));
            }
            _ => self.reference_to(self.resource(line, name)?)?,
        };
        Ok(Some(Node::scalar(line, text)))
    }

    fn attribute(&self, argument: &Node) -> Result<String, TemplateError> {
        let (id, attribute) = get_att(argument)?;
        self.attribute_of(self.resource(argument.line, id)?, attribute, argument.line)
    }

    fn substitute(&self, argument: &Node) -> Result<String, TemplateError> {
        let (text, own) = match &argument.value {
            Value::List(_) => {
                let [text, own] = arguments(argument)?;
                (text, own.map()?)
            }
            _ => (argument, [].as_slice()),
        };
        let parts = sub_parts(text.text()?)
            .map_err(|rest| TemplateError::at(text.line, format!("\"${{{rest}\" has no closing brace")))?;
        let mut result = String::new();
        for part in parts {
            match part {
                Part::Text(text) => result.push_str(text),
                Part::Literal(name) => result.extend(["${", name, "}"]),
                Part::Variable(name) => {
                    let value = match (own.iter().find(|entry| entry.key == name), name.split_once('.')) {
                        (Some(entry), _) => self.string(&entry.value)?,
                        (None, Some(_)) => self.attribute(&Node::scalar(text.line, name))?,
                        (None, None) => {
                            let node = self.reference(text.line, name)?;
                            let node =
                                node.ok_or_else(|| text.expected("a value other than AWS::NoValue"))?;
                            node.text()?.to_owned()
                        }
                    };
                    result.push_str(&value);
                }
            }
        }
        Ok(result)
    }

    /// A resource by its logical id.
    pub(crate) fn resource(&self, line: usize, id: &str) -> Result<&Resource<'t>, TemplateError> {
        self.resources.get(id).ok_or_else(|| {
            TemplateError::at(
                line,
                if self.absent.contains(id) {
                    format!("{id} is not created, as its condition does not hold")
                } else {
                    format!("there is no parameter or resource {id}")
                },
            )
        })
    }

    /// Whether a named condition of the `Conditions` section holds.
    pub(crate) fn holds(&self, name: &Node) -> Result<bool, TemplateError> {
        self.named_condition(name, &mut vec![])
    }

    /// Whether a resource or an output is made: it has no condition, or its own holds.
    pub(crate) fn keeps(&self, node: &Node) -> Result<bool, TemplateError> {
        node.get("Condition").map_or(Ok(true), |condition| self.holds(condition))
    }

    /// Whether an expression of conditions holds: one of the `Conditions` or `Rules` sections.
    pub(crate) fn condition(&self, node: &Node) -> Result<bool, TemplateError> {
        self.nested_condition(node, &mut vec![])
    }

    fn named_condition(&self, name: &Node, path: &mut Vec<String>) -> Result<bool, TemplateError> {
        let text = name.text()?;
        let Some(entry) = self.conditions.iter().find(|entry| entry.key == text) else {
            return Err(TemplateError::at(name.line, format!("there is no condition {text}")));
        };
        if path.iter().any(|outer| outer == text) {
            return Err(TemplateError::at(name.line, format!("condition {text} depends on itself")));
        }
        path.push(text.to_owned());
        let holds = self.nested_condition(&entry.value, path);
        path.pop();
        holds
    }

    fn nested_condition(&self, node: &Node, path: &mut Vec<String>) -> Result<bool, TemplateError> {
        if let (Value::Map(entries), Some(name)) = (&node.value, node.get("Condition"))
            && entries.len() == 1
        {
            return self.named_condition(name, path);
        }
        let Value::Call(function, argument) = &node.value else {
            return Err(node.expected("a condition"));
        };
        match function.as_str() {
            "Condition" => self.named_condition(argument, path),
            "Equals" => {
                let [left, right] = arguments(argument)?;
                Ok(self.string(left)? == self.string(right)?)
            }
            "Not" => {
                let [inner] = arguments(argument)?;
                Ok(!self.nested_condition(inner, path)?)
            }
            "And" | "Or" => {
                let all = argument
                    .list()?
                    .iter()
                    .map(|inner| self.nested_condition(inner, path))
                    .collect::<Result<Vec<_>, _>>()?;
                if !(2..=10).contains(&all.len()) {
                    return Err(TemplateError::at(
                        node.line,
                        format!("!{function} takes 2 to 10 conditions"),
                    ));
                }
                Ok(if function == "And" { all.iter().all(|&holds| holds) } else { all.contains(&true) })
            }
            "Contains" => {
                let [items, wanted] = arguments(argument)?;
                let wanted = self.string(wanted)?;
                Ok(self.items(items)?.iter().any(|item| item.text() == Ok(&wanted)))
            }
            _ => Err(node.expected("a condition")),
        }
    }

    /// The resource's name: the one given, else the stack's and the logical id, as CloudFormation makes
    /// one up, but without its random tail, so that it is the same each time.
    pub(crate) fn name_of(&self, resource: &Resource<'_>) -> Result<String, TemplateError> {
        let kind = kinds::kind(resource);
        let given = kind.name_property.iter().try_fold(&resource.properties, |node, key| node.get(key));
        if let (Some(given), false) = (given, kind.name_property.is_empty())
            && let Some(given) = self.resolve(given)?
        {
            return Ok(given.text()?.to_owned());
        }
        let mut name = format!("{}-{}", self.stack_name, resource.id);
        name.truncate(kind.name_limit);
        Ok(if kind.name == "AWS::S3::Bucket" { name.to_ascii_lowercase() } else { name })
    }

    /// What `Ref` gives.
    pub(crate) fn reference_to(&self, resource: &Resource<'_>) -> Result<String, TemplateError> {
        let name = self.name_of(resource)?;
        Ok(match resource.kind {
            "AWS::SQS::Queue" => {
                format!("https://sqs.{}.{}/{}/{name}", self.region, self.url_suffix(), self.account)
            }
            "AWS::SNS::Topic" => self.arn("sns", &name),
            _ => name,
        })
    }

    /// What `Fn::GetAtt` gives, asked at this line.
    pub(crate) fn attribute_of(
        &self,
        resource: &Resource<'_>,
        attribute: &str,
        line: usize,
    ) -> Result<String, TemplateError> {
        let kind = kinds::kind(resource);
        if !kind.attributes.contains(&attribute) {
            let known = match kind.attributes {
                [] => "none is".to_owned(),
                known => format!("known are {}", known.join(", ")),
            };
            let message = format!("{} has no attribute {attribute} known here; {known}", kind.name);
            return Err(TemplateError::at(line, message));
        }
        let name = self.name_of(resource)?;
        let partition = self.partition();
        Ok(match (kind.name, attribute) {
            (_, "QueueName" | "TopicName") => name,
            // The tokens that SES here gives every identity.
            ("AWS::SES::EmailIdentity", _) => {
                let (kind, number) = attribute.split_at(attribute.len() - 1);
                match kind {
                    "DkimDNSTokenName" => format!("token{number}._domainkey.{name}"),
                    _ => format!("token{number}.dkim.amazonses.com"),
                }
            }
            ("AWS::Serverless::Function", _) => self.arn("lambda", &format!("function:{name}")),
            ("AWS::IAM::Role", _) => format!("arn:{partition}:iam::{}:role/{name}", self.account),
            ("AWS::Logs::LogGroup", _) => self.arn("logs", &format!("log-group:{name}:*")),
            ("AWS::S3::Bucket", _) => format!("arn:{partition}:s3:::{name}"),
            ("AWS::SNS::Topic", _) => self.arn("sns", &name),
            ("AWS::SQS::Queue", _) => self.arn("sqs", &name),
            ("AWS::Events::Rule", _) => self.arn("events", &format!("rule/{name}")),
            _ => self.arn("cloudwatch", &format!("alarm:{name}")),
        })
    }

    /// `aws`, or what it is called elsewhere.
    pub(crate) fn partition(&self) -> &'static str {
        match self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// `amazonaws.com`, or what it is elsewhere.
    pub(crate) fn url_suffix(&self) -> &'static str {
        if self.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
    }

    /// An ARN in this region and account.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition(), self.region, self.account)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{parameters, yaml};

    const PARAMETERS: &str = "
Name: {Type: String, Default: in.example}
Empty: {Type: String, Default: ''}
List: {Type: CommaDelimitedList, Default: 'a,b,c'}
";
    const CONDITIONS: &str = "
Yes: !Equals [!Ref Name, in.example]
No: {'Fn::Not': [{Condition: Yes}]}
Self: !Not [!Condition Other]
Other: !Condition Self
";

    fn with_scope<T>(run: impl FnOnce(&Scope<'_>) -> T) -> T {
        let parameters = yaml::read(PARAMETERS).unwrap();
        let conditions = yaml::read(CONDITIONS).unwrap();
        run(&Scope {
            parameters: parameters::read(Some(&parameters), &BTreeMap::new()).unwrap(),
            conditions: conditions.map().unwrap(),
            resources: BTreeMap::from([(
                "Queue".to_owned(),
                Resource {
                    id: "Queue".to_owned(),
                    line: 1,
                    kind: "AWS::SQS::Queue",
                    properties: yaml::read("{}").unwrap(),
                    metadata: None,
                    depends_on: vec![],
                },
            )]),
            absent: BTreeSet::from(["Gone"]),
            stack_name: "mail",
            region: "eu-west-1",
            account: "123456789012",
        })
    }

    fn resolve(expression: &str) -> Result<Option<Value>, String> {
        with_scope(|scope| {
            let node = yaml::read(&format!("a: {expression}")).unwrap();
            let resolved = scope.resolve(node.get("a").unwrap()).map_err(|error| error.to_string());
            Ok(resolved?.map(|node| node.value))
        })
    }

    #[test]
    fn ok_expressions() {
        let cases = [
            ("!Ref Name", "in.example"),
            ("!Ref AWS::Region", "eu-west-1"),
            ("!Ref AWS::AccountId", "123456789012"),
            ("!Ref AWS::StackName", "mail"),
            ("!Ref AWS::Partition", "aws"),
            ("!Ref AWS::URLSuffix", "amazonaws.com"),
            ("!Ref AWS::StackId", "arn:aws:cloudformation:eu-west-1:123456789012:stack/mail/6d61696c"),
            ("!Ref Queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/mail-Queue"),
            ("!GetAtt Queue.Arn", "arn:aws:sqs:eu-west-1:123456789012:mail-Queue"),
            ("{'Fn::GetAtt': [Queue, QueueName]}", "mail-Queue"),
            ("!Sub 'a-${Name}-${AWS::Region}-${Queue.QueueName}'", "a-in.example-eu-west-1-mail-Queue"),
            ("!Sub 's3://x/${!day}/${Empty}'", "s3://x/${day}/"),
            ("!Sub ['${Name}${Other}', {Name: !Ref Empty, Other: !Join ['', [b]]}]", "b"),
            ("!Join ['-', [a, !Ref Name]]", "a-in.example"),
            ("!Join ['', !Ref List]", "abc"),
            ("!Join [',', [a, !Ref 'AWS::NoValue', b]]", "a,b"),
            ("!If [Yes, !Ref Name, !Ref Nowhere]", "in.example"),
            ("!If [No, !Ref Nowhere, 'other']", "other"),
        ];
        for (expression, expected) in cases {
            assert_eq!(resolve(expression), Ok(Some(Node::scalar(1, expected).value)), "{expression}");
        }
        assert_eq!(resolve("!Ref AWS::NoValue"), Ok(None));
        assert_eq!(resolve("[!If [No, a, !Ref 'AWS::NoValue']]"), Ok(Some(Value::List(vec![]))));
        assert_eq!(resolve("{b: !Ref 'AWS::NoValue'}"), Ok(Some(Value::Map(vec![]))));
    }

    #[test]
    fn err_expressions() {
        let cases = [
            ("!Ref Nowhere", "there is no parameter or resource Nowhere"),
            ("!Ref Gone", "Gone is not created, as its condition does not hold"),
            ("!Ref AWS::Nothing", "pseudo parameter AWS::Nothing is not known here"),
            (
                "!GetAtt Queue.Name",
                "AWS::SQS::Queue has no attribute Name known here; known are Arn, QueueName",
            ),
            ("!GetAtt Queue", "expected Id.Attribute, but found \"Queue\""),
            ("!Sub '${Nowhere}'", "there is no parameter or resource Nowhere"),
            ("!Sub 'a ${Name'", "\"${Name\" has no closing brace"),
            ("!Sub '${AWS::NoValue}'", "expected a value other than AWS::NoValue"),
            ("!Sub '${List}'", "expected a string, but found a list"),
            ("!Join [',']", "expected 2 arguments, but found 1"),
            ("!Join [',', a]", "expected a list, but found \"a\""),
            ("!If [Maybe, a, b]", "there is no condition Maybe"),
            ("!If [Self, a, b]", "condition Self depends on itself"),
            ("!Equals [a, b]", "!Equals yields a condition and can't stand here"),
        ];
        for (expression, message) in cases {
            let error = resolve(expression).unwrap_err();
            assert!(error.contains(message), "{expression}: {error}");
        }
    }

    #[test]
    fn conditions() {
        let cases = [
            ("!Equals [a, a]", Ok(true)),
            ("!Equals [!Ref Empty, '']", Ok(true)),
            ("!Equals [true, 'true']", Ok(true)),
            ("!Not [!Condition Yes]", Ok(false)),
            ("!And [!Condition Yes, {Condition: Yes}]", Ok(true)),
            ("!And [!Condition Yes, {Condition: No}]", Ok(false)),
            ("!Or [!Condition No, !Equals [a, a]]", Ok(true)),
            ("!Or [!Condition No, !Equals [a, b]]", Ok(false)),
            ("!Contains [!Ref List, b]", Ok(true)),
            ("!Contains [[a], b]", Ok(false)),
            ("!And [!Condition Yes]", Err("template line 1: !And takes 2 to 10 conditions")),
            ("!Equals [a]", Err("template line 1: expected 2 arguments, but found 1")),
            ("!Ref Name", Err("template line 1: expected a condition, but found !Ref")),
            ("Yes", Err("template line 1: expected a condition, but found \"Yes\"")),
            ("!Condition Other", Err("template line 4: condition Other depends on itself")),
        ];
        for (expression, expected) in cases {
            let holds = with_scope(|scope| {
                scope.condition(yaml::read(&format!("a: {expression}")).unwrap().get("a").unwrap())
            });
            assert_eq!(
                holds.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{expression}"
            );
        }
    }

    proptest! {
        /// Cutting a string loses nothing.
        #[test]
        fn sub_parts_join_to_the_whole(text in "([a-z${}!. ]|\\$\\{!?[A-Z]{1,3}\\}){0,12}") {
            if let Ok(parts) = sub_parts(&text) {
                let joined: String = parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => (*text).to_owned(),
                        Part::Variable(name) => format!("${{{name}}}"),
                        Part::Literal(name) => format!("${{!{name}}}"),
                    })
                    .collect();
                prop_assert_eq!(joined.replace(' ', ""), text.replace(' ', ""));
            }
        }
    }
}
