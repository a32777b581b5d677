"""`whippet approve` and `whippet reject`: decides whether a model that waits for a person goes to the endpoint.

Runs on the user's machine: `whippet approve [NUMBER] [--reason TEXT] [--local]`; without a number it lists what waits. An execution that
was started with `"approval": "manual"` registers its model, waits for at most seven days, and looks every now and then what was decided.
"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.account.model_versions import APPROVED, REJECTED, WAITING, WORDS, ModelVersion, model_versions
from cli.account.target import Target, open_target
from cli.executions.execution import run_name
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import screen

MOST_REASON = 1024
"""Characters that SageMaker takes."""

Number = Annotated[int | None, typer.Argument(help="Version of the model; default: list those that wait.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the version.", show_default=False)]


def approve(number: Number = None, reason: Reason = "", local: Local = False, project: Project = None) -> None:
    """Let a model that waits go to the endpoint."""
    decide(screen(), open_target(local, project), number, APPROVED, reason)


def reject(number: Number = None, reason: Reason = "", local: Local = False, project: Project = None) -> None:
    """Keep a model that waits from the endpoint."""
    decide(screen(), open_target(local, project), number, REJECTED, reason)


def decide(console: Console, target: Target, number: int | None, status: str, reason: str) -> None:
    """Sets the status of one version that waits, and says what follows; without a number only lists."""
    if len(reason) > MOST_REASON:
        raise RefusedError(f"--reason has {len(reason)} characters; SageMaker keeps at most {MOST_REASON}.")
    waiting = model_versions(target, WAITING)
    if number is None:
        print_waiting(console, target, waiting)
        return
    version = _the_one(target, waiting, number)
    said = {"ApprovalDescription": reason} if reason else {}
    target.client("sagemaker").update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus=status, **said)
    console.print(Text(f"✓ Version {number} is {WORDS[status]}. {consequence(target, version, status)}"), soft_wrap=True)


def consequence(target: Target, version: ModelVersion, status: str) -> str:
    """What happens now: the execution that made the version acts on it, if it is still there."""
    if status == REJECTED:
        return "The endpoint stays as it is."
    if not version.run or version.run not in running_runs(target):
        again = f"whippet run{target.option}"
        return f"But the execution that made it waits no longer, so nothing is deployed by this; a new one is started with {again}"
    return f"Its execution sees that within half an hour, and deploys it: whippet watch{target.option}"


def running_runs(target: Target) -> set[str]:
    """The names that running executions have in the bucket and in the registry."""
    machine = target.outputs().state_machine
    pages = target.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
    found = (execution for page in pages for execution in page["executions"])
    return {run_name(target.project, execution["executionArn"], execution["startDate"]) for execution in found}


def print_waiting(console: Console, target: Target, waiting: list[ModelVersion]) -> None:
    """What there is to decide on, the newest first, and how."""
    if not waiting:
        console.print(f"No model of [bold]{target.project}[/] waits for approval.")
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for heading in ("version", "made (UTC)", "what is known of it"):
        table.add_column(heading, overflow="fold")
    for version in waiting:
        table.add_row(str(version.number), f"{version.created:%Y-%m-%d %H:%M}", Text(version.description or version.run))
    console.print(table)
    console.print(f"\nDecide with [bold]whippet approve NUMBER{target.option}[/] or [bold]whippet reject NUMBER{target.option}[/]")


def _the_one(target: Target, waiting: list[ModelVersion], number: int) -> ModelVersion:
    found = next((version for version in waiting if version.number == number), None)
    if found:
        return found
    others = ", ".join(str(version.number) for version in waiting) or "none"
    decided = next((version for version in model_versions(target) if version.number == number), None)
    what = f"is {decided.words}" if decided else "is not there"
    raise RefusedError(f"Version {number} of {target.project!r} {what}; versions that wait for approval: {others}.")
