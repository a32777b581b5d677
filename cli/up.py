"""`whippet up` starts local mode; `whippet down` ends what runs and costs: local mode's processes, or on AWS the endpoint and its models.

Runs on the user's machine: `whippet up --local`, `whippet down [--local] [--yes]`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console

from cli.errors import RefusedError
from cli.options import Local, Project
from cli.screen import screen
from cli.target import LocalMachine, Target, default_project, local_mode, open_target

RUN_NAME = r"-\d{12}-[a-z0-9-]+"
"""What follows the project in the names that the state machine makes, so that another project with a longer name is never touched."""


@dataclass(frozen=True)
class Billable:
    """What the executions of one project left running or registered."""

    executions: tuple[str, ...]
    """ARNs of running executions, which would make an endpoint again."""
    endpoints: tuple[str, ...]
    endpoint_configs: tuple[str, ...]
    models: tuple[str, ...]


def up(local: Local = False) -> None:
    """Start local mode on this machine: the AWS engine and the SageMaker plane."""
    if not local:
        raise RefusedError(
            "`whippet up` starts local mode: `whippet up --local`. On AWS there is nothing to start; go on with `whippet deploy`."
        )
    console = screen()
    with console.status("Starting local mode") as status:
        local_mode().start(lambda line: status.update(line))
    console.print("[green]✓[/] Local mode runs. Next: [bold]whippet deploy --local[/]. Stop it with [bold]whippet down --local[/]")


def down(
    local: Local = False,
    project: Project = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Stop local mode; on AWS delete the endpoint, its configurations and models."""
    console = screen()
    if local:
        stop_local_mode(local_mode(), console)
    else:
        target = open_target(False, project or default_project())
        delete_billable(target, console, lambda question: yes or typer.confirm(question))


def stop_local_mode(machine: LocalMachine, console: Console) -> None:
    """Ends every process that local mode started; what lies in its S3 stays for the next start."""
    with console.status("Stopping local mode") as status:
        stopped = machine.stop(lambda line: status.update(line))
    if stopped:
        console.print(f"[green]✓[/] Local mode is stopped ({len(stopped)} processes). Buckets, reports and logs stay for the next start.")
    else:
        console.print("Local mode was not running.")


def delete_billable(target: Target, console: Console, confirm: Callable[[str], bool]) -> None:
    """Deletes what the project's executions made on SageMaker, after `confirm`; the stack itself is CDK's to destroy."""
    found = find_billable(target)
    destroy = "The stack stays, and costs next to nothing. Delete it with `cdk destroy`; its bucket is retained with all photos."
    if not any((found.executions, found.endpoints, found.endpoint_configs, found.models)):
        console.print(f"Nothing of {target.project!r} runs on {target.place}. {destroy}")
        return
    for kind, names in (("running execution", found.executions), ("endpoint", found.endpoints)):
        for name in names:
            console.print(f"  {kind} [bold]{name}[/]")
    console.print(f"  {len(found.endpoint_configs)} endpoint configurations, {len(found.models)} models")
    if not confirm(f"Delete them on {target.place}?"):
        raise RefusedError("Nothing was deleted. An endpoint costs money until it is deleted.")
    _delete(target, found)
    console.print(f"[green]✓[/] Deleted. {destroy}")


def find_billable(target: Target) -> Billable:
    """What the project's executions made, by the names that the state machine gives."""
    sagemaker = target.client("sagemaker")
    return Billable(
        executions=tuple(_running_executions(target)),
        endpoints=tuple(_names(sagemaker, "list_endpoints", "Endpoints", "EndpointName", target.project)),
        endpoint_configs=tuple(_names(sagemaker, "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", target.project)),
        models=tuple(_names(sagemaker, "list_models", "Models", "ModelName", target.project)),
    )


def _running_executions(target: Target) -> Iterator[str]:
    if target.stack() is None:
        return
    machine = target.outputs().state_machine
    pages = target.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
    for page in pages:
        yield from (execution["executionArn"] for execution in page["executions"])


def _names(sagemaker: Any, operation: str, members: str, member: str, project: str) -> Iterator[str]:
    ours = re.compile(f"{re.escape(project)}({RUN_NAME})?")
    for page in sagemaker.get_paginator(operation).paginate(NameContains=project):
        yield from (item[member] for item in page[members] if ours.fullmatch(item[member]))


def _delete(target: Target, found: Billable) -> None:
    for arn in found.executions:
        target.client("stepfunctions").stop_execution(executionArn=arn, cause="whippet down")
    sagemaker = target.client("sagemaker")
    for name in found.endpoints:
        _unless_gone(sagemaker.delete_endpoint, EndpointName=name)
    for name in found.endpoint_configs:
        _unless_gone(sagemaker.delete_endpoint_config, EndpointConfigName=name)
    for name in found.models:
        _unless_gone(sagemaker.delete_model, ModelName=name)


def _unless_gone(call: Callable[..., Any], **arguments: str) -> None:
    """A thing that somebody else deleted meanwhile is as good as deleted; SageMaker says so with "Could not find"."""
    try:
        call(**arguments)
    except ClientError as error:
        if "Could not find" not in error.response["Error"].get("Message", ""):
            raise
