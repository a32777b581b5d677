"""Overfit: validation photos are judged clearly worse than training photos.

Runs in training jobs after the training. Needs losses of both TRAIN and EVAL steps.
"""

from statistics import fmean
from typing import Any

from training.rules.tensor_rule import TensorRule, modes


class Overfit(TensorRule):
    """Met when (mean validation loss - mean training loss) / mean training loss exceeds a ratio for `patience` evaluations in a row.

    The means are those since the evaluation before: one epoch's training steps, and the evaluation after them.
    """

    needs = ("losses",)
    compares = "EVAL losses after TRAIN losses"

    def __init__(self, base_trial: Any, start_step: int = 0, patience: int = 1, ratio_threshold: float = 0.1) -> None:
        """`start_step`: EVAL step before which nothing is judged."""
        super().__init__(base_trial)
        self.start_step, self.patience, self.ratio_threshold = start_step, patience, ratio_threshold
        self._in_a_row = 0

    def look(self, mode: Any, step: int) -> str | None:
        """Compare at each evaluation step."""
        if mode != modes.EVAL or step < self.start_step:
            return None
        ratios = {name: ratio for name in self.names("losses") if (ratio := self._ratio(name, step)) is not None}
        for name, ratio in ratios.items():
            self._in_a_row = self._in_a_row + 1 if ratio > self.ratio_threshold else 0
            if self._in_a_row >= self.patience:
                return f"the validation {name} is {100 * ratio:.0f} % above that of training, more than {100 * self.ratio_threshold:g} %"
        return "" if ratios else None

    def _ratio(self, name: str, step: int) -> float | None:
        trial = self.base_trial
        earlier = [trial.global_step(modes.EVAL, other) for other in self.steps(name, modes.EVAL) if other < step]
        window = range(max(earlier, default=-1) + 1, trial.global_step(modes.EVAL, step))
        train = [
            self.loss(name, modes.TRAIN, other)
            for other in self.steps(name, modes.TRAIN)
            if trial.global_step(modes.TRAIN, other) in window
        ]
        return (self.loss(name, modes.EVAL, step) - fmean(train)) / fmean(train) if train and fmean(train) > 0 else None
