"""Model package groups of stacks against a plane that answers by script: groups nobody owns go, all others stay."""

from collections.abc import Mapping
from typing import Any

import pytest

from local.engine.plane_client import PlaneUnreachableError
from local.engine.stack_resources import STACK_TAG, ModelPackageGroupResource
from tests.fixtures.local.scripted_plane import ScriptedPlane

ARN = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/"


class Plane(ScriptedPlane):
    """Keeps the requests too."""

    def __init__(self, **answers: list[Any]) -> None:
        super().__init__(**answers)
        self.requests: list[tuple[str, Mapping[str, Any]]] = []

    def call(self, operation: str, request: Mapping[str, Any]) -> Any:
        self.requests.append((operation, request))
        return super().call(operation, request)


def listed(*names: str) -> tuple[int, dict[str, Any]]:
    return 200, {"ModelPackageGroupSummaryList": [{"ModelPackageGroupArn": f"{ARN}{name}"} for name in names]}


def tagged(**tags: str) -> tuple[int, dict[str, Any]]:
    return 200, {"Tags": [{"Key": STACK_TAG if key == "stack" else key, "Value": value} for key, value in tags.items()]}


def test_empty_groups_of_stacks_that_are_no_more_are_deleted() -> None:
    full = (400, {"__type": "ConflictException", "message": "it still contains Model Packages"})
    plane = Plane(
        ListModelPackageGroups=[listed("by-hand", "served", "full", "left")],
        ListTags=[tagged(project="p"), tagged(stack="whippet"), tagged(stack="gone"), tagged(stack="gone")],
        DeleteModelPackageGroup=[full, (200, {})],
    )
    ModelPackageGroupResource(plane).drop_ownerless(lambda: {"whippet"})
    deleted = [request["ModelPackageGroupName"] for operation, request in plane.requests if operation == "DeleteModelPackageGroup"]
    assert deleted == ["full", "left"]


def test_a_stack_that_was_made_while_the_plane_started_keeps_its_group() -> None:
    plane = Plane(ListModelPackageGroups=[listed("new")], ListTags=[tagged(stack="whippet")])

    def stacks() -> set[str]:
        return {"whippet"} if plane.requests else set()

    ModelPackageGroupResource(plane).drop_ownerless(stacks)
    assert [operation for operation, _request in plane.requests] == ["ListModelPackageGroups", "ListTags"]


def test_a_plane_that_is_away_keeps_the_engine_from_nothing() -> None:
    ModelPackageGroupResource(Plane(ListModelPackageGroups=[PlaneUnreachableError("away")])).drop_ownerless(set)


def test_a_group_that_is_gone_is_no_error_and_one_that_is_full_is() -> None:
    gone = (400, {"__type": "ValidationException", "message": "ModelPackageGroup x does not exist."})
    full = (400, {"__type": "ConflictException", "message": "it still contains Model Packages"})
    groups = ModelPackageGroupResource(Plane(DeleteModelPackageGroup=[gone, full]))
    groups.delete(f"{ARN}x", {})
    with pytest.raises(ValueError, match="still contains Model Packages"):
        groups.delete(f"{ARN}x", {})


def test_a_new_name_or_description_is_refused_as_by_cloudformation() -> None:
    groups = ModelPackageGroupResource(Plane())
    old = {"ModelPackageGroupName": "x", "ModelPackageGroupDescription": "a"}
    with pytest.raises(ValueError, match=r"custom-named resource requires replacing\. ModelPackageGroupDescription of x cannot change"):
        groups.update(f"{ARN}x", old, {**old, "ModelPackageGroupDescription": "b"}, "whippet")
    with pytest.raises(ValueError, match="Registry: ModelPackageGroupName is required"):
        groups.create("Registry", {}, "whippet")
