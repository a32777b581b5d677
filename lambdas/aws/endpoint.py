"""The project's endpoint: how it is, what it serves, and what must therefore not be deleted.

Runs inside the functions that tidy up. While SageMaker moves the endpoint from one config to another it needs both: the one that still
answers, and the one of the pending deployment. A second endpoint that somebody made by hand from one of the configs is not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lambdas.aws.clients import FAULTS, is_absent
from lambdas.aws.jobs import run_of
from lambdas.aws.model_registry import newest_deployed

CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack")
"""Statuses in which SageMaker neither updates nor deletes it."""

VARIANT = "AllTraffic"
"""The one production variant, as the state machine names it."""


@dataclass(frozen=True)
class Endpoint:
    """What DescribeEndpoint says."""

    arn: str
    status: str
    config: str
    """Empty where SageMaker names none."""
    pending_config: str
    """Of the deployment under way; empty where there is none."""
    changed: datetime
    is_serverless: bool

    @property
    def configs(self) -> frozenset[str]:
        """All that it needs."""
        return frozenset({self.config, self.pending_config} - {""})

    @property
    def is_changing(self) -> bool:
        """Whether it has to be waited for."""
        return self.status in CHANGING


def look_at_endpoint(sagemaker: Any, name: str) -> Endpoint | None:
    """None where there is no endpoint of that name."""
    try:
        described = sagemaker.describe_endpoint(EndpointName=name)
    except FAULTS as error:
        if is_absent(error):
            return None
        raise
    return Endpoint(
        arn=described["EndpointArn"],
        status=described["EndpointStatus"],
        config=described.get("EndpointConfigName") or "",
        pending_config=(described.get("PendingDeploymentSummary") or {}).get("EndpointConfigName", ""),
        changed=described["LastModifiedTime"],
        is_serverless=any("CurrentServerlessConfig" in variant for variant in described.get("ProductionVariants", [])),
    )


@dataclass(frozen=True)
class InUse:
    """Endpoint configs and models that answer, are about to, or would be the next to."""

    configs: frozenset[str]
    models: frozenset[str]
    runs_unknown: frozenset[str] = field(default=frozenset())
    """Runs of whose configs one is used and yet was deleted: which model it named cannot be asked any more."""

    def spares(self, name: str) -> bool:
        """Whether this config or model must stay."""
        return name in self.configs or name in self.models or run_of(name) in self.runs_unknown


def in_use(sagemaker: Any, project: str) -> InUse:
    """By the project's endpoint, and by the newest deployed package of its group, with which the endpoint is woken and restored."""
    endpoint, newest = look_at_endpoint(sagemaker, project), newest_deployed(sagemaker, project)
    configs = endpoint.configs if endpoint else frozenset()
    if newest:
        configs |= {newest.endpoint_config}
    models = {config: models_of(sagemaker, config) for config in configs}
    recorded = {newest.model} - {""} if newest else set()
    return InUse(
        configs=configs,
        models=frozenset(recorded).union(*(each or () for each in models.values())),
        runs_unknown=frozenset(run_of(config) for config, each in models.items() if each is None) - {""},
    )


def models_of(sagemaker: Any, config: str) -> frozenset[str] | None:
    """The models that an endpoint config names; None where it was deleted."""
    described = describe_config(sagemaker, config)
    return None if described is None else frozenset(variant["ModelName"] for variant in described["ProductionVariants"])


def describe_config(sagemaker: Any, config: str) -> Mapping[str, Any] | None:
    """DescribeEndpointConfig; None where there is none of that name."""
    try:
        described: Mapping[str, Any] = sagemaker.describe_endpoint_config(EndpointConfigName=config)
    except FAULTS as error:
        if is_absent(error):
            return None
        raise
    return described
