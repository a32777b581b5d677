"""The versions of the project's models in SageMaker's model registry: what became of each, and how accurate it is.

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
"""Key of a version's metadata that the state machine adds once its model has answered on the endpoint."""


@dataclass(frozen=True)
class ModelVersion:
    """One model package of the project's group."""

    number: int
    arn: str
    status: str
    """WAITING, APPROVED or REJECTED."""
    created: datetime
    description: str
    """How accurate it is, also beside the champion, in a sentence."""
    reason: str
    """What whoever decided said; may be empty."""
    metadata: Mapping[str, str]

    @property
    def accuracy(self) -> float | None:
        """On the test photos; None where the training job's report did not tell."""
        try:
            return float(self.metadata["test_accuracy"])
        except (KeyError, ValueError):
            return None

    @property
    def run(self) -> str:
        """The execution that made it; empty where that is not recorded."""
        return self.metadata.get("run", "")

    @property
    def words(self) -> str:
        """What became of it."""
        deployed = ", was deployed" if self.metadata.get(DEPLOYED) else ""
        said = f": {self.reason}" if self.reason else ""
        return f"{WORDS.get(self.status, self.status)}{deployed}{said}"


def model_versions(target: Target, status: str | None = None, most: int | None = None) -> list[ModelVersion]:
    """The newest first, those of one status or all; none where the stack is from before there was a registry."""
    try:
        return [_version(target, summary) for summary in islice(_summaries(target, status), most)]
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return []
        raise


def _summaries(target: Target, status: str | None) -> Iterator[Mapping[str, Any]]:
    wanted = {"ModelApprovalStatus": status} if status else {}
    pages = target.client("sagemaker").get_paginator("list_model_packages")
    for page in pages.paginate(ModelPackageGroupName=target.project, SortBy="CreationTime", SortOrder="Descending", **wanted):
        yield from page["ModelPackageSummaryList"]


def _version(target: Target, summary: Mapping[str, Any]) -> ModelVersion:
    """A listing knows no metadata, so each costs a call of its own."""
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
