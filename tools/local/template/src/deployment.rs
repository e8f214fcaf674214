//! What a template deploys, with every intrinsic evaluated: the part of it that this stack plays.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ses_forwarder_iam::{Policy, Role, arn_like};

/// Everything the stack needs to know of a template.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The region its ARNs name.
    pub region: String,
    /// The account its ARNs name.
    pub account: String,
    /// The stack's name.
    pub stack_name: String,
    /// Parameters as given or by default.
    pub parameters: BTreeMap<String, String>,
    /// Buckets it creates, and an existing one it uses.
    pub buckets: Vec<Bucket>,
    /// Receipt rules, in order.
    pub rules: Vec<ReceiptRule>,
    /// Lambda functions.
    pub functions: Vec<Function>,
    /// SQS queues.
    pub queues: Vec<Queue>,
    /// SNS topics.
    pub topics: Vec<Topic>,
    /// Names of the SES configuration sets that it makes.
    pub configuration_sets: Vec<String>,
    /// SES tenants that it makes.
    pub tenants: Vec<Tenant>,
    /// What configuration sets tell EventBridge.
    pub event_destinations: Vec<EventDestination>,
    /// What EventBridge does with events on the default bus.
    pub event_rules: Vec<EventRule>,
    /// CloudWatch alarms, which stay quiet here.
    pub alarms: Vec<Alarm>,
    /// Outputs, by name.
    pub outputs: BTreeMap<String, String>,
    /// What the template says and this stack does not play.
    pub not_played: Vec<NotPlayed>,
}

impl Deployment {
    /// The domains of the parameter `EmailDomain`; none if the template has no such parameter.
    pub fn email_domains(&self) -> impl Iterator<Item = &str> {
        self.parameters.get("EmailDomain").into_iter().flat_map(|list| list.split(',')).map(str::trim)
    }

    /// The first of them.
    pub fn email_domain(&self) -> Option<&str> {
        self.email_domains().next()
    }
}

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Whether it is there already, rather than made by the template.
    pub existing: bool,
    /// Its bucket policy, if the template has one.
    pub policy: Option<Policy>,
    /// The KMS key that it says it is under: nothing here is encrypted.
    pub key: Option<String>,
}

/// A receipt rule of the rule set.
#[derive(Debug, Clone)]
pub struct ReceiptRule {
    /// The rule set's name.
    pub rule_set: String,
    /// The rule's name.
    pub name: String,
    /// ARN, which SES gives as `aws:SourceArn`.
    pub arn: String,
    /// Off until a template says otherwise, as in CloudFormation.
    pub enabled: bool,
    /// Addresses or domains; empty matches everything.
    pub recipients: Vec<String>,
    /// `TlsPolicy: Require`.
    pub tls_required: bool,
    /// Whether SES scans for spam and viruses.
    pub scan_enabled: bool,
    /// Actions, in order.
    pub actions: Vec<RuleAction>,
}

/// One action of a receipt rule.
#[derive(Debug, Clone)]
pub enum RuleAction {
    /// Stores the message.
    S3 {
        /// Bucket name.
        bucket: String,
        /// Put before the messageId as it is.
        prefix: String,
    },
    /// Invokes a function.
    Lambda {
        /// ARN of the function.
        function_arn: String,
    },
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Logical id in the template.
    pub logical_id: String,
    /// Function name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// The binary: that of the package in `CodeUri`.
    pub binary: String,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// `Timeout`.
    pub timeout: Duration,
    /// `MemorySize` in MB.
    pub memory_mb: u64,
    /// Its execution role.
    pub role: Role,
    /// Who may invoke it: resource-based permissions.
    pub permissions: Vec<Permission>,
    /// ARN of the dead-letter queue for asynchronous invocations.
    pub dead_letter_arn: Option<String>,
    /// Retries of an asynchronous invocation, 0 to 2.
    pub maximum_retry_attempts: u32,
    /// How long an asynchronous event may wait.
    pub maximum_event_age: Duration,
    /// `ReservedConcurrentExecutions`.
    pub reserved_concurrency: Option<usize>,
    /// `RecursiveLoop: Allow`: Lambda does not stop it when it takes part in a loop.
    pub may_recur: bool,
    /// Queues that invoke it.
    pub queue_sources: Vec<QueueSource>,
    /// Schedules that invoke it: here, when they are asked to.
    pub schedules: Vec<Schedule>,
    /// Name of its log group; Lambda writes to it with the function's role.
    pub log_group: String,
    /// `LoggingConfig.LogFormat`, which Lambda passes on as `AWS_LAMBDA_LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `LoggingConfig.ApplicationLogLevel`, which Lambda passes on as `AWS_LAMBDA_LOG_LEVEL` where the format is JSON.
    pub log_level: String,
}

