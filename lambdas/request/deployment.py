"""The endpoint, and what a model must reach to be deployed: the `deployment` and `gate` objects of the execution input.

Runs inside `prepare_execution`; standard library only.

    Deployment.parse({})                                              # one to two instances
    Deployment.parse({"kind": "serverless", "memory_mb": 3072})       # no cost between two requests
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from lambdas.request.input_values import InvalidExecutionInput, read, require_default, require_known_keys
from lambdas.request.instance_types import instance_type
from training.contract.choices import DEPLOYMENT_KINDS, UPDATES
from training.contract.fields import choice, is_whole, number, whole, yes_no
from training.contract.limits import SERVERLESS_MEMORY_MB

MOST_INSTANCES = 100
INSTANCE_FIELDS = ("instance_type", "instance_count", "max_instance_count", "update")
SERVERLESS_FIELDS = ("memory_mb", "max_concurrency")
ONLY_INSTANCE, ONLY_SERVERLESS = "`instance` only", "`serverless` only"


@dataclass(frozen=True)
class Deployment:
    """The endpoint."""

    kind: str = choice(DEPLOYMENT_KINDS)
    """`instance`: instances that always run; `serverless`: SageMaker runs the model only while it answers, and the first answer waits for
    its start; `none`: the model is registered and not deployed."""

    instance_type: str = instance_type("ml.m5.large", also=ONLY_INSTANCE)
    """Instance type behind the endpoint; one with a GPU gets the GPU serving image."""

    instance_count: int = whole(1, 1, MOST_INSTANCES, also=ONLY_INSTANCE)
    """Fewest instances that run."""

    max_instance_count: int = whole(2, 1, MOST_INSTANCES, also=f"not below `instance_count`; {ONLY_INSTANCE}")
    """Most instances that run, when there are many requests. Where only an `instance_count` above 2 is given, that count."""

    memory_mb: int = whole(4096, SERVERLESS_MEMORY_MB[0], SERVERLESS_MEMORY_MB[-1], step=SERVERLESS_MEMORY_MB.step, also=ONLY_SERVERLESS)
    """Memory of each worker of a serverless endpoint."""

    max_concurrency: int = whole(5, 1, 200, also=ONLY_SERVERLESS)
    """Requests that a serverless endpoint answers at once."""

    update: str = choice(UPDATES, also=ONLY_INSTANCE)
    """How a new model takes over. `canary`: one instance in ten first, then the others; `linear`: a quarter at a time, of fewer than four
    instances a half; `all_at_once`: all. Alarms roll back each of them; a single instance always takes over at once."""

    keep_versions: int = whole(5, 1, 100)
    """How many of the newest models and endpoint configs are kept; older ones are deleted."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read the `deployment` object; raise InvalidExecutionInput."""
        given = require_known_keys(document, cls, "deployment")
        parsed = read(cls, {**usual_instances(given), **given}, "deployment")
        if parsed.max_instance_count < parsed.instance_count:
            raise InvalidExecutionInput(
                f"deployment.max_instance_count must be a whole number from deployment.instance_count, {parsed.instance_count}, to "
                f"{MOST_INSTANCES}, got {parsed.max_instance_count}; {parsed.instance_count} turns autoscaling off"
            )
        kind = f'where deployment.kind is "{parsed.kind}"'
        if parsed.kind != "instance":
            require_default(parsed, INSTANCE_FIELDS, "deployment", f"{kind}, which has no instances of its own")
        if parsed.kind != "serverless":
            require_default(parsed, SERVERLESS_FIELDS, "deployment", f'{kind} and not "serverless"')
        return parsed


@dataclass(frozen=True)
class Gate:
    """What a model must reach to be deployed."""

    least_accuracy: float = number(0.0, 0, 1)
    """Lowest accuracy on the test photos. Whatever it is, a model must do better than always predicting the most frequent class."""

    champion: bool = yes_no(True)
    """Whether the model is compared with the deployed model, the champion, on the same test photos."""

    tolerance: float = number(0.01, 0, 1)
    """Accuracy that it may lose against the champion."""

    class_tolerance: float = number(0.2, 0, 1)
    """Recall that any single class may lose against the champion."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read the `gate` object; raise InvalidExecutionInput."""
        return read(cls, document, "gate")


def usual_instances(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of max_instance_count: not below an instance_count that is given."""
    count = given.get("instance_count", 0)
    return {"max_instance_count": max(int(count), Deployment.max_instance_count)} if is_whole(count) else {}
