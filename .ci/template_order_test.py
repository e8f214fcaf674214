"""In which order CloudFormation makes what template.yaml has, whether it takes the names, and whether they are
the stack's own.

.ci/template                       everything, with linters
python .ci/template_order_test.py  this only
"""

import logging
import os
import re
import tempfile
import unittest

from evaluated import load, render
from given import REGION, REQUIRED, ROOT
from template_graph import closure, needs, transformed
from template_test import SETS

os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
# SAM's translator says at each run that it has not published metrics about itself.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)

# Where a resource says how it is called; None: CloudFormation makes a name from the stack's. A
# policy or a permission is part of what it belongs to and has no name of its own.
NAME_PROPERTIES = {
    "AWS::SES::ReceiptRuleSet": "RuleSetName",
    "AWS::SES::ReceiptRule": "Rule.Name",
    "AWS::Lambda::Permission": None,
    "AWS::S3::Bucket": "BucketName",
    "AWS::S3::BucketPolicy": None,
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Lambda::EventInvokeConfig": None,
    "AWS::Lambda::EventSourceMapping": None,
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SQS::QueuePolicy": None,
    "AWS::SES::ConfigurationSet": "Name",
    "AWS::SES::ConfigurationSetEventDestination": "EventDestination.Name",
    "AWS::Events::Rule": "Name",
    "AWS::SNS::Topic": "TopicName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Glue::Database": "DatabaseInput.Name",
    "AWS::Glue::Table": "TableInput.Name",
    "AWS::Glue::Crawler": "Name",
    # These are the domain's, and of the one stack that is given its zone.
    "AWS::SES::EmailIdentity": "EmailIdentity",
    "AWS::SES::Tenant": "TenantName",
    "AWS::Route53::RecordSetGroup": None,
    "AWS::Budgets::Budget": "Budget.BudgetName",
}

# What a name may be, by type, where the template gives one. From each service's API reference; of SES's
# two from probes: https://docs.aws.amazon.com/ses/latest/APIReference/API_CreateReceiptRuleSet.html
NAMES = {
    "AWS::SES::ReceiptRuleSet": r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?",
    "AWS::SES::ReceiptRule": r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?",
    "AWS::SES::ConfigurationSet": r"[A-Za-z0-9_-]{1,64}",
    "AWS::SES::Tenant": r"[A-Za-z0-9_-]{1,64}",
    "AWS::SES::EmailIdentity": r"[a-z0-9.-]{1,253}",
    "AWS::Logs::LogGroup": r"[A-Za-z0-9_/.#-]{1,512}",
    "AWS::CloudWatch::Dashboard": r"[A-Za-z0-9_-]{1,255}",
    # Glue takes more; what Athena's DDL takes without quotes.
    "AWS::Glue::Database": r"[a-z_][a-z0-9_]{0,254}",
    "AWS::Glue::Table": r"[a-z_][a-z0-9_]{0,254}",
}

# CloudFormation takes capitals and 128 characters. SES takes 64, as the README says.
STACKS = ("m", "ses-forwarder", "Mail-Forwarder", "M" + "a-" * 31 + "b")


class Order(unittest.TestCase):
    def test_what_is_named_is_made_and_nothing_goes_in_circles(self):
        for name, parameters in SETS.items():
            graph = needs(parameters)
            for logical, named in graph.items():
                self.assertLessEqual(named, graph.keys(), f"{name}: {logical}")
                self.assertNotIn(logical, closure(graph, logical), name)

    def test_the_rule_comes_last(self):
        """A rule puts an object into the bucket; a rollback can delete only an empty one."""
        for name, parameters in SETS.items():
            graph = needs(parameters)
            before = closure(graph, "Rule")
            self.assertEqual(
                set(),
                graph.keys() - before - {"Rule"},
                f"{name}: nothing has Rule wait for these; name them in its DependsOn or, where a condition "
                "may leave them out, in its Metadata",
            )

    def test_depends_on_names_nothing_that_may_be_left_out(self):
        resources = load()["Resources"]
        for logical, body in resources.items():
            depends = body.get("DependsOn", [])
            for name in [depends] if isinstance(depends, str) else depends:
                self.assertNotIn("Condition", resources.get(name, {}), f"{logical} depends on {name}")


class Names(unittest.TestCase):
    def test_each_service_takes_the_names_that_the_template_gives(self):
        for stack in STACKS:
            self.assertLessEqual(len(stack), 64)
            for parameters in SETS.values():
                for logical, body in transformed(render(REQUIRED | parameters, stack)).items():
                    name = given(body)
                    if name is not None:
                        with self.subTest(stack=stack, logical=logical, name=name):
                            self.assertRegex(name, rf"\A{NAMES[body['Type']]}\Z")

    def test_a_name_that_is_too_long_or_has_capitals_is_found(self):
        for kind, name in {
            "AWS::SES::ReceiptRuleSet": "m" * 65,
            "AWS::SES::ReceiptRule": "mail-",
            "AWS::Glue::Database": "Mail",
            "AWS::Glue::Table": "mail-index",
        }.items():
            self.assertIsNone(re.fullmatch(NAMES[kind], name), kind)

    def test_two_stacks_have_no_name_in_common(self):
        """Blue and green: two stacks in one account and region, sharing a bucket and a topic or not."""
        for name, parameters in SETS.items():
            with self.subTest(name):
                blue, green = (names(stack, parameters) for stack in ("mail-blue", "mail-green"))
                self.assertEqual(blue.keys(), green.keys())
                self.assertEqual(set(), set(blue.values()) & set(green.values()))

    def test_a_name_that_does_not_derive_from_the_stack_is_found(self):
        text = (ROOT / "template.yaml").read_text()
        with tempfile.NamedTemporaryFile("w") as template:
            template.write(text.replace("/${AWS::StackName}/handle-email", "/handle-email"))
            template.flush()
            blue, green = (names(stack, {}, template.name) for stack in ("mail-blue", "mail-green"))
        self.assertEqual(
            {("AWS::Logs::LogGroup", "/aws/lambda/handle-email")}, set(blue.values()) & set(green.values())
        )


def names(stack, parameters, *template):
    """Type and name of each resource that SAM makes, case folded since Glue does not tell it apart."""
    found = {}
    for logical, body in transformed(render(REQUIRED | parameters, stack, *template)).items():
        # An identity is a domain's, and a domain one stack's.
        if body["Type"] == "AWS::SES::EmailIdentity":
            continue
        name = given(body)
        if body["Type"] == "AWS::Glue::Table":
            name = f"{body['Properties']['DatabaseName']}.{name}"
        # Without a name of its own CloudFormation makes one that begins with the stack's.
        found[logical] = (body["Type"], (name or f"{stack}-{logical}").casefold())
    return found


def given(body):
    """The name that a resource is given, if any."""
    node = body["Properties"]
    for key in (NAME_PROPERTIES[body["Type"]] or "").split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


if __name__ == "__main__":
    unittest.main()
