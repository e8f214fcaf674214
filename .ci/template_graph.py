"""What needs what in template.yaml, as CloudFormation sees it once SAM has made its own resources of it."""

import re

from template_render import REQUIRED, Scope, load


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
    scope = Scope(template, REQUIRED | parameters, "ses-forwarder")
    resources = {
        logical: body
        for logical, body in transformed(template).items()
        if scope.condition(body.get("Condition"))
    }
    return {logical: set(named(body, scope)) for logical, body in resources.items()}


def named(node, scope):
    """Logical ids in a node: of references in the branches that are taken, and of DependsOn."""
    if isinstance(node, list):
        for item in node:
            yield from named(item, scope)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "DependsOn":
            yield from value if isinstance(value, list) else [value]
        elif key == "Ref":
            yield from resource(value, scope)
        elif key == "Fn::GetAtt":
            yield value[0] if isinstance(value, list) else value.split(".")[0]
        elif key == "Fn::Sub":
            text, local = value if isinstance(value, list) else (value, {})
            for name in re.findall(r"\$\{([^!}][^}]*)\}", text):
                if name not in local:
                    yield from resource(name.split(".")[0], scope)
            yield from named(local, scope)
        elif key == "Fn::If":
            condition, yes, no = value
            yield from named(yes if scope.condition(condition) else no, scope)
        else:
            yield from named(value, scope)


def resource(name, scope):
    """The name, unless it is of a parameter or one of CloudFormation's own."""
    if name not in scope.parameters and name not in scope.pseudo:
        yield name


def closure(graph, start):
    """All that a resource needs, directly or through others."""
    found, waiting = set(), [start]
    while waiting:
        for name in graph[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found
