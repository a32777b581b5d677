"""Starts the rules' process beside the training, and reads its results.

Runs in training jobs. If that process fails, the training continues, and no rule reports NoIssuesFound.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from training.rule_evaluation.status import RuleStatus, from_document, report_errors

READ_THE_LOG = "Find out from the job's log why the rules did not finish: steps that they did not see were not judged."
STATUSES, STOP, LOG, CONFIGURATIONS = "statuses.json", "stop.json", "rules.log", "configurations.json"
"""Files below the folder that the process writes to."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
REPOSITORY = Path(__file__).resolve().parent.parent.parent
SLICE_S = 1.0
"""Seconds between two checks whether to stop waiting for the rules."""
GIVEN_UP = "the job was stopped before the rules had finished"


class RuleWatch:
    """The process of one training's rules."""

    def __init__(self) -> None:
        """Start without a process; `start` starts it."""
        self._configurations: Sequence[Mapping[str, Any]] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._output = Path()
        self._looked = 0.0
        self._reason: str | None = None

    def start(self, tensors: Path, output: Path, configurations: Sequence[Mapping[str, Any]]) -> None:
        """Have rules follow the tensors in a folder, and write their verdicts to `output`/statuses.json.

        Raises:
            OSError: the process cannot be started, or its folder cannot be written.
        """
        self._configurations, self._output = configurations, output
        output.mkdir(parents=True, exist_ok=True)
        for name in (STATUSES, STOP):
            output.joinpath(name).unlink(missing_ok=True)
        output.joinpath(CONFIGURATIONS).write_text(json.dumps(list(configurations)), encoding="utf-8")
        files = [
            f"--{kind}={output / name}" for kind, name in (("statuses", STATUSES), ("stop-file", STOP), ("configurations", CONFIGURATIONS))
        ]
        path = os.pathsep.join(filter(None, (str(REPOSITORY), *sys.path)))
        with output.joinpath(LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "training.rule_evaluation.evaluate", f"--tensors={tensors}", *files],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path, "SMDEBUG_LOG_LEVEL": "error", "CUDA_VISIBLE_DEVICES": ""},
                start_new_session=True,
            )

    def stop_reason(self) -> str | None:
        """Return which rule ends the training, and why; None while it continues. Checks at most once per second."""
        if self._process and self._reason is None and time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            with suppress(FileNotFoundError):
                found = json.loads(self._output.joinpath(STOP).read_text(encoding="utf-8"))
                self._reason = f"{found['rule']}: {found['details']}"
        return self._reason

    def finish(self, timeout_s: float, must_stop: Callable[[], bool] = lambda: False) -> list[RuleStatus]:
        """Have the process judge the remaining steps, return its verdicts, and end it. With 0 s this does not wait.

        If it did not finish, only the issues found so far stand; all other verdicts are Error, or Stopped if the wait ended because the job
        must stop.
        """
        problem = "the rules' process was never started" if self._process is None else self._end(self._process, timeout_s, must_stop)
        found: list[RuleStatus] = []
        with suppress(FileNotFoundError):
            found = [from_document(each) for each in json.loads(self._output.joinpath(STATUSES).read_text(encoding="utf-8"))]
        if problem is None and not found:
            problem = "the rules' process wrote no verdicts"
        if problem is None:
            return found
        issues = {status.RuleConfigurationName: status for status in found if status.RuleEvaluationStatus == "IssuesFound"}
        errors = report_errors(problem, configurations=self._configurations, advice=READ_THE_LOG)
        if problem == GIVEN_UP:
            errors = [replace(status, RuleEvaluationStatus="Stopped", StatusDetails=problem, Advice="") for status in errors]
        return [issues.get(status.RuleConfigurationName, status) for status in errors]

    def publish(self, statuses: Sequence[RuleStatus]) -> None:
        """Write the final verdicts to `output`/statuses.json, in place of those of the process.

        Raises:
            OSError: it cannot be written.
        """
        unfinished = self._output / f"{STATUSES}.tmp"
        try:
            unfinished.write_text(json.dumps([asdict(status) for status in statuses], indent=2), encoding="utf-8")
            unfinished.replace(self._output / STATUSES)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def _end(self, process: subprocess.Popen[bytes], timeout_s: float, must_stop: Callable[[], bool]) -> str | None:
        """End the process; return the error, if any."""
        with suppress(BrokenPipeError):
            if process.stdin:
                process.stdin.close()
        code, deadline = process.poll(), time.monotonic() + timeout_s
        while code is None:
            given_up, left = must_stop(), deadline - time.monotonic()
            if given_up or left <= 0:
                process.kill()
                process.wait()
                return GIVEN_UP if given_up else f"the rules' process had not finished after {timeout_s:g} s"
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(min(SLICE_S, left))
        return f"the rules' process ended with code {code}: {self._read_last_line()}" if code else None

    def _read_last_line(self) -> str:
        with suppress(FileNotFoundError):
            lines = self._output.joinpath(LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else "its log is empty"
        return "its log is missing"
