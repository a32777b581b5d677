"""The report of a training job: four JSON files for programs, one HTML page for people, and the verdicts of the rules.

Runs in the final training job, which writes it under the checkpoints, so that it reaches S3 uncompressed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training import data, evaluate
from training.data import LeftOut, PhotoSets
from training.debugger import Debugger
from training.evaluate import Evaluation
from training.loop import Epoch
from training.page import render_page
from training.rules.status import RuleStatus, could_not_judge


@dataclass(frozen=True)
class Report:
    """What the report is made of."""

    sets: PhotoSets
    left_out: Sequence[LeftOut]
    """Files found unusable by their header or when they were read."""
    history: Sequence[Epoch]
    best: Epoch
    evaluations: Mapping[str, Evaluation]
    """For valid and test, by the weights that were saved."""
    debugger: Debugger
    description: Mapping[str, Any]
    """What model.json holds."""


def write_report(folder: Path, report: Report) -> None:
    """Judge the rules and write data.json, history.json, evaluation.json, rule_statuses.json and report.html."""
    folder.mkdir(parents=True, exist_ok=True)
    statuses = [asdict(status) for status in rule_statuses(report.debugger)]
    contents: dict[str, Any] = {
        "data": data.to_json(report.sets, report.left_out),
        "history": [asdict(epoch) for epoch in report.history],
        "evaluation": evaluate.to_json(report.evaluations["test"], report.evaluations["valid"], report.sets.classes),
        "rule_statuses": statuses,
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(to_text(content), encoding="utf-8", errors="backslashreplace")
    (folder / "report.html").write_text(render_page(contents, report.best.epoch, report.description), encoding="utf-8", errors="replace")
    for status in statuses:
        print(f"rule {status['RuleConfigurationName']}: {status['RuleEvaluationStatus']} - {status['StatusDetails']}", flush=True)


def to_text(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return JSON with one entry of the outermost object or list a line: a matrix of 300 classes stays one line, not 90,000."""
    if isinstance(content, Mapping):
        lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in content) + "\n]\n"


def rule_statuses(debugger: Debugger) -> list[RuleStatus]:
    """Judge every rule on what the debugger saved; none where it was turned off, Error for all where tensors are missing or damaged."""
    if debugger.problem:
        return could_not_judge(debugger.problem)
    if debugger.folder is None:
        return []
    from smdebug.core.utils import error_handling_agent  # smdebug is there now that it has saved something

    def judged() -> list[RuleStatus]:
        from training.rules.judge import judge

        return judge(str(debugger.folder))

    statuses: list[RuleStatus] | None = error_handling_agent.catch_smdebug_errors()(judged)()  # after all the training, none must fail it
    return statuses or could_not_judge("smdebug could not read what it saved; its error is in the job's log")
