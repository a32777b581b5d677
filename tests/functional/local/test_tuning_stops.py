"""Training jobs that a tuning job stops while they run: early stopping, Hyperband, completion criteria."""

from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError
from tests.fixtures.local.tuning import running

EPOCHS = """
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
for epoch in range(1, int(given.get("epochs", "9")) + 1):
    tell(worst[number] / epoch)
    for _step in range(1000 if (number, epoch) in slow else 2):
        time.sleep(0.01)
        if stopped:
            pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "model", "best").write_text(str(epoch))
            sys.exit(0)
"""
"""Trains quickly, but for ten seconds in the (job, epoch) that are `slow`; told to stop it saves its best, as training/train.py does."""


def statuses(tuning: Any, name: str) -> list[str]:
    return [each["TrainingJobStatus"] for each in tuning.summaries(name)]


def test_auto_stops_jobs_worse_than_the_median_while_they_run(tmp_path: Path) -> None:
    program = f"worst = {{1: 2.0, 2: 1.0, 3: 4.0, 4: 0.5, 5: 8.0, 6: 0.1}}; slow = {{(3, 1), (5, 1)}}\n{EPOCHS}"
    with running(tmp_path, program) as tuning:
        ended = tuning.tune("median", jobs=6, Strategy="Random", TrainingJobEarlyStoppingType="Auto")
        assert ended["HyperParameterTuningJobStatus"] == "Completed"
        assert statuses(tuning, "median") == ["Completed", "Completed", "Stopped", "Completed", "Stopped", "Completed"]
        assert ended["TrainingJobStatusCounters"]["Stopped"] == 2 and ended["TrainingJobStatusCounters"]["Completed"] == 4
        assert ended["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
        third = tuning.summaries("median")[2]
        assert third["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 4.0, "its first epoch was its last"
        assert third["TrainingEndTime"] - third["TrainingStartTime"] < 9.0, "it was not waited for"
        described = tuning.training.describe(third["TrainingJobName"])
        assert described["SecondaryStatus"] == "Stopped" and described["ModelArtifacts"]["S3ModelArtifacts"].endswith("model.tar.gz")
        assert ended["BestTrainingJob"] == tuning.summaries("median")[5]


def test_off_stops_nothing(tmp_path: Path) -> None:
    program = f"worst = {{1: 1.0, 2: 9.0}}; slow = ()\n{EPOCHS}"
    with running(tmp_path, program) as tuning:
        tuning.tune("off", jobs=2, Strategy="Random", TrainingJobEarlyStoppingType="Off")
        assert statuses(tuning, "off") == ["Completed", "Completed"]


def static(epochs: str) -> dict[str, Any]:
    return {"StaticHyperParameters": {"epochs": epochs}}


def test_hyperband_stops_jobs_that_are_not_among_the_best_third(tmp_path: Path) -> None:
    worst = {1: 3.0, 2: 2.0, 3: 1.0, 4: 1.5, 5: 0.5, 6: 9.0}
    program = f"worst = {worst}; slow = {{(4, 1), (6, 1)}}\n{EPOCHS}"
    with running(tmp_path, program) as tuning:
        ended = tuning.tune("hyperband", jobs=6, Strategy="Hyperband", definition=static("9"))
        assert ended["HyperParameterTuningJobStatus"] == "Completed"
        assert statuses(tuning, "hyperband") == ["Completed"] * 3 + ["Stopped", "Completed", "Stopped"]
        stopped = [each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for each in tuning.summaries("hyperband")[3::2]]
        assert stopped == [1.5, 9.0], "both were stopped after MinResource, one epoch"
        assert ended["BestTrainingJob"] == tuning.summaries("hyperband")[4]


def test_hyperband_stops_a_job_at_its_most_epochs_and_it_may_be_the_best(tmp_path: Path) -> None:
    program = f"worst = {{1: 1.0}}; slow = {{(1, 2)}}\n{EPOCHS}"
    resources = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 2}}
    with running(tmp_path, program) as tuning:
        ended = tuning.tune("most", jobs=1, Strategy="Hyperband", StrategyConfig=resources, definition=static("50"))
        assert statuses(tuning, "most") == ["Stopped"] and ended["HyperParameterTuningJobStatus"] == "Completed"
        assert ended["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 0.5


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"Strategy": "Hyperband"}, "MaxResource is missing"),
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off with the Strategy Hyperband"),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}}}, "only for the Strategy Hyperband"),
        ({"ResourceLimits": {"MaxNumberOfTrainingJobs": 7, "MaxParallelTrainingJobs": 1}}, "must be 8, the number of combinations"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 101}}, "AWS's quota is 100 at a time"),
        (
            {"Strategy": "Random", "ResourceLimits": {"MaxNumberOfTrainingJobs": 751, "MaxParallelTrainingJobs": 1}},
            "would launch 751 training jobs; AWS's quota is 750",
        ),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    with running(tmp_path, "") as tuning:
        with pytest.raises(ServiceError, match=told):
            tuning.start("refused", **config)
        assert tuning.jobs.list_jobs({})["HyperParameterTuningJobSummaries"] == []


