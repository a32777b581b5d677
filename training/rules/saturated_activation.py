"""SaturatedActivation: inputs of tanh and sigmoid so large that the slope is almost zero.

Runs in training jobs, and wherever rules are evaluated. Needs whole inputs of tanh or sigmoid layers.
"""

from collections.abc import Sequence
from typing import Any

from training.rules.saved_tensors import Array, SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule
from training.rules.units import inactive_percent, units


class SaturatedActivation(TensorRule):
    """Met when more than `threshold_layer` percent of a layer's units are saturated.

    A unit is saturated when less than `threshold_inactivity` percent of its inputs are between the limits of its function.
    """

    advice = "Lower the learning rate or the scale of inputs and first weights, or use ReLUs: saturated units do not learn."

    def __init__(
        self,
        base_trial: Any,
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = ".*tanh_input|.*sigmoid_input",
        threshold_tanh_min: float = -9.4999,
        threshold_tanh_max: float = 9.4999,
        threshold_sigmoid_min: float = -23,
        threshold_sigmoid_max: float = 16.99999,
        threshold_inactivity: float = 1.0,
        threshold_layer: float = 50.0,
    ) -> None:
        """Limits are those of inputs; the tensor's name says which function it belongs to."""
        super().__init__(base_trial)
        self.watched = TensorFilter(collection_names, tensor_regex)
        self.limits = {"tanh": (threshold_tanh_min, threshold_tanh_max), "sigmoid": (threshold_sigmoid_min, threshold_sigmoid_max)}
        self.threshold_inactivity, self.threshold_layer = threshold_inactivity, threshold_layer
        self.compares = f"values of {self.watched} with tanh or sigmoid in their names"

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Count the saturated units of each layer saved at this step."""
        shares = {name: share for name in self.watched.of(step) if (share := self._saturated(name, step.value(name))) is not None}
        found = [
            Finding(name, share, self.threshold_layer, f"{share:.1f} % of {name} are saturated, more than {self.threshold_layer:g} %")
            for name, share in shares.items()
            if share > self.threshold_layer
        ]
        return found if shares else None

    def _saturated(self, name: str, value: Array | None) -> float | None:
        limits = next((limits for kind, limits in self.limits.items() if kind in name.lower()), None)
        if value is None or not value.size or limits is None:
            return None
        inputs = units(value)
        return inactive_percent((inputs > limits[0]) & (inputs < limits[1]), self.threshold_inactivity)
