"""`whippet report`: fetches the report of an execution's final training job, and says what it says first.

Runs on the user's machine: `whippet report [ARN] [--folder FOLDER] [--local]`. Reads only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.account.target import Target, home, open_target
from cli.executions.assessment import print_accuracy, say_kept_back
from cli.executions.execution import Execution, TrainingJob, read_execution, run_name, the_latest
from cli.executions.rule_results import KINDS, insights_of, print_insights, print_verdicts, statuses_of
from cli.photos.bucket import Bucket
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import screen

DOCUMENTS = ("evaluation", "insights", *KINDS)
"""JSON files of the report that are read here."""
PROFILER_PAGE = "profiler-report.html"
FETCHED = ".fetched.json"
"""Lists what was fetched into a folder, so that the next report removes it and nothing else."""
KNOWN = [*(f"{name}.json" for name in DOCUMENTS), PROFILER_PAGE, f"profiler/{PROFILER_PAGE}"]
"""What a fetch without such a list may have left."""


@dataclass(frozen=True)
class FetchedReport:
    """A report on this machine."""

    folder: Path
    documents: dict[str, Any]
    """What its JSON files hold, by name; a file that an older job did not write is missing."""
    profiler: Path | None = None
    """The profiler's own page, where there is one."""

    @property
    def page(self) -> Path:
        """What people read."""
        return self.folder / "report.html"


def report(
    arn: Annotated[str, typer.Argument(help="Execution ARN; default: the one that started last.", show_default=False)] = "",
    folder: Annotated[Path | None, typer.Option(help="Where to put it; default: .local/report.", show_default=False)] = None,
    local: Local = False,
    project: Project = None,
) -> None:
    """Fetch the training report: what happened, why it matters, what to change."""
    console, target = screen(), open_target(local, project)
    execution = read_execution(target, arn or the_latest(target))
    fetched = fetch_report(target, execution, folder or home() / "report")
    print_report(console, target, execution, fetched)


def print_report(console: Console, target: Target, execution: Execution, fetched: FetchedReport) -> None:
    """The insights, the verdicts, and where the page is."""
    if execution.kept_back is not None:
        say_kept_back(console, target, execution)
    print_accuracy(console, execution)
    print_insights(console, insights_of(execution, fetched.documents))
    print_verdicts(console, statuses_of(execution, fetched.documents), execution.input.get("debugger") == "off")
    console.print(f"  report    {fetched.page}", style="dim", soft_wrap=True)
    if fetched.profiler:
        console.print(f"  profiler  {fetched.profiler}", style="dim", soft_wrap=True)


def fetch_report(target: Target, execution: Execution, folder: Path) -> FetchedReport:
    """The final training job's report, from the bucket into a folder; what an earlier fetch put there goes first."""
    bucket, prefix = report_folder(target, execution)
    if not bucket.objects(prefix):
        raise no_report(target, execution)
    _forget(folder)
    names = bucket.download(prefix, folder)
    files = {name: folder / f"{name}.json" for name in DOCUMENTS if f"{name}.json" in names}
    profiler = folder / PROFILER_PAGE if PROFILER_PAGE in names else _profiler_page(bucket, prefix, folder, names)
    (folder / FETCHED).write_text(json.dumps(names), encoding="utf-8")
    return FetchedReport(folder, {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}, profiler)


def _forget(folder: Path) -> None:
    """Removes what an earlier fetch put into the folder, and nothing else: it may be anybody's."""
    listed = folder / FETCHED
    names = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else KNOWN
    for name in names:
        file = folder / name
        if file.resolve().is_relative_to(folder.resolve()):
            file.unlink(missing_ok=True)


def _profiler_page(bucket: Bucket, report: str, folder: Path, names: list[str]) -> Path | None:
    """The page that AWS's Debugger wrote after the job's end, from where it leaves it; None where there is none."""
    prefix = f"{report.removesuffix('report/')}rule-output/"
    written = sorted(key for key in bucket.objects(prefix) if key.endswith(f"/{PROFILER_PAGE}"))
    if not written:
        return None
    more = bucket.download(written[-1].removesuffix(PROFILER_PAGE), folder / "profiler")
    names += [f"profiler/{name}" for name in more]
    return folder / "profiler" / PROFILER_PAGE


def report_folder(target: Target, execution: Execution) -> tuple[Bucket, str]:
    """The bucket and the prefix of the final training job's report; an execution may have failed after that job."""
    job = execution.training
    if "report" in execution.output:
        name, _, prefix = str(execution.output["report"]).removeprefix("s3://").partition("/")
    elif job is not None and job.status != "InProgress":
        run = run_name(target.project, execution.arn, execution.started)
        name, prefix = target.outputs().bucket, f"executions/{run}/training/{job.name}/report/"
    else:
        raise RefusedError(f"The execution is {execution.status}: it has no report. `whippet watch{target.option}` says how it stands.")
    return Bucket(target.client("s3"), name), prefix


def no_report(target: Target, execution: Execution) -> RefusedError:
    """What to say where a report should be and is not."""
    bucket, prefix = report_folder(target, execution)
    job = execution.training
    stream = f", streams of {job.name}" if job else ""
    log = str(home() / "logs") if target.local else f"CloudWatch Logs, log group {TrainingJob.log_group}{stream}"
    return RefusedError(f"The training job left no report in s3://{bucket.name}/{prefix}. Its log is in {log}.")
