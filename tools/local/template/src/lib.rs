//! `template.yaml`, evaluated: what CloudFormation and SAM would make of it, as far as this stack
//! plays it.
//!
//! Not supported, and therefore errors that name the line: `Mappings`, macros, nested stacks, other
//! transforms than SAM's, roles that SAM makes up (a function names its own), other intrinsic
//! functions than those of [`yaml`], other resource types and properties than those of [`kinds`].
//!
//! The way through: [`yaml`] reads, [`parameters`] are checked, [`scope`] evaluates expressions,
//! [`dependencies`] says what is made first, [`resources`] and [`functions`] read what is left.

mod dependencies;
pub mod deployment;
mod documents;
mod error;
mod events;
mod expressions;
mod functions;
mod kinds;
mod parameters;
mod resources;
mod samconfig;
mod scope;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{error::TemplateError, samconfig::SamConfig};
use self::{
    kinds::Resource,
    resources::Built,
    scope::Scope,
    yaml::{Entry, Node, Value, check_keys},
};
use crate::deployment::Deployment;

/// The account that ARNs name: the one of AWS's own examples.
pub const ACCOUNT: &str = "123456789012";

const TRANSFORM: &str = "AWS::Serverless-2016-10-31";

/// Evaluates a template with these parameters.
pub fn evaluate(
    template: &str,
    parameters: &BTreeMap<String, String>,
    stack_name: &str,
    region: &str,
) -> Result<Deployment, TemplateError> {
    let root = yaml::read(template)?;
    let scope = declared(&root, parameters, stack_name, region)?;
    let mut built = Built::default();
    for resource in dependencies::order(&scope)? {
        built.add(&scope, resource)?;
    }
    built.finish();
    Ok(Deployment {
        region: region.to_owned(),
        account: ACCOUNT.to_owned(),
        stack_name: stack_name.to_owned(),
        parameters: texts(&scope.parameters)?,
        buckets: built.buckets,
        rules: built.rules,
        functions: built.functions,
        queues: built.queues,
        topics: built.topics,
        configuration_sets: built.configuration_sets,
        tenants: built.tenants,
        event_destinations: built.event_destinations,
        event_rules: built.event_rules,
        alarms: built.alarms,
        outputs: outputs(&scope, section(&root, "Outputs")?)?,
        not_played: built.not_played,
    })
}

/// What CloudFormation makes of a template with these parameters before it makes resources of it: functions are
/// replaced by what they yield, and what has a condition that does not hold is left out. `Conditions` tells of each
/// whether it holds; `Metadata`, `Parameters` and `Rules` are gone.
pub fn rendered(
    template: &str,
    parameters: &BTreeMap<String, String>,
    stack_name: &str,
    region: &str,
) -> Result<serde_json::Value, TemplateError> {
    let root = yaml::read(template)?;
    let scope = declared(&root, parameters, stack_name, region)?;
    let json = |node: &Node| match scope.resolve(node)? {
        Some(resolved) => resolved.json(),
        None => Err(node.expected("a value")),
    };
    let kept = |node: &Node| {
        if !scope.keeps(node)? {
            return Ok(None);
        }
        let mut body = json(node)?;
        body.as_object_mut().map(|parts| parts.remove("Condition"));
        Ok(Some(body))
    };
    let mut sections = serde_json::Map::new();
    for Entry { key, value, .. } in root.map()? {
        let section = match key.as_str() {
            "Metadata" | "Parameters" | "Rules" => continue,
            "Conditions" => entries(value, |node| Ok(Some(scope.condition(node)?.into())))?,
            "Outputs" | "Resources" => entries(value, kept)?,
            _ => json(value)?,
        };
        sections.insert(key.clone(), section);
    }
    Ok(sections.into())
}

/// The entries of a section that there is JSON for.
fn entries(
    section: &Node,
    json: impl Fn(&Node) -> Result<Option<serde_json::Value>, TemplateError>,
) -> Result<serde_json::Value, TemplateError> {
    let json = |entry: &Entry| Ok(json(&entry.value)?.map(|json| (entry.key.clone(), json)));
    section.map()?.iter().map(json).filter_map(Result::transpose).collect()
}

/// What a template declares, as far as conditions hold; an error if parameters don't fit or a rule does not hold.
fn declared<'t>(
    root: &'t Node,
    parameters: &BTreeMap<String, String>,
    stack_name: &'t str,
    region: &'t str,
) -> Result<Scope<'t>, TemplateError> {
    check_sections(root)?;
    let mut scope = Scope {
        parameters: parameters::read(root.get("Parameters"), parameters)?,
        conditions: section(root, "Conditions")?,
        resources: BTreeMap::new(),
        absent: BTreeSet::new(),
        stack_name,
        region,
        account: ACCOUNT,
    };
    for condition in scope.conditions {
        scope.condition(&condition.value)?;
    }
    check_rules(&scope, section(root, "Rules")?)?;
    let function_globals = function_globals(root)?;
    for entry in root.require("Resources")?.map()? {
        match declare(&scope, entry, function_globals)? {
            Some(resource) => _ = scope.resources.insert(entry.key.clone(), resource),
            None => _ = scope.absent.insert(&entry.key),
        }
    }
    Ok(scope)
}

