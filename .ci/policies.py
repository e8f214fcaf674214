"""Each role of the renders that template_test.py leaves, under a linter that knows every action of AWS with its
resources and condition keys: an action that is no action, a resource that an action can't have, a condition that
never holds.

.ci/template                everything
"""

import json
import sys
from pathlib import Path

import parliament

RENDERS = Path(__file__).resolve().parent.parent / "target/ci/renders"

def policies():
    """Name and document of each policy of each role, once however many renders have it."""
    seen = {}
    for path in sorted(RENDERS.glob("*.json")):
        resources = json.loads(path.read_text())["Resources"]
        for logical, body in resources.items():
            if body["Type"] == "AWS::IAM::Role":
                for policy in body["Properties"]["Policies"]:
                    seen.setdefault(json.dumps(policy["PolicyDocument"]), f"{path.stem}: {logical}")
    return seen


def main():
    wrong = set()
    checked = policies()
    for document, name in checked.items():
        for finding in parliament.analyze_policy_string(document).findings:
            wrong.add(f"{name}: {finding.issue} {finding.detail} {finding.location}")
    statement = {"Effect": "Allow", "Action": "s3:GetObjekt", "Resource": "*"}
    broken = {"Version": "2012-10-17", "Statement": [statement]}
    if not parliament.analyze_policy_string(json.dumps(broken)).findings:
        wrong.add("the linter finds nothing wrong with s3:GetObjekt")
    for text in sorted(wrong):
        print(text, file=sys.stderr)
    print(f"{len(checked)} policies of roles")
    return 1 if wrong or len(checked) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
