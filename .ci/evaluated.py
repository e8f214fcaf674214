"""template.yaml as CloudFormation sees it for given parameters: what `cargo local template` makes of it."""

import json
import subprocess
from functools import cache
from pathlib import Path

from samcli.yamlhelper import yaml_parse

from given import REGION, ROOT, cargo_local


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
    command = [cargo_local(), "template", "--json", f"--region={REGION}", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise Refused(run.stderr)
    return run.stdout
