"""LossNotDecreasing: the loss does not fall, or rises.

Runs in training jobs, and wherever rules are evaluated.
"""

import math
from collections.abc import Sequence
from typing import Any

from smdebug import modes

from training.rules.saved_tensors import SavedStep, split_names
from training.rules.tensor_rule import Finding, TensorRule

MODES = ("EVAL", "TRAIN", "GLOBAL")


class LossNotDecreasing(TensorRule):
    """Met when over at least `num_steps` steps a loss fell by less than `diff_percent`, or rose by more than `increase_threshold_percent`.

    A smaller rise is accepted, as in AWS's documentation.

    Compared every `num_steps` steps, with the last loss at least that many steps earlier. Looks at the first of EVAL, TRAIN and GLOBAL
    with a saved step so far, unless `mode` names one.
    """

    advice = "Choose another learning rate (lower if the loss rises or jumps, higher if it does not fall), and check the labels."

    def __init__(
        self,
        base_trial: Any,
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = None,
        use_losses_collection: bool = True,
        num_steps: int = 10,
        diff_percent: float = 0.1,
        increase_threshold_percent: float = 5.0,
        mode: str | None = None,
    ) -> None:
        """`diff_percent`, `increase_threshold_percent`: of the earlier loss."""
        super().__init__(base_trial)
        if mode not in (None, *MODES):
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        self.num_steps, self.diff_percent, self.increase_threshold_percent = num_steps, diff_percent, increase_threshold_percent
        self.mode = mode
        self._collections = split_names(collection_names) + (("losses",) if use_losses_collection else ())
        self._patterns = split_names(tensor_regex)
        self.compares = f"{mode or 'EVAL, TRAIN or GLOBAL'} losses {num_steps} steps apart"
        self._history: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self._checked: dict[tuple[str, str], int] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare each loss with the one `num_steps` earlier, every `num_steps` steps."""
        if step.mode != (self.mode or self._first_mode()):
            return None
        pairs = {name: pair for name in step.named(self._collections, self._patterns) if (pair := self._pair(step, name))}
        return [found for name, pair in pairs.items() if (found := self._compare(name, *pair))] if pairs else None

    def _pair(self, step: SavedStep, name: str) -> tuple[float, float] | None:
        """Record the loss; return the earlier loss and this one if they are to be compared."""
        key, now = (step.mode, name), step.scalar(name)
        if now is None:
            return None
        history = self._history.setdefault(key, [])
        history.append((step.number, now))
        if step.number < self._checked.setdefault(key, step.number) + self.num_steps:
            return None
        self._checked[key] = step.number
        before = next(value for number, value in reversed(history) if number <= step.number - self.num_steps)
        return before, now

    def _compare(self, name: str, before: float, now: float) -> Finding | None:
        change = 100 * (now - before) / abs(before) if before else 0.0
        values = f"from {before:.4g} to {now:.4g}"
        if change > self.increase_threshold_percent:
            return Finding(
                name, change, self.increase_threshold_percent, f"{name} rose by {change:.1f} % in {self.num_steps} steps, {values}"
            )
        if not math.isfinite(change):
            return Finding(name, change, -self.diff_percent, f"{name} is NaN or infinite after {self.num_steps} steps, {values}")
        if -self.diff_percent < change <= 0:
            what = f"{name} fell by less than {self.diff_percent:g} % in {self.num_steps} steps, {values}"
            return Finding(name, change, -self.diff_percent, what)
        return None

    def _first_mode(self) -> str:
        return next((name for name in MODES[:2] if self.base_trial.steps(mode=modes[name])), "GLOBAL")
