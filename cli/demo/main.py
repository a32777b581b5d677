"""The main job, end to end, on this machine: photos and weights, local mode, deployment, execution, and one prediction.

Runs on the user's machine: `make demo`, or `python -m cli.demo.main [--data PATH] [--jobs 4] [--strict]`. It runs the verbs of `whippet`
in order, and writes a record for programs to `.local/demo.json`. A second run reuses the results of the first one.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from cli.account.target import LocalMachine, Target, default_project, home, local_mode, local_target
from cli.demo.packages import Say
from cli.demo.photos import DemoPhotos, choose_photo, fetch_chess_photos, open_own_photos
from cli.demo.record import DemoRecord
from cli.demo.steps import Steps
from cli.demo.weights import SOURCE, STRIDE, ensure_weights
from cli.deploy import deploy_stack
from cli.executions.assessment import print_rejection
from cli.executions.execution import Execution, explain_failure
from cli.executions.rule_results import print_insights, print_rule_statuses, read_statuses, select_insights
from cli.executions.watch_view import format_duration
from cli.main import USER_ERRORS, explain
from cli.predict import classify, print_answer
from cli.report import FetchedReport, fetch_report, locate_report, make_missing_report_error
from cli.run import build_execution_input, start_execution
from cli.status import explain_page_access
from cli.terminal.errors import RefusedError
from cli.terminal.options import Strict
from cli.terminal.screen import open_console
from cli.upload import upload_photos, upload_weights
from cli.watch import follow, print_log_tail

STOP = "make down"


def demo(
    data: Annotated[Path | None, typer.Option(help="Class folders or a zip of them; default: photos of chess pieces.")] = None,
    jobs: Annotated[int, typer.Option(help="Training jobs of the tuning job.")] = 4,
    parallel: Annotated[int, typer.Option(help="How many of them at once.")] = 2,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every training job; default: 20.")] = None,
    project: Annotated[str | None, typer.Option(help="Stack name and prefix; default: what cdk.json says.")] = None,
    strict: Strict = False,
) -> None:
    """Run the main job on this machine."""
    console = open_console()
    record = DemoRecord(home() / "demo.json")
    record.start()
    try:
        play(
            console,
            record,
            local_mode(strict),
            project or default_project(),
            data,
            build_execution_input({}, jobs, min(parallel, jobs), epochs),
        )
        record.succeed()
    except KeyboardInterrupt:
        record.fail("interrupted")
        console.print(f"\nInterrupted. Local mode and a started execution continue: `whippet watch --local`, `{STOP}`")
        raise typer.Exit(130) from None
    except USER_ERRORS as error:
        record.fail(explain(error))
        console.print("\n[bold red]✗[/]", Text(explain(error)), soft_wrap=True)
        console.print(f"  Logs: {home() / 'logs'}   Again: make demo   Stop: {STOP}")
        raise typer.Exit(1) from error
    except BaseException as error:
        record.fail(f"{type(error).__name__}: {error}")
        raise


def play(console: Console, record: DemoRecord, machine: LocalMachine, project: str, data: Path | None, value: dict[str, Any]) -> None:
    """Run the verbs in order."""
    console.print(
        Text.assemble("\n  ", ("Whippet", "bold"), ("  photos in class folders become a deployed classifier, on this machine\n", "dim"))
    )
    target, photos = prepare(console, machine, project, data)
    carry_out(console, record, target, photos, value)


def carry_out(console: Console, record: DemoRecord, target: Target, photos: DemoPhotos, value: dict[str, Any]) -> None:
    """Run the execution and one prediction on a prepared target."""
    started_at = time.monotonic()
    arn = start_execution(target, value)
    record.note(execution_arn=arn, api_url=target.predict_url())
    console.print()
    execution = follow(console, target, arn)
    record.note_execution(execution)
    if execution.status != "SUCCEEDED":
        print_log_tail(console, target, execution)
        raise RefusedError(f"The execution ended as {execution.status}: {explain_failure(execution) or 'without a cause'}")
    if execution.deployed:
        photo = choose_photo(photos, lambda: list_test_photos(target, execution))
        answer = classify(target, photo)
        record.note_seconds(start_to_answer=time.monotonic() - started_at)
        record.note(prediction={**answer, "photo": str(photo)}, endpoint_name=execution.output["endpoint"])
        show_answer(console, photo, answer)
    else:
        console.print()
        print_rejection(console, target, execution)
    report = fetch_report(target, execution, home() / "report")
    record.note_report(report.documents, read_statuses(execution, report.documents))
    show_result(console, target, execution, report)


def prepare(
    console: Console, machine: LocalMachine, project: str, data: Path | None, weights: Callable[[Path, Say], Path] = ensure_weights
) -> tuple[Target, DemoPhotos]:
    """Prepare the execution; downloads run while local mode starts, and the user's own photos are checked first."""
    cache = home() / "cache"
    with Steps(console) as steps, ThreadPoolExecutor(2) as pool:
        photos = _start_photos(steps, pool, cache, data)
        converted = pool.submit(steps.run, "weights", lambda say: weights(cache, say), lambda _: "ResNet50, ImageNet; converted from Keras")
        target = steps.run(
            "local mode", lambda say: _start(machine, project, say), lambda made: f"AWS at {made.environment['AWS_ENDPOINT_URL']}"
        )
        steps.run(
            "deployment",
            lambda say: deploy_stack(target, lambda line: say(_name_resource(line))),
            lambda _: f"stack {project} by cdk deploy",
        )
        found, file = photos.result(), converted.result()
        steps.run("upload", lambda say: _upload(target, found, file, say), lambda sent: sent)
    return target, found


