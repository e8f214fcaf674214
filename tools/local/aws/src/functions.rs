//! Lambda over HTTP: what a person asks of a function that is deployed, and invoking it.
//!
//! Code is what Lambda's link leads to: a package with the beginning of the executable, which says what it is for.
//!
//! Not supported: versions, aliases, logs in the answer, changing anything.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use std::{
    io::{Cursor, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use hyper::{Method, header, http::request::Parts};
use serde_json::{Value, json};
use ses_forwarder_local_template::deployment::{Function, Permission, QueueSource};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    auth::Caller,
    flight::Flight,
    lambda::{InvocationError, Lambda},
    needs::Needs,
    response::{Body, Refusal, Response, json},
};

/// What an event may weigh, and one whose sender waits for the answer, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const EVENT_LIMIT: usize = 1024 * 1024;
const REQUEST_LIMIT: usize = 6 * 1024 * 1024;

/// Where the links to the functions' code lead.
pub(super) const CODE: &str = "/function-code/";

/// How much of an executable is handed out.
const PAGE: u64 = 4096;

/// Answers a call. Without the Lambda service there are no functions.
pub(super) async fn answer(
    lambda: Option<&Lambda>,
    flight: &Flight,
    caller: Arc<Caller>,
    head: &Parts,
    body: Bytes,
) -> Result<Response, Refusal> {
    if let (&Method::GET, "/2015-03-31/event-source-mappings") =
        (&head.method, head.uri.path().trim_end_matches('/'))
    {
        return event_source_mappings(lambda, flight, &caller, head).await;
    }
    let path = head.uri.path();
    let path = ["/2015-03-31/functions/", "/2019-09-30/functions/"]
        .iter()
        .find_map(|start| path.strip_prefix(start));
    let path = path.unwrap_or_default();
    let (name, operation) = path.split_once('/').unwrap_or((path, ""));
    let name = name.replace("%3A", ":");
    let (operation, action) = match (&head.method, operation) {
        (&Method::GET, "concurrency") => ("lambda:GetFunctionConcurrency", "lambda:GetFunctionConcurrency"),
        (&Method::GET, "configuration") => {
            ("lambda:GetFunctionConfiguration", "lambda:GetFunctionConfiguration")
        }
        (&Method::GET, "") => ("lambda:GetFunction", "lambda:GetFunction"),
        (&Method::GET, "policy") => ("lambda:GetPolicy", "lambda:GetPolicy"),
        (&Method::POST, "invocations") => ("lambda:Invoke", "lambda:InvokeFunction"),
        (method, _) => {
            let message = format!("{method} {} is not supported here", head.uri.path());
            return Err(Refusal::new(404, "UnknownOperationException", message));
        }
    };
    let found = lambda.and_then(|lambda| Some((lambda, lambda.function(&name)?)));
    // A function that does not exist may be asked for, if that is allowed.
    let arn =
        found.map_or_else(|| format!("arn:aws:lambda:*:*:function:{name}"), |(_, found)| found.arn.clone());
    flight.admit(&caller, operation, &name, &arn, vec![Needs::new(action, &*arn)]).await?;
    let (lambda, function) = found.ok_or_else(|| absent(format!("Function not found: {arn}")))?;
    match operation {
        "lambda:GetFunctionConcurrency" => {
            let reserved = function.reserved_concurrency;
            let answer =
                reserved.map_or_else(|| json!({}), |most| json!({ "ReservedConcurrentExecutions": most }));
            Ok(json(200, "application/json", &answer))
        }
        "lambda:GetFunctionConfiguration" => Ok(json(200, "application/json", &configuration(function))),
        "lambda:GetFunction" => {
            let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let location = format!("http://{host}{CODE}{}", function.name);
            let code = json!({ "RepositoryType": "S3", "Location": location });
            let answer = json!({ "Configuration": configuration(function), "Code": code });
            Ok(json(200, "application/json", &answer))
        }
        "lambda:GetPolicy" => {
            let policy =
                policy(function).ok_or_else(|| absent("The resource you requested does not exist."))?;
            Ok(json(200, "application/json", &json!({ "Policy": policy.to_string() })))
        }
        _ => invoke(lambda, function, flight, head, body).await,
    }
}

/// What the link to a function's code leads to, which needs no signature; `None` if there is no such function.
pub(super) fn code(lambda: &Lambda, name: &str) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    let binary = std::fs::File::open(lambda.binary(name)?).ok()?;
    binary.take(PAGE).read_to_end(&mut start).ok()?;
    let mut package = ZipWriter::new(Cursor::new(Vec::new()));
    package.start_file("bootstrap", SimpleFileOptions::default()).ok()?;
    package.write_all(&start).ok()?;
    Some(package.finish().ok()?.into_inner())
}

