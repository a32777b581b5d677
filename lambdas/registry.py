"""The project's model packages that answered on its endpoint: what the model registry knows of deployments, newest first.

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
class DeployedPackage:
    """One version in the project's group that is approved, and was deployed and verified."""

    arn: str
    created: datetime
    metadata: Mapping[str, str]
    """Its CustomerMetadataProperties."""

    @property
    def endpoint_config(self) -> str:
        """What the endpoint was told to serve."""
        return self.metadata[DEPLOYED]

    @property
    def model(self) -> str:
        """Name of the SageMaker model; empty where it was not recorded."""
        return self.metadata.get("model", "")


def deployed_packages(sagemaker: Any, group: str) -> Iterator[DeployedPackage]:
    """The newest first; who needs only one takes one, since each package costs a call of its own."""
    for summary in approved_packages(sagemaker, group):
        package = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
        metadata = package.get("CustomerMetadataProperties") or {}
        if metadata.get(DEPLOYED):
            yield DeployedPackage(package["ModelPackageArn"], package["CreationTime"], metadata)


def approved_packages(sagemaker: Any, group: str) -> Iterator[Mapping[str, Any]]:
    """Summaries, the newest first; a package that waits for approval or was rejected is none of them."""
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending"
    )
    for page in pages:
        yield from page["ModelPackageSummaryList"]


def newest_deployed(sagemaker: Any, group: str) -> DeployedPackage | None:
    """The champion; None before the first deployment."""
    return next(deployed_packages(sagemaker, group), None)
