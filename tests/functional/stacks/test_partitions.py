"""The one template in other partitions than `aws`: ARNs, image addresses and service principals as CloudFormation fills them in there."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lambdas.planning.rule_images import rules_image
from stacks.images import ACCOUNTS
from tests.fixtures.stacks.synthesis import Synthesis

SUFFIXES = {"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-us-gov": "amazonaws.com"}
PLACES = [("aws", "eu-west-1"), ("aws-cn", "cn-north-1"), ("aws-cn", "cn-northwest-1"), ("aws-us-gov", "us-gov-west-1")]


class Filled:
    """The values of a template at one place."""

    def __init__(self, synthesis: Synthesis, partition: str, region: str) -> None:
        self.mappings, self.resources = synthesis.template["Mappings"], synthesis.template["Resources"]
        self.place = {
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::AccountId": "111122223333",
            "AWS::URLSuffix": SUFFIXES[partition],
            "AWS::StackName": "whippet",
        }

    def strings(self) -> list[str]:
        """Every string of every resource, filled in."""
        return list(self.walk([each["Properties"] for each in self.resources.values()]))

    def walk(self, value: Any) -> Any:
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref")):
            yield self.fill(value)
        elif isinstance(value, dict):
            for each in value.values():
                yield from self.walk(each)
        elif isinstance(value, list):
            for each in value:
                yield from self.walk(each)
        elif isinstance(value, str):
            yield value

    def fill(self, value: Any) -> str:
        if not isinstance(value, dict):
            return str(value)
        ((function, argument),) = value.items()
        if function == "Fn::Join":
            return str(argument[0]).join(self.fill(part) for part in argument[1])
        if function == "Fn::Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda name: self.fill({"Ref": name[1]}), argument)
        if function == "Fn::FindInMap":
            return str(self.mappings[argument[0]][self.fill(argument[1])][argument[2]])
        if function == "Fn::GetAtt":
            return f"<{argument[0]}>"
        assert function == "Ref", function
        return self.place.get(argument, f"<{argument}>")


@pytest.fixture(params=PLACES, ids=lambda place: place[1])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def filled(variation: Callable[[str], Synthesis], place: tuple[str, str]) -> Filled:
    return Filled(variation("everything"), *place)


def test_every_arn_is_of_the_partition(filled: Filled, place: tuple[str, str]) -> None:
    arns = {arn for each in filled.strings() for arn in re.findall(r"\barn:([a-z-]*):", each)}
    assert arns == {place[0]}


def test_every_image_is_published_in_the_region_by_the_account_of_that_region(filled: Filled, place: tuple[str, str]) -> None:
    images = {each for each in filled.strings() if ".dkr.ecr." in each}
    partition, region = place
    assert len(images) == 4
    for image in images:
        assert image.startswith(f"{ACCOUNTS[region]}.dkr.ecr.{region}.{SUFFIXES[partition]}/")


def test_the_image_of_the_rules_has_the_suffix_too(place: tuple[str, str]) -> None:
    partition, region = place
    assert f".dkr.ecr.{region}.{SUFFIXES[partition]}/" in str(rules_image(region))


SERVICES = {"apigateway", "budgets", "cloudwatch", "events", "lambda", "sagemaker", "sns", "states"}


def test_services_have_the_names_that_they_have_in_every_partition(filled: Filled, place: tuple[str, str]) -> None:
    """Only CloudWatch Logs has one with region and suffix in key policies."""
    principals = {name for resource in filled.resources.values() for name in services_of(resource["Properties"], filled)}
    assert principals == {*(f"{each}.amazonaws.com" for each in SERVICES), f"logs.{place[1]}.{SUFFIXES[place[0]]}"}


def services_of(value: Any, filled: Filled) -> set[str]:
    """The service principals anywhere below."""
    if isinstance(value, list):
        return {name for each in value for name in services_of(each, filled)}
    if not isinstance(value, dict):
        return set()
    found = {name for each in value.values() for name in services_of(each, filled)}
    principal = value.get("Principal", "")
    if isinstance(principal, str):
        return found | ({principal} if principal.endswith(".amazonaws.com") else set())
    return found | {filled.fill(each) for each in as_list(principal.get("Service", []))}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_address_of_one_partition_is_written_down(variation: Callable[[str], Synthesis]) -> None:
    """Services' names have no suffix of a partition; addresses have, and are put together where they are used."""
    text = json.dumps(variation("everything").template)
    names = {*SERVICES, "sagemaker.application-autoscaling"}
    assert set(re.findall(r"[\w.-]*amazonaws\.com[\w.]*", text)) == {f"{each}.amazonaws.com" for each in names}
    assert "arn:aws:" not in text
