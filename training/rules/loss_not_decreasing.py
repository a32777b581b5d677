"""LossNotDecreasing: the loss stands still, or rises.

Runs in training jobs after the training.
"""

from typing import Any

from training.rules.tensor_rule import TensorRule, modes


class LossNotDecreasing(TensorRule):
    """Met when over `num_steps` steps a loss fell by less than `diff_percent`, or rose by more than `increase_threshold_percent`.

    Looks at the first of EVAL, TRAIN and GLOBAL that has losses, unless `mode` names one.
    """

    needs = ("losses",)

    def __init__(
        self,
        base_trial: Any,
        num_steps: int = 10,
        diff_percent: float = 0.1,
        increase_threshold_percent: float = 5.0,
        mode: str | None = None,
    ) -> None:
        """`diff_percent`, `increase_threshold_percent`: of the loss `num_steps` earlier."""
        super().__init__(base_trial)
        self.num_steps, self.diff_percent, self.increase_threshold_percent = num_steps, diff_percent, increase_threshold_percent
        self.mode = modes[mode] if mode else self._first_mode_with_losses()
        self.compares = f"{self.mode.name} losses saved {num_steps} steps apart"

    def look(self, mode: Any, step: int) -> str | None:
        """Compare each loss with the one `num_steps` earlier, every `num_steps` steps."""
        if mode != self.mode:
            return None
        found = [sentence for sentence in (self._compare(name, step) for name in self.names("losses")) if sentence is not None]
        return "; ".join(filter(None, found)) if found else None

    def _compare(self, name: str, step: int) -> str | None:
        steps = self.steps(name, self.mode)
        position = steps.index(step) if step in steps else 0
        if position == 0 or position % self.num_steps:
            return None
        before, now = (self.loss(name, self.mode, steps[at]) for at in (position - self.num_steps, position))
        change = 100 * (now - before) / abs(before) if before else 0.0
        if change > self.increase_threshold_percent:
            return f"{name} rose by {change:.1f} % in {self.num_steps} steps, from {before:.4g} to {now:.4g}"
        if change > -self.diff_percent:
            return f"{name} fell by less than {self.diff_percent:g} % in {self.num_steps} steps, from {before:.4g} to {now:.4g}"
        return ""

    def _first_mode_with_losses(self) -> Any:
        losses = self.names("losses")
        return next((mode for mode in (modes.EVAL, modes.TRAIN) if any(self.steps(name, mode) for name in losses)), modes.GLOBAL)
