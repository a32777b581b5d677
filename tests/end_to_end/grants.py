"""The grants of a stack's roles, held against what strict local mode decided: each one is needed, or it is said why nothing shows it.

A grant is one action on one resource pattern in one statement; a log group's ARN and the same with `:*` are one pattern, since AWS writes
both. It is needed when a call that was allowed is denied without it: its role's policies are evaluated again, by the engine's own
evaluator, with that one grant taken out.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from local.engine.adapter_permissions import allows
from local.engine.decisions import Decision

Documents = dict[str, dict[str, Any]]
"""Policy documents by their names."""


@dataclass(frozen=True)
class Grant:
    """One action on one resource, and where it stands."""

    policy: str
    statement: int
    action: str
    resource: str


@dataclass(frozen=True)
class Unproved:
    """Grants that a run does not show to be needed, and why the stack has them all the same; patterns as of file names."""

    role: str
    actions: tuple[str, ...]
    resource: str
    why: str

    def covers(self, role: str, grant: Grant) -> bool:
        """Whether it speaks of this grant of the role with this logical id."""
        acts = any(fnmatchcase(grant.action, each) for each in self.actions)
        return acts and fnmatchcase(role, self.role) and fnmatchcase(grant.resource, self.resource)


def stack_roles(target: Any) -> dict[str, tuple[str, Documents]]:
    """The roles that a stack has made, by logical id: the role's name and its policies as they are deployed."""
    pages = target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=target.project)
    resources = [each for page in pages for each in page["StackResourceSummaries"] if each["ResourceType"] == "AWS::IAM::Role"]
    return {each["LogicalResourceId"]: (each["PhysicalResourceId"], documents(target, each["PhysicalResourceId"])) for each in resources}


def documents(target: Any, role: str) -> Documents:
    """The policies of a role; our stacks attach no managed ones."""
    iam = target.client("iam")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def grants(policies: Documents) -> list[Grant]:
    """Every grant of a role."""
    return [
        Grant(name, index, action, resource)
        for name, document in policies.items()
        for index, statement in enumerate(document["Statement"])
        for action in listed(statement["Action"])
        for resource in dict.fromkeys(pattern(each) for each in listed(statement["Resource"]))
        if statement["Effect"] == "Allow"
    ]


def without(policies: Documents, grant: Grant) -> Documents:
    """The policies with one grant taken out: its statement in two halves, neither of which has it."""
    changed = copy.deepcopy(policies)
    statements = changed[grant.policy]["Statement"]
    whole = statements.pop(grant.statement)
    other_actions = [each for each in listed(whole["Action"]) if each != grant.action]
    other_resources = [each for each in listed(whole["Resource"]) if pattern(each) != grant.resource]
    statements += [{**whole, "Action": other_actions}] if other_actions else []
    statements += [{**whole, "Action": [grant.action], "Resource": other_resources}] if other_resources else []
    return changed


def verdict(policies: Documents, grant: Grant, decided: Iterable[Decision]) -> str:
    """`needed`, or what is wrong with a grant: not used, or another one allows the same."""
    name, action = grant.action, grant.action.lower()
    asked = [each for each in decided if each.allowed and each.action.lower() == action and fits(policies, grant, each)]
    if not asked:
        return f"no call used {name} on {grant.resource}"
    reduced = list(without(policies, grant).values())
    if all(allows(reduced, each) for each in asked):
        return f"another statement allows what {name} on {grant.resource} does"
    return "needed"


def fits(policies: Documents, grant: Grant, asked: Decision) -> bool:
    """Whether the grant alone allows what was asked."""
    whole = policies[grant.policy]["Statement"][grant.statement]
    own = [each for each in listed(whole["Resource"]) if pattern(each) == grant.resource]
    return allows([{"Statement": [{**whole, "Action": [grant.action], "Resource": own}]}], asked)


def judged(roles: Mapping[str, tuple[str, Documents]], decisions: Iterable[Decision]) -> dict[tuple[str, Grant], str]:
    """The verdict on every grant of every role."""
    found = list(decisions)
    return {
        (logical_id, grant): verdict(policies, grant, [each for each in found if each.role == name])
        for logical_id, (name, policies) in roles.items()
        for grant in grants(policies)
    }


def pattern(resource: str) -> str:
    """A resource, by the shorter of the two ways in which log groups are written."""
    return resource.removesuffix(":*") if ":log-group:" in resource else resource


def listed(value: str | list[str]) -> list[str]:
    """A policy's string, or its list of them."""
    return [value] if isinstance(value, str) else value
