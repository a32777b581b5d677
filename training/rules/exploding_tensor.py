"""ExplodingTensor: values that are no longer finite.

Runs in training jobs after the training.
"""

import math
from collections.abc import Sequence
from typing import Any

from training.rules.tensor_rule import TensorRule


class ExplodingTensor(TensorRule):
    """Met when a saved tensor has a NaN, or, unless `only_nan`, an infinite value."""

    compares = "values, minima, maxima or means"

    def __init__(
        self, base_trial: Any, collection_names: Sequence[str] | None = None, tensor_regex: str | None = None, only_nan: bool = False
    ) -> None:
        """`collection_names`, `tensor_regex`: which tensors to look at, all of them by default."""
        super().__init__(base_trial)
        self.collection_names, self.tensor_regex, self.only_nan = collection_names, tensor_regex, only_nan

    def look(self, mode: Any, step: int) -> str | None:
        """Look at each tensor saved at this step."""
        saved = {name: self.reductions(name, mode, step).values() for name in self._watched()}
        if not any(saved.values()):
            return None
        broken = [name for name, values in saved.items() if any(map(self._is_broken, values))]
        return f"{', '.join(broken)} {'has' if len(broken) == 1 else 'have'} values that are not finite" if broken else ""

    def _watched(self) -> list[str]:
        if self.tensor_regex:
            return sorted(self.base_trial.tensor_names(regex=self.tensor_regex))
        if self.collection_names:
            return sorted({name for collection in self.collection_names for name in self.names(collection)})
        return sorted(self.base_trial.tensor_names())

    def _is_broken(self, value: float) -> bool:
        return math.isnan(value) or (math.isinf(value) and not self.only_nan)
