"""Waking the endpoint from POST /predict: with what was served last, once, and never after everything was taken down."""

import json
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from lambdas.aws.endpoint_waking import Alarm
from lambdas.invoke_endpoint import predict
from tests.fixtures.lambdas.fake_runtime import FakeRuntime, request
from tests.fixtures.lambdas.fake_s3 import error
from tests.fixtures.lambdas.fake_services import OTHER_RUN, RUN
from tests.fixtures.sagemaker.account import PROJECT, arn
from tests.fixtures.sagemaker.client import FakeSageMaker, fault

ABSENT = error("ValidationError", 400)
TODAY = "the endpoint whippet is not in service: none is deployed yet, or it is being created; try again when an execution is done"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def asleep() -> FakeSageMaker:
    """Two versions were deployed, and the endpoint was stopped."""
    sagemaker = FakeSageMaker()
    for run in (OTHER_RUN, RUN):
        sagemaker.deploy(sagemaker.version(run))
    return sagemaker


def alarm(sagemaker: FakeSageMaker, clock: Clock | None = None) -> Alarm:
    return Alarm(sagemaker, PROJECT, PROJECT, clock or Clock())


def answered(waker: Alarm, answer: Any = ABSENT) -> tuple[int, str, str | None]:
    response = predict(request(), PROJECT, FakeRuntime(answer), waker.wake)
    return response["statusCode"], json.loads(response["body"]).get("error", ""), response["headers"].get("Retry-After")


def test_a_request_wakes_what_was_deployed_last() -> None:
    sagemaker = asleep()
    assert answered(alarm(sagemaker)) == (
        503,
        "the endpoint whippet was asleep and is being started; try again in five minutes",
        "300",
    )
    assert sagemaker.endpoint is not None
    assert sagemaker.endpoint.config == f"{RUN}-00001000"
    assert sagemaker.tags[arn("endpoint", PROJECT)] == {"project": PROJECT, "execution": RUN}


def test_an_endpoint_that_answers_is_not_looked_at() -> None:
    sagemaker = asleep()
    sagemaker.refuse("describe_endpoint", fault("AccessDeniedException", "nobody should ask"))
    assert answered(alarm(sagemaker), None)[0] == 200


def test_a_crowd_wakes_it_once() -> None:
    sagemaker, clock = asleep(), Clock()
    waker = alarm(sagemaker, clock)
    assert [answered(waker)[2] for _ in range(3)] == ["300", "300", "300"]
    clock.now += 16
    assert answered(waker) == (503, "the endpoint whippet is being started; try again in a minute", "60")
    assert sagemaker.calls == ["create_endpoint whippet"]


def test_another_worker_that_was_quicker_is_fine() -> None:
    sagemaker = asleep()
    sagemaker.refuse("create_endpoint", fault("ValidationException", 'Cannot create already existing endpoint "arn:…".'))
    assert answered(alarm(sagemaker)) == (503, "the endpoint whippet is being started; try again in a minute", "60")


@pytest.mark.parametrize(
    ("status", "sentence", "retry_after"),
    [
        ("Creating", "the endpoint whippet is being started; try again in a minute", "60"),
        ("Deleting", "the endpoint whippet is just being stopped; ask again in a minute to start it", "60"),
        ("Failed", "the endpoint whippet could not be started; it is tried again later", "300"),
        ("InService", "the endpoint whippet has just come back; try again in a moment", "30"),
        ("OutOfService", TODAY, "30"),
    ],
)
def test_an_endpoint_that_is_there_is_told_as_it_is(status: str, sentence: str, retry_after: str) -> None:
    sagemaker = asleep()
    sagemaker.serve(f"{RUN}-00001000", status)
    assert answered(alarm(sagemaker)) == (503, sentence, retry_after)
    assert sagemaker.calls == []


def test_nothing_wakes_where_nothing_was_ever_deployed() -> None:
    sagemaker = FakeSageMaker()
    sagemaker.registry.add("PendingManualApproval")
    assert answered(alarm(sagemaker)) == (503, TODAY, "30")


def test_nothing_wakes_after_everything_was_taken_down() -> None:
    """`whippet down` deletes the configs; the registry keeps the versions."""
    sagemaker = asleep()
    sagemaker.configs.clear()
    assert answered(alarm(sagemaker)) == (503, TODAY, "30")
    assert sagemaker.calls == []


def test_an_older_version_is_not_woken_in_the_newest_ones_place() -> None:
    sagemaker = asleep()
    del sagemaker.configs[f"{RUN}-00001000"]
    assert answered(alarm(sagemaker))[1] == TODAY


def test_where_there_is_no_machine_the_client_is_told_to_come_back() -> None:
    sagemaker = asleep()
    sagemaker.refuse("create_endpoint", fault("ResourceLimitExceeded", "The account-level service limit is 0 Instances"))
    status, sentence, retry_after = answered(alarm(sagemaker))
    assert (status, retry_after) == (503, "300")
    assert sentence == "the endpoint whippet is asleep, and there is no machine for it now; try again in five minutes"


@pytest.mark.parametrize("refused", ["create_endpoint", "describe_endpoint", "list_model_packages"])
def test_a_missing_permission_is_a_fault_of_the_deployment(refused: str) -> None:
    sagemaker = asleep()
    sagemaker.refuse(refused, fault("AccessDeniedException", "you may not"))
    with pytest.raises(Exception, match="you may not"):
        answered(alarm(sagemaker))


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (fault("ThrottlingException", "Rate exceeded"), "the endpoint is busy; try again in a moment"),
        (ReadTimeoutError(endpoint_url="https://secret"), TODAY),
    ],
)
def test_a_sagemaker_that_has_no_time_wakes_nothing_now(refusal: Any, sentence: str) -> None:
    sagemaker = asleep()
    sagemaker.refuse("describe_endpoint", refusal)
    assert answered(alarm(sagemaker)) == (503, sentence, "30")


def test_a_failed_look_is_not_remembered() -> None:
    sagemaker = asleep()
    waker = alarm(sagemaker)
    sagemaker.refuse("describe_endpoint", fault("ThrottlingException", "Rate exceeded"))
    answered(waker)
    sagemaker.script.clear()
    assert answered(waker)[2] == "300"
