"""CleanUp: all that an execution still runs is ended, nothing of another one is touched, and what could not be ended is said."""

from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from lambdas.aws.run_names import run_name
from lambdas.clean_up import clean_up
from tests.fixtures.lambdas.fake_services import OTHER_RUN, RUN
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker, fault

TUNING_JOB = "whippet-261122160000-000000aa"
OTHER_TUNING_JOB = "whippet-261122160000-000000bb"
DENIED = fault("AccessDeniedException", "you may not")


def busy_account() -> FakeSageMaker:
    """An execution in the middle of everything at once, and another that began in the same second."""
    sagemaker = FakeSageMaker()
    for run, tuning_job in ((RUN, TUNING_JOB), (OTHER_RUN, OTHER_TUNING_JOB)):
        sagemaker.process(f"{run}-prepare-00000001")
        sagemaker.tune(tuning_job, run)
        sagemaker.train(f"{tuning_job}-001-0123abcd")
        sagemaker.train(f"{run}-train-00000001", "Failed")
        sagemaker.train(f"{run}-train-00000002")
        sagemaker.version(run)
    return sagemaker


def test_everything_of_the_run_and_nothing_else_is_ended() -> None:
    sagemaker = busy_account()
    answer = clean_up(RUN, PROJECT, sagemaker)
    assert answer == {
        "stopped": [TUNING_JOB, f"{RUN}-train-00000002", f"{RUN}-prepare-00000001"],
        "deleted": [f"{RUN}-00001000", f"{RUN}-00000000"],
        "left": [],
    }
    assert not [call for call in sagemaker.calls if OTHER_RUN in call or OTHER_TUNING_JOB in call]


def test_a_second_time_there_is_nothing_to_do() -> None:
    sagemaker = busy_account()
    clean_up(RUN, PROJECT, sagemaker)
    assert clean_up(RUN, PROJECT, sagemaker) == {"stopped": [], "deleted": [], "left": []}


def test_an_execution_that_failed_before_it_made_anything_leaves_nothing() -> None:
    assert clean_up(RUN, PROJECT, FakeSageMaker()) == {"stopped": [], "deleted": [], "left": []}


def test_the_run_is_found_from_the_arn_and_the_start_alone() -> None:
    """The state machine gives the start as text, EventBridge as milliseconds, ListExecutions in the reader's own zone."""
    execution_arn = "arn:aws:states:eu-west-1:111122223333:execution:whippet:tuesday"
    text = datetime.fromisoformat("2026-11-22T16:00:00.123Z")
    milliseconds = datetime.fromtimestamp(1795363200123 / 1000, UTC)
    assert run_name(PROJECT, execution_arn, text) == run_name(PROJECT, execution_arn, milliseconds)
    assert run_name(PROJECT, execution_arn, text).startswith("whippet-261122160000-")


@pytest.mark.parametrize("status", ["InService", "Updating", "Creating", "RollingBack"])
def test_what_the_endpoint_serves_stays(status: str) -> None:
    sagemaker = busy_account()
    sagemaker.serve(f"{RUN}-00001000", status)
    answer = clean_up(RUN, PROJECT, sagemaker)
    assert (answer["deleted"], answer["left"]) == ([], [])


def test_what_the_endpoint_is_about_to_serve_stays() -> None:
    sagemaker = busy_account()
    sagemaker.serve(f"{OTHER_RUN}-00001000", "Updating", PendingDeploymentSummary={"EndpointConfigName": f"{RUN}-00001000"})
    assert clean_up(RUN, PROJECT, sagemaker)["deleted"] == []


def test_what_was_deployed_last_stays_although_its_endpoint_sleeps() -> None:
    sagemaker = busy_account()
    sagemaker.deploy(f"{RUN}-00001000")
    assert clean_up(RUN, PROJECT, sagemaker)["deleted"] == []


def test_a_job_that_ended_meanwhile_is_no_trouble() -> None:
    sagemaker = busy_account()

    def complete_first(request: dict[str, Any]) -> Any:
        sagemaker.jobs[request["TrainingJobName"]].end = 0
        return sagemaker.perform("stopTrainingJob", request)

    sagemaker.script["stopTrainingJob"] = repeat(complete_first)
    answer = clean_up(RUN, PROJECT, sagemaker)
    assert answer["left"] == []
    assert f"{RUN}-train-00000002" not in answer["stopped"]


def test_a_job_that_can_be_neither_stopped_nor_looked_for_keeps_no_other_one_running() -> None:
    sagemaker = busy_account()
    sagemaker.train(f"{RUN}-train-00000003")

    def deny_one(request: dict[str, Any]) -> Any:
        if request["TrainingJobName"].endswith("2"):
            sagemaker.refuse("list_training_jobs", DENIED)
            raise DENIED
        return sagemaker.perform("stopTrainingJob", request)

    sagemaker.script["stopTrainingJob"] = repeat(deny_one)
    answer = clean_up(RUN, PROJECT, sagemaker)
    assert f"{RUN}-train-00000003" in answer["stopped"]
    assert answer["left"] == [f"training job {RUN}-train-00000002 still runs and could not be stopped: you may not"]


def test_a_model_that_somebody_else_deleted_meanwhile_is_no_trouble() -> None:
    sagemaker = busy_account()
    sagemaker.refuse("delete_model", fault("ValidationException", 'Could not find model "arn:…".'))
    assert clean_up(RUN, PROJECT, sagemaker)["left"] == []


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        ("stop_hyper_parameter_tuning_job", f"tuning job {TUNING_JOB} still runs and could not be stopped: you may not"),
        ("stop_training_job", f"training job {RUN}-train-00000002 still runs and could not be stopped: you may not"),
        ("stop_processing_job", f"processing job {RUN}-prepare-00000001 still runs and could not be stopped: you may not"),
        ("delete_endpoint_config", f"endpoint config {RUN}-00001000 could not be deleted: you may not"),
        ("delete_model", f"model {RUN}-00000000 could not be deleted: you may not"),
        ("list_training_jobs", f"whether training jobs of {RUN} still run is not known: you may not"),
        ("list_tags", f"whether tuning jobs of {RUN} still run is not known: you may not"),
        ("list_models", f"which models {RUN} left is not known: you may not"),
    ],
)
def test_what_is_refused_is_said_and_the_rest_is_done(refused: str, sentence: str) -> None:
    sagemaker = busy_account()
    sagemaker.refuse(refused, DENIED)
    answer = clean_up(RUN, PROJECT, sagemaker)
    assert answer["left"] == [sentence]
    assert len(answer["stopped"]) + len(answer["deleted"]) == 4


@pytest.mark.parametrize("error", [DENIED, EndpointConnectionError(endpoint_url="https://sagemaker")])
@pytest.mark.parametrize("refused", ["describe_endpoint", "list_model_packages"])
def test_where_nobody_knows_what_is_served_no_model_is_deleted(refused: str, error: Any) -> None:
    sagemaker = busy_account()
    sagemaker.refuse(refused, error)
    sagemaker.deploy(f"{OTHER_RUN}-00001000")
    answer = clean_up(RUN, PROJECT, sagemaker)
    assert len(answer["stopped"]) == 3
    assert answer["deleted"] == []
    assert answer["left"][0].startswith(f"models and endpoint configs of {RUN} stay, since what is served is not known: ")