def test_a_grid_without_a_number_of_jobs_tries_every_combination_once(tmp_path: Path) -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["x", "y", "z"]}]}
    with running(tmp_path, "tell(number)") as tuning:
        ended = tuning.tune("grid", jobs=None, parallel=10, ParameterRanges=ranges)
        assert ended["TrainingJobStatusCounters"]["Completed"] == 6
        tried = {(each["TunedHyperParameters"]["a"], each["TunedHyperParameters"]["b"]) for each in tuning.summaries("grid")}
        assert tried == {(a, b) for a in "12" for b in "xyz"}


@pytest.mark.parametrize("objective", ["Minimize", "Maximize"])
def test_a_target_completes_the_tuning_job_and_stops_what_runs(tmp_path: Path, objective: str) -> None:
    sign = "" if objective == "Minimize" else "-"
    program = f"tell({sign}(10 - number))\nif number == 2: time.sleep(600)"
    with running(tmp_path, program) as tuning:
        ended = tuning.tune(
            "target", parallel=2,
            HyperParameterTuningJobObjective={"Type": objective, "MetricName": "objective:valid_loss"},
            TuningJobCompletionCriteria={"TargetObjectiveMetricValue": float(f"{sign}5")},
        )  # fmt: skip
        assert ended["HyperParameterTuningJobStatus"] == "Completed"
        assert statuses(tuning, "target")[:5] == ["Completed", "Stopped", "Completed", "Completed", "Completed"]
        assert ended["BestTrainingJob"] == tuning.summaries("target")[4]
        assert tuning.tools.processes.list_records("job-") == []


def test_jobs_that_do_not_improve_complete_the_tuning_job(tmp_path: Path) -> None:
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    with running(tmp_path, "tell({1: 2.0, 2: 1.0}.get(number, 1.5))") as tuning:
        ended = tuning.tune("patience", TuningJobCompletionCriteria=criteria)
        assert ended["HyperParameterTuningJobStatus"] == "Completed"
        assert ended["TrainingJobStatusCounters"]["Completed"] == 5
        assert ended["TuningJobCompletionDetails"] == {"NumberOfTrainingJobsObjectiveNotImproving": 3}


def test_convergence_completes_the_tuning_job_where_that_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)") as tuning:
        ended = tuning.tune("converges", TuningJobCompletionCriteria={"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}})
        assert ended["TrainingJobStatusCounters"]["Completed"] == 6
        at = ended["TuningJobCompletionDetails"]["ConvergenceDetectedTime"]
        assert at == tuning.summaries("converges")[5]["TrainingEndTime"]
        ended = tuning.tune("goes-on", TuningJobCompletionCriteria={"ConvergenceDetected": {"CompleteOnConvergence": "Disabled"}})
        assert ended["TrainingJobStatusCounters"]["Completed"] == 8
        assert ended["TuningJobCompletionDetails"]["ConvergenceDetectedTime"] < ended["HyperParameterTuningEndTime"]


def test_a_tuning_job_is_described_in_the_shapes_of_the_service(tmp_path: Path) -> None:
    """Its tags are its training jobs' too, and the time it consumed is its own."""
    with running(tmp_path, "tell(1.0)") as tuning:
        ended = tuning.tune("shapes", jobs=2, Strategy="Random", more={"Tags": [{"Key": "project", "Value": "whippet"}]})
        assert ended["ConsumedResources"]["RuntimeInSeconds"] == int(ended["HyperParameterTuningEndTime"] - ended["CreationTime"])
        arns = [each["TrainingJobArn"] for each in tuning.summaries("shapes")]
        tags = [tuning.jobs._tags.list_tags({"ResourceArn": arn})["Tags"] for arn in arns]
        assert tags == [[{"Key": "project", "Value": "whippet"}]] * 2
