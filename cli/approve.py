"""`whippet approve` and `whippet reject`: approve or reject a model that waits for approval.

Runs on the user's machine: `whippet approve [NUMBER] [--reason TEXT] [--local]`; without a number it lists the waiting models. An
execution with `"approval": "manual"` registers its model, waits for at most seven days, and checks the decision periodically.
"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.account.model_versions import APPROVED, REJECTED, WAITING, WORDS, ModelVersion, list_model_versions
from cli.account.target import Target, open_target
from cli.executions.execution import build_run_name
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console

MOST_REASON = 1024
"""SageMaker's maximum number of characters."""

Number = Annotated[int | None, typer.Argument(help="Model version; default: list the waiting ones.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Reason, stored with the version.", show_default=False)]


def approve(number: Number = None, reason: Reason = "", local: Local = False, project: Project = None) -> None:
    """Approve a waiting model for deployment."""
    decide(open_console(), open_target(local, project), number, APPROVED, reason)


def reject(number: Number = None, reason: Reason = "", local: Local = False, project: Project = None) -> None:
    """Reject a waiting model."""
    decide(open_console(), open_target(local, project), number, REJECTED, reason)


def decide(console: Console, target: Target, number: int | None, status: str, reason: str) -> None:
    """Set the status of a waiting version and print the consequence; without a number list the waiting versions."""
    if len(reason) > MOST_REASON:
        raise RefusedError(f"--reason has {len(reason)} characters; SageMaker stores at most {MOST_REASON}: shorten it.")
    waiting = list_model_versions(target, WAITING)
    if number is None:
        print_waiting(console, target, waiting)
        return
    version = _find_version(target, waiting, number)
    description = {"ApprovalDescription": reason} if reason else {}
    target.client("sagemaker").update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus=status, **description)
    console.print(Text(f"✓ Version {number} is {WORDS[status]}. {describe_consequence(target, version, status)}"), soft_wrap=True)


def describe_consequence(target: Target, version: ModelVersion, status: str) -> str:
    """Describe what happens next: a running execution of this version continues, otherwise nothing is deployed."""
    if status == REJECTED:
        return "The endpoint is unchanged."
    if not version.run or version.run not in list_running_runs(target):
        again = f"whippet run{target.option}"
        return f"But its execution does not wait any more, so the model is not deployed. Start a new execution: {again}"
    return f"Its execution deploys it within half an hour: whippet watch{target.option}"


def list_running_runs(target: Target) -> set[str]:
    """List the names of running executions in the bucket and in the registry."""
    machine = target.outputs().state_machine
    pages = target.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
    found = (execution for page in pages for execution in page["executions"])
    return {build_run_name(target.project, execution["executionArn"], execution["startDate"]) for execution in found}


def print_waiting(console: Console, target: Target, waiting: list[ModelVersion]) -> None:
    """Print the waiting versions, the newest first, and the commands to decide."""
    if not waiting:
        console.print(f"No model of [bold]{target.project}[/] waits for approval.")
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for heading in ("version", "created (UTC)", "description"):
        table.add_column(heading, overflow="fold")
    for version in waiting:
        table.add_row(str(version.number), f"{version.created:%Y-%m-%d %H:%M}", Text(version.description or version.run))
    console.print(table)
    console.print(f"\nDecide with [bold]whippet approve NUMBER{target.option}[/] or [bold]whippet reject NUMBER{target.option}[/]")


def _find_version(target: Target, waiting: list[ModelVersion], number: int) -> ModelVersion:
    found = next((version for version in waiting if version.number == number), None)
    if found:
        return found
    others = ", ".join(str(version.number) for version in waiting) or "none"
    decided = next((version for version in list_model_versions(target) if version.number == number), None)
    what = f"is {decided.label}" if decided else "does not exist"
    raise RefusedError(f"Version {number} of {target.project!r} {what}; versions waiting for approval: {others}.")
