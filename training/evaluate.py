"""What a set of predictions is worth: loss, accuracy, confusion matrix, and the figures of each class.

Runs in training jobs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others."""

    name: str
    photos: int
    """How many show it."""
    precision: float | None
    """Of those called so, the part that are; None where none was called so."""
    recall: float | None
    """Of those that are, the part called so; None where there is no photo."""
    f1: float | None


@dataclass(frozen=True)
class Evaluation:
    """Predictions compared with what the photos show."""

    loss: float
    """Mean cross entropy a photo."""
    accuracy: float
    """Part of the photos whose most probable class is right."""
    confusion_matrix: tuple[tuple[int, ...], ...]
    """[i][j]: photos of class i called class j."""
    per_class: tuple[ClassFigures, ...]

    def most_confused(self, count: int = 10) -> list[tuple[str, str, int]]:
        """Return the largest off-diagonal entries: (class shown, class called, photos)."""
        names = [figures.name for figures in self.per_class]
        cells = [(names[i], names[j], n) for i, row in enumerate(self.confusion_matrix) for j, n in enumerate(row) if i != j and n]
        return sorted(cells, key=lambda cell: -cell[2])[:count]


def evaluate_logits(logits: torch.Tensor, labels: torch.Tensor, classes: Sequence[str]) -> Evaluation:
    """Compare float [n, classes] with int64 [n], n at least 1."""
    called = logits.argmax(dim=1)
    size = len(classes)
    matrix = torch.bincount(labels * size + called, minlength=size * size).view(size, size)
    right, shown, named = matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
    return Evaluation(
        loss=cross_entropy(logits, labels).item(),
        accuracy=(called == labels).float().mean().item(),
        confusion_matrix=tuple(tuple(row) for row in matrix.tolist()),
        per_class=tuple(_figures(*row) for row in zip(classes, shown, named, right, strict=True)),
    )


def _figures(name: str, shown: int, named: int, right: int) -> ClassFigures:
    precision = right / named if named else None
    recall = right / shown if shown else None
    return ClassFigures(name, shown, precision, recall, 2 * right / (shown + named) if shown + named else None)


def to_json(test: Evaluation, valid: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """Return what report/evaluation.json holds."""
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "valid_accuracy": valid.accuracy,
        "valid_loss": valid.loss,
        "confusion_matrix": test.confusion_matrix,
        "per_class": [asdict(figures) for figures in test.per_class],
        "most_confused": [{"shown": shown, "called": called, "photos": photos} for shown, called, photos in test.most_confused()],
        "classes": list(classes),
    }
