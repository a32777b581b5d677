"""The final evaluation of a model: metrics on the test photos, beside the accuracy of simple baselines.

Runs in the final training job. `report/evaluation.json` holds all of it; training/evaluation/evaluation.schema.json in the repository,
which is not shipped with the code, describes it.
A head is evaluated on the data set's features, which are float16, computed in bfloat16 if the hardware multiplies it; the endpoint
computes in float32, so predictions for single photos near a decision boundary may differ. A fine-tuned network is evaluated as served.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from training.data.dataset import Dataset
from training.evaluation.calibration import Calibration, fit_temperature, measure_calibration

SCHEMA_VERSION = 1
TOP = 5
"""A photo counts for the top-5 accuracy if its class is among so many most probable ones."""
CONFUSED_PAIRS = 10
"""Most pairs of classes that are listed."""
WORST_ERRORS = 24
"""Most test photos that are listed."""
_NORMAL_QUANTILE = 1.959963984540054
"""Of 97.5 %: an interval holds the middle 95 %."""


@dataclass(frozen=True)
class ClassFigures:
    """The metrics of one class."""

    name: str
    photos: int
    """Photos of the class."""
    precision: float | None
    """Fraction of the photos predicted as the class that are of it; None if there are none."""
    recall: float | None
    """Fraction of the class's photos that are predicted as it; None if there are none."""
    f1: float | None
    """Harmonic mean of both; None if no photo is of the class or predicted as it."""


@dataclass(frozen=True)
class Evaluation:
    """Predictions of one split compared with its labels."""

    photos: int
    loss: float
    """Mean cross entropy per photo, as in training: at temperature 1."""
    calibrated_loss: float
    """The same at the fitted temperature."""
    accuracy: float
    """Fraction of the photos whose most probable class is correct."""
    accuracy_interval: tuple[float, float]
    """95 % confidence interval of the accuracy (Wilson)."""
    top5_accuracy: float
    """Fraction of the photos whose class is among the five most probable; 1 if there are at most five classes."""
    macro_f1: float
    """Mean F1 of the classes that have photos: each class counts the same, however rare."""
    uncalibrated: Calibration
    """At temperature 1."""
    calibrated: Calibration
    """At the fitted temperature, as the endpoint predicts."""
    confusion_matrix: tuple[tuple[int, ...], ...]
    """[i][j]: photos of class i predicted as class j."""
    per_class: tuple[ClassFigures, ...]

    def most_confused(self, count: int = CONFUSED_PAIRS) -> list[tuple[str, str, int]]:
        """Return the largest off-diagonal entries: (true class, predicted class, photos)."""
        names = [figures.name for figures in self.per_class]
        cells = [(names[i], names[j], n) for i, row in enumerate(self.confusion_matrix) for j, n in enumerate(row) if i != j and n]
        return sorted(cells, key=lambda cell: -cell[2])[:count]


@dataclass(frozen=True)
class WorstError:
    """A test photo that the model misclassified with high confidence."""

    file: str
    """Path below the photos channel."""
    shown: str
    """Its class."""
    called: str
    """The most probable class."""
    probability: float
    """Of the predicted class, at the fitted temperature."""
    shown_probability: float
    """Of its own class."""
    index: int
    """Its position among the test photos, in manifest order."""


@dataclass(frozen=True)
class Assessment:
    """The evaluation of the saved weights."""

    classes: tuple[str, ...]
    temperature: float
    """Fitted on the validation photos; logits are divided by it before the softmax."""
    valid: Evaluation
    test: Evaluation
    baselines: Mapping[str, float]
    """Test accuracy of always predicting the `biggest_class`, and of `nearest_centroid`, the class whose mean feature is nearest."""
    worst_errors: tuple[WorstError, ...]
    predicted: tuple[int, ...]
    """Index of the most probable class of each test photo, in manifest order."""

    def metrics(self) -> dict[str, float]:
        """Return the test metrics that training.contract.METRIC_NAMES lists, as `print_metrics` takes them."""
        return {
            "test_loss": self.test.loss,
            "test_accuracy": self.test.accuracy,
            "test_top5_accuracy": self.test.top5_accuracy,
            "test_macro_f1": self.test.macro_f1,
            "test_calibration_error": self.test.calibrated.error,
        }


def assess(logits: Mapping[str, torch.Tensor], dataset: Dataset) -> Assessment:
    """Evaluate the saved weights.

    Args:
        logits: float32 [n, classes] of the `valid` and the `test` photos, in manifest order.
        dataset: their prepared data set.
    """
    labels = {split: dataset.labels(split) for split in ("train", "valid", "test")}
    temperature = fit_temperature(logits["valid"], labels["valid"])
    valid, test = (evaluate_logits(logits[split], labels[split], dataset.classes, temperature) for split in ("valid", "test"))
    errors = _worst_errors((logits["test"] / temperature).softmax(dim=1), labels["test"], dataset)
    predicted = tuple(logits["test"].argmax(dim=1).tolist())
    return Assessment(dataset.classes, temperature, valid, test, _baselines(dataset, labels["test"]), errors, predicted)


