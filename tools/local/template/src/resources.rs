//! Buckets, queues, topics, receipt rules: read from evaluated properties, in the order of creation.

use std::{collections::BTreeMap, time::Duration};

use ses_forwarder_iam::{Call, Decision, Policy, Principal, Role};

use crate::{
    dependencies,
    deployment::{
        Alarm, Bucket, EventDestination, EventRule, Function, NotPlayed, Permission, Queue, ReceiptRule,
        RuleAction, Tenant, Topic,
    },
    documents,
    error::TemplateError,
    events,
    functions::{self, Known},
    kinds::{self, Resource},
    scope::Scope,
    yaml::{self, Node},
};

/// What SQS assumes and allows.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
const VISIBILITY_SECONDS: (u64, std::ops::RangeInclusive<u64>) = (30, 0..=43_200);
const RETENTION_SECONDS: (u64, std::ops::RangeInclusive<u64>) = (345_600, 60..=1_209_600);

/// What SES writes to see whether it may, when a rule with an S3 action is made.
const SETUP_NOTIFICATION: &str = "AMAZON_SES_SETUP_NOTIFICATION";

/// What a bucket that exists already is to have in its policy, as no template can give it that.
const EXISTING_BUCKET_POLICY: &str = include_str!("../../../../ses-bucket-policy.json");

/// Resources read so far.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) buckets: Vec<Bucket>,
    pub(super) queues: Vec<Queue>,
    pub(super) topics: Vec<Topic>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) configuration_sets: Vec<String>,
    pub(super) tenants: Vec<Tenant>,
    pub(super) event_destinations: Vec<EventDestination>,
    pub(super) event_rules: Vec<EventRule>,
    pub(super) rules: Vec<ReceiptRule>,
    pub(super) functions: Vec<Function>,
    pub(super) roles: Vec<Role>,
    /// Who may assume a role, by its ARN.
    pub(super) trust: BTreeMap<String, Policy>,
    pub(super) not_played: Vec<NotPlayed>,
    /// Where a bucket's policy and a function's permissions come from: logical ids.
    bucket_policies: Vec<(String, String)>,
    permissions: Vec<(String, String, Permission)>,
    /// Policies of queues, by the queue's URL.
    queue_policies: Vec<(String, Policy)>,
}

impl Built {
    /// Reads one more resource; all that it needs have been read.
    pub(super) fn add(&mut self, scope: &Scope<'_>, resource: &Resource<'_>) -> Result<(), TemplateError> {
        let properties = scope.resolve(&resource.properties)?;
        let properties = &properties.ok_or_else(|| resource.properties.expected("properties"))?;
        self.not_played.extend(kinds::check(resource, properties)?);
        match resource.kind {
            "AWS::S3::Bucket" => {
                let name = scope.reference_to(resource)?;
                self.buckets.push(Bucket {
                    name,
                    existing: false,
                    policy: None,
                    key: bucket_key(properties)?,
                });
            }
            "AWS::S3::BucketPolicy" => self.bucket_policy(resource, properties)?,
            "AWS::SQS::Queue" => self.queues.push(queue(scope, resource, properties)?),
            "AWS::SQS::QueuePolicy" => {
                let policy = documents::policy(properties.require("PolicyDocument")?)?;
                for queue in properties.require("Queues")?.list()? {
                    self.queue_policies.push((queue.text()?.to_owned(), policy.clone()));
                }
            }
            "AWS::SES::ConfigurationSet" => self.configuration_sets.push(scope.reference_to(resource)?),
            "AWS::SES::Tenant" => {
                let associations = properties.get("ResourceAssociations").map(Node::list).transpose()?;
                let associations = associations.unwrap_or_default().iter();
                let resources = associations
                    .map(|association| association.require("ResourceArn")?.text().map(str::to_owned))
                    .collect::<Result<_, _>>()?;
                self.tenants.push(Tenant { name: scope.reference_to(resource)?, resources });
            }
            "AWS::SES::ConfigurationSetEventDestination" => {
                self.event_destinations.push(events::destination(scope, resource, properties)?);
            }
            "AWS::Events::Rule" => self.event_rules.push(events::rule(scope, resource, properties)?),
            "AWS::SNS::Topic" => self.topics.push(topic(scope, resource, properties)?),
            "AWS::CloudWatch::Alarm" => {
                let name = scope.reference_to(resource)?;
                let actions = properties.get("AlarmActions").map(Node::list).transpose()?.unwrap_or_default();
                let actions = actions.iter().map(|action| action.text().map(str::to_owned));
                self.alarms.push(Alarm { name, actions: actions.collect::<Result<_, _>>()? });
            }
            "AWS::SNS::Subscription" => {
                let arn = properties.require("TopicArn")?.text()?;
                let index = self.topics.iter().position(|topic| topic.arn == arn).unwrap_or_else(|| {
                    self.topics.push(existing_topic(arn));
                    self.topics.len() - 1
                });
                self.topics[index].subscriptions.push(subscription(properties)?);
            }
            "AWS::IAM::Role" => {
                let role = functions::role(scope, resource, properties)?;
                let trust = documents::policy(properties.require("AssumeRolePolicyDocument")?)?;
                self.trust.insert(role.arn.clone(), trust);
                self.roles.push(role);
            }
            "AWS::Serverless::Function" => {
                let known = Known { roles: &self.roles, trust: &self.trust, queues: &self.queues };
                let function = functions::function(scope, resource, properties, known)?;
                self.functions.push(function);
            }
            "AWS::Lambda::Permission" => {
                let (function, permission) = functions::permission(properties)?;
                self.permissions.push((resource.id.clone(), function, permission));
            }
            "AWS::SES::ReceiptRule" => self.rule(scope, resource, properties)?,
            // A name for others to refer to, or left out altogether.
            _ => {}
        }
        Ok(())
    }

