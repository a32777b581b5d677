"""Blue/green deployments: the steps of UpdateEndpoint's DeploymentConfig, and the traffic between the old and the new variant.

Runs in the SageMaker plane. AWS calls the servers of the old variant the blue fleet and those of the new one the green fleet; a rollback
returns all traffic to the blue fleet.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.api.errors import validation_error
from local.hosting.production_variant import ProductionVariant

LONGEST_WAIT_S = 5.0
"""The maximum of each requested wait: a canary of ten minutes is too slow for local tests."""
LOOK_INTERVAL_S = 0.25
DEFAULT_TIMEOUT_S = 3600.0
MOST_FIRST_SHARE = 0.5
LEAST_LINEAR_SHARE = 0.1


class RolledBackError(Exception):
    """The new fleet is rejected; the message becomes a FailureReason."""


@dataclass(frozen=True)
class Step:
    """A share of the traffic for the new fleet, and how long the fleet is then watched."""

    share: float
    wait_s: float
    message: str


@dataclass(frozen=True)
class Deployment:
    """A DeploymentConfig: its steps, the alarms that roll it back, and its time limit."""

    steps: tuple[Step, ...]
    alarms: tuple[str, ...]
    timeout_s: float

    @classmethod
    def parse(cls, config: Mapping[str, Any], instances: int) -> "Deployment":
        """Parse a validated DeploymentConfig; raises ServiceError for sizes that AWS rejects."""
        policy = config.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
        wait, last = routing.get("WaitIntervalInSeconds", 0), policy.get("TerminationWaitInSeconds", 0)
        timeout = policy.get("MaximumExecutionTimeoutInSeconds", DEFAULT_TIMEOUT_S)
        shares = _list_first_shares(routing, instances)
        if wait * len(shares) + last > timeout:
            raise validation_error(
                f"MaximumExecutionTimeoutInSeconds {timeout:.0f} is shorter than the sum of the waits, WaitIntervalInSeconds {wait} "
                f"and TerminationWaitInSeconds {last}, {wait * len(shares) + last} seconds: set a longer timeout"
            )
        steps = [
            Step(share, wait, f"Baking for {wait} seconds (WaitIntervalInSeconds) with {share:.0%} of the traffic") for share in shares
        ]
        steps.append(Step(1.0, last, f"Baking for {last} seconds (TerminationWaitInSeconds) with all traffic"))
        alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", ())
        return cls(tuple(steps), tuple(alarm["AlarmName"] for alarm in alarms if "AlarmName" in alarm), float(timeout))


def _list_first_shares(routing: Mapping[str, Any], instances: int) -> list[float]:
    """List the shares of traffic before the last step."""
    for field, kind in (("CanarySize", "CANARY"), ("LinearStepSize", "LINEAR")):
        if field in routing and routing["Type"] != kind:
            raise validation_error(f"{field} is only for the traffic routing type {kind}, got {routing['Type']}: remove it")
    if routing["Type"] == "CANARY":
        size = _read_share(routing, "CanarySize", instances)
        if size > MOST_FIRST_SHARE:
            raise validation_error(f"CanarySize is {size:.0%} of the {instances} instances; it must be at most {MOST_FIRST_SHARE:.0%}")
        return [size]
    if routing["Type"] == "LINEAR":
        size = _read_share(routing, "LinearStepSize", instances)
        if not LEAST_LINEAR_SHARE <= size <= MOST_FIRST_SHARE:
            raise validation_error(
                f"LinearStepSize is {size:.0%} of the {instances} instances; it must be from 10% to {MOST_FIRST_SHARE:.0%}"
            )
        return [size * number for number in range(1, 11) if size * number < 1.0 - 1e-9]
    return []


def _read_share(routing: Mapping[str, Any], field: str, instances: int) -> float:
    size = routing.get(field)
    if size is None:
        raise validation_error(f"{field} is required with the traffic routing type {routing['Type']}")
    return float(size["Value"]) / (100 if size["Type"] == "CAPACITY_PERCENT" else instances)


class Alarms:
    """The states of CloudWatch alarms."""

    def __init__(self, cloudwatch: Any) -> None:
        """Read alarms with this boto3 client."""
        self._cloudwatch = cloudwatch

    def require(self, names: tuple[str, ...]) -> None:
        """Raise ServiceError if one of the alarms does not exist."""
        try:
            missing = sorted(set(names) - self._read_states(names).keys())
        except (BotoCoreError, ClientError) as error:
            raise validation_error(f"the alarms {', '.join(names)} cannot be looked up: {error}") from error
        if missing:
            raise validation_error(f"AutoRollbackConfiguration names alarms that CloudWatch does not have: {', '.join(missing)}")

    def check(self, names: tuple[str, ...]) -> None:
        """Raise RolledBackError if one of the alarms is in ALARM, or cannot be read: its state would be unknown."""
        try:
            states = self._read_states(names)
        except (BotoCoreError, ClientError) as error:
            raise RolledBackError(f"the alarms {', '.join(names)} cannot be looked up: {error}") from error
        ringing = [name for name in names if states.get(name, "absent") in ("ALARM", "absent")]
        if ringing:
            raise RolledBackError(f"CloudWatch alarm(s) [{', '.join(ringing)}] are in ALARM or were deleted")

    def _read_states(self, names: tuple[str, ...]) -> dict[str, str]:
        if not names:
            return {}
        found = self._cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        return {each["AlarmName"]: each["StateValue"] for kind in ("MetricAlarms", "CompositeAlarms") for each in found.get(kind, ())}


class Bake:
    """Watches a new fleet through its steps."""

    def __init__(self, alarms: Alarms, closing: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        """Read `alarms`; end early, without a verdict, when `closing` is set."""
        self._alarms, self._closing, self._clock = alarms, closing, clock

    def steps(self, deployment: Deployment, fleet: ProductionVariant, started: float) -> Iterator[Step]:
        """Yield each step for the caller to apply, then watch it; raises RolledBackError. `started` is the start time of the update."""
        for step in deployment.steps:
            yield step
            until = self._clock() + min(step.wait_s, LONGEST_WAIT_S)
            while True:
                self._check(deployment, fleet, started)
                if self._clock() >= until or self._closing.wait(min(LOOK_INTERVAL_S, max(0.0, until - self._clock()))):
                    break

    def _check(self, deployment: Deployment, fleet: ProductionVariant, started: float) -> None:
        self._alarms.check(deployment.alarms)
        if not fleet.is_alive():
            raise RolledBackError(f"the new server ended by itself; its log's end: {fleet.read_log_tail()}")
        if self._clock() - started > deployment.timeout_s:
            raise RolledBackError(f"the deployment took longer than MaximumExecutionTimeoutInSeconds, {deployment.timeout_s:.0f}")


class Traffic:
    """The fleets of one endpoint while it is updated: each gets its share of the invocations, evenly spread."""

    def __init__(self, green: ProductionVariant) -> None:
        """Start without traffic for `green`."""
        self.green = green
        self._share = 0.0
        self._owed = 0.0
        self._lock = threading.Lock()

    def shift(self, share: float) -> None:
        """Give `green` this share of the invocations from now on."""
        with self._lock:
            self._share = share

    def choose(self, blue: ProductionVariant | None) -> ProductionVariant:
        """Choose the fleet for the next invocation."""
        with self._lock:
            self._owed += self._share
            if blue is not None and self._owed < 1.0 - 1e-9:
                return blue
            self._owed = max(0.0, self._owed - 1.0)
            return self.green
