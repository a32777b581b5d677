"""The versions in the project's model package group: what the model registry knows of models and deployments.

Runs inside the functions that must know what is served, or what was last: AssessModel compares with it, PruneModels spares it,
InvokeEndpoint wakes it. The state RecordDeployment marks a package once the endpoint gave the answers that its training job promised.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

DEPLOYED = "endpoint_config"
"""Key of CustomerMetadataProperties that RecordDeployment adds: the endpoint config which the model answered with."""
DEPLOYED_AT = "deployed_at"
"""The other one that tells of it: when. A model that waited for approval is deployed after models that were registered later."""

MOST_WAIT = timedelta(days=21)
"""From registration to deployment: seven days of waiting for approval, and the 14 within which an execution can be redriven."""


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

    @property
    def deployed(self) -> datetime:
        """When it was; where that was not recorded, or somebody wrote something else there, when it was registered."""
        try:
            moment = datetime.fromisoformat(self.metadata.get(DEPLOYED_AT, ""))
        except ValueError:
            return self.created
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def deployed_packages(sagemaker: Any, group: str) -> Iterator[Package]:
    """Versions that are approved and were deployed and verified, the last registered first; each costs a call."""
    for package in packages(sagemaker, group, ModelApprovalStatus="Approved"):
        if package.endpoint_config:
            yield package


def newest_deployed(sagemaker: Any, group: str) -> Package | None:
    """The champion: the one that was deployed last, whenever it was registered; None before the first deployment."""
    newest: Package | None = None
    for package in deployed_packages(sagemaker, group):
        if newest and newest.deployed - package.created > MOST_WAIT:
            break
        newest = max(newest or package, package, key=lambda each: each.deployed)
    return newest


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
