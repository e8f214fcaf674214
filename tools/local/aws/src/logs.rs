//! CloudWatch Logs: the lines of the functions, from the journal.
//!
//! Not supported: filter patterns other than terms of which one has to be there (`?"a" ?"b"`), streams,
//! pages, everything that makes or changes a group.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::Caller,
    flight::Flight,
    journal::{Event, Journal},
    lambda::Lambda,
    needs::Needs,
    response::{Refusal, Response, json},
};

/// FilterLogEvents' request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Input {
    log_group_name: String,
    filter_pattern: String,
    /// Milliseconds since 1970.
    start_time: Option<u64>,
    end_time: Option<u64>,
}

/// Answers a call.
pub(crate) async fn answer(
    lambda: Option<&Lambda>,
    journal: &Journal,
    flight: &Flight,
    caller: Arc<Caller>,
    head: &Parts,
    body: &[u8],
) -> Result<Response, Refusal> {
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default();
    if operation != "FilterLogEvents" {
        let message = format!("{operation} is not supported here");
        return Err(Refusal::new(400, "UnknownOperationException", message));
    }
    let input: Input = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(400, "SerializationException", error.to_string()))?;
    let group = &input.log_group_name;
    let arn = format!("arn:aws:logs:*:{}:log-group:{group}", flight.account());
    let action = "logs:FilterLogEvents";
    flight.admit(&caller, action, group, &arn, vec![Needs::new(action, &*arn)]).await?;
    let function = lambda.and_then(|lambda| lambda.functions().find(|function| function.log_group == *group));
    let Some(function) = function else {
        let message = "The specified log group does not exist.";
        return Err(Refusal::new(400, "ResourceNotFoundException", message));
    };
    let terms = terms(&input.filter_pattern)?;
    let events: Vec<Value> = journal
        .entries()
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Logged { function: by, line } if *by == function.name => Some((millis(entry.at), line)),
            _ => None,
        })
        .filter(|(at, line)| {
            input.start_time.is_none_or(|start| start <= *at)
                && input.end_time.is_none_or(|end| *at <= end)
                && (terms.is_empty() || terms.iter().any(|term| line.contains(term)))
        })
        .map(|(at, line)| json!({ "timestamp": at, "message": line, "logStreamName": "local" }))
        .collect();
    Ok(json(200, "application/x-amz-json-1.1", &json!({ "events": events })))
}

/// The terms of a pattern such as `?"a" ?"b"`.
fn terms(pattern: &str) -> Result<Vec<&str>, Refusal> {
    pattern
        .split_whitespace()
        .map(|word| {
            word.strip_prefix("?\"").and_then(|word| word.strip_suffix('"')).ok_or_else(|| {
                let message = format!("The filter pattern {pattern} is not supported here");
                Refusal::new(400, "InvalidParameterException", message)
            })
        })
        .collect()
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_terms() {
        assert_eq!(terms("?\"a-1\" ?\"b\"").unwrap(), ["a-1", "b"]);
        assert_eq!(terms("").unwrap(), [""; 0]);
        assert!(terms("{ $.level = \"INFO\" }").is_err());
    }
}
