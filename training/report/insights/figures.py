"""Insights from the evaluation on the test photos: better than the baselines or not, how certain that is, which classes are worse.

Runs in the final training job, called by training/report/insights/rank.py. What too few
photos cannot show is not reported.
"""

from collections.abc import Mapping
from math import exp, lgamma, log
from statistics import median
from typing import Any

from training.report.tables import percent
from training.rule_evaluation.insight import Insight, join_names

WIDE = 0.08
"""Half width of the accuracy interval above which more test photos are advised."""
FLAWLESS = 0.99
"""Accuracy from which the baselines do not matter: there is nothing left to gain."""
BEHIND = 0.1
"""A class is reported whose recall is below the accuracy by more than this, unless chance explains it."""
CHANCE = 0.05
"""Probability that chance alone makes one of the classes look so bad."""
CONFUSED, CONFUSED_PHOTOS = 0.25, 5
"""A pair of classes is reported if at least this part of a class's test photos, and this many, are predicted as the other."""
MISCALIBRATED, ENOUGH = 0.1, 200
"""Calibration error from which it is reported, and the test photos needed to measure it."""
SURE = 0.95
"""Probability from which a wrong prediction is probably a wrong label."""


def describe_evaluation(evaluation: Mapping[str, Any], data: Mapping[str, Any], confusion_found: bool) -> list[Insight]:
    """Return the insights from evaluation.json, the most important first.

    `data`: data.json. `confusion_found`: whether the rule Confusion already reports it.
    """
    if "test" not in evaluation:
        return []
    return [
        *_baseline(evaluation),
        *_overconfident(evaluation),
        *_gap(evaluation),
        *_weak_classes(evaluation, data),
        *([] if confusion_found else _confused(evaluation)),
        *_calibration(evaluation),
        *_confidently_wrong(evaluation),
        *_few_test_photos(evaluation),
    ]


def _baseline(evaluation: Mapping[str, Any]) -> list[Insight]:
    """Return that the model does not beat a baseline: worse than it, not better than a guess, or not better than mean features."""
    test, baselines = evaluation["test"], evaluation.get("baselines") or {"": 0.0}
    (low, high), best, guess = test["accuracy_interval"], max(baselines.values()), baselines.get("biggest_class", 0.0)
    if (test["accuracy"] > best and low > guess) or test["accuracy"] >= FLAWLESS:
        return []
    seen = f"test accuracy {percent(test['accuracy'])} ({percent(low)} to {percent(high)}); best baseline {percent(best)}"
    why = "Predicting the most frequent class, or the class with the nearest mean feature, needs no training: the model must beat both."
    if high < best:
        change = "Follow the other insights first; if there are none, check the labels and widen tuning.lr."
        return [Insight("problem", "The model is worse than a baseline that needs no training.", why, change, seen, "evaluation.json")]
    if low <= guess:
        change = "First check that the photos are in the folders of their classes; then widen tuning.lr, and add photos."
        return [Insight("warning", "The model is not clearly better than a guess.", why, change, seen, "evaluation.json")]
    what = "The head is not better than the nearest mean feature."
    change = "Add training photos or use trainable last_stage; add test photos to measure the difference."
    return [Insight("note", what, why, change, seen, "evaluation.json")]


def _overconfident(evaluation: Mapping[str, Any]) -> list[Insight]:
    """Return that a model is more accurate than a guess, but has a higher loss: it is too confident of its errors."""
    test, guess = evaluation["test"], log(max(2, len(evaluation.get("classes", ()))))
    if test["loss"] <= guess or test["accuracy_interval"][0] <= evaluation.get("baselines", {}).get("biggest_class", 0.0):
        return []
    return [
        Insight(
            "warning",
            "The model is far too confident of its errors.",
            "Its loss is above that of a guess although its accuracy is higher: its weights have grown too large.",
            "Lower the learning rate: set the upper end of tuning.lr to a tenth of this job's lr.",
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
            "The accuracy on test photos is much lower than on validation photos.",
            "The best epoch and hyperparameters were chosen on the validation photos: if these are too easy, the choice is poor.",
            "Check that both splits hold the same kind of photos, and that no validation photo is nearly the same as a training photo.",
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
            f"{'One class is' if one else f'{len(names)} classes are'} recognised much less often than the others: {join_names(names)}.",
            f"The overall accuracy of {percent(accuracy)} hides how often {'its photos' if one else 'their photos'} are misclassified.",
            _change(names, data.get("photos", {}).get("train", {}), evaluation.get("most_confused", ())),
            seen,
            "evaluation.json",
        )
    ]


