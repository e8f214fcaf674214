"""Tests of template.yaml, on what it renders to with each of its conditions on and off.

.ci/template                      everything, with linters
python .ci/template_test.py       this only
"""

import json
import re
import subprocess
import sys
import unittest
from pathlib import Path

from evaluated import Refused, load, render
from given import ACCOUNT, REGION, REQUIRED, ROOT

RENDERS = ROOT / "target/ci/renders"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1a2b3c4d-0000-1111-2222-333344445555"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:operators"

VERDICTS = (
    "OnSpam",
    "OnVirus",
    "OnDmarcReject",
    "OnDmarcFail",
    "OnUnauthenticated",
    "OnSpfFail",
    "OnDkimFail",
)

# Between them every condition is true and false, and every closed parameter takes every value.
SETS = {
    "defaults": {},
    "existing-bucket": {"ExistingBucket": "mail.in.example"},
    "existing-topic": {"NoticeTopicArn": TOPIC},
    "topic-only": {"NoticeTopicArn": TOPIC, "NoticeAddress": ""},
    "projection": {"Analytics": "projection"},
    "projection-existing-bucket": {"Analytics": "projection", "ExistingBucket": "mail.in.example"},
    "crawler": {"Analytics": "crawler"},
    "crawler-existing-bucket": {"Analytics": "crawler", "ExistingBucket": "mail.in.example"},
    "configuration-set": {"ConfigurationSet": "forwarded"},
    "deliveries": {"TrackDelivery": "on"},
    "tenant": {"Tenant": "on"},
    "tenant-of-many": {
        "Tenant": "on",
        "ConfigurationSet": "forwarded",
        "EmailDomain": "in.example, b.example, c.example, mail.d.example",
        "HostedZoneId": "Z1",
    },
    "no-digest": {"Digest": "off"},
    "replies": {"Replies": "on"},
    "clean-replies": {"Replies": "on", "ReplyBody": "clean", "ExistingBucket": "mail.in.example"},
    "silence-one-hour": {"SilenceAlarmHours": 1},
    "silence-a-week": {"SilenceAlarmHours": 168, "NoticeTopicArn": TOPIC},
    "tls-required": {"TlsPolicy": "Require"},
    **{f"{action}-all": dict.fromkeys(VERDICTS, action) for action in ("drop", "tag", "forward")},
    "two-domains": {"EmailDomain": "in.example,second.example"},
    "four-domains": {"EmailDomain": "in.example, b.example, c.example, mail.d.example"},
    "a-zone": {"HostedZoneId": "Z1"},
    "four-zones": {
        "EmailDomain": "in.example, b.example, c.example, mail.d.example, e.example",
        "HostedZoneId": "Z1, Z2, Z3, Z4",
    },
    "fourth-zone": {
        "EmailDomain": "in.example, b.example, c.example, mail.d.example",
        "HostedZoneId": ",,,Z4",
    },
    "more-zones-than-domains": {"HostedZoneId": "Z1,Z2,Z3,Z4"},
    "keys": {"BucketKeyArn": KEY, "TopicKeyArn": KEY},
    "keys-of-what-is-there": {
        "BucketKeyArn": KEY,
        "TopicKeyArn": KEY,
        "ExistingBucket": "mail.in.example",
        "NoticeTopicArn": TOPIC,
        "Analytics": "crawler",
    },
    "budget": {"MonthlyBudget": 20},
    "guest": {"ExistingRuleSet": "company", "ExistingBucket": "mail.in.example"},
    "guest-behind-a-rule": {
        "ExistingRuleSet": "company",
        "AfterRule": "block-spam",
        "EmailDomain": "in.example,second.example",
        "Recipients": "info@in.example,second.example,.in.example",
    },
    "everything": {
        "Analytics": "projection",
        "ConfigurationSet": "forwarded",
        "Tenant": "on",
        "TrackDelivery": "on",
        "SilenceAlarmHours": 24,
        "Digest": "weekly",
        "SendingQuota": 50000,
        "RetryHours": 1,
        "SubjectPrefix": "[in.example]",
        "HideDestinations": "true",
        "OnRefused": "notice",
        "MessageRetentionDays": 3650,
        "LogRetentionDays": 3653,
    },
    "nothing-created": {
        "ExistingBucket": "mail.in.example",
        "NoticeTopicArn": TOPIC,
        "NoticeAddress": "",
        "Analytics": "off",
    },
}


