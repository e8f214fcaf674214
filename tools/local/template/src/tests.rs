use serde_json::json;

use super::*;

/// One of everything that is played, and nothing else.
const SMALL: &str = r#"Transform: AWS::Serverless-2016-10-31
Parameters:
  Domain: {Type: String, Default: in.example}
  Prefix: {Type: String, Default: messages/}
  Topic: {Type: String, Default: ''}
Rules:
  Named:
    Assertions:
      - {Assert: !Not [!Equals [!Ref Domain, '']], AssertDescription: Name a domain}
Conditions:
  OwnTopic: !Equals [!Ref Topic, '']
Globals:
  Function:
    Runtime: provided.al2023
    Environment: {Variables: {DOMAIN: !Ref Domain}}
Resources:
  Set:
    Type: AWS::SES::ReceiptRuleSet
    Properties: {RuleSetName: !Ref AWS::StackName}
  Rule:
    Type: AWS::SES::ReceiptRule
    DependsOn: [Policy, Permission, FunctionEventInvokeConfig, FunctionOwn]
    Properties:
      RuleSetName: !Ref Set
      Rule:
        Name: !Ref AWS::StackName
        Enabled: true
        Recipients: [!Ref Domain]
        Actions:
          - S3Action: {BucketName: !Ref Bucket, ObjectKeyPrefix: !Ref Prefix}
          - LambdaAction: {FunctionArn: !GetAtt Function.Arn}
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties:
      LifecycleConfiguration: {Rules: [{Status: Enabled, ExpirationInDays: 1}]}
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: ses.amazonaws.com}
            Action: s3:PutObject
            Resource: !Sub '${Bucket.Arn}/messages/*'
            Condition:
              ArnLike: {aws:SourceArn: !Sub 'arn:aws:ses:*:${AWS::AccountId}:receipt-rule-set/*'}
  Permission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref Function
      Principal: ses.amazonaws.com
      SourceAccount: !Ref AWS::AccountId
  Function:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: makefile}
    Properties:
      CodeUri: forward
      Role: !GetAtt Role.Arn
      Timeout: 20
      Environment: {Variables: {BUCKET: !Ref Bucket, TOPIC: !If [OwnTopic, !Ref Notices, !Ref Topic]}}
      EventInvokeConfig: {MaximumRetryAttempts: 1}
      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Queue.Arn}
      Events:
        Own: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 5}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}
      Policies:
        - PolicyName: All
          PolicyDocument:
            Version: 2012-10-17
            Statement:
              - {Effect: Allow, Action: 'sqs:*', Resource: !GetAtt Queue.Arn}
              - {Effect: Allow, Action: sns:Publish, Resource: !If [OwnTopic, !Ref Notices, !Ref Topic]}
  Queue: {Type: AWS::SQS::Queue}
  Notices:
    Type: AWS::SNS::Topic
    Condition: OwnTopic
    Properties: {Subscription: [{Protocol: email, Endpoint: a@out.example}]}
Outputs:
  Queue: {Value: !Ref Queue}
  Notices: {Condition: OwnTopic, Value: !Ref Notices}
"#;

fn small(parameters: &[(&str, &str)], replaced: &str, with: &str) -> Result<Deployment, TemplateError> {
    assert!(SMALL.contains(replaced), "{replaced}");
    evaluate(&SMALL.replacen(replaced, with, 1), &owned(parameters), "mail", "eu-west-1")
}

