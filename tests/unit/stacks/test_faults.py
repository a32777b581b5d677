"""Every state that calls a service, met by everything that can go wrong with a call: once, where that passes, and each time.

What passes is tried again, under a new name where something is made. What does not ends the execution by CleanUp, NotifyFailed and
ExecutionFailed, with a sentence that names the state and the reason; a few states are no reason to fail, and say so in ways of their own.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fixtures.stacks.execution import Execution, TaskError
from tests.fixtures.stacks.fake_sagemaker import ABSENT, MACHINE, USUAL, FakeSageMaker, run, status
from tests.fixtures.stacks.new_names import new_names
from tests.fixtures.stacks.ways import BROKEN, LOST, MANAGED, SCALES, UNVERIFIED


@dataclass(frozen=True)
class Fault:
    """One way in which a call fails, by the kind of integration that makes it."""

    name: str
    error: str
    cause: str
    passes: bool = False
    """Whether the next try may succeed."""

    def raised(self) -> TaskError:
        return TaskError(self.error, self.cause)


def described(status_of: str, reason: str = "") -> str:
    return json.dumps({"TrainingJobStatus": status_of, "SecondaryStatus": status_of, **({"FailureReason": reason} if reason else {})})


THROTTLED, DENIED = "Rate exceeded", "User is not authorized to perform this action"
INVALID, QUOTA = "1 validation error detected", "The account-level service limit is 0 Instances"
JOB_FAULTS = (
    Fault("throttling", "SageMaker.AmazonSageMakerException", THROTTLED, passes=True),
    Fault("quota", "SageMaker.ResourceLimitExceededException", QUOTA),
    Fault("capacity", "States.TaskFailed", described("Failed", "CapacityError: Unable to provision requested ML compute capacity")),
    Fault("timeout", "States.Timeout", ""),
    Fault("validation", "SageMaker.AmazonSageMakerException", INVALID),
    Fault("job failed", "States.TaskFailed", described("Failed", "AlgorithmError: out of memory")),
    Fault("job stopped", "States.TaskFailed", described("Stopped")),
    Fault("access denied", "SageMaker.AccessDeniedException", DENIED),
    Fault("server error", "SageMaker.InternalServerException", "An internal error occurred", passes=True),
    Fault("no answer", "SageMaker.SdkClientException", "connection reset", passes=True),
)
CALL_FAULTS = (
    Fault("throttling", "SageMaker.SageMakerException", THROTTLED, passes=True),
    Fault("throttling by name", "SageMaker.ThrottlingException", THROTTLED, passes=True),
    Fault("quota", "SageMaker.ResourceLimitExceededException", QUOTA),
    Fault("timeout", "States.Timeout", ""),
    Fault("validation", "SageMaker.SageMakerException", INVALID),
    Fault("access denied", "SageMaker.AccessDeniedException", DENIED),
    Fault("server error", "SageMaker.InternalServerException", "An internal error occurred", passes=True),
    Fault("no answer", "SageMaker.SdkClientException", "connection reset", passes=True),
)
FUNCTION_FAULTS = (
    Fault("throttling", "Lambda.TooManyRequestsException", THROTTLED, passes=True),
    Fault("timeout", "States.Timeout", ""),
    Fault("validation", "InvalidExecutionInput", json.dumps({"errorType": "InvalidExecutionInput", "errorMessage": INVALID})),
    Fault("access denied", "ClientError", json.dumps({"errorType": "ClientError", "errorMessage": DENIED})),
    Fault("server error", "Lambda.ServiceException", "An internal error occurred", passes=True),
    Fault("no answer", "Lambda.SdkClientException", "connection reset", passes=True),
    Fault("out of memory", "Lambda.Unknown", "The function ran out of memory"),
)
MESSAGE_FAULTS = (
    Fault("throttling", "SNS.ThrottledException", THROTTLED, passes=True),
    Fault("access denied", "SNS.AuthorizationErrorException", DENIED),
    Fault("server error", "SNS.InternalErrorException", "An internal error occurred", passes=True),
    Fault("timeout", "States.Timeout", ""),
)
SCALING_FAULTS = (
    Fault("throttling", "ApplicationAutoScaling.ThrottlingException", THROTTLED, passes=True),
    Fault("access denied", "ApplicationAutoScaling.AccessDeniedException", DENIED),
    Fault("validation", "ApplicationAutoScaling.ValidationException", INVALID),
    Fault("timeout", "States.Timeout", ""),
)

FIRST = {"describeEndpoint": [ABSENT]}
SCALED = {"updateEndpoint": [SCALES]}
FAILED = {"createTrainingJob": [BROKEN]}
ALL_FAILED = {"createHyperParameterTuningJob": [TaskError("States.TaskFailed", '{"FailureReason": "All training jobs failed."}')]}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "TrainModelManaged": (MANAGED, {}),
    "DescribeTraining": (MANAGED, {}),
    "StopLostJob": ({}, {"createTrainingJob": [LOST]}),
    "AskForApproval": ({"approval": "manual"}, {}),
    "DescribeModelPackage": ({"approval": "manual"}, {}),
    "CreateEndpoint": ({}, FIRST),
    "RemoveFailedEndpoint": ({}, {"describeEndpoint": [status("Failed"), ABSENT]}),
    "UpdateServerlessEndpoint": ({"deployment": {"kind": "serverless"}}, {}),
    "ReleaseScaling": ({}, SCALED),
    "LookBeforeUndo": ({}, {"verifyEndpoint": [UNVERIFIED]}),
    "RestoreEndpoint": ({}, {"verifyEndpoint": [UNVERIFIED]}),
    "ReleaseScalingToUndo": ({}, {"verifyEndpoint": [UNVERIFIED], "updateEndpoint": [USUAL, SCALES]}),
    "RemoveEndpoint": ({}, {"verifyEndpoint": [UNVERIFIED], **FIRST}),
    "FindFailedTrainingJob": ({}, ALL_FAILED),
    "CleanUp": ({}, FAILED),
    "PublishFailure": ({}, FAILED),
    "NotifyFailed": ({}, FAILED),
    "ExecutionFailed": ({}, FAILED),
}
"""State -> an execution input and a script by which an execution comes to it; to the others it comes anyway."""

OF_REDRIVEN = {"StopOldJobs"}
"""States of executions that were redriven."""

STUCK: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {"RemoveFailedEndpoint": ({}, {"describeEndpoint": [status("Failed")] * 9})}
"""The same where nobody else does in the meantime what the state could not do."""

TASKS = [name for name, state in MACHINE["States"].items() if state["Type"] == "Task"]
HARMLESS = {"AskForApproval", "StopOldJobs", "PruneModels", "PublishReport", "NotifyDone"}
"""States without which an execution ends well all the same."""
AFTER_A_FAILURE = {
    *["StopLostJob", "LookBeforeUndo", "RestoreEndpoint", "ReleaseScalingToUndo", "RemoveEndpoint", "FindFailedTrainingJob", "CleanUp"],
    *["PublishFailure", "NotifyFailed", "ExecutionFailed"],
}
"""States of executions that have failed already, whose first reason stays the one that is told."""


class Faulty(FakeSageMaker):
    """Raises the fault in the calls of one state: the first so many of them."""

    def __init__(self, state: str, fault: Fault, times: int, script: dict[str, Any]) -> None:
        super().__init__(**{name: list(answers) for name, answers in script.items()})
        self.state, self.fault, self.times = state, fault, times
        self.execution: Execution | None = None

    def __call__(self, action: str, arguments: dict[str, Any]) -> Any:
        assert self.execution
        if self.execution.states["context"]["State"]["Name"] == self.state and self.times:
            self.times -= 1
            raise self.fault.raised()
        return super().__call__(action, arguments)


def run_with(state: str, fault: Fault, times: int) -> Execution:
    asked, script = WAYS.get(state, ({}, {})) if times == 1 else STUCK.get(state) or WAYS.get(state, ({}, {}))
    service = Faulty(state, fault, times, script)
    service.execution = execution = Execution(MACHINE, service, asked, redrives=int(state in OF_REDRIVEN))
    return execution.run()


def faults_of(state: str) -> tuple[Fault, ...]:
    resource = MACHINE["States"][state]["Resource"]
    if ":sns:" in resource:
        return MESSAGE_FAULTS
    if ":applicationautoscaling:" in resource:
        return SCALING_FAULTS
    if ":lambda:" in resource:
        return FUNCTION_FAULTS
    return JOB_FAULTS if resource.endswith(".sync") else CALL_FAULTS


EACH = [(state, fault) for state in TASKS if state != "ExecutionFailed" for fault in faults_of(state)]
PASSING = [(state, fault) for state, fault in EACH if fault.passes]
LASTING = [(state, fault) for state, fault in EACH if state not in HARMLESS | AFTER_A_FAILURE]


def named(value: Any) -> str:
    return value.name if isinstance(value, Fault) else str(value)


def test_there_are_enough_of_them() -> None:
    """And no state is left out."""
    assert len(EACH) > 150
    assert {state for state, _ in EACH} | {"ExecutionFailed"} == set(TASKS)


@pytest.mark.parametrize(("state", "fault"), PASSING, ids=named)
def test_what_passes_is_tried_again(state: str, fault: Fault) -> None:
    """And the execution ends as if nothing had been; what a try made has a name of its own."""
    asked, script = WAYS.get(state, ({}, {}))
    undisturbed = run(asked, **{name: list(answers) for name, answers in script.items()})
    tried = run_with(state, fault, 1)
    assert (tried.error, tried.output is None) == (undisturbed.error, undisturbed.output is None)
    assert tried.visited.count(state) >= 1
    names = [name for action, request in tried.requests for name in new_names(request) if action.startswith("create")]
    managed = state in ("TrainModelManaged", "DescribeTraining")
    assert len(set(names)) == len(names) or managed, "a managed job has one name in all tries, to be found by"


@pytest.mark.parametrize(("state", "fault"), LASTING, ids=named)
def test_what_stays_ends_the_execution_with_a_sentence(state: str, fault: Fault) -> None:
    failed = run_with(state, fault, 99)
    billed = [] if state == "PrepareExecution" else ["PublishFailure"]
    assert failed.visited[failed.visited.index("CleanUp") :] == ["CleanUp", "IsAnythingSpent", *billed, "NotifyFailed", "ExecutionFailed"]
    told = failed.cause.partition(" failed")[0]
    assert told == state
    assert failed.error == fault.error.replace("States.", f"{state}.")
    assert reason_of(fault) in failed.cause
    names = [name for action, request in failed.requests for name in new_names(request) if action.startswith("create")]
    assert len(set(names)) == len(names) or state == "TrainModelManaged"


def reason_of(fault: Fault) -> str:
    """What the sentence must hold."""
    if not fault.cause.startswith("{"):
        return fault.cause or "it exceeded its time limit"
    told = json.loads(fault.cause)
    return str(told.get("FailureReason") or told.get("errorMessage") or "it ended as Stopped (Stopped)")


@pytest.mark.parametrize(("state", "fault"), [each for each in EACH if each[0] in HARMLESS], ids=named)
def test_some_states_are_no_reason_to_fail(state: str, fault: Fault) -> None:
    done = run_with(state, fault, 99)
    assert (done.error, done.output["deployed"]) == ("", True)
    assert bool(done.output["warnings"]) is (state in ("StopOldJobs", "PruneModels", "PublishReport"))


@pytest.mark.parametrize(("state", "fault"), [each for each in EACH if each[0] in AFTER_A_FAILURE], ids=named)
def test_the_first_failure_stays_the_one_that_is_told(state: str, fault: Fault) -> None:
    asked, script = WAYS[state]
    failed = run_with(state, fault, 99)
    first = run(asked, **{name: list(answers) for name, answers in script.items()})
    assert failed.visited[-2:] == ["NotifyFailed", "ExecutionFailed"]
    if state == "StopLostJob":
        assert (failed.error, first.error) == (LOST.output["Error"], "")
    else:
        assert failed.error == first.error
        assert failed.cause.partition(" Log:")[0].startswith(first.cause.partition(" Log:")[0].partition("; the endpoint")[0].rstrip("."))
