//! Schedules of EventBridge: here they are not waited for but asked to run.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-rule-schedule.html>

use serde_json::{Value, json};
use ses_forwarder_local_template::deployment::Deployment;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What each schedule that is enabled sends when it is due at a time: the logical id of the function, and the event.
pub fn due(deployment: &Deployment, at: OffsetDateTime) -> Vec<(String, Value)> {
    // EventBridge gives whole seconds.
    let at = at.replace_nanosecond(0).unwrap_or(at);
    let event = |rule_arn: &str| {
        json!({
            "version": "0",
            "id": uuid::Uuid::new_v4().to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": deployment.account,
            "time": at.format(&Rfc3339).unwrap_or_default(),
            "region": deployment.region,
            "resources": [rule_arn],
            "detail": {},
        })
    };
    let functions = deployment.functions.iter();
    let schedules = functions.flat_map(|function| function.schedules.iter().map(move |one| (function, one)));
    let enabled = schedules.filter(|(_, schedule)| schedule.enabled);
    enabled.map(|(function, schedule)| (function.logical_id.clone(), event(&schedule.rule_arn))).collect()
}
