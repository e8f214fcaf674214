"""What needs what in template.yaml, as CloudFormation sees it once SAM has made its own resources of it."""

import re

from evaluated import load, render
from given import REQUIRED


def transformed(template):
    """The resources that SAM makes of a template."""
    from samtranslator.translator.transform import transform

    class NoManagedPolicies:
        def load(self):
            return {}

    for body in template["Resources"].values():
        if body["Type"] == "AWS::Serverless::Function":
            body["Properties"]["CodeUri"] = "s3://artifacts/as-sam-package-leaves-it"
    return transform(template, {}, NoManagedPolicies())["Resources"]


def needs(parameters):
    """For each resource that these parameters make: the resources that it names."""
    template = load()
    holds = render(REQUIRED | parameters)["Conditions"] | {None: True}
    return {
        logical: {
            name
            for name in named(body, holds)
            # Neither a parameter nor one of CloudFormation's own.
            if name not in template["Parameters"] and not name.startswith("AWS::")
        }
        for logical, body in transformed(template).items()
        if holds[body.get("Condition")]
    }


def named(node, holds):
    """What a node names: by references in the branches that are taken, and by DependsOn."""
    if isinstance(node, list):
        for item in node:
            yield from named(item, holds)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "DependsOn":
            yield from value if isinstance(value, list) else [value]
        elif key == "Ref":
            yield value
        elif key == "Fn::GetAtt":
            yield value[0] if isinstance(value, list) else value.split(".")[0]
        elif key == "Fn::Sub":
            text, local = value if isinstance(value, list) else (value, {})
            for name in re.findall(r"\$\{([^!}][^}]*)\}", text):
                if name not in local:
                    yield name.split(".")[0]
            yield from named(local, holds)
        elif key == "Fn::If":
            condition, yes, no = value
            yield from named(yes if holds[condition] else no, holds)
        else:
            yield from named(value, holds)


def closure(graph, start):
    """All that a resource needs, directly or through others."""
    found, waiting = set(), [start]
    while waiting:
        for name in graph[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found
