"""The gate: whether a model is good enough to be deployed, on its own and beside the champion. docs/gate.md says it for people.

Runs inside AssessModel. `gate` of the execution input holds the limits; all of them are parts of one, so 0.01 is a point of accuracy.
A model is kept back

- whose accuracy is not known, or below `least_accuracy`;
- which does no better than always naming the same class, neither in accuracy nor class by class;
- whose accuracy is lower than the champion's by more than `tolerance`, on the same photos, and surely so: the 95 % interval of the
  difference lies below 0. A loss that chance explains keeps nothing back, and is told;
- which names the photos of one class rightly less often than the champion, by more than `class_tolerance`, and surely so: the interval lies
  below 0 even though several classes were looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lambdas.assessment.comparison import Comparison
from lambdas.assessment.evaluation import Evaluation
from lambdas.assessment.paired_accuracy import CONFIDENCE, Pairs

LEAST_CLASS_PHOTOS = 10
"""Photos of a class that both models were tested on, for the class to be looked at."""

MOST_CLASSES = 10
"""Classes that are told of; an execution holds no more than 256 KB."""

MOST_NAMES = 5


@dataclass(frozen=True)
class Gate:
    """What the execution input asks for."""

    least_accuracy: float = 0.0
    champion: bool = True
    """Whether the champion is compared with."""
    tolerance: float = 0.01
    class_tolerance: float = 0.2

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Gate":
        """Of the plan; one that was made before there was a gate takes the defaults."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in known})


def floor(gate: Gate, evaluation: Evaluation) -> list[str]:
    """Why the model is not good enough on its own."""
    reasons = []
    if evaluation.accuracy < gate.least_accuracy:
        reasons.append(f"its test accuracy {evaluation.accuracy:.3f} is below gate.least_accuracy {gate.least_accuracy:g}")
    if evaluation.accuracy <= evaluation.biggest_class and evaluation.mean_recall <= 1 / evaluation.classes_shown:
        reasons.append(
            f"it does no better than always naming the same class: of {evaluation.photos} test photos it names {evaluation.accuracy:.3f} "
            f"rightly, and that would be {evaluation.biggest_class:.3f}; of a class's photos {evaluation.mean_recall:.3f} in the mean, "
            f"and that would be {1 / evaluation.classes_shown:.3f}"
        )
    return reasons


def against_champion(gate: Gate, comparison: Comparison, warnings: list[str]) -> list[str]:
    """Why the model is worse than the one that was deployed last; what keeps nothing back, and is worth knowing, becomes a warning."""
    warnings += changed_classes(comparison)
    return [*overall(gate, comparison.pairs, warnings), *by_class(gate, comparison)]


def overall(gate: Gate, pairs: Pairs, warnings: list[str]) -> list[str]:
    """A loss of accuracy beyond the tolerance is a reason where chance does not explain it, and a warning where it may."""
    if -pairs.difference <= gate.tolerance:
        return []
    lost = f"{sentence(pairs)}: it loses more than gate.tolerance {gate.tolerance:g}"
    if pairs.interval()[1] < 0:
        return [lost]
    warnings.append(f"{lost}, but chance may explain that on so few photos, so it keeps no model back")
    return []


def by_class(gate: Gate, comparison: Comparison) -> list[str]:
    """The classes that got worse, the worst first. With every class looked at, one more could look bad by chance: each must be surer."""
    judged = {name: pairs for name, pairs in comparison.by_class.items() if pairs.photos >= LEAST_CLASS_PHOTOS}
    surer = 1 - (1 - CONFIDENCE) / max(1, len(judged))
    worse = [
        (pairs.difference, name)
        for name, pairs in judged.items()
        if -pairs.difference > gate.class_tolerance and pairs.interval(surer)[1] < 0
    ]
    told = [
        f"of the photos of class {name} it names {judged[name].accuracy:.3f} rightly against the champion's "
        f"{judged[name].champion_accuracy:.3f} on the same {judged[name].photos}: it loses more than gate.class_tolerance "
        f"{gate.class_tolerance:g}"
        for _, name in sorted(worse)
    ]
    return told[:MOST_CLASSES] + ([f"and {len(told) - MOST_CLASSES} more classes like these"] if len(told) > MOST_CLASSES else [])


def changed_classes(comparison: Comparison) -> list[str]:
    """What is not asked of both models alike."""
    told = []
    if comparison.added or comparison.removed:
        changes = [f"{what} {names(which)}" for what, which in (("new", comparison.added), ("gone", comparison.removed)) if which]
        told.append(f"the classes differ from the champion's ({'; '.join(changes)}): compared on the photos of those that both know")
    if comparison.relabelled:
        told.append(f"{comparison.relabelled} test photos show another class than when the champion was tested, and are not compared")
    return told


def sentence(pairs: Pairs) -> str:
    """The comparison, as the execution's output and the command line tell it."""
    low, high = pairs.interval()
    return (
        f"accuracy {pairs.accuracy:.3f} against the champion's {pairs.champion_accuracy:.3f} on the same {pairs.photos} photos, "
        f"difference {points(pairs.difference)} points, 95 % interval {points(low)} to {points(high)}"
    )


def points(part: float) -> str:
    """0.012 -> `+1.2`; nothing is written as `-0.0`."""
    return f"{round(100 * part, 1) + 0.0:+.1f}"


def names(which: tuple[str, ...]) -> str:
    """The first few, and how many more."""
    more = len(which) - MOST_NAMES
    return ", ".join(which[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
