"""Finds and deletes a project's billable resources on SageMaker, by name. Used by `whippet down`."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from botocore.exceptions import ClientError

from cli.account.target import Target
from cli.terminal.errors import RefusedError

RUN_NAME = r"-\d{12}-[a-z0-9-]+"
"""The state machine's suffix after the project in names, so that a project with a longer name is not touched."""
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack")
"""Statuses in which SageMaker refuses to delete an endpoint."""
PAUSE_S = 15.0
MOST_LOOKS = 360
"""The number of checks of a changing endpoint: an hour and a half, longer than SageMaker's limit for a creation."""


@dataclass(frozen=True)
class Billable:
    """The running and registered resources of a project's executions."""

    executions: tuple[str, ...]
    """ARNs of running executions, which would create an endpoint again."""
    tuning_jobs: tuple[str, ...]
    processing_jobs: tuple[str, ...]
    training_jobs: tuple[str, ...]
    """Running training jobs outside a tuning job; a tuning job stops its own."""
    endpoints: tuple[str, ...]
    endpoint_configs: tuple[str, ...]
    models: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Listing:
    """A List operation of SageMaker and the fields of its answer; other operations use the same field for the name."""

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
    """Find the resources of the project's executions, by the state machine's names."""
    return Billable(
        executions=tuple(_list_running_executions(target)),
        tuning_jobs=_list_running(target, TUNING_JOBS),
        processing_jobs=_list_running(target, PROCESSING_JOBS),
        training_jobs=tuple(name for name in _list_running(target, TRAINING_JOBS) if "-train-" in name),
        endpoints=tuple(_list_names(target, ENDPOINTS)),
        endpoint_configs=tuple(_list_names(target, ENDPOINT_CONFIGS)),
        models=tuple(_list_names(target, MODELS)),
    )


def delete_all(target: Target, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Stop the executions first, because they create resources, then delete the resources."""
    for arn in tuple(_list_running_executions(target)):
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
        _delete_if_present(sagemaker.delete_endpoint_config, EndpointConfigName=name)
    for name in found.models:
        _delete_if_present(sagemaker.delete_model, ModelName=name)


def _list_running_executions(target: Target) -> Iterator[str]:
    """List the running executions; none if the stack or its state machine does not exist."""
    stack = target.stack() or {}
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "StateMachineArn" not in outputs:
        return
    executions = target.client("stepfunctions").get_paginator("list_executions")
    try:
        for page in executions.paginate(stateMachineArn=outputs["StateMachineArn"], statusFilter="RUNNING"):
            yield from (execution["executionArn"] for execution in page["executions"])
    except ClientError as error:
        # A partly deleted stack still has the output of its deleted state machine.
        if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
            raise


def _list_running(target: Target, listing: Listing) -> tuple[str, ...]:
    return tuple(_list_names(target, listing, StatusEquals="InProgress"))


def _list_names(target: Target, listing: Listing, **which: str) -> Iterator[str]:
    ours = re.compile(f"{re.escape(target.project)}({RUN_NAME})?")
    pages = target.client("sagemaker").get_paginator(listing.operation)
    for page in pages.paginate(NameContains=target.project, **which, PaginationConfig={"PageSize": 100}):
        yield from (item[listing.member] for item in page[listing.members] if ours.fullmatch(item[listing.member]))


def _stop(target: Target, listing: Listing, call: Callable[..., Any], name: str) -> None:
    """Stop a job; ignores the error for a job that has ended meanwhile."""
    try:
        call(**{listing.member: name})
    except ClientError:
        if name in _list_running(target, listing):
            raise


def _delete_endpoint(target: Target, name: str, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Delete an endpoint as soon as SageMaker allows it."""
    for _ in range(MOST_LOOKS):
        status = target.endpoint_status(name)
        if status not in CHANGING:
            break
        say(f"Waiting for endpoint {name}, which is {status}: SageMaker cannot delete it yet")
        sleep(PAUSE_S)
    else:
        raise RefusedError(
            f"The endpoint {name!r} is still {status} after {MOST_LOOKS * PAUSE_S / 60:.0f} minutes, which SageMaker cannot delete. "
            "It costs money; run `whippet down` again later."
        )
    if status != "Deleting":
        _delete_if_present(target.client("sagemaker").delete_endpoint, EndpointName=name)


def _delete_if_present(call: Callable[..., Any], **arguments: str) -> None:
    """Delete a resource; ignores SageMaker's error "Could not find" for one that is already deleted."""
    try:
        call(**arguments)
    except ClientError as error:
        if "Could not find" not in error.response["Error"].get("Message", ""):
            raise
