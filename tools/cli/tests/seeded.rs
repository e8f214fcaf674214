//! `doctor` finds each mistake of a list, one at a time, and names its remedy: in the DNS, in what AWS
//! answers, in the account, in the bucket.
//!
//! The stack is the local one; what it can't be brought to say, a proxy says in its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use hickory_resolver::proto::rr::RecordType::{self, CNAME, MX, TXT};
use ses_forwarder_local_aws::ses::Account;
use ses_forwarder_local_stack::{Config, Stack};
use support::{
    Operator, nameserver,
    proxy::{Alter, Effect, Proxy},
    zone,
};

const HERE: &str = "inbound-smtp.us-east-1.amazonaws.com.";

/// What is done to a sound stack.
enum Mistake {
    /// These records instead of those that are there.
    Dns(&'static [(&'static str, RecordType, &'static [&'static str])]),
    /// An answer whose text is replaced.
    Says(&'static str, &'static [(&'static [u8], &'static [u8])]),
    /// Another answer.
    Answers(&'static str, u16, &'static str, &'static [u8]),
    /// The account.
    Account(fn(&mut Account)),
    /// An object in the bucket.
    Object(&'static str, &'static str),
    /// A routes file, and the account.
    Routes(&'static str, fn(&mut Account)),
}

use Mistake::{Answers, Dns, Object, Says};

/// One mistake, the check that finds it, how, and what its remedy says.
type Seed = (&'static str, Mistake, &'static str, &'static str, &'static str);

const EMAIL: &str = "GET /2015-03-31/functions/ses-forwarder-HandleEmailFunction/configuration ";
const FUNCTION: &str = "GET /2015-03-31/functions/ses-forwarder-HandleEmailFunction ";
const LETTER: &str = "GET /2015-03-31/functions/ses-forwarder-HandleDeadLetterFunction/configuration ";
const CONCURRENCY: &str = "GET /2019-09-30/functions/ses-forwarder-HandleEmailFunction/concurrency";
/// How the stack is deployed again, and no other.
const AGAIN: &str =
    "sam build && sam deploy --stack-name ses-forwarder --region us-east-1. If SAM finds no changes, ";
const PERMIT: &str = "aws lambda add-permission --region us-east-1 --function-name ses-forwarder-HandleEmailFunction --statement-id ses --action lambda:InvokeFunction --principal ses.amazonaws.com --source-account 123456789012 --source-arn arn:aws:ses:us-east-1:123456789012:receipt-rule-set/ses-forwarder:receipt-rule/ses-forwarder";
const LETTERS: &str = "aws lambda update-function-configuration --region us-east-1 --function-name ses-forwarder-HandleEmailFunction --dead-letter-config TargetArn=arn:aws:sqs:us-east-1:123456789012:ses-forwarder-";
const TOPIC: &str = "Action=GetTopicAttributes";
const EVENTS: &str = "/event-destinations";
const MAPPINGS: &str = "GET /2015-03-31/event-source-mappings";
const IDENTITY: &str = "GET /v2/email/identities/in.example";
const ROUTES: &str = "config/routes.toml";
const ACCOUNT: &str = "GET /v2/email/account";
const STACKS: &str = "Action=DescribeStacks";
const RULES: &str = "Action=DescribeReceiptRuleSet";
const RESOURCES: &str = "Action=DescribeStackResources";
const GONE: &[u8] = b"<member><LogicalResourceId>Gone</LogicalResourceId><PhysicalResourceId>ses-forwarder-Gone</PhysicalResourceId><ResourceType>AWS::CloudWatch::Alarm</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus><Timestamp>2026-01-01T00:00:00Z</Timestamp></member></StackResources>";
const ALARMS: &str = "operation/DescribeAlarms";
const MAIL_FROM: &[u8] = b"\"MailFromAttributes\":{\"MailFromDomain\":\"bounce.in.example\",\"MailFromDomainStatus\":\"SUCCESS\",\"BehaviorOnMxFailure\":\"REJECT_MESSAGE\"},\"DkimAttributes\"";
const MAIL_FROM_FAILED: &[u8] = b"\"MailFromAttributes\":{\"MailFromDomain\":\"bounce.in.example\",\"MailFromDomainStatus\":\"FAILED\",\"BehaviorOnMxFailure\":\"REJECT_MESSAGE\"},\"DkimAttributes\"";
const OWN_KEY: &[(&[u8], &[u8])] =
    &[(b"\"AWS_SES\"", b"\"EXTERNAL\""), (b"[\"token1\",\"token2\",\"token3\"]", b"[\"mine\"]")];
const DENIED: &str = "x-amzn-errortype: AccessDeniedException";
const NEIGHBOUR: &[u8] = b"<Stacks><member><StackId>arn:aws:cloudformation:us-east-1:123456789012:stack/old/1</StackId><StackName>old</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus><Parameters><member><ParameterKey>EmailDomain</ParameterKey><ParameterValue>in.example</ParameterValue></member></Parameters><Outputs><member><OutputKey>RuleSetName</OutputKey><OutputValue>old</OutputValue></member><member><OutputKey>HandleEmailFunctionName</OutputKey><OutputValue>old-email</OutputValue></member></Outputs></member>";

const BY_A_KEY: &[(&[u8], &[u8])] =
    &[(b"AES256</SSEAlgorithm>", b"aws:kms</SSEAlgorithm><KMSMasterKeyID>mine</KMSMasterKeyID>")];
const BUCKET_KEY: &[(&[u8], &[u8])] = &[(
    b"<ParameterKey>BucketKeyArn</ParameterKey><ParameterValue><",
    b"<ParameterKey>BucketKeyArn</ParameterKey><ParameterValue>arn:aws:kms:us-east-1:123456789012:key/mine<",
)];

const FEEDBACK_OFF: &[(&[u8], &[u8])] = &[(
    b":ses-forwarder-FeedbackQueue\",\"FunctionArn\":\"arn:aws:lambda:us-east-1:123456789012:function:ses-forwarder-HandleDeadLetterFunction\",\"State\":\"Enabled\"",
    b":ses-forwarder-FeedbackQueue\",\"FunctionArn\":\"arn:aws:lambda:us-east-1:123456789012:function:ses-forwarder-HandleDeadLetterFunction\",\"State\":\"Disabled\"",
)];

/// Seeds in the order in which a message would meet them.
fn seeds() -> Vec<Seed> {
    [dns(), receiving(), functions(), sending(), notices(), refused()].into_iter().flatten().collect()
}

fn dns() -> Vec<Seed> {
    vec![
        (
            "no MX record",
            Dns(&[("in.example", MX, &[])]),
            "MX record",
            "wrong",
            "in.example. MX 10 inbound-smtp.us-east-1.",
        ),
        (
            "an MX record of another region",
            Dns(&[("in.example", MX, &["inbound-smtp.eu-west-1.amazonaws.com."])]),
            "MX record",
            "wrong",
            "MX 10",
        ),
        (
            "a second MX record",
            Dns(&[("in.example", MX, &[HERE, "mx.else.example."])]),
            "MX record",
            "warning",
            "only MX record",
        ),
        (
            "a DKIM record is gone",
            Dns(&[("token2._domainkey.in.example", CNAME, &[])]),
            "DKIM",
            "warning",
            "token2._domainkey.in.example. CNAME token2.dkim.amazonses.com.",
        ),
        (
            "a DKIM record leads elsewhere",
            Dns(&[("token1._domainkey.in.example", CNAME, &["dkim.else.example."])]),
            "DKIM",
            "warning",
            "CNAME",
        ),
        (
            "a DKIM record leads to the keys of another region",
            Dns(&[("token1._domainkey.in.example", CNAME, &["token1.dkim.eu-south-1.amazonses.com."])]),
            "DKIM",
            "warning",
            "token1._domainkey.in.example. CNAME token1.dkim.amazonses.com.",
        ),
        (
            "no DMARC record",
            Dns(&[("_dmarc.in.example", TXT, &[])]),
            "DMARC",
            "warning",
            "_dmarc.in.example. TXT \"v=DMARC1; p=none\"",
        ),
        (
            "two DMARC records",
            Dns(&[("_dmarc.in.example", TXT, &["v=DMARC1; p=none", "v=DMARC1; p=reject"])]),
            "DMARC",
            "warning",
            "Keep one",
        ),
        (
            "a DMARC record without a policy",
            Dns(&[("_dmarc.in.example", TXT, &["v=DMARC1; rua=mailto:x@in.example"])]),
            "DMARC",
            "warning",
            "p=none",
        ),
    ]
}

fn receiving() -> Vec<Seed> {
    vec![
        ("a deployment that was rolled back", Says(STACKS, &[(b"CREATE_COMPLETE", b"UPDATE_ROLLBACK_COMPLETE")]), "stack", "warning", "describe-stack-events"),
        ("a first deployment that failed", Says(STACKS, &[(b"CREATE_COMPLETE", b"ROLLBACK_COMPLETE")]), "stack", "wrong", "sam delete --region us-east-1 --stack-name ses-forwarder"),
        ("an output is gone", Says(STACKS, &[(b">RuleSetName<", b">Rules<")]), "outputs", "wrong", "sam build && sam deploy --stack-name ses-forwarder --region us-east-1"),
        ("a second stack for the domain", Says(STACKS, &[(b"<Stacks>", NEIGHBOUR)]), "other stacks", "warning", "once no dead letter waits and no mail is held there, remove what is not wanted: ses-forwarder remove --region us-east-1 --stack old"),
        ("another rule set is active", Says("Action=DescribeActiveReceiptRuleSet", &[(b"<Name>ses-forwarder</Name>", b"<Name>old</Name>")]), "active rule set", "wrong", "ses-forwarder activate --region us-east-1 --stack ses-forwarder"),
        ("no rule set is active", Answers("Action=DescribeActiveReceiptRuleSet", 200, "content-type: text/xml", b"<DescribeActiveReceiptRuleSetResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><DescribeActiveReceiptRuleSetResult/></DescribeActiveReceiptRuleSetResponse>"), "active rule set", "wrong", "ses-forwarder activate"),
        ("the rule set is gone", Answers(RULES, 400, "content-type: text/xml", b"<ErrorResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><Error><Type>Sender</Type><Code>RuleSetDoesNotExist</Code><Message>gone</Message></Error></ErrorResponse>"), "receipt rule", "wrong", AGAIN),
        ("the rule is off", Says(RULES, &[(b"<Enabled>true", b"<Enabled>false")]), "receipt rule", "wrong", AGAIN),
        ("the rule is for another domain", Says(RULES, &[(b"<member>in.example", b"<member>x.example")]), "receipt rule", "wrong", AGAIN),
        ("the rule does not scan", Says(RULES, &[(b"<ScanEnabled>true", b"<ScanEnabled>false")]), "receipt rule", "warning", "ScanEnabled: true"),
        ("the rule stores under another prefix", Says(RULES, &[(b"<ObjectKeyPrefix>messages/", b"<ObjectKeyPrefix>mail/")]), "receipt rule", "wrong", AGAIN),
        ("the rule stores in another bucket", Says(RULES, &[(b"<BucketName>", b"<BucketName>x")]), "receipt rule", "wrong", AGAIN),
        ("the rule invokes another function", Says(RULES, &[(b":function:", b":function:x")]), "receipt rule", "wrong", AGAIN),
        ("the rule waits for the function", Says(RULES, &[(b"<InvocationType>Event", b"<InvocationType>RequestResponse")]), "receipt rule", "wrong", AGAIN),
        ("the bucket is gone", Answers("HEAD /ses-forwarder-bucket", 404, "content-type: text/xml", b""), "bucket", "wrong", "aws s3 mb"),
        ("the bucket is elsewhere", Answers("HEAD /ses-forwarder-bucket", 200, "x-amz-bucket-region: eu-west-1", b""), "bucket", "wrong", "bucket in us-east-1"),
        ("no bucket policy", Answers("?policy", 404, "content-type: text/xml", b"<Error><Code>NoSuchBucketPolicy</Code><Message>none</Message></Error>"), "bucket policy", "wrong", "put-bucket-policy"),
        ("a bucket policy for another service", Says("?policy", &[(b"ses.amazonaws.com", b"sns.amazonaws.com")]), "bucket policy", "wrong", "put-bucket-policy"),
        ("a bucket policy for another rule", Says("?policy", &[(b":receipt-rule/", b":receipt-rule/x")]), "bucket policy", "wrong", "merge it into the policy that is there: aws s3api get-bucket-policy"),
        ("SES can't store under AWS's key", Says("?encryption", &[(b"AES256", b"aws:kms")]), "bucket's key", "wrong", "put-bucket-encryption"),
        ("the bucket is under a key that the stack does not know", Says("?encryption", BY_A_KEY), "bucket's key", "wrong", "Deploy with BucketKeyArn=arn:aws:kms:us-east-1:123456789012:key/mine; the key's policy has to let SES use it"),
        ("the bucket is not under the key that the stack knows", Says(STACKS, BUCKET_KEY), "bucket's key", "warning", "BucketKeyArn empty"),
        ("SES may not invoke the function", Answers("HandleEmailFunction/policy", 404, "x-amzn-errortype: ResourceNotFoundException", b"{}"), "function permission", "wrong", PERMIT),
        ("another account may invoke the function", Says("HandleEmailFunction/policy", &[(b"SourceAccount\\\":\\\"123456789012", b"SourceAccount\\\":\\\"210987654321")]), "function permission", "wrong", PERMIT),
    ]
}

fn functions() -> Vec<Seed> {
    vec![
        (
            "a setting that is no word",
            Says(EMAIL, &[(b"\"ON_SPAM\":\"drop\"", b"\"ON_SPAM\":\"maybe\"")]),
            "settings",
            "wrong",
            AGAIN,
        ),
        (
            "its code is for another processor",
            // No architecture begins so, whatever this machine's is.
            Says(EMAIL, &[(b"\"Architectures\":[\"", b"\"Architectures\":[\"not-")]),
            "functions' code",
            "wrong",
            "sam build",
        ),
        (
            "a setting is gone",
            Says(EMAIL, &[(b"\"EMAIL_DOMAIN\"", b"\"MAIL_DOMAIN\"")]),
            "settings",
            "wrong",
            AGAIN,
        ),
        (
            "handle-email has failed",
            Says(EMAIL, &[(b"\"State\":\"Active\"", b"\"State\":\"Failed\"")]),
            "handle-email",
            "wrong",
            AGAIN,
        ),
        (
            "handle-email is idle",
            Says(EMAIL, &[(b"\"State\":\"Active\"", b"\"State\":\"Inactive\"")]),
            "handle-email",
            "warning",
            "aws lambda invoke",
        ),
        (
            "an update of handle-email failed",
            Says(EMAIL, &[(b"\"Successful\"", b"\"Failed\"")]),
            "handle-email",
            "wrong",
            AGAIN,
        ),
        (
            "handle-email is switched off",
            Answers(
                CONCURRENCY,
                200,
                "content-type: application/json",
                b"{\"ReservedConcurrentExecutions\":0}",
            ),
            "handle-email",
            "wrong",
            "delete-function-concurrency",
        ),
        (
            "handle-email has another role",
            Says(EMAIL, &[(b":role/", b":role/x")]),
            "handle-email",
            "wrong",
            "aws lambda update-function-configuration --region us-east-1 --function-name ses-forwarder-HandleEmailFunction --role arn:aws:iam::123456789012:role/ses-forwarder-HandleEmailRole",
        ),
        (
            "handle-email has no dead-letter queue",
            Says(EMAIL, &[(b"\"DeadLetterConfig\"", b"\"X\"")]),
            "handle-email",
            "wrong",
            LETTERS,
        ),
        (
            "handle-email has another dead-letter queue",
            Says(EMAIL, &[(b":sqs:us-east-1:123456789012:", b":sqs:us-east-1:123456789012:x")]),
            "handle-email",
            "wrong",
            LETTERS,
        ),
        (
            "handle-dead-letter has failed",
            Says(LETTER, &[(b"\"State\":\"Active\"", b"\"State\":\"Failed\"")]),
            "handle-dead-letter",
            "wrong",
            AGAIN,
        ),
        (
            "handle-dead-letter is not given the letters",
            Says(MAPPINGS, &[(b"\"Enabled\"", b"\"Disabled\"")]),
            "handle-dead-letter",
            "wrong",
            "update-event-source-mapping",
        ),
        (
            "handle-dead-letter is not given the feedback",
            Says(MAPPINGS, FEEDBACK_OFF),
            "handle-dead-letter",
            "wrong",
            "update-event-source-mapping --region us-east-1 --uuid 00000000-0000-4000-8000-000000000001",
        ),
        (
            "handle-dead-letter has no queue of feedback",
            Says(MAPPINGS, &[(b":ses-forwarder-FeedbackQueue\"", b":else\"")]),
            "handle-dead-letter",
            "wrong",
            AGAIN,
        ),
        (
            "handle-dead-letter has no queue",
            Answers(MAPPINGS, 200, "content-type: application/json", b"{\"EventSourceMappings\":[]}"),
            "handle-dead-letter",
            "wrong",
            AGAIN,
        ),
        (
            "a routes file with an error",
            Object(ROUTES, "[routes]\n\"@in.example\" = 5\n"),
            "routes",
            "wrong",
            "ses-forwarder routes put",
        ),
        (
            "nowhere to forward to",
            Says(EMAIL, &[(b"\"DESTINATION_DOMAIN\":\"out.example\"", b"\"DESTINATION_DOMAIN\":\"\"")]),
            "routes",
            "wrong",
            "DestinationDomain",
        ),
    ]
}

fn sending() -> Vec<Seed> {
    vec![
        (
            "the domain is no identity",
            Mistake::Account(|account| account.identities.clear()),
            "sending identity",
            "wrong",
            "create-email-identity",
        ),
        (
            "the domain is not verified",
            Says(IDENTITY, &[(b"\"VerifiedForSendingStatus\":true", b"\"VerifiedForSendingStatus\":false")]),
            "sending identity",
            "wrong",
            "get-email-identity",
        ),
        (
            "mail goes out unsigned",
            Says(IDENTITY, &[(b"\"SigningEnabled\":true", b"\"SigningEnabled\":false")]),
            "DKIM",
            "wrong",
            "put-email-identity-dkim-attributes",
        ),
        (
            "SES finds no DKIM records",
            Says(IDENTITY, &[(b"\"Status\":\"SUCCESS\",\"Tokens\"", b"\"Status\":\"FAILED\",\"Tokens\"")]),
            "DKIM",
            "wrong",
            "CNAME",
        ),
        (
            "the DKIM records of a region that has a zone of its own",
            Says(IDENTITY, &[(b":\"dkim.amazonses.com\"", b":\"dkim.eu-south-1.amazonses.com\"")]),
            "DKIM",
            "warning",
            "token1._domainkey.in.example. CNAME token1.dkim.eu-south-1.amazonses.com.",
        ),
        (
            "a DKIM key of the operator's is not in the DNS",
            Says(IDENTITY, OWN_KEY),
            "DKIM",
            "warning",
            "mine._domainkey.in.example. TXT \"p=",
        ),
        (
            "the MAIL FROM domain has failed",
            Says(IDENTITY, &[(b"\"DkimAttributes\"", MAIL_FROM_FAILED)]),
            "SPF and MAIL FROM",
            "wrong",
            "bounce.in.example. MX 10 feedback-smtp.us-east-1.amazonses.com",
        ),
        (
            "the MAIL FROM domain has lost its records",
            Says(IDENTITY, &[(b"\"DkimAttributes\"", MAIL_FROM)]),
            "SPF and MAIL FROM",
            "warning",
            "include:amazonses.com",
        ),
        (
            "the account is in the sandbox",
            Mistake::Account(|account| account.sandbox = true),
            "SES account",
            "wrong",
            "Request production access",
        ),
        (
            "sending is paused",
            Mistake::Account(|account| account.sending_enabled = false),
            "SES account",
            "wrong",
            "put-account-sending-attributes",
        ),
        (
            "the account is shut down",
            Mistake::Account(|account| account.suspended = true),
            "SES account",
            "wrong",
            "AWS Support Center",
        ),
        (
            "the account is on probation",
            Says(ACCOUNT, &[(b"HEALTHY", b"PROBATION")]),
            "SES account",
            "warning",
            "Reputation metrics",
        ),
        (
            "the quota is used up",
            Mistake::Account(|account| account.max_24_hour_send = Some(0)),
            "sending quota",
            "wrong",
            "Service Quotas",
        ),
        (
            "the quota is nearly used up",
            Says(
                ACCOUNT,
                &[
                    (b"\"Max24HourSend\":-1.0", b"\"Max24HourSend\":200"),
                    (b"\"SentLast24Hours\":0", b"\"SentLast24Hours\":170"),
                ],
            ),
            "sending quota",
            "warning",
            "Service Quotas",
        ),
        (
            "the alarm is for another quota",
            Says(
                STACKS,
                &[(
                    b"<ParameterKey>SendingQuota</ParameterKey><ParameterValue>0<",
                    b"<ParameterKey>SendingQuota</ParameterKey><ParameterValue>300<",
                )],
            ),
            "sending quota",
            "warning",
            "SendingQuota=0",
        ),
        (
            "the plan costs more",
            Mistake::Account(|account| "ESSENTIALS".clone_into(&mut account.pricing_plan)),
            "SES pricing plan",
            "warning",
            "put-account-pricing-attributes --region us-east-1 --plan NONE",
        ),
        (
            "the configuration set is gone",
            Says(
                EMAIL,
                &[(
                    b"\"CONFIGURATION_SET\":\"ses-forwarder-OutgoingSet\"",
                    b"\"CONFIGURATION_SET\":\"gone\"",
                )],
            ),
            "configuration set",
            "wrong",
            "create-configuration-set",
        ),
        (
            "SES tells nobody what becomes of mail",
            Answers(EVENTS, 200, "content-type: application/json", b"{\"EventDestinations\":[]}"),
            "feedback",
            "wrong",
            "aws sesv2 create-configuration-set-event-destination --region us-east-1 --configuration-set-name \
             ses-forwarder-OutgoingSet --event-destination-name feedback",
        ),
        (
            "the event destination is switched off",
            Says(EVENTS, &[(b"\"Enabled\":true", b"\"Enabled\":false")]),
            "feedback",
            "wrong",
            "--event-destination-name ses-forwarder-OutgoingEvents --event-destination 'Enabled=true,\
             MatchingEventTypes=[BOUNCE,COMPLAINT,DELIVERY_DELAY,REJECT],EventBridgeDestination={EventBusArn=\
             arn:aws:events:us-east-1:123456789012:event-bus/default}'",
        ),
        (
            "SES does not tell of complaints",
            Says(EVENTS, &[(b"\"COMPLAINT\"", b"\"OPEN\"")]),
            "feedback",
            "wrong",
            "MatchingEventTypes=[BOUNCE,OPEN,DELIVERY_DELAY,REJECT,COMPLAINT]",
        ),
        (
            "the tenant is gone",
            Says(EMAIL, &[(b"\"TENANT\":\"\"", b"\"TENANT\":\"gone\"")]),
            "SES tenant",
            "wrong",
            AGAIN,
        ),
        (
            "a destination is suppressed",
            Mistake::Account(|account| {
                account.suppressed.insert("ann@out.example".to_owned());
            }),
            "suppression list",
            "wrong",
            "ses-forwarder resume --region",
        ),
        (
            "a destination of the routes is suppressed",
            Mistake::Routes("[routes]\n\"info\" = \"Ann <ann@else.example>\"\n", |account| {
                account.suppressed.insert("ann@else.example".to_owned());
            }),
            "suppression list",
            "wrong",
            "--stack ses-forwarder ann@else.example",
        ),
        (
            "the operator is suppressed",
            Mistake::Account(|account| {
                account.suppressed.insert("operator@out.example".to_owned());
            }),
            "suppression list",
            "wrong",
            "delete-suppressed-destination --region us-east-1 --email-address operator@out.example",
        ),
    ]
}

fn notices() -> Vec<Seed> {
    vec![
        ("notices go to the domain itself", Says(LETTER, &[(b"operator@out.example", b"operator@in.example")]), "notice address", "wrong", "NoticeAddress"),
        ("nobody is subscribed", Answers("Action=ListSubscriptionsByTopic", 200, "content-type: text/xml", b"<ListSubscriptionsByTopicResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><ListSubscriptionsByTopicResult><Subscriptions/></ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>"), "notice topic", "wrong", "aws sns subscribe"),
        ("no subscription is confirmed", Says("Action=ListSubscriptionsByTopic", &[(b"<SubscriptionArn>arn:", b"<SubscriptionArn>PendingConfirmation")]), "notice topic", "wrong", "confirm"),
        ("CloudWatch can't publish under AWS's key", Says(TOPIC, &[(b"</entry></Attributes>", b"</entry><entry><key>KmsMasterKeyId</key><value>alias/aws/sns</value></entry></Attributes>")]), "topic's key", "wrong", "aws sns set-topic-attributes"),
        ("the topic is under a key that the stack does not know", Says(TOPIC, &[(b"</entry></Attributes>", b"</entry><entry><key>KmsMasterKeyId</key><value>mine</value></entry></Attributes>")]), "topic's key", "wrong", "Deploy with TopicKeyArn=arn:aws:kms:us-east-1:123456789012:key/mine; the key's policy has to let CloudWatch"),
        ("the topic is not under the key that the stack knows", Says(STACKS, &[(b"<ParameterKey>TopicKeyArn</ParameterKey><ParameterValue><", b"<ParameterKey>TopicKeyArn</ParameterKey><ParameterValue>arn:aws:kms:us-east-1:123456789012:key/mine<")]), "topic's key", "warning", "TopicKeyArn empty"),
        ("no alarm", Answers(ALARMS, 200, "smithy-protocol: rpc-v2-cbor", b"\xa1lMetricAlarms\x80"), "alarms", "warning", AGAIN),
        ("an alarm is gone", Says(RESOURCES, &[(b"</StackResources>", GONE)]), "alarms", "warning", AGAIN),
        ("an alarm is raised", Says(ALARMS, &[(b"jStateValuebOK", b"jStateValueeALARM")]), "alarms", "warning", "describe-alarms"),
        ("alarms tell nobody", Says(ALARMS, &[(b"ActionsEnabled\xf5", b"ActionsEnabled\xf4")]), "alarms", "warning", "enable-alarm-actions"),
        ("dead letters wait", Says("AmazonSQS.GetQueueAttributes", &[(b"\"ApproximateNumberOfMessages\":\"0\"", b"\"ApproximateNumberOfMessages\":\"3\"")]), "dead letters", "wrong", "sam logs"),
        ("mail is tried again", Says("AmazonSQS.GetQueueAttributes", &[(b"\"ApproximateNumberOfMessagesNotVisible\":\"0\"", b"\"ApproximateNumberOfMessagesNotVisible\":\"3\"")]), "dead letters", "warning", "ses-forwarder find --region us-east-1 --stack ses-forwarder --status failed --since 120h"),
    ]
}

/// What the person who asks may not see is unknown, and nothing else is kept from being told.
fn refused() -> Vec<Seed> {
    vec![
        ("GetAccount is not allowed", Answers(ACCOUNT, 403, DENIED, b"{}"), "SES account", "unknown", "allow the call"),
        ("GetFunctionConfiguration is not allowed", Answers(EMAIL, 403, DENIED, b"{}"), "settings", "unknown", "allow the call"),
        ("GetFunction is not allowed", Answers(FUNCTION, 403, DENIED, b"{}"), "functions' code", "unknown", "allow the call"),
        ("GetBucketPolicy is not allowed", Answers("?policy", 403, "content-type: text/xml", b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"), "bucket policy", "unknown", "allow the call"),
        ("DescribeStackResources is not allowed", Answers(RESOURCES, 403, "content-type: text/xml", b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"), "handle-email", "unknown", "allow the call"),
        ("GetEncryptionConfiguration is not allowed", Answers("?encryption", 403, "content-type: text/xml", b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"), "bucket's key", "unknown", "allow the call"),
        ("DescribeAlarms is not allowed", Answers(ALARMS, 403, "smithy-protocol: rpc-v2-cbor", b"\xa1f__type\x6cAccessDenied"), "alarms", "unknown", "allow the call"),
        ("the plan is not told", Says(ACCOUNT, &[(b"\"CurrentPlan\"", b"\"Plan\"")]), "SES pricing plan", "unknown", "allow the call"),
    ]
}

/// The commands in a remedy, each up to the next.
fn commands(remedy: &str) -> impl Iterator<Item = &str> {
    let starts = ["aws ", "sam deploy", "sam delete", "sam logs", "ses-forwarder "];
    let is_word = |at: usize| at == 0 || [" ", "("].contains(&&remedy[at - 1..at]);
    let mut found: Vec<usize> =
        starts.iter().flat_map(|start| remedy.match_indices(start)).map(|(at, _)| at).collect();
    // A stack may be called as the program is.
    found.retain(|at| {
        is_word(*at) && !remedy[..*at].ends_with("--stack ") && !remedy[..*at].ends_with("-name ")
    });
    found.sort_unstable();
    let ends: Vec<usize> = found.iter().skip(1).copied().chain([remedy.len()]).collect();
    found.into_iter().zip(ends).map(|(start, end)| &remedy[start..end])
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_each_mistake_with_its_remedy() {
    let stack = Stack::start(Config::default()).await.unwrap();
    let proxy = Proxy::start(stack.aws_url().strip_prefix("http://").unwrap().parse().unwrap());
    let operator = Operator { endpoint: format!("http://{}", proxy.address), ..Operator::of(&stack) };
    support::confirm(&stack, &operator).await;
    let sound = nameserver(zone(HERE));
    let (code, findings) = operator.findings(sound);
    assert_eq!(code, 0, "{findings:#?}");

    let account = stack.services().ses().account();
    let seeds = seeds();
    assert!(seeds.len() >= 40);
    let mut missed = Vec::new();
    for (name, mistake, check, state, remedy) in seeds {
        let mut dns = sound;
        let mut object = None;
        match mistake {
            Dns(records) => {
                let mut zone = zone(HERE);
                for (name, kind, values) in records {
                    let values = values.iter().map(|value| (*value).to_owned()).collect();
                    zone.insert(((*name).to_owned(), *kind), values);
                }
                dns = nameserver(zone);
            }
            Says(asked, pairs) => proxy.alter(vec![Alter { asked, effect: Effect::Replace(pairs.to_vec()) }]),
            Answers(asked, status, field, body) => {
                proxy.alter(vec![Alter { asked, effect: Effect::Answer(status, field, body) }]);
            }
            Mistake::Account(change) => stack.services().ses().configure(change),
            Object(key, text) => {
                stack.put_object(key, text).await;
                object = Some(key);
            }
            Mistake::Routes(text, change) => {
                stack.services().ses().configure(change);
                stack.put_object(ROUTES, text).await;
                object = Some(ROUTES);
            }
        }
        let (code, findings) = operator.findings(dns);
        let found = findings.iter().any(|finding| {
            let fix = finding["fix"].as_str().unwrap_or_default();
            finding["check"] == check && finding["state"] == state && fix.contains(remedy)
        });
        for fix in findings.iter().filter_map(|finding| finding["fix"].as_str()) {
            let elsewhere = commands(fix).filter(|command| !command.contains("--region us-east-1"));
            missed.extend(elsewhere.map(|command| format!("{name}: {command} names no region")));
        }
        let any = |state: &str| findings.iter().any(|finding| finding["state"] == state);
        let expected = if any("wrong") { 1 } else { 2 * i32::from(any("unknown")) };
        if !found || code != expected {
            let others: Vec<_> = findings.iter().filter(|finding| finding["state"] != "ok").collect();
            missed.push(format!("{name}: exit {code}, {others:#?}"));
        }
        proxy.alter(Vec::new());
        stack.services().ses().configure(|changed| account.clone_into(changed));
        if let Some(key) = object {
            stack.delete_object(key).await;
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(operator.findings(sound).0, 0, "all is as before");
}
