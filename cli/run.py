"""`whippet run`: starts an execution with ordinary boto3 and follows it.

Runs on the user's machine: `whippet run [--jobs 12] [--epochs 20] [--trainable head] [--spot] [--input FILE-OR-JSON] [--detach] [--local]`.
The execution's first state validates the input; docs/execution-input.md lists its fields.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.account.quotas import DEFAULT
from cli.account.target import Target, open_target
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console
from cli.watch import follow_or_leave


def run(
    local: Local = False,
    project: Project = None,
    given: Annotated[str, typer.Option("--input", help="Execution input: a JSON file, or JSON.")] = "{}",
    jobs: Annotated[int | None, typer.Option(help="Training jobs of the tuning job.")] = None,
    parallel: Annotated[int | None, typer.Option(help="Maximum number of parallel training jobs.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per training job.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, search and training.")] = None,
    trainable: Annotated[str | None, typer.Option(help="What is trained: head, last_stage or all.")] = None,
    spot: Annotated[bool | None, typer.Option("--spot/--no-spot", help="Use spot instances for training jobs.", show_default=False)] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the execution.")] = False,
) -> None:
    """Tune, train and deploy: start an execution and follow it."""
    console, target = open_console(), open_target(local, project)
    arn = start_execution(
        target, build_execution_input(read_input(given), jobs, parallel, epochs, seed=seed, trainable=trainable, spot=spot)
    )
    console.print(f"Started [bold]{arn}[/]", soft_wrap=True)
    if detach:
        console.print(f"Follow it with [bold]whippet watch{target.option}[/]")
    elif follow_or_leave(console, target, arn).status != "SUCCEEDED":
        raise typer.Exit(1)


def start_execution(target: Target, value: dict[str, Any]) -> str:
    """Start the state machine; returns the execution's ARN."""
    machine = target.outputs().state_machine
    started = target.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(value))
    return str(started["executionArn"])


def read_input(given: str) -> dict[str, Any]:
    """Read the execution input from a file or from the text itself."""
    file = Path(given) if not given.lstrip().startswith("{") else None
    if file is not None and not file.is_file():
        raise RefusedError(f"--input takes a JSON file or a JSON object; {given!r} is neither an existing file nor starts with '{{'.")
    try:
        value = json.loads(file.read_text(encoding="utf-8") if file else given)
    except ValueError as error:
        raise RefusedError(f"--input is not valid JSON: {error}. Write keys and strings in double quotes.") from error
    if not isinstance(value, dict):
        raise RefusedError(f"--input must be a JSON object such as {{}}; got {given!r}.")
    return value


def build_execution_input(
    given: dict[str, Any], jobs: int | None = None, parallel: int | None = None, epochs: int | None = None, **others: int | str | None
) -> dict[str, Any]:
    """Combine the input with the command's options, `others` by their names in it; the first state fills in the defaults."""
    tuning = dict(given.get("tuning", {}))
    if parallel is None and jobs is not None and "max_parallel_jobs" not in tuning:
        parallel = min(jobs, DEFAULT.tuning.max_parallel_jobs)
    options = {"max_jobs": jobs, "max_parallel_jobs": parallel, "epochs": epochs}
    tuning |= {name: value for name, value in options.items() if value is not None}
    top = {name: value for name, value in {"epochs": epochs, **others}.items() if value is not None}
    return {**given, **top, **({"tuning": tuning} if tuning else {})}
