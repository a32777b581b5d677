"""Tuning jobs that start from earlier ones: what they take over, and what SageMaker asks of their parents."""

from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError
from tests.fixtures.local.running import IMAGE, wait_until
from tests.fixtures.local.tuning import Tuning, running

LR = {"Name": "lr", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"}
RANGES = {"ContinuousParameterRanges": [LR]}
DISTANCE = "import math; tell(abs(math.log10(float(given['lr'])) + 2))"
STATIC = {"StaticHyperParameters": {"epochs": "5", "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz"}}


def warm(*parents: str, kind: str = "IdenticalDataAndAlgorithm") -> dict[str, Any]:
    named = [{"HyperParameterTuningJobName": parent} for parent in parents]
    return {"WarmStartConfig": {"ParentHyperParameterTuningJobs": named, "WarmStartType": kind}}


def search(tuning: Tuning, name: str, more: Any = None, jobs: int = 6, definition: Any = STATIC, **config: Any) -> dict[str, Any]:
    fields = {"Strategy": "Bayesian", "ParameterRanges": RANGES, "RandomSeed": 3, **config}
    return tuning.tune(name, jobs=jobs, more=more, definition=definition, **fields)


def tried(tuning: Tuning, name: str) -> list[float]:
    return [float(each["TunedHyperParameters"]["lr"]) for each in tuning.summaries(name)]


def test_a_child_goes_on_where_its_parents_ended(tmp_path: Path) -> None:
    with running(tmp_path, DISTANCE) as tuning:
        search(tuning, "parent", jobs=12)
        child = search(tuning, "child", warm("parent"))
        assert child["HyperParameterTuningJobStatus"] == "Completed"
        assert not set(tried(tuning, "child")) & set(tried(tuning, "parent")), "the same seed does not try the same again"
        cold = search(tuning, "cold")
        distance = [
            sum(each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for each in tuning.summaries(name))
            for name in ("child", "cold")
        ]
        assert distance[0] < distance[1] and cold["HyperParameterTuningJobStatus"] == "Completed"
        search(tuning, "again", warm("parent"))
        assert tried(tuning, "again") == tried(tuning, "child"), "one seed and the same parents give the same search"


def test_random_search_goes_on_with_other_numbers(tmp_path: Path) -> None:
    with running(tmp_path, DISTANCE) as tuning:
        search(tuning, "parent", Strategy="Random")
        search(tuning, "child", warm("parent"), Strategy="Random")
        assert len({*tried(tuning, "parent"), *tried(tuning, "child")}) == 12


@pytest.mark.parametrize("kind", ["IdenticalDataAndAlgorithm", "TransferLearning"])
def test_the_overall_best_is_told_where_data_and_algorithm_are_identical(tmp_path: Path, kind: str) -> None:
    with running(tmp_path, "tell(float(given['lr']))") as tuning:
        low = {"ParameterRanges": {"ContinuousParameterRanges": [{**LR, "MinValue": "0.0001", "MaxValue": "0.0002"}]}}
        first = search(tuning, "first", jobs=2, **low)
        search(tuning, "second", jobs=2)
        high = {"ParameterRanges": {"ContinuousParameterRanges": [{**LR, "MinValue": "0.5"}]}}
        child = search(tuning, "child", warm("first", "second", kind=kind), jobs=2, **high)
        assert child["BestTrainingJob"]["TrainingJobName"].startswith("child-")
        if kind == "TransferLearning":
            assert "OverallBestTrainingJob" not in child
        else:
            assert child["OverallBestTrainingJob"] == {**first["BestTrainingJob"], "TuningJobName": "first"}


def test_the_child_itself_may_be_the_overall_best(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0 if 'parent' in os.environ['TRAINING_JOB_NAME'] else 0.5)") as tuning:
        search(tuning, "parent", jobs=1)
        child = search(tuning, "child", warm("parent"), jobs=1)
        assert child["OverallBestTrainingJob"] == {**child["BestTrainingJob"], "TuningJobName": "child"}


def test_what_was_static_may_be_tuned_and_the_other_way_round(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)") as tuning:
        search(tuning, "parent", jobs=2)
        static = {"StaticHyperParameters": {**STATIC["StaticHyperParameters"], "lr": "0.1"}}
        del static["StaticHyperParameters"]["epochs"]
        ranges = {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "9"}]}
        child = search(tuning, "child", warm("parent"), jobs=2, definition=static, ParameterRanges=ranges)
        assert child["HyperParameterTuningJobStatus"] == "Completed"


def channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


