"""The report of a training job: JSON files for programs, and an HTML page that begins with what to change.

Runs in the final training job, which writes it below the checkpoints, so that it reaches S3 uncompressed:

    data.json            the data set's summary, and the names of the test photos
    history.json         one entry an epoch
    evaluation.json      described by training/evaluation/evaluation.schema.json in the repository
    test_predictions.json
                         the predicted class of each test photo, to compare the next model with this one:
                         training/evaluation/test_predictions.py
    model.json           the artefact's own description: hashes, hyperparameters, metrics; training/serving/artefact.py
    insights.json        the most important findings in sentences, the most urgent first: training/rule_evaluation/insight.py
    rule_statuses.json, profiler_rule_statuses.json
                         the verdicts of the debugger rules and the profiler rules
    profile.json         the machine's utilization, and the time of the steps by phase
    check.json, check/   a few test photos and the probabilities that an endpoint must return for them
    report.html          all of it as a page, with profiler-report.html beside it if the job evaluated its profile
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.contract import RULE_OUTPUT
from training.data.dataset import CHECK_FOLDER, SUMMARY, Dataset
from training.debugger.interface import Debugger
from training.evaluation import assessment, test_predictions
from training.evaluation.assessment import Assessment
from training.fit.loop import Epoch
from training.job.json_files import write_json
from training.report.insights.rank import insights
from training.report.page.document import render_page
from training.rule_evaluation.insight import Insight
from training.rule_evaluation.status import RuleStatus

MAX_LISTED = 1000
"""Test photos listed in data.json; of more, an evenly spaced selection."""

PROFILER_REPORT = "profiler-report.html"
"""File name of the profiler report."""


@dataclass(frozen=True)
class Report:
    """The contents of a report."""

    dataset: Dataset
    history: Sequence[Epoch]
    best: Epoch
    assessment: Assessment
    """Of the weights that were saved."""
    debugger: Debugger
    description: Mapping[str, Any]
    """What model.json holds."""
    rule_statuses: Sequence[RuleStatus] = ()
    """Of the debugger rules; empty if the job evaluated none."""
    profiler_rule_statuses: Sequence[RuleStatus] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    """What profile.json holds; empty if nothing was measured."""
    ended_by: str | None = None
    """Which rule ended the training early, and why: a sentence; None if none did."""


def write_report(folder: Path, report: Report) -> None:
    """Write the files named above into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, Any] = {
        "data": data_to_json(report.dataset),
        "history": [asdict(epoch) for epoch in report.history],
        "evaluation": assessment.to_json(report.assessment),
        "test_predictions": test_predictions.to_json(report.dataset, report.assessment.predicted),
        "model": dict(report.description),
        "rule_statuses": [asdict(status) for status in report.rule_statuses],
        "profiler_rule_statuses": [asdict(status) for status in report.profiler_rule_statuses],
        "profile": dict(report.profile),
        "check": report.description["check_photos"],
    }
    contents["insights"] = [asdict(insight) for insight in _insights(contents, report)]
    for name, content in contents.items():
        write_json(folder / f"{name}.json", content)
    _copy_check_photos(folder / CHECK_FOLDER, report.dataset)
    page = render_page(contents, report.best.epoch, report.description, _pictures(report), _copy_profiler_report(folder))
    (folder / "report.html").write_text(page, encoding="utf-8", errors="replace")
    _print(contents)


def _insights(contents: Mapping[str, Any], report: Report) -> list[Insight]:
    return insights(
        contents["rule_statuses"],
        contents["profiler_rule_statuses"],
        contents["history"],
        contents["evaluation"],
        contents["data"],
        contents["profile"],
        report.best.epoch,
        report.ended_by,
        report.debugger.problem,
    )


def _copy_profiler_report(folder: Path) -> str | None:
    """Copy the profiler report beside this report, so that the link also works after a download; return its name, or None."""
    written = sorted((folder.parent / RULE_OUTPUT).glob(f"ProfilerReport-*/profiler-output/{PROFILER_REPORT}"))
    if not written:
        return None
    shutil.copy(written[-1], folder / PROFILER_REPORT)
    return PROFILER_REPORT


def _print(contents: Mapping[str, Any]) -> None:
    """Log the verdicts and the insights; characters that the log cannot encode are escaped."""
    for line in _lines(contents):
        print(line.encode("utf-8", "backslashreplace").decode(), flush=True)


def _lines(contents: Mapping[str, Any]) -> Iterator[str]:
    for status in (*contents["rule_statuses"], *contents["profiler_rule_statuses"]):
        yield f"rule {status['RuleConfigurationName']}: {status['RuleEvaluationStatus']} - {status['StatusDetails']}"
    for insight in contents["insights"]:
        yield f"insight ({insight['severity']}): {insight['what']} {insight['change']}".rstrip()


def data_to_json(dataset: Dataset) -> dict[str, Any]:
    """Return the data set's summary, and the photos that the model was not trained on."""
    summary: dict[str, Any] = json.loads((dataset.folder / SUMMARY).read_text(encoding="utf-8"))
    photos = dataset.split("test")
    listed = photos[:: math.ceil(len(photos) / MAX_LISTED) or 1]
    return {**summary, "test_photos": [photo.name for photo in listed]}


def _copy_check_photos(folder: Path, dataset: Dataset) -> None:
    folder.mkdir(exist_ok=True)
    for photo in dataset.check_photos:
        shutil.copy(photo, folder / photo.name)


def _pictures(report: Report) -> list[bytes]:
    """Return a small JPEG of each of the worst errors; empty if the data set has no thumbnails."""
    thumbnails = report.dataset.thumbnails()
    return [thumbnails[error.index] for error in report.assessment.worst_errors] if thumbnails else []
