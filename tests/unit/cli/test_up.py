"""What `whippet down` ends and what it leaves alone. Run: `make test`."""

import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from cli.account.billable import Billable, find_billable
from cli.account.target import Target
from cli.terminal.errors import RefusedError
from cli.up import delete_billable, stop_local_mode
from tests.fixtures.cli.fakes import ARN, FakeCloudFormation, FakeMachine, Pages, client_error, stack, target

OURS, OTHERS = "whippet-261122160000-8988-b2126ec3", "whippet-b-261122160000-8988-b2126ec3"
PREPARING = "whippet-261122160000-8988-prepare-0be1f3a2"
TUNING, FINAL = "whippet-261122160000-1454c455", "whippet-261122160000-8988-train-705ce048"
SUMMARIES = {
    "list_endpoints": ("Endpoints", "EndpointName"),
    "list_endpoint_configs": ("EndpointConfigs", "EndpointConfigName"),
    "list_models": ("Models", "ModelName"),
    "list_hyper_parameter_tuning_jobs": ("HyperParameterTuningJobSummaries", "HyperParameterTuningJobName"),
    "list_processing_jobs": ("ProcessingJobSummaries", "ProcessingJobName"),
    "list_training_jobs": ("TrainingJobSummaries", "TrainingJobName"),
}


@dataclass
class FakeSageMaker:
    """Endpoints, configurations, models and running jobs by name, and executions; `gone` vanish before they can be ended."""

    endpoints: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    tuning_jobs: list[str] = field(default_factory=list)
    training_jobs: list[str] = field(default_factory=list)
    processing_jobs: list[str] = field(default_factory=list)
    executions: list[str] = field(default_factory=lambda: [ARN])
    gone: set[str] = field(default_factory=set)
    statuses: list[str] = field(default_factory=lambda: ["InService"])
    """Of every endpoint, look by look; the last one stays."""
    made_last: list[str] = field(default_factory=list)
    """Endpoints that an execution makes just before it is stopped."""
    woken: list[str] = field(default_factory=list)
    """Endpoints that a request brings back just after one is deleted, while its configuration stands."""
    ended: list[str] = field(default_factory=list)

    def get_paginator(self, operation: str) -> Pages:
        return Pages(lambda **arguments: self._pages(operation, **arguments))

    def _pages(self, operation: str, **arguments: Any) -> list[dict[str, Any]]:
        if operation == "list_executions":
            return [{"executions": [{"executionArn": arn} for arn in self.executions]}]
        running = {
            "list_hyper_parameter_tuning_jobs": self.tuning_jobs,
            "list_training_jobs": self.training_jobs,
            "list_processing_jobs": self.processing_jobs,
        }
        assert arguments.get("StatusEquals") == ("InProgress" if operation in running else None)
        kept = {"list_endpoints": self.endpoints, "list_endpoint_configs": self.configs, "list_models": self.models}
        members, member = SUMMARIES[operation]
        return [{members: [{member: name}]} for name in (running | kept)[operation]]

    def stop_execution(self, executionArn: str, cause: str) -> None:  # noqa: N803 - boto3's name
        self.executions.remove(executionArn)
        self.endpoints += self.made_last
        self.ended.append(executionArn)

    def stop_hyper_parameter_tuning_job(self, HyperParameterTuningJobName: str) -> None:  # noqa: N803
        self._stop(self.tuning_jobs, HyperParameterTuningJobName)

    def stop_training_job(self, TrainingJobName: str) -> None:  # noqa: N803
        self._stop(self.training_jobs, TrainingJobName)

    def stop_processing_job(self, ProcessingJobName: str) -> None:  # noqa: N803
        self._stop(self.processing_jobs, ProcessingJobName)

    def describe_endpoint(self, EndpointName: str) -> dict[str, str]:  # noqa: N803
        if self.statuses[0] == "Deleting":
            self.endpoints.remove(EndpointName)
        return {"EndpointStatus": self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]}

    def delete_endpoint(self, EndpointName: str) -> None:  # noqa: N803
        if self.statuses[0] in ("Creating", "Updating", "Deleting"):
            raise client_error("ValidationException", f'Cannot update in-progress endpoint "{EndpointName}".')
        self._delete(self.endpoints, EndpointName)
        if self.woken and self.configs:
            self.endpoints.append(self.woken.pop())

    def delete_endpoint_config(self, EndpointConfigName: str) -> None:  # noqa: N803
        self._delete(self.configs, EndpointConfigName)

    def delete_model(self, ModelName: str) -> None:  # noqa: N803
        self._delete(self.models, ModelName)

    def _stop(self, running: list[str], name: str) -> None:
        running.remove(name)
        if name in self.gone:
            raise client_error("ValidationException", "The request was rejected because the job is in status Completed.")
        self.ended.append(name)

    def _delete(self, there: list[str], name: str) -> None:
        there.remove(name)
        if name in self.gone:
            raise client_error("ValidationException", f'Could not find "{name}".')
        self.ended.append(name)


def deployed(sagemaker: FakeSageMaker, **clients: Any) -> Target:
    return target(sagemaker=sagemaker, stepfunctions=sagemaker, **clients)


def paper() -> Console:
    return Console(file=io.StringIO(), width=120)


def delete(target: Target, console: Console | None = None) -> None:
    delete_billable(target, console or paper(), lambda question: True, sleep=lambda seconds: None)