def evaluate_logits(logits: torch.Tensor, labels: torch.Tensor, classes: Sequence[str], temperature: float = 1.0) -> Evaluation:
    """Compare float [n, classes] with int64 [n], n at least 1."""
    predicted, size, calibrated = logits.argmax(dim=1), len(classes), logits / temperature
    matrix = torch.bincount(labels * size + predicted, minlength=size * size).view(size, size)
    correct, shown, predicted_as = matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
    per_class = tuple(_compute_figures(*row) for row in zip(classes, shown, predicted_as, correct, strict=True))
    best = logits.topk(min(TOP, size), dim=1).indices
    return Evaluation(
        photos=len(labels),
        loss=cross_entropy(logits, labels).item(),
        calibrated_loss=cross_entropy(calibrated, labels).item(),
        accuracy=sum(correct) / len(labels),
        accuracy_interval=wilson_interval(sum(correct), len(labels)),
        top5_accuracy=(best == labels.unsqueeze(1)).any(dim=1).sum().item() / len(labels),
        macro_f1=_mean([figures.f1 or 0.0 for figures in per_class if figures.photos]),
        uncalibrated=measure_calibration(logits.softmax(dim=1), labels),
        calibrated=measure_calibration(calibrated.softmax(dim=1), labels),
        confusion_matrix=tuple(tuple(row) for row in matrix.tolist()),
        per_class=per_class,
    )


def wilson_interval(correct: int, photos: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a fraction (Wilson 1927), which is sound for few photos and for fractions of 0 and 1."""
    square = _NORMAL_QUANTILE**2
    middle = (correct + square / 2) / (photos + square)
    half = _NORMAL_QUANTILE * math.sqrt(correct * (photos - correct) / photos + square / 4) / (photos + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def to_json(assessment: Assessment) -> dict[str, Any]:
    """Return the content of report/evaluation.json."""
    test, valid = assessment.test, assessment.valid
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(assessment.classes),
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "valid_accuracy": valid.accuracy,
        "valid_loss": valid.loss,
        "temperature": assessment.temperature,
        "baselines": dict(assessment.baselines),
        "test": _split_to_json(test),
        "valid": _split_to_json(valid),
        "per_class": [asdict(figures) for figures in test.per_class],
        "most_confused": [{"shown": shown, "called": called, "photos": photos} for shown, called, photos in test.most_confused()],
        "worst_errors": [asdict(error) for error in assessment.worst_errors],
        "confusion_matrix": test.confusion_matrix,
    }


def _split_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics of a split without those per class, which are written only for the test photos."""
    fields = asdict(evaluation)
    return {name: value for name, value in fields.items() if name not in ("confusion_matrix", "per_class")}


def _compute_figures(name: str, shown: int, predicted: int, correct: int) -> ClassFigures:
    precision = correct / predicted if predicted else None
    recall = correct / shown if shown else None
    return ClassFigures(name, shown, precision, recall, 2 * correct / (shown + predicted) if shown + predicted else None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _baselines(dataset: Dataset, labels: torch.Tensor) -> dict[str, float]:
    """Return the test accuracy of two baselines that need no training."""
    train = dataset.features("train")
    counts = torch.bincount(train.labels, minlength=len(dataset.classes))
    sums = torch.zeros(len(counts), train.values.shape[1]).index_add_(0, train.labels, train.values)
    centroids = sums / counts.clamp_min(1).unsqueeze(1)
    nearest = torch.cdist(dataset.features("test").values, centroids).argmin(dim=1)
    return {
        "biggest_class": (labels == counts.argmax()).double().mean().item(),
        "nearest_centroid": (labels == nearest).double().mean().item(),
    }


def _worst_errors(probabilities: torch.Tensor, labels: torch.Tensor, dataset: Dataset) -> tuple[WorstError, ...]:
    """Return the misclassified test photos with the highest confidence, the highest first."""
    confidence, predicted = probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero().flatten()
    indices = wrong[confidence[wrong].argsort(descending=True, stable=True)][:WORST_ERRORS].tolist()
    photos = dataset.split("test")
    return tuple(
        WorstError(
            file=photos[index].name,
            shown=dataset.classes[photos[index].label],
            called=dataset.classes[int(predicted[index])],
            probability=confidence[index].item(),
            shown_probability=probabilities[index, photos[index].label].item(),
            index=index,
        )
        for index in indices
    )