def rendered(**parameters):
    return render(REQUIRED | parameters)


def functions(template):
    """Each function's properties, with what all functions share."""
    shared = template["Globals"]["Function"]
    return {
        logical: shared
        | body["Properties"]
        | {
            "Environment": {
                "Variables": shared["Environment"]["Variables"]
                | body["Properties"]["Environment"]["Variables"]
            }
        }
        for logical, body in template["Resources"].items()
        if body["Type"] == "AWS::Serverless::Function"
    }


def statements(template, role):
    (policy,) = template["Resources"][role]["Properties"]["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def listed(value):
    return value if isinstance(value, list) else [value]


class Renders(unittest.TestCase):
    def test_each_set_renders_and_lints(self):
        RENDERS.mkdir(parents=True, exist_ok=True)
        for stale in RENDERS.glob("*.json"):
            stale.unlink()
        for name, parameters in SETS.items():
            template = rendered(**parameters)
            # Decided, they are no conditions to a linter.
            del template["Conditions"]
            (RENDERS / f"{name}.json").write_text(json.dumps(template, indent=1))
        lint = subprocess.run(
            [Path(sys.executable).with_name("cfn-lint"), *sorted(map(str, RENDERS.glob("*.json")))],
            capture_output=True,
            text=True,
        )
        self.assertEqual("", lint.stdout + lint.stderr)
        self.assertEqual(0, lint.returncode)

    def test_the_sets_turn_each_condition_on_and_off(self):
        decided = [rendered(**parameters)["Conditions"] for parameters in SETS.values()]
        for condition in load()["Conditions"]:
            self.assertEqual({True, False}, {holds[condition] for holds in decided}, condition)

    def test_the_sets_take_each_value_of_closed_parameters(self):
        declared = load()["Parameters"]
        for name in set(declared) - {"LogRetentionDays"}:
            allowed = set(declared[name].get("AllowedValues", []))
            taken = {(parameters.get(name, declared[name].get("Default"))) for parameters in SETS.values()}
            self.assertLessEqual(allowed, taken, name)


class Parameters(unittest.TestCase):
    def test_good_values_are_taken(self):
        good = {
            "EmailDomain": [
                "in.example",
                "mail.in.example",
                "a.b.c.museum",
                "xn--bcher-kva.example",
                "in.xn--p1ai",
                "9gag.example",
                "in.co",
                "in.example,second.example",
                "in.example, mail.in.example",
            ],
            "Recipients": ["", "in.example", "info@in.example, .in.example", "o'neil+x@in.example"],
            "ExistingRuleSet": ["", "company", "a", "default-rule-set", "x" * 64],
            "AfterRule": ["", "block.spam_1"],
            "NoticeAddress": ["operator@out.example", "o'neil+mail@sub.out.example"],
            "NoticeTopicArn": [TOPIC, "arn:aws-cn:sns:cn-north-1:123456789012:t"],
            "ExistingBucket": ["mail", "mail.in.example", "0-mail"],
            "SubjectPrefix": ["", "[in.example]", "Fwd: "],
            "MessageRetentionDays": [1, 3650],
            "SilenceAlarmHours": [0, 168],
            "SendingQuota": [0, 200, 10000000],
            "MonthlyBudget": [0, 20, "12.50"],
            "HostedZoneId": ["", "Z0123456789ABCDEFGHIJ", "Z1, Z2", ",Z2"],
            "BucketKeyArn": ["", KEY, KEY.replace(":aws:", ":aws-cn:")],
            "TopicKeyArn": ["", KEY],
            "RetryHours": [1, 312],
        }
        for name, values in good.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    rendered(**{name: value})

    def test_bad_values_are_refused_with_a_sentence(self):
        domains = [
            "",
            "example",
            "In.example",
            "in.example.",
            ".in.example",
            "in..example",
            "-in.example",
            "in-.example",
            "@in.example",
            "in.example/",
            "http://in.example",
            "in example",
            "bücher.example",
            "in.example\n",
            "192.0.2.1",
            "a." * 126 + "example",
        ]
        bad = {
            # Spaces around are no part of a list's items, and only a whole name is bounded.
            "EmailDomain": [*(bad for bad in domains[:-1] if bad != "in.example\n"), "in.example,", "in.example,,b.example", "in.example;b.example"],
            "Recipients": ["info", "@in.example", "*@in.example", "..in.example"],
            "ExistingRuleSet": ["a b", "-a", "a-", "x" * 65],
            "AfterRule": ["a/b"],
            "DestinationDomain": domains,
            "NoticeAddress": [
                "operator",
                "Operator <operator@out.example>",
                "a@b",
                "a@out.example,b@out.example",
            ],
            "NoticeTopicArn": [
                "operators",
                "arn:aws:sqs:us-east-1:123456789012:q",
                TOPIC + ".fifo",
                TOPIC + ":x",
            ],
            "ExistingBucket": ["s3://mail", "mail/in", "Mail", "m", "-mail", "mail-"],
            "SubjectPrefix": ["Grüße", "a\r\nBcc: b@c.example", "x" * 61],
            "ConfigurationSet": ["a b", "x" * 65],
            "MessageRetentionDays": [0, 3651],
            "SilenceAlarmHours": [-1, 169],
            "Digest": ["hourly", ""],
            "SendingQuota": [-1],
            "MonthlyBudget": [-1],
            "HostedZoneId": ["in.example", "/hostedzone/Z1", "Z1;Z2"],
            "BucketKeyArn": ["alias/mail", KEY.replace("key/", "alias/"), "1a2b3c4d"],
            "TopicKeyArn": [TOPIC],
            "RetryHours": [0, 313],
            "LogRetentionDays": [2],
            "OnSpam": ["Drop", ""],
            "HideDestinations": ["yes", ""],
            "OnRefused": ["drop", ""],
            "Analytics": ["on", ""],
            "TlsPolicy": ["require"],
        }
        declared = load()["Parameters"]
        for name, values in bad.items():
            sentence = "allowed are " if "AllowedValues" in declared[name] else "must be "
            for value in values:
                with (
                    self.subTest(name=name, value=value),
                    self.assertRaisesRegex(Refused, rf"parameter {name} can't be .*: {sentence}"),
                ):
                    rendered(**{name: value})

    def test_rules_refuse_what_no_pattern_can(self):
        cases = {
            "Give a NoticeAddress or a NoticeTopicArn": {"NoticeAddress": ""},
            "DestinationDomain must not be in": {"EmailDomain": "b.example,out.example"},
            "Give a NoticeAddress: it is what MonthlyBudget tells": {
                "MonthlyBudget": 20,
                "NoticeAddress": "",
                "NoticeTopicArn": TOPIC,
            },
        }
        for sentence, parameters in cases.items():
            with self.subTest(sentence), self.assertRaisesRegex(Refused, sentence):
                rendered(**parameters)

    def test_each_parameter_is_described_and_grouped(self):
        template = load()
        groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        grouped = [name for group in groups for name in group["Parameters"]]
        self.assertEqual(sorted(template["Parameters"]), sorted(grouped))
        for name, declaration in template["Parameters"].items():
            self.assertIn("Description", declaration, name)
            open_ended = "AllowedValues" not in declaration
            self.assertEqual(open_ended, "ConstraintDescription" in declaration, name)

    def test_the_readme_lists_each_with_its_default(self):
        written = {
            name: default.strip().strip("`")
            for names, default in re.findall(
                r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]*)\|", (ROOT / "README.md").read_text(), re.M
            )
            for name in re.findall(r"`(\w+)`", names)
        }
        declared = {
            name: str(declaration.get("Default", "")) or ("empty" if "Default" in declaration else "")
            for name, declaration in load()["Parameters"].items()
        }
        self.assertEqual(declared, {name: written.get(name) for name in declared})


