"""SageMaker's model registry as the Lambda functions and the verbs use it: one group of versions in memory. Used by tests of both."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

GROUP = "whippet"
ARN = f"arn:aws:sagemaker:eu-west-1:111122223333:model-package/{GROUP}"
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
PAGE = 2
"""Versions of one page: few, so that most listings have several."""


@dataclass
class FakeRegistry:
    """A group; version 1 is the oldest."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    """ARNs that were asked for."""
    refusal: ClientError | None = None

    def add(self, status: str = "Approved", **metadata: str) -> str:
        """Registers another version; returns its ARN."""
        number = len(self.versions) + 1
        version = {
            "ModelPackageGroupName": GROUP,
            "ModelPackageVersion": number,
            "ModelPackageArn": f"{ARN}/{number}",
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": status,
            "CreationTime": FIRST + timedelta(days=number),
            "CustomerMetadataProperties": metadata,
        }
        self.versions.append(version)
        return f"{ARN}/{number}"

    def get_paginator(self, operation: str) -> "FakeRegistry":
        assert operation == "list_model_packages"
        return self

    def paginate(self, **asked: str) -> Iterator[dict[str, Any]]:
        if self.refusal:
            raise self.refusal
        assert (asked.pop("ModelPackageGroupName"), asked.pop("SortBy"), asked.pop("SortOrder")) == (GROUP, "CreationTime", "Descending")
        status = asked.pop("ModelApprovalStatus", None)
        assert not asked
        found = [each for each in reversed(self.versions) if status in (None, each["ModelApprovalStatus"])]
        for start in range(0, max(1, len(found)), PAGE):
            yield {"ModelPackageSummaryList": [self.summary(each) for each in found[start : start + PAGE]]}

    def summary(self, version: dict[str, Any]) -> dict[str, Any]:
        """What a listing says of it: no metadata."""
        return {key: value for key, value in version.items() if key != "CustomerMetadataProperties"}

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.described.append(ModelPackageName)
        return next(dict(each) for each in self.versions if each["ModelPackageArn"] == ModelPackageName)

    def update_model_package(self, ModelPackageArn: str, **changed: Any) -> dict[str, Any]:  # noqa: N803
        version = next(each for each in self.versions if each["ModelPackageArn"] == ModelPackageArn)
        version.update(changed)
        return {"ModelPackageArn": ModelPackageArn}
