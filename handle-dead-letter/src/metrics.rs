//! Metrics that CloudWatch reads from the log: namespace `SesForwarder`, dimension `FunctionName`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::{self, Write};

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Counts what destinations did: so many of each name, none of which is a failure of ours.
pub(crate) fn tally(counts: &[(&'static str, usize)], function: &str) {
    let counts: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    if counts.is_empty() {
        return;
    }
    let now = OffsetDateTime::now_utc();
    let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let metrics: Vec<_> = counts.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let mut line = json!({
        "timestamp": now.format(&Rfc3339).unwrap_or_default(),
        "level": "INFO",
        "message": "recorded what destinations did",
        "FunctionName": function,
        "_aws": {"Timestamp": millis, "CloudWatchMetrics": [{
            "Namespace": "SesForwarder",
            "Dimensions": [["FunctionName"]],
            "Metrics": metrics,
        }]},
    });
    for (name, count) in counts {
        line[*name] = (*count).into();
    }
    // Nobody is left to tell if that fails.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Counts one of `name`: `Failed`, a message that is not tried any more; `NoticesFailed`, a notice that no
/// channel took.
pub(crate) fn count(name: &str, function: &str, message_id: Option<&str>) {
    let now = OffsetDateTime::now_utc();
    let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let mut line = json!({
        "timestamp": now.format(&Rfc3339).unwrap_or_default(),
        "level": "ERROR",
        "message": "counted",
        "FunctionName": function,
        name: 1,
        "_aws": {"Timestamp": millis, "CloudWatchMetrics": [{
            "Namespace": "SesForwarder",
            "Dimensions": [["FunctionName"]],
            "Metrics": [{"Name": name, "Unit": "Count"}],
        }]},
    });
    if let Some(id) = message_id {
        line["messageId"] = id.into();
    }
    // Nobody is left to tell if that fails.
    let _ = writeln!(io::stdout(), "{line}");
}
