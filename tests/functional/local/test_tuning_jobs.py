"""Tuning jobs, run for real: several training jobs at a time, the best one found."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.local.running import Local, training_fields, wait_until

EPOCHS = """
import argparse, pathlib, signal, os, sys, time
arguments = argparse.ArgumentParser()
for name in ("--lr", "--batch_size", "--fixed", "--epochs"):
    arguments.add_argument(name)
given = arguments.parse_args()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for epoch in range(1, int(given.epochs) + 1):
    pathlib.Path(os.environ["SM_MODEL_DIR"], "epoch").write_text(str(epoch))
    print(f"[metric] objective:valid_loss={float(given.lr) + 1 / epoch}", flush=True)
    time.sleep(0.4)
"""
SCORES = """
import argparse, os, pathlib, time
arguments = argparse.ArgumentParser()
arguments.add_argument("--lr", type=float)
arguments.add_argument("--batch_size", type=int)
arguments.add_argument("--fixed")
given = arguments.parse_args()
began = time.time()
time.sleep(1)
print(f"[metric] objective:valid_loss={given.lr * given.batch_size}")
print(f"threads {os.environ['OMP_NUM_THREADS']} fixed {given.fixed}")
"""
RANGES = {
    "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}],
    "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["16", "32"]}],
}


def tuning_request(local: Local, name: str, program: str, jobs: int = 3, **config: Any) -> dict[str, Any]:
    static = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
        "fixed": "stays",
    }
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "objective:valid_loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": min(2, jobs)},
            "ParameterRanges": RANGES,
            **config,
        },
        "TrainingJobDefinition": {**training_fields(local.bucket, program), "StaticHyperParameters": static},
    }


def tune(local: Local, request: dict[str, Any]) -> dict[str, Any]:
    sagemaker = local.client("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(**request)
    name = request["HyperParameterTuningJobName"]
    tuning: dict[str, Any] = wait_until(
        lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        lambda job: job["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped"),
        120,
    )
    return tuning


def test_a_tuning_job_trains_in_parallel_and_finds_the_best(local: Local) -> None:
    tuning = tune(local, tuning_request(local, "tunes", local.put_program("tunes", SCORES), RandomSeed=7))

    assert tuning["HyperParameterTuningJobStatus"] == "Completed", tuning.get("FailureReason")
    assert tuning["TrainingJobStatusCounters"] == {
        "Completed": 3,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert tuning["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    sagemaker = local.client("sagemaker")
    jobs = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tunes", SortBy="FinalObjectiveMetricValue", SortOrder="Ascending"
    )["TrainingJobSummaries"]
    assert jobs[0] == tuning["BestTrainingJob"]
    assert all(re.fullmatch(r"tunes-00[123]-[0-9a-f]{8}", job["TrainingJobName"]) for job in jobs)
    for job in jobs:
        tuned = job["TunedHyperParameters"]
        assert job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(float(tuned["lr"]) * int(tuned["batch_size"]))
        assert 0.001 <= float(tuned["lr"]) <= 0.1 and tuned["batch_size"] in ("16", "32")
    ordered = sorted(jobs, key=lambda job: job["TrainingStartTime"])
    assert ordered[1]["TrainingStartTime"] < ordered[0]["TrainingEndTime"], "the first two jobs did not overlap"
    described = sagemaker.describe_training_job(TrainingJobName=jobs[0]["TrainingJobName"])
    assert described["HyperParameters"]["_tuning_objective_metric"] == "objective:valid_loss"
    assert described["HyperParameters"]["fixed"] == "stays"
    assert described["TuningJobArn"] == tuning["HyperParameterTuningJobArn"]
    assert any("fixed stays" in line for line in local.log_lines("/aws/sagemaker/TrainingJobs", "tunes-001"))


def test_hyperband_and_a_warm_start_through_the_service(local: Local) -> None:
    """Jobs that are not among the best third are stopped while they train, with their artefacts; a child knows what its parent found."""
    program = local.put_program("epochs", EPOCHS)
    request = tuning_request(local, "hyper", program, jobs=6, Strategy="Hyperband", RandomSeed=1)
    request["TrainingJobDefinition"]["StaticHyperParameters"]["epochs"] = "9"
    parent = tune(local, request)
    assert parent["HyperParameterTuningJobStatus"] == "Completed", parent.get("FailureReason")
    stopped = parent["TrainingJobStatusCounters"]["Stopped"]
    assert stopped >= 1 and parent["TrainingJobStatusCounters"]["Completed"] == 6 - stopped
    assert parent["ObjectiveStatusCounters"]["Succeeded"] == 6 and "TuningJobCompletionDetails" in parent
    sagemaker = local.client("sagemaker")
    jobs = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName="hyper", StatusEquals="Stopped")
    early = sagemaker.describe_training_job(TrainingJobName=jobs["TrainingJobSummaries"][0]["TrainingJobName"])
    assert local.keys(early["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{local.bucket}/"))

    request = tuning_request(local, "warm", program, jobs=1, RandomSeed=1)
    request["TrainingJobDefinition"]["StaticHyperParameters"]["epochs"] = "1"
    start = {"WarmStartType": "IdenticalDataAndAlgorithm", "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "hyper"}]}
    child = tune(local, {**request, "WarmStartConfig": start})
    assert child["OverallBestTrainingJob"]["TuningJobName"] == "hyper"
    assert child["OverallBestTrainingJob"]["TrainingJobName"] == parent["BestTrainingJob"]["TrainingJobName"]
    assert child["WarmStartConfig"] == start


def test_all_jobs_failed_is_a_failure_with_the_sentence_of_aws(local: Local) -> None:
    tuning = tune(local, tuning_request(local, "all-fail", "s3://no-such-bucket-at-all/x", jobs=2))
    assert tuning["HyperParameterTuningJobStatus"] == "Failed"
    assert tuning["FailureReason"] == "All training jobs failed. Please take a look at the training jobs failures to get more details."
    assert tuning["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert "BestTrainingJob" not in tuning


def test_nan_is_never_the_best_and_no_objective_at_all_is_a_failure(local: Local) -> None:
    source = "print('[metric] objective:valid_loss=nan')"
    tuning = tune(local, tuning_request(local, "nan-only", local.put_program("nan-only", source), jobs=1))
    assert tuning["HyperParameterTuningJobStatus"] == "Failed"
    assert tuning["FailureReason"].startswith("No objective metrics found after running 1 training jobs.")
    assert tuning["ObjectiveStatusCounters"]["Failed"] == 1
    (job,) = local.client("sagemaker").list_training_jobs(NameContains="nan-only")["TrainingJobSummaries"]
    described = local.client("sagemaker").describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert described["TrainingJobStatus"] == "Completed" and "FinalMetricDataList" not in described


def test_stopping_a_tuning_job_stops_its_training_jobs(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(local, "stops", local.put_program("stops", "import time\ntime.sleep(600)"))
    )

    def describe() -> Any:
        return sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="stops")

    wait_until(describe, lambda job: job["TrainingJobStatusCounters"]["InProgress"] == 2, 30)
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stops")
    job = wait_until(describe, lambda job: job["HyperParameterTuningJobStatus"] == "Stopped", 60)
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2
    assert local.mode.status().jobs == 0


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"Strategy": "Hyperband"}, "HyperbandStrategyConfig.MaxResource is missing"),
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "TrainingJobEarlyStoppingType must be Off"),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}}}, "is only for the Strategy Hyperband"),
        ({"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "other"}}, "is not one of the defined metrics"),
        (
            {"ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.1", "MaxValue": "0.001"}]}},
            "MinValue must be smaller",
        ),
        ({"ParameterRanges": {"CategoricalParameterRanges": [{"Name": "fixed", "Values": ["a"]}]}}, "both in StaticHyperParameters"),
        ({"ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 2}}, "must not be above MaxNumberOfTrainingJobs"),
    ],
)
def test_a_tuning_request_is_refused_with_the_field_named(local: Local, config: dict[str, Any], named: str) -> None:
    with pytest.raises(ClientError) as caught:
        local.client("sagemaker").create_hyper_parameter_tuning_job(**tuning_request(local, "refused", "s3://b/p", **config))
    assert named in caught.value.response["Error"]["Message"]
