"""template.yaml as CloudFormation sees it for given parameters: what `cargo local template` makes of it."""

import json
import subprocess
from functools import cache
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


class Refused(Exception):
    """What CloudFormation says before it makes anything."""


def load(path=ROOT / "template.yaml"):
    """A template as it is written."""
    return yaml_parse(Path(path).read_text())


def render(parameters, stack="ses-forwarder", template=ROOT / "template.yaml"):
    """A template evaluated; raises Refused as CloudFormation would. The caller may change what it gets."""
    given = (f"--parameter={name}={value}" for name, value in parameters.items())
    return json.loads(printed(f"--template={template}", f"--stack-name={stack}", *given))


@cache
def printed(*arguments):
    command = [evaluator(), "template", "--json", f"--region={REGION}", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise Refused(run.stderr)
    return run.stdout


@cache
def evaluator():
    """Where `cargo local` is, built."""
    return subprocess.run([".ci/local"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