fn check_sections(root: &Node) -> Result<(), TemplateError> {
    const KNOWN: &[&str] = &[
        "AWSTemplateFormatVersion",
        "Conditions",
        "Description",
        "Globals",
        "Metadata",
        "Outputs",
        "Parameters",
        "Resources",
        "Rules",
        "Transform",
    ];
    if let Some(other) = root.map()?.iter().find(|entry| !KNOWN.contains(&entry.key.as_str())) {
        let message = format!("section {} is not known here; known are {}", other.key, KNOWN.join(", "));
        return Err(TemplateError::at(other.line, message));
    }
    match root.require("Transform")? {
        transform if transform.text() == Ok(TRANSFORM) => Ok(()),
        transform => Err(transform.expected(TRANSFORM)),
    }
}

fn section<'t>(root: &'t Node, name: &str) -> Result<&'t [Entry], TemplateError> {
    root.get(name).map_or(Ok(&[]), Node::map)
}

/// `Rules`: what must hold between parameters.
fn check_rules(scope: &Scope<'_>, rules: &[Entry]) -> Result<(), TemplateError> {
    for rule in rules {
        check_keys(&rule.value, "a rule", &["Assertions", "RuleCondition"])?;
        if let Some(condition) = rule.value.get("RuleCondition")
            && !scope.condition(condition)?
        {
            continue;
        }
        for assertion in rule.value.require("Assertions")?.list()? {
            check_keys(assertion, "an assertion", &["Assert", "AssertDescription"])?;
            if !scope.condition(assertion.require("Assert")?)? {
                let description = assertion.get("AssertDescription").map(Node::text).transpose()?;
                let message =
                    format!("rule {}: {}", rule.key, description.unwrap_or("its assertion does not hold"));
                return Err(TemplateError::at(assertion.line, message));
            }
        }
    }
    Ok(())
}

fn function_globals(root: &Node) -> Result<Option<&Node>, TemplateError> {
    let Some(globals) = root.get("Globals") else { return Ok(None) };
    match globals.map()?.iter().find(|entry| entry.key != "Function") {
        Some(other) => {
            let message = format!("Globals of {} are not known here, only of Function", other.key);
            Err(TemplateError::at(other.line, message))
        }
        None => Ok(globals.get("Function")),
    }
}

/// A resource as it is declared; `None` if its condition does not hold.
fn declare<'t>(
    scope: &Scope<'_>,
    entry: &'t Entry,
    function_globals: Option<&Node>,
) -> Result<Option<Resource<'t>>, TemplateError> {
    // The last two say what becomes of a resource when the stack is deleted, which never happens here.
    const KNOWN: &[&str] = &[
        "Condition",
        "DependsOn",
        "Metadata",
        "Properties",
        "Type",
        "DeletionPolicy",
        "UpdateReplacePolicy",
    ];
    let node = &entry.value;
    check_keys(node, "a resource", KNOWN)?;
    let kind = node.require("Type")?;
    kinds::find(kind)?;
    let own = match node.get("Properties") {
        Some(properties) => properties.clone(),
        None => Node { line: entry.line, value: Value::Map(vec![]) },
    };
    let properties = match function_globals {
        Some(globals) if kind.text()? == "AWS::Serverless::Function" => merge(globals, own),
        _ => own,
    };
    if !scope.keeps(node)? {
        return Ok(None);
    }
    Ok(Some(Resource {
        id: entry.key.clone(),
        line: entry.line,
        kind: kind.text()?,
        properties,
        metadata: node.get("Metadata"),
        depends_on: node.get("DependsOn").map_or(vec![], |node| node.one_or_many().iter().collect()),
    }))
}

/// Globals under a resource's own properties: mappings merge, lists are joined, else its own win.
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html>
fn merge(global: &Node, own: Node) -> Node {
    let value = match (&global.value, own.value) {
        (Value::Map(global), Value::Map(mut entries)) => {
            for entry in global {
                match entries.iter_mut().find(|own| own.key == entry.key) {
                    Some(own) => own.value = merge(&entry.value, own.value.clone()),
                    None => entries.push(entry.clone()),
                }
            }
            Value::Map(entries)
        }
        (Value::List(global), Value::List(own)) => Value::List([global.clone(), own].concat()),
        (_, own) => own,
    };
    Node { line: own.line, value }
}

fn texts(parameters: &parameters::Parameters) -> Result<BTreeMap<String, String>, TemplateError> {
    let text = |value: &Value| match value {
        Value::List(items) => Ok(items.iter().map(Node::text).collect::<Result<Vec<_>, _>>()?.join(",")),
        Value::Scalar { text, .. } => Ok(text.clone()),
        _ => Ok(String::new()),
    };
    parameters.iter().map(|(name, value)| Ok((name.clone(), text(value)?))).collect()
}

fn outputs(scope: &Scope<'_>, section: &[Entry]) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut outputs = BTreeMap::new();
    for entry in section {
        check_keys(&entry.value, "an output", &["Condition", "Description", "Value"])?;
        if scope.keeps(&entry.value)? {
            outputs.insert(entry.key.clone(), scope.string(entry.value.require("Value")?)?);
        }
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests;
