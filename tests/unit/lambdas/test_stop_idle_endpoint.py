"""StopIdleEndpoint: an endpoint that nobody asks is deleted, and any doubt keeps it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from lambdas.stop_idle_endpoint import UnknownRequests, stop_idle
from tests.fixtures.lambdas.fake_services import NOW, OTHER_RUN, RUN
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker, fault, hold_against_model

IDLE = timedelta(hours=24)
LONG_AGO = NOW - timedelta(days=3)


class FakeCloudWatch:
    """The Invocations metric of the endpoint: a number for each period with requests, two a page."""

    def __init__(self, *counts: float, last: str = "Complete") -> None:
        self.counts, self.last = counts, last
        self.asked: dict[str, Any] = {}

    def get_paginator(self, operation: str) -> "FakeCloudWatch":
        assert operation == "get_metric_data"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        hold_against_model("cloudwatch", "get_metric_data", asked)
        self.asked = asked
        for start in range(0, max(1, len(self.counts)), 2):
            status = self.last if start + 2 >= len(self.counts) else "PartialData"
            yield {"MetricDataResults": [{"Id": "invocations", "StatusCode": status, "Values": list(self.counts[start : start + 2])}]}


def serving(status: str = "InService", changed: datetime = LONG_AGO, **more: Any) -> FakeSageMaker:
    sagemaker = FakeSageMaker()
    config = sagemaker.version(RUN)
    sagemaker.deploy(config)
    sagemaker.serve(config, status, changed, **more)
    return sagemaker


def stopped(sagemaker: FakeSageMaker, *counts: float) -> tuple[bool, str]:
    answer = stop_idle(PROJECT, IDLE, sagemaker, FakeCloudWatch(*counts), lambda: NOW)
    assert answer["deleted"] == (sagemaker.calls == ["delete_endpoint whippet"])
    return answer["deleted"], answer["reason"]


@pytest.mark.parametrize("counts", [(), (0.0, 0.0, 0.0)])
def test_an_endpoint_without_requests_is_deleted_and_its_config_and_model_stay(counts: tuple[float, ...]) -> None:
    sagemaker = serving()
    assert stopped(sagemaker, *counts) == (True, "nobody asked it anything for 24 hours")
    assert (len(sagemaker.configs), len(sagemaker.models)) == (1, 1)


def test_one_request_on_the_last_page_keeps_it() -> None:
    assert stopped(serving(), 0.0, 0.0, 1.0) == (False, "it was asked 1 times within 24 hours")


@pytest.mark.parametrize("status", ["InternalError", "Forbidden"])
def test_a_cloudwatch_that_does_not_know_is_not_one_that_counted_nothing(status: str) -> None:
    sagemaker = serving()
    with pytest.raises(UnknownRequests, match=f"did not say how often whippet was asked \\({status}\\)"):
        stop_idle(PROJECT, IDLE, sagemaker, FakeCloudWatch(last=status), lambda: NOW)
    assert sagemaker.calls == []


def test_the_requests_of_all_the_idle_hours_are_asked_for() -> None:
    cloudwatch = FakeCloudWatch()
    stop_idle(PROJECT, IDLE, serving(), cloudwatch, lambda: NOW)
    assert (cloudwatch.asked["StartTime"], cloudwatch.asked["EndTime"]) == (NOW - IDLE, NOW)
    (query,) = cloudwatch.asked["MetricDataQueries"]
    assert query["MetricStat"]["Metric"] == {
        "Namespace": "AWS/SageMaker",
        "MetricName": "Invocations",
        "Dimensions": [{"Name": "EndpointName", "Value": PROJECT}, {"Name": "VariantName", "Value": "AllTraffic"}],
    }


def test_a_young_endpoint_stays() -> None:
    assert stopped(serving(changed=NOW - IDLE + timedelta(minutes=1))) == (False, "it was changed less than 24 hours ago")
    assert stopped(serving(changed=NOW - IDLE))[0] is True


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting", "OutOfService"])
def test_an_endpoint_that_moves_stays(status: str) -> None:
    assert stopped(serving(status)) == (False, f"it is {status}")


def test_a_serverless_endpoint_costs_nothing_and_stays() -> None:
    variants = [{"VariantName": "AllTraffic", "CurrentServerlessConfig": {"MemorySizeInMB": 4096, "MaxConcurrency": 5}}]
    assert stopped(serving(ProductionVariants=variants))[1].startswith("it is serverless")


def test_an_endpoint_that_would_not_come_back_as_it_is_stays() -> None:
    sagemaker = serving()
    sagemaker.deploy(sagemaker.version(OTHER_RUN))
    assert "is not the newest deployed version's endpoint config, so it would not come back" in stopped(sagemaker)[1]
    sagemaker.registry.versions.clear()
    assert stopped(sagemaker)[0] is False


def test_a_failed_endpoint_goes_after_an_hour() -> None:
    assert stopped(serving("Failed", NOW - timedelta(minutes=59))) == (False, "it was changed less than an hour ago")
    assert stopped(serving("Failed", NOW - timedelta(hours=1))) == (True, "it has failed")


def test_no_endpoint_is_nothing_to_stop() -> None:
    assert stopped(FakeSageMaker()) == (False, "there is no endpoint")


def test_a_refusal_is_raised_for_the_alarm_to_see() -> None:
    sagemaker = serving()
    sagemaker.refuse("delete_endpoint", fault("ValidationException", "does not have application-autoscaling:DeregisterScalableTarget"))
    with pytest.raises(Exception, match="DeregisterScalableTarget"):
        stop_idle(PROJECT, IDLE, sagemaker, FakeCloudWatch(), lambda: NOW)


def test_no_idle_time_is_refused() -> None:
    with pytest.raises(ValueError, match="IDLE_HOURS must be above 0, got 0"):
        stop_idle(PROJECT, timedelta(), serving(), FakeCloudWatch(), lambda: NOW)