def _is_behind(figures: Mapping[str, Any], accuracy: float, chance: float) -> bool:
    """Return whether a class with the overall accuracy would have so few correct photos with less than this probability."""
    recall, photos = figures.get("recall"), figures["photos"]
    if recall is None or recall > accuracy - BEHIND:
        return False
    return sum(_probability(count, photos, accuracy) for count in range(round(recall * photos) + 1)) < chance


def _probability(right: int, photos: int, accuracy: float) -> float:
    """Return the binomial probability of exactly so many correct photos, by logarithms: the coefficients exceed a float."""
    ways = lgamma(photos + 1) - lgamma(right + 1) - lgamma(photos - right + 1)
    return exp(ways + right * log(accuracy) + (photos - right) * log(1 - accuracy))


def _change(names: list[str], trained: Mapping[str, int], confused: Any) -> str:
    """Return what would help: more photos if there are few, else a look at the class that it is confused with."""
    usual = median(trained.values()) if trained else 0
    few = [name for name in names if trained.get(name, usual) < usual / 2]
    if few:
        return (
            f"Add photos: {', '.join(f'{name} has {trained[name]:,}' for name in few[:3])} in training, the median class has {usual:,.0f}."
        )
    called = [pair for pair in confused if pair["shown"] == names[0]]
    confused_with = f" {names[0]} is most often predicted as {called[0]['called']}:" if called else ""
    return f"Look at the class's photos for wrong labels and mixed contents;{confused_with} add photos that show the difference."


def _confused(evaluation: Mapping[str, Any]) -> list[Insight]:
    photos = {figures["name"]: figures["photos"] for figures in evaluation.get("per_class", ())}
    pairs = [
        pair
        for pair in evaluation.get("most_confused", ())
        if pair["photos"] >= CONFUSED_PHOTOS and pair["photos"] >= CONFUSED * photos.get(pair["shown"], float("inf"))
    ]
    if not pairs:
        return []
    seen = "; ".join(
        f"{pair['photos']} of {photos[pair['shown']]} photos of {pair['shown']} predicted as {pair['called']}" for pair in pairs[:3]
    )
    return [
        Insight(
            "note",
            f"{pairs[0]['shown']} is often predicted as {pairs[0]['called']}.",
            "A quarter or more of a class's photos predicted as one other class is a pattern, not chance.",
            "Check the labels of both classes; add photos that show the difference, or merge the two if the difference is not important.",
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
            "The predicted probabilities are poorly calibrated.",
            "Predictions with a probability of 90 % are not correct in 90 % of the cases.",
            "Add validation photos, on which the temperature is fitted; until then use only the order of the predicted classes.",
            f"calibration error {percent(error)} over {test['photos']:,} test photos",
            "evaluation.json",
        )
    ]


def _confidently_wrong(evaluation: Mapping[str, Any]) -> list[Insight]:
    sure = [error for error in evaluation.get("worst_errors", ()) if error["probability"] >= SURE]
    if not sure:
        return []
    first = sure[0]
    return [
        Insight(
            "note",
            f"{len(sure)} test {'photo is' if len(sure) == 1 else 'photos are'} confidently misclassified: check the labels.",
            "Such photos often have a wrong label, and a wrong test label counts a correct prediction as an error.",
            'Look at the pictures under "Worst errors", and move those that are in the wrong folder.',
            f"{first['file']}: labelled {first['shown']}, predicted as {first['called']} with {percent(first['probability'])}",
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
            f"{test['photos']:,} test photos measure the accuracy only roughly.",
            "A difference between two models that is smaller than the interval may be due to chance.",
            "Add test photos; four times as many halve the interval.",
            f"test accuracy {percent(test['accuracy'])}; 95 % confidence interval {percent(low)} to {percent(high)}",
            "evaluation.json",
        )
    ]
