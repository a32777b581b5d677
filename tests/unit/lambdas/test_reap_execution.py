"""ReapExecution: an execution that was stopped from outside leaves nothing that runs, and no model answering that nobody verified."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambdas.aws.executions import Execution
from lambdas.reap_execution import executions_of, reap
from lambdas.scale_endpoint import register, scalable_target
from tests.fixtures.lambdas.fake_services import NOW, FakeAutoscaling, FakeStepFunctions
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker, fault

START = datetime(2026, 11, 22, 16, tzinfo=UTC)
ABORTED = Execution("arn:aws:states:eu-west-1:111122223333:execution:whippet:tuesday", START, "ABORTED")
RUN = ABORTED.run(PROJECT)
OLD_RUN = "whippet-261101120000-0001"


class Account:
    """One execution that made a version and was aborted; the project's older version may answer or not."""

    def __init__(self) -> None:
        self.sagemaker, self.autoscaling = FakeSageMaker(), FakeAutoscaling()
        self.old = self.sagemaker.version(OLD_RUN)
        self.new = self.sagemaker.version(RUN)

    def reap(self) -> dict[str, list[str]]:
        return reap([ABORTED], PROJECT, FakeStepFunctions(), self.sagemaker, self.autoscaling)[RUN]


def test_jobs_models_and_configs_go() -> None:
    account = Account()
    account.sagemaker.train(f"{RUN}-train-00000001")
    answer = account.reap()
    assert answer["stopped"] == [f"{RUN}-train-00000001"]
    assert answer["deleted"] == [account.new, f"{RUN}-00000000"]


def test_an_endpoint_of_another_run_is_not_touched() -> None:
    account = Account()
    account.sagemaker.serve(account.old)
    account.reap()
    assert not [call for call in account.sagemaker.calls if "endpoint whippet" in call]


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_that_moves_is_waited_for_and_taken_away_the_next_time(status: str) -> None:
    account = Account()
    account.sagemaker.serve(account.new, status)
    answer = account.reap()
    sentence = f"the endpoint whippet is {status}, and SageMaker lets nobody change it before that is over; this is tried again within"
    assert answer["left"][0].startswith(sentence)
    assert account.sagemaker.endpoint is not None
    account.sagemaker.serve(account.new)
    assert account.reap()["deleted"] == [], "an endpoint that is being deleted still has its config"
    assert account.sagemaker.status == "Deleting"
    assert account.reap() == {"stopped": [], "deleted": [], "left": []}
    account.sagemaker.endpoint = None
    assert account.reap()["deleted"] == [account.new, f"{RUN}-00000000"]


def test_an_update_to_the_runs_config_is_waited_for_too() -> None:
    account = Account()
    account.sagemaker.serve(account.old, "Updating", PendingDeploymentSummary={"EndpointConfigName": account.new})
    answer = account.reap()
    assert answer["left"]
    assert answer["deleted"] == []


def test_a_model_that_nobody_verified_gives_way_to_the_one_deployed_last() -> None:
    account = Account()
    account.sagemaker.deploy(account.old)
    account.sagemaker.serve(account.new)
    register(account.autoscaling, PROJECT, 1, 2, 100)
    account.reap()
    described = account.sagemaker.describe_endpoint(EndpointName=PROJECT)
    assert described["PendingDeploymentSummary"] == {"EndpointConfigName": account.old}
    assert account.autoscaling.targets == {}, "SageMaker would refuse an update to another type of machine"
    assert account.new in account.sagemaker.configs, "it answers until the update is over"
    account.sagemaker.serve(account.old)
    assert account.reap()["deleted"] == [account.new, f"{RUN}-00000000"]


def test_an_endpoint_on_instances_that_was_serverless_before_is_deleted_so_that_a_request_brings_the_serverless_one_back() -> None:
    account = Account()
    account.sagemaker.deploy(account.old)
    account.sagemaker.configs[account.old]["ProductionVariants"][0]["ServerlessConfig"] = {"MemorySizeInMB": 4096, "MaxConcurrency": 5}
    account.sagemaker.serve(account.new)
    assert account.reap()["left"] == []
    assert account.sagemaker.status == "Deleting"


def test_where_the_one_deployed_last_has_no_config_any_more_the_endpoint_is_deleted() -> None:
    account = Account()
    account.sagemaker.deploy(account.old)
    account.sagemaker.serve(account.new)
    del account.sagemaker.configs[account.old]
    account.reap()
    assert account.sagemaker.status == "Deleting"