fn owned(parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn ok_names_and_references() {
    let deployment = small(&[], "", "").unwrap();
    let function = &deployment.functions[0];
    assert_eq!(deployment.buckets[0].name, "mail-bucket");
    assert_eq!(function.name, "mail-Function");
    assert_eq!(function.arn, "arn:aws:lambda:eu-west-1:123456789012:function:mail-Function");
    assert_eq!(function.role.arn, "arn:aws:iam::123456789012:role/mail-Role");
    assert_eq!(function.log_group, "/aws/lambda/mail-Function");
    assert_eq!(function.dead_letter_arn.as_deref(), Some("arn:aws:sqs:eu-west-1:123456789012:mail-Queue"));
    let topic = "arn:aws:sns:eu-west-1:123456789012:mail-Notices";
    assert_eq!(
        function.environment,
        owned(&[("BUCKET", "mail-bucket"), ("DOMAIN", "in.example"), ("TOPIC", topic)])
    );
    assert_eq!(
        deployment.outputs,
        owned(&[
            ("Queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/mail-Queue"),
            ("Notices", topic)
        ])
    );
    assert_eq!(
        deployment.rules[0].arn,
        "arn:aws:ses:eu-west-1:123456789012:receipt-rule-set/mail:receipt-rule/mail"
    );
    assert_eq!(deployment.topics[0].subscriptions, [("email".to_owned(), "a@out.example".to_owned())]);
    let not_played: Vec<_> =
        deployment.not_played.iter().map(|not_played| not_played.what.as_str()).collect();
    assert_eq!(not_played, ["Bucket.LifecycleConfiguration"]);
}

#[test]
fn ok_condition_turns_to_an_existing_topic() {
    let arn = "arn:aws:sns:eu-west-1:123456789012:operators";
    let deployment = small(&[("Topic", arn)], "", "").unwrap();
    assert_eq!(deployment.functions[0].environment["TOPIC"], arn);
    let topics: Vec<_> = deployment.topics.iter().map(|topic| (topic.arn.as_str(), topic.existing)).collect();
    assert_eq!(topics, [(arn, true)]);
    assert_eq!(deployment.outputs.keys().collect::<Vec<_>>(), ["Queue"]);
}

#[test]
fn ok_rendered() {
    let render = |parameters| rendered(SMALL, &owned(parameters), "mail", "eu-west-1").unwrap();
    let template = render(&[]);
    let sections: Vec<_> = template.as_object().unwrap().keys().collect();
    assert_eq!(sections, ["Conditions", "Globals", "Outputs", "Resources", "Transform"]);
    assert_eq!(template["Conditions"], json!({"OwnTopic": true}));
    assert_eq!(
        template["Globals"]["Function"]["Environment"],
        json!({"Variables": {"DOMAIN": "in.example"}})
    );
    let topic = "arn:aws:sns:eu-west-1:123456789012:mail-Notices";
    assert_eq!(
        template["Outputs"],
        json!({
            "Queue": {"Value": "https://sqs.eu-west-1.amazonaws.com/123456789012/mail-Queue"},
            "Notices": {"Value": topic},
        })
    );
    assert_eq!(
        template["Resources"]["Bucket"],
        json!({
            "Type": "AWS::S3::Bucket",
            "DeletionPolicy": "Retain",
            "Properties": {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationInDays": 1}]}},
        })
    );
    let function = &template["Resources"]["Function"]["Properties"];
    assert_eq!(function["Timeout"], json!(20));
    assert_eq!(function["Environment"], json!({"Variables": {"BUCKET": "mail-bucket", "TOPIC": topic}}));

    let existing = render(&[("Topic", "arn:x")]);
    assert_eq!(existing["Conditions"], json!({"OwnTopic": false}));
    assert_eq!((existing["Resources"].get("Notices"), existing["Outputs"].get("Notices")), (None, None));

    let refused = rendered(SMALL, &owned(&[("Domain", "")]), "mail", "eu-west-1").unwrap_err();
    assert_eq!(refused.to_string(), "template line 9: rule Named: Name a domain");
}

/// One change to the small template, the line that the error should name, and what it should say.
#[test]
fn err_changes() {
    let cases = [
        ("Transform: AWS::", "Transform: X", "Transform", "expected AWS::Serverless-2016-10-31"),
        ("Outputs:", "Mappings: {}\nOutputs:", "Mappings", "section Mappings is not known here"),
        ("Default: messages/", "Defualt: x", "Defualt", "a parameter has no Defualt"),
        ("[!Ref Domain, '']", "[!Ref Domain, in.example]", "Assert:", "rule Named: Name a domain"),
        ("[!Ref Topic, '']", "[!Ref Cue, '']", "OwnTopic:", "there is no parameter or resource Cue"),
        ("Globals:", "Globals:\n  Api: {}", "Api:", "Globals of Api are not known here"),
        ("AWS::SQS::Queue}", "AWS::SQS::Cue}", "SQS::Cue", "resource type AWS::SQS::Cue is not known here"),
        (
            "DeletionPolicy:",
            "CreationPolicy:",
            "CreationPolicy",
            "CreationPolicy of a resource is not known here",
        ),
        ("Enabled: true", "Enabled: yes", "Enabled: yes", "expected true or false, but found \"yes\""),
        ("Enabled: true", "Enabld: true", "Enabld", "property Rule.Rule.Enabld is not known here"),
        ("Lifecycle", "Website", "Website", "property Bucket.WebsiteConfiguration is not known here"),
        ("Timeout: 20", "VpcConfig: {}", "VpcConfig", "property Function.VpcConfig is not known here"),
        ("Timeout: 20", "Timeout: 901", "Timeout:", "expected a number from 1 to 900, but found \"901\""),
        (
            "Timeout: 20",
            "Timeout: 31",
            "BatchSize",
            "time-out of 30 s is shorter than the function's of 31 s",
        ),
        ("BatchSize: 5", "BatchSize: 11", "BatchSize", "Lambda takes a BatchSize above 10 only with"),
        (
            "Own: {Type: SQS",
            "Own: {Type: S3",
            "Type: S3",
            "expected SQS or Schedule, the only kinds of events played here",
        ),
        ("provided.al2023", "python3.13", "Runtime", "expected runtime provided.al2023"),
        ("makefile", "rust-cargolambda", "BuildMethod", "expected makefile, but found \"rust-cargolambda\""),
        ("CodeUri: forward", "Description: x", "Description: x", "CodeUri is missing"),
        ("Role: !GetAtt Role.Arn", "Description: x", "CodeUri: forward", "Role is missing"),
        ("!GetAtt Role.Arn", "arn:x", "Role: arn:x", "expected the ARN of a role of this template"),
        ("lambda.amazonaws", "glue.amazonaws", "!GetAtt Role.Arn", "can't be assumed by Lambda"),
        ("'sqs:*'", "'sqs:R*'", "BatchSize", "mail-Role does not allow sqs:DeleteMessage on"),
        ("'sqs:*'", "'sqs:[R-Z]*'", "BatchSize", "mail-Role does not allow sqs:ReceiveMessage on"),
        (
            "ArnLike: {aws:SourceArn",
            "ArnIs: {aws:SourceArn",
            "ArnIs",
            "condition operator ArnIs is not known here",
        ),
        (
            "S3::BucketPolicy",
            "S3::BucketPolicy\n    DependsOn: Rule",
            "DependsOn: [P",
            "Policy needs Rule needs Policy",
        ),
        ("SQS::Queue}", "SQS::Queue, DependsOn: X}", "DependsOn: X", "there is no parameter or resource X"),
        (
            "[Policy, Permission,",
            "[Policy, Permission, FunctionOther,",
            "DependsOn: [P",
            "there is no parameter or resource FunctionOther",
        ),
        (
            "SQS::Queue}",
            "SQS::Queue, DependsOn: FunctionOwn}",
            "Action: 'sqs:*'",
            "Queue needs Function needs Role needs Queue",
        ),
        (
            "[Policy, Permission,",
            "[Policy,",
            "LambdaAction",
            "made before Permission lets it invoke mail-Function",
        ),
        (
            "[Policy, Permission,",
            "[Permission,",
            "S3Action",
            "made before Policy lets it write to mail-bucket",
        ),
        ("/messages/*", "/inbox/*", "S3Action", "s3:PutObject on arn:aws:s3:::mail-bucket/messages/AMAZON"),
        (
            "SourceAccount: !Ref AWS::AccountId",
            "SourceAccount: '1'",
            "LambdaAction",
            "lets it invoke mail-Function",
        ),
        ("Value: !Ref Queue", "Value: !Ref Cue", "Value: !Ref Cue", "there is no parameter or resource Cue"),
        ("!Ref Prefix", "!Base64 x", "!Base64 x", "function !Base64 is not known here"),
        ("!Ref Prefix", "{'Fn::Base64': x}", "Fn::Base64", "function Fn::Base64 is not known here"),
        ("!Ref Prefix", "!FindInMap [A, B, C]", "!FindInMap", "function !FindInMap is not known here"),
        ("!Sub '${Bucket.Arn}/m", "!Sub '${Bucket.Url}/m", "Bucket.Url", "has no attribute Url known here"),
        ("[!Ref Topic, '']", "[!Cidr [a], '']", "!Cidr", "function !Cidr is not known here"),
        (
            "Condition: OwnTopic\n",
            "Condition: Nothing\n",
            "Condition: Nothing",
            "there is no condition Nothing",
        ),
        (
            "Named:\n",
            "Named:\n    RuleConditon: x\n",
            "RuleConditon",
            "RuleConditon of a rule is not known here",
        ),
        (
            "{Value: !Ref Queue",
            "{Export: x, Value: !Ref Queue",
            "Export:",
            "Export of an output is not known here",
        ),
        (
            "{BucketName: !Ref Bucket,",
            "{BucketName: !Ref Bucket, KmsKeyArn: x,",
            "KmsKeyArn",
            "S3Action.KmsKeyArn is not known",
        ),
        (
            "LambdaAction: {",
            "BounceAction: {}\n          - LambdaAction: {",
            "BounceAction",
            "BounceAction is not known here",
        ),
        (
            "BatchSize: 5",
            "BatchSize: 5, FilterCriteria: {}",
            "FilterCriteria",
            "FilterCriteria is not known here",
        ),
    ];
    for (replaced, with, at, message) in cases {
        let line = 1 + SMALL.replacen(replaced, with, 1).lines().position(|line| line.contains(at)).unwrap();
        let error = small(&[], replaced, with).unwrap_err();
        assert!(
            error.message.contains(message) && error.line == line,
            "{replaced} -> {with}, {line}: {error}"
        );
    }
}

#[test]
fn err_parameter_that_does_not_fit_together() {
    let arn = "arn:aws:sns:eu-west-1:123456789012:operators";
    let error =
        small(&[("Topic", arn)], "!If [OwnTopic, !Ref Notices, !Ref Topic]", "!Ref Notices").unwrap_err();
    assert!(error.message.contains("Notices is not created, as its condition does not hold"), "{error}");
    let error = small(&[("Prefix", "inbox/")], "", "").unwrap_err();
    assert!(error.message.contains("s3:PutObject on arn:aws:s3:::mail-bucket/inbox/AMAZON_SES"), "{error}");
}

mod real {
    //! The template that is deployed: each change to it changes what the stack does.

    use super::*;

    const TEMPLATE: &str = include_str!("../../../../template.yaml");
    const SAMCONFIG: &str = include_str!("../../../../samconfig.toml");

    /// Evaluates it with a change, which must be there to make.
    fn with(changes: &[(&str, &str)], parameters: &[(&str, &str)]) -> Result<Deployment, TemplateError> {
        let mut template = TEMPLATE.to_owned();
        for (replaced, with) in changes {
            assert!(template.contains(replaced), "{replaced}");
            template = template.replace(replaced, with);
        }
        let config = SamConfig::read(SAMCONFIG).unwrap();
        let mut all = config.parameters;
        all.extend(owned(parameters));
        evaluate(&template, &all, &config.stack_name.unwrap(), "eu-west-1")
    }

    fn function<'d>(deployment: &'d Deployment, binary: &str) -> &'d crate::deployment::Function {
        deployment.functions.iter().find(|function| function.binary == binary).unwrap()
    }

    fn call(action: &str, resource: &str, context: &[(&str, &str)]) -> ses_forwarder_iam::Call {
        ses_forwarder_iam::Call {
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: owned(context),
        }
    }

    #[test]
    fn ok_as_it_is() {
        let deployment = with(&[], &[]).unwrap();
        let binaries: Vec<_> = deployment.functions.iter().map(|function| function.binary.as_str()).collect();
        assert_eq!(binaries, ["handle-email", "handle-dead-letter"]);
        let rule = &deployment.rules[0];
        assert!(rule.enabled && rule.scan_enabled && !rule.tls_required, "{rule:?}");
        assert_eq!(rule.recipients, [deployment.parameters["EmailDomain"].clone()]);
        let email = function(&deployment, "handle-email");
        assert_eq!(email.dead_letter_arn.as_ref(), Some(&deployment.queues[0].arn));
        assert_eq!(email.maximum_retry_attempts, 0);
        assert!(deployment.functions.iter().all(|function| function.may_recur));
        assert_eq!(email.environment["BUCKET"], deployment.buckets[0].name);
        let letter = function(&deployment, "handle-dead-letter");
        assert_eq!(letter.queue_sources[0].queue_arn, deployment.queues[0].arn);
        assert!(letter.queue_sources[0].report_batch_item_failures);
        assert_eq!(letter.environment["NOTICE_TOPIC_ARN"], deployment.topics[0].arn);
    }

    #[test]
    fn ok_every_way_to_deploy() {
        let parameters = [
            ("ExistingBucket", "mine"),
            ("NoticeTopicArn", "arn:aws:sns:eu-west-1:123456789012:operators"),
            ("NoticeAddress", "operator@out.example"),
            ("Analytics", "projection"),
            ("Analytics", "crawler"),
            ("ConfigurationSet", "mail"),
            ("SubjectPrefix", "[in.example]"),
            ("TlsPolicy", "Require"),
            ("SilenceAlarmHours", "24"),
            ("SendingQuota", "200"),
            ("MonthlyBudget", "20"),
            ("HostedZoneId", "Z0123456789ABCDEFGHIJ"),
            ("BucketKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/1a2b3c4d"),
            ("TopicKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/1a2b3c4d"),
        ];
        for (name, value) in parameters {
            if let Err(error) = with(&[], &[(name, value)]) {
                panic!("{name}={value}: {error}");
            }
        }
    }

    #[test]
    fn bucket_and_topic_tell_their_keys() {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1a2b3c4d";
        for (parameters, told) in [
            (&[][..], [None, None]),
            (&[("BucketKeyArn", key)], [Some(key), None]),
            (&[("TopicKeyArn", key)], [None, Some(key)]),
        ] {
            let deployment = with(&[], parameters).unwrap();
            let keys = [&deployment.buckets[0].key, &deployment.topics[0].key].map(Option::as_deref);
            assert_eq!(keys, told, "{parameters:?}");
        }
    }

    #[test]
    fn parameters_reach_what_they_are_for() {
        let deployment = with(
            &[],
            &[
                ("ExistingBucket", "mine"),
                ("NoticeTopicArn", "arn:aws:sns:eu-west-1:123456789012:operators"),
                ("ConfigurationSet", "tracked"),
                ("OnSpam", "tag"),
                ("TlsPolicy", "Require"),
                ("EmailDomain", "mail.example"),
            ],
        )
        .unwrap();
        let email = function(&deployment, "handle-email");
        let letter = function(&deployment, "handle-dead-letter");
        assert_eq!(
            deployment.buckets.iter().map(|bucket| (&*bucket.name, bucket.existing)).collect::<Vec<_>>(),
            [("mine", true)]
        );
        assert_eq!(
            deployment.topics.iter().map(|topic| (&*topic.name, topic.existing)).collect::<Vec<_>>(),
            [("operators", true)]
        );
        assert_eq!(email.environment["BUCKET"], "mine");
        assert_eq!(email.environment["CONFIGURATION_SET"], "tracked");
        assert_eq!(email.environment["ON_SPAM"], "tag");
        assert_eq!(letter.environment["NOTICE_TOPIC_ARN"], deployment.topics[0].arn);
        assert_eq!(deployment.rules[0].recipients, ["mail.example"]);
        assert!(deployment.rules[0].tls_required);
        let send = |from| {
            call(
                "ses:SendEmail",
                "arn:aws:ses:eu-west-1:123456789012:identity/mail.example",
                &[("ses:FromAddress", from)],
            )
        };
        assert!(email.role.allows(&send("a@mail.example")));
        assert!(!email.role.allows(&send("a@in.example")));
    }

    #[test]
    fn ok_several_domains() {
        let deployment = with(&[], &[("EmailDomain", "in.example, second.example")]).unwrap();
        assert_eq!(deployment.rules[0].recipients, ["in.example", "second.example"]);
        let email = function(&deployment, "handle-email");
        let letter = function(&deployment, "handle-dead-letter");
        assert_eq!(email.environment["EMAIL_DOMAIN"], "in.example,second.example");
        let send = |from| {
            call(
                "ses:SendRawEmail",
                "arn:aws:ses:eu-west-1:123456789012:identity/second.example",
                &[("ses:FromAddress", from)],
            )
        };
        for (from, email_may, letter_may) in [
            ("a@in.example", true, false),
            ("a@second.example", true, false),
            ("a@third.example", false, false),
            ("forwarder-notice@in.example", true, true),
            ("forwarder-notice@second.example", true, false),
        ] {
            assert_eq!(email.role.allows(&send(from)), email_may, "{from}");
            assert_eq!(letter.role.allows(&send(from)), letter_may, "{from}");
        }
        let mx = |name: &str| deployment.outputs.get(name).map(String::as_str);
        assert_eq!(mx("MxRecord"), Some("in.example. MX 10 inbound-smtp.eu-west-1.amazonaws.com."));
        assert_eq!(mx("MxRecord2"), Some("second.example. MX 10 inbound-smtp.eu-west-1.amazonaws.com."));
        assert_eq!(mx("MxRecord3"), None);
    }

    #[test]
    fn ok_beside_other_rules() {
        let beside = [
            ("ExistingRuleSet", "corporate"),
            ("AfterRule", "spam-traps"),
            ("Recipients", "info@in.example, .in.example"),
        ];
        for more in [&[][..], &[("ExistingBucket", "mine")]] {
            let deployment = with(&[], &[&beside, more].concat()).unwrap();
            let rule = &deployment.rules[0];
            assert_eq!((&*rule.rule_set, &*rule.name), ("corporate", "ses-forwarder"));
            assert_eq!(
                rule.arn,
                "arn:aws:ses:eu-west-1:123456789012:receipt-rule-set/corporate:receipt-rule/ses-forwarder"
            );
            assert_eq!(rule.recipients, ["info@in.example", ".in.example"]);
            assert_eq!(deployment.outputs["RuleSetName"], "corporate");
            assert!(
                !deployment.outputs.contains_key("ActivateCommand"),
                "another's rule set is its own business"
            );
        }
    }

    #[test]
    fn err_parameters() {
        let cases = [
            ("EmailDomain", "In.Example", "parameter EmailDomain can't be \"In.Example\": must be domains"),
            ("EmailDomain", "example", "parameter EmailDomain can't be \"example\": must be domains"),
            ("EmailDomain", "in.example,", "parameter EmailDomain can't be \"\": must be domains"),
            ("Recipients", "info@", "parameter Recipients can't be \"info@\": must be addresses"),
            ("EmailDomain", "out.example", "rule MailLeavesTheDomain: DestinationDomain must not be in"),
            ("EmailDomain", "in.example,out.example", "rule MailLeavesTheDomain: DestinationDomain must not"),
            ("NoticeAddress", "", "rule NoticesReachSomeone: Give a NoticeAddress or a NoticeTopicArn"),
            ("NoticeAddress", "nobody", "parameter NoticeAddress can't be \"nobody\": must be one address"),
            ("OnSpam", "delete", "parameter OnSpam can't be \"delete\": allowed are forward, tag, drop"),
            (
                "ExistingBucket",
                "s3://mine",
                "parameter ExistingBucket can't be \"s3://mine\": must be the name",
            ),
            (
                "MessageRetentionDays",
                "0",
                "parameter MessageRetentionDays can't be \"0\": must be a number of days",
            ),
            ("Domain", "x", "there is no parameter Domain; there are "),
        ];
        for (name, value, message) in cases {
            let error = with(&[], &[(name, value)]).unwrap_err();
            assert!(error.message.contains(message), "{name}={value}: {error}");
        }
    }

    #[test]
    fn a_changed_prefix_changes_where_mail_is_stored() {
        let rule = ("ObjectKeyPrefix: messages/", "ObjectKeyPrefix: inbox/");
        let error = with(&[rule], &[]).unwrap_err();
        assert!(error.message.contains("no bucket policy lets it do s3:PutObject on"), "{error}");
        let deployment = with(&[("messages/", "inbox/")], &[]).unwrap();
        assert!(matches!(
            &deployment.rules[0].actions[0],
            crate::deployment::RuleAction::S3 { prefix, .. } if prefix == "inbox/"
        ));
        assert_eq!(function(&deployment, "handle-email").environment["MESSAGES_PREFIX"], "inbox/");
    }

    #[test]
    fn a_changed_variable_name_changes_the_environment() {
        let deployment = with(&[("DESTINATION_DOMAIN:", "DESTINATION:")], &[]).unwrap();
        let environment = &function(&deployment, "handle-email").environment;
        assert_eq!(environment.get("DESTINATION_DOMAIN"), None);
        assert_eq!(environment["DESTINATION"], "out.example");
    }

    #[test]
    fn a_changed_action_changes_what_the_role_allows() {
        let read = call("s3:GetObject", "arn:aws:s3:::ses-forwarder-bucket/messages/x", &[]);
        let allows = |deployment: &Deployment| function(deployment, "handle-email").role.allows(&read);
        assert!(allows(&with(&[], &[]).unwrap()));
        assert!(!allows(&with(&[("Action: s3:GetObject", "Action: s3:GetObjectAcl")], &[]).unwrap()));
        let error = with(&[("Action: sqs:SendMessage", "Action: sqs:GetQueueUrl")], &[]).unwrap_err();
        assert!(error.message.contains("does not allow sqs:SendMessage on"), "{error}");
    }

    #[test]
    fn a_schedule_is_one_that_eventbridge_takes() {
        let schedules =
            |deployment: &Deployment| function(deployment, "handle-dead-letter").schedules.clone();
        for (digest, expression, enabled) in [
            ("off", "cron(0 6 * * ? *)", false),
            ("daily", "cron(0 6 * * ? *)", true),
            ("weekly", "cron(0 6 ? * MON *)", true),
        ] {
            let deployment = with(&[], &[("Digest", digest)]).unwrap();
            let expected = crate::deployment::Schedule {
                rule_arn: "arn:aws:events:eu-west-1:123456789012:rule/HandleDeadLetterFunctionDigest"
                    .to_owned(),
                expression: expression.to_owned(),
                enabled,
            };
            assert_eq!(schedules(&deployment), [expected]);
        }
        let daily = "\"cron(0 6 * * ? *)\"]";
        assert_eq!(
            schedules(&with(&[(daily, "\"rate(12 hours)\"]")], &[]).unwrap())[0].expression,
            "rate(12 hours)"
        );
        for wrong in ["cron(0 6 * * ?)", "rate(0 days)", "rate(a day)", "at six", "cron(0 6 * * ? *"] {
            let error = with(&[(daily, &format!("\"{wrong}\"]"))], &[]).unwrap_err();
            assert!(error.message.contains("cron(…) with six fields, or rate(…)"), "{wrong}: {error}");
        }
        let error = with(&[("[SendDigest, ENABLED, DISABLED]", "[SendDigest, ON, OFF]")], &[]).unwrap_err();
        assert!(error.message.contains("expected ENABLED or DISABLED"), "{error}");
    }

    #[test]
    fn a_changed_batch_size_changes_the_event_source() {
        let source = |deployment: &Deployment| {
            let source = &function(deployment, "handle-dead-letter").queue_sources[0];
            (source.batch_size, source.batching_window.as_secs())
        };
        assert_eq!(source(&with(&[], &[]).unwrap()), (10, 5));
        let changes = [
            ("BatchSize: 10", "BatchSize: 3"),
            ("MaximumBatchingWindowInSeconds: 5", "MaximumBatchingWindowInSeconds: 7"),
        ];
        assert_eq!(source(&with(&changes, &[]).unwrap()), (3, 7));
    }

    #[test]
    fn roles_hold_nothing_more_than_they_need() {
        let deployment = with(&[], &[]).unwrap();
        let bucket = "arn:aws:s3:::ses-forwarder-bucket";
        let refused = [
            ("handle-email", "s3:PutObject", "messages/x"),
            ("handle-email", "s3:PutObject", "config/routes.toml"),
            ("handle-email", "s3:GetObject", "error/x"),
            ("handle-email", "s3:DeleteObject", "outcome/x"),
            ("handle-dead-letter", "s3:GetObject", "messages/x"),
            ("handle-dead-letter", "s3:PutObject", "error/x"),
        ];
        for (binary, action, key) in refused {
            let call = call(action, &format!("{bucket}/{key}"), &[]);
            assert!(!function(&deployment, binary).role.allows(&call), "{binary} {action} {key}");
        }
    }
}