class Wiring(unittest.TestCase):
    def test_the_environment_is_the_contract(self):
        both = {
            "BUCKET": "mail.in.example",
            "EMAIL_DOMAIN": "in.example",
            "MESSAGES_PREFIX": "messages/",
            "INDEX_PREFIX": "index/",
            "OUTCOME_PREFIX": "outcome/",
            "ERROR_PREFIX": "error/",
            "STACK_NAME": "ses-forwarder",
        }
        template = rendered(
            ExistingBucket="mail.in.example", ConfigurationSet="forwarded", NoticeTopicArn=TOPIC
        )
        variables = {
            logical: body["Environment"]["Variables"] for logical, body in functions(template).items()
        }
        self.assertEqual(
            {
                "HandleEmailFunction": both
                | {
                    "DESTINATION_DOMAIN": "out.example",
                    "ROUTES_KEY": "config/routes.toml",
                    "ON_SPAM": "drop",
                    "ON_VIRUS": "drop",
                    "ON_DMARC_REJECT": "drop",
                    "ON_DMARC_FAIL": "tag",
                    "ON_UNAUTHENTICATED": "tag",
                    "ON_SPF_FAIL": "forward",
                    "ON_DKIM_FAIL": "forward",
                    "SUBJECT_PREFIX": "",
                    "HIDE_DESTINATIONS": "false",
                    "REPLIES": "off",
                    "REPLY_BODY": "keep",
                    "ON_REFUSED": "stub",
                    "CONFIGURATION_SET": "forwarded",
                    "TENANT": "",
                },
                "HandleDeadLetterFunction": both
                | {
                    "NOTICE_ADDRESS": "operator@out.example",
                    "NOTICE_TOPIC_ARN": TOPIC,
                    "HANDLE_EMAIL_FUNCTION": variables["HandleDeadLetterFunction"]["HANDLE_EMAIL_FUNCTION"],
                    "RETRY_HOURS": 96,
                    "DELAY_NOTICE_MINUTES": "60",
                    "DIGEST": "daily",
                },
            },
            variables,
        )
        unused = functions(rendered(NoticeTopicArn=TOPIC, NoticeAddress=""))
        created = unused["HandleEmailFunction"]["Environment"]["Variables"]["CONFIGURATION_SET"]
        self.assertTrue(created.startswith("ses-forwarder-OutgoingSet"), created)
        self.assertEqual("", unused["HandleDeadLetterFunction"]["Environment"]["Variables"]["NOTICE_ADDRESS"])

    def test_each_verdict_has_its_own_parameter(self):
        variables = {
            "OnSpam": "ON_SPAM",
            "OnVirus": "ON_VIRUS",
            "OnDmarcReject": "ON_DMARC_REJECT",
            "OnDmarcFail": "ON_DMARC_FAIL",
            "OnUnauthenticated": "ON_UNAUTHENTICATED",
            "OnSpfFail": "ON_SPF_FAIL",
            "OnDkimFail": "ON_DKIM_FAIL",
        }
        for parameter, variable in variables.items():
            template = rendered(**{name: "tag" if name == parameter else "forward" for name in variables})
            given = functions(template)["HandleEmailFunction"]["Environment"]["Variables"]
            self.assertEqual([variable], [name for name, value in given.items() if value == "tag"])

    def test_each_variable_that_settings_know_is_set(self):
        names = re.findall(r'pub const \w+: &str = "(\w+)"', (ROOT / "shared/src/settings.rs").read_text())
        template = rendered(ConfigurationSet="forwarded")
        given = {name for body in functions(template).values() for name in body["Environment"]["Variables"]}
        self.assertEqual(given, {name for name in names if not name.startswith("AWS_")})
        self.assertIn("BUCKET", names)

    def test_prefixes_agree_wherever_they_stand(self):
        template = rendered(Analytics="projection")
        variables = functions(template)["HandleEmailFunction"]["Environment"]["Variables"]
        prefixes = {
            name: variables[f"{name.upper()}_PREFIX"] for name in ("messages", "index", "outcome", "error")
        }
        bucket = template["Outputs"]["BucketName"]["Value"]
        resources = template["Resources"]

        store, _ = resources["Rule"]["Properties"]["Rule"]["Actions"]
        self.assertEqual(prefixes["messages"], store["S3Action"]["ObjectKeyPrefix"])
        allow, _ = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        self.assertEqual(f"arn:aws:s3:::{bucket}/{prefixes['messages']}*", allow["Resource"])
        lifecycle = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
        self.assertEqual(set(prefixes.values()), {rule["Prefix"] for rule in lifecycle if "Prefix" in rule})
        for table in ("index", "outcome"):
            entry = resources[f"{table.title()}Table"]["Properties"]["TableInput"]
            location = f"s3://{bucket}/{prefixes[table]}"
            self.assertEqual(location, entry["StorageDescriptor"]["Location"])
            self.assertEqual(location + "${day}/", entry["Parameters"]["storage.location.template"])

        keys = {f"arn:aws:s3:::{bucket}/{prefix}*" for prefix in prefixes.values()}
        keys.add(f"arn:aws:s3:::{bucket}/{variables['ROUTES_KEY']}")
        keys.add(f"arn:aws:s3:::{bucket}/{prefixes['error']}notices/*")
        (suspended,) = re.findall(r'SUSPENDED: &str = "([^"]+)"', (ROOT / "shared/src/keys.rs").read_text())
        keys.add(f"arn:aws:s3:::{bucket}/{suspended}")
        for role in ("HandleEmailRole", "HandleDeadLetterRole"):
            for statement in statements(template, role).values():
                for resource in listed(statement["Resource"]):
                    if resource.startswith("arn:aws:s3:::") and "/" in resource:
                        self.assertIn(resource, keys)

    def test_what_a_role_may_read_it_may_also_find_absent(self):
        template = rendered()
        bucket = "arn:aws:s3:::" + template["Outputs"]["BucketName"]["Value"]
        for role in ("HandleEmailRole", "HandleDeadLetterRole"):
            read, found = set(), set()
            for statement in statements(template, role).values():
                if "s3:GetObject" in listed(statement["Action"]):
                    read |= {key.removeprefix(bucket + "/") for key in listed(statement["Resource"])}
                if "s3:ListBucket" in listed(statement["Action"]):
                    self.assertEqual(bucket, statement["Resource"])
                    found |= set(listed(statement["Condition"]["StringLike"]["s3:prefix"]))
            self.assertEqual(read, found, role)

    def test_roles_allow_nothing_everywhere(self):
        template = rendered(Analytics="crawler")
        for role in ("HandleEmailRole", "HandleDeadLetterRole", "CrawlerRole"):
            for sid, statement in statements(template, role).items():
                for action in listed(statement["Action"]):
                    self.assertNotIn("*", action, sid)
                for resource in listed(statement["Resource"]):
                    self.assertNotEqual("*", resource, sid)

    def test_mail_is_sent_from_the_domains_only(self):
        template = rendered(EmailDomain="in.example,b.example")
        conditions = {
            sid: statements(template, role)[sid]["Condition"]
            for role, sid in (
                ("HandleEmailRole", "SendFromTheDomains"),
                ("HandleEmailRole", "SendBounces"),
                ("HandleDeadLetterRole", "SendNotices"),
            )
        }
        self.assertEqual(
            {
                "SendFromTheDomains": {"StringLike": {"ses:FromAddress": ["*@in.example", "*@b.example"]}},
                "SendBounces": {
                    "StringEquals": {
                        "ses:FromAddress": ["mailer-daemon@in.example", "mailer-daemon@b.example"]
                    }
                },
                "SendNotices": {"StringEquals": {"ses:FromAddress": "forwarder-notice@in.example"}},
            },
            conditions,
        )
        without = statements(rendered(NoticeTopicArn=TOPIC, NoticeAddress=""), "HandleDeadLetterRole")
        self.assertNotIn("SendNotices", without)

    def test_roles_use_a_key_only_where_one_is_given(self):
        roles = ("HandleEmailRole", "HandleDeadLetterRole", "CrawlerRole")

        def uses(template):
            return {
                (role, statement["Resource"], statement["Condition"]["StringEquals"]["kms:ViaService"])
                for role in roles
                for statement in statements(template, role).values()
                if any(action.startswith("kms:") for action in listed(statement["Action"]))
            }

        self.assertEqual(set(), uses(rendered(Analytics="crawler")))
        topic = KEY.replace("1a2b", "5e6f")
        template = rendered(Analytics="crawler", BucketKeyArn=KEY, TopicKeyArn=topic)
        self.assertEqual(
            {(role, KEY, f"s3.{REGION}.amazonaws.com") for role in roles}
            | {("HandleDeadLetterRole", topic, f"sns.{REGION}.amazonaws.com")},
            uses(template),
        )
        (rule,) = template["Resources"]["Bucket"]["Properties"]["BucketEncryption"][
            "ServerSideEncryptionConfiguration"
        ]
        self.assertEqual(
            {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}, rule["ServerSideEncryptionByDefault"]
        )
        self.assertEqual(topic, template["Resources"]["NoticeTopic"]["Properties"]["KmsMasterKeyId"])

    def test_a_zone_gets_what_its_domain_needs(self):
        template = rendered(EmailDomain="in.example,b.example", HostedZoneId="Z1,Z2")
        for number, domain, zone in (("", "in.example", "Z1"), ("2", "b.example", "Z2")):
            identity = template["Resources"][f"Identity{number}"]
            records = template["Resources"][f"Records{number}"]
            self.assertEqual(domain, identity["Properties"]["EmailIdentity"])
            self.assertEqual(zone, records["Properties"]["HostedZoneId"])
            self.assertEqual(
                {
                    (domain, "MX", f"10 inbound-smtp.{REGION}.amazonaws.com"),
                    (f"_dmarc.{domain}", "TXT", '"v=DMARC1; p=none"'),
                    *((f"token{n}._domainkey.{domain}", "CNAME", f"token{n}.dkim.amazonses.com") for n in (1, 2, 3)),
                },
                {
                    (record["Name"], record["Type"], *record["ResourceRecords"])
                    for record in records["Properties"]["RecordSets"]
                },
            )
            for kept in (identity, records):
                self.assertEqual("RetainExceptOnCreate", kept["DeletionPolicy"])
                self.assertEqual("Retain", kept["UpdateReplacePolicy"])

    def test_the_queue_hides_a_dead_letter_long_enough(self):
        template = rendered()
        function = functions(template)["HandleDeadLetterFunction"]
        queues = {"DeadLetters": "DeadLetterQueue", "Feedback": "FeedbackQueue"}
        by_queue = {name for name, event in function["Events"].items() if event["Type"] == "SQS"}
        self.assertEqual(queues.keys(), by_queue)
        for event, queue in queues.items():
            hidden = template["Resources"][queue]["Properties"]["VisibilityTimeout"]
            window = function["Events"][event]["Properties"]["MaximumBatchingWindowInSeconds"]
            self.assertGreaterEqual(hidden, 6 * function["Timeout"] + window)

    def test_what_ses_publishes_is_what_the_rule_takes(self):
        for parameters, name in (({}, None), ({"ConfigurationSet": "forwarded", "TrackDelivery": "on"}, "forwarded")):
            template = rendered(**parameters)
            resources = template["Resources"]
            name = name or template["Outputs"]["ConfigurationSetName"]["Value"]
            sends = functions(template)["HandleEmailFunction"]["Environment"]["Variables"]["CONFIGURATION_SET"]
            events = resources["OutgoingEvents"]["Properties"]
            pattern = resources["FeedbackRule"]["Properties"]["EventPattern"]
            self.assertEqual([name, name], [sends, events["ConfigurationSetName"]])
            self.assertEqual({"ses:configuration-set": [name]}, pattern["detail"]["mail"]["tags"])
            published = {
                "bounce": "Email Bounced",
                "complaint": "Email Complaint Received",
                "deliveryDelay": "Email Delivery Delayed",
                "reject": "Email Rejected",
                "delivery": "Email Delivered",
            }
            types = events["EventDestination"]["MatchingEventTypes"]
            self.assertLessEqual({published[kind] for kind in types}, set(pattern["detail-type"]))
            self.assertEqual("TrackDelivery" in parameters, "delivery" in types)

    def test_a_tenant_has_all_that_is_sent_with(self):
        domains = ["in.example", "b.example", "c.example", "mail.d.example"]
        for number in range(len(domains) + 1):
            template = rendered(Tenant="on" if number else "off", EmailDomain=",".join(domains[: max(number, 1)]))
            variables = functions(template)["HandleEmailFunction"]["Environment"]["Variables"]
            if not number:
                self.assertEqual("", variables["TENANT"])
                self.assertNotIn("OutgoingTenant", template["Resources"])
                continue
            tenant = template["Resources"]["OutgoingTenant"]["Properties"]
            self.assertEqual(variables["TENANT"], tenant["TenantName"])
            arns = {one["ResourceArn"].rpartition(":")[2] for one in tenant["ResourceAssociations"]}
            sent_with = {f"configuration-set/{variables['CONFIGURATION_SET']}"}
            self.assertEqual(sent_with | {f"identity/{domain}" for domain in domains[:number]}, arns)

    def test_ses_is_let_in_for_this_rule_only(self):
        for parameters in ({}, {"ExistingRuleSet": "company"}):
            with self.subTest(parameters):
                self.ses_is_let_in_for_this_rule_only(rendered(**parameters))

    def ses_is_let_in_for_this_rule_only(self, template):
        rule = template["Resources"]["Rule"]["Properties"]
        arn = (
            f"arn:aws:ses:{REGION}:{ACCOUNT}:receipt-rule-set/{rule['RuleSetName']}"
            f":receipt-rule/{rule['Rule']['Name']}"
        )
        permission = template["Resources"]["ReceivePermission"]["Properties"]
        self.assertEqual((ACCOUNT, arn), (permission["SourceAccount"], permission["SourceArn"]))
        allow, _ = template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        self.assertEqual(
            {"StringEquals": {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": arn}}, allow["Condition"]
        )

    def test_the_policy_for_an_existing_bucket_is_the_same(self):
        template = rendered()
        bucket = template["Outputs"]["BucketName"]["Value"]
        text = (ROOT / "ses-bucket-policy.json").read_text()
        for placeholder, value in {
            "BUCKET": bucket,
            "ACCOUNT_ID": ACCOUNT,
            "REGION": REGION,
            "STACK_NAME": "ses-forwarder",
            "RULE_SET": "ses-forwarder",
        }.items():
            self.assertIn(placeholder, text)
            text = re.sub(rf"\b{placeholder}\b", value, text)
        self.assertEqual(
            template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"], json.loads(text)
        )

    def test_what_is_kept_is_kept_with_its_policy(self):
        """A second stack that shares a bucket has a statement in the policy, which the first must not take along."""
        resources = load()["Resources"]
        policies = {
            "AWS::S3::BucketPolicy": lambda properties: [properties["Bucket"]],
            "AWS::SQS::QueuePolicy": lambda properties: properties["Queues"],
        }
        attributes = ("Condition", "DeletionPolicy", "UpdateReplacePolicy")
        checked = 0
        for logical, body in resources.items():
            for reference in policies.get(body["Type"], lambda _: [])(body["Properties"]):
                kept = resources[reference["Ref"]]
                checked += 1
                for attribute in attributes:
                    self.assertEqual(kept.get(attribute), body.get(attribute), f"{logical}: {attribute}")
        self.assertEqual(2, checked)
        self.assertEqual("RetainExceptOnCreate", resources["BucketPolicy"]["DeletionPolicy"])

    def test_descriptions_fit_however_many_domains_there_are(self):
        """EmailDomain may have 4096 characters, as any parameter."""
        domains = ",".join(f"{'d' * 50}{number:02}.example" for number in range(66))
        self.assertLess(len(domains), 4096)
        everything = {"Analytics": "crawler", "Replies": "on", "SilenceAlarmHours": 24, "SendingQuota": 50000}
        template = render(REQUIRED | everything | {"EmailDomain": domains}, "M" + "a-" * 31 + "b")
        # By what each service takes.
        limits = {
            "AWS::Events::Rule": ("Description", 512),
            "AWS::CloudWatch::Alarm": ("AlarmDescription", 1024),
            "AWS::Glue::Crawler": ("Description", 2048),
            "AWS::Glue::Database": ("DatabaseInput", 2048),
        }
        checked = set()
        for logical, body in template["Resources"].items():
            name, limit = limits.get(body["Type"], (None, 0))
            if name:
                told = body["Properties"][name]
                told = told["Description"] if isinstance(told, dict) else told
                self.assertLessEqual(len(told), limit, logical)
                checked.add(body["Type"])
        self.assertEqual(limits.keys(), checked)

    def test_the_document_names_each_column_of_an_outcome(self):
        table = rendered(Analytics="projection")["Resources"]["OutcomeTable"]["Properties"]["TableInput"]
        columns = {column["Name"] for column in table["StorageDescriptor"]["Columns"]}
        text = (ROOT / "docs/analytics.md").read_text()
        named = text[text.rindex("`outcome` has ") :].split("\n\n")[0]
        named = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", named))) - {"outcome"}
        self.assertEqual(columns, named)

    def test_alarms_and_notices_reach_the_same_topic(self):
        for name, parameters in SETS.items():
            template = rendered(**parameters)
            topic = template["Outputs"]["NoticeTopicArn"]["Value"]
            notices = functions(template)["HandleDeadLetterFunction"]["Environment"]["Variables"]
            self.assertEqual(topic, notices["NOTICE_TOPIC_ARN"], name)
            for body in template["Resources"].values():
                if body["Type"] == "AWS::CloudWatch::Alarm":
                    self.assertEqual([topic], body["Properties"]["AlarmActions"], name)
                    self.assertEqual([topic], body["Properties"]["OKActions"], name)

    def test_no_alarm_is_raised_by_a_deployment_that_has_had_no_mail(self):
        template = rendered(SilenceAlarmHours=24, SendingQuota=50000)
        for logical, body in template["Resources"].items():
            if body["Type"] == "AWS::CloudWatch::Alarm":
                missing = body["Properties"]["TreatMissingData"]
                self.assertEqual("missing" if logical == "SilenceAlarm" else "notBreaching", missing, logical)
                tells = "InsufficientDataActions" in body["Properties"]
                self.assertEqual(logical == "SilenceAlarm", tells, logical)

    def test_the_dashboard_is_json_and_fits_its_grid(self):
        body = json.loads(rendered()["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
        covered = set()
        for widget in body["widgets"]:
            cells = {
                (x, y)
                for x in range(widget["x"], widget["x"] + widget["width"])
                for y in range(widget["y"], widget["y"] + widget["height"])
            }
            self.assertFalse(covered & cells, widget["properties"]["title"])
            self.assertLessEqual(widget["x"] + widget["width"], 24)
            covered |= cells


if __name__ == "__main__":
    unittest.main()
