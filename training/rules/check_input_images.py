"""CheckInputImages: photos that do not reach the network normalised.

Runs in training jobs, and wherever rules are evaluated. Needs input images, whole or as means for each photo and channel.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule


class CheckInputImages(TensorRule):
    """Met when a channel's mean over at least `threshold_samples` images differs from zero by more than `threshold_mean`."""

    advice = "Normalise the images by the mean and deviation that the weights were trained with, in training and prediction alike."

    def __init__(
        self,
        base_trial: Any,
        threshold_mean: float = 0.2,
        threshold_samples: int = 500,
        regex: str | Sequence[str] | None = ".*hybridsequential0_input_0",
        channel: int = 1,
    ) -> None:
        """`regex`: names of the input; `channel`: the axis of its colours."""
        super().__init__(base_trial)
        self.watched, self.channel = TensorFilter(None, regex), channel
        self.threshold_mean, self.threshold_samples = threshold_mean, threshold_samples
        self.compares = f"{threshold_samples} images in {self.watched}"
        self._sums: dict[str, tuple[int, Any]] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Add the images of this step, and judge once there are enough."""
        judged = [name for name in self.watched.of(step) if self._add(step, name) >= self.threshold_samples]
        return [found for name in judged for found in self._judge(name)] if judged else None

    def _add(self, step: SavedStep, name: str) -> int:
        """Return how many images of the tensor were seen."""
        count, sums = self._sums.get(name, (0, 0.0))
        value = step.value(name)
        if value is None or not value.size:
            return count
        if value.ndim <= self.channel:
            raise ValueError(f"{name} has the shape {list(value.shape)}, without an axis {self.channel} for colours: set channel")
        others = tuple(axis for axis in range(1, value.ndim) if axis != self.channel)
        count, sums = count + len(value), sums + value.astype(np.float64).mean(axis=others).sum(axis=0)
        self._sums[name] = (count, sums)
        return count

    def _judge(self, name: str) -> list[Finding]:
        count, sums = self._sums[name]
        limit = self.threshold_mean
        return [
            Finding(name, float(mean), limit, f"the mean of channel {number} of {name} is {mean:.3g}, further from 0 than {limit:g}")
            for number, mean in enumerate(sums / count)
            if abs(mean) > limit
        ]
