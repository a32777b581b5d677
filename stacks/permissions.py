"""What a role may do, statement by statement: no managed policy, no statement without its reason, and no `*` without the reason why no
name can stand there.

Runs at synth. The reasons go into the metadata of the cloud assembly: cdk-nag reads them when it checks the stack in the tests, and
security_page.py makes the table of docs/security.md of them.
"""

import re
from typing import Any

from aws_cdk import Acknowledgment, CfnResource, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct

PERMISSION = "whippet:permission"
"""Kind of the metadata that says what a statement is for."""
ACCEPTED = "whippet:accepted"
"""Kind of the metadata that says why a finding is meant to be so."""

SAME_IN_CHECKOV = {
    "NIST.800.53.R5-APIGWCacheEnabledAndEncrypted": "CKV_AWS_120",
    "NIST.800.53.R5-CloudWatchLogGroupEncrypted": "CKV_AWS_158",
    "NIST.800.53.R5-LambdaConcurrency": "CKV_AWS_115",
    "NIST.800.53.R5-LambdaDLQ": "CKV_AWS_116",
    "NIST.800.53.R5-LambdaInsideVPC": "CKV_AWS_117",
    "NIST.800.53.R5-S3BucketLoggingEnabled": "CKV_AWS_18",
    "NIST.800.53.R5-SNSEncryptedKMS": "CKV_AWS_26",
}
"""Finding of cdk-nag -> checkov's name for it."""


def allow(
    role: iam.Role, actions: list[str], *resources: str, why: str, why_wildcard: str = "", conditions: dict[str, Any] | None = None
) -> None:
    """Adds one statement; a resource with a `*` needs `why_wildcard` too, and is acknowledged with it."""
    role.add_to_policy(iam.PolicyStatement(actions=actions, resources=list(resources), conditions=conditions))
    explain(role, actions, *resources, why=why, why_wildcard=why_wildcard, conditions=conditions)


def explain(
    role: iam.Role, actions: list[str], *resources: str, why: str, why_wildcard: str = "", conditions: dict[str, Any] | None = None
) -> None:
    """Says what a statement is for that stands in the role's policies already; CDK adds a few of its own."""
    written = [readable(Stack.of(role).resolve(each)) for each in resources]
    said = " ".join(filter(None, (why, why_wildcard)))
    permission = {"actions": actions, "resources": written, "conditions": Stack.of(role).resolve(conditions or {}), "why": said}
    role.node.add_metadata(PERMISSION, permission)
    for resource in written:
        if "*" in resource:
            if not why_wildcard:
                raise ValueError(f"{role.node.path} is allowed {actions} on {resource}: say why a wildcard, or name the resource")
            acknowledge(role, f"AwsSolutions-IAM5[Resource::{resource}]", why_wildcard)


def service_role(scope: Construct, id: str, service: str) -> iam.Role:  # noqa: A002 - CDK's own name for it
    """A role that one service bears, acting for this account and for no other."""
    here = {"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}}
    return single(iam.Role(scope, id, assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=here)))


def single(role: iam.Role) -> iam.Role:
    """The same role, of which it is said why its policy is its own."""
    reason = "The policy belongs to this one role and goes with it; a managed one could be attached to others, and widen them."
    acknowledge(role, "NIST.800.53.R5-IAMNoInlinePolicy", reason)
    return role


def acknowledge(construct: Construct, finding: str, reason: str) -> None:
    """Says why a finding of the security checks is meant to be so: to cdk-nag in its own way, to checkov in the template."""
    construct.node.add_metadata(ACCEPTED, {"finding": finding, "why": reason})
    if not finding.startswith("CKV_"):
        Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))
    check = finding if finding.startswith("CKV_") else SAME_IN_CHECKOV.get(finding)
    if check:
        resource = construct.node.default_child
        assert isinstance(resource, CfnResource), f"{construct.node.path} is no resource of the template"
        skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
        resource.add_metadata("checkov", {"skip": [*skipped, {"id": check, "comment": reason}]})


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