    /// Gives functions their permissions and queues their policies, and adds what the template uses but does not create.
    pub(super) fn finish(&mut self) {
        for (url, policy) in self.queue_policies.drain(..) {
            if let Some(queue) = self.queues.iter_mut().find(|queue| queue.url == url) {
                queue.policy = Some(policy);
            }
        }
        for (_, name, permission) in &self.permissions {
            let function =
                self.functions.iter_mut().find(|function| function.name == *name || function.arn == *name);
            if let Some(function) = function {
                function.permissions.push(permission.clone());
            }
        }
        let named = self.functions.iter().flat_map(|function| &function.role.policy.statements);
        let named: Vec<String> = named.flat_map(|statement| statement.resources.clone()).collect();
        for arn in named.iter().filter(|arn| arn.split(':').nth(2) == Some("sns") && !arn.contains('*')) {
            if !self.topics.iter().any(|topic| topic.arn == *arn) {
                self.topics.push(existing_topic(arn));
            }
        }
    }

    fn bucket_policy(&mut self, resource: &Resource<'_>, properties: &Node) -> Result<(), TemplateError> {
        let name = properties.require("Bucket")?;
        let policy = documents::policy(properties.require("PolicyDocument")?)?;
        let bucket = self.buckets.iter_mut().find(|bucket| Ok(bucket.name.as_str()) == name.text());
        bucket.ok_or_else(|| name.expected("the name of a bucket of this template"))?.policy = Some(policy);
        self.bucket_policies.push((resource.id.clone(), name.text()?.to_owned()));
        Ok(())
    }

