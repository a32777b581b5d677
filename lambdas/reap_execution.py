"""ReapExecution: after an execution that was aborted, timed out or failed, nothing of it goes on costing or answering.

Runs in AWS Lambda, called in two ways:

    by EventBridge with a "Step Functions Execution Status Change" event (ABORTED, TIMED_OUT, FAILED) of the project's state machine: an
    abort or a timeout leaves the machine no state in which it could tidy up, so this happens outside of it, at once;
    on a schedule, every 15 minutes, with anything that has no `detail.executionArn`: over all executions that ended so in the last day.

It does what CleanUp does, and looks at the endpoint. An execution that was stopped while it moved the endpoint leaves a model there that
nobody verified: it is taken back to the newest deployed version, or deleted where there is none. One that was recorded as deployed stays.

Why a schedule: SageMaker neither updates nor deletes an endpoint that is being created or updated, which takes up to an hour and more, and
Lambda's own retries come after one and two minutes. So this function never waits and never raises for it: what must wait is said in `left`,
and the next time, a quarter of an hour later, finishes it. The schedule also makes good for an event that was lost.

An execution that runs again, because somebody redrove it, is left alone. One that is redriven after this function has come by makes its
model and endpoint config anew where it had failed; where it was stopped while it moved the endpoint, it finds them gone, fails, and a
second redrive makes them anew.

Answers {run: {"stopped": […], "deleted": […], "left": […]}}.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lambdas.aws.clients import FAULTS, client, code_of, message_of
from lambdas.aws.endpoint import Endpoint, describe_config, look_at_endpoint
from lambdas.aws.executions import ENDED_BADLY, Execution, ended_badly
from lambdas.aws.jobs import run_of
from lambdas.aws.log import log
from lambdas.aws.model_registry import deployed_packages, newest_deployed
from lambdas.clean_up import Answer, clean_up
from lambdas.scale_endpoint import deregister

WITHIN = timedelta(days=1)
"""How long after its end an execution is looked after: far longer than any endpoint takes."""

AGAIN = "this is tried again within 15 minutes"

Clock = Callable[[], datetime]


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Answer]:
    """Entry point of the Lambda function."""
    stepfunctions, state_machine_arn = client("stepfunctions"), os.environ["STATE_MACHINE_ARN"]
    ended = executions_of(event, stepfunctions, state_machine_arn, lambda: datetime.now(UTC))
    return reap(ended, os.environ["PROJECT"], stepfunctions, client("sagemaker"), client("application-autoscaling"))


def executions_of(event: Mapping[str, Any], stepfunctions: Any, state_machine_arn: str, clock: Clock) -> list[Execution]:
    """The one that the event is about; without one, all that ended badly a short time ago."""
    detail = event.get("detail") or {}
    if "executionArn" not in detail:
        return list(ended_badly(stepfunctions, state_machine_arn, clock(), WITHIN))
    return [Execution(detail["executionArn"], datetime.fromtimestamp(detail["startDate"] / 1000, UTC), detail["status"])]


def reap(ended: Iterable[Execution], project: str, stepfunctions: Any, sagemaker: Any, autoscaling: Any) -> dict[str, Answer]:
    """What was done for each run; one whose execution goes on again is not touched."""
    answers: dict[str, Answer] = {}
    for execution in ended:
        run = execution.run(project)
        if goes_on(execution, stepfunctions):
            log("NotReaped", execution=run, reason="it was redriven and runs again")
            continue
        left = release_endpoint(run, project, sagemaker, autoscaling)
        answers[run] = clean_up(run, project, sagemaker)
        answers[run]["left"] += left
        log("Reaped", execution=run, status=execution.status, **answers[run])
    return answers


def goes_on(execution: Execution, stepfunctions: Any) -> bool:
    """Asked again just before anything is ended, since an event may be late; what is gone with its state machine runs no more."""
    try:
        now = stepfunctions.describe_execution(executionArn=execution.arn, includedData="METADATA_ONLY")["status"]
    except ClientError as error:
        if code_of(error) != "ExecutionDoesNotExist":
            raise
        return False
    return now not in ENDED_BADLY


def release_endpoint(run: str, project: str, sagemaker: Any, autoscaling: Any) -> list[str]:
    """Takes an endpoint away from a run that did not get to its end; sentences about what could not be done now."""
    try:
        endpoint = look_at_endpoint(sagemaker, project)
        if endpoint is None or run not in {run_of(config) for config in endpoint.configs} or endpoint.status == "Deleting":
            return []
        if endpoint.is_changing:
            return [f"the endpoint {project} is {endpoint.status}, and SageMaker lets nobody change it before that is over; {AGAIN}"]
        if run_of(endpoint.config) == run and not was_deployed(sagemaker, project, endpoint.config):
            take_back(endpoint, project, sagemaker, autoscaling)
    except FAULTS as error:
        return [f"the endpoint {project} may serve what {run} did not verify: {message_of(error)}; {AGAIN}"]
    return []


def was_deployed(sagemaker: Any, project: str, config: str) -> bool:
    """Whether the registry has it that the endpoint answered rightly with this config."""
    return any(package.endpoint_config == config for package in deployed_packages(sagemaker, project))


def take_back(endpoint: Endpoint, project: str, sagemaker: Any, autoscaling: Any) -> None:
    """To what answered before, which may run on other machines; where that cannot be, it is deleted, and a request brings it back."""
    newest = newest_deployed(sagemaker, project)
    deregister(autoscaling, project)
    if newest and can_become(endpoint, describe_config(sagemaker, newest.endpoint_config)):
        sagemaker.update_endpoint(EndpointName=project, EndpointConfigName=newest.endpoint_config)
        log("EndpointTakenBack", execution=run_of(endpoint.config), to=newest.endpoint_config)
    else:
        sagemaker.delete_endpoint(EndpointName=project)
        log("EndpointDeleted", execution=run_of(endpoint.config), was=endpoint.status)


def can_become(endpoint: Endpoint, config: Mapping[str, Any] | None) -> bool:
    """Whether SageMaker updates the endpoint to a config: not a failed one, and none on instances to a serverless one."""
    if config is None or endpoint.status == "Failed":
        return False
    return endpoint.is_serverless or not any("ServerlessConfig" in variant for variant in config["ProductionVariants"])
