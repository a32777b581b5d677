"""How the model is put into service, and what it must be worth: the `deployment` and `gate` objects of the execution input.

Runs inside `prepare_execution`; standard library only.

    Deployment.parse({})                                              # machines of their own, one to two of them
    Deployment.parse({"kind": "serverless", "memory_mb": 3072})       # nothing runs, and nothing is paid, between two requests
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from lambdas.request.input_values import (
    InvalidExecutionInput,
    choice,
    declared,
    is_whole,
    known_keys,
    left_out,
    number,
    shown,
    string,
    value_of,
    values_of,
    whole,
    yes_no,
)
from lambdas.request.instance_types import SUPPORTED, supported_type

MOST_INSTANCES = 100
LEAST_MEMORY_MB = MEMORY_STEP_MB = 1024
MOST_MEMORY_MB = 6144
MACHINE_FIELDS = ("instance_type", "instance_count", "max_instance_count", "update")
SERVERLESS_FIELDS = ("memory_mb", "max_concurrency")


@dataclass(frozen=True)
class Deployment:
    """The endpoint."""

    kind: str = choice("instance", "instance", "serverless", "none")
    """`instance`: machines that always run; `serverless`: SageMaker runs the model only while it is asked, with a wait for the first
    answer; `none`: the model is registered and nothing is deployed."""

    instance_type: str = string("ml.m5.large", pattern=SUPPORTED)
    """SageMaker instance type; one with a GPU gets the GPU serving image."""

    instance_count: int = whole(1, 1, MOST_INSTANCES)
    """Machines that run at least, 1 to 100."""

    max_instance_count: int = whole(2, 1, MOST_INSTANCES)
    """Machines that run at most, 1 to 100: so many where requests become many; the same as `instance_count` never runs others."""

    memory_mb: int = declared(
        4096, {"type": "integer", "minimum": LEAST_MEMORY_MB, "maximum": MOST_MEMORY_MB, "multipleOf": MEMORY_STEP_MB}
    )
    """Memory of each worker of a serverless endpoint: 1024, 2048, 3072, 4096, 5120 or 6144."""

    max_concurrency: int = whole(5, 1, 200)
    """Requests that a serverless endpoint answers at once, 1 to 200."""

    update: str = choice("canary", "canary", "linear", "all_at_once")
    """How a new model takes over from the one in service. `canary`: one machine in ten first, then the others; `linear`: a quarter at a
    time; `all_at_once`: all. Each way alarms take it back; a single machine always takes over at once."""

    keep_versions: int = whole(5, 1, 100)
    """So many of the newest models and endpoint configs are kept, 1 to 100, and older ones deleted."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the `deployment` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "deployment")
        kind = value_of(given, cls, "kind", "deployment.")
        parsed = cls(
            kind=kind,
            instance_type=supported_type("deployment.instance_type", value_of(given, cls, "instance_type", "deployment.")),
            max_instance_count=most_instances(given),
            memory_mb=memory(given),
            **values_of(given, cls, ("instance_count", "max_concurrency", "update", "keep_versions"), "deployment."),
        )
        if kind != "instance":
            left_out(given, cls, MACHINE_FIELDS, "deployment.", f'where deployment.kind is "{kind}", which has no machines of its own')
        if kind != "serverless":
            left_out(given, cls, SERVERLESS_FIELDS, "deployment.", f'where deployment.kind is "{kind}" and not "serverless"')
        return parsed


@dataclass(frozen=True)
class Gate:
    """What a new model must be worth to be deployed."""

    least_accuracy: float = number(0.0, 0, 1)
    """Accuracy on the test photos that it must reach, 0 to 1; whatever this says, it must do better than always naming the same class."""

    champion: bool = yes_no(True)
    """Whether it is compared with the champion, the model that was deployed last, on the same test photos."""

    tolerance: float = number(0.01, 0, 1)
    """Accuracy that it may lose against the champion, 0 to 1."""

    class_tolerance: float = number(0.2, 0, 1)
    """Recall that any one class may lose against the champion, 0 to 1."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the `gate` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "gate")
        return cls(**values_of(given, cls, ("least_accuracy", "champion", "tolerance", "class_tolerance"), "gate."))


def most_instances(given: Mapping[str, Any]) -> int:
    """How many machines run at most: never fewer than at least."""
    count = int(value_of(given, Deployment, "instance_count", "deployment."))
    value = given.get("max_instance_count", max(count, Deployment.max_instance_count))
    if not is_whole(value) or not count <= value <= MOST_INSTANCES:
        raise InvalidExecutionInput(
            f"deployment.max_instance_count must be a whole number from deployment.instance_count, {count}, to {MOST_INSTANCES}, "
            f"got {shown(value)}; {count} runs never more than that"
        )
    return int(value)


def memory(given: Mapping[str, Any]) -> int:
    """Memory of a serverless worker, which comes in whole gigabytes."""
    value = int(value_of(given, Deployment, "memory_mb", "deployment."))
    if value % MEMORY_STEP_MB:
        sizes = ", ".join(str(size) for size in range(LEAST_MEMORY_MB, MOST_MEMORY_MB + 1, MEMORY_STEP_MB))
        raise InvalidExecutionInput(f"deployment.memory_mb must be one of {sizes}, got {value}")
    return value
