//! Whether failures are told to someone, and whether there are any.

use anyhow::Context;
use aws_sdk_cloudformation::types::StackResource;
use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use aws_sdk_sqs::types::QueueAttributeName;

use super::{Finding, deploy};
use crate::{
    clients::Clients,
    deployed::{Deployed, NOTICE_ADDRESS, outputs},
};

pub(super) const ADDRESS: &str = "notice address";
pub(super) const ALARMS: &str = "alarms";
pub(super) const TOPIC: &str = "notice topic";
pub(super) const QUEUE: &str = "dead letters";

/// Whether someone reads the topic that notices and alarms go to.
pub(super) async fn topic(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let topic = deployed.output(outputs::TOPIC)?;
    let mut pages = clients.sns.list_subscriptions_by_topic().topic_arn(topic).into_paginator().send();
    let (mut confirmed, mut pending) = (0, 0);
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("SNS does not tell the subscriptions of {topic}"))?;
        for subscription in page.subscriptions() {
            match subscription.subscription_arn() {
                Some(arn) if arn.starts_with("arn:") => confirmed += 1,
                _ => pending += 1,
            }
        }
    }
    let subscribe = format!(
        "aws sns subscribe --region {} --topic-arn {topic} --protocol email --notification-endpoint ADDRESS, then \
         confirm by the mail it sends",
        deployed.region
    );
    Ok(match (confirmed, pending) {
        (0, 0) => Finding::wrong(TOPIC, format!("nobody is subscribed to {topic}"), subscribe),
        (0, _) => Finding::wrong(
            TOPIC,
            "no subscription is confirmed",
            "Open the mail \"AWS Notification - Subscription Confirmation\" and confirm; to have it sent again, \
             subscribe once more.",
        ),
        (count, _) => Finding::ok(TOPIC, format!("{count} confirmed")),
    })
}

/// Whether notices by mail would come back here.
pub(super) async fn address(deployed: &Deployed) -> anyhow::Result<Finding> {
    let Some(address) = deployed.notice_variable(NOTICE_ADDRESS)? else {
        return Ok(Finding::ok(ADDRESS, "none: notices go to the topic only"));
    };
    let at = address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    Ok(if deployed.domains()?.contains(&at.as_str()) {
        let found = format!("{address} is at the domain itself, so a notice fails as the mail did");
        Finding::wrong(ADDRESS, found, "Deploy with a NoticeAddress elsewhere.")
    } else {
        Finding::ok(ADDRESS, format!("it is {address}"))
    })
}

/// Whether the stack's alarms are there, can be heard, and are quiet. Which are its own CloudFormation tells: the
/// names of another stack's may begin as this one's do.
pub(super) async fn alarms(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let resources =
        clients.cloudformation.describe_stack_resources().stack_name(&deployed.stack).send().await;
    let resources = resources.context("CloudFormation does not tell which alarms are the stack's")?;
    let request = clients.cloudwatch.describe_alarms().alarm_name_prefix(format!("{}-", deployed.stack));
    let mut pages = request.into_paginator().send();
    let mut alarms = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.context("CloudWatch does not tell of the alarms")?;
        alarms.extend(page.metric_alarms.unwrap_or_default());
    }
    Ok(judge_alarms(&deployed.region, &deploy(deployed), &names_of(resources.stack_resources()), &alarms))
}

/// The names of alarms among resources.
fn names_of(resources: &[StackResource]) -> Vec<&str> {
    let alarms =
        resources.iter().filter(|resource| resource.resource_type() == Some("AWS::CloudWatch::Alarm"));
    alarms.filter_map(StackResource::physical_resource_id).collect()
}

