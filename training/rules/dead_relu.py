"""DeadRelu: ReLUs whose output is zero for every photo.

Runs in training jobs, and wherever rules are evaluated. Needs outputs of ReLUs, whole or as means for each photo and channel.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.rules.saved_tensors import Array, SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule
from training.rules.units import units

PHOTOS = 32
"""Least photos to judge a layer: a healthy channel may be inactive for each of a dozen photos."""

Seen = tuple[int, Array, int]
"""Photos of a step, number of active values of each unit, number of its values."""


class DeadRelu(TensorRule):
    """Met when more than `threshold_layer` percent of a layer's ReLUs are active less than `threshold_inactivity` percent of the time.

    Photos of consecutive saved steps of a mode are judged together, until there are enough.
    """

    advice = "Lower the learning rate, and check that photos are normalised as the weights expect; a leaky ReLU cannot die."

    def __init__(
        self,
        base_trial: Any,
        tensor_regex: str | Sequence[str] | None = ".*relu_output",
        threshold_inactivity: float = 1.0,
        threshold_layer: float = 50.0,
    ) -> None:
        """`tensor_regex`: names of the ReLUs' outputs."""
        super().__init__(base_trial)
        self.threshold_inactivity, self.threshold_layer = threshold_inactivity, threshold_layer
        self.watched = TensorFilter(None, tensor_regex)
        self.compares = f"{PHOTOS} photos' values of {self.watched}"
        self._seen: dict[tuple[str, str], deque[Seen]] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Count the dead ReLUs of each layer saved at this step."""
        dead = {name: share for name in self.watched.of(step) if (share := self._dead(step, name)) is not None}
        found = [
            Finding(name, share, self.threshold_layer, f"{share:.1f} % of {name} are dead, more than {self.threshold_layer:g} %")
            for name, share in dead.items()
            if share > self.threshold_layer
        ]
        return found if dead else None

    def _dead(self, step: SavedStep, name: str) -> float | None:
        """Return the percentage of dead ReLUs in a layer; None if too few photos of it were saved yet."""
        value = step.value(name)
        if value is None or not value.size:
            return None
        seen, active = self._seen.setdefault((step.mode, name), deque()), units(value) > 0
        if seen and len(seen[0][1]) != len(active):
            seen.clear()
        seen.append((len(value) if value.ndim else 1, active.sum(axis=1), active.shape[1]))
        while sum(photos for photos, *_ in seen) - seen[0][0] >= PHOTOS:
            seen.popleft()
        if sum(photos for photos, *_ in seen) < PHOTOS:
            return None
        counts = np.sum([count for _, count, _ in seen], axis=0)
        shares: Array = 100 * counts / sum(values for *_, values in seen)
        return float(100 * np.mean(shares < self.threshold_inactivity))