def list_test_photos(target: Target, execution: Execution) -> list[str]:
    """List the test photos, from a small file of the report."""
    bucket, prefix = locate_report(target, execution)
    content = bucket.get(f"{prefix}data.json")
    if content is None:
        raise make_missing_report_error(target, execution)
    return [str(name) for name in json.loads(content)["test_photos"]]


def show_answer(console: Console, photo: Path, answer: dict[str, Any]) -> None:
    """Print the endpoint's prediction for the photo."""
    console.print()
    console.print(Rule("The answer", style="dim", align="left"))
    print_answer(console, photo, answer)


def show_result(console: Console, target: Target, execution: Execution, report: FetchedReport) -> None:
    """Print the rule results, the insights, the figures, and the locations of all outputs."""
    console.print()
    console.print(Rule("What to know", style="dim", align="left"))
    print_insights(console, select_insights(execution, report.documents))
    print_rule_statuses(console, read_statuses(execution, report.documents), execution.input.get("debugger") == "off")
    figures = report.documents["evaluation"]
    best = execution.output["best"]
    console.print()
    console.print(Rule("The classifier", style="dim", align="left"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("accuracy", f"{figures['test_accuracy']:.1%} on test photos, {figures['valid_accuracy']:.1%} on validation photos")
    table.add_row("tuned", f"learning rate {best['lr']:.4g}, batch size {best['batch_size']:.0f}, of {len(execution.trials)} tried")
    table.add_row("took", f"{format_duration(execution.seconds)} from photos to {'endpoint' if execution.deployed else 'verdict'}")
    if execution.deployed:
        table.add_row("page", Text.assemble((target.page_url(), "bold"), explain_page_access(target)))
    table.add_row("report", str(report.page))
    if report.profiler:
        table.add_row("profiler", str(report.profiler))
    table.add_row("logs", str(home() / "logs"))
    table.add_row("record", str(home() / "demo.json"))
    table.add_row("look", ".venv/bin/whippet status --local")
    table.add_row("stop", STOP)
    console.print(table)


def _start_photos(steps: Steps, pool: ThreadPoolExecutor, cache: Path, data: Path | None) -> Future[DemoPhotos]:
    """Check the user's photos now, or fetch the chess pieces in the background."""

    def work(say: Say) -> DemoPhotos:
        return open_own_photos(data, cache) if data else fetch_chess_photos(cache, say)

    photos = pool.submit(steps.run, "photos", work, lambda found: found.folder.describe())
    if data:
        photos.result()
    return photos


def _start(machine: LocalMachine, project: str, say: Say) -> Target:
    machine.start(say)
    return local_target(project, machine)


def _upload(target: Target, photos: DemoPhotos, weights: Path, say: Say) -> str:
    upload_weights(target, weights, STRIDE, SOURCE)
    sent = 0

    def count(done: int) -> None:
        nonlocal sent
        sent += done
        say(f"{sent:,} of {len(photos.folder.photos):,} photos")

    done = upload_photos(target, photos.folder, True, count)
    return f"{done.sent:,} photos uploaded, {done.skipped:,} already there"


def _name_resource(line: str) -> str:
    """Return the resource in a line of `cdk deploy`."""
    return line.rsplit("| ", 1)[-1].strip()


if __name__ == "__main__":
    typer.run(demo)
