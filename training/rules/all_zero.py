"""AllZero: tensors whose values are all or mostly zero.

Runs in training jobs, and wherever rules are evaluated.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule


class AllZero(TensorRule):
    """Met when at least `threshold` percent of a tensor's values are zero.

    Reductions show whether all values are zero, and sometimes that none is; otherwise the tensor is not judged.
    """

    advice = "Check whether these tensors are cut off from the loss (detached, masked or frozen), and lower the learning rate if they died."

    def __init__(
        self,
        base_trial: Any,
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = None,
        threshold: float = 100.0,
    ) -> None:
        """`collection_names`, `tensor_regex`: which tensors to look at, all of them by default."""
        super().__init__(base_trial)
        self.watched, self.threshold = TensorFilter(collection_names, tensor_regex), threshold
        self.compares = f"values of {self.watched}"

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Count the zeros of each tensor saved at this step."""
        zeros = {name: share for name in self.watched.of(step) if (share := self._zeros(step, name)) is not None}
        found = [
            Finding(name, share, self.threshold, f"{share:.4g} % of the values of {name} are zero, {self.threshold:g} % or more")
            for name, share in zeros.items()
            if share >= self.threshold
        ]
        return found if zeros else None

    def _zeros(self, step: SavedStep, name: str) -> float | None:
        value = step.value(name)
        if value is not None:
            return float(100 * (1 - np.count_nonzero(value) / value.size)) if value.size else None
        saved = step.summary(name)
        if "min" in saved and "max" in saved:
            if saved["min"] == saved["max"] == 0:
                return 100.0
            if saved["min"] > 0 or saved["max"] < 0 or self.threshold == 100:
                return 0.0
            return None
        size = next((saved[key] for key in ("abs_mean", "l2", "l1") if key in saved), None)
        if size == 0:
            return 100.0
        return 0.0 if size is not None and self.threshold == 100 else None
