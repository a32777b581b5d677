"""What the photos themselves say: wrong labels, rare classes, files that were no photos.

Runs in the final training job, called by training/report/insights/rank.py; takes what report/data.json holds, see training/data/summary.py.
"""

from collections.abc import Mapping
from typing import Any

from training.rule_evaluation.insight import Insight

UNEVEN = 10.0
"""The biggest class has so many times the photos of the smallest where that is told: the default of the rule ClassImbalance."""
SCARCE = 20
"""Training photos of the smallest class below which more of them are the surest gain."""
LOST = 0.02
"""Part of the files that were no photos from which it is told."""


def about_data(data: Mapping[str, Any], imbalance_told: bool) -> list[Insight]:
    """Return what data.json says; `imbalance_told`: by the rule ClassImbalance."""
    return [
        *_two_labels(data),
        *_warnings(data),
        *([] if imbalance_told else _uneven(data)),
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
            f"{len(pairs)} {'pair of photos is' if len(pairs) == 1 else 'pairs of photos are'} alike and lie under two labels.",
            "Where both show the same thing, one of the labels is wrong: the model is taught, or judged, by it.",
            'Look at the pairs under "One photo under two labels", and take each photo out of the wrong folder.',
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
            "What could not be split or judged as it should is not made good by training.",
            'Do what the warning says; all of them stand under "Photos".',
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
            "The classes are of very different sizes.",
            "In doubt a model names the bigger class; the overall accuracy hides how the rare ones fare.",
            f"Add photos of {smallest['class']}; class_weights balanced, the default, softens it.",
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
            "So few show a class from few sides: new photos of it will look different.",
            "Photograph or collect more of them; nothing else brings as much.",
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
            "Photos that are damaged or of an unknown kind teach nothing, and nobody misses them until they are looked for.",
            'Look at the list under "Files left out", and upload them again if they should be photos.',
            f"{left[0]['file']}: {left[0]['reason']}",
            "data.json",
        )
    ]
