"""What the SageMaker plane does with every request, whatever it is about; without an engine, whose place a dead port takes."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError
from local.hosting.production_variant import BODY_LIMIT_BYTES
from local.image_environment import ImageEnvironment
from local.plane import Plane, make_app

AWS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}
GROUP = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/g"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    opened = Plane.open(tmp_path, ImageEnvironment(tmp_path / "image"), AWS)
    yield opened
    opened.close()


def call(plane: Plane, operation: str, service: str = "SageMaker", **request: Any) -> dict[str, Any]:
    return plane.call(f"{service}.{operation}", json.dumps(request).encode())


def test_a_member_that_is_null_is_not_there(plane: Plane) -> None:
    call(plane, "CreateModelPackageGroup", ModelPackageGroupName="g", ManagedConfiguration=None, Tags=None)
    made = call(plane, "CreateModelPackage", ModelPackageGroupName="g", CustomerMetadataProperties=None, ClientToken=None)
    update = {"ModelPackageArn": made["ModelPackageArn"], "CustomerMetadataProperties": None, "ModelApprovalStatus": None}
    call(plane, "UpdateModelPackage", **update)
    described = call(plane, "DescribeModelPackage", ModelPackageName=made["ModelPackageArn"])
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    where = {"ServiceNamespace": "sagemaker", "ResourceId": None, "ScalableDimension": None, "NextToken": None}
    assert call(plane, "DescribeScalingPolicies", "AnyScaleFrontendService", **where) == {"ScalingPolicies": []}


def test_tags_of_a_scalable_target_are_refused_instead_of_forgotten(plane: Plane) -> None:
    of_variant = {"ResourceId": "endpoint/e/variant/v", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    with pytest.raises(ServiceError, match="Tags of scalable targets are not supported in local mode"):
        call(plane, "RegisterScalableTarget", "AnyScaleFrontendService", ServiceNamespace="sagemaker", **of_variant, Tags={"a": "b"})


def test_a_new_resource_does_not_have_the_tags_of_an_earlier_one_of_its_name(plane: Plane) -> None:
    def tags(**request: Any) -> list[Any]:
        call(plane, "CreateModelPackageGroup", ModelPackageGroupName="g", **request)
        found: list[Any] = call(plane, "ListTags", ResourceArn=GROUP)["Tags"]
        call(plane, "DeleteModelPackageGroup", ModelPackageGroupName="g")
        return found

    first, second = {"Key": "run", "Value": "1"}, {"Key": "owner", "Value": "me"}
    assert tags(Tags=[first]) == [first]
    assert tags(Tags=[second]) == [second]
    assert tags() == []


@pytest.mark.parametrize("path", ["/", "/endpoints/e/invocations"])
def test_a_body_is_read_no_further_than_it_may_be_long(plane: Plane, path: str) -> None:
    """The rest of one that never ends is not waited for."""
    part, sent = {"type": "http.request", "body": bytes(1 << 20), "more_body": True}, []
    parts = iter([part] * (BODY_LIMIT_BYTES // (1 << 20) + 1))

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http"}

    async def serve() -> None:
        await make_app(plane)({**scope, "headers": [(b"host", b"127.0.0.1")]}, receive, send)

    asyncio.run(serve())
    assert sent[0]["status"] == 413 and next(parts, None) is None
