"""What the finished model is worth: one look at the test photos, beside what simpler answers would reach.

Runs in the final training job. `report/evaluation.json` holds all of it; training/evaluation/evaluation.schema.json in the repository,
which does not travel with the code, describes it.
A head is judged on the features of the data set, which are float16, and computed in bfloat16 where the hardware multiplies it; the
endpoint computes in float32 throughout, so single photos on the edge may be named otherwise. A fine-tuned network is judged as it serves.
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
"""A photo counts for the top-5 accuracy where its class is among so many most probable ones."""
CONFUSED_PAIRS = 10
"""So many pairs of classes are listed at most."""
WORST_ERRORS = 24
"""So many test photos are listed at most."""
_NORMAL_QUANTILE = 1.959963984540054
"""Of 97.5 %: an interval holds the middle 95 %."""


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
    """Harmonic mean of both; None where no photo is or was called so."""


@dataclass(frozen=True)
class Evaluation:
    """Predictions of one split compared with what its photos show."""

    photos: int
    loss: float
    """Mean cross entropy a photo, as while training: at temperature 1."""
    calibrated_loss: float
    """The same at the fitted temperature."""
    accuracy: float
    """Part of the photos whose most probable class is right."""
    accuracy_interval: tuple[float, float]
    """95 % interval of the accuracy (Wilson): what so few photos can tell of all photos like them."""
    top5_accuracy: float
    """Part of the photos whose class is among the five most probable; 1 where there are no more classes."""
    macro_f1: float
    """Mean F1 of the classes that have photos: each class counts alike, however rare."""
    uncalibrated: Calibration
    """At temperature 1."""
    calibrated: Calibration
    """At the fitted temperature, as the endpoint answers."""
    confusion_matrix: tuple[tuple[int, ...], ...]
    """[i][j]: photos of class i called class j."""
    per_class: tuple[ClassFigures, ...]

    def most_confused(self, count: int = CONFUSED_PAIRS) -> list[tuple[str, str, int]]:
        """Return the largest off-diagonal entries: (class shown, class called, photos)."""
        names = [figures.name for figures in self.per_class]
        cells = [(names[i], names[j], n) for i, row in enumerate(self.confusion_matrix) for j, n in enumerate(row) if i != j and n]
        return sorted(cells, key=lambda cell: -cell[2])[:count]


@dataclass(frozen=True)
class WorstError:
    """A test photo whose wrong name the model was sure of."""

    file: str
    """Path below the photos channel."""
    shown: str
    """Its class."""
    called: str
    """The most probable class."""
    probability: float
    """Of the class it was called, at the fitted temperature."""
    shown_probability: float
    """Of its own class."""
    index: int
    """Where it stands among the test photos, in manifest order."""


@dataclass(frozen=True)
class Assessment:
    """The saved weights, judged."""

    classes: tuple[str, ...]
    temperature: float
    """Fitted on the validation photos; logits are divided by it before the softmax."""
    valid: Evaluation
    test: Evaluation
    baselines: Mapping[str, float]
    """Test accuracy of `biggest_class`, always naming it, and of `nearest_centroid`, the class whose mean feature is nearest."""
    worst_errors: tuple[WorstError, ...]
    called: tuple[int, ...]
    """Index of the most probable class of each test photo, in manifest order."""

    def metrics(self) -> dict[str, float]:
        """Return the test figures that training.contract.METRIC_NAMES lists, as `print_metrics` takes them."""
        return {
            "test_loss": self.test.loss,
            "test_accuracy": self.test.accuracy,
            "test_top5_accuracy": self.test.top5_accuracy,
            "test_macro_f1": self.test.macro_f1,
            "test_calibration_error": self.test.calibrated.error,
        }


def assess(logits: Mapping[str, torch.Tensor], dataset: Dataset) -> Assessment:
    """Judge the weights that are saved.

    Args:
        logits: float32 [n, classes] of the `valid` and the `test` photos, in manifest order.
        dataset: the prepared data set that they are of.
    """
    labels = {split: dataset.labels(split) for split in ("train", "valid", "test")}
    temperature = fit_temperature(logits["valid"], labels["valid"])
    valid, test = (evaluate_logits(logits[split], labels[split], dataset.classes, temperature) for split in ("valid", "test"))
    errors = _worst_errors((logits["test"] / temperature).softmax(dim=1), labels["test"], dataset)
    called = tuple(logits["test"].argmax(dim=1).tolist())
    return Assessment(dataset.classes, temperature, valid, test, _baselines(dataset, labels["test"]), errors, called)


def evaluate_logits(logits: torch.Tensor, labels: torch.Tensor, classes: Sequence[str], temperature: float = 1.0) -> Evaluation:
    """Compare float [n, classes] with int64 [n], n at least 1."""
    called, size, calm = logits.argmax(dim=1), len(classes), logits / temperature
    matrix = torch.bincount(labels * size + called, minlength=size * size).view(size, size)
    right, shown, named = matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
    per_class = tuple(_figures(*row) for row in zip(classes, shown, named, right, strict=True))
    best = logits.topk(min(TOP, size), dim=1).indices
    return Evaluation(
        photos=len(labels),
        loss=cross_entropy(logits, labels).item(),
        calibrated_loss=cross_entropy(calm, labels).item(),
        accuracy=sum(right) / len(labels),
        accuracy_interval=wilson_interval(sum(right), len(labels)),
        top5_accuracy=(best == labels.unsqueeze(1)).any(dim=1).sum().item() / len(labels),
        macro_f1=_mean([figures.f1 or 0.0 for figures in per_class if figures.photos]),
        uncalibrated=measure_calibration(logits.softmax(dim=1), labels),
        calibrated=measure_calibration(calm.softmax(dim=1), labels),
        confusion_matrix=tuple(tuple(row) for row in matrix.tolist()),
        per_class=per_class,
    )


def wilson_interval(right: int, photos: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927): sensible also for few photos, and where all or none are right."""
    square = _NORMAL_QUANTILE**2
    middle = (right + square / 2) / (photos + square)
    half = _NORMAL_QUANTILE * math.sqrt(right * (photos - right) / photos + square / 4) / (photos + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def to_json(assessment: Assessment) -> dict[str, Any]:
    """Return what report/evaluation.json holds."""
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
    """Return the figures of a split that fit on a line; those by class are written for the test photos alone."""
    fields = asdict(evaluation)
    return {name: value for name, value in fields.items() if name not in ("confusion_matrix", "per_class")}


def _figures(name: str, shown: int, named: int, right: int) -> ClassFigures:
    precision = right / named if named else None
    recall = right / shown if shown else None
    return ClassFigures(name, shown, precision, recall, 2 * right / (shown + named) if shown + named else None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _baselines(dataset: Dataset, labels: torch.Tensor) -> dict[str, float]:
    """Return the test accuracy of two answers that need no training."""
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
    """Return the wrongly named test photos that the model was surest of, the surest first."""
    confidence, called = probabilities.max(dim=1)
    wrong = (called != labels).nonzero().flatten()
    indices = wrong[confidence[wrong].argsort(descending=True, stable=True)][:WORST_ERRORS].tolist()
    photos = dataset.split("test")
    return tuple(
        WorstError(
            file=photos[index].name,
            shown=dataset.classes[photos[index].label],
            called=dataset.classes[int(called[index])],
            probability=confidence[index].item(),
            shown_probability=probabilities[index, photos[index].label].item(),
            index=index,
        )
        for index in indices
    )