def test_only_names_that_the_state_machine_gives_are_found() -> None:
    trial = f"{TUNING}-001-aaaa"
    sagemaker = FakeSageMaker(
        ["whippet", "whippet-b", "my-whippet"],
        [OURS, OTHERS],
        [OURS, OTHERS, "whippet-notes"],
        [TUNING, f"my-{TUNING}"],
        [trial, FINAL],
        [PREPARING, f"my-{PREPARING}"],
    )
    assert find_billable(deployed(sagemaker)) == Billable((ARN,), (TUNING,), (PREPARING,), (FINAL,), ("whippet",), (OURS,), (OURS,))


def test_everything_found_is_ended_after_a_yes() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], [OURS], [TUNING], [FINAL], [PREPARING])
    delete(deployed(sagemaker))
    assert sagemaker.ended == [ARN, TUNING, PREPARING, FINAL, "whippet", OURS, OURS]


def test_what_ended_meanwhile_is_passed_over() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], [OURS], [TUNING], [FINAL], [PREPARING], gone={"whippet", TUNING, PREPARING, FINAL})
    delete(deployed(sagemaker))
    assert sagemaker.ended == [ARN, OURS, OURS]


def test_a_job_that_may_not_be_stopped_is_no_ended_job() -> None:
    class Denied(FakeSageMaker):
        def stop_training_job(self, TrainingJobName: str) -> None:  # noqa: N803
            raise client_error("AccessDeniedException", "not authorized")

    with pytest.raises(Exception, match="not authorized"):
        delete(deployed(Denied(training_jobs=[FINAL])))


def test_what_an_execution_made_while_the_user_was_asked_is_deleted_too() -> None:
    sagemaker = FakeSageMaker(made_last=["whippet"])
    delete(deployed(sagemaker))
    assert sagemaker.ended == [ARN, "whippet"]


def test_an_endpoint_that_a_request_brought_back_meanwhile_is_deleted_too() -> None:
    sagemaker, console = FakeSageMaker(["whippet"], [OURS], [OURS], woken=["whippet"]), paper()
    delete(deployed(sagemaker), console)
    assert sagemaker.ended == [ARN, "whippet", OURS, OURS, "whippet"]
    assert isinstance(console.file, io.StringIO)
    assert "Deleted and checked: 'whippet' has no billable resources" in console.file.getvalue()


def test_what_is_there_again_each_time_is_named() -> None:
    class Immortal(FakeSageMaker):
        def _delete(self, there: list[str], name: str) -> None:
            self.ended.append(name)

    with pytest.raises(RefusedError, match="still exist or were created again"):
        delete(deployed(Immortal(["whippet"])))


def test_an_endpoint_in_creation_is_waited_for() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], statuses=["Creating", "Creating", "InService"])
    waits: list[float] = []
    delete_billable(deployed(sagemaker), paper(), lambda question: True, waits.append)
    assert sagemaker.ended == [ARN, "whippet", OURS]
    assert len(waits) == 2


def test_an_endpoint_that_never_comes_to_rest_is_named() -> None:
    sagemaker = FakeSageMaker(["whippet"], statuses=["Updating"])
    with pytest.raises(RefusedError, match=r"'whippet' is still Updating after 90 minutes.*again later"):
        delete(deployed(sagemaker))


def test_an_endpoint_in_deletion_is_left_to_it() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], statuses=["Deleting"])
    delete(deployed(sagemaker))
    assert sagemaker.ended == [ARN, OURS]


def test_a_no_deletes_nothing() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], [OURS], [TUNING], [FINAL])
    with pytest.raises(RefusedError, match="Nothing was deleted"):
        delete_billable(deployed(sagemaker), paper(), lambda question: False)
    assert sagemaker.ended == []


@pytest.mark.parametrize("found", [None, stack() | {"StackStatus": "ROLLBACK_COMPLETE", "Outputs": []}])
def test_a_project_without_a_whole_stack_is_still_looked_through(found: dict[str, Any] | None) -> None:
    sagemaker = FakeSageMaker(["whippet"])
    delete(deployed(sagemaker, cloudformation=FakeCloudFormation(found)))
    assert sagemaker.ended == ["whippet"]


def test_a_state_machine_that_is_deleted_already_has_no_executions() -> None:
    class WithoutMachine(FakeSageMaker):
        def _pages(self, operation: str, **arguments: Any) -> list[dict[str, Any]]:
            if operation == "list_executions":
                raise client_error("StateMachineDoesNotExist", "State Machine Does Not Exist")
            return super()._pages(operation, **arguments)

    sagemaker = WithoutMachine(["whippet"])
    delete(deployed(sagemaker))
    assert sagemaker.ended == ["whippet"]


def test_what_runs_is_named_before_the_question() -> None:
    console = paper()
    delete(deployed(FakeSageMaker(["whippet"], [OURS], [], [TUNING], [FINAL], [PREPARING])), console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    for name in (
        ARN,
        f"tuning job {TUNING}",
        f"processing job {PREPARING}",
        f"training job {FINAL}",
        "endpoint whippet",
        "1 endpoint configurations, 0 models",
    ):
        assert name in said


def test_nothing_to_delete_points_to_cdk_destroy() -> None:
    console = paper()
    delete_billable(
        deployed(FakeSageMaker(), cloudformation=FakeCloudFormation(None)), console, lambda question: pytest.fail("asked for nothing")
    )
    assert isinstance(console.file, io.StringIO)
    assert "cdk destroy" in console.file.getvalue()


def test_local_mode_is_stopped_once() -> None:
    machine, console = FakeMachine(), paper()
    stop_local_mode(machine, console)
    stop_local_mode(machine, console)
    assert isinstance(console.file, io.StringIO)
    assert "stopped (2 processes)" in console.file.getvalue()
    assert "was not running" in console.file.getvalue()
