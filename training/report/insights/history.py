"""Insights from the losses of the epochs: whether the model learnt, overfits, or has stopped improving.

Runs in the final training job, called by training/report/insights/rules.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.tables import percent
from training.rule_evaluation.insight import Insight

Epochs = Sequence[Mapping[str, Any]]

WORSE = 1.1
"""Ratio of the last validation loss to the lowest above which the model overfits, also without a rule."""
HARMED = 1.05
"""The same if the rule Overfit found an issue: below this ratio the gap did no harm."""
GAP = 0.15
"""Training accuracy minus validation accuracy from which the model overfits."""
LEARNT = 0.9
"""Ratio of the lowest validation loss to the first below which the model has learnt."""
STILL_FALLING = 0.97
"""Ratio of the last validation loss to that at three quarters of the epochs up to which more epochs would help."""


def has_learnt(history: Epochs, evaluation: Mapping[str, Any]) -> bool:
    """Return whether the model is clearly better than the baselines, or than it was after its first epoch."""
    losses = [epoch["valid_loss"] for epoch in history]
    if losses and min(losses) < LEARNT * losses[0]:
        return True
    if "test" not in evaluation or not evaluation.get("baselines"):
        return False
    return bool(evaluation["test"]["accuracy_interval"][0] > max(evaluation["baselines"].values()))


def describe_overfitting(history: Epochs, best_epoch: int | None, said: Mapping[str, str]) -> list[Insight]:
    """Return that the model overfits, if a rule or the losses show it; `said`: the details of Overfit and Overtraining."""
    source = " and ".join([*(f"rule {name}" for name in said), *(["history.json"] if history else [])])
    if not history or best_epoch is None or best_epoch > len(history):
        return [_by_heart("warning", "The model overfits its training photos.", None, "; ".join(said.values()), source)] if said else []
    best, last = history[best_epoch - 1], history[-1]
    ratio = last["valid_loss"] / best["valid_loss"] if best["valid_loss"] > 0 else 1.0
    wide = best["train_accuracy"] - best["valid_accuracy"] >= GAP
    if not (said or wide or (ratio > WORSE and best_epoch <= 0.7 * len(history))):
        return []
    if best_epoch == 1 and len(history) > 2 and ratio > HARMED:
        return [_worse_from_the_start(_losses(best, last), source)]
    fewer = best_epoch if best_epoch < len(history) else None
    if ratio > (HARMED if said else WORSE):
        what = f"After epoch {best_epoch} the model overfitted its training photos."
        return [_by_heart("warning", what, fewer, _losses(best, last), source)]
    shares = f"{percent(best['train_accuracy'])} of the training and {percent(best['valid_accuracy'])} of the validation photos"
    seen = f"{_losses(best, last)}; {shares} classified correctly"
    if wide:
        what = "The model classifies training photos much better than new ones."
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
        "An overfitted model is worse on new photos; the later epochs did no harm, because the best epoch's weights were kept.",
        f"More photos help most; {shorter}a lower lr overfits less, and so do fewer trained layers of the backbone (trainable).",
        seen,
        source,
    )


def _worse_from_the_start(seen: str, source: str) -> Insight:
    return Insight(
        "warning",
        "Every epoch after the first made the model worse.",
        "The first epoch's weights were kept; all other epochs were billed without a benefit.",
        "Lower the learning rate: set both ends of tuning.lr to a tenth of their values.",
        seen,
        source,
    )


def _small_gap(seen: str, source: str) -> Insight:
    return Insight(
        "note",
        "The model classifies training photos somewhat better than new ones.",
        "No harm was done: the validation loss did not rise. More photos could close the gap.",
        "Add photos if you need a higher accuracy.",
        seen,
        source,
    )


def describe_stagnation(history: Epochs, learnt: bool, said: str | None, calm: bool) -> list[Insight]:
    """Return that the model did not learn, that the last epochs did not help, or that more epochs would help.

    Args:
        history: the epochs.
        learnt: what `has_learnt` returns.
        said: the details of LossNotDecreasing; None if it found no issue.
        calm: whether nothing else went wrong, so that more epochs may help.
    """
    if said is None:
        return _still_learning(history) if calm else []
    if learnt:
        return [
            Insight(
                "note",
                "The loss stopped falling before the training ended.",
                "The model had learnt what it could; later epochs only cost time.",
                "Train fewer epochs, or add photos if you need a higher accuracy.",
                said,
                "rule LossNotDecreasing",
            )
        ]
    return [
        Insight(
            "problem",
            "The loss does not fall: the model does not learn.",
            "A model that does not learn is not better than an untrained one.",
            "First check that the photos are in the right folders; then lower lr if the loss jumps, raise it if it hardly changes.",
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
