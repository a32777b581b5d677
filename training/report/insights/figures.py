"""What the figures of the test photos say: better than untrained answers or not, how sure that is, which classes fall behind.

Runs in the final training job, called by training/report/insights/rank.py. What a handful of photos cannot tell is not told.
"""

from collections.abc import Mapping
from math import exp, lgamma, log
from statistics import median
from typing import Any

from training.report.tables import percent
from training.rule_evaluation.insight import Insight, named

WIDE = 0.08
"""Half an interval of the accuracy that is worth more test photos, in parts of one."""
FLAWLESS = 0.99
"""Accuracy from which nothing is left to gain over an untrained answer."""
BEHIND = 0.1
"""A class is told of where its photos are named rightly so much less often than all, if chance does not explain it."""
CHANCE = 0.05
"""How likely it may be that chance alone makes one of the classes look so bad."""
CONFUSED, CONFUSED_PHOTOS = 0.25, 5
"""A pair of classes is told of where this part of a class's test photos, and so many, are called the other one."""
MISCALIBRATED, ENOUGH = 0.1, 200
"""Error of the probabilities that is told of, and the test photos it takes to measure it."""
SURE = 0.95
"""Probability at which a wrong name is probably a wrong label."""


def about_figures(evaluation: Mapping[str, Any], data: Mapping[str, Any], confusion_told: bool) -> list[Insight]:
    """Return what evaluation.json says, the most important first; `data`: data.json; `confusion_told`: by the rule Confusion."""
    if "test" not in evaluation:
        return []
    return [
        *_baseline(evaluation),
        *_surer_than_right(evaluation),
        *_gap(evaluation),
        *_weak_classes(evaluation, data),
        *([] if confusion_told else _confused(evaluation)),
        *_calibration(evaluation),
        *_surely_wrong(evaluation),
        *_few_test_photos(evaluation),
    ]


def _baseline(evaluation: Mapping[str, Any]) -> list[Insight]:
    """Return that training was not worth it: worse than an untrained answer, no better than a guess, or no better than mean features."""
    test, baselines = evaluation["test"], evaluation.get("baselines") or {"": 0.0}
    (low, high), best, guess = test["accuracy_interval"], max(baselines.values()), baselines.get("biggest_class", 0.0)
    if (test["accuracy"] > best and low > guess) or test["accuracy"] >= FLAWLESS:
        return []
    seen = f"test accuracy {percent(test['accuracy'])} ({percent(low)} to {percent(high)}); best untrained answer {percent(best)}"
    why = "Naming the most frequent class, or the nearest mean feature, costs nothing: training must beat it to be worth anything."
    if high < best:
        change = "Look at the other insights first; if there are none, check the labels and widen tuning.lr."
        return [Insight("problem", "The model is worse than an answer that needs no training.", why, change, seen, "evaluation.json")]
    if low <= guess:
        change = "Check first that the photos lie in the folders of their classes; then widen tuning.lr, and add photos."
        return [Insight("warning", "The model is not clearly better than a guess.", why, change, seen, "evaluation.json")]
    what = "The head names photos no better than the nearest mean feature does."
    change = "More training photos, or trainable last_stage, would help; more test photos would tell."
    return [Insight("note", what, why, change, seen, "evaluation.json")]


def _surer_than_right(evaluation: Mapping[str, Any]) -> list[Insight]:
    """Return that a model that names photos better than a guess is so sure of its errors that its loss is above a guess's."""
    test, guess = evaluation["test"], log(max(2, len(evaluation.get("classes", ()))))
    if test["loss"] <= guess or test["accuracy_interval"][0] <= evaluation.get("baselines", {}).get("biggest_class", 0.0):
        return []
    return [
        Insight(
            "warning",
            "The model is far too sure of its errors.",
            "Its loss is above that of a guess although it names photos better: its weights have grown too large.",
            "Lower the learning rate: let tuning.lr end at a tenth of this job's lr.",
            f"test loss {test['loss']:.3f}, that of a guess {guess:.3f}; test accuracy {percent(test['accuracy'])}",
            "evaluation.json",
        )
    ]


def _gap(evaluation: Mapping[str, Any]) -> list[Insight]:
    test, valid = evaluation["test"], evaluation.get("valid") or {}
    if "accuracy_interval" not in valid or test["accuracy_interval"][1] >= valid["accuracy_interval"][0]:
        return []
    seen = f"{percent(test['accuracy'])} of {test['photos']:,} test, {percent(valid['accuracy'])} of {valid['photos']:,} validation photos"
    return [
        Insight(
            "warning",
            "Test photos are named rightly much less often than validation photos.",
            "The best epoch and the best values were chosen by the validation photos: if those flatter the model, it was chosen badly.",
            "Check that both splits hold the same kind of photos, and that no photo of the validation split is nearly one of training.",
            seen,
            "evaluation.json",
        )
    ]


