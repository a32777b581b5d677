"""How an endpoint goes from one fleet to the next: what UpdateEndpoint's DeploymentConfig asks for, and the traffic between two fleets.

Runs in the SageMaker plane. The old fleet is the blue one, the new one the green; a rollback gives all traffic back to the blue.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.api.errors import validation_error
from local.hosting.production_variant import Fleet

LONGEST_WAIT_S = 5.0
"""A wait lasts as long as asked, but not longer than this: nobody watches a canary for ten minutes on their own machine."""
LOOK_INTERVAL_S = 0.25
DEFAULT_TIMEOUT_S = 3600.0
MOST_FIRST_SHARE = 0.5
LEAST_LINEAR_SHARE = 0.1


class RolledBackError(Exception):
    """The new fleet is not to be kept; the message is fit for a FailureReason."""


@dataclass(frozen=True)
class Step:
    """A share of the traffic for the new fleet, and how long it is watched then."""

    share: float
    wait_s: float
    says: str


@dataclass(frozen=True)
class Deployment:
    """A DeploymentConfig: its steps, the alarms that end it early, and the longest time it may take."""

    steps: tuple[Step, ...]
    alarms: tuple[str, ...]
    timeout_s: float

    @classmethod
    def parse(cls, config: Mapping[str, Any], instances: int) -> "Deployment":
        """The deployment that a validated DeploymentConfig asks for; raises ServiceError for sizes that AWS does not take."""
        policy = config.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
        wait, last = routing.get("WaitIntervalInSeconds", 0), policy.get("TerminationWaitInSeconds", 0)
        timeout = policy.get("MaximumExecutionTimeoutInSeconds", DEFAULT_TIMEOUT_S)
        shares = _first_shares(routing, instances)
        if wait * len(shares) + last > timeout:
            raise validation_error(
                f"MaximumExecutionTimeoutInSeconds {timeout:.0f} is shorter than the waits that WaitIntervalInSeconds {wait} and "
                f"TerminationWaitInSeconds {last} add up to, {wait * len(shares) + last} seconds: ask for a longer one"
            )
        steps = [
            Step(share, wait, f"Baking for {wait} seconds (WaitIntervalInSeconds) with {share:.0%} of the traffic") for share in shares
        ]
        steps.append(Step(1.0, last, f"Baking for {last} seconds (TerminationWaitInSeconds) with all traffic"))
        alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", ())
        return cls(tuple(steps), tuple(alarm["AlarmName"] for alarm in alarms if "AlarmName" in alarm), float(timeout))


def _first_shares(routing: Mapping[str, Any], instances: int) -> list[float]:
    """The shares of traffic before all of it."""
    for field, kind in (("CanarySize", "CANARY"), ("LinearStepSize", "LINEAR")):
        if field in routing and routing["Type"] != kind:
            raise validation_error(f"{field} is only for the traffic routing type {kind}, got {routing['Type']}: remove it")
    if routing["Type"] == "CANARY":
        size = _share(routing, "CanarySize", instances)
        if size > MOST_FIRST_SHARE:
            raise validation_error(f"CanarySize is {size:.0%} of the {instances} instances; it must be at most {MOST_FIRST_SHARE:.0%}")
        return [size]
    if routing["Type"] == "LINEAR":
        size = _share(routing, "LinearStepSize", instances)
        if not LEAST_LINEAR_SHARE <= size <= MOST_FIRST_SHARE:
            raise validation_error(
                f"LinearStepSize is {size:.0%} of the {instances} instances; it must be from 10% to {MOST_FIRST_SHARE:.0%}"
            )
        return [size * number for number in range(1, 11) if size * number < 1.0 - 1e-9]
    return []


def _share(routing: Mapping[str, Any], field: str, instances: int) -> float:
    size = routing.get(field)
    if size is None:
        raise validation_error(f"{field} is needed with the traffic routing type {routing['Type']}")
    return float(size["Value"]) / (100 if size["Type"] == "CAPACITY_PERCENT" else instances)


class Alarms:
    """The states of CloudWatch alarms."""

    def __init__(self, cloudwatch: Any) -> None:
        """Look with this boto3 client."""
        self._cloudwatch = cloudwatch

    def require(self, names: tuple[str, ...]) -> None:
        """Raise ServiceError when one of the alarms is not there."""
        try:
            missing = sorted(set(names) - self._states(names).keys())
        except (BotoCoreError, ClientError) as error:
            raise validation_error(f"the alarms {', '.join(names)} cannot be looked up: {error}") from error
        if missing:
            raise validation_error(f"AutoRollbackConfiguration names alarms that CloudWatch does not have: {', '.join(missing)}")

    def check(self, names: tuple[str, ...]) -> None:
        """Raise RolledBackError when one of the alarms is in ALARM, or cannot be looked up: nobody would know then."""
        try:
            states = self._states(names)
        except (BotoCoreError, ClientError) as error:
            raise RolledBackError(f"the alarms {', '.join(names)} cannot be looked up: {error}") from error
        ringing = [name for name in names if states.get(name, "absent") in ("ALARM", "absent")]
        if ringing:
            raise RolledBackError(f"CloudWatch alarm(s) [{', '.join(ringing)}] are in ALARM or were deleted")

    def _states(self, names: tuple[str, ...]) -> dict[str, str]:
        if not names:
            return {}
        found = self._cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        return {each["AlarmName"]: each["StateValue"] for kind in ("MetricAlarms", "CompositeAlarms") for each in found.get(kind, ())}


class Bake:
    """Watches a new fleet through its steps."""

    def __init__(self, alarms: Alarms, closing: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        """Read `alarms`; end early, without a verdict, when `closing` is set."""
        self._alarms, self._closing, self._clock = alarms, closing, clock

    def steps(self, deployment: Deployment, fleet: Fleet, started: float) -> Iterator[Step]:
        """Each step, to be put into effect by the caller, then watched; raises RolledBackError. `started` is when the update began."""
        for step in deployment.steps:
            yield step
            until = self._clock() + min(step.wait_s, LONGEST_WAIT_S)
            while True:
                self._look(deployment, fleet, started)
                if self._clock() >= until or self._closing.wait(min(LOOK_INTERVAL_S, max(0.0, until - self._clock()))):
                    break

    def _look(self, deployment: Deployment, fleet: Fleet, started: float) -> None:
        self._alarms.check(deployment.alarms)
        if not fleet.is_alive():
            raise RolledBackError(f"the new server ended by itself; its log's end: {fleet.log_tail()}")
        if self._clock() - started > deployment.timeout_s:
            raise RolledBackError(f"the deployment took longer than MaximumExecutionTimeoutInSeconds, {deployment.timeout_s:.0f}")


class Traffic:
    """The fleets of one endpoint while it is updated: each gets its share of the invocations, evenly spread."""

    def __init__(self, green: Fleet) -> None:
        """Begin with nothing for `green`."""
        self.green = green
        self._share = 0.0
        self._owed = 0.0
        self._lock = threading.Lock()

    def shift(self, share: float) -> None:
        """From now on `green` answers this share."""
        with self._lock:
            self._share = share

    def choose(self, blue: Fleet | None) -> Fleet:
        """The fleet for the next invocation."""
        with self._lock:
            self._owed += self._share
            if blue is not None and self._owed < 1.0 - 1e-9:
                return blue
            self._owed = max(0.0, self._owed - 1.0)
            return self.green
