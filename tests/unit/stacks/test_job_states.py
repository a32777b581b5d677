"""Jobs for which there is no machine, and jobs whose start nobody answered: what is tried next, and when it is given up."""

import json
from typing import Any

import pytest

from stacks.state_machine.jobs import MOST_LOST_JOBS
from tests.fixtures.stacks.execution import SUBSTITUTED, Execution, TaskError
from tests.fixtures.stacks.fake_sagemaker import MACHINE, FakeSageMaker, asked_for, run

ASKED = {"instance_fallbacks": ["ml.m5.4xlarge", "ml.c5.4xlarge"]}
TYPES = ["ml.m5.2xlarge", *ASKED["instance_fallbacks"]]


def failed(reason: str) -> TaskError:
    return TaskError("States.TaskFailed", json.dumps({"TrainingJobStatus": "Failed", "FailureReason": reason}))


NO_CAPACITY = failed("CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type.")
NO_QUOTA = TaskError(
    "SageMaker.ResourceLimitExceededException", "The account-level service limit 'ml.m5.2xlarge for training job usage' is 0 Instances"
)
UNNAMED = TaskError("SageMaker.AmazonSageMakerException", "The account-level service limit 'ml.m5.2xlarge' is 0 (ResourceLimitExceeded)")
JOBS = {"PrepareDataset": "createProcessingJob", "TuneHyperparameters": "createHyperParameterTuningJob", "TrainModel": "createTrainingJob"}


def machine_of(request: dict[str, Any]) -> str:
    """The instance type that a job was asked for on."""
    if "ProcessingResources" in request:
        return str(request["ProcessingResources"]["ClusterConfig"]["InstanceType"])
    return str(request.get("TrainingJobDefinition", request)["ResourceConfig"]["InstanceType"])


def name_of(request: dict[str, Any]) -> str:
    return next(str(value) for key, value in request.items() if key.endswith("JobName"))


@pytest.mark.parametrize("state", JOBS)
@pytest.mark.parametrize("refusal", [[NO_CAPACITY], [NO_QUOTA], [UNNAMED] * 4], ids=["capacity", "quota", "unnamed quota"])
def test_a_job_without_a_machine_is_tried_on_the_next_type(state: str, refusal: list[TaskError]) -> None:
    done = run(ASKED, **{JOBS[state]: list(refusal)})
    tries = asked_for(done, f"{JOBS[state]}.sync")
    assert [machine_of(each) for each in tries] == [TYPES[0]] * len(refusal) + [TYPES[1]]
    assert len({name_of(each) for each in tries}) == len(tries)
    assert done.error == ""
    (warning,) = done.output["warnings"]
    assert warning.startswith(f"{state} got no {TYPES[0]} and continued with {TYPES[1]}: ")


@pytest.mark.parametrize("state", JOBS)
def test_when_no_type_is_left_the_execution_fails_with_the_reason(state: str) -> None:
    ended = run(ASKED, **{JOBS[state]: [NO_CAPACITY] * 3})
    assert [machine_of(each) for each in asked_for(ended, f"{JOBS[state]}.sync")] == TYPES
    assert ended.cause.startswith(f"{state} failed (")
    assert "CapacityError: Unable to provision" in ended.cause


@pytest.mark.parametrize("state", JOBS)
def test_without_other_types_the_first_refusal_is_the_last(state: str) -> None:
    ended = run(**{JOBS[state]: [NO_CAPACITY]})
    assert len(asked_for(ended, f"{JOBS[state]}.sync")) == 1
    assert "CapacityError" in ended.cause


@pytest.mark.parametrize("reason", ["AlgorithmError: the disk has no capacity left", "ClientError: no such image", ""])
def test_a_job_that_fails_by_itself_is_not_tried_again(reason: str) -> None:
    ended = run(ASKED, createTrainingJob=[failed(reason)])
    assert len(asked_for(ended, "createTrainingJob.sync")) == 1
    assert ended.error == "TrainModel.TaskFailed"


def test_the_final_training_starts_with_the_type_that_the_tuning_got() -> None:
    done = run(ASKED, createHyperParameterTuningJob=[NO_CAPACITY])
    assert machine_of(asked_for(done, "createTrainingJob.sync")[0]) == TYPES[1]
    assert machine_of(asked_for(done, "createProcessingJob.sync")[0]) == TYPES[0]


def test_a_tuning_job_all_of_whose_training_jobs_got_no_machine_is_tried_on_the_next_type() -> None:
    """It says only that they failed; one of them says why."""
    summaries = {"TrainingJobSummaries": [{"TrainingJobName": "a-001", "FailureReason": "CapacityError: Unable to provision"}]}
    all_failed = TaskError("States.TaskFailed", json.dumps({"FailureReason": "All training jobs failed."}))
    done = run(ASKED, createHyperParameterTuningJob=[all_failed], listTrainingJobsForHyperParameterTuningJob=[summaries])
    assert [machine_of(each) for each in asked_for(done, "createHyperParameterTuningJob.sync")] == TYPES[:2]
    assert done.error == ""


