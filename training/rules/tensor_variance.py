"""TensorVariance: tensors whose values vary too much or too little.

Runs in training jobs, and wherever rules are evaluated.
"""

from collections.abc import Sequence
from typing import Any

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule


class TensorVariance(TensorRule):
    """Met when the variance of a tensor's values is above `max_threshold` or below `min_threshold`."""

    advice = "If the variance is high, lower the learning rate; if it is low, look for a layer without input, or a poor initialisation."

    def __init__(
        self,
        base_trial: Any,
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = None,
        max_threshold: float | None = None,
        min_threshold: float | None = None,
    ) -> None:
        """At least one of the thresholds is needed."""
        super().__init__(base_trial)
        if max_threshold is None and min_threshold is None:
            raise ValueError("TensorVariance needs max_threshold or min_threshold, and has neither: set one of them")
        self.watched, self.max_threshold, self.min_threshold = TensorFilter(collection_names, tensor_regex), max_threshold, min_threshold
        self.compares = f"values or standard deviations of {self.watched}"

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare each tensor saved at this step."""
        variances = {name: step.summary(name)["variance"] for name in self.watched.of(step) if "variance" in step.summary(name)}
        return [found for name, variance in variances.items() if (found := self._judge(name, variance))] if variances else None

    def _judge(self, name: str, variance: float) -> Finding | None:
        if self.max_threshold is not None and variance > self.max_threshold:
            what = f"the variance of {name} is {variance:.3g}, above {self.max_threshold:g}"
            return Finding(name, variance, self.max_threshold, what)
        if self.min_threshold is not None and variance < self.min_threshold:
            what = f"the variance of {name} is {variance:.3g}, below {self.min_threshold:g}"
            return Finding(name, variance, self.min_threshold, what)
        return None
