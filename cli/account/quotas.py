"""Which machines an execution will want at once, and how many of them the account may have. Used by `whippet doctor`.

SageMaker has a quota for each instance type and use; Service Quotas lists them by names such as
"ml.g5.xlarge for training job usage". Reads only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.account.target import Target
from cli.terminal.errors import RefusedError
from lambdas.request.execution_input import ExecutionInput

DEFAULT = ExecutionInput.parse({})
"""The execution input's own defaults."""


@dataclass(frozen=True)
class Need:
    """So many machines at once, of one quota."""

    quota: str
    """Its name in Service Quotas."""
    count: int
    instead: str
    """What to change in the execution input to need fewer."""
    most: int = 0
    """So many at times, where that is more: an endpoint that scales out, or whose old machines stand beside the new ones."""


def needs(asked: Mapping[str, Any]) -> tuple[Need, ...]:
    """What an execution input wants; only what is looked at here is checked, the rest is the first state's to check."""
    tuning, deployment, prepare = (section(asked, name) for name in ("tuning", "deployment", "prepare"))
    machine, machines = str(asked.get("instance_type", DEFAULT.instance_type)), whole(asked, "instance_count", 1)
    parallel = DEFAULT.tuning.max_parallel_jobs
    jobs = min(whole(tuning, "max_parallel_jobs", parallel), whole(tuning, "max_jobs", parallel))
    use = "spot training job usage" if asked.get("spot") is True else "training job usage"
    wanted = [
        Need(f"{prepare.get('instance_type', machine)} for processing job usage", 1, "another prepare.instance_type"),
        Need(f"{machine} for {use}", jobs * machines, "another instance_type, or fewer tuning.max_parallel_jobs"),
    ]
    if deployment.get("kind", "instance") == "instance":
        least = whole(deployment, "instance_count", 1)
        most = max(least, whole(deployment, "max_instance_count", DEFAULT.deployment.max_instance_count))
        name = f"{deployment.get('instance_type', DEFAULT.deployment.instance_type)} for endpoint usage"
        wanted.append(Need(name, least, "another deployment.instance_type, or a smaller deployment.max_instance_count", 2 * most))
    return tuple(wanted)


def section(asked: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of the input; none is an empty one."""
    value = asked.get(name, {})
    if not isinstance(value, dict):
        raise RefusedError(f"{name} in the execution input must be an object, got {value!r}; docs/execution-input.md lists what it holds.")
    return value


def whole(asked: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number of the input."""
    value = asked.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RefusedError(f"{name} in the execution input must be a whole number of at least 1, got {value!r}.")
    return value


def find_quotas(target: Target, wanted: tuple[Need, ...]) -> dict[str, float]:
    """Name -> value of those that are wanted: what the account has been given, else what every account has."""
    names = {need.quota for need in wanted}
    found: dict[str, float] = {}
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        found |= {quota["QuotaName"]: float(quota["Value"]) for quota in listed(target, operation) if quota["QuotaName"] in names}
    return found


def listed(target: Target, operation: str) -> Iterator[dict[str, Any]]:
    """The quotas of SageMaker, page by page: there are some thousands."""
    for page in target.client("service-quotas").get_paginator(operation).paginate(ServiceCode="sagemaker"):
        yield from page["Quotas"]
