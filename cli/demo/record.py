"""The demo's record for programs, `.local/demo.json`: filled during the demo, written at its end, also after a failure."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.executions.execution import Execution, TrainingJob


class DemoRecord:
    """The values so far. `seconds` has every state by name, `total`, and `start_to_answer`."""

    def __init__(self, file: Path, now: Callable[[], float] = time.monotonic) -> None:
        """Start an empty record for `file`."""
        self._file, self._now = file, now
        self._began = now()
        self._values: dict[str, Any] = {}
        self._seconds: dict[str, float] = {}

    def start(self) -> None:
        """Delete the record of the last demo, so that it is not mistaken for this one's."""
        self._file.unlink(missing_ok=True)

    def note(self, **values: Any) -> None:
        """Add values."""
        self._values |= values

    def note_seconds(self, **seconds: float) -> None:
        """Add durations."""
        self._seconds |= {name: round(value, 2) for name, value in seconds.items()}

    def note_execution(self, execution: Execution) -> None:
        """Add the states, the tuning job's training jobs and the best values."""
        self.note_seconds(**{state.name: state.seconds for state in execution.states})
        best = execution.output.get("best", {})
        if execution.status == "SUCCEEDED":
            self.note(deployed=execution.deployed, reasons=execution.rejection_reasons or [])
        self.note(
            trials=[_trial(job) for job in execution.trials], best={name: best[name] for name in ("lr", "batch_size") if name in best}
        )

    def note_report(self, documents: Mapping[str, Any], statuses: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Add the results of the training job's report, and the statuses of both kinds of rules."""
        self.note(**{name: documents["evaluation"][name] for name in ("classes", "valid_accuracy", "test_accuracy")})
        self.note(**statuses, insights=documents.get("insights", []))

    def succeed(self) -> None:
        """Write the record of a successful demo."""
        self._write({"status": "SUCCEEDED"})

    def fail(self, error: str) -> None:
        """Write the record of a failed demo, with the values so far."""
        self._write({"status": "FAILED", "error": error})

    def _write(self, end: dict[str, str]) -> None:
        self.note_seconds(total=self._now() - self._began)
        values = {**end, **self._values, "seconds": self._seconds}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")
        part.replace(self._file)


def _trial(job: TrainingJob) -> dict[str, Any]:
    return {
        "name": job.name,
        "lr": job.lr,
        "batch_size": job.batch_size,
        "objective": job.objective,
        "status": job.status,
        "seconds": round(job.seconds, 1),
    }
