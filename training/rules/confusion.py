"""Confusion: classes that are predicted as others too often.

Runs in training jobs, and wherever rules are evaluated. Needs labels and predictions.
"""

from typing import Any

import numpy as np

from training.rules.class_indices import to_class_indices
from training.rules.saved_tensors import Array, SavedStep
from training.rules.tensor_rule import Finding, TensorRule


class Confusion(TensorRule):
    """Met when of the photos predicted as a class too few are of it, or too many are of one other class.

    The matrix counts photos by label and prediction over the steps of one phase, and is judged when each class has been a label. AWS's
    documentation divides the diagonal by its own sum, which no network with two classes can pass; here, like the rest, by its column.
    """

    advice = "Check the photos of these classes for wrong labels, and add photos that show the difference between them."
    compares = "labels with predictions in which every class occurs"

    def __init__(
        self,
        base_trial: Any,
        category_no: int | None = None,
        labels: str = "labels",
        predictions: str = "predictions",
        labels_collection: str = "labels",
        predictions_collection: str = "predictions",
        min_diag: float = 0.9,
        max_off_diag: float = 0.1,
    ) -> None:
        """`category_no`: classes; by default as many as occur in labels and predictions."""
        super().__init__(base_trial)
        self.category_no, self.min_diag, self.max_off_diag = category_no, min_diag, max_off_diag
        self._wanted = {"labels": (labels, labels_collection), "predictions": (predictions, predictions_collection)}
        self._mode = ""
        self._counts = np.zeros((0, 0), dtype=np.int64)

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Add the predictions of the step to those of its phase."""
        if step.mode != self._mode:
            self._mode, self._counts = step.mode, np.zeros((0, 0), dtype=np.int64)
        labels, predicted = (self._find(step, kind) for kind in ("labels", "predictions"))
        if labels is None or predicted is None or not len(labels) or len(labels) != len(predicted):
            return None
        self._add(labels, predicted)
        return self._judge() if self._counts.sum(axis=1).all() else None

    def _find(self, step: SavedStep, kind: str) -> Array | None:
        name, collection = self._wanted[kind]
        among = step.named([collection]) or list(step.names)
        found = next((each for each in (name, *among) if each in among and name in each), None)
        value = step.value(found) if found else None
        return None if value is None else to_class_indices(value, kind, argmax=kind == "predictions")

    def _add(self, labels: Array, predicted: Array) -> None:
        size = self.category_no or max(len(self._counts), int(max(labels.max(), predicted.max())) + 1)
        grown = np.zeros((size, size), dtype=np.int64)
        grown[: len(self._counts), : len(self._counts)] = self._counts
        np.add.at(grown, (labels, predicted), 1)
        self._counts = grown

    def _judge(self) -> list[Finding]:
        columns = self._counts.sum(axis=0)
        found = []
        for prediction in np.flatnonzero(columns).tolist():
            shares = self._counts[:, prediction] / columns[prediction]
            if shares[prediction] < self.min_diag:
                found.append(self._finding(prediction, prediction, shares[prediction], self.min_diag, "less"))
            others = np.flatnonzero(shares > self.max_off_diag).tolist()
            found += [self._finding(prediction, label, shares[label], self.max_off_diag, "more") for label in others if label != prediction]
        return found

    def _finding(self, prediction: int, label: int, share: float, limit: float, than: str) -> Finding:
        what = f"{100 * share:.0f} % of the photos predicted as class {prediction} are of class {label}, {than} than {100 * limit:g} %"
        return Finding("predictions", float(share), limit, what)
