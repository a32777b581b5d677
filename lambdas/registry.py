"""The versions in the project's model package group: what the model registry knows of models and deployments, newest first.

Runs inside the functions that must know what is served, or what was last: AssessModel compares with it, PruneModels spares it,
InvokeEndpoint wakes it. The state RecordDeployment marks a package once the endpoint gave the answers that its training job promised.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DEPLOYED = "endpoint_config"
"""Key of CustomerMetadataProperties that RecordDeployment adds: the endpoint config which the model answered with."""


@dataclass(frozen=True)
class Package:
    """One version in the project's group."""

    arn: str
    created: datetime
    metadata: Mapping[str, str]
    """Its CustomerMetadataProperties."""

    @property
    def endpoint_config(self) -> str:
        """What the endpoint was told to serve; empty where the version was never deployed."""
        return self.metadata.get(DEPLOYED, "")

    @property
    def model(self) -> str:
        """Name of the SageMaker model; empty where it was not recorded."""
        return self.metadata.get("model", "")


def deployed_packages(sagemaker: Any, group: str) -> Iterator[Package]:
    """Versions that are approved and were deployed and verified, the newest first: each costs a call, so who needs one takes one."""
    for package in packages(sagemaker, group, ModelApprovalStatus="Approved"):
        if package.endpoint_config:
            yield package


def newest_deployed(sagemaker: Any, group: str) -> Package | None:
    """The champion; None before the first deployment."""
    return next(deployed_packages(sagemaker, group), None)


def newest_package(sagemaker: Any, group: str) -> Package | None:
    """The newest version, whatever became of it; None before the first."""
    return next(packages(sagemaker, group), None)


def packages(sagemaker: Any, group: str, **which: str) -> Iterator[Package]:
    """Every version, the newest first; one that waits for approval or was rejected too, unless `which` says otherwise."""
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", **which
    )
    for page in pages:
        for summary in page["ModelPackageSummaryList"]:
            described = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
            yield Package(described["ModelPackageArn"], described["CreationTime"], described.get("CustomerMetadataProperties") or {})
