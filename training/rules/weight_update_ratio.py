"""WeightUpdateRatio: weights change too much between two steps, or hardly at all.

Runs in training jobs, and wherever rules are evaluated.
"""

from collections import deque
from typing import Any

import numpy as np

from training.rules.saved_tensors import Array, SavedStep
from training.rules.tensor_rule import Finding, TensorRule

Kept = tuple[int, Array | None, dict[str, float]]
"""Step, the whole tensor or None, its reductions."""


class WeightUpdateRatio(TensorRule):
    """Met when mean absolute update / (mean absolute weight before it + `epsilon`) is above or below its limits.

    For weights saved as reductions the update is unknown; the largest change of minimum, maximum, mean and mean absolute value replaces
    it, a lower bound of the largest update. Weights that were all zero have no ratio.
    """

    advice = "If the ratio is large, lower the learning rate; if it is small, raise it, or check whether the layer is trained at all."
    compares = "weights saved at two training steps"

    def __init__(
        self,
        base_trial: Any,
        num_steps: int | None = None,
        large_threshold: float = 10.0,
        small_threshold: float = 1e-8,
        epsilon: float = 1e-9,
    ) -> None:
        """`num_steps`: how many steps earlier the other weights may be; None for the last saved ones."""
        super().__init__(base_trial)
        self.num_steps = num_steps
        self.large_threshold, self.small_threshold, self.epsilon = large_threshold, small_threshold, epsilon
        self._kept: dict[tuple[str, str], deque[Kept]] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare the weights saved at this training step with earlier ones."""
        if not step.trains:
            return None
        ratios = {name: ratio for name in step.named(["weights"]) if (ratio := self._ratio(step, name)) is not None}
        return [found for name, ratio in ratios.items() if (found := self._judge(name, ratio))] if ratios else None

    def _ratio(self, step: SavedStep, name: str) -> float | None:
        kept = self._kept.setdefault((step.mode, name), deque(maxlen=1 if self.num_steps is None else None))
        while self.num_steps is not None and kept and kept[0][0] < step.number - self.num_steps:
            kept.popleft()
        before = kept[0] if kept else None
        value = step.value(name)
        now: Kept = (step.number, None if value is None else np.array(value, dtype=np.float32), dict(step.summary(name)))
        if now[2]:
            kept.append(now)
        return None if before is None else self._compare(before, now)

    def _compare(self, before: Kept, now: Kept) -> float | None:
        weight = before[2].get("abs_mean", before[2].get("std"))
        if not weight:
            return None
        if before[1] is not None and now[1] is not None and before[1].shape == now[1].shape:
            update = float(np.abs(now[1] - before[1]).mean(dtype=np.float64))
        else:
            changes = [
                abs(now[2][key] - before[2][key]) for key in ("min", "max", "mean", "abs_mean") if key in before[2] and key in now[2]
            ]
            if not changes:
                return None
            update = max(changes)
        return update / (weight + self.epsilon)

    def _judge(self, name: str, ratio: float) -> Finding | None:
        if ratio > self.large_threshold:
            what = f"{name} changed by {ratio:.3g} times its size, more than {self.large_threshold:g}"
            return Finding(name, ratio, self.large_threshold, what)
        if ratio < self.small_threshold:
            what = f"{name} changed by {ratio:.3g} times its size, less than {self.small_threshold:g}"
            return Finding(name, ratio, self.small_threshold, what)
        return None
