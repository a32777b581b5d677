"""ExplodingTensor: values that are NaN or infinite.

Runs in training jobs, and wherever rules are evaluated.
"""

import math
from collections.abc import Sequence
from typing import Any

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule


class ExplodingTensor(TensorRule):
    """Met when a saved tensor has a NaN, or, unless `only_nan`, an infinite value."""

    advice = "Lower the learning rate, to a tenth to begin with, and train again: weights that are not finite never recover."

    def __init__(
        self,
        base_trial: Any,
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = None,
        only_nan: bool = False,
    ) -> None:
        """`collection_names`, `tensor_regex`: which tensors to look at, all of them by default."""
        super().__init__(base_trial)
        self.watched, self.only_nan = TensorFilter(collection_names, tensor_regex), only_nan
        self.compares = f"values or reductions of {self.watched}"

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Look at each tensor saved at this step."""
        saved = {name: values for name in self.watched.of(step) if (values := extremes(step, name))}
        broken = {name: value for name, values in saved.items() if (value := self._broken(values)) is not None}
        found = [Finding(name, value, None, f"{name} has values that are not finite ({value})") for name, value in broken.items()]
        return found if saved else None

    def _broken(self, values: Sequence[float]) -> float | None:
        return next((value for value in values if math.isnan(value) or (math.isinf(value) and not self.only_nan)), None)


def extremes(step: SavedStep, name: str) -> list[float]:
    """Return minimum and maximum, which a NaN makes NaN; without them other reductions, which infinite values make NaN too."""
    saved = step.summary(name)
    return [saved[key] for key in ("min", "max") if key in saved] or list(saved.values())
