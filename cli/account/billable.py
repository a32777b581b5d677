"""What the executions of a project left running or registered on SageMaker: found by name and ended. Used by `whippet down`."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from botocore.exceptions import ClientError

from cli.account.target import Target
from cli.terminal.errors import RefusedError

RUN_NAME = r"-\d{12}-[a-z0-9-]+"
"""What follows the project in the names that the state machine makes, so that another project with a longer name is never touched."""
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack")
"""Statuses in which SageMaker refuses to delete an endpoint."""
PAUSE_S = 15.0
MOST_LOOKS = 360
"""Looks at an endpoint that changes: an hour and a half, longer than SageMaker itself lets a creation go on."""


@dataclass(frozen=True)
class Billable:
    """What the executions of one project left running or registered."""

    executions: tuple[str, ...]
    """ARNs of running executions, which would make an endpoint again."""
    tuning_jobs: tuple[str, ...]
    processing_jobs: tuple[str, ...]
    training_jobs: tuple[str, ...]
    """Those that run and that no tuning job launched; a tuning job takes its own with it."""
    endpoints: tuple[str, ...]
    endpoint_configs: tuple[str, ...]
    models: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Listing:
    """A List operation of SageMaker, and where in its answer the names are; other operations call the name the same."""

    operation: str
    members: str
    member: str


TUNING_JOBS = Listing("list_hyper_parameter_tuning_jobs", "HyperParameterTuningJobSummaries", "HyperParameterTuningJobName")
PROCESSING_JOBS = Listing("list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName")
TRAINING_JOBS = Listing("list_training_jobs", "TrainingJobSummaries", "TrainingJobName")
ENDPOINTS = Listing("list_endpoints", "Endpoints", "EndpointName")
ENDPOINT_CONFIGS = Listing("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName")
MODELS = Listing("list_models", "Models", "ModelName")


def find_billable(target: Target) -> Billable:
    """What the project's executions made, by the names that the state machine gives."""
    return Billable(
        executions=tuple(_running_executions(target)),
        tuning_jobs=_running(target, TUNING_JOBS),
        processing_jobs=_running(target, PROCESSING_JOBS),
        training_jobs=tuple(name for name in _running(target, TRAINING_JOBS) if "-train-" in name),
        endpoints=tuple(_names(target, ENDPOINTS)),
        endpoint_configs=tuple(_names(target, ENDPOINT_CONFIGS)),
        models=tuple(_names(target, MODELS)),
    )


def delete_all(target: Target, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Stops the executions, then ends what there is once none can make anything any more."""
    for arn in tuple(_running_executions(target)):
        say(f"Stopping execution {arn}")
        target.client("stepfunctions").stop_execution(executionArn=arn, cause="whippet down")
    found, sagemaker = find_billable(target), target.client("sagemaker")
    for name in found.tuning_jobs:
        _stop(target, TUNING_JOBS, sagemaker.stop_hyper_parameter_tuning_job, name)
    for name in found.processing_jobs:
        _stop(target, PROCESSING_JOBS, sagemaker.stop_processing_job, name)
    for name in found.training_jobs:
        _stop(target, TRAINING_JOBS, sagemaker.stop_training_job, name)
    for name in found.endpoints:
        _delete_endpoint(target, name, say, sleep)
    for name in found.endpoint_configs:
        _unless_gone(sagemaker.delete_endpoint_config, EndpointConfigName=name)
    for name in found.models:
        _unless_gone(sagemaker.delete_model, ModelName=name)


def _running_executions(target: Target) -> Iterator[str]:
    """None where the stack is absent, or so half made that it has no state machine."""
    stack = target.stack() or {}
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "StateMachineArn" not in outputs:
        return
    executions = target.client("stepfunctions").get_paginator("list_executions")
    try:
        for page in executions.paginate(stateMachineArn=outputs["StateMachineArn"], statusFilter="RUNNING"):
            yield from (execution["executionArn"] for execution in page["executions"])
    except ClientError as error:
        # A stack whose deletion stopped half way still names the state machine that it deleted.
        if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
            raise


def _running(target: Target, listing: Listing) -> tuple[str, ...]:
    return tuple(_names(target, listing, StatusEquals="InProgress"))


def _names(target: Target, listing: Listing, **which: str) -> Iterator[str]:
    ours = re.compile(f"{re.escape(target.project)}({RUN_NAME})?")
    pages = target.client("sagemaker").get_paginator(listing.operation)
    for page in pages.paginate(NameContains=target.project, **which, PaginationConfig={"PageSize": 100}):
        yield from (item[listing.member] for item in page[listing.members] if ours.fullmatch(item[listing.member]))


def _stop(target: Target, listing: Listing, call: Callable[..., Any], name: str) -> None:
    """A job that ended meanwhile cannot be stopped and need not be."""
    try:
        call(**{listing.member: name})
    except ClientError:
        if name in _running(target, listing):
            raise


def _delete_endpoint(target: Target, name: str, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Deletes it as soon as SageMaker would have it deleted."""
    for _ in range(MOST_LOOKS):
        status = target.endpoint_status(name)
        if status not in CHANGING:
            break
        say(f"Waiting for endpoint {name}, which is {status}: SageMaker deletes no endpoint before that is over")
        sleep(PAUSE_S)
    else:
        raise RefusedError(
            f"The endpoint {name!r} is still {status} after {MOST_LOOKS * PAUSE_S / 60:.0f} minutes, and SageMaker deletes none that is. "
            "It costs money; run `whippet down` again later."
        )
    if status != "Deleting":
        _unless_gone(target.client("sagemaker").delete_endpoint, EndpointName=name)


def _unless_gone(call: Callable[..., Any], **arguments: str) -> None:
    """A thing that somebody else deleted meanwhile is as good as deleted; SageMaker says so with "Could not find"."""
    try:
        call(**arguments)
    except ClientError as error:
        if "Could not find" not in error.response["Error"].get("Message", ""):
            raise
