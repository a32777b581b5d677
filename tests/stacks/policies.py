"""What the roles of a synthesised template may do, asked the way IAM is asked: may this role do this to that?"""

import re
from fnmatch import fnmatchcase
from typing import Any

from tests.stacks.conftest import Synthesis

PLACE = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "AWS::URLSuffix": "amazonaws.com"}


def statements(synthesis: Synthesis) -> list[dict[str, Any]]:
    """Of all policies, whether they stand beside their role or in it."""
    policies = [each["Properties"] for each in synthesis.resources("AWS::IAM::Policy").values()]
    roles = synthesis.resources("AWS::IAM::Role").values()
    policies += [policy for role in roles for policy in role["Properties"].get("Policies", [])]
    return [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]


def statements_of(synthesis: Synthesis, role: str) -> list[dict[str, Any]]:
    """Of the one role whose logical id begins so."""
    (name,) = [name for name in synthesis.resources("AWS::IAM::Role") if name.startswith(role)]
    policies = [each["Properties"] for each in synthesis.resources("AWS::IAM::Policy").values()]
    return [each for policy in policies if {"Ref": name} in policy["Roles"] for each in policy["PolicyDocument"]["Statement"]]


def concrete(value: Any, place: dict[str, str] = PLACE) -> str:
    """A value of the template, in an account of zeros in us-east-1; what CloudFormation would name or look up is the logical id."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(concrete(part, place) for part in argument[1])
    if function in ("Fn::GetAtt", "Fn::FindInMap"):
        return str(argument[0])
    if function == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda name: concrete({"Ref": name[1]}, place), argument)
    return place.get(argument, str(argument))


def is_allowed(policy: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether one statement has both, in itself."""
    return any(
        action in listed(each["Action"]) and any(fnmatchcase(resource, concrete(pattern)) for pattern in listed(each["Resource"]))
        for each in policy
    )


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
