"""ClassImbalance: some classes have far fewer photos than others, or are misclassified because of it.

Runs in training jobs, and wherever rules are evaluated. Needs labels, and predictions for the second check.
"""

from typing import Any

import numpy as np

from training.rules.class_indices import to_class_indices
from training.rules.saved_tensors import Array, SavedStep
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule

NOTHING = np.zeros(0, dtype=np.int64)


class ClassImbalance(TensorRule):
    """Met when the largest class has over `threshold_imbalance` times the photos of the smallest, or a class too many wrong predictions.

    Judged whenever `samples` labels have been saved, if necessary over several steps; then counting starts again.
    """

    advice = "Add photos of the rare classes, or set class_weights to balanced; merge classes that need not be distinguished."

    def __init__(
        self,
        base_trial: Any,
        threshold_imbalance: float = 10,
        threshold_misprediction: float = 0.7,
        samples: int = 500,
        argmax: bool = False,
        labels_regex: str = ".*labels",
        predictions_regex: str = ".*predictions",
    ) -> None:
        """`threshold_misprediction`: fraction of a class's photos; `argmax`: predictions hold a number for each class."""
        super().__init__(base_trial)
        self.threshold_imbalance, self.threshold_misprediction = threshold_imbalance, threshold_misprediction
        self.samples, self.argmax = samples, argmax
        self._labels, self._predictions = TensorFilter(None, labels_regex), TensorFilter(None, predictions_regex)
        self.compares = f"{samples} labels"
        self._seen: list[tuple[Array, Array]] = []

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Add the labels of the step, and judge once there are enough."""
        names = [name for name in self._labels.of(step) if step.value(name) is not None]
        if not names:
            return None
        labels = to_class_indices(np.asarray(step.value(names[0])), names[0], argmax=False)
        predictions = next((value for name in self._predictions.of(step) if (value := step.value(name)) is not None), None)
        classes = NOTHING if predictions is None else to_class_indices(predictions, "predictions", argmax=self.argmax)
        self._seen.append((labels, classes))
        if sum(len(labels) for labels, _ in self._seen) < self.samples:
            return None
        seen, self._seen = self._seen, []
        found = self._unequal(names[0], np.concatenate([labels for labels, _ in seen]))
        compared = [(labels, predicted) for labels, predicted in seen if len(labels) == len(predicted)]
        for labels, predicted in [tuple(map(np.concatenate, zip(*compared, strict=True)))] if compared else []:
            found += self._wrong(labels, predicted)
        return found

    def _unequal(self, name: str, labels: Array) -> list[Finding]:
        classes, counts = np.unique(labels, return_counts=True)
        ratio = float(counts.max() / counts.min())
        if not ratio > self.threshold_imbalance:
            return []
        rare, frequent = classes[counts.argmin()], classes[counts.argmax()]
        what = f"class {frequent} has {ratio:.1f} times as many photos as class {rare}, more than {self.threshold_imbalance:g} times"
        return [Finding(name, ratio, self.threshold_imbalance, what)]

    def _wrong(self, labels: Array, predicted: Array) -> list[Finding]:
        shares = {int(each): float((predicted[labels == each] != each).mean()) for each in np.unique(labels)}
        return [
            Finding(
                "predictions",
                share,
                self.threshold_misprediction,
                f"{100 * share:.0f} % of class {each} are misclassified, more than {100 * self.threshold_misprediction:g} %",
            )
            for each, share in shares.items()
            if share > self.threshold_misprediction
        ]