@pytest.mark.parametrize(
    "script",
    [{"describeTrainingJob": [{"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: no"}]}, {"createTrainingJob": [NO_QUOTA]}],
)
def test_a_job_that_aws_judges_is_tried_on_the_next_type_too(script: dict[str, Any]) -> None:
    done = run({**ASKED, "debugger": "managed"}, **script)
    tries = asked_for(done, "createTrainingJob")
    assert [machine_of(each) for each in tries] == TYPES[:2]
    assert len({name_of(each) for each in tries}) == 2
    assert done.error == ""


def test_a_tuning_job_that_went_well_in_part_is_a_warning() -> None:
    """The best of those that did is taken."""

    def part(request: dict[str, Any]) -> dict[str, Any]:
        best = {
            "TrainingJobName": "a-001",
            "TunedHyperParameters": {"lr": "0.01", "batch_size": "64"},
            "FinalHyperParameterTuningJobObjectiveMetric": {"Value": 0.5},
        }
        counts = {"Completed": 4, "NonRetryableError": 3, "RetryableError": 1, "InProgress": 0, "Stopped": 0}
        return {
            "HyperParameterTuningJobName": request["HyperParameterTuningJobName"],
            "BestTrainingJob": best,
            "TrainingJobStatusCounters": counts,
        }

    done = run(createHyperParameterTuningJob=[part])
    assert done.output["best"] == {"lr": 0.01, "batch_size": 64, "objective": 0.5}
    assert done.output["warnings"] == [
        f"4 training jobs of the tuning job failed; the best of the others was used: {done.output['tuning_job']}"
    ]


LOST = TaskError("SageMaker.SdkClientException", "Unable to execute HTTP request: connection reset")


def cleanings(execution: Execution) -> int:
    return sum(1 for each in asked_for(execution, "invoke") if each["FunctionName"] == SUBSTITUTED["CleanUpArn"])


@pytest.mark.parametrize("state", JOBS)
def test_a_job_whose_start_nobody_answered_is_stopped_before_another_is_started(state: str) -> None:
    done = run(**{JOBS[state]: [LOST, LOST]})
    tries = asked_for(done, f"{JOBS[state]}.sync")
    assert len({name_of(each) for each in tries}) == len(tries) == 3
    assert done.visited.count("StopLostJob") == cleanings(done) == 2
    assert (done.error, done.output["deployed"]) == ("", True)


def test_starts_that_nobody_answers_are_given_up() -> None:
    ended = run(createTrainingJob=[LOST] * 9)
    assert len(asked_for(ended, "createTrainingJob.sync")) == 1 + MOST_LOST_JOBS
    assert "connection reset" in ended.cause


@pytest.mark.parametrize("answer", [TaskError("ClientError", "no"), {"Payload": {"left": ["training job a still runs"]}}])
def test_no_job_is_started_beside_one_that_may_still_run(answer: Any) -> None:
    ended = run(createTrainingJob=[LOST], cleanUp=[answer])
    assert len(asked_for(ended, "createTrainingJob.sync")) == 1
    assert "connection reset" in ended.cause


def test_each_try_after_a_lost_one_waits_longer() -> None:
    once, twice = (run(createTrainingJob=[LOST] * tries) for tries in (1, 2))
    usual = run().waited
    assert 15 <= once.waited - usual <= 30
    assert 15 + 45 <= twice.waited - usual <= 30 + 90


def test_a_redriven_execution_stops_what_an_earlier_attempt_may_have_left() -> None:
    """It may have been aborted in the middle of a job, and redriven before anybody had stopped that."""
    assert "StopOldJobs" not in run().visited
    redriven = Execution(MACHINE, FakeSageMaker(), {}, redrives=1).run()
    assert cleanings(redriven) == 1
    assert redriven.visited[redriven.visited.index("StopOldJobs") - 1 :][:3] == ["IsRedriven", "StopOldJobs", "AssessModel"]


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        (TaskError("ClientError", "no"), "jobs of an earlier attempt could not be listed: no"),
        ({"Payload": {"left": ["training job a still runs"]}}, "training job a still runs"),
    ],
)
def test_what_an_earlier_attempt_may_have_left_is_a_warning(answer: Any, warning: str) -> None:
    done = Execution(MACHINE, FakeSageMaker(cleanUp=[answer]), {}, redrives=1).run()
    assert (done.error, done.output["deployed"], done.output["warnings"]) == ("", True, [warning])
