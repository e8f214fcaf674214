//! EventBridge's default bus, as far as SES speaks to it: each event goes to the queues of the rules that match
//! it, if their policies let it.
//!
//! Not played: other targets than queues, input transformers, archives, retries.
//!
//! Source: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use ses_forwarder_iam::{Decision, Policy, Principal};
use ses_forwarder_local_template::deployment::{Deployment, EventRule};

use crate::{needs::Needs, sqs::Queues};

/// Who puts events on a queue.
const SERVICE: &str = "events.amazonaws.com";

/// The default bus of a deployment. Clones are the same bus.
#[derive(Debug, Clone)]
pub(crate) struct EventBus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Vec<EventRule>,
    queues: Queues,
    /// Policies of queues, by ARN.
    policies: BTreeMap<String, Option<Policy>>,
    account: String,
    region: String,
}

impl EventBus {
    pub(crate) fn new(deployment: &Deployment, queues: Queues) -> EventBus {
        let policies = deployment.queues.iter().map(|queue| (queue.arn.clone(), queue.policy.clone()));
        EventBus(Arc::new(Inner {
            rules: deployment.event_rules.clone(),
            queues,
            policies: policies.collect(),
            account: deployment.account.clone(),
            region: deployment.region.clone(),
        }))
    }

    /// Takes an event of SES, and says where it went: names of queues, or why it did not.
    pub(crate) fn put(&self, detail_type: &str, resource: &str, at: &str, detail: &Value) -> Vec<String> {
        let Inner { rules, account, region, .. } = &*self.0;
        let event = json!({
            "version": "0",
            "id": uuid::Uuid::new_v4().to_string(),
            "detail-type": detail_type,
            "source": "aws.ses",
            "account": account,
            "time": at,
            "region": region,
            "resources": [resource],
            "detail": detail,
        });
        let matching = rules.iter().filter(|rule| rule.enabled && matches(rule, &event));
        matching.flat_map(|rule| rule.targets.iter().map(|target| self.send(rule, target, &event))).collect()
    }

    fn send(&self, rule: &EventRule, target: &str, event: &Value) -> String {
        let Inner { queues, policies, account, .. } = &*self.0;
        let needs = Needs::new("sqs:SendMessage", target)
            .with("aws:SourceArn", &rule.arn)
            .with("aws:SourceAccount", account);
        let bridge = Principal::Service(SERVICE.to_owned());
        let policy = policies.get(target).and_then(Option::as_ref);
        let decision = policy.map(|policy| policy.decide(&bridge, &needs.into()));
        match queues.by_arn(target) {
            None => format!("rule {}: there is no queue {target}", rule.name),
            Some(queue) if decision == Some(Decision::Allowed) => {
                queue.send(&event.to_string(), BTreeMap::new());
                queue.name().to_owned()
            }
            Some(queue) => {
                format!("rule {}: the policy of {} does not let {SERVICE} in", rule.name, queue.name())
            }
        }
    }
}

/// Whether an event has one of the values of each member of a pattern. A list has one if a member of it is one.
fn matches(rule: &EventRule, event: &Value) -> bool {
    rule.pattern.iter().all(|(path, values)| {
        let found = path.iter().try_fold(event, |value, name| value.get(name));
        let is_one = |value: &Value| value.as_str().is_some_and(|text| values.iter().any(|one| one == text));
        match found {
            Some(Value::Array(list)) => list.iter().any(is_one),
            Some(value) => is_one(value),
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_what_has_one_of_the_values_of_each_member() {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rule = EventRule {
            name: "r".to_owned(),
            arn: String::new(),
            enabled: true,
            pattern: vec![
                (owned(&["detail-type"]), owned(&["Email Bounced", "Email Rejected"])),
                (owned(&["detail", "mail", "tags", "set"]), owned(&["a"])),
            ],
            targets: vec![],
        };
        let event =
            |kind: &str, set: Value| json!({"detail-type": kind, "detail": {"mail": {"tags": {"set": set}}}});
        for (event, expected) in [
            (event("Email Bounced", json!(["a"])), true),
            (event("Email Rejected", json!(["b", "a"])), true),
            (event("Email Rejected", json!("a")), true),
            (event("Email Sent", json!(["a"])), false),
            (event("Email Bounced", json!(["b"])), false),
            (event("Email Bounced", json!([])), false),
            (json!({"detail-type": "Email Bounced"}), false),
        ] {
            assert_eq!(matches(&rule, &event), expected, "{event}");
        }
    }
}
