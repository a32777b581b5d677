"""PoorWeightInitialization: a network whose first weights prevent it from learning.

Runs in training jobs, and wherever rules are evaluated. Needs inputs of activations; looks at gradients and losses where they are saved.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule

NORMAL_RANGE = 3.29
"""Standard deviations from the 5th to the 95th percentile of a normal distribution, for gradients saved as reductions."""


class PoorWeightInitialization(TensorRule):
    """Met in the first `steps` training steps with saved activation inputs, in one of three ways.

    The variances of two layers' activation inputs differ by a factor of more than `threshold`; the 5th and 95th percentile of a gradient
    differ by less than `distribution_range`; a loss has no new minimum for `patience` of these steps.
    """

    advice = (
        "Start with pretrained weights, or initialise by He's or Xavier's rule: the layers differ too much, or their output is almost zero."
    )

    def __init__(
        self,
        base_trial: Any,
        activation_inputs_regex: str | Sequence[str] | None = ".*relu_input",
        threshold: float = 10.0,
        distribution_range: float = 0.001,
        patience: int = 5,
        steps: int = 10,
    ) -> None:
        """`activation_inputs_regex`: names of the activations' inputs; `steps`: how many steps are looked at."""
        super().__init__(base_trial)
        self.watched = TensorFilter(None, activation_inputs_regex)
        self.threshold, self.distribution_range, self.patience, self.steps = threshold, distribution_range, patience, steps
        self.compares = f"{self.watched}"
        self._seen = 0
        self._best: dict[str, tuple[float, int]] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Look at the first training steps."""
        if not step.trains or self._seen >= self.steps:
            return None
        variances = {name: step.summary(name)["variance"] for name in self.watched.of(step) if "variance" in step.summary(name)}
        if not variances:
            return None
        self._seen += 1
        return [*self._unequal(variances), *self._narrow(step), *self._standing(step)]

    def _unequal(self, variances: dict[str, float]) -> list[Finding]:
        if len(variances) < 2:
            return []
        low, high = (choose(variances, key=lambda name: variances[name]) for choose in (min, max))
        ratio = variances[high] / variances[low] if variances[low] else float("inf") if variances[high] else 1.0
        if not ratio > self.threshold:
            return []
        what = f"the variance of {high} is {ratio:.3g} times that of {low}, more than {self.threshold:g} times"
        return [Finding(high, ratio, self.threshold, what)]

    def _narrow(self, step: SavedStep) -> list[Finding]:
        ranges = {name: width for name in step.named(["gradients"]) if (width := self._range(step, name)) is not None}
        if not ranges:
            return []
        name = min(ranges, key=lambda name: ranges[name])
        what = f"90 % of {name} are within {ranges[name]:.3g}, less than {self.distribution_range:g}"
        return [Finding(name, ranges[name], self.distribution_range, what)] if ranges[name] < self.distribution_range else []

    def _range(self, step: SavedStep, name: str) -> float | None:
        value = step.value(name)
        if value is None:
            deviation = step.summary(name).get("std")
            return None if deviation is None else NORMAL_RANGE * deviation
        if value.size < 2:
            return None
        low, high = np.percentile(value.astype(np.float64), [5, 95])
        return float(high - low)

    def _standing(self, step: SavedStep) -> list[Finding]:
        return [found for name in step.named(["losses"]) if (found := self._count(name, step.scalar(name)))]

    def _count(self, name: str, value: float | None) -> Finding | None:
        if value is None:
            return None
        best, ago = self._best.get(name, (float("inf"), 0))
        self._best[name] = (value, 0) if value < best else (best, ago + 1)
        ago = self._best[name][1]
        if ago < self.patience:
            return None
        return Finding(
            name, ago, self.patience, f"{name} has had no new minimum for {ago} of the first steps, at {self._best[name][0]:.4g}"
        )
