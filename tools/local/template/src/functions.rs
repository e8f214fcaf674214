//! Functions, their roles, and who may invoke them.

use std::{collections::BTreeMap, time::Duration};

use ses_forwarder_iam::{Call, Decision, Policy, Principal, Role};

use crate::{
    deployment::{Function, LogFormat, Permission, Queue, QueueSource, Schedule},
    documents,
    error::TemplateError,
    kinds::Resource,
    scope::Scope,
    yaml::Node,
};

/// Sizes and times that Lambda allows and assumes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const TIMEOUT_SECONDS: (u64, std::ops::RangeInclusive<u64>) = (3, 1..=900);
const MEMORY_MB: (u64, std::ops::RangeInclusive<u64>) = (128, 128..=10_240);
const RETRIES: (u64, std::ops::RangeInclusive<u64>) = (2, 0..=2);
const EVENT_AGE_SECONDS: (u64, std::ops::RangeInclusive<u64>) = (21_600, 60..=21_600);
const BATCH_SIZE: (u64, std::ops::RangeInclusive<u64>) = (10, 1..=10_000);
const BATCHING_WINDOW_SECONDS: (u64, std::ops::RangeInclusive<u64>) = (0, 0..=300);

/// More than this many messages a batch need a batching window.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const BATCH_WITHOUT_WINDOW: u64 = 10;

const LOG_LEVELS: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// What has been read before a function, and it may name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'b> {
    pub(crate) roles: &'b [Role],
    /// Who may assume a role, by its ARN.
    pub(crate) trust: &'b BTreeMap<String, Policy>,
    pub(crate) queues: &'b [Queue],
}

/// Reads a function.
pub(crate) fn function(
    scope: &Scope<'_>,
    resource: &Resource<'_>,
    properties: &Node,
    known: Known<'_>,
) -> Result<Function, TemplateError> {
    let name = scope.reference_to(resource)?;
    let arn = scope.attribute_of(resource, "Arn", resource.line)?;
    let runtime = properties.require("Runtime")?;
    if runtime.text()? != "provided.al2023" {
        return Err(runtime.expected("runtime provided.al2023"));
    }
    let role_node = properties.require("Role")?;
    let role = known.roles.iter().find(|role| Ok(role.arn.as_str()) == role_node.text());
    let role = role.ok_or_else(|| role_node.expected("the ARN of a role of this template"))?.clone();
    let assumed =
        Call { action: "sts:AssumeRole".to_owned(), resource: role.arn.clone(), context: BTreeMap::new() };
    let lambda = Principal::Service("lambda.amazonaws.com".to_owned());
    if known.trust[&role.arn].decide(&lambda, &assumed) != Decision::Allowed {
        let message = format!("{} can't be assumed by Lambda: see its AssumeRolePolicyDocument", role.arn);
        return Err(TemplateError::at(role_node.line, message));
    }
    let timeout = seconds(properties, "Timeout", &TIMEOUT_SECONDS)?;
    let invoke = properties.get("EventInvokeConfig");
    let (log_group, log_format, log_level) = logging(properties.get("LoggingConfig"), &name)?;
    let function = Function {
        logical_id: resource.id.clone(),
        binary: binary(resource, properties)?,
        environment: environment(properties)?,
        timeout,
        memory_mb: number(Some(properties), "MemorySize", &MEMORY_MB)?,
        permissions: vec![],
        dead_letter_arn: properties.get("DeadLetterQueue").map(dead_letter_queue).transpose()?,
        maximum_retry_attempts: u32::try_from(number(invoke, "MaximumRetryAttempts", &RETRIES)?)
            .expect("the limit is 2"),
        maximum_event_age: Duration::from_secs(number(
            invoke,
            "MaximumEventAgeInSeconds",
            &EVENT_AGE_SECONDS,
        )?),
        reserved_concurrency: properties
            .get("ReservedConcurrentExecutions")
            .map(|node| node.number(0..=1_000))
            .transpose()?
            .map(usize_of),
        may_recur: properties.get("RecursiveLoop").map_or(Ok(false), may_recur)?,
        queue_sources: queue_sources(properties, timeout, &role, known)?,
        schedules: schedules(scope, resource, properties)?,
        log_group,
        log_format,
        log_level,
        role,
        name,
        arn,
    };
    if let (Some(arn), Some(node)) = (&function.dead_letter_arn, properties.get("DeadLetterQueue")) {
        require(&function.role, "sqs:SendMessage", arn, node)?;
    }
    Ok(function)
}

