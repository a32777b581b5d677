"""The versions of the project's models in SageMaker's model registry, with their status and accuracy.

Used by `whippet status`, `whippet approve` and `whippet reject`. Reads only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from cli.account.target import Target

WAITING, APPROVED, REJECTED = "PendingManualApproval", "Approved", "Rejected"
WORDS = {WAITING: "waits for approval", APPROVED: "approved", REJECTED: "rejected"}
DEPLOYED = "endpoint_config"
"""The metadata key that the state machine adds after the model has answered on the endpoint."""


@dataclass(frozen=True)
class ModelVersion:
    """One model package of the project's group."""

    number: int
    arn: str
    status: str
    """WAITING, APPROVED or REJECTED."""
    created: datetime
    description: str
    """The accuracy, compared with the deployed model, in one sentence."""
    reason: str
    """The reviewer's reason; may be empty."""
    metadata: Mapping[str, str]

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the test photos; None if it was not recorded."""
        try:
            return float(self.metadata["test_accuracy"])
        except (KeyError, ValueError):
            return None

    @property
    def run(self) -> str:
        """The execution of this version; empty if it was not recorded."""
        return self.metadata.get("run", "")

    @property
    def label(self) -> str:
        """The status in words."""
        deployed = ", was deployed" if self.metadata.get(DEPLOYED) else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{WORDS.get(self.status, self.status)}{deployed}{reason}"


def list_model_versions(target: Target, status: str | None = None, most: int | None = None) -> list[ModelVersion]:
    """List versions, the newest first, with one status or all; none for an older stack without a registry."""
    try:
        return [_read_version(target, summary) for summary in islice(_list_summaries(target, status), most)]
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return []
        raise


def _list_summaries(target: Target, status: str | None) -> Iterator[Mapping[str, Any]]:
    wanted = {"ModelApprovalStatus": status} if status else {}
    pages = target.client("sagemaker").get_paginator("list_model_packages")
    for page in pages.paginate(ModelPackageGroupName=target.project, SortBy="CreationTime", SortOrder="Descending", **wanted):
        yield from page["ModelPackageSummaryList"]


def _read_version(target: Target, summary: Mapping[str, Any]) -> ModelVersion:
    """Read one version: the listing lacks metadata, so each needs its own call."""
    package = target.client("sagemaker").describe_model_package(ModelPackageName=summary["ModelPackageArn"])
    return ModelVersion(
        number=package["ModelPackageVersion"],
        arn=package["ModelPackageArn"],
        status=package["ModelApprovalStatus"],
        created=package["CreationTime"].astimezone(UTC),
        description=package.get("ModelPackageDescription", ""),
        reason=package.get("ApprovalDescription", ""),
        metadata=package.get("CustomerMetadataProperties") or {},
    )
