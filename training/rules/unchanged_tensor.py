"""UnchangedTensor: tensors that do not change although the job trains.

Runs in training jobs, and wherever rules are evaluated.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.rules.saved_tensors import Array, SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule


class UnchangedTensor(TensorRule):
    """Met when a tensor is numpy.allclose to itself over the last `num_steps` training steps at which it was saved.

    For tensors saved as reductions, the reductions are compared. Evaluation steps do not count: nothing changes between them.
    """

    advice = "Check whether these layers were frozen by mistake or left out of the optimizer, and whether the learning rate is zero."

    def __init__(
        self,
        base_trial: Any,
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = None,
        num_steps: int = 3,
        rtol: float = 1e-5,
        atol: float = 1e-8,
        equal_nan: bool = False,
    ) -> None:
        """`rtol`, `atol`, `equal_nan`: as in numpy.allclose."""
        super().__init__(base_trial)
        if num_steps < 2:
            raise ValueError(f"num_steps must be at least 2, because one step cannot be compared, got {num_steps}")
        self.watched, self.num_steps = TensorFilter(collection_names, tensor_regex), num_steps
        self.compares = f"{self.watched} saved at {num_steps} training steps"
        self._tolerances: dict[str, Any] = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan}
        self._kept: dict[tuple[str, str], deque[Array]] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare the tensors saved at this training step with those before them."""
        if not step.trains:
            return None
        compared = {name: same for name in self.watched.of(step) if (same := self._is_unchanged(step, name)) is not None}
        found = [
            Finding(name, 0.0, self._tolerances["rtol"], f"{name} did not change over {self.num_steps} saved steps")
            for name, same in compared.items()
            if same
        ]
        return found if compared else None

    def _is_unchanged(self, step: SavedStep, name: str) -> bool | None:
        """Compare the steps; None if too few were saved, or nothing comparable."""
        value = step.value(name)
        now = np.array(list(step.summary(name).values())) if value is None else np.array(value)
        if not now.size:
            return None
        kept = self._kept.setdefault((step.mode, name), deque(maxlen=self.num_steps))
        kept.append(now)
        if len(kept) < self.num_steps:
            return None
        return all(before.shape == now.shape and np.allclose(now, before, **self._tolerances) for before in list(kept)[:-1])
