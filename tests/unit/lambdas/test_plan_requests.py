"""The parts of the plan that are merged into requests: what they say, and that SageMaker's own model of its API takes them."""

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from lambdas.planning.endpoint import route_traffic
from lambdas.planning.photos import Photos
from lambdas.planning.plan import Plan, Prepared, plan
from lambdas.planning.settings import Settings
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput

MODEL = botocore.session.get_session().get_service_model("sagemaker")
SETTINGS = Settings("bucket", "whippet", "0a1b", "training-cpu", "training-gpu", "serving-cpu", "serving-gpu", "us-east-1")
FOUND = Photos("s3://bucket/data/", {}, 0, files=1000, bytes=10**8)
START = datetime(2026, 11, 22, 16, tzinfo=UTC)


def planned(asked: dict[str, Any]) -> Plan:
    return plan(ExecutionInput.parse(asked), SETTINGS, FOUND, Prepared("prepared-data-sets/0/", ""), "arn:1", START)


def problems(shape: str, value: Any) -> str:
    return str(ParamValidator().validate(value, MODEL.shape_for(shape)).generate_report())


def tuned(**tuning: Any) -> dict[str, Any]:
    return planned({"tuning": tuning}).tuning.config


EVERY_SEARCH: list[dict[str, Any]] = [
    {},
    {"strategy": "Random"},
    {"strategy": "Grid", "lr": [0.00001, 0.1]},
    {"strategy": "Hyperband", "epochs": 9},
    {"early_stopping": True},
    {"completion": {"target_loss": 0.25, "no_improvement_jobs": 3, "converged": True}},
]


@pytest.mark.parametrize("tuning", EVERY_SEARCH)
def test_the_service_takes_every_search(tuning: dict[str, Any]) -> None:
    assert problems("HyperParameterTuningJobConfig", tuned(**tuning)) == ""


def test_a_grid_only_chooses_and_has_a_job_for_each_combination() -> None:
    made = tuned(strategy="Grid", lr=[0.1, 0.00001], batch_size=[32, 16])
    assert made["ParameterRanges"] == {
        "CategoricalParameterRanges": [{"Name": "lr", "Values": ["0.00001", "0.1"]}, {"Name": "batch_size", "Values": ["16", "32"]}]
    }
    assert made["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 3}


def test_hyperband_hands_out_epochs_and_nothing_else_does() -> None:
    assert tuned(strategy="Hyperband", epochs=9)["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    assert "StrategyConfig" not in tuned()


def test_a_search_ends_early_only_where_it_is_asked_to() -> None:
    assert "TuningJobCompletionCriteria" not in tuned()
    assert tuned(completion={"no_improvement_jobs": 4})["TuningJobCompletionCriteria"] == {
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 4}
    }
    assert tuned(early_stopping=True)["TrainingJobEarlyStoppingType"] == "Auto"


def test_a_search_may_begin_with_what_earlier_ones_of_the_project_found() -> None:
    assert planned({}).tuning.extra == {}
    extra = planned({"tuning": {"warm_start": ["whippet-1", "whippet-2"]}}).tuning.extra
    assert extra["WarmStartConfig"]["WarmStartType"] == "TransferLearning"
    assert problems("HyperParameterTuningJobWarmStartConfig", extra["WarmStartConfig"]) == ""
    with pytest.raises(InvalidExecutionInput, match="tuning jobs of this project, which begin with \"whippet-\", got 'poodle-1'"):
        planned({"tuning": {"warm_start": ["poodle-1"]}})


@pytest.mark.parametrize(
    ("update", "machines", "kind", "step"),
    [
        ("canary", 1, "ALL_AT_ONCE", None),
        ("linear", 1, "ALL_AT_ONCE", None),
        ("all_at_once", 9, "ALL_AT_ONCE", None),
        ("canary", 2, "CANARY", 1),
        ("canary", 30, "CANARY", 3),
        ("linear", 2, "LINEAR", 50),
        ("linear", 4, "LINEAR", 25),
    ],
)
def test_how_new_machines_take_over(update: str, machines: int, kind: str, step: int | None) -> None:
    made = route_traffic(update, machines)
    assert (made["Type"], (made.get("CanarySize") or made.get("LinearStepSize") or {"Value": None})["Value"]) == (kind, step)


@given(update=st.sampled_from(["canary", "linear", "all_at_once"]), machines=st.integers(1, 100))
def test_no_step_is_larger_or_smaller_than_the_service_takes(update: str, machines: int) -> None:
    made = planned({"deployment": {"update": update, "instance_count": machines}}).endpoint.deployment_config
    assert problems("DeploymentConfig", made) == ""
    routing = made["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    if "CanarySize" in routing:
        assert routing["CanarySize"]["Value"] <= machines / 2
    if "LinearStepSize" in routing:
        percent = routing["LinearStepSize"]["Value"]
        assert routing["LinearStepSize"]["Type"] == "CAPACITY_PERCENT"
        assert 10 <= percent <= 50
        assert machines * percent / 100 >= 1
        policy = made["BlueGreenUpdatePolicy"]
        waits = 100 / percent * routing["WaitIntervalInSeconds"]
        assert waits + policy["TerminationWaitInSeconds"] < policy["MaximumExecutionTimeoutInSeconds"]


def test_a_serverless_endpoint_has_no_machines_no_isolation_and_no_steps() -> None:
    made = planned({"deployment": {"kind": "serverless", "memory_mb": 3072, "max_concurrency": 7}})
    assert made.endpoint.variant == {"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 7}}
    assert (made.endpoint.deployment_kind, made.endpoint.network_isolation, made.endpoint.deployment_config) == ("serverless", False, {})
    assert made.endpoint.serving_image == "serving-cpu"
    named = {"VariantName": "AllTraffic", "ModelName": "a-model"}
    assert problems("ProductionVariant", {**named, **made.endpoint.variant}) == ""


def test_a_model_that_is_not_deployed_needs_no_variant() -> None:
    made = planned({"deployment": {"kind": "none"}})
    assert (made.endpoint.deployment_kind, made.endpoint.variant, made.endpoint.deployment_config) == ("none", {}, {})


def test_the_data_set_is_prepared_on_other_machines_of_its_own_kind() -> None:
    asked = {"instance_type": "ml.p3.2xlarge", "instance_fallbacks": ["ml.p4d.24xlarge", "ml.g5.xlarge"]}
    made = planned(asked)
    assert made.training.instance_types == ("ml.p3.2xlarge", "ml.p4d.24xlarge", "ml.g5.xlarge")
    assert made.prepare.instance_types == ("ml.p3.2xlarge", "ml.g5.xlarge"), "processing jobs have no p4d"
    other = planned({**asked, "prepare": {"instance_type": "ml.m5.xlarge"}})
    assert other.prepare.instance_types == ("ml.m5.xlarge",), "the others have another image"
    same = planned({**asked, "prepare": {"instance_type": "ml.g5.xlarge"}})
    assert same.prepare.instance_types == ("ml.g5.xlarge",)


def test_a_job_on_spare_machines_waits_longer_than_any_runs() -> None:
    made = planned({"spot": True, "budget_usd": 4})
    assert made.shared.max_wait_seconds > max(made.tuning.job_seconds, made.training.seconds)
