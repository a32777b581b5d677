"""StalledTrainingRule: a training that saves nothing for a long time.

Runs in training jobs, and wherever rules are evaluated. AWS's list names it StalledTraining, rule_to_invoke StalledTrainingRule.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorRule


class StalledTrainingRule(TensorRule):
    """Met when no tensor was saved for `threshold` seconds: between two saved steps, or since the last one during the training.

    On this machine the files' times are those of the steps; for steps on S3 it is the time at which they are first seen.
    """

    advice = "Check in the job's log what it waited for at that time: a full disk, photos that do not arrive, a process that ended."
    compares = "two saved steps, whose times could be compared"

    def __init__(
        self,
        base_trial: Any,
        threshold: float = 1800,
        stop_training_on_fire: bool = False,
        training_job_name_prefix: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`threshold`: seconds; `stop_training_on_fire`: whether a finding ends the training."""
        super().__init__(base_trial)
        self.threshold, self.stops_training = threshold, stop_training_on_fire
        self.training_job_name_prefix = training_job_name_prefix
        self._clock = clock
        self.running_since = 0.0
        """Seconds since the epoch: the start or resumption of the job; the time before does not count."""
        self._last: tuple[float, SavedStep] | None = None
        self._reported = False

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare the time of this step with that of the step before."""
        before, now = self._last, self._saved_at(step)
        self._last, self._reported = (now, step), False
        if before is None:
            return None
        return self._judge(now - max(before[0], self.running_since), f"between {before[1].mode} step {before[1].number} and this one")

    def wait(self) -> bool:
        """Check how long ago the last step was saved; call this during the training. Return once whether that is too long."""
        if self._last is None or self._reported:
            return False
        saved_at, step = self._last
        found = self._judge(self._clock() - max(saved_at, self.running_since), "since this step")
        self._reported = bool(found)
        return self.note(found, step) if found else False

    def _judge(self, seconds: float, when: str) -> list[Finding]:
        what = f"nothing was saved for {seconds:.0f} s {when}, longer than {self.threshold:g} s"
        return [Finding("any tensor", seconds, self.threshold, what)] if seconds > self.threshold else []

    def _saved_at(self, step: SavedStep) -> float:
        name = f"{step.global_step:012}"
        folder = Path(str(self.base_trial.path), "events", name)
        times: list[float] = []
        with suppress(OSError), os.scandir(folder) as files:
            times = [file.stat().st_mtime for file in files if file.name.startswith(f"{name}_")]
        return max(times, default=self._clock())
