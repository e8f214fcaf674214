//! What the template deployed, and what happened that is about no message.

use std::sync::Arc;

use maud::{Markup, html};
use ses_forwarder_local_aws::journal::Entry;
use ses_forwarder_local_template::deployment::{Deployment, Function, RuleAction};

use super::frame::{Frame, framed};
use crate::shown::{FIELD, Hostile, clock, length};

/// The page.
pub(crate) fn page<'e>(stack: &Deployment, others: impl Iterator<Item = &'e Arc<Entry>>) -> Markup {
    let frame = Frame {
        title: "Stack · SES Forwarder",
        stack: Some(stack),
        tab: "/stack",
        live: None,
        refresh: false,
    };
    framed(
        &frame,
        &html! {
            h1 { "Stack " (stack.stack_name) }
            p.lead { "What " code { "template.yaml" } " deploys with these parameters, as it is played here." }
            section.card {
                h2 { "Receipt rules" }
                @for rule in &stack.rules {
                    h3 { (rule.name) @if !rule.enabled { " " span.status.bad { "not enabled" } } }
                    dl.facts {
                        dt { "Recipients" } dd { (or(&rule.recipients.join(", "), "everyone")) }
                        dt { "TLS" } dd { (if rule.tls_required { "required" } else { "optional" }) }
                        dt { "Scanning" } dd { (if rule.scan_enabled { "spam and viruses" } else { "off" }) }
                        dt { "Actions" }
                        dd { ol { @for action in &rule.actions { li { (self::action(action)) } } } }
                    }
                }
            }
            @for function in &stack.functions { (self::function(function)) }
            section.card {
                h2 { "Queues and topics" }
                dl.facts {
                    @for queue in &stack.queues {
                        dt { (queue.name) }
                        dd { "hides a received message for " (length(queue.visibility_timeout)) }
                    }
                    @for topic in &stack.topics {
                        dt { (topic.name) }
                        dd {
                            @if topic.subscriptions.is_empty() { "no subscription here" }
                            @for (protocol, endpoint) in &topic.subscriptions { (protocol) " to " (endpoint) " " }
                        }
                    }
                }
            }
            section.card {
                h2 { "Parameters" }
                dl.facts { @for (name, value) in &stack.parameters { dt { (name) } dd { (or(value, "empty")) } } }
            }
            section.card {
                h2 { "Not played here" }
                ul.plain {
                    @for not_played in &stack.not_played {
                        li { code { (not_played.what) } " (line " (not_played.line) "): " (not_played.reason) }
                    }
                }
            }
            section.card {
                h2 { "Events about no single message" }
                ul.log {
                    @for entry in others {
                        li { (clock(entry.at, true)) " " (Hostile(&entry.event.to_string(), FIELD)) }
                    }
                }
            }
        },
    )
}

fn function(function: &Function) -> Markup {
    html! {
        section.card {
            h2 { (function.binary) }
            dl.facts {
                dt { "Function" } dd { (function.name) }
                dt { "Limits" } dd { (length(function.timeout)) ", " (function.memory_mb) " MB" }
                dt { "Retries" } dd { (function.maximum_retry_attempts) }
                dt { "Dead letters to" } dd { (or(function.dead_letter_arn.as_deref().unwrap_or_default(), "nowhere")) }
                @for source in &function.queue_sources {
                    dt { "Invoked by" }
                    dd {
                        (source.queue_arn) ", up to " (source.batch_size) " messages within "
                        (length(source.batching_window))
                    }
                }
                @for schedule in &function.schedules {
                    dt { "Scheduled" }
                    dd {
                        (schedule.expression)
                        @if schedule.enabled { ", here by a button" } @else { ", which is switched off" }
                    }
                }
            }
            details {
                summary { "Environment" }
                dl.facts {
                    @for (name, value) in &function.environment { dt { code { (name) } } dd { (or(value, "empty")) } }
                }
            }
            details {
                summary { "What its role allows" }
                p { "Used in this run, and not used so far." }
                ul.grants {
                    @for grant in function.role.used() { li.used { (grant) } }
                    @for grant in function.role.unused() { li { (grant) } }
                }
            }
        }
    }
}

fn action(action: &RuleAction) -> Markup {
    html! {
        @match action {
            RuleAction::S3 { bucket, prefix } => { "store in " code { "s3://" (bucket) "/" (prefix) } },
            RuleAction::Lambda { function_arn } => {
                "invoke " code { (function_arn) }
            },
        }
    }
}

fn or(text: &str, otherwise: &str) -> Markup {
    html! { @if text.is_empty() { i { (otherwise) } } @else { (text) } }
}
