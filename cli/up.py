"""`whippet up` starts local mode; `whippet down` stops local mode, or deletes billable resources on AWS: jobs, endpoint and models.

Runs on the user's machine: `whippet up --local [--strict]`, `whippet down [--local] [--yes]`.
"""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.account.billable import Billable, delete_all, find_billable
from cli.account.target import LocalMachine, Target, default_project, local_mode, open_target
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project, Strict
from cli.terminal.screen import open_console

MOST_PASSES = 20
PASS_PAUSE_S = 15.0
"""The pause between two passes; five minutes in all, longer than a job takes to stop."""


def up(local: Local = False, strict: Strict = False) -> None:
    """Start local mode on this machine: the AWS engine and the SageMaker plane."""
    if not local:
        raise RefusedError("`whippet up` starts local mode: `whippet up --local`. On AWS nothing needs to start: run `whippet deploy`.")
    console = open_console()
    with console.status("Starting local mode") as status:
        local_mode(strict).start(lambda line: status.update(line))
    console.print("[green]✓[/] Local mode runs. Next: [bold]whippet deploy --local[/]. Stop it with [bold]whippet down --local[/]")


def down(
    local: Local = False,
    project: Project = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Stop local mode; on AWS stop executions and jobs, and delete the endpoint, its configurations and models."""
    console = open_console()
    if local:
        stop_local_mode(local_mode(), console)
    else:
        target = open_target(False, project or default_project())
        delete_billable(target, console, lambda question: yes or typer.confirm(question))


def stop_local_mode(machine: LocalMachine, console: Console) -> None:
    """End every process of local mode; its S3 objects stay for the next start."""
    with console.status("Stopping local mode") as status:
        stopped = machine.stop(lambda line: status.update(line))
    if stopped:
        console.print(f"[green]✓[/] Local mode is stopped ({len(stopped)} processes). Buckets, reports and logs stay for the next start.")
    else:
        console.print("Local mode was not running.")


def delete_billable(target: Target, console: Console, confirm: Callable[[str], bool], sleep: Callable[[float], None] = time.sleep) -> None:
    """Delete the project's billable resources on SageMaker, after `confirm`; CDK destroys the stack."""
    found = find_billable(target)
    destroy = "The stack stays, and costs almost nothing. Delete it with `cdk destroy`, which retains the bucket with all photos."
    if not found:
        console.print(f"Nothing of {target.project!r} runs on {target.place}. {destroy}")
        return
    print_billable(console, found)
    if not confirm(f"Stop and delete them on {target.place}?"):
        raise RefusedError("Nothing was deleted. An endpoint costs money until it is deleted.")
    with console.status("Stopping and deleting") as status:
        left = delete_until_nothing_is_left(target, lambda line: status.update(Text(line)), sleep)
    if left:
        print_billable(console, left)
        raise RefusedError("These resources still exist or were created again. They cost money: run `whippet down` again later.")
    console.print(f"[green]✓[/] Deleted and checked: {target.project!r} has no billable resources. {destroy}")


def delete_until_nothing_is_left(target: Target, say: Callable[[str], None], sleep: Callable[[float], None]) -> Billable:
    """Delete and check repeatedly: a request may recreate the endpoint meanwhile, and jobs take time to stop."""
    for _ in range(MOST_PASSES):
        delete_all(target, say, sleep)
        if not (left := find_billable(target)):
            break
        say("Waiting for resources that are still stopping")
        sleep(PASS_PAUSE_S)
    return left


def print_billable(console: Console, found: Billable) -> None:
    """Print running resources by name, and the number of registered ones."""
    kinds = {
        "running execution": found.executions,
        "running tuning job": found.tuning_jobs,
        "running processing job": found.processing_jobs,
        "running training job": found.training_jobs,
        "endpoint": found.endpoints,
    }
    for kind, names in kinds.items():
        for name in names:
            console.print(f"  {kind} [bold]{name}[/]", soft_wrap=True)
    console.print(f"  {len(found.endpoint_configs)} endpoint configurations, {len(found.models)} models")
