//! The resource types that are known: what is played of each, what is left out and why, where its name is,
//! and which attributes `Fn::GetAtt` knows. A type or property that is not here is an error.

use crate::{deployment::NotPlayed, error::TemplateError, yaml::Node};

/// A resource that the stack creates.
#[derive(Debug, Clone)]
pub(crate) struct Resource<'t> {
    /// Logical id.
    pub(crate) id: String,
    /// Line of the logical id.
    pub(crate) line: usize,
    /// Such as `AWS::S3::Bucket`.
    pub(crate) kind: &'t str,
    /// `Properties`, not evaluated.
    pub(crate) properties: Node,
    /// `Metadata`.
    pub(crate) metadata: Option<&'t Node>,
    /// `DependsOn`.
    pub(crate) depends_on: Vec<&'t Node>,
}

/// A resource type.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Path of the property that gives its name; empty if it has none.
    pub(crate) name_property: &'static [&'static str],
    /// CloudFormation's own names are cut to this many characters.
    pub(crate) name_limit: usize,
    pub(crate) attributes: &'static [&'static str],
    properties: Known,
}

/// How much of a property is known.
#[derive(Debug)]
enum Known {
    /// It has its effect here.
    Played,
    /// It has no effect here, for this reason.
    NotPlayed(&'static str),
    /// A mapping with these keys.
    Map(&'static [(&'static str, Known)]),
    /// A list of such values.
    Each(&'static Known),
    /// A mapping with any keys and such values.
    Named(&'static Known),
}

use Known::{Each, Map, Named, NotPlayed as Not, Played};

const NO_AGEING: &str = "nothing here lives long enough to expire";
const NO_ENCRYPTION: &str = "a folder on this machine is not encrypted by S3 or KMS";
const NO_METRICS: &str = "there are no CloudWatch metrics here";
const NO_ANALYTICS: &str = "Athena and Glue are not played; the records they would read are files";
const NO_TAGS: &str = "tags have no effect";
const NO_DNS: &str = "there is no DNS here, and SES's identities are verified from the start";
const NO_BILL: &str = "nothing here costs anything";
const ANY_PROCESSOR: &str = "the functions run on this machine's processor";

const TOPIC_ARN: (&str, Known) = ("TopicArn", Not("SES's own progress notices about an action are not sent"));

const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::Serverless::Function",
        name_property: &["FunctionName"],
        name_limit: 64,
        attributes: &["Arn"],
        properties: Map(&[
            ("Architectures", Not(ANY_PROCESSOR)),
            ("CodeUri", Played),
            ("DeadLetterQueue", Map(&[("Type", Played), ("TargetArn", Played)])),
            ("Description", Not("it is for people")),
            ("Environment", Map(&[("Variables", Named(&Played))])),
            (
                "EventInvokeConfig",
                Map(&[("MaximumEventAgeInSeconds", Played), ("MaximumRetryAttempts", Played)]),
            ),
            (
                "Events",
                Named(&Map(&[
                    ("Type", Played),
                    (
                        "Properties",
                        Map(&[
                            ("BatchSize", Played),
                            ("Description", Not("it is for people")),
                            ("FunctionResponseTypes", Played),
                            ("MaximumBatchingWindowInSeconds", Played),
                            ("Queue", Played),
                            ("ScalingConfig", Map(&[("MaximumConcurrency", Played)])),
                            ("Schedule", Played),
                            ("State", Played),
                        ]),
                    ),
                ])),
            ),
            ("FunctionName", Played),
            (
                "Handler",
                Not("the provided runtime calls the bootstrap binary whatever its handler is called"),
            ),
            (
                "LoggingConfig",
                Map(&[
                    ("ApplicationLogLevel", Played),
                    ("LogFormat", Played),
                    ("LogGroup", Played),
                    ("SystemLogLevel", Not("Lambda's own log lines are not written")),
                ]),
            ),
            ("MemorySize", Played),
            ("RecursiveLoop", Played),
            ("ReservedConcurrentExecutions", Played),
            ("Role", Played),
            ("Runtime", Played),
            ("Tags", Not(NO_TAGS)),
            ("Timeout", Played),
        ]),
    },
    Kind {
        name: "AWS::Lambda::Permission",
        name_property: &[],
        name_limit: 100,
        attributes: &[],
        properties: Map(&[
            ("Action", Played),
            ("FunctionName", Played),
            ("Principal", Played),
            ("SourceAccount", Played),
            ("SourceArn", Played),
        ]),
    },
    Kind {
        name: "AWS::IAM::Role",
        name_property: &["RoleName"],
        name_limit: 64,
        attributes: &["Arn"],
        properties: Map(&[
            ("AssumeRolePolicyDocument", Played),
            ("Description", Not("it is for people")),
            ("Policies", Each(&Map(&[("PolicyName", Played), ("PolicyDocument", Played)]))),
            ("RoleName", Played),
            ("Tags", Not(NO_TAGS)),
        ]),
    },
    Kind {
        name: "AWS::Logs::LogGroup",
        name_property: &["LogGroupName"],
        name_limit: 512,
        attributes: &["Arn"],
        properties: Map(&[
            ("LogGroupName", Played),
            ("RetentionInDays", Not(NO_AGEING)),
            ("Tags", Not(NO_TAGS)),
        ]),
    },
    Kind {
        name: "AWS::S3::Bucket",
        name_property: &["BucketName"],
        name_limit: 63,
        attributes: &["Arn"],
        properties: Map(&[
            ("BucketEncryption", Not(NO_ENCRYPTION)),
            ("BucketName", Played),
            ("LifecycleConfiguration", Not(NO_AGEING)),
            ("OwnershipControls", Not("objects have no owners here")),
            ("PublicAccessBlockConfiguration", Not("the endpoint listens on loopback only")),
            ("Tags", Not(NO_TAGS)),
        ]),
    },
    Kind {
        name: "AWS::S3::BucketPolicy",
        name_property: &[],
        name_limit: 100,
        attributes: &[],
        properties: Map(&[("Bucket", Played), ("PolicyDocument", Played)]),
    },
    Kind {
        name: "AWS::SQS::Queue",
        name_property: &["QueueName"],
        name_limit: 80,
        attributes: &["Arn", "QueueName"],
        properties: Map(&[
            ("MessageRetentionPeriod", Played),
            ("QueueName", Played),
            ("SqsManagedSseEnabled", Not("queues live in memory")),
            ("Tags", Not(NO_TAGS)),
            ("VisibilityTimeout", Played),
        ]),
    },
    Kind {
        name: "AWS::SQS::QueuePolicy",
        name_property: &[],
        name_limit: 100,
        attributes: &[],
        properties: Map(&[("PolicyDocument", Played), ("Queues", Played)]),
    },
    Kind {
        name: "AWS::Events::Rule",
        name_property: &["Name"],
        name_limit: 64,
        attributes: &["Arn"],
        properties: Map(&[
            ("Description", Not("it is for people")),
            ("EventPattern", Played),
            ("Name", Played),
            ("State", Played),
            ("Targets", Each(&Map(&[("Arn", Played), ("Id", Played)]))),
        ]),
    },
    Kind {
        name: "AWS::SNS::Topic",
        name_property: &["TopicName"],
        name_limit: 256,
        attributes: &["TopicArn", "TopicName"],
        properties: Map(&[
            ("DisplayName", Not("mail programs show it; notices are shown on the page instead")),
            ("Subscription", Each(&Map(&[("Endpoint", Played), ("Protocol", Played)]))),
            ("Tags", Not(NO_TAGS)),
            ("KmsMasterKeyId", Not(NO_ENCRYPTION)),
            ("TopicName", Played),
        ]),
    },
    Kind {
        name: "AWS::SNS::Subscription",
        name_property: &[],
        name_limit: 100,
        attributes: &[],
        properties: Map(&[("Endpoint", Played), ("Protocol", Played), ("TopicArn", Played)]),
    },
    Kind {
        name: "AWS::SES::ConfigurationSet",
        name_property: &["Name"],
        name_limit: 64,
        attributes: &[],
        properties: Map(&[
            ("Name", Played),
            ("ReputationOptions", Not(NO_METRICS)),
            ("SendingOptions", Not("a set that does not send is not played")),
        ]),
    },
    Kind {
        name: "AWS::SES::Tenant",
        name_property: &["TenantName"],
        name_limit: 64,
        attributes: &[],
        properties: Map(&[
            ("TenantName", Played),
            ("ResourceAssociations", Each(&Map(&[("ResourceArn", Played)]))),
        ]),
    },
    Kind {
        name: "AWS::SES::ConfigurationSetEventDestination",
        name_property: &["EventDestination", "Name"],
        name_limit: 64,
        attributes: &[],
        properties: Map(&[
            ("ConfigurationSetName", Played),
            (
                "EventDestination",
                Map(&[
                    ("Enabled", Played),
                    ("EventBridgeDestination", Map(&[("EventBusArn", Played)])),
                    ("MatchingEventTypes", Played),
                    ("Name", Played),
                ]),
            ),
        ]),
    },
    Kind {
        name: "AWS::SES::ReceiptRuleSet",
        name_property: &["RuleSetName"],
        name_limit: 64,
        attributes: &[],
        properties: Map(&[("RuleSetName", Played)]),
    },
    Kind {
        name: "AWS::SES::ReceiptRule",
        name_property: &["Rule", "Name"],
        name_limit: 64,
        attributes: &[],
        properties: Map(&[
            ("After", Played),
            ("RuleSetName", Played),
            (
                "Rule",
                Map(&[
                    (
                        "Actions",
                        Each(&Map(&[
                            (
                                "S3Action",
                                Map(&[("BucketName", Played), ("ObjectKeyPrefix", Played), TOPIC_ARN]),
                            ),
                            (
                                "LambdaAction",
                                Map(&[("FunctionArn", Played), ("InvocationType", Played), TOPIC_ARN]),
                            ),
                        ])),
                    ),
                    ("Enabled", Played),
                    ("Name", Played),
                    ("Recipients", Played),
                    ("ScanEnabled", Played),
                    ("TlsPolicy", Played),
                ]),
            ),
        ]),
    },
    Kind {
        name: "AWS::SES::EmailIdentity",
        name_property: &["EmailIdentity"],
        name_limit: 320,
        attributes: &[
            "DkimDNSTokenName1",
            "DkimDNSTokenName2",
            "DkimDNSTokenName3",
            "DkimDNSTokenValue1",
            "DkimDNSTokenValue2",
            "DkimDNSTokenValue3",
        ],
        properties: Not(NO_DNS),
    },
    Kind {
        name: "AWS::Route53::RecordSetGroup",
        name_property: &[],
        name_limit: 100,
        attributes: &[],
        properties: Not(NO_DNS),
    },
    Kind {
        name: "AWS::Budgets::Budget",
        name_property: &["Budget", "BudgetName"],
        name_limit: 100,
        attributes: &[],
        properties: Not(NO_BILL),
    },
    Kind {
        name: "AWS::CloudWatch::Alarm",
        name_property: &["AlarmName"],
        name_limit: 255,
        attributes: &["Arn"],
        properties: Not(NO_METRICS),
    },
    Kind {
        name: "AWS::CloudWatch::Dashboard",
        name_property: &["DashboardName"],
        name_limit: 255,
        attributes: &[],
        properties: Not(NO_METRICS),
    },
    Kind {
        name: "AWS::Glue::Database",
        name_property: &["DatabaseInput", "Name"],
        name_limit: 255,
        attributes: &[],
        properties: Not(NO_ANALYTICS),
    },
    Kind {
        name: "AWS::Glue::Table",
        name_property: &["TableInput", "Name"],
        name_limit: 255,
        attributes: &[],
        properties: Not(NO_ANALYTICS),
    },
    Kind {
        name: "AWS::Glue::Crawler",
        name_property: &["Name"],
        name_limit: 255,
        attributes: &[],
        properties: Not(NO_ANALYTICS),
    },
];