/// Judges the alarms that are the stack's, of those that are found.
fn judge_alarms(region: &str, deploy: &str, own: &[&str], found: &[MetricAlarm]) -> Finding {
    let is_own = |alarm: &&MetricAlarm| alarm.alarm_name().is_some_and(|name| own.contains(&name));
    let alarms: Vec<_> = found.iter().filter(is_own).collect();
    let names = |which: &dyn Fn(&MetricAlarm) -> bool| -> Vec<&str> {
        let chosen = alarms.iter().filter(|alarm| which(alarm));
        chosen.filter_map(|alarm| alarm.alarm_name()).collect()
    };
    let off = names(&|alarm| !alarm.actions_enabled().unwrap_or(true));
    let mute = names(&|alarm| alarm.alarm_actions().is_empty());
    let gone: Vec<_> = own
        .iter()
        .filter(|name| !found.iter().any(|alarm| alarm.alarm_name() == Some(name)))
        .copied()
        .collect();
    let raised = names(&|alarm| alarm.state_value() == Some(&StateValue::Alarm));
    if alarms.is_empty() {
        Finding::warning(ALARMS, "the stack has none", deploy)
    } else if !raised.is_empty() {
        let fix = format!(
            "Read why: aws cloudwatch describe-alarms --region {region} --state-value ALARM --alarm-names {}",
            raised.join(" ")
        );
        Finding::warning(ALARMS, format!("raised: {}", raised.join(", ")), fix)
    } else if !gone.is_empty() {
        Finding::warning(ALARMS, format!("they are gone: {}", gone.join(", ")), deploy)
    } else if !off.is_empty() {
        let fix =
            format!("aws cloudwatch enable-alarm-actions --region {region} --alarm-names {}", off.join(" "));
        Finding::warning(
            ALARMS,
            format!("they tell nobody, as their actions are off: {}", off.join(", ")),
            fix,
        )
    } else if !mute.is_empty() {
        Finding::warning(ALARMS, format!("they have nobody to tell: {}", mute.join(", ")), deploy)
    } else {
        Finding::ok(ALARMS, format!("{} are there, none is raised", alarms.len()))
    }
}

/// Whether dead letters wait. Those that are due are taken within minutes; the others are hidden until
/// their next try.
pub(super) async fn queue(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let url = deployed.output(outputs::QUEUE)?;
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = clients.sqs.get_queue_attributes().queue_url(url);
    let attributes = request.set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = attributes.with_context(|| format!("queue {url} can't be read"))?;
    let count = |name: &QueueAttributeName| -> u64 {
        let value = attributes.attributes().and_then(|attributes| attributes.get(name));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let [due, hidden] = [count(&names[0]), count(&names[1])];
    Ok(if due > 0 {
        let fix = format!(
            "If it stays so, the log says why nobody tries them: sam logs --region {} --stack-name {} --name \
             HandleDeadLetterFunction",
            deployed.region, deployed.stack
        );
        Finding::wrong(QUEUE, format!("{due} due to be tried again"), fix)
    } else if hidden > 0 {
        let fix = format!(
            "Nothing to do; to see which: ses-forwarder find --region {} --stack {} --status failed --since {}h",
            deployed.region,
            deployed.stack,
            // It is given up by the first try after these hours.
            deployed.retry_hours() + 24
        );
        Finding::warning(QUEUE, format!("{hidden} failed, and are tried again by themselves"), fix)
    } else {
        Finding::ok(QUEUE, "none is waiting")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn alarms() {
        let alarm = |name: &str| MetricAlarm::builder().alarm_name(name).alarm_actions("arn:topic");
        let quiet = || alarm("s-quiet").state_value(StateValue::Ok).actions_enabled(true).build();
        for (own, alarms, state, found) in [
            (&["s-quiet"][..], vec![], State::Warning, "the stack has none"),
            (
                &["s-quiet"],
                vec![alarm("s-2-loud").state_value(StateValue::Alarm).build()],
                State::Warning,
                "the stack has none",
            ),
            (&["s-quiet", "s-gone"], vec![quiet()], State::Warning, "they are gone: s-gone"),
            (
                &["s-quiet"],
                vec![quiet(), alarm("s-2-loud").state_value(StateValue::Alarm).build()],
                State::Ok,
                "1 are there, none is raised",
            ),
            (&["s-quiet"], vec![quiet()], State::Ok, "1 are there, none is raised"),
            (
                &["s-quiet", "s-loud", "s-gone"],
                vec![quiet(), alarm("s-loud").state_value(StateValue::Alarm).build()],
                State::Warning,
                "raised: s-loud",
            ),
            (
                &["s-quiet", "s-off"],
                vec![quiet(), alarm("s-off").actions_enabled(false).build()],
                State::Warning,
                "they tell nobody, as their actions are off: s-off",
            ),
            (
                &["s-mute"],
                vec![MetricAlarm::builder().alarm_name("s-mute").build()],
                State::Warning,
                "they have nobody to tell: s-mute",
            ),
        ] {
            let finding = judge_alarms("us-east-1", "sam deploy", own, &alarms);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
        }
    }

    #[test]
    fn the_stack_s_alarms_are_those_that_cloudformation_has() {
        let resource = |kind: &str, name: &str| {
            StackResource::builder().physical_resource_id(name).resource_type(kind).build()
        };
        let resources = [resource("AWS::IAM::Role", "s-role"), resource("AWS::CloudWatch::Alarm", "s-loud")];
        assert_eq!(names_of(&resources), ["s-loud"]);
    }
}