@pytest.mark.parametrize("status", ["Failed", "InService", "OutOfService"])
def test_the_first_endpoint_is_deleted_where_it_was_not_verified(status: str) -> None:
    account = Account()
    account.sagemaker.serve(account.new, status)
    account.reap()
    assert account.sagemaker.status == "Deleting"


def test_a_failed_endpoint_is_deleted_although_there_is_an_older_version() -> None:
    account = Account()
    account.sagemaker.deploy(account.old)
    account.sagemaker.serve(account.new, "Failed")
    account.reap()
    assert account.sagemaker.status == "Deleting"


def test_a_version_that_was_recorded_as_deployed_goes_on_answering() -> None:
    """The execution was stopped when all that mattered was done; a newer version was deployed since, and the older one restored by hand."""
    account = Account()
    account.sagemaker.deploy(account.new)
    account.sagemaker.deploy(account.old)
    account.sagemaker.serve(account.new)
    answer = account.reap()
    assert account.sagemaker.endpoint is not None
    assert (answer["deleted"], answer["left"]) == ([], [])


def test_a_refusal_is_said_and_the_jobs_are_ended_all_the_same() -> None:
    account = Account()
    account.sagemaker.train(f"{RUN}-train-00000001")
    account.sagemaker.serve(account.new)
    account.sagemaker.refuse("delete_endpoint", fault("AccessDeniedException", "you may not"))
    answer = account.reap()
    assert answer["stopped"] == [f"{RUN}-train-00000001"]
    assert f"the endpoint whippet may serve what {RUN} did not verify: you may not; this is tried again" in answer["left"][0]


def event(execution_arn: str, status: str = "ABORTED") -> dict[str, Any]:
    detail = {"executionArn": execution_arn, "status": status, "startDate": 1795363200123, "stopDate": 1795366800123}
    return {"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": detail}


def ended(stepfunctions: FakeStepFunctions, event: dict[str, Any]) -> list[str]:
    return [each.arn for each in executions_of(event, stepfunctions, FakeStepFunctions.MACHINE, lambda: NOW)]


def test_an_event_names_one_execution_and_its_run() -> None:
    stepfunctions = FakeStepFunctions()
    one = stepfunctions.execution("tuesday", "ABORTED", START, NOW)
    stepfunctions.execution("other", "ABORTED", START, NOW)
    (found,) = executions_of(event(one), stepfunctions, FakeStepFunctions.MACHINE, lambda: NOW)
    assert (found.arn, found.run(PROJECT), found.status) == (one, RUN, "ABORTED")


def test_an_execution_that_was_redriven_meanwhile_is_left_alone() -> None:
    account, stepfunctions = Account(), FakeStepFunctions()
    stepfunctions.execution("tuesday", "RUNNING", START)
    account.sagemaker.train(f"{RUN}-train-00000001")
    assert reap([ABORTED], PROJECT, stepfunctions, account.sagemaker, account.autoscaling) == {}
    assert account.sagemaker.calls == []


def test_an_execution_that_is_still_ended_is_reaped() -> None:
    account, stepfunctions = Account(), FakeStepFunctions()
    stepfunctions.execution("tuesday", "ABORTED", START, NOW)
    assert RUN in reap([ABORTED], PROJECT, stepfunctions, account.sagemaker, account.autoscaling)


@pytest.mark.parametrize("schedule", [{}, {"detail": {}}, {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}])
def test_the_schedule_looks_at_all_that_ended_badly_within_a_day(schedule: dict[str, Any]) -> None:
    stepfunctions, minute = FakeStepFunctions(), timedelta(minutes=1)
    wanted = [
        stepfunctions.execution(f"{status}-{number}", status, NOW - timedelta(days=9), NOW - timedelta(days=1) + minute)
        for status in ("FAILED", "TIMED_OUT", "ABORTED")
        for number in range(3)
    ]
    stepfunctions.execution("well", "SUCCEEDED", NOW - timedelta(days=9), NOW - minute)
    stepfunctions.execution("now", "RUNNING", NOW - timedelta(days=9))
    stepfunctions.execution("earlier", "FAILED", NOW - timedelta(days=9), NOW - timedelta(days=1) - minute)
    stepfunctions.execution("ancient", "FAILED", NOW - timedelta(days=31), NOW - minute)
    assert sorted(ended(stepfunctions, schedule)) == sorted(wanted)


def test_the_scalable_target_is_the_variant_of_the_requests() -> None:
    assert scalable_target(PROJECT)["ResourceId"] == "endpoint/whippet/variant/AllTraffic"