/// Looks a resource type up.
pub(crate) fn find(node: &Node) -> Result<&'static Kind, TemplateError> {
    let name = node.text()?;
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let message = format!("resource type {name} is not known here; known are {}", names.join(", "));
        TemplateError::at(node.line, message)
    })
}

pub(crate) fn kind(resource: &Resource<'_>) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == resource.kind).expect("a resource is declared with a known type")
}

/// Holds evaluated properties against what is known of the type, and returns what is left out.
pub(crate) fn check(resource: &Resource<'_>, properties: &Node) -> Result<Vec<NotPlayed>, TemplateError> {
    let mut not_played = vec![];
    let kind = kind(resource);
    if let Not(reason) = kind.properties {
        not_played.push(NotPlayed { line: resource.line, what: resource.id.clone(), reason });
    } else {
        walk(&kind.properties, properties, &resource.id, &mut not_played)?;
    }
    Ok(not_played)
}

fn walk(
    known: &Known,
    node: &Node,
    path: &str,
    not_played: &mut Vec<NotPlayed>,
) -> Result<(), TemplateError> {
    match known {
        Played => {}
        Not(reason) => not_played.push(NotPlayed { line: node.line, what: path.to_owned(), reason }),
        Each(inner) => {
            for item in node.list()? {
                walk(inner, item, path, not_played)?;
            }
        }
        Named(inner) => {
            for entry in node.map()? {
                walk(inner, &entry.value, &format!("{path}.{}", entry.key), not_played)?;
            }
        }
        Map(keys) => {
            for entry in node.map()? {
                let path = format!("{path}.{}", entry.key);
                let Some((_, inner)) = keys.iter().find(|(key, _)| *key == entry.key) else {
                    let names: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
                    let message =
                        format!("property {path} is not known here; known are {}", names.join(", "));
                    return Err(TemplateError::at(entry.line, message));
                };
                walk(inner, &entry.value, &path, not_played)?;
            }
        }
    }
    Ok(())
}