async fn invoke(
    lambda: &Lambda,
    function: &Function,
    flight: &Flight,
    head: &Parts,
    body: Bytes,
) -> Result<Response, Refusal> {
    let invocation_type = head.headers.get("x-amz-invocation-type").map(header::HeaderValue::as_bytes);
    let refused = |error: InvocationError| {
        let status = match error.error_type.as_str() {
            "TooManyRequestsException" => 429,
            "RecursiveInvocationException" => 400,
            _ => 404,
        };
        Refusal::new(status, error.error_type, error.error_message)
    };
    let limit = if invocation_type == Some(b"Event") { EVENT_LIMIT } else { REQUEST_LIMIT };
    if body.len() > limit {
        let message =
            format!("{} byte payload is too large for the invocation, which takes {limit}", body.len());
        return Err(Refusal::new(413, "RequestTooLargeException", message));
    }
    let trace = head.headers.get("x-amzn-trace-id").and_then(|trace| trace.to_str().ok());
    let (status, error, payload) = match invocation_type {
        None | Some(b"RequestResponse") => {
            match lambda.take(&function.name, trace).map_err(refused)?.run(body).await {
                Ok(answer) => (200, false, answer),
                Err(error) => (200, true, json!(error).to_string().into()),
            }
        }
        Some(b"Event") => {
            lambda.invoke_async_traced(&function.name, body, trace).map_err(refused)?;
            (202, false, Bytes::new())
        }
        Some(b"DryRun") => (204, false, Bytes::new()),
        Some(_) => {
            let message = "InvocationType must be one of RequestResponse, Event and DryRun.";
            return Err(Refusal::new(400, "InvalidParameterValueException", message));
        }
    };
    let response = hyper::Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    let response = response.header("x-amzn-requestid", &flight.request_id);
    // The call went well; what it called did not. Lambda says `Unhandled` whatever the error.
    let response = if error { response.header("x-amz-function-error", "Unhandled") } else { response };
    Ok(response.body(Body::from(payload)).expect("status and headers are valid"))
}

/// The queues that invoke a function.
async fn event_source_mappings(
    lambda: Option<&Lambda>,
    flight: &Flight,
    caller: &Arc<Caller>,
    head: &Parts,
) -> Result<Response, Refusal> {
    let action = "lambda:ListEventSourceMappings";
    flight.admit(caller, action, "", "*", vec![Needs::new(action, "*")]).await?;
    let query: Vec<(String, String)> =
        serde_urlencoded::from_str(head.uri.query().unwrap_or_default()).unwrap_or_default();
    let name = query.iter().find(|(name, _)| name == "FunctionName").map(|(_, value)| value.as_str());
    let function = name.and_then(|name| lambda?.function(name));
    let function = function.ok_or_else(|| absent("Function not found"))?;
    let mapping = |(index, source): (usize, &QueueSource)| {
        json!({
            "UUID": format!("00000000-0000-4000-8000-{index:012}"),
            "BatchSize": source.batch_size,
            "EventSourceArn": source.queue_arn,
            "FunctionArn": function.arn,
            "State": "Enabled",
        })
    };
    let mappings: Vec<_> = function.queue_sources.iter().enumerate().map(mapping).collect();
    Ok(json(200, "application/json", &json!({ "EventSourceMappings": mappings })))
}

fn configuration(function: &Function) -> Value {
    let mut configuration = json!({
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "Role": function.role.arn,
        "Runtime": "provided.al2023",
        // They run on this machine's processor.
        "Architectures": [if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }],
        "Timeout": function.timeout.as_secs(),
        "MemorySize": function.memory_mb,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "Environment": { "Variables": function.environment },
        "LoggingConfig": { "LogGroup": function.log_group },
    });
    if let Some(queue) = &function.dead_letter_arn {
        configuration["DeadLetterConfig"]["TargetArn"] = json!(queue);
    }
    configuration
}

/// The resource-based policy as Lambda makes it of permissions; `None` without any.
fn policy(function: &Function) -> Option<Value> {
    let statement = |permission: &Permission| {
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": { "Service": permission.principal },
            "Action": "lambda:InvokeFunction",
            "Resource": function.arn,
        });
        if let Some(account) = &permission.source_account {
            statement["Condition"]["StringEquals"]["AWS:SourceAccount"] = json!(account);
        }
        if let Some(arn) = &permission.source_arn {
            statement["Condition"]["ArnLike"]["AWS:SourceArn"] = json!(arn);
        }
        statement
    };
    let statements: Vec<_> = function.permissions.iter().map(statement).collect();
    (!statements.is_empty()).then(|| json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn absent(message: impl Into<String>) -> Refusal {
    Refusal::new(404, "ResourceNotFoundException", message)
}
