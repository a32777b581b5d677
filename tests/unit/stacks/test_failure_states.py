"""What an execution does after a failure: the sentence it says, what it stops, whom it tells, and how a redrive goes on from there."""

import json
from typing import Any

import pytest

from tests.fixtures.stacks.execution import SUBSTITUTED, Execution, TaskError
from tests.fixtures.stacks.fake_sagemaker import ABSENT, MACHINE, FakeSageMaker, asked_for, run, status
from tests.fixtures.stacks.new_names import new_names

BROKEN = TaskError("States.TaskFailed", json.dumps({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: out of memory."}))


def called(execution: Execution, state: str) -> list[dict[str, Any]]:
    """What a Lambda function was told each time."""
    return [each["Payload"] for each in asked_for(execution, "invoke") if each["FunctionName"] == SUBSTITUTED[f"{state}Arn"]]


def test_a_refusal_of_the_first_state_is_the_cause() -> None:
    told = json.dumps({"errorType": "NoUsableData", "errorMessage": "there are no photos under s3://b/data/", "stackTrace": ["x"]})
    failed = run(prepareExecution=[TaskError("NoUsableData", told)])
    assert failed.error == "NoUsableData"
    assert failed.cause == (
        "PrepareExecution failed: there are no photos under s3://b/data/. Log: CloudWatch log group /aws/lambda/whippet-prepare-execution."
    )
    assert len(called(failed, "PrepareExecution")) == 1, "a refusal is not tried again"


def test_a_broken_download_is_tried_again() -> None:
    assert run(prepareExecution=[TaskError("WeightsDownloadInterrupted", "{}")]).error == ""


def test_a_failed_training_job_gives_its_reason_and_log() -> None:
    described = json.dumps({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: out of memory."})
    failed = run(createTrainingJob=[TaskError("States.TaskFailed", described)])
    (request,) = asked_for(failed, "createTrainingJob.sync")
    name = request["TrainingJobName"]
    assert failed.error == "TrainModel.TaskFailed"
    assert failed.cause == (
        f"TrainModel failed (training job {name}): AlgorithmError: out of memory. "
        f"Log: CloudWatch log group /aws/sagemaker/TrainingJobs, log streams {name}*."
    )


def test_a_stopped_training_job_says_so() -> None:
    described = json.dumps({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"})
    assert "it ended as Stopped (MaxRuntimeExceeded)." in run(createTrainingJob=[TaskError("States.TaskFailed", described)]).cause


def test_a_refused_request_has_no_log_to_look_at() -> None:
    refused = [TaskError("SageMaker.ResourceLimitExceededException", "The account-level service limit 'ml.m5.2xlarge' is 0 Instances.")]
    assert run(createTrainingJob=refused).cause.endswith("is 0 Instances.")


def test_a_failed_tuning_job_gives_the_reason_of_one_training_job() -> None:
    described = json.dumps({"HyperParameterTuningJobStatus": "Failed", "FailureReason": "All training jobs failed."})
    summaries = {"TrainingJobSummaries": [{"TrainingJobName": "whippet-1-001", "FailureReason": "the photos are unreadable"}]}
    failed = run(
        createHyperParameterTuningJob=[TaskError("States.TaskFailed", described)], listTrainingJobsForHyperParameterTuningJob=[summaries]
    )
    (request,) = asked_for(failed, "createHyperParameterTuningJob.sync")
    assert (
        asked_for(failed, "listTrainingJobsForHyperParameterTuningJob")[0]["HyperParameterTuningJobName"]
        == request["HyperParameterTuningJobName"]
    )
    assert "All training jobs failed; training job whippet-1-001: the photos are unreadable. Log:" in failed.cause


@pytest.mark.parametrize("listing", [{"TrainingJobSummaries": []}, TaskError("SageMaker.SageMakerException", "no such job")])
def test_a_tuning_job_without_a_failed_training_job_keeps_its_own_reason(listing: Any) -> None:
    described = json.dumps({"HyperParameterTuningJobStatus": "Failed", "FailureReason": "no capacity"})
    failed = run(
        createHyperParameterTuningJob=[TaskError("States.TaskFailed", described)], listTrainingJobsForHyperParameterTuningJob=[listing]
    )
    assert failed.cause.startswith("TuneHyperparameters failed (tuning job whippet-261122160000-")
    assert ": no capacity. Log:" in failed.cause


@pytest.mark.parametrize("best", [{}, {"BestTrainingJob": {}}])
def test_a_tuning_job_without_a_best_training_job_is_a_failure(best: dict[str, Any]) -> None:
    failed = run(createHyperParameterTuningJob=[{"HyperParameterTuningJobName": "whippet-1", **best}])
    assert failed.error == "TuneHyperparameters.NoBestTrainingJob"
    assert "TrainModel" not in failed.visited
    assert "none of its training jobs printed the objective" in failed.cause


@pytest.mark.parametrize(("state", "action"), [
    ("PrepareDataset", "createProcessingJob"),
    ("TuneHyperparameters", "createHyperParameterTuningJob"),
    ("TrainModel", "createTrainingJob"),
])  # fmt: skip
def test_a_job_that_takes_too_long_is_stopped_with_all_else(state: str, action: str) -> None:
    failed = run(**{action: [TaskError("States.Timeout")]})
    assert failed.error == f"{state}.Timeout"
    (cleaned,) = called(failed, "CleanUp")
    assert set(cleaned) == {"execution_arn", "start_time", "reason"}
    assert cleaned["reason"].startswith(f"{state} failed")


def test_a_processing_job_that_refuses_its_photos_is_quoted() -> None:
    described = {
        "ProcessingJobStatus": "Failed",
        "FailureReason": "AlgorithmError: See job logs for more information",
        "ExitMessage": "12 of 20 files are no photos.",
    }
    failed = run(createProcessingJob=[TaskError("States.TaskFailed", json.dumps(described))])
    (request,) = asked_for(failed, "createProcessingJob.sync")
    name = request["ProcessingJobName"]
    assert failed.cause == (
        f"PrepareDataset failed (processing job {name}): 12 of 20 files are no photos. "
        f"Log: CloudWatch log group /aws/sagemaker/ProcessingJobs, log streams {name}*."
    )
    assert asked_for(failed, "createHyperParameterTuningJob.sync") == []


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"FailureReason": "AlgorithmError: out of memory"}, "AlgorithmError: out of memory. Log:"),
        ({}, "it ended as Stopped, by its time limit or by a user. Log:"),
    ],
)
def test_a_processing_job_without_a_message_still_gives_a_reason(described: dict[str, str], reason: str) -> None:
    cause = json.dumps({"ProcessingJobStatus": "Stopped", **described})
    assert reason in run(createProcessingJob=[TaskError("States.TaskFailed", cause)]).cause


def test_a_retried_request_has_a_new_name() -> None:
    throttled = [TaskError("SageMaker.AmazonSageMakerException", "Rate exceeded") for _ in range(2)]
    names = [each["TrainingJobName"] for each in asked_for(run(createTrainingJob=throttled), "createTrainingJob.sync")]
    assert len(set(names)) == 3


def test_a_redriven_execution_uses_no_name_twice() -> None:
    """Redriven, the same execution goes through the same states again, and a state may keep the time of its first entry."""
    ways = [Execution(MACHINE, FakeSageMaker(), {}, redrives=redrives).run() for redrives in range(2)]
    first, second = ({name for _, asked in way.requests for name in new_names(asked)} for way in ways)
    assert len(first) == len(second) == 5
    assert first & second == set()


@pytest.mark.parametrize("redrives", [0, 1])
def test_no_two_jobs_write_the_same_data_set(redrives: int) -> None:
    """Neither a second try, nor a redriven execution, whose first job may still be uploading."""
    throttled = [TaskError("SageMaker.AmazonSageMakerException", "Rate exceeded")]
    tries = [Execution(MACHINE, FakeSageMaker(createProcessingJob=[*throttled]), {}, redrives=each).run() for each in {0, redrives}]
    jobs = [job for each in tries for job in asked_for(each, "createProcessingJob.sync")]
    assert len({job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] for job in jobs}) == len(jobs) == 2 * len(tries)


def test_every_failure_stops_what_runs_tells_and_ends() -> None:
    failed = run(createTrainingJob=[BROKEN])
    assert failed.visited[-6:] == ["IsMachineMissing", "CleanUp", "IsAnythingSpent", "PublishFailure", "NotifyFailed", "ExecutionFailed"]
    (told,) = asked_for(failed, "publish")
    assert told["Subject"] == "whippet: an execution failed in TrainModel"
    assert told["Message"].startswith(failed.cause)
    assert told["Message"].splitlines()[1].startswith("Execution: arn:aws:states:")


def test_a_failed_execution_is_billed_after_all_is_stopped() -> None:
    failed = run(createTrainingJob=[BROKEN])
    (billed,) = called(failed, "PublishReport")
    assert (billed["run"], billed["plan"]["cost"]["currency"]) == (failed.variables["plan"]["run"], "USD")
    assert billed["outcome"] == {"run": billed["run"], "deployed": False, "error": failed.error, "reason": failed.cause}
    (told,) = asked_for(failed, "publish")
    assert told["Message"].endswith("\nIts jobs have cost 0.31 USD so far; run whippet cost for details.")


@pytest.mark.parametrize("answer", [TaskError("ClientError", "no"), {"Payload": {"bill": {"total_usd": 0}, "uri": "s3://b/k"}}])
def test_a_bill_that_nobody_could_make_or_of_nothing_is_not_told(answer: Any) -> None:
    failed = run(createTrainingJob=[BROKEN], publishReport=[answer] * 4)
    assert failed.cause == run(createTrainingJob=[BROKEN]).cause
    assert asked_for(failed, "publish")[0]["Message"].splitlines()[-1].startswith("Started: ")


def test_before_there_is_a_plan_nothing_is_billed() -> None:
    failed = run(prepareExecution=[TaskError("NoUsableData", "no photos")])
    assert called(failed, "PublishReport") == []
    assert "USD" not in asked_for(failed, "publish")[0]["Message"]


def test_what_could_not_be_stopped_is_told() -> None:
    left = {"Payload": {"stopped": [], "deleted": [], "left": ["training job a still runs and could not be stopped: no", "b too"]}}
    failed = run(createTrainingJob=[BROKEN], cleanUp=[left])
    assert "out of memory; training job a still runs and could not be stopped: no; b too. Log:" in failed.cause


@pytest.mark.parametrize(
    "script", [{"cleanUp": [TaskError("ClientError", "no")] * 4}, {"publish": [TaskError("SNS.SnsException", "no")] * 4}]
)
def test_a_failure_after_the_failure_hides_nothing(script: dict[str, Any]) -> None:
    failed = run(createTrainingJob=[BROKEN], **script)
    assert failed.error == "TrainModel.TaskFailed"
    assert "AlgorithmError: out of memory" in failed.cause
    assert ("could not be listed (no): stop them by hand" in failed.cause) is ("cleanUp" in script)


def test_a_context_that_counts_no_redrives_keeps_no_failure_from_being_dealt_with() -> None:
    class Uncounted(Execution):
        def context(self, name: str) -> dict[str, Any]:
            context = super().context(name)
            return {**context, "Execution": {key: each for key, each in context["Execution"].items() if key != "RedriveCount"}}

    failed = Uncounted(MACHINE, FakeSageMaker(createTrainingJob=[BROKEN]), {}).run()
    assert (failed.error, failed.variables["failure"]["redrives"]) == ("TrainModel.TaskFailed", 0)
    assert called(failed, "CleanUp")


def test_a_failure_that_cannot_be_said_by_a_token_is_said_by_a_fail_state() -> None:
    refused = TaskError("Sfn.InvalidTokenException", "Invalid token")
    failed = run(createTrainingJob=[BROKEN], sendTaskFailure=[refused])
    assert failed.visited[-1] == "FailedForGood"
    assert (failed.error, failed.cause) == (run(createTrainingJob=[BROKEN]).error, run(createTrainingJob=[BROKEN]).cause)
    assert failed.redrive().visited[-1] == "FailedForGood", "a Fail state fails again"


def failing(state: str) -> dict[str, Any]:
    """A script by which an execution fails in that state, once."""
    refused = TaskError("SageMaker.SageMakerException", "no such role")
    broken = TaskError("States.TaskFailed", "{}")
    return {
        "PrepareExecution": {"prepareExecution": [TaskError("NoUsableData", "no photos")]},
        "PrepareDataset": {"createProcessingJob": [broken]},
        "TuneHyperparameters": {"createHyperParameterTuningJob": [broken]},
        "TrainModel": {"createTrainingJob": [broken]},
        "AssessModel": {"assessModel": [TaskError("ClientError", "no")]},
        "RegisterModel": {"createModelPackage": [refused] * 4},
        "CreateModel": {"createModel": [refused] * 4},
        "CreateEndpointConfig": {"createEndpointConfig": [refused] * 4},
        "UpdateEndpoint": {"updateEndpoint": [refused] * 4},
        "VerifyEndpoint": {"verifyEndpoint": [TaskError("ClientError", "no")]},
        "RecordDeployment": {"updateModelPackage": [refused] * 11},
    }[state]


RESUMED = {
    "TrainModel": "IsDebuggerManaged",
    "CreateEndpointConfig": "CreateModel",
    "UpdateEndpoint": "CreateModel",
    "VerifyEndpoint": "CreateModel",
    "RecordDeployment": "CreateModel",
}


@pytest.mark.parametrize(
    "state",
    [
        *["PrepareExecution", "PrepareDataset", "TuneHyperparameters", "TrainModel", "AssessModel", "RegisterModel"],
        *["CreateModel", "CreateEndpointConfig", "UpdateEndpoint", "VerifyEndpoint", "RecordDeployment"],
    ],
)
def test_a_redrive_goes_on_where_the_execution_failed(state: str) -> None:
    """With all that was done before, under new names, and to the same end."""
    failed = run(**failing(state))
    assert failed.error
    before = len(failed.visited)
    names = {name for _, asked in failed.requests for name in new_names(asked)}
    sent = len(failed.requests)
    done = failed.redrive()
    again = done.visited[before:]
    assert again[:4] == ["ExecutionFailed", "ResumeExecution", "WhereToResume", RESUMED.get(state, state)]
    assert (done.error, done.output["deployed"]) == ("", True)
    assert names & {name for _, asked in done.requests[sent:] for name in new_names(asked)} == set()


def test_an_execution_can_be_redriven_more_than_once() -> None:
    execution = run(createTrainingJob=[BROKEN, BROKEN, BROKEN])
    for redrives in range(1, 3):
        assert "out of memory" in execution.redrive().cause
        assert execution.visited.count("ResumeExecution") == redrives
    assert execution.redrive().error == ""


def test_a_redrive_after_a_failed_update_brings_the_endpoint_on() -> None:
    """What is known of the endpoint from the first time is forgotten."""
    failed = run(describeEndpoint=[status("InService"), status("Updating"), status("InService")])
    assert "was rolled back to whippet-an-older-one" in failed.cause
    done = failed.redrive()
    assert done.error == ""
    assert [each["EndpointConfigName"] for each in asked_for(done, "updateEndpoint")][-1] == done.output["endpoint_config"]


def test_a_redrive_of_an_execution_whose_first_endpoint_failed_creates_it_again() -> None:
    failed = run(describeEndpoint=[ABSENT, status("Failed", FailureReason="no memory")])
    failed.task.script["describeEndpoint"] = [ABSENT]  # type: ignore[attr-defined]
    assert failed.redrive().error == ""
    assert len(asked_for(failed, "createEndpoint")) == 2
