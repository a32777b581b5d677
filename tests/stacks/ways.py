"""Executions that together go through every state of the machine, and so make every kind of request; each is walked once for all tests."""

from functools import cache

from tests.stacks.execution import Execution, TaskError
from tests.stacks.fake_sagemaker import ABSENT, IN_PROGRESS, LOOKS, USUAL, run, status, verdict

NO_MACHINE = TaskError("States.TaskFailed", '{"FailureReason": "CapacityError: Unable to provision requested ML compute capacity."}')
LOST = TaskError("SageMaker.SdkClientException", "Unable to execute HTTP request: connection reset")
BROKEN = TaskError("States.TaskFailed", '{"FailureReason": "AlgorithmError: out of memory"}')
UNVERIFIED = {"Payload": {"verified": False, "reasons": ["the endpoint answered with the model 'x' instead of 'y'"]}}
SCALES = TaskError("x", "The variants must be deregistered as scalable targets")
MANAGED = {"debugger": "managed"}


@cache
def ways() -> tuple[Execution, ...]:
    """The executions."""
    return (*good_ways(), *failed_ways())


def good_ways() -> list[Execution]:
    """Those that do their work, whatever is in their way."""
    return [
        run(),
        run(describeEndpoint=[ABSENT, status("Creating")]),
        run(describeEndpoint=[status("Failed"), ABSENT]),
        run({"deployment": {"kind": "none"}}),
        run({"deployment": {"kind": "serverless"}}),
        run({"approval": "manual"}),
        run(
            {"approval": "manual"},
            describeModelPackage=[{"ModelApprovalStatus": "PendingManualApproval"}, {"ModelApprovalStatus": "Rejected"}],
        ),
        run(verdicts=[verdict("ExplodingTensor", "IssuesFound")]),
        run(MANAGED, verdicts=[verdict("ExplodingTensor", "InProgress")]),
        run(MANAGED, describeTrainingJob=[{}, *[TaskError("States.Timeout")] * 11], verdicts=[verdict("A", "InProgress")]),
        run(MANAGED, createTrainingJob=[TaskError("SageMaker.ResourceInUseException", "it is there")]),
        run({"instance_fallbacks": ["ml.m5.4xlarge"]}, createProcessingJob=[NO_MACHINE], createTrainingJob=[NO_MACHINE]),
        run(createProcessingJob=[LOST], createHyperParameterTuningJob=[LOST], createTrainingJob=[LOST]),
        run(updateEndpoint=[SCALES]),
        run(createTrainingJob=[BROKEN]).redrive(),
    ]


def failed_ways() -> list[Execution]:
    """Those that fail."""
    return [
        run(describeEndpoint=[ABSENT] + [status("Creating")] * 9),
        run(describeEndpoint=[status("Updating")] * 9),
        run(
            {"deployment": {"kind": "serverless"}}, describeEndpoint=[status("InService", ProductionVariants=[{"DesiredInstanceCount": 1}])]
        ),
        run(createEndpoint=[TaskError("x")], describeEndpoint=[ABSENT]),
        run(createHyperParameterTuningJob=[{"HyperParameterTuningJobName": "whippet-1"}]),
        run(createTrainingJob=[TaskError("States.Timeout")]),
        run(MANAGED, describeTrainingJob=[{"TrainingJobStatus": "InProgress"}] * 9),
        run(MANAGED, describeTrainingJob=[{"TrainingJobStatus": "Stopped"}]),
        run(verifyEndpoint=[UNVERIFIED]),
        run(verifyEndpoint=[UNVERIFIED], updateEndpoint=[USUAL, SCALES]),
        run(verifyEndpoint=[UNVERIFIED], describeEndpoint=[ABSENT], deleteEndpoint=[IN_PROGRESS] * LOOKS),
        run(createModel=[TaskError("x")], sendTaskFailure=[TaskError("Sfn.InvalidTokenException", "Invalid token")]),
    ]