def _weak_classes(evaluation: Mapping[str, Any], data: Mapping[str, Any]) -> list[Insight]:
    accuracy, per_class = evaluation["test"]["accuracy"], evaluation.get("per_class", ())
    weak = [figures for figures in per_class if _is_behind(figures, accuracy, CHANCE / len(per_class))]
    if not weak:
        return []
    weak.sort(key=lambda figures: figures["recall"])
    names = [figures["name"] for figures in weak]
    one = len(names) == 1
    seen = "; ".join(f"{each['name']}: {percent(each['recall'])} of {each['photos']:,} test photos" for each in weak[:4])
    return [
        Insight(
            "warning",
            f"{'One class is' if one else f'{len(names)} classes are'} told apart much worse than the others: {named(names)}.",
            f"Whoever shows {'it' if one else 'them'} is answered rightly far less often than the {percent(accuracy)} of all photos.",
            _change(names, data.get("photos", {}).get("train", {}), evaluation.get("most_confused", ())),
            seen,
            "evaluation.json",
        )
    ]


def _is_behind(figures: Mapping[str, Any], accuracy: float, chance: float) -> bool:
    """Return whether a class that is told apart as well as all would have so few right photos with less than this probability."""
    recall, photos = figures.get("recall"), figures["photos"]
    if recall is None or recall > accuracy - BEHIND:
        return False
    return sum(_probability(count, photos, accuracy) for count in range(round(recall * photos) + 1)) < chance


def _probability(right: int, photos: int, accuracy: float) -> float:
    """Return how likely exactly so many are right, by logarithms: thousands of photos have more ways than a float can count."""
    ways = lgamma(photos + 1) - lgamma(right + 1) - lgamma(photos - right + 1)
    return exp(ways + right * log(accuracy) + (photos - right) * log(1 - accuracy))


def _change(names: list[str], trained: Mapping[str, int], confused: Any) -> str:
    """Return what would help: photos where there are few, else a look at what the class is taken for."""
    usual = median(trained.values()) if trained else 0
    few = [name for name in names if trained.get(name, usual) < usual / 2]
    if few:
        return f"Add photos: {', '.join(f'{name} has {trained[name]:,}' for name in few[:3])} in training, the median class {usual:,.0f}."
    called = [pair for pair in confused if pair["shown"] == names[0]]
    taken = f" {names[0]} is most often called {called[0]['called']}:" if called else ""
    return f"Look at the class's photos for wrong labels and mixed contents;{taken} add photos that show the difference."


def _confused(evaluation: Mapping[str, Any]) -> list[Insight]:
    photos = {figures["name"]: figures["photos"] for figures in evaluation.get("per_class", ())}
    pairs = [
        pair
        for pair in evaluation.get("most_confused", ())
        if pair["photos"] >= CONFUSED_PHOTOS and pair["photos"] >= CONFUSED * photos.get(pair["shown"], float("inf"))
    ]
    if not pairs:
        return []
    seen = "; ".join(f"{pair['photos']} of {photos[pair['shown']]} photos of {pair['shown']} called {pair['called']}" for pair in pairs[:3])
    return [
        Insight(
            "note",
            f"{pairs[0]['shown']} is often taken for {pairs[0]['called']}.",
            "A quarter or more of a class's photos under one wrong name is a pattern, not bad luck.",
            "Look at both classes' photos for wrong labels; add photos that show the difference, or merge them if nobody needs them apart.",
            seen,
            "evaluation.json",
        )
    ]


def _calibration(evaluation: Mapping[str, Any]) -> list[Insight]:
    test = evaluation["test"]
    error = test.get("calibrated", {}).get("error")
    if error is None or error < MISCALIBRATED or test["photos"] < ENOUGH:
        return []
    return [
        Insight(
            "warning",
            "The probabilities of the answers are not to be taken at their word.",
            'Who acts on "90 % sure" is wrong more or less often than one time in ten.',
            "More validation photos, by which the temperature is fitted; until then trust the order of the answers only.",
            f"mean difference of probability and truth {percent(error)} over {test['photos']:,} test photos",
            "evaluation.json",
        )
    ]


def _surely_wrong(evaluation: Mapping[str, Any]) -> list[Insight]:
    sure = [error for error in evaluation.get("worst_errors", ()) if error["probability"] >= SURE]
    if not sure:
        return []
    first = sure[0]
    return [
        Insight(
            "note",
            f"{len(sure)} test {'photo is' if len(sure) == 1 else 'photos are'} named otherwise than labelled, with great certainty.",
            "Such photos are often labelled wrongly, and a wrong label in the test counts against a model that is right.",
            'Look at the pictures under "Worst errors", and move those that lie in the wrong folder.',
            f"{first['file']}: labelled {first['shown']}, called {first['called']} with {percent(first['probability'])}",
            "evaluation.json",
        )
    ]


def _few_test_photos(evaluation: Mapping[str, Any]) -> list[Insight]:
    test = evaluation["test"]
    low, high = test["accuracy_interval"]
    if high - low <= 2 * WIDE:
        return []
    return [
        Insight(
            "note",
            f"{test['photos']:,} test photos tell the accuracy only roughly.",
            "A difference between two models that is smaller than the interval may be chance.",
            "Add test photos; four times as many halve the interval.",
            f"test accuracy {percent(test['accuracy'])}; of all photos like them, 95 % interval, {percent(low)} to {percent(high)}",
            "evaluation.json",
        )
    ]
