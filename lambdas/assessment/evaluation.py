"""What a training job's report says of its model: the figures of the test photos, and what the artefact is made from.

Runs inside AssessModel. Reads evaluation.json, which training/evaluation/evaluation.schema.json describes, and model.json. Of a file that
is not what a training job writes, nothing is believed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambdas.assessment.report_files import damaged, read_document

EVALUATION, MODEL = "evaluation", "model"

FIGURES = ("test_accuracy", "test_loss", "valid_accuracy", "valid_loss")
"""Top-level figures of evaluation.json that become metrics under their own names."""

HASHES = ("data_sha256", "weights_sha256", "code_sha256")
"""Keys of `hashes` in model.json."""


@dataclass(frozen=True)
class Evaluation:
    """The model on the test photos, which neither training nor tuning saw."""

    accuracy: float
    photos: int
    classes: tuple[str, ...]
    biggest_class: float
    """Test accuracy of always naming the class with the most training photos."""
    mean_recall: float
    """Mean, over the classes that have test photos, of the part of them that is called so: rare classes count like the others."""
    classes_shown: int
    """How many classes have test photos."""
    metrics: Mapping[str, float] = field(default_factory=dict)


def read_evaluation(s3: Any, folder: str) -> Evaluation:
    """What evaluation.json says; DocumentError where it says nothing that can be believed."""
    content = read_document(s3, folder, EVALUATION)
    try:
        return _evaluation(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(folder, EVALUATION, f"{type(error).__name__}: {error}") from error


def read_hashes(s3: Any, folder: str) -> dict[str, str]:
    """The sha256 of data, weights and code, as model.json has them; DocumentError where it has none."""
    content = read_document(s3, folder, MODEL)
    given = content.get("hashes") if isinstance(content, dict) else None
    hashes = {key: given[key] for key in HASHES if _is_digest(given.get(key))} if isinstance(given, dict) else {}
    if not hashes:
        raise damaged(folder, MODEL, "it holds no hashes")
    return hashes


def _evaluation(content: Any) -> Evaluation:
    test, recalls = content["test"], [_part(each["recall"]) for each in content["per_class"] if each["photos"]]
    metrics = {name: _number(content[name]) for name in FIGURES}
    metrics |= {"macro_f1": _part(test["macro_f1"]), "top5_accuracy": _part(test["top5_accuracy"])}
    metrics |= {"calibration_error": _part(test["calibrated"]["error"]), "test_photos": _count(test["photos"])}
    classes = content["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or not recalls:
        raise ValueError("its classes are no names, or none has photos")
    return Evaluation(
        accuracy=_part(content["test_accuracy"]),
        photos=_count(test["photos"]),
        classes=tuple(classes),
        biggest_class=_part(content["baselines"]["biggest_class"]),
        mean_recall=sum(recalls) / len(recalls),
        classes_shown=len(recalls),
        metrics=metrics,
    )


def _part(value: Any) -> float:
    """A number from 0 to 1."""
    if not 0 <= _number(value) <= 1:
        raise ValueError(f"{value!r} is not from 0 to 1")
    return float(value)


def _number(value: Any) -> float:
    """A finite number; JSON as Python reads it has others, and Python's True is a number too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return float(value)


def _count(value: Any) -> int:
    if _number(value) < 1 or value != int(value):
        raise ValueError(f"{value!r} is no number of photos")
    return int(value)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
