"""The endpoint as CreateEndpointConfig and UpdateEndpoint take it, made of the execution input.

Runs inside `prepare_execution`; standard library only.
"""

from dataclasses import dataclass
from typing import Any

from lambdas.planning.settings import Settings
from lambdas.request.deployment import Deployment
from lambdas.request.instance_types import uses_gpu

GPU_SERVING_HOST = "al2-ami-sagemaker-inference-gpu-3-1"
"""Host image of a GPU endpoint: the serving image holds CUDA 12.9, which does not start on the CUDA 13 host."""

BAKING_SECONDS = 300
"""How long new instances answer, all or some of them, before the next step: five evaluations of an alarm with a period of one minute."""
KEPT_SECONDS = 120
"""How long old instances stay after the new ones have taken over."""
LONGEST_UPDATE_SECONDS = 3600
CANARY_PART = 10
"""One instance in so many is a canary. SageMaker takes no canary larger than half of the new instances."""
QUARTER, HALF = 25, 50
"""Steps of a linear update, in percent: fewer than four instances have no quarter. A step is a tenth to a half of the new instances,
of which there may be more than `instance_count` after autoscaling: a number of instances could then be too small a step."""
ALARMS = ("endpoint-errors", "endpoint-latency")
"""Names of the stack's alarms after the project's name."""


@dataclass(frozen=True)
class Endpoint:
    """The plan's part on the endpoint."""

    serving_image: str
    endpoint: str
    deployment_kind: str
    """`instance`, `serverless` or `none`."""
    variant: dict[str, Any]
    """What the production variant runs on."""
    network_isolation: bool
    """Of the model; SageMaker has none for serverless endpoints."""
    deployment_config: dict[str, Any]
    """Steps of an endpoint update, and the alarms that roll it back; empty for an endpoint without instances."""
    max_instance_count: int
    keep_versions: int
    """How many of the newest models and endpoint configs stay."""


def plan_endpoint(deployment: Deployment, settings: Settings) -> Endpoint:
    """Return the plan's part on the endpoint."""
    return Endpoint(
        serving_image=settings.serving_image(deployment.instance_type),
        endpoint=settings.project,
        deployment_kind=deployment.kind,
        variant=make_variant(deployment),
        network_isolation=deployment.kind != "serverless",
        deployment_config=make_deployment_config(deployment, settings.project) if deployment.kind == "instance" else {},
        max_instance_count=deployment.max_instance_count,
        keep_versions=deployment.keep_versions,
    )


def make_variant(deployment: Deployment) -> dict[str, Any]:
    """Return what the production variant runs on."""
    if deployment.kind == "none":
        return {}
    if deployment.kind == "serverless":
        return {"ServerlessConfig": {"MemorySizeInMB": deployment.memory_mb, "MaxConcurrency": deployment.max_concurrency}}
    host = {"InferenceAmiVersion": GPU_SERVING_HOST} if uses_gpu(deployment.instance_type) else {}
    return {"InstanceType": deployment.instance_type, "InitialInstanceCount": deployment.instance_count, **host}


def make_deployment_config(deployment: Deployment, project: str) -> dict[str, Any]:
    """Return how new instances take over from old ones, and the alarms that roll the update back."""
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": route_traffic(deployment.update, deployment.instance_count),
            "TerminationWaitInSeconds": KEPT_SECONDS,
            "MaximumExecutionTimeoutInSeconds": LONGEST_UPDATE_SECONDS,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": f"{project}-{alarm}"} for alarm in ALARMS]},
    }


def route_traffic(update: str, instances: int) -> dict[str, Any]:
    """Return the steps of the update. A single instance takes all traffic at once, and the alarms watch it for the same time."""
    if update == "canary" and instances > 1:
        canary = {"Type": "INSTANCE_COUNT", "Value": max(1, instances // CANARY_PART)}
        return {"Type": "CANARY", "WaitIntervalInSeconds": BAKING_SECONDS, "CanarySize": canary}
    if update == "linear" and instances > 1:
        step = {"Type": "CAPACITY_PERCENT", "Value": QUARTER if instances >= 100 // QUARTER else HALF}
        return {"Type": "LINEAR", "WaitIntervalInSeconds": BAKING_SECONDS, "LinearStepSize": step}
    return {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": BAKING_SECONDS}
