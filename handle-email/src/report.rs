//! The one line that an invocation logs about a message, which CloudWatch also reads its metrics from.
//!
//! It names message, sizes, verdicts and outcome, and neither subject nor body nor address. Metrics
//! cost nothing but this line: namespace `SesForwarder`, dimension `FunctionName`, `Dropped` by `Reason`
//! too. `template.yaml` shows them on its dashboard.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};
use ses_forwarder::outcome::Status;
use ses_forwarder_aws::function::log_line;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    asked::Asked,
    incoming::{Ending, Incoming},
    replying::OVER_THE_LIMIT,
};

const NAMESPACE: &str = "SesForwarder";

/// The line.
#[derive(Debug)]
pub(crate) struct Report(Value);

impl Report {
    /// Tells of a message and how the try at it ended.
    pub(crate) fn of(message: &Incoming<'_>, ending: &Ending) -> Report {
        let now = OffsetDateTime::now_utc();
        let outcome = ending.outcome.as_ref();
        let status = outcome.map_or(Status::Failed, |outcome| outcome.status);
        let notification = message.notification;
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);

        put("timestamp", now.format(&Rfc3339).unwrap_or_default().into());
        put("level", if ending.failure.is_some() { "ERROR" } else { "INFO" }.into());
        put("message", if ending.repeated { "settled before".into() } else { status.word().into() });
        put("requestId", message.invocation.request_id.into());
        put("messageId", notification.message_id.as_str().into());
        put("recipients", notification.recipients.len().into());
        put(
            "verdicts",
            json!({
                "spam": notification.spam.word(),
                "virus": notification.virus.word(),
                "spf": notification.spf.word(),
                "dkim": notification.dkim.word(),
                "dmarc": notification.dmarc.word(),
            }),
        );
        put("status", status.word().into());
        if let Some(outcome) = outcome {
            put("destinations", outcome.destinations.len().into());
            put("sends", outcome.sent.len().into());
            let stubs = outcome.sent.iter().filter(|sent| sent.stub).count();
            if stubs > 0 {
                put("stubs", stubs.into());
            }
            if let Some(reason) = &outcome.reason {
                put("Reason", reason.as_str().into());
            }
            if let Some(reason) = &outcome.released {
                put("released", reason.as_str().into());
            }
        }
        if let Some(failure) = &ending.failure {
            put("errorType", failure.name.as_str().into());
            put("errorMessage", failure.sentence.as_str().into());
        }
        let count = match status {
            Status::Forwarded => Some("Forwarded"),
            Status::Dropped => Some("Dropped"),
            Status::Held => Some("Held"),
            Status::Rejected => Some("Rejected"),
            Status::Failed
                if ending.failure.as_ref().is_some_and(|failure| failure.name == OVER_THE_LIMIT) =>
            {
                Some(OVER_THE_LIMIT)
            }
            // It may come through yet: handle-dead-letter counts what does not.
            Status::Failed | Status::Sending => None,
        };
        if let Some(count) = count.filter(|_| !ending.repeated) {
            put("FunctionName", message.invocation.function_name.into());
            put(count, 1.into());
            let mut others = Vec::new();
            if let Some(bytes) = outcome.and_then(|outcome| outcome.bytes) {
                put("MessageBytes", bytes.into());
                others.push(json!({"Name": "MessageBytes", "Unit": "Bytes"}));
            }
            let millis = outcome.and_then(|outcome| outcome.forward_millis);
            // What its owner asks for later says nothing of how long forwarding takes.
            if let (Status::Forwarded, Asked::Nothing, Some(millis)) =
                (status, &message.invocation.asked, millis)
            {
                put("ForwardSeconds", (millis as f64 / 1000.0).into());
                others.push(json!({"Name": "ForwardSeconds", "Unit": "Seconds"}));
            }
            let by_function = json!(["FunctionName"]);
            let mut dimensions = vec![by_function.clone()];
            if status == Status::Dropped {
                dimensions.push(json!(["FunctionName", "Reason"]));
            }
            let mut metrics = vec![directive(&dimensions, &[json!({"Name": count, "Unit": "Count"})])];
            if !others.is_empty() {
                metrics.push(directive(&[by_function], &others));
            }
            let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
            put("_aws", json!({"Timestamp": millis, "CloudWatchMetrics": metrics}));
        }
        Report(line.into())
    }

    /// Writes it to standard output, which Lambda hands to CloudWatch.
    pub(crate) fn print(&self) {
        log_line(&self.0.to_string());
    }
}

fn directive(dimensions: &[Value], metrics: &[Value]) -> Value {
    json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics})
}