SPECIFICATION = {
    "TrainingImage": f"{IMAGE}-of-another-version",
    "TrainingInputMode": "File",
    "MetricDefinitions": [{"Name": name, "Regex": r"=(\S+)"} for name in ("objective:valid_loss", "other")],
}
IDENTICAL, TRANSFER = warm("parent"), warm("parent", kind="TransferLearning")


@pytest.mark.parametrize(
    ("more", "config", "definition", "told"),
    [
        (warm("nobody"), {}, {}, "the parent tuning job 'nobody' does not exist"),
        (warm("parent", "parent"), {}, {}, "names the parent tuning job 'parent' twice"),
        (IDENTICAL, {"Strategy": "Hyperband"}, {}, "for the strategies Bayesian and Random, got 'Hyperband'"),
        (
            TRANSFER,
            {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "other"}},
            {"AlgorithmSpecification": SPECIFICATION},
            "the objective must be the same as in the parent tuning job parent: Minimize other is not Minimize objective:valid_loss",
        ),
        (TRANSFER, {}, {"StaticHyperParameters": {"epochs": "5"}}, "static HyperParameter names is not the same across current and parent"),
        (
            TRANSFER,
            {"ParameterRanges": {"IntegerParameterRanges": [{"Name": "lr", "MinValue": "1", "MaxValue": "2"}]}},
            {},
            "'lr' is integer, but continuous in the parent tuning job parent",
        ),
        (TRANSFER, {}, {"Environment": {"A": "1"}}, "Only the following fields in TrainingJobDefinition are allowed to change"),
        (IDENTICAL, {}, {"AlgorithmSpecification": SPECIFICATION}, "use TransferLearning where the algorithm has changed"),
        (IDENTICAL, {}, {"InputDataConfig": [channel("photos", "s3://b/new")]}, "use TransferLearning where the data has changed"),
        (TRANSFER, {"ResourceLimits": {"MaxNumberOfTrainingJobs": 750, "MaxParallelTrainingJobs": 1}}, {}, "beside the 1 of its parents"),
    ],
)
def test_what_sagemaker_asks_of_parents(tmp_path: Path, more: Any, config: dict[str, Any], definition: dict[str, Any], told: str) -> None:
    with running(tmp_path, "tell(1.0)") as tuning:
        search(tuning, "parent", jobs=1)
        with pytest.raises(ServiceError, match=told):
            search(tuning, "child", more, definition={**STATIC, **definition}, **config)


def test_transfer_learning_takes_other_data_and_another_image_and_identical_data_a_newer_program(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)") as tuning:
        search(tuning, "parent", jobs=1)
        changed = {**STATIC, "AlgorithmSpecification": SPECIFICATION, "OutputDataConfig": {"S3OutputPath": "s3://b/elsewhere"}}
        assert search(tuning, "transfer", TRANSFER, jobs=1, definition=changed)["HyperParameterTuningJobStatus"] == "Completed"
        tuning.tools.s3.objects["code/sourcedir.tar.gz"] = b""
        newer = {**STATIC, "InputDataConfig": [channel("code", "s3://b/code")]}
        assert search(tuning, "identical", IDENTICAL, jobs=1, definition=newer)["HyperParameterTuningJobStatus"] == "Completed"


def test_a_parent_that_runs_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, "time.sleep(600)") as tuning:
        tuning.start("parent", jobs=1, definition=STATIC, Strategy="Random", ParameterRanges=RANGES)
        wait_until(lambda: tuning.summaries("parent"), lambda jobs: len(jobs) == 1, 20)
        with pytest.raises(
            ServiceError, match="the parent tuning job parent is InProgress; a parent has to be Completed, Failed or Stopped"
        ):
            search(tuning, "child", IDENTICAL)


@pytest.mark.parametrize(("changed", "allowed"), [(5, True), (6, False)])
def test_ten_changes_of_static_hyperparameters_are_allowed_two_for_each_value(tmp_path: Path, changed: int, allowed: bool) -> None:
    def static(values: dict[str, str]) -> dict[str, Any]:
        return {"StaticHyperParameters": {f"h{number}": values.get(f"h{number}", "red") for number in range(8)}}

    with running(tmp_path, "tell(1.0)") as tuning:
        search(tuning, "parent", jobs=1, definition=static({}))
        now = static({f"h{number}": "blue" for number in range(changed)})
        if allowed:
            assert search(tuning, "child", TRANSFER, jobs=1, definition=now)["HyperParameterTuningJobStatus"] == "Completed"
        else:
            with pytest.raises(ServiceError, match="12 changes against the static hyperparameters of the parent tuning job parent"):
                search(tuning, "child", TRANSFER, jobs=1, definition=now)
