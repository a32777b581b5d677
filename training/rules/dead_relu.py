"""DeadRelu: ReLUs that let nothing through, whatever the photo.

Runs in training jobs, and wherever rules are evaluated. Needs outputs of ReLUs, whole or as means for each photo and channel.
"""

from collections.abc import Sequence
from typing import Any

from training.rules.saved import SavedStep
from training.rules.tensor_rule import Finding, TensorRule, Watched
from training.rules.units import inactive_percent, units


class DeadRelu(TensorRule):
    """Met when more than `threshold_layer` percent of a layer's ReLUs are active less than `threshold_inactivity` percent of the time."""

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
        self.watched = Watched(None, tensor_regex)
        self.compares = f"values of {self.watched}"

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Count the dead ReLUs of each layer saved at this step."""
        saved = {name: value for name in self.watched.of(step) if (value := step.value(name)) is not None and value.size}
        dead = {name: inactive_percent(units(value) > 0, self.threshold_inactivity) for name, value in saved.items()}
        found = [
            Finding(name, share, self.threshold_layer, f"{share:.1f} % of {name} are dead, more than {self.threshold_layer:g} %")
            for name, share in dead.items()
            if share > self.threshold_layer
        ]
        return found if saved else None
