"""IAM statements with reasons: no managed policy, no statement without its reason, and no `*` without the reason for it.

Runs at synth. The reasons go into the metadata of the cloud assembly: cdk-nag reads them when the tests check the stack, and
security_page.py writes the tables of docs/security.md from them.
"""

import re
from typing import Any

from aws_cdk import Acknowledgment, CfnResource, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct

PERMISSION = "whippet:permission"
"""Type of the metadata entry with a statement's reason."""
ACCEPTED = "whippet:accepted"
"""Type of the metadata entry with the reason why a finding is accepted."""

SAME_IN_CHECKOV = {
    "NIST.800.53.R5-APIGWCacheEnabledAndEncrypted": "CKV_AWS_120",
    "NIST.800.53.R5-CloudWatchLogGroupEncrypted": "CKV_AWS_158",
    "NIST.800.53.R5-LambdaConcurrency": "CKV_AWS_115",
    "NIST.800.53.R5-LambdaDLQ": "CKV_AWS_116",
    "NIST.800.53.R5-LambdaInsideVPC": "CKV_AWS_117",
    "NIST.800.53.R5-S3BucketLoggingEnabled": "CKV_AWS_18",
    "NIST.800.53.R5-SNSEncryptedKMS": "CKV_AWS_26",
}
"""Finding of cdk-nag -> the same check of checkov."""


def allow(
    role: iam.Role, actions: list[str], *resources: str, why: str, why_wildcard: str = "", conditions: dict[str, Any] | None = None
) -> None:
    """Adds one statement; a resource with a `*` also needs `why_wildcard`, which is acknowledged as the reason."""
    role.add_to_policy(iam.PolicyStatement(actions=actions, resources=list(resources), conditions=conditions))
    explain(role, actions, *resources, why=why, why_wildcard=why_wildcard, conditions=conditions)


def explain(
    role: iam.Role, actions: list[str], *resources: str, why: str, why_wildcard: str = "", conditions: dict[str, Any] | None = None
) -> None:
    """Records the reason for a statement that the role's policies already contain; CDK adds some itself."""
    written = [render_resource(Stack.of(role).resolve(each)) for each in resources]
    said = " ".join(filter(None, (why, why_wildcard)))
    permission = {"actions": actions, "resources": written, "conditions": Stack.of(role).resolve(conditions or {}), "why": said}
    role.node.add_metadata(PERMISSION, permission)
    for resource in written:
        if "*" in resource:
            if not why_wildcard:
                raise ValueError(f"{role.node.path} is allowed {actions} on {resource}: pass why_wildcard, or name the resource")
            acknowledge(role, f"AwsSolutions-IAM5[Resource::{resource}]", why_wildcard)


def service_role(scope: Construct, id: str, service: str) -> iam.Role:  # noqa: A002 - CDK's own name for it
    """Adds a role that one service may assume, for this account only."""
    here = {"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}}
    return acknowledge_inline_policy(iam.Role(scope, id, assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=here)))


def acknowledge_inline_policy(role: iam.Role) -> iam.Role:
    """Acknowledges that the role's policy is inline; returns the role."""
    reason = "The policy belongs to this one role and is deleted with it; a managed policy could be attached to other roles and widen them."
    acknowledge(role, "NIST.800.53.R5-IAMNoInlinePolicy", reason)
    return role


def acknowledge(construct: Construct, finding: str, reason: str) -> None:
    """Records why a finding of the security checks is accepted: for cdk-nag in its own way, for checkov in the template."""
    construct.node.add_metadata(ACCEPTED, {"finding": finding, "why": reason})
    if not finding.startswith("CKV_"):
        Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))
    check = finding if finding.startswith("CKV_") else SAME_IN_CHECKOV.get(finding)
    if check:
        resource = construct.node.default_child
        assert isinstance(resource, CfnResource), f"{construct.node.path} is not a resource of the template"
        skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
        resource.add_metadata("checkov", {"skip": [*skipped, {"id": check, "comment": reason}]})


def resource_arn(scope: Construct, service: str, resource: str) -> str:
    """ARN of a resource in the stack's own account and region."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{resource}"


def render_resource(resolved: Any) -> str:
    """Renders a resolved template value as the checks write it: `<Bucket.Arn>/data/*`."""
    if isinstance(resolved, str):
        return resolved
    ((function, argument),) = resolved.items()
    if function == "Fn::Join":
        return str(argument[0]).join(render_resource(part) for part in argument[1])
    if function == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", r"<\1>", argument)
    if function == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    return f"<{argument}>"