/// How a function's log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `Text`.
    Text,
    /// `JSON`.
    Json,
}

/// A resource-based permission of a function.
#[derive(Debug, Clone)]
pub struct Permission {
    /// Service principal, such as `ses.amazonaws.com`.
    pub principal: String,
    /// `SourceAccount`.
    pub source_account: Option<String>,
    /// `SourceArn`.
    pub source_arn: Option<String>,
}

impl Permission {
    /// Whether it lets a service invoke the function for a resource of an account.
    pub fn allows(&self, service: &str, account: &str, arn: &str) -> bool {
        self.principal == service
            && self.source_account.as_deref().is_none_or(|wanted| wanted == account)
            && self.source_arn.as_deref().is_none_or(|wanted| arn_like(wanted, arn))
    }
}

/// An SQS event source mapping.
#[derive(Debug, Clone)]
pub struct QueueSource {
    /// ARN of the queue.
    pub queue_arn: String,
    /// At most this many messages an invocation.
    pub batch_size: usize,
    /// Wait this long to fill a batch.
    pub batching_window: Duration,
    /// `ReportBatchItemFailures`.
    pub report_batch_item_failures: bool,
    /// `ScalingConfig.MaximumConcurrency`.
    pub maximum_concurrency: Option<usize>,
}

/// A queue.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// What `Ref` gives: its URL on AWS.
    pub url: String,
    /// `VisibilityTimeout`.
    pub visibility_timeout: Duration,
    /// `MessageRetentionPeriod`.
    pub retention: Duration,
    /// Its queue policy, if the template has one.
    pub policy: Option<Policy>,
}

/// An SES tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// `TenantName`.
    pub name: String,
    /// ARNs of the identities and configuration sets that may be used for it.
    pub resources: BTreeSet<String>,
}

/// An event destination of a configuration set: EventBridge's default bus.
#[derive(Debug, Clone)]
pub struct EventDestination {
    /// Name.
    pub name: String,
    /// Name of the configuration set.
    pub configuration_set: String,
    /// `Enabled`; off until a template says otherwise.
    pub enabled: bool,
    /// `MatchingEventTypes`, such as `bounce`.
    pub event_types: Vec<String>,
}

/// A rule of EventBridge's default bus.
#[derive(Debug, Clone)]
pub struct EventRule {
    /// Name.
    pub name: String,
    /// ARN, which EventBridge gives as `aws:SourceArn`.
    pub arn: String,
    /// `State` is not `DISABLED`.
    pub enabled: bool,
    /// `EventPattern`: for each member, by its path, the values of which it must have one.
    pub pattern: Vec<(Vec<String>, Vec<String>)>,
    /// ARNs of the queues that events go to.
    pub targets: Vec<String>,
}

/// A schedule: a rule of EventBridge that invokes a function at certain times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// ARN of the rule.
    pub rule_arn: String,
    /// When, such as `cron(0 6 * * ? *)`.
    pub expression: String,
    /// `State` is not `DISABLED`.
    pub enabled: bool,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Whether it is there already, rather than made by the template.
    pub existing: bool,
    /// Protocol and endpoint of each subscription.
    pub subscriptions: Vec<(String, String)>,
    /// The KMS key that it says it is under: nothing here is encrypted.
    pub key: Option<String>,
}

/// Something that a template says and this stack leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPlayed {
    /// Line in the template.
    pub line: usize,
    /// Such as `Bucket.LifecycleConfiguration`.
    pub what: String,
    /// Why that makes no difference here.
    pub reason: &'static str,
}

/// An alarm, as far as anyone can ask for it: no metric is kept here.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Name.
    pub name: String,
    /// ARNs of the topics that it tells.
    pub actions: Vec<String>,
}
