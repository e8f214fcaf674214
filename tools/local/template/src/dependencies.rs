//! Which resource needs which: what a template names must exist, and the needs must not go in circles.

use crate::{
    error::TemplateError,
    expressions::{Part, get_att, sub_parts},
    kinds::Resource,
    scope::Scope,
    yaml::{Node, Value},
};

/// Properties of a function that become resources of their own, made after the function.
const MADE_LATER: &[&str] = &["Events", "EventInvokeConfig"];

/// The resources in an order in which they can be created.
pub(crate) fn order<'s, 't>(scope: &'s Scope<'t>) -> Result<Vec<&'s Resource<'t>>, TemplateError> {
    let mut walk = Walk { scope, path: vec![], ordered: vec![] };
    // Queues first: what a function's `Events` names is there when the function is read.
    let (queues, others): (Vec<_>, Vec<_>) =
        scope.resources.values().partition(|resource| resource.kind == "AWS::SQS::Queue");
    for resource in queues.into_iter().chain(others) {
        walk.visit(resource.line, resource)?;
    }
    Ok(walk.ordered)
}

/// All that a resource needs, directly or through others, by logical id.
pub(crate) fn closure(scope: &Scope<'_>, id: &str) -> Result<Vec<String>, TemplateError> {
    let mut walk = Walk { scope, path: vec![], ordered: vec![] };
    let resource = scope.resource(0, id)?;
    walk.visit(resource.line, resource)?;
    Ok(walk.ordered.into_iter().map(|resource| resource.id.clone()).filter(|needed| needed != id).collect())
}

struct Walk<'s, 't> {
    scope: &'s Scope<'t>,
    path: Vec<&'s str>,
    ordered: Vec<&'s Resource<'t>>,
}

impl<'s, 't> Walk<'s, 't> {
    fn visit(&mut self, line: usize, resource: &'s Resource<'t>) -> Result<(), TemplateError> {
        if self.ordered.iter().any(|done| done.id == resource.id) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|id| *id == resource.id) {
            let circle = [&self.path[start..], &[resource.id.as_str()]].concat().join(" needs ");
            return Err(TemplateError::at(line, format!("resources need each other: {circle}")));
        }
        self.path.push(&resource.id);
        for (line, id) in needs(self.scope, resource)? {
            self.visit(line, self.scope.resource(line, &id)?)?;
        }
        self.path.pop();
        self.ordered.push(resource);
        Ok(())
    }
}

/// Logical ids a resource names, with the lines. CloudFormation waits for those in `Metadata` too.
fn needs(scope: &Scope<'_>, resource: &Resource<'_>) -> Result<Vec<(usize, String)>, TemplateError> {
    let mut found = vec![];
    for node in &resource.depends_on {
        let id = node.text()?;
        // What is not created need not be waited for.
        if !scope.absent.contains(id) {
            found.push((node.line, maker(scope, id).to_owned()));
        }
    }
    if let Some(metadata) = resource.metadata {
        collect(scope, metadata, &mut found)?;
    }
    match &resource.properties.value {
        Value::Map(entries) if resource.kind == "AWS::Serverless::Function" => {
            for entry in entries.iter().filter(|entry| !MADE_LATER.contains(&entry.key.as_str())) {
                collect(scope, &entry.value, &mut found)?;
            }
        }
        _ => collect(scope, &resource.properties, &mut found)?,
    }
    Ok(found)
}

/// The function that SAM makes a resource of, where an id is of such a one: it is there when the function is
/// read. SAM calls it after the function and the property, or the function and the event.
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-generated-resources.html>
fn maker<'i>(scope: &'i Scope<'_>, id: &'i str) -> &'i str {
    let makes = |function: &&Resource<'_>| {
        let Some(made) = id.strip_prefix(&function.id) else { return false };
        let own = |property: &str| function.properties.get(property);
        (made == "EventInvokeConfig" && own(made).is_some())
            || own("Events").is_some_and(|events| {
                // A schedule's rule has a permission beside it.
                events.get(made.strip_suffix("Permission").unwrap_or(made)).is_some()
            })
    };
    let mut functions =
        scope.resources.values().filter(|resource| resource.kind == "AWS::Serverless::Function");
    functions.find(makes).map_or(id, |function| &function.id)
}

fn collect(scope: &Scope<'_>, node: &Node, found: &mut Vec<(usize, String)>) -> Result<(), TemplateError> {
    let mut add = |line: usize, name: &str| {
        if !name.starts_with("AWS::") && !scope.parameters.contains_key(name) {
            found.push((line, name.to_owned()));
        }
    };
    match &node.value {
        Value::Null | Value::Scalar { .. } => Ok(()),
        Value::List(items) => items.iter().try_for_each(|item| collect(scope, item, found)),
        Value::Map(entries) => entries.iter().try_for_each(|entry| collect(scope, &entry.value, found)),
        Value::Call(name, argument) => match name.as_str() {
            "Ref" => {
                add(argument.line, argument.text()?);
                Ok(())
            }
            "GetAtt" => {
                add(argument.line, get_att(argument)?.0);
                Ok(())
            }
            "If" => collect(scope, scope.branch(argument)?, found),
            "Sub" => {
                let (text, own) = match &argument.value {
                    Value::List(items) => (items.first().unwrap_or(argument), items.get(1)),
                    _ => (&**argument, None),
                };
                for part in sub_parts(text.text()?).unwrap_or_default() {
                    if let Part::Variable(name) = part
                        && own.and_then(|own| own.get(name)).is_none()
                    {
                        add(text.line, name.split_once('.').map_or(name, |(id, _)| id));
                    }
                }
                own.map_or(Ok(()), |own| collect(scope, own, found))
            }
            _ => collect(scope, argument, found),
        },
    }
}