    fn rule(
        &mut self,
        scope: &Scope<'_>,
        resource: &Resource<'_>,
        properties: &Node,
    ) -> Result<(), TemplateError> {
        let node = properties.require("Rule")?;
        let flag = |key| node.get(key).map_or(Ok(false), Node::boolean);
        let rule_set = properties.require("RuleSetName")?.text()?.to_owned();
        let name = scope.reference_to(resource)?;
        let tls_required = match node.get("TlsPolicy").map(|policy| (policy, policy.text())) {
            None | Some((_, Ok("Optional"))) => false,
            Some((_, Ok("Require"))) => true,
            Some((policy, _)) => return Err(policy.expected("Optional or Require")),
        };
        let recipients = node.get("Recipients").map(Node::list).transpose()?.unwrap_or_default();
        let action_nodes = node.get("Actions").map(Node::list).transpose()?.unwrap_or_default();
        let rule = ReceiptRule {
            arn: scope.arn("ses", &format!("receipt-rule-set/{rule_set}:receipt-rule/{name}")),
            enabled: flag("Enabled")?,
            recipients: recipients
                .iter()
                .map(|recipient| recipient.text().map(str::to_owned))
                .collect::<Result<_, _>>()?,
            tls_required,
            scan_enabled: flag("ScanEnabled")?,
            actions: action_nodes.iter().map(action).collect::<Result<_, _>>()?,
            rule_set,
            name,
        };
        let needed = dependencies::closure(scope, &resource.id)?;
        for (action, node) in rule.actions.iter().zip(action_nodes) {
            self.check_action(scope, &rule, action, &needed).map_err(|message| {
                TemplateError::at(node.line, format!("SES refuses rule {}: {message}", rule.name))
            })?;
        }
        // SES puts a rule that does not say after which one first. What other rules a rule set has that the
        // template does not make is not known here.
        let is_made_here = |set: &Resource<'_>| {
            set.kind == "AWS::SES::ReceiptRuleSet" && scope.reference_to(set).as_ref() == Ok(&rule.rule_set)
        };
        let index = match properties.get("After") {
            Some(after) if scope.resources.values().any(is_made_here) => {
                let before = self.rules.iter().position(|rule| Ok(rule.name.as_str()) == after.text());
                before.ok_or_else(|| after.expected("the name of a rule of this template"))? + 1
            }
            _ => 0,
        };
        self.rules.insert(index, rule);
        Ok(())
    }

    /// What SES looks at when it makes a rule: that it may do what the action says, by grants that
    /// are there before the rule.
    /// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-permissions.html>
    fn check_action(
        &mut self,
        scope: &Scope<'_>,
        rule: &ReceiptRule,
        action: &RuleAction,
        needed: &[String],
    ) -> Result<(), String> {
        match action {
            RuleAction::S3 { bucket: name, prefix } => {
                let Some(bucket) = self.buckets.iter().find(|bucket| bucket.name == *name) else {
                    let policy = Some(existing_bucket_policy(scope, name, &rule.rule_set));
                    self.buckets.push(Bucket { name: name.clone(), existing: true, policy, key: None });
                    return Ok(());
                };
                let resource = format!("arn:{}:s3:::{name}/{prefix}{SETUP_NOTIFICATION}", scope.partition());
                let call = Call {
                    action: "s3:PutObject".to_owned(),
                    resource: resource.clone(),
                    context: BTreeMap::from([
                        ("aws:SourceAccount".to_owned(), scope.account.to_owned()),
                        ("aws:SourceArn".to_owned(), rule.arn.clone()),
                        ("aws:SecureTransport".to_owned(), "true".to_owned()),
                    ]),
                };
                let ses = Principal::Service("ses.amazonaws.com".to_owned());
                let decision = bucket.policy.as_ref().map(|policy| policy.decide(&ses, &call));
                // A policy that is there already for all that, but only by chance.
                let (policy_id, _) = self.bucket_policies.iter().find(|(_, of)| of == name).cloned().unzip();
                match (decision, policy_id) {
                    (Some(Decision::Allowed), Some(id)) if !needed.contains(&id) => Err(format!(
                        "it may be made before {id} lets it write to {name}; say so in DependsOn"
                    )),
                    (Some(Decision::Allowed), _) => Ok(()),
                    _ => Err(format!(
                        "no bucket policy lets it do s3:PutObject on {resource} for {}",
                        rule.arn
                    )),
                }
            }
            RuleAction::Lambda { function_arn, .. } => {
                let Some(function) = self.functions.iter().find(|function| function.arn == *function_arn)
                else {
                    return Err(format!("{function_arn} is no function of this template"));
                };
                let granting = self.permissions.iter().find(|(_, name, permission)| {
                    (*name == function.name || *name == function.arn)
                        && permission.allows("ses.amazonaws.com", scope.account, &rule.arn)
                });
                match granting {
                    None => Err(format!("no AWS::Lambda::Permission lets it invoke {}", function.name)),
                    Some((id, ..)) if !needed.contains(id) => Err(format!(
                        "it may be made before {id} lets it invoke {}; say so in DependsOn",
                        function.name
                    )),
                    Some(_) => Ok(()),
                }
            }
        }
    }
}