/// `RecursiveLoop`.
fn may_recur(node: &Node) -> Result<bool, TemplateError> {
    match node.text()? {
        "Allow" => Ok(true),
        "Terminate" => Ok(false),
        _ => Err(node.expected("Allow or Terminate")),
    }
}

/// The binary that the Makefile builds for it: that of the package in `CodeUri`.
fn binary(resource: &Resource<'_>, properties: &Node) -> Result<String, TemplateError> {
    let metadata = resource
        .metadata
        .ok_or_else(|| TemplateError::at(resource.line, "Metadata.BuildMethod is missing"))?;
    let method = metadata.require("BuildMethod")?;
    if method.text()? != "makefile" {
        return Err(method.expected("makefile"));
    }
    Ok(properties.require("CodeUri")?.text()?.trim_matches('/').to_owned())
}

fn environment(properties: &Node) -> Result<BTreeMap<String, String>, TemplateError> {
    let variables = properties.get("Environment").and_then(|environment| environment.get("Variables"));
    let variables = variables.map(Node::map).transpose()?.unwrap_or_default();
    variables.iter().map(|entry| Ok((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
}

fn logging(config: Option<&Node>, function: &str) -> Result<(String, LogFormat, String), TemplateError> {
    let get = |key| config.and_then(|config| config.get(key));
    let log_group = match get("LogGroup") {
        Some(group) => group.text()?.to_owned(),
        None => format!("/aws/lambda/{function}"),
    };
    let log_format = match get("LogFormat").map(|node| (node, node.text())) {
        None | Some((_, Ok("Text"))) => LogFormat::Text,
        Some((_, Ok("JSON"))) => LogFormat::Json,
        Some((node, _)) => return Err(node.expected("JSON or Text")),
    };
    let log_level = match get("ApplicationLogLevel") {
        None => "INFO",
        Some(node) if log_format == LogFormat::Text => {
            return Err(TemplateError::at(
                node.line,
                "Lambda takes ApplicationLogLevel with LogFormat JSON only",
            ));
        }
        Some(node) if node.text().is_ok_and(|level| LOG_LEVELS.contains(&level)) => node.text()?,
        Some(node) => return Err(node.expected(&LOG_LEVELS.join(", "))),
    };
    Ok((log_group, log_format, log_level.to_owned()))
}

/// The queue that dead letters go to.
fn dead_letter_queue(node: &Node) -> Result<String, TemplateError> {
    let kind = node.require("Type")?;
    if kind.text()? != "SQS" {
        return Err(kind.expected("SQS, the only target played here"));
    }
    Ok(node.require("TargetArn")?.text()?.to_owned())
}

fn queue_sources(
    properties: &Node,
    timeout: Duration,
    role: &Role,
    known: Known<'_>,
) -> Result<Vec<QueueSource>, TemplateError> {
    let mut sources = vec![];
    for event in properties.get("Events").map(Node::map).transpose()?.unwrap_or_default() {
        let kind = event.value.require("Type")?;
        match kind.text()? {
            "SQS" => {}
            "Schedule" => continue,
            _ => return Err(kind.expected("SQS or Schedule, the only kinds of events played here")),
        }
        let node = event.value.require("Properties")?;
        let queue_node = node.require("Queue")?;
        let queue = known.queues.iter().find(|queue| Ok(queue.arn.as_str()) == queue_node.text());
        let queue = queue.ok_or_else(|| queue_node.expected("the ARN of a queue of this template"))?;
        if queue.visibility_timeout < timeout {
            let message = format!(
                "Lambda refuses {}: its visibility time-out of {} s is shorter than the function's of {} s",
                queue.name,
                queue.visibility_timeout.as_secs(),
                timeout.as_secs()
            );
            return Err(TemplateError::at(queue_node.line, message));
        }
        for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"] {
            require(role, action, &queue.arn, queue_node)?;
        }
        let batch_size = number(Some(node), "BatchSize", &BATCH_SIZE)?;
        let window = number(Some(node), "MaximumBatchingWindowInSeconds", &BATCHING_WINDOW_SECONDS)?;
        if batch_size > BATCH_WITHOUT_WINDOW && window == 0 {
            let message = "Lambda takes a BatchSize above 10 only with a MaximumBatchingWindowInSeconds";
            return Err(TemplateError::at(node.require("BatchSize")?.line, message));
        }
        sources.push(QueueSource {
            queue_arn: queue.arn.clone(),
            batch_size: usize_of(batch_size),
            batching_window: Duration::from_secs(window),
            report_batch_item_failures: node
                .get("FunctionResponseTypes")
                .map_or(Ok(false), response_types)?,
            maximum_concurrency: node
                .get("ScalingConfig")
                .and_then(|config| config.get("MaximumConcurrency"))
                .map(|node| node.number(2..=1_000))
                .transpose()?
                .map(usize_of),
        });
    }
    Ok(sources)
}

/// The schedules that invoke a function. SAM makes a rule of EventBridge of each, and the permission for it.
fn schedules(
    scope: &Scope<'_>,
    resource: &Resource<'_>,
    properties: &Node,
) -> Result<Vec<Schedule>, TemplateError> {
    let mut schedules = vec![];
    for event in properties.get("Events").map(Node::map).transpose()?.unwrap_or_default() {
        if event.value.require("Type")?.text()? != "Schedule" {
            continue;
        }
        let node = event.value.require("Properties")?;
        let expression = node.require("Schedule")?;
        let text = expression.text()?;
        if !is_schedule(text) {
            return Err(expression.expected("cron(…) with six fields, or rate(…) with a number and a unit"));
        }
        let enabled = match node.get("State").map(|state| (state, state.text())) {
            None | Some((_, Ok("ENABLED"))) => true,
            Some((_, Ok("DISABLED"))) => false,
            Some((state, _)) => return Err(state.expected("ENABLED or DISABLED")),
        };
        schedules.push(Schedule {
            rule_arn: scope.arn("events", &format!("rule/{}{}", resource.id, event.key)),
            expression: text.to_owned(),
            enabled,
        });
    }
    Ok(schedules)
}

/// Whether EventBridge takes an expression, by its form.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
fn is_schedule(text: &str) -> bool {
    let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    let fields = |text: &str| text.split(' ').filter(|field| !field.is_empty()).count();
    let rate = |text: &str| {
        let (number, unit) = text.split_once(' ')?;
        let units = ["minute", "minutes", "hour", "hours", "day", "days"];
        (number.parse::<u32>().is_ok_and(|number| number > 0) && units.contains(&unit)).then_some(())
    };
    inside("cron").is_some_and(|text| fields(text) == 6) || inside("rate").and_then(rate).is_some()
}

fn response_types(node: &Node) -> Result<bool, TemplateError> {
    match node.list()? {
        [] => Ok(false),
        [only] if only.text()? == "ReportBatchItemFailures" => Ok(true),
        [other, ..] => Err(other.expected("ReportBatchItemFailures alone")),
    }
}

/// What Lambda looks at when a function or event source is made: that the role allows what Lambda
/// will do in its name.
fn require(role: &Role, action: &str, resource: &str, node: &Node) -> Result<(), TemplateError> {
    let call = Call { action: action.to_owned(), resource: resource.to_owned(), context: BTreeMap::new() };
    if role.allows(&call) {
        return Ok(());
    }
    let message = format!("Lambda refuses this: {} does not allow {action} on {resource}", role.arn);
    Err(TemplateError::at(node.line, message))
}

/// Reads a permission, and the function it belongs to by name or ARN.
pub(crate) fn permission(properties: &Node) -> Result<(String, Permission), TemplateError> {
    let action = properties.require("Action")?;
    if action.text()? != "lambda:InvokeFunction" {
        return Err(action.expected("lambda:InvokeFunction"));
    }
    let text = |key| properties.get(key).map(|node| node.text().map(str::to_owned)).transpose();
    let permission = Permission {
        principal: properties.require("Principal")?.text()?.to_owned(),
        source_account: text("SourceAccount")?,
        source_arn: text("SourceArn")?,
    };
    Ok((properties.require("FunctionName")?.text()?.to_owned(), permission))
}

/// Reads a role.
pub(crate) fn role(
    scope: &Scope<'_>,
    resource: &Resource<'_>,
    properties: &Node,
) -> Result<Role, TemplateError> {
    let mut policy = Policy::default();
    for inline in properties.get("Policies").map(Node::list).transpose()?.unwrap_or_default() {
        inline.require("PolicyName")?;
        policy.statements.extend(documents::policy(inline.require("PolicyDocument")?)?.statements);
    }
    Ok(Role::new(scope.attribute_of(resource, "Arn", resource.line)?, policy))
}

fn number(
    node: Option<&Node>,
    key: &str,
    (default, limits): &(u64, std::ops::RangeInclusive<u64>),
) -> Result<u64, TemplateError> {
    node.and_then(|node| node.get(key)).map_or(Ok(*default), |node| node.number(limits.clone()))
}

fn seconds(
    node: &Node,
    key: &str,
    limits: &(u64, std::ops::RangeInclusive<u64>),
) -> Result<Duration, TemplateError> {
    number(Some(node), key, limits).map(Duration::from_secs)
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("limits are far below usize::MAX")
}
