"""`whippet watch`: shows the states and training jobs of an execution until it ends.

Runs on the user's machine: `whippet watch [ARN] [--local]`. Ctrl-C stops watching, not the execution. Exit status 1 when the
execution failed.
"""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.account.target import Target, open_target
from cli.executions.assessment import print_accuracy, print_rejection
from cli.executions.execution import Execution, explain_failure, find_failed_job, read_execution, read_log_lines, require_latest_execution
from cli.executions.rule_results import print_rule_statuses, read_statuses
from cli.executions.watch_view import DURATION_WIDTH, ChangeLog, format_duration, render_execution
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console

LOG_TAIL = 15
"""Lines of a failed job's log that are shown."""


def watch(
    arn: Annotated[str, typer.Argument(help="Execution ARN; default: the one that started last.", show_default=False)] = "",
    local: Local = False,
    project: Project = None,
) -> None:
    """Follow an execution to its end."""
    console, target = open_console(), open_target(local, project)
    execution = follow_or_leave(console, target, arn or require_latest_execution(target))
    if execution.status != "SUCCEEDED":
        raise typer.Exit(1)


def follow_or_leave(console: Console, target: Target, arn: str) -> Execution:
    """Follow an execution to its end and print the result; Ctrl-C leaves it running and prints how to resume watching."""
    try:
        execution = follow(console, target, arn)
    except KeyboardInterrupt:
        console.print(f"\nThe execution continues. Resume watching with [bold]whippet watch{target.option}[/]")
        raise typer.Exit(130) from None
    print_end(console, target, execution)
    return execution


def follow(console: Console, target: Target, arn: str, sleep: Callable[[float], None] = time.sleep) -> Execution:
    """Read the execution every second (every five on AWS) until it ends; returns the last reading."""
    pause = 1.0 if target.local else 5.0
    return _follow_live(console, target, arn, pause, sleep) if console.is_terminal else _follow_lines(console, target, arn, pause, sleep)


def print_end(console: Console, target: Target, execution: Execution) -> None:
    """Print the result, or why the execution failed with the end of the failed job's log."""
    if execution.status == "SUCCEEDED":
        print_success(console, target, execution)
        return
    spent, cause = format_duration(execution.seconds), explain_failure(execution) or "without a cause"
    console.print(f"[bold red]✗[/] {execution.status}", Text(f"after {spent}: {cause}"))
    print_log_tail(console, target, execution)


def print_success(console: Console, target: Target, execution: Execution) -> None:
    """Print the rule results, whether the model was deployed, and the next command."""
    statuses = read_statuses(execution, {})
    if any(statuses.values()):
        print_rule_statuses(console, statuses)
    print_accuracy(console, execution)
    for warning in execution.output.get("warnings", []):
        console.print(Text(f"  ▲ {warning}"), soft_wrap=True)
    if execution.rejection_reasons is not None:
        print_rejection(console, target, execution)
    following = f"whippet {'predict PHOTO' if execution.deployed else 'report'}{target.option}"
    console.print(f"[green]✓[/] Succeeded in {format_duration(execution.seconds)}. Next: [bold]{following}[/]")


def print_log_tail(console: Console, target: Target, execution: Execution) -> None:
    """Print the end of the failed job's log, if a job failed."""
    job = find_failed_job(execution)
    if job is not None:
        console.print(f"\nThe end of the log of {job.kind} {job.name}:", style="dim")
        for line in read_log_lines(target, job, LOG_TAIL):
            console.print(Text(f"  {line}", style="dim"))


def _follow_live(console: Console, target: Target, arn: str, pause: float, sleep: Callable[[float], None]) -> Execution:
    with Live(console=console, refresh_per_second=4) as live:
        execution: Execution | None = None
        while True:
            execution = read_execution(target, arn, execution)
            live.update(render_execution(execution))
            if execution.status != "RUNNING":
                return execution
            sleep(pause)


def _follow_lines(console: Console, target: Target, arn: str, pause: float, sleep: Callable[[float], None]) -> Execution:
    changes = ChangeLog()
    execution: Execution | None = None
    while True:
        execution = read_execution(target, arn, execution)
        for line in changes.lines(execution):
            console.print(Text(f"{format_duration(execution.seconds):>{DURATION_WIDTH}}  {line}"), soft_wrap=True)
        if execution.status != "RUNNING":
            return execution
        sleep(pause)
