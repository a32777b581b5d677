"""The endpoint as CreateEndpointConfig and UpdateEndpoint take it, made of the execution input.

Runs inside `prepare_execution`; standard library only.
"""

from typing import Any

from lambdas.planning.settings import Settings
from lambdas.request.deployment import Deployment
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.instance_types import uses_gpu

GPU_SERVING_HOST = "al2-ami-sagemaker-inference-gpu-3-1"
"""Host image of a GPU endpoint: the serving image holds CUDA 12.9, which never starts on the CUDA 13 host."""

BAKING_SECONDS = 300
"""How long the new machines answer, all or some of them, before the next step: five looks of an alarm that looks every minute."""
KEPT_SECONDS = 120
"""How long the old machines stay after the new ones have taken over."""
LONGEST_UPDATE_SECONDS = 3600
CANARY_PART = 10
"""One machine in so many is a canary. SageMaker takes no canary larger than a half of the new machines."""
QUARTER, HALF = 25, 50
"""Steps of a linear update, in percent: of fewer than four machines no quarter can be made. A step is a tenth to a half of the new
machines, of which there may be more than `instance_count` where autoscaling has added some: a number could then be too small a step."""
ALARMS = ("endpoint-errors", "endpoint-latency")
"""What the stack's alarms are called after the project's name."""


def serving(asked: ExecutionInput, settings: Settings) -> dict[str, Any]:
    """The plan's part on the endpoint."""
    deployment = asked.deployment
    return {
        "serving_image": settings.serving_image(deployment.instance_type),
        "endpoint": settings.project,
        "deployment_kind": deployment.kind,
        "variant": variant(deployment),
        "network_isolation": deployment.kind != "serverless",
        "deployment_config": deployment_config(deployment, settings.project) if deployment.kind == "instance" else {},
        "max_instance_count": deployment.max_instance_count,
        "keep_versions": deployment.keep_versions,
        "approval": asked.approval,
        "model_package_group": settings.project,
    }


def variant(asked: Deployment) -> dict[str, Any]:
    """What the production variant runs on."""
    if asked.kind == "none":
        return {}
    if asked.kind == "serverless":
        return {"ServerlessConfig": {"MemorySizeInMB": asked.memory_mb, "MaxConcurrency": asked.max_concurrency}}
    host = {"InferenceAmiVersion": GPU_SERVING_HOST} if uses_gpu(asked.instance_type) else {}
    return {"InstanceType": asked.instance_type, "InitialInstanceCount": asked.instance_count, **host}


def deployment_config(asked: Deployment, project: str) -> dict[str, Any]:
    """How new machines take over from old ones, and the alarms that take it back."""
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": traffic(asked.update, asked.instance_count),
            "TerminationWaitInSeconds": KEPT_SECONDS,
            "MaximumExecutionTimeoutInSeconds": LONGEST_UPDATE_SECONDS,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": f"{project}-{alarm}"} for alarm in ALARMS]},
    }


def traffic(update: str, machines: int) -> dict[str, Any]:
    """A lone machine has no half that could go first: it takes all traffic at once, and the alarms watch it as long."""
    if update == "canary" and machines > 1:
        canary = {"Type": "INSTANCE_COUNT", "Value": max(1, machines // CANARY_PART)}
        return {"Type": "CANARY", "WaitIntervalInSeconds": BAKING_SECONDS, "CanarySize": canary}
    if update == "linear" and machines > 1:
        step = {"Type": "CAPACITY_PERCENT", "Value": QUARTER if machines >= 100 // QUARTER else HALF}
        return {"Type": "LINEAR", "WaitIntervalInSeconds": BAKING_SECONDS, "LinearStepSize": step}
    return {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": BAKING_SECONDS}
