//! SES's event destinations and EventBridge's rules, read from evaluated properties.
//!
//! Not played, and therefore errors: buses other than the default one, event patterns of anything but exact
//! texts, targets other than queues.

use crate::{
    deployment::{EventDestination, EventRule},
    error::TemplateError,
    kinds::Resource,
    scope::Scope,
    yaml::{Node, Value},
};

/// As CloudFormation spells them.
const EVENT_TYPES: &[&str] = &[
    "send",
    "reject",
    "bounce",
    "complaint",
    "delivery",
    "open",
    "click",
    "renderingFailure",
    "deliveryDelay",
    "subscription",
];

/// Reads what a configuration set tells EventBridge.
pub(crate) fn destination(
    scope: &Scope<'_>,
    resource: &Resource<'_>,
    properties: &Node,
) -> Result<EventDestination, TemplateError> {
    let node = properties.require("EventDestination")?;
    let bus = node.require("EventBridgeDestination")?.require("EventBusArn")?;
    // SES publishes to no other.
    if bus.text()? != scope.arn("events", "event-bus/default") {
        return Err(bus.expected("the ARN of the default event bus"));
    }
    let event_type = |node: &Node| match node.text()? {
        text if EVENT_TYPES.contains(&text) => Ok(text.to_owned()),
        _ => Err(node.expected(&EVENT_TYPES.join(", "))),
    };
    Ok(EventDestination {
        name: scope.reference_to(resource)?,
        configuration_set: properties.require("ConfigurationSetName")?.text()?.to_owned(),
        enabled: node.get("Enabled").map_or(Ok(false), Node::boolean)?,
        event_types: node
            .require("MatchingEventTypes")?
            .list()?
            .iter()
            .map(event_type)
            .collect::<Result<_, _>>()?,
    })
}

/// Reads a rule.
pub(crate) fn rule(
    scope: &Scope<'_>,
    resource: &Resource<'_>,
    properties: &Node,
) -> Result<EventRule, TemplateError> {
    let mut pattern = Vec::new();
    flatten(properties.require("EventPattern")?, &mut Vec::new(), &mut pattern)?;
    let enabled = match properties.get("State").map(|state| (state, state.text())) {
        None | Some((_, Ok("ENABLED"))) => true,
        Some((_, Ok("DISABLED"))) => false,
        Some((state, _)) => return Err(state.expected("ENABLED or DISABLED")),
    };
    let targets = properties.get("Targets").map(Node::list).transpose()?.unwrap_or_default();
    let target = |node: &Node| {
        node.require("Id")?;
        let arn = node.require("Arn")?;
        match arn.text()? {
            text if text.split(':').nth(2) == Some("sqs") => Ok(text.to_owned()),
            _ => Err(arn.expected("the ARN of a queue, the only target played here")),
        }
    };
    Ok(EventRule {
        name: scope.reference_to(resource)?,
        arn: scope.attribute_of(resource, "Arn", resource.line)?,
        enabled,
        pattern,
        targets: targets.iter().map(target).collect::<Result<_, _>>()?,
    })
}

/// The lists of a pattern, each with its path.
fn flatten(
    node: &Node,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, Vec<String>)>,
) -> Result<(), TemplateError> {
    if let Value::List(values) = &node.value {
        let values = values.iter().map(|value| value.text().map(str::to_owned));
        found.push((path.clone(), values.collect::<Result<_, _>>()?));
        return Ok(());
    }
    for entry in node.map()? {
        path.push(entry.key.clone());
        flatten(&entry.value, path, found)?;
        path.pop();
    }
    Ok(())
}
