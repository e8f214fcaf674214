//! Whether failures are told to someone, and whether there are any.

use anyhow::Context;
use aws_sdk_sqs::types::QueueAttributeName;

use super::Finding;
use crate::{clients::Clients, deployed::Deployed};

pub(super) const TOPIC: &str = "notice topic";
pub(super) const QUEUE: &str = "dead letters";

/// Whether someone reads the topic that notices and alarms go to.
pub(super) async fn topic(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let topic = &deployed.topic;
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

/// Whether dead letters wait: the function that tells of them takes them within minutes.
pub(super) async fn queue(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = clients.sqs.get_queue_attributes().queue_url(&deployed.queue_url);
    let attributes = request.set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = attributes.with_context(|| format!("queue {} can't be read", deployed.queue_url))?;
    let count = |name: &QueueAttributeName| -> u64 {
        let value = attributes.attributes().and_then(|attributes| attributes.get(name));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let waiting: u64 = names.iter().map(count).sum();
    Ok(if waiting == 0 {
        Finding::ok(QUEUE, "none is waiting")
    } else {
        let fix = format!(
            "If it stays so, the log says why they can't be told: sam logs --region {} --stack-name {} --name \
             HandleDeadLetterFunction",
            deployed.region, deployed.stack
        );
        Finding::wrong(QUEUE, format!("{waiting} waiting to be told"), fix)
    })
}
