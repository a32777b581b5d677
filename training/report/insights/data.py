"""Insights from the data set: wrong labels, rare classes, files that could not be used.

Runs in the final training job, called by training/report/insights/rank.py; takes what report/data.json holds, see training/data/summary.py.
"""

from collections.abc import Mapping
from typing import Any

from training.rule_evaluation.insight import Insight, format_count

UNEVEN = 10.0
"""Ratio of the largest class to the smallest from which it is reported: the default of the rule ClassImbalance."""
SCARCE = 20
"""Training photos of a class below which more photos are the surest improvement."""
LOST = 0.02
"""Part of the files that could not be used from which it is reported."""


def describe_data(data: Mapping[str, Any], imbalance_found: bool) -> list[Insight]:
    """Return the insights from data.json; `imbalance_found`: whether the rule ClassImbalance already reports it."""
    return [
        *_two_labels(data),
        *_warnings(data),
        *([] if imbalance_found else _uneven(data)),
        *_scarce(data),
        *_lost(data),
    ]


def _two_labels(data: Mapping[str, Any]) -> list[Insight]:
    pairs = data.get("duplicates", {}).get("suspicious") or []
    if not pairs:
        return []
    first = pairs[0]
    same = "the same photo" if first["distance"] == 0 else "nearly the same photo"
    return [
        Insight(
            "warning",
            f"{format_count(len(pairs), 'pair')} of the same or nearly the same photos with two labels.",
            "If both photos show the same thing, one label is wrong, and the model is trained or evaluated with it.",
            'Look at the pairs under "One photo under two labels", and remove each photo from the wrong folder.',
            f"{first['a']} and {first['b']}: {same}, labelled {first['classes'][0]} and {first['classes'][1]}",
            "data.json",
        )
    ]


def _warnings(data: Mapping[str, Any]) -> list[Insight]:
    """Return the data set's own warnings as one insight."""
    warnings = data.get("warnings") or []
    if not warnings:
        return []
    more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
    return [
        Insight(
            "warning",
            f"The data set was prepared with {'a warning' if len(warnings) == 1 else f'{len(warnings)} warnings'}.",
            "Training cannot make up for photos that could not be split or checked as they should be.",
            'Follow the warning; all warnings are listed under "Photos".',
            f"{warnings[0]}{more}",
            "data.json",
        )
    ]


def _uneven(data: Mapping[str, Any]) -> list[Insight]:
    balance = data.get("balance") or {}
    if balance.get("ratio", 0) < UNEVEN:
        return []
    biggest, smallest = balance["biggest"], balance["smallest"]
    return [
        Insight(
            "note",
            "The classes have very different sizes.",
            "A model that is unsure predicts the larger class; the overall accuracy hides how well the rare classes do.",
            f"Add photos of {smallest['class']}; class_weights balanced, the default, reduces the effect.",
            f"{biggest['class']}: {biggest['photos']:,} training photos, {smallest['class']}: {smallest['photos']:,}",
            "data.json",
        )
    ]


def _scarce(data: Mapping[str, Any]) -> list[Insight]:
    trained = data.get("photos", {}).get("train") or {}
    rare = sorted((count, name) for name, count in trained.items() if count < SCARCE)
    if not rare:
        return []
    return [
        Insight(
            "note",
            f"{'One class has' if len(rare) == 1 else f'{len(rare)} classes have'} fewer than {SCARCE} training photos.",
            "So few photos show little of the class's variety: new photos will look different.",
            "Collect more photos of these classes; nothing else improves the model as much.",
            ", ".join(f"{name} {count:,}" for count, name in rare[:4]),
            "data.json",
        )
    ]


def _lost(data: Mapping[str, Any]) -> list[Insight]:
    left = data.get("left_out") or []
    used = sum(count for split in data.get("photos", {}).values() for count in split.values())
    if len(left) <= LOST * (used + len(left)):
        return []
    return [
        Insight(
            "note",
            f"{len(left):,} of {used + len(left):,} files could not be used.",
            "Damaged files and unsupported formats are left out of the training.",
            'Look at the list under "Files left out", and upload those again that should be photos.',
            f"{left[0]['file']}: {left[0]['reason']}",
            "data.json",
        )
    ]
