"""What the losses of the epochs say: whether anything was learnt, by heart or for good, and whether it was at its end.

Runs in the final training job, called by training/report/insights/rules.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.tables import percent
from training.rule_evaluation.insight import Insight

Epochs = Sequence[Mapping[str, Any]]

WORSE = 1.1
"""The last validation loss is so many times the lowest where a model learns by heart, also if no rule was asked."""
HARMED = 1.05
"""The same where the rule Overfit found an issue: below it the gap cost nothing."""
GAP = 0.15
"""Training photos are named rightly so much more often than validation photos where a model knows them by heart."""
LEARNT = 0.9
"""The lowest validation loss is at most so many times the first one's where something was learnt."""
STILL_FALLING = 0.97
"""The last validation loss is at most so many times that of three quarters of the way where more epochs would help."""


def has_learnt(history: Epochs, evaluation: Mapping[str, Any]) -> bool:
    """Return whether the model is clearly better than untrained answers, or than it was after its first epoch."""
    losses = [epoch["valid_loss"] for epoch in history]
    if losses and min(losses) < LEARNT * losses[0]:
        return True
    if "test" not in evaluation or not evaluation.get("baselines"):
        return False
    return bool(evaluation["test"]["accuracy_interval"][0] > max(evaluation["baselines"].values()))


def overfitting(history: Epochs, best_epoch: int | None, said: Mapping[str, str]) -> list[Insight]:
    """Return that training photos are learnt by heart, where a rule or the losses say so; `said`: what Overfit and Overtraining saw."""
    source = " and ".join([*(f"rule {name}" for name in said), *(["history.json"] if history else [])])
    if not history or best_epoch is None or best_epoch > len(history):
        return (
            [_by_heart("warning", "The model learnt its training photos by heart.", None, "; ".join(said.values()), source)] if said else []
        )
    best, last = history[best_epoch - 1], history[-1]
    ratio = last["valid_loss"] / best["valid_loss"] if best["valid_loss"] > 0 else 1.0
    wide = best["train_accuracy"] - best["valid_accuracy"] >= GAP
    if not (said or wide or (ratio > WORSE and best_epoch <= 0.7 * len(history))):
        return []
    if best_epoch == 1 and len(history) > 2 and ratio > HARMED:
        return [_worse_from_the_start(_losses(best, last), source)]
    fewer = best_epoch if best_epoch < len(history) else None
    if ratio > (HARMED if said else WORSE):
        what = f"After epoch {best_epoch} the model learnt its training photos by heart."
        return [_by_heart("warning", what, fewer, _losses(best, last), source)]
    shares = f"{percent(best['train_accuracy'])} of the training and {percent(best['valid_accuracy'])} of the validation photos"
    seen = f"{_losses(best, last)}; {shares} named rightly"
    if wide:
        what = "The model knows its training photos much better than new ones."
        return [_by_heart("warning" if said else "note", what, fewer, seen, source)]
    return [_small_gap(seen, source)]


def _losses(best: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    first = f"epoch {best['epoch']}: training loss {best['train_loss']:.3f}, validation loss {best['valid_loss']:.3f}"
    later = f"epoch {last['epoch']}: {last['train_loss']:.3f} and {last['valid_loss']:.3f}"
    return first if best is last or best["epoch"] == last["epoch"] else f"{first}; {later}"


def _by_heart(severity: str, what: str, fewer: int | None, seen: str, source: str) -> Insight:
    shorter = f"epochs: {fewer} would have been enough; " if fewer else ""
    return Insight(
        severity,
        what,
        "What is known by heart does not help with new photos; later epochs do no harm, for the best epoch's weights were kept.",
        f"More photos help most; {shorter}a lower lr memorises less, and so do fewer trained layers of the backbone (trainable).",
        seen,
        source,
    )


def _worse_from_the_start(seen: str, source: str) -> Insight:
    return Insight(
        "warning",
        "Every epoch after the first made the model worse.",
        "The first epoch's weights were kept; all the others were paid for nothing.",
        "Lower the learning rate: let tuning.lr begin and end at a tenth of its values.",
        seen,
        source,
    )


def _small_gap(seen: str, source: str) -> Insight:
    return Insight(
        "note",
        "Training photos are known somewhat better than new ones.",
        "No harm was done: the validation loss did not rise again. The gap is what more photos could still bring.",
        "Add photos, if more accuracy is worth the work.",
        seen,
        source,
    )


def stagnation(history: Epochs, learnt: bool, said: str | None, calm: bool) -> list[Insight]:
    """Return that nothing was learnt, that the last epochs brought nothing, or that more of them would help.

    Args:
        history: the epochs.
        learnt: what `has_learnt` says.
        said: what LossNotDecreasing saw; None where it found nothing.
        calm: whether nothing else went wrong, so that more of the same may help.
    """
    if said is None:
        return _still_learning(history) if calm else []
    if learnt:
        return [
            Insight(
                "note",
                "The loss stopped falling before the training ended.",
                "The model had learnt what it could; the epochs after that cost time only.",
                "Fewer epochs are enough, or more photos, if more accuracy is wanted.",
                said,
                "rule LossNotDecreasing",
            )
        ]
    return [
        Insight(
            "problem",
            "The loss does not fall: nothing is learnt.",
            "A model that does not learn names photos no better than an untrained one.",
            "Check first that the photos lie in the folders of their classes; then lower lr if the loss jumps, raise it if it creeps.",
            said,
            "rule LossNotDecreasing",
        )
    ]


def _still_learning(history: Epochs) -> list[Insight]:
    losses = [epoch["valid_loss"] for epoch in history]
    before = len(losses) - len(losses) // 4
    if len(losses) < 5 or losses[-1] > min(losses) or losses[-1] > STILL_FALLING * losses[before - 1]:
        return []
    return [
        Insight(
            "note",
            "The model was still learning when the training ended.",
            "The validation loss was at its lowest in the last epoch: more epochs would probably lower it further.",
            f"Raise epochs, to {2 * len(losses)} for example.",
            f"validation loss {losses[before - 1]:.3f} in epoch {before}, {losses[-1]:.3f} in epoch {len(losses)}",
            "history.json",
        )
    ]
