"""VanishingGradient: gradients so small that the weights no longer move.

Runs in training jobs after the training.
"""

from typing import Any

from training.rules.tensor_rule import TensorRule, modes


class VanishingGradient(TensorRule):
    """Met when the mean absolute value of a gradient is below a threshold."""

    needs = ("gradients",)
    compares = "means of absolute values of gradients"

    def __init__(self, base_trial: Any, threshold: float = 1e-7) -> None:
        """`threshold`: mean absolute value under which a gradient has vanished."""
        super().__init__(base_trial)
        self.threshold = threshold

    def look(self, mode: Any, step: int) -> str | None:
        """Compare each gradient saved at this training step."""
        if mode != modes.TRAIN:
            return None
        saved = {name: self.reductions(name, mode, step) for name in self.names("gradients")}
        means = {name: values["abs_mean"] for name, values in saved.items() if "abs_mean" in values}
        if not means:
            return None
        small = ", ".join(f"{name} is {mean:.2g}" for name, mean in means.items() if mean < self.threshold)
        return f"mean absolute {small}, below {self.threshold:g}" if small else ""
