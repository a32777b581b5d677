"""VanishingGradient: gradients so small that the weights hardly change.

Runs in training jobs, and wherever rules are evaluated.
"""

from typing import Any

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorRule


class VanishingGradient(TensorRule):
    """Met when the mean of the absolute values of a gradient is below a threshold."""

    advice = "Raise the learning rate or train fewer layers, and check whether these layers are cut off from the loss."
    compares = "means of absolute values of gradients"

    def __init__(self, base_trial: Any, threshold: float = 1e-7) -> None:
        """`threshold`: mean absolute value under which a gradient has vanished."""
        super().__init__(base_trial)
        self.threshold = threshold

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare each gradient saved at this training step."""
        if not step.trains:
            return None
        saved = {name: step.summary(name).get("abs_mean") for name in step.named(["gradients"])}
        means = {name: mean for name, mean in saved.items() if mean is not None}
        if not means:
            return None
        return [
            Finding(name, mean, self.threshold, f"the mean absolute value of {name} is {mean:.2g}, below {self.threshold:g}")
            for name, mean in means.items()
            if mean < self.threshold
        ]
