"""template.yaml as CloudFormation would see it for given parameters: conditions decided, intrinsic
functions replaced, names made up as CloudFormation does.

Knows the intrinsic functions that the template uses, and fails on any other.
"""

import hashlib
import re
import uuid
from pathlib import Path

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ACCOUNT = "123456789012"

# Enough to deploy: what has no default.
REQUIRED = {
    "EmailDomain": "in.example",
    "DestinationDomain": "out.example",
    "NoticeAddress": "operator@out.example",
}

ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::Serverless::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
}

# Where a resource says how it is called; None: CloudFormation makes a name from the stack's. A
# policy or a permission is part of what it belongs to and has no name of its own.
NAME_PROPERTIES = {
    "AWS::SES::ReceiptRuleSet": "RuleSetName",
    "AWS::SES::ReceiptRule": "Rule.Name",
    "AWS::Lambda::Permission": None,
    "AWS::S3::Bucket": "BucketName",
    "AWS::S3::BucketPolicy": None,
    "AWS::Serverless::Function": "FunctionName",
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


class Refused(Exception):
    """What CloudFormation says before it makes anything."""


ABSENT = object()


def load(path=ROOT / "template.yaml"):
    return yaml_parse(Path(path).read_text())


def render(parameters, stack="ses-forwarder", template=None):
    """A template without Parameters, Rules and Conditions; raises Refused as CloudFormation would."""
    template = template or load()
    scope = Scope(template, parameters, stack)
    scope.check_rules()
    kept = {
        logical: body
        for logical, body in template["Resources"].items()
        if scope.condition(body.get("Condition"))
    }
    scope.resources = kept
    return {
        "AWSTemplateFormatVersion": template["AWSTemplateFormatVersion"],
        "Transform": template["Transform"],
        "Description": template["Description"],
        "Globals": scope.value(template["Globals"]),
        "Resources": {logical: scope.resource(body) for logical, body in kept.items()},
        "Outputs": {
            name: scope.resource(body)
            for name, body in template["Outputs"].items()
            if scope.condition(body.get("Condition"))
        },
    }


class Scope:
    def __init__(self, template, parameters, stack):
        self.template = template
        self.stack = stack
        self.resources = template["Resources"]
        self.parameters = {
            name: accepted(name, declaration, parameters.get(name, declaration.get("Default", ABSENT)))
            for name, declaration in template["Parameters"].items()
        }
        if unknown := parameters.keys() - self.parameters.keys():
            raise Refused(f"Parameters: {sorted(unknown)} do not exist in the template")
        self.pseudo = {
            "AWS::StackName": stack,
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{stack}/"
            f"{uuid.uuid5(uuid.NAMESPACE_DNS, stack)}",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::NoValue": ABSENT,
        }

    def check_rules(self):
        for rule in self.template["Rules"].values():
            if not self.value(rule.get("RuleCondition", True)):
                continue
            for assertion in rule["Assertions"]:
                if not self.value(assertion["Assert"]):
                    raise Refused(assertion["AssertDescription"])

    def condition(self, name):
        return name is None or self.value(self.template["Conditions"][name])

    def resource(self, body):
        return self.value({key: value for key, value in body.items() if key != "Condition"})

    def value(self, node):
        if isinstance(node, list):
            return [value for item in node if (value := self.value(item)) is not ABSENT]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((key, argument),) = node.items()
            if key in ("Ref", "Condition") or key.startswith("Fn::"):
                return getattr(self, key.removeprefix("Fn::").lower() + "_")(argument)
        pairs = ((key, self.value(item)) for key, item in node.items())
        return {key: value for key, value in pairs if value is not ABSENT}

    def ref_(self, name):
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        return self.name(name)

    def getatt_(self, path):
        logical, attribute = path if isinstance(path, list) else path.split(".")
        kind = self.resources[logical]["Type"]
        if attribute == "Arn":
            return ARNS[kind].format(name=self.name(logical), region=REGION, account=ACCOUNT)
        if kind == "AWS::SES::EmailIdentity":
            domain = self.value(self.resources[logical]["Properties"]["EmailIdentity"])
            token = f"token{attribute[-1]}"
            name = attribute.startswith("DkimDNSTokenName")
            return f"{token}._domainkey.{domain}" if name else f"{token}.dkim.amazonses.com"
        assert (kind, attribute) == ("AWS::SQS::Queue", "QueueName"), f"{kind} has no {attribute} here"
        return self.name(logical)

    def sub_(self, argument):
        text, local = argument if isinstance(argument, list) else (argument, {})

        def replaced(match):
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in local:
                return str(self.value(local[name]))
            return str(self.getatt_(name) if "." in name else self.ref_(name))

        return re.sub(r"\$\{([^}]+)\}", replaced, text)

    def if_(self, argument):
        condition, yes, no = argument
        return self.value(yes if self.condition(condition) else no)

    def equals_(self, argument):
        left, right = (str(self.value(side)) for side in argument)
        return left == right

    def not_(self, argument):
        return not self.value(argument[0])

    def and_(self, argument):
        return all([self.value(item) for item in argument])

    def or_(self, argument):
        return any([self.value(item) for item in argument])

    def join_(self, argument):
        separator, items = argument
        return separator.join(self.value(items))

    def split_(self, argument):
        separator, text = argument
        return self.value(text).split(separator)

    def select_(self, argument):
        index, items = argument
        return self.value(items)[int(self.value(index))]

    def contains_(self, argument):
        items, wanted = argument
        return self.value(wanted) in self.value(items)

    def condition_(self, name):
        return self.condition(name)

    def name(self, logical):
        """The physical name: as given, else made of stack, logical id and something of this stack only."""
        body = self.resources[logical]
        kind = body["Type"]
        if kind == "AWS::SNS::Topic":
            return f"arn:aws:sns:{REGION}:{ACCOUNT}:{self.made_up(logical)}"
        if kind == "AWS::S3::BucketPolicy":
            return self.value(body["Properties"]["Bucket"])
        node = body.get("Properties", {})
        for key in (NAME_PROPERTIES[kind] or "Name").split("."):
            node = node.get(key, {})
        given = self.value(node) if node else None
        if given:
            return given
        made_up = self.made_up(logical)
        return made_up.lower() if kind == "AWS::S3::Bucket" else made_up

    def made_up(self, logical):
        suffix = hashlib.sha256(f"{self.stack}/{logical}".encode()).hexdigest()[:12].upper()
        return f"{self.stack[:24]}-{logical[:24]}-{suffix}"


def accepted(name, declaration, value):
    """The parameter's value, refused as CloudFormation refuses it."""
    if value is ABSENT:
        raise Refused(f"Parameters: [{name}] must have values")
    if declaration["Type"] == "CommaDelimitedList":
        one = declaration | {"Type": "String"}
        return [accepted(name, one, item.strip()) for item in str(value).split(",")]
    text = str(value)
    problem = declaration.get("ConstraintDescription", f"must be one of {declaration.get('AllowedValues')}")
    pattern = declaration.get("AllowedPattern")
    fits = (
        (pattern is None or re.fullmatch(pattern, text))
        and ("AllowedValues" not in declaration or text in map(str, declaration["AllowedValues"]))
        and ("MaxLength" not in declaration or len(text) <= declaration["MaxLength"])
        and ("MinValue" not in declaration or float(text) >= declaration["MinValue"])
        and ("MaxValue" not in declaration or float(text) <= declaration["MaxValue"])
    )
    if not fits:
        raise Refused(f"Parameter '{name}' {problem}")
    return value
