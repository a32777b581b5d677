"""Overfit: the loss on validation photos is clearly higher than on training photos.

Runs in training jobs, and wherever rules are evaluated. Needs losses of both TRAIN and EVAL steps.
"""

from collections.abc import Sequence
from typing import Any

from training.rules.losses import Phases
from training.rules.saved_tensors import SavedStep, split_names
from training.rules.tensor_rule import Finding, TensorRule


class Overfit(TensorRule):
    """Met when (mean validation loss - mean training loss) / mean training loss exceeds a ratio for `patience` EVAL steps in a row.

    The means are those of the training steps since the previous evaluation, and of the evaluation after them.
    """

    advice = "Add photos or augmentation, raise weight decay, or train fewer layers or epochs: the network memorises its photos."
    compares = "EVAL losses after TRAIN losses"

    def __init__(
        self,
        base_trial: Any,
        tensor_regex: str | Sequence[str] | None = None,
        start_step: int = 0,
        patience: int = 1,
        ratio_threshold: float = 0.1,
    ) -> None:
        """`start_step`: EVAL step before which nothing is judged."""
        super().__init__(base_trial)
        self.start_step, self.patience, self.ratio_threshold = start_step, patience, ratio_threshold
        self._patterns = split_names(tensor_regex)
        self._phases: dict[str, Phases] = {}
        self._in_a_row: dict[str, int] = {}

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare at each evaluation step."""
        names = step.named(() if self._patterns else ("losses",), self._patterns)
        saved = {name: value for name in names if (value := step.scalar(name)) is not None}
        for name, value in saved.items():
            phases = self._phases.setdefault(name, Phases())
            if step.mode == "TRAIN":
                phases.add_train(value)
            elif step.mode == "EVAL":
                phases.add_valid(value)
        if step.mode != "EVAL" or step.number < self.start_step:
            return None
        ratios = {name: ratio for name in saved if (ratio := self._ratio(name)) is not None}
        return [found for name, ratio in ratios.items() if (found := self._judge(name, ratio))] if ratios else None

    def _ratio(self, name: str) -> float | None:
        means = self._phases[name].means()
        return (means[1] - means[0]) / means[0] if means and means[0] > 0 else None

    def _judge(self, name: str, ratio: float) -> Finding | None:
        row = self._in_a_row[name] = self._in_a_row.get(name, 0) + 1 if ratio > self.ratio_threshold else 0
        if row < self.patience:
            return None
        often = "" if self.patience == 1 else f" for {row} evaluations in a row"
        what = f"the validation {name} is {100 * ratio:.0f} % above that of training, more than {100 * self.ratio_threshold:g} %{often}"
        return Finding(name, ratio, self.ratio_threshold, what)