fn action(node: &Node) -> Result<RuleAction, TemplateError> {
    match node.map()? {
        [only] if only.key == "S3Action" => Ok(RuleAction::S3 {
            bucket: only.value.require("BucketName")?.text()?.to_owned(),
            prefix: only
                .value
                .get("ObjectKeyPrefix")
                .map_or(Ok(String::new()), |prefix| prefix.text().map(str::to_owned))?,
        }),
        [only] if only.key == "LambdaAction" => match only.value.get("InvocationType") {
            Some(kind) if kind.text() != Ok("Event") => {
                Err(kind.expected("Event, the only InvocationType played here"))
            }
            _ => {
                Ok(RuleAction::Lambda { function_arn: only.value.require("FunctionArn")?.text()?.to_owned() })
            }
        },
        _ => Err(node.expected("one action")),
    }
}

/// The key of the first rule: CloudFormation takes a list, S3 one.
fn bucket_key(properties: &Node) -> Result<Option<String>, TemplateError> {
    let Some(encryption) = properties.get("BucketEncryption") else { return Ok(None) };
    let rules = encryption.require("ServerSideEncryptionConfiguration")?.list()?;
    let default = rules.first().and_then(|rule| rule.get("ServerSideEncryptionByDefault"));
    default
        .and_then(|default| default.get("KMSMasterKeyID"))
        .map(|key| key.text().map(str::to_owned))
        .transpose()
}

fn queue(scope: &Scope<'_>, resource: &Resource<'_>, properties: &Node) -> Result<Queue, TemplateError> {
    let seconds = |key: &str, (default, limits): &(u64, std::ops::RangeInclusive<u64>)| {
        let number = properties.get(key).map_or(Ok(*default), |node| node.number(limits.clone()));
        number.map(Duration::from_secs)
    };
    Ok(Queue {
        name: scope.attribute_of(resource, "QueueName", resource.line)?,
        arn: scope.attribute_of(resource, "Arn", resource.line)?,
        url: scope.reference_to(resource)?,
        visibility_timeout: seconds("VisibilityTimeout", &VISIBILITY_SECONDS)?,
        retention: seconds("MessageRetentionPeriod", &RETENTION_SECONDS)?,
        policy: None,
    })
}

fn topic(scope: &Scope<'_>, resource: &Resource<'_>, properties: &Node) -> Result<Topic, TemplateError> {
    let subscriptions = properties.get("Subscription").map(Node::list).transpose()?.unwrap_or_default();
    Ok(Topic {
        name: scope.attribute_of(resource, "TopicName", resource.line)?,
        arn: scope.reference_to(resource)?,
        existing: false,
        subscriptions: subscriptions.iter().map(subscription).collect::<Result<_, _>>()?,
        key: properties.get("KmsMasterKeyId").map(|key| key.text().map(str::to_owned)).transpose()?,
    })
}

fn existing_topic(arn: &str) -> Topic {
    Topic {
        name: arn.rsplit(':').next().unwrap_or(arn).to_owned(),
        arn: arn.to_owned(),
        existing: true,
        subscriptions: vec![],
        key: None,
    }
}

fn subscription(node: &Node) -> Result<(String, String), TemplateError> {
    Ok((node.require("Protocol")?.text()?.to_owned(), node.require("Endpoint")?.text()?.to_owned()))
}

/// The policy with its names filled in, as the README tells to do.
fn existing_bucket_policy(scope: &Scope<'_>, bucket: &str, rule_set: &str) -> Policy {
    let names = [
        ("BUCKET", bucket),
        ("ACCOUNT_ID", scope.account),
        ("REGION", scope.region),
        ("RULE_SET", rule_set),
        ("STACK_NAME", scope.stack_name),
    ];
    let filled =
        names.iter().fold(EXISTING_BUCKET_POLICY.to_owned(), |text, (name, value)| text.replace(name, value));
    let document = yaml::read(&filled).expect("JSON is YAML");
    documents::policy(&document).expect("it is a policy whatever the names are")
}
