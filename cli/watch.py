"""`whippet watch`: an execution, state by state and training job by training job, until it ends.

Runs on the user's machine: `whippet watch [ARN] [--local]`. Ctrl-C stops the watching, never the execution. Exit status 1 when the
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
from cli.executions.assessment import print_accuracy, say_kept_back
from cli.executions.execution import Execution, failed_job, log_lines, read_execution, reason, the_latest
from cli.executions.rule_results import print_verdicts, statuses_of
from cli.executions.watch_view import DURATION_WIDTH, ChangeLog, format_duration, picture
from cli.terminal.options import Local, Project
from cli.terminal.screen import screen

LOG_TAIL = 15
"""Lines of a failed job's log that are shown."""


def watch(
    arn: Annotated[str, typer.Argument(help="Execution ARN; default: the one that started last.", show_default=False)] = "",
    local: Local = False,
    project: Project = None,
) -> None:
    """Follow an execution to its end."""
    console, target = screen(), open_target(local, project)
    execution = follow_or_leave(console, target, arn or the_latest(target))
    if execution.status != "SUCCEEDED":
        raise typer.Exit(1)


def follow_or_leave(console: Console, target: Target, arn: str) -> Execution:
    """Follows to the end and says how it ended; Ctrl-C leaves the execution running and says how to come back."""
    try:
        execution = follow(console, target, arn)
    except KeyboardInterrupt:
        console.print(f"\nThe execution goes on. Come back with [bold]whippet watch{target.option}[/]")
        raise typer.Exit(130) from None
    say_end(console, target, execution)
    return execution


def follow(console: Console, target: Target, arn: str, sleep: Callable[[float], None] = time.sleep) -> Execution:
    """Looks every second (every five on AWS) until the execution has ended; returns its last moment."""
    pause = 1.0 if target.local else 5.0
    return _follow_live(console, target, arn, pause, sleep) if console.is_terminal else _follow_lines(console, target, arn, pause, sleep)


def say_end(console: Console, target: Target, execution: Execution) -> None:
    """What came out, or why it failed, with the end of the failed job's log."""
    if execution.status == "SUCCEEDED":
        say_success(console, target, execution)
        return
    spent, cause = format_duration(execution.seconds), reason(execution) or "no cause was given"
    console.print(f"[bold red]✗[/] {execution.status}", Text(f"after {spent}: {cause}"))
    say_log_tail(console, target, execution)


def say_success(console: Console, target: Target, execution: Execution) -> None:
    """What the rules said, whether the model was deployed, and what to do next."""
    statuses = statuses_of(execution, {})
    if any(statuses.values()):
        print_verdicts(console, statuses)
    print_accuracy(console, execution)
    for warning in execution.output.get("warnings", []):
        console.print(Text(f"  ▲ {warning}"), soft_wrap=True)
    if execution.kept_back is not None:
        say_kept_back(console, target, execution)
    following = f"whippet {'predict PHOTO' if execution.deployed else 'report'}{target.option}"
    console.print(f"[green]✓[/] Succeeded in {format_duration(execution.seconds)}. Next: [bold]{following}[/]")


def say_log_tail(console: Console, target: Target, execution: Execution) -> None:
    """The end of the log of the job that failed, if one did."""
    job = failed_job(execution)
    if job is not None:
        console.print(f"\nThe end of the log of {job.kind} {job.name}:", style="dim")
        for line in log_lines(target, job, LOG_TAIL):
            console.print(Text(f"  {line}", style="dim"))


def _follow_live(console: Console, target: Target, arn: str, pause: float, sleep: Callable[[float], None]) -> Execution:
    with Live(console=console, refresh_per_second=4) as live:
        execution: Execution | None = None
        while True:
            execution = read_execution(target, arn, execution)
            live.update(picture(execution))
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
