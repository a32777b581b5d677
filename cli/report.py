"""`whippet report`: fetches the report of an execution's final training job, and prints its most important results.

Runs on the user's machine: `whippet report [ARN] [--folder FOLDER] [--local]`. Reads only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.account.target import Target, home, open_target
from cli.executions.assessment import print_accuracy, print_rejection
from cli.executions.execution import Execution, TrainingJob, build_run_name, read_execution, require_latest_execution
from cli.executions.rule_results import KINDS, print_insights, print_rule_statuses, read_statuses, select_insights
from cli.photos.bucket import Bucket
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console

DOCUMENTS = ("evaluation", "insights", *KINDS)
"""JSON files of the report that are read here."""
PROFILER_PAGE = "profiler-report.html"
FETCHED = ".fetched.json"
"""The list of files fetched into a folder, so that the next fetch removes only these."""
KNOWN = [*(f"{name}.json" for name in DOCUMENTS), PROFILER_PAGE, f"profiler/{PROFILER_PAGE}"]
"""Files of an older fetch without such a list."""


@dataclass(frozen=True)
class FetchedReport:
    """A report on this machine."""

    folder: Path
    documents: dict[str, Any]
    """The contents of its JSON files by name; files that older jobs did not write are missing."""
    profiler: Path | None = None
    """The profiler's page, if there is one."""

    @property
    def page(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"


def report(
    arn: Annotated[str, typer.Argument(help="Execution ARN; default: the one that started last.", show_default=False)] = "",
    folder: Annotated[Path | None, typer.Option(help="Where to put it; default: .local/report.", show_default=False)] = None,
    local: Local = False,
    project: Project = None,
) -> None:
    """Fetch the training report: what happened, why it matters, what to change."""
    console, target = open_console(), open_target(local, project)
    execution = read_execution(target, arn or require_latest_execution(target))
    fetched = fetch_report(target, execution, folder or home() / "report")
    print_report(console, target, execution, fetched)


def print_report(console: Console, target: Target, execution: Execution, fetched: FetchedReport) -> None:
    """Print the insights, the rule results, and the path of the page."""
    if execution.rejection_reasons is not None:
        print_rejection(console, target, execution)
    print_accuracy(console, execution)
    print_insights(console, select_insights(execution, fetched.documents))
    print_rule_statuses(console, read_statuses(execution, fetched.documents), execution.input.get("debugger") == "off")
    console.print(f"  report    {fetched.page}", style="dim", soft_wrap=True)
    if fetched.profiler:
        console.print(f"  profiler  {fetched.profiler}", style="dim", soft_wrap=True)


def fetch_report(target: Target, execution: Execution, folder: Path) -> FetchedReport:
    """Fetch the final training job's report into a folder, after removing the files of an earlier fetch."""
    bucket, prefix = locate_report(target, execution)
    if not bucket.objects(prefix):
        raise make_missing_report_error(target, execution)
    _forget(folder)
    names = bucket.download(prefix, folder)
    files = {name: folder / f"{name}.json" for name in DOCUMENTS if f"{name}.json" in names}
    profiler = folder / PROFILER_PAGE if PROFILER_PAGE in names else _download_profiler_page(bucket, prefix, folder, names)
    (folder / FETCHED).write_text(json.dumps(names), encoding="utf-8")
    return FetchedReport(folder, {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}, profiler)


def _forget(folder: Path) -> None:
    """Remove only the files of an earlier fetch: the folder may contain other files."""
    listed = folder / FETCHED
    names = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else KNOWN
    for name in names:
        file = folder / name
        if file.resolve().is_relative_to(folder.resolve()):
            file.unlink(missing_ok=True)


def _download_profiler_page(bucket: Bucket, report: str, folder: Path, names: list[str]) -> Path | None:
    """Download the page that AWS's Debugger wrote after the job's end; None if there is none."""
    prefix = f"{report.removesuffix('report/')}rule-output/"
    written = sorted(key for key in bucket.objects(prefix) if key.endswith(f"/{PROFILER_PAGE}"))
    if not written:
        return None
    more = bucket.download(written[-1].removesuffix(PROFILER_PAGE), folder / "profiler")
    names += [f"profiler/{name}" for name in more]
    return folder / "profiler" / PROFILER_PAGE


def locate_report(target: Target, execution: Execution) -> tuple[Bucket, str]:
    """Return the bucket and the prefix of the final training job's report, which also a failed execution may have."""
    job = execution.training
    if "report" in execution.output:
        name, _, prefix = str(execution.output["report"]).removeprefix("s3://").partition("/")
    elif job is not None and job.status != "InProgress":
        run = build_run_name(target.project, execution.arn, execution.started)
        name, prefix = target.outputs().bucket, f"executions/{run}/training/{job.name}/report/"
    else:
        raise RefusedError(f"The execution is {execution.status}: it has no report. `whippet watch{target.option}` shows its progress.")
    return Bucket(target.client("s3"), name), prefix


def make_missing_report_error(target: Target, execution: Execution) -> RefusedError:
    """Make the error for a missing report."""
    bucket, prefix = locate_report(target, execution)
    job = execution.training
    stream = f", streams of {job.name}" if job else ""
    log = str(home() / "logs") if target.local else f"CloudWatch Logs, log group {TrainingJob.log_group}{stream}"
    return RefusedError(f"The training job has not written a report to s3://{bucket.name}/{prefix}. Its log is in {log}.")
