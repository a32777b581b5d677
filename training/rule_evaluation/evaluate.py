"""The rules' process: follows the tensors of a running training, and writes the rules' verdicts when they change.

Runs beside a training job, started by training.rule_evaluation.watch, and in local mode's plane:

    python -m training.rule_evaluation.evaluate --tensors FOLDER_OR_S3 --statuses FILE --configurations FILE [--stop-file FILE]

Ends when its standard input is closed or `training_job_end.ts` is among the tensors, after it has judged the remaining steps.
"""

import argparse
import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smdebug.core.access_layer.utils import has_training_ended
from smdebug.trials import create_trial

from training.job.json_files import write_json
from training.rule_evaluation.builtin import stops_training
from training.rule_evaluation.judge import SAVE_MORE, Judging
from training.rule_evaluation.status import RuleStatus, report_errors, utc_now
from training.rules.saved_tensors import has_collections

POLL_S = 1.0
STEPS_AT_ONCE = 200
"""Saved steps that are judged between two updates of the verdicts, so that a long backlog neither hides issues nor delays a stop."""
DETAILS_S = 5.0
"""Seconds between two updates in which only the details of verdicts changed."""
NICEST = 19


class Evaluation:
    """The evaluation of one folder of tensors, which may still be empty."""

    def __init__(self, tensors: str, configurations: Sequence[Mapping[str, Any]], statuses: Path, stop_file: Path | None) -> None:
        """`stop_file`: written when a rule finds an issue that ends the training."""
        self._tensors, self._configurations = tensors, configurations
        self._statuses, self._stop_file = statuses, stop_file
        self._judging: Judging | None = None
        self._started = time.time()
        self._written: list[tuple[str, int]] = []
        self._details: list[str] = []
        self._written_at = 0.0

    def follow(self, is_over: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
        """Judge new steps until the training is over, and then the remaining ones."""
        self._write(ended=False)
        while not is_over():
            judged = self._advance()
            if not judged and self._judging:
                self._judging.wait()
            self._write(ended=False)
            if judged < STEPS_AT_ONCE:
                sleep(POLL_S)
        while self._advance():
            self._write(ended=False)
        self._write(ended=True)

    def _advance(self) -> int:
        if self._judging is None and has_collections(self._tensors):
            self._judging = Judging(create_trial(self._tensors), self._configurations, self._started)
        return self._judging.advance(STEPS_AT_ONCE) if self._judging else 0

    def _write(self, *, ended: bool) -> None:
        found = self._found(ended=ended)
        state = [(status.RuleEvaluationStatus, len(status.Evidence)) for status in found]
        details = [status.StatusDetails for status in found]
        is_due = time.monotonic() - self._written_at >= DETAILS_S
        if ended or state != self._written or (details != self._details and is_due):
            write_file(self._statuses, [asdict(status) for status in found])
            self._written, self._details, self._written_at = state, details, time.monotonic()
            self._stop(found)

    def _found(self, *, ended: bool) -> list[RuleStatus]:
        if self._judging:
            return self._judging.statuses(utc_now, ended=ended)
        if ended:
            return report_errors(f"no tensors were saved in {self._tensors}", utc_now, self._configurations, SAVE_MORE)
        at = utc_now().isoformat()
        return [
            RuleStatus(each["RuleConfigurationName"], "InProgress", "no tensor was saved yet", at, dict(each.get("RuleParameters", {})))
            for each in self._configurations
        ]

    def _stop(self, found: Sequence[RuleStatus]) -> None:
        if self._stop_file is None or self._stop_file.exists():
            return
        for status, configuration in zip(found, self._configurations, strict=True):
            if status.RuleEvaluationStatus == "IssuesFound" and stops_training(configuration):
                write_file(self._stop_file, {"rule": status.RuleConfigurationName, "details": status.StatusDetails})
                return


def write_file(file: Path, document: Any) -> None:
    """Write JSON so that a reader sees either the complete new file or the previous one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, document)


def watch_pipe(descriptor: int) -> Callable[[], bool]:
    """Return a function that returns, without waiting, whether the other end of a pipe is closed."""

    def closed() -> bool:
        while select.select([descriptor], [], [], 0)[0]:
            if not os.read(descriptor, 4096):
                return True
        return False

    return closed


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow a training to its end; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", required=True)
    parser.add_argument("--statuses", type=Path, required=True)
    parser.add_argument("--configurations", type=Path, required=True)
    parser.add_argument("--stop-file", type=Path)
    given = parser.parse_args(arguments)
    os.nice(NICEST)
    configurations = json.loads(given.configurations.read_text(encoding="utf-8"))
    closed = watch_pipe(sys.stdin.fileno())
    Evaluation(given.tensors, configurations, given.statuses, given.stop_file).follow(lambda: closed() or has_training_ended(given.tensors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
