"""The instances that an execution needs at the same time, and the account's quotas for them. Used by `whippet doctor`.

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
    """A number of instances at the same time, under one quota."""

    quota: str
    """Its name in Service Quotas."""
    count: int
    instead: str
    """What to change in the execution input to need fewer."""
    most: int = 0
    """The temporary maximum, if higher: an endpoint that scales out, or has old and new instances during an update."""


def list_needs(asked: Mapping[str, Any]) -> tuple[Need, ...]:
    """List the instances of an execution input; checks only the fields used here, the first state checks the rest."""
    tuning, deployment, prepare = (read_section(asked, name) for name in ("tuning", "deployment", "prepare"))
    machine, machines = str(asked.get("instance_type", DEFAULT.instance_type)), read_count(asked, "instance_count", 1)
    parallel = DEFAULT.tuning.max_parallel_jobs
    jobs = min(read_count(tuning, "max_parallel_jobs", parallel), read_count(tuning, "max_jobs", parallel))
    use = "spot training job usage" if asked.get("spot") is True else "training job usage"
    wanted = [
        Need(f"{prepare.get('instance_type', machine)} for processing job usage", 1, "another prepare.instance_type"),
        Need(f"{machine} for {use}", jobs * machines, "another instance_type, or fewer tuning.max_parallel_jobs"),
    ]
    if deployment.get("kind", "instance") == "instance":
        least = read_count(deployment, "instance_count", 1)
        most = max(least, read_count(deployment, "max_instance_count", DEFAULT.deployment.max_instance_count))
        name = f"{deployment.get('instance_type', DEFAULT.deployment.instance_type)} for endpoint usage"
        wanted.append(Need(name, least, "another deployment.instance_type, or a smaller deployment.max_instance_count", 2 * most))
    return tuple(wanted)


def read_section(asked: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read an object of the input; empty if it is missing."""
    value = asked.get(name, {})
    if not isinstance(value, dict):
        raise RefusedError(f"{name} in the execution input must be an object, got {value!r}; docs/execution-input.md lists its fields.")
    return value


def read_count(asked: Mapping[str, Any], name: str, default: int) -> int:
    """Read a positive whole number of the input."""
    value = asked.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RefusedError(f"{name} in the execution input must be a whole number of at least 1, got {value!r}.")
    return value


def find_quotas(target: Target, wanted: tuple[Need, ...]) -> dict[str, float]:
    """Return name -> value of the needed quotas: the account's value, else AWS's default."""
    names = {need.quota for need in wanted}
    found: dict[str, float] = {}
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        found |= {quota["QuotaName"]: float(quota["Value"]) for quota in list_quotas(target, operation) if quota["QuotaName"] in names}
    return found


def list_quotas(target: Target, operation: str) -> Iterator[dict[str, Any]]:
    """List the quotas of SageMaker page by page: there are some thousands."""
    for page in target.client("service-quotas").get_paginator(operation).paginate(ServiceCode="sagemaker"):
        yield from page["Quotas"]
