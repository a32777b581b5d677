"""Careful updates of endpoints without an engine: the steps asked for, the traffic's shares, and what rolls back."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from local.api.errors import ServiceError
from local.hosting.deployments import LONGEST_WAIT_S, Alarms, Bake, Deployment, RolledBackError, Traffic
from tests.fixtures.local.fake_alarms import FakeCloudWatch


def config(kind: str, wait: int = 60, last: int = 120, alarms: tuple[str, ...] = (), **routing: Any) -> dict[str, Any]:
    policy = {"TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": wait, **routing}, "TerminationWaitInSeconds": last}
    asked: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    return {**asked, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else asked


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


@pytest.mark.parametrize(
    ("asked", "instances", "steps"),
    [
        (config("ALL_AT_ONCE"), 1, [(1.0, 120)]),
        (config("CANARY", CanarySize=percent(30)), 1, [(0.3, 60), (1.0, 120)]),
        (config("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}), 4, [(0.25, 60), (1.0, 120)]),
        (config("LINEAR", LinearStepSize=percent(33)), 3, [(0.33, 60), (0.66, 60), (0.99, 60), (1.0, 120)]),
        (config("LINEAR", LinearStepSize=percent(50)), 2, [(0.5, 60), (1.0, 120)]),
        ({"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}, 1, [(1.0, 0)]),
    ],
)
def test_the_steps_are_those_asked_for(asked: dict[str, Any], instances: int, steps: list[tuple[float, int]]) -> None:
    found = Deployment.parse(asked, instances).steps
    assert [step.share for step in found] == pytest.approx([share for share, _wait in steps])
    assert [step.wait_s for step in found] == [wait for _share, wait in steps]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (config("CANARY", CanarySize=percent(51)), "CanarySize is 51% of the 1 instances; it must be at most 50%"),
        (config("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}), "CanarySize is 100%"),
        (config("CANARY"), "CanarySize is required with the traffic routing type CANARY"),
        (config("LINEAR", LinearStepSize=percent(9)), "it must be from 10% to 50%"),
        (config("CANARY", wait=3000, last=601, CanarySize=percent(10)), "is shorter than the sum of the waits"),
        (config("ALL_AT_ONCE", CanarySize=percent(10)), "CanarySize is only for the traffic routing type CANARY, got ALL_AT_ONCE"),
        (
            config("CANARY", CanarySize=percent(10), LinearStepSize=percent(10)),
            "LinearStepSize is only for the traffic routing type LINEAR",
        ),
    ],
)
def test_sizes_that_aws_does_not_take_are_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ServiceError, match=told):
        Deployment.parse(asked, 1)


def test_traffic_is_spread_evenly_by_share() -> None:
    blue: Any = SimpleNamespace()
    green: Any = SimpleNamespace()
    traffic = Traffic(green)

    def of_green(invocations: int) -> int:
        return sum(traffic.choose(blue) is green for _number in range(invocations))

    assert of_green(10) == 0
    traffic.shift(0.2)
    assert [of_green(5) for _round in range(4)] == [1, 1, 1, 1]
    traffic.shift(1.0)
    assert of_green(10) == 10
    traffic.shift(0.0)
    assert traffic.choose(None) is green


class FakeFleet:
    """A fleet that lives for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def is_alive(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def read_log_tail(self) -> str:
        return "out of memory"


def bake(states: dict[str, str] | Exception, fleet: FakeFleet, started: float = 0.0, **asked: Any) -> list[float]:
    """Watch a fleet while each look at the clock passes a second; returns the shares reached."""
    seconds = iter(range(100_000))
    closing = SimpleNamespace(wait=lambda _s: False)
    watch = Bake(Alarms(FakeCloudWatch(states)), closing, lambda: float(next(seconds)))  # type: ignore[arg-type]
    deployment = Deployment.parse(config("CANARY", alarms=("errors",), CanarySize=percent(10), **asked), 1)
    return [step.share for step in watch.steps(deployment, fleet, started)]  # type: ignore[arg-type]


def test_a_quiet_fleet_goes_through_all_steps() -> None:
    assert bake({"errors": "OK"}, FakeFleet(1000)) == [0.1, 1.0]
    assert bake({"errors": "INSUFFICIENT_DATA"}, FakeFleet(1000), wait=0, last=0) == [0.1, 1.0]


@pytest.mark.parametrize(
    ("states", "looks", "started", "told"),
    [
        ({"errors": "ALARM"}, 1000, 0.0, r"CloudWatch alarm\(s\) \[errors\] are in ALARM"),
        ({}, 1000, 0.0, "were deleted"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), 1000, 0.0, "cannot be looked up"),
        ({"errors": "OK"}, 1, 0.0, "the new server ended by itself; its log's end: out of memory"),
        ({"errors": "OK"}, 1000, -3600.0, "longer than MaximumExecutionTimeoutInSeconds, 3600"),
    ],
)
def test_what_rolls_an_update_back(states: Any, looks: int, started: float, told: str) -> None:
    with pytest.raises(RolledBackError, match=told):
        bake(states, FakeFleet(looks), started)


def test_alarms_that_are_not_there_are_refused_before_anything_starts() -> None:
    alarms = Alarms(FakeCloudWatch({"errors": "OK"}))
    alarms.require(("errors",))
    alarms.require(())
    with pytest.raises(ServiceError, match="names alarms that CloudWatch does not have: latency"):
        alarms.require(("errors", "latency"))


def test_a_plane_that_closes_waits_for_nothing() -> None:
    closing = threading.Event()
    closing.set()
    began = time.monotonic()
    steps = Bake(Alarms(FakeCloudWatch({})), closing).steps(Deployment.parse(config("ALL_AT_ONCE"), 1), FakeFleet(1000), began)  # type: ignore[arg-type]
    assert [step.share for step in steps] == [1.0] and time.monotonic() - began < LONGEST_WAIT_S
