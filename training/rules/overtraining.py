"""Overtraining: the training continues although neither loss improves.

Runs in training jobs, and wherever rules are evaluated. Needs losses of both TRAIN and EVAL steps.
"""

from dataclasses import dataclass
from typing import Any

from training.rules.saved_tensors import SavedStep
from training.rules.tensor_rule import Finding, TensorRule


@dataclass
class Optimum:
    """The best loss of a mode, and how many saved steps ago it was."""

    value: float
    ago: int = 0

    def add(self, value: float, delta: float) -> None:
        """Count a step; one that is better by more than `delta` is the new optimum."""
        if value < self.value - delta:
            self.value, self.ago = value, 0
        else:
            self.ago += 1


class Overtraining(TensorRule):
    """Met at an evaluation when the validation loss had no new optimum for `patience_validation` EVAL steps, nor training for its own.

    AWS's documentation does not say how the two patiences combine. A training loss of single batches often has no new optimum for a few
    steps, so that alone does not mean anything.
    """

    advice = "Train fewer epochs, or stop early: the epochs after the best one cost money without a better model."
    compares = "EVAL losses beside TRAIN losses"

    def __init__(self, base_trial: Any, patience_train: int = 5, patience_validation: int = 10, delta: float = 0.01) -> None:
        """`delta`: by how much a loss has to be better to be a new optimum; patiences in saved steps of their mode."""
        super().__init__(base_trial)
        self.patience = {"TRAIN": patience_train, "EVAL": patience_validation}
        self.delta = delta
        self._best: dict[tuple[str, str], Optimum] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Record each loss, and compare at evaluation steps."""
        saved = {name: value for name in step.named(["losses"]) if (value := step.scalar(name)) is not None}
        for name, value in saved.items():
            known = self._best.get((step.mode, name))
            if known:
                known.add(value, self.delta)
            else:
                self._best[step.mode, name] = Optimum(value)
        if step.mode != "EVAL":
            return None
        judged = [name for name in saved if ("TRAIN", name) in self._best]
        return [found for name in judged if (found := self._judge(name))] if judged else None

    def _judge(self, name: str) -> Finding | None:
        if any(self._best[mode, name].ago < patience for mode, patience in self.patience.items()):
            return None
        best, patience = self._best["EVAL", name], self.patience["EVAL"]
        what = f"the validation {name} was best {best.ago} evaluations ago with {best.value:.4g}, not better by {self.delta:g} since"
        return Finding(name, best.ago, patience, what)
