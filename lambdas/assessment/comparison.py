"""The new model and the champion on the test photos that both were tested on, as a whole and class by class.

Runs inside AssessModel. Reads test_predictions.json of both reports, which training/evaluation/test_predictions.schema.json describes.
Photos are the
same where their sha256 is: neither model learnt from any of them, however the data set has grown and been split between the two trainings.
A photo whose class has another name now is left out, for the two were asked different questions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lambdas.assessment.paired_accuracy import Pairs
from lambdas.assessment.report_files import damaged, read_document

PREDICTIONS = "test_predictions"
SCHEMA_VERSION = 1
COLUMNS = ("sha256", "shown", "called")


@dataclass(frozen=True)
class Predictions:
    """What a model called each test photo."""

    classes: tuple[str, ...]
    photos: Mapping[str, tuple[str, str]]
    """sha256 -> the class that the photo shows, and what it was called."""


@dataclass(frozen=True)
class Comparison:
    """The new model beside the champion on the photos that both were tested on."""

    pairs: Pairs
    """Of all photos that both were tested on, none perhaps."""
    by_class: Mapping[str, Pairs]
    """Class -> the same for its photos; classes without any are missing."""
    relabelled: int
    """Photos that show another class now, and are left out."""
    added: tuple[str, ...]
    """Classes that the champion does not know."""
    removed: tuple[str, ...]
    """Classes that only the champion knows."""


def read_predictions(s3: Any, folder: str) -> Predictions:
    """What test_predictions.json says; DocumentError where it is missing or says nothing that can be believed."""
    content = read_document(s3, folder, PREDICTIONS)
    try:
        return _predictions(content)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise damaged(folder, PREDICTIONS, f"{type(error).__name__}: {error}") from error


def compare(new: Predictions, champion: Predictions) -> Comparison:
    """Put the two beside one another."""
    common = new.photos.keys() & champion.photos.keys()
    same = [digest for digest in common if new.photos[digest][0] == champion.photos[digest][0]]
    every, by_class = Counter[str](), {name: Counter[str]() for name in new.classes}
    for digest in same:
        shown, called = new.photos[digest]
        before = champion.photos[digest][1]
        seen = {"photos": 1, "right": called == shown, "gained": called == shown != before, "lost": before == shown != called}
        every.update(seen)
        by_class[shown].update(seen)
    return Comparison(
        pairs=_pairs(every),
        by_class={name: _pairs(counts) for name, counts in by_class.items() if counts["photos"]},
        relabelled=len(common) - len(same),
        added=tuple(name for name in new.classes if name not in champion.classes),
        removed=tuple(name for name in champion.classes if name not in new.classes),
    )


def _predictions(content: Any) -> Predictions:
    if content["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {str(content['schema_version'])[:20]!r}, and this code reads {SCHEMA_VERSION}")
    classes, columns = _names(content["classes"]), [content[name] for name in COLUMNS]
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) != 1:
        raise ValueError("its columns are no lists of the same length")
    return Predictions(classes, dict(_rows(classes, columns)))


def _names(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given) or len(set(given)) != len(given):
        raise ValueError("its classes are no list of different names")
    return tuple(given)


def _rows(classes: Sequence[str], columns: Sequence[Sequence[Any]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each photo; a negative index or a boolean would find a class, and so is looked for."""
    for digest, shown, called in zip(*columns, strict=True):
        if not isinstance(digest, str) or type(shown) is not int or type(called) is not int or shown < 0 or called < 0:
            raise ValueError(f"its columns do not hold a photo, but {str((digest, shown, called))[:100]}")
        yield digest, (classes[shown], classes[called])


def _pairs(counts: Mapping[str, int]) -> Pairs:
    return Pairs(counts["photos"], counts["right"], counts["gained"], counts["lost"])
