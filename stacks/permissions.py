"""What a role may do, statement by statement: no managed policy, and no `*` without the reason why no name can stand there.

Runs at synth. The reasons are read by cdk-nag, which checks the synthesised stack in the tests.
"""

import re
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct


def allow(role: iam.Role, actions: list[str], *resources: str, why_wildcard: str = "", conditions: dict[str, Any] | None = None) -> None:
    """Adds one statement; a resource with a `*` needs `why_wildcard`, and is acknowledged with it."""
    role.add_to_policy(iam.PolicyStatement(actions=actions, resources=list(resources), conditions=conditions))
    explain_wildcards(role, actions, *resources, why=why_wildcard)


def explain_wildcards(role: iam.Role, actions: list[str], *resources: str, why: str) -> None:
    """Acknowledges each resource with a `*` and the reason; ValueError if there is none."""
    for resource in resources:
        written = readable(Stack.of(role).resolve(resource))
        if "*" in written:
            if not why:
                raise ValueError(f"{role.node.path} is allowed {actions} on {written}: say why a wildcard, or name the resource")
            acknowledge(role, f"AwsSolutions-IAM5[Resource::{written}]", why)


def acknowledge(construct: Construct, finding: str, reason: str) -> None:
    """Says why a finding of the security checks is meant to be so."""
    Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))


def resource_arn(scope: Construct, service: str, resource: str) -> str:
    """ARN of something in the stack's own account and region."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{resource}"


def readable(resolved: Any) -> str:
    """A resolved template value as the checks write it: `<Bucket.Arn>/data/*`."""
    if isinstance(resolved, str):
        return resolved
    ((function, argument),) = resolved.items()
    if function == "Fn::Join":
        return str(argument[0]).join(readable(part) for part in argument[1])
    if function == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", r"<\1>", argument)
    if function == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    return f"<{argument}>"
