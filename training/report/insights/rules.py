"""What the debugger rules' verdicts mean for a training, in the light of its losses.

Runs in the final training job, called by training/report/insights/rank.py. Rules that tell of one cause become one insight: a learning
rate that is far too high trips four of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.report.insights.history import has_learnt, overfitting, stagnation
from training.rule_evaluation.insight import Insight, clean, evidence, named, unjudged

Status = Mapping[str, Any]

LOSS_RULES = ("Overfit", "Overtraining", "LossNotDecreasing")
"""Told with the losses that they are about, not by a fixed sentence."""


@dataclass(frozen=True)
class Meaning:
    """What a rule's finding means."""

    what: str
    why: str
    change: str
    severity: str = "warning"
    tells_of_learning: bool = False
    """Whether it matters less where the losses show that the network has learnt all the same."""
    explains: tuple[str, ...] = ()
    """Rules that find an issue for the same cause: they are named beside this one, not told again."""


MEANINGS: dict[str, Meaning] = {
    "ExplodingTensor": Meaning(
        "Numbers in the network grew beyond all bounds.",
        "A weight that is no finite number stays so: from then on nothing is learnt, and what is saved answers nonsense.",
        "Lower the learning rate: set tuning.lr to a range that ends lower, a tenth of this job's lr to begin with.",
        "problem",
        explains=(
            *("LossNotDecreasing", "WeightUpdateRatio", "VanishingGradient", "TensorVariance"),
            *("SaturatedActivation", "DeadRelu", "Overfit", "Overtraining"),
        ),
    ),
    "UnchangedTensor": Meaning(
        "A part of the network that should learn did not change.",
        "Weights that stay as they were learn nothing from the photos: the model is worth less than its figures cost.",
        "Look whether the layers named were frozen by mistake or left out of the optimizer, and whether lr is far too low.",
        "problem",
        explains=("VanishingGradient", "AllZero", "LossNotDecreasing", "WeightUpdateRatio"),
    ),
    "AllZero": Meaning(
        "Tensors were saved that hold nothing but zeros.",
        "Zero gradients teach nothing, and zero outputs tell no photo from another.",
        "Look whether the layers named are cut off from the loss (detached, or masked), and lower lr if they died while training.",
        "problem",
        explains=("VanishingGradient", "DeadRelu", "LossNotDecreasing"),
    ),
    "DeadRelu": Meaning(
        "Many ReLUs are silent for every photo.",
        "A ReLU that never fires passes no gradient, so it cannot come back: that part of the network is lost.",
        "Lower the learning rate; where the ReLUs were silent from the first step on, check weights and preprocessing.",
        explains=("VanishingGradient", "PoorWeightInitialization"),
    ),
    "SaturatedActivation": Meaning(
        "Many activations are stuck at the end of their range.",
        "There the slope is about zero: no gradient comes through, and the layers before learn nothing.",
        "Lower the learning rate, and scale the inputs as the network expects them.",
        explains=("VanishingGradient",),
    ),
    "PoorWeightInitialization": Meaning(
        "The network began with weights that do not suit it.",
        "Neurons that all answer alike, or thousands of times more than others, learn slowly or never.",
        "Begin with trained weights: check the weights channel, and that its stride variant is named rightly.",
        tells_of_learning=True,
    ),
    "VanishingGradient": Meaning(
        "Gradients became too small to learn from.",
        "A layer with a gradient of about zero stays as it is, whatever the photos show.",
        "Raise lr, or train fewer layers: trainable last_stage instead of all.",
        tells_of_learning=True,
    ),
    "WeightUpdateRatio": Meaning(
        "The weights moved too far or hardly at all in a step.",
        "Too far, and each step undoes the last one; hardly at all, and the epochs pass without learning.",
        "Lower lr where the ratio is large, raise it where it is small; the evidence says which.",
        tells_of_learning=True,
    ),
    "TensorVariance": Meaning(
        "The spread of some values left the limits that were set for it.",
        "Values that all agree, or that scatter wildly, are what comes before gradients that vanish or explode.",
        "Lower the learning rate, or set other limits in rules.parameters if these do not suit the network.",
        explains=("VanishingGradient", "WeightUpdateRatio"),
    ),
    "StalledTraining": Meaning(
        "The training stood still.",
        "A machine that waits is billed like one that works.",
        "Look in the job's log at the time named: a full disk, a photo store that does not answer, or processes that wait for one another.",
        "problem",
    ),
    "ClassImbalance": Meaning(
        "Rare classes lose against frequent ones.",
        "A model gains by naming the frequent class in doubt; accuracy over all photos hides it.",
        "Set class_weights to balanced, and add photos of the rare classes.",
    ),
    "Confusion": Meaning(
        "Some classes are taken for others more often than is tolerable.",
        "For whoever asks about those classes the overall accuracy is no comfort.",
        "Look at these classes' photos for wrong labels, add photos that show the difference, or merge classes that nobody needs apart.",
    ),
    "CheckInputImages": Meaning(
        "The photos do not reach the network in the scale that it expects.",
        "Pretrained weights answer rightly only to photos that are normalised as those were that they learnt from.",
        "Use the preprocessing that model.json holds for photos of every split.",
    ),
    "SimilarAcrossRuns": Meaning(
        "This training saved the same tensors as another one.",
        "Two runs that should differ and do not have read the same data, seed or settings.",
        "Check that data, seed and hyperparameters of the two jobs are those you meant.",
        "note",
    ),
}


def ending(ended_by: str | None, statuses: Sequence[Status]) -> list[Insight]:
    """Return that a rule ended the training before its last epoch."""
    if not ended_by:
        return []
    advice = next((status["Advice"] for status in statuses if status["RuleConfigurationName"] in ended_by and status.get("Advice")), "")
    return [
        Insight(
            "problem",
            "A rule ended the training before its last epoch, as rules.stop_training asks.",
            "What was learnt until then is all there is; the machine's time after it is saved.",
            advice or "Mend what the rule found, then train again.",
            ended_by.replace(" RuleEvaluationConditionMet:", ""),
            "rules.stop_training",
        )
    ]


def about_rules(
    statuses: Sequence[Status],
    history: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    best_epoch: int | None,
    ended_by: str | None,
) -> list[Insight]:
    """Return what the rules that found an issue mean, one insight a cause, what the losses say beside them, and which could not judge."""
    found = {status["RuleConfigurationName"]: status for status in statuses if status["RuleEvaluationStatus"] == "IssuesFound"}
    learnt, told, insights = has_learnt(history, evaluation), set[str](), []
    for name in sorted(found, key=_urgency):
        if name in told or name in LOSS_RULES:
            continue
        meaning = MEANINGS.get(name)
        others = [other for other in (meaning.explains if meaning else ()) if other in found and other not in told]
        told.update((name, *others))
        insights.append(_worded(found[name], others, meaning, learnt))
    left = {name: clean(found[name]["StatusDetails"]) for name in LOSS_RULES if name in found and name not in told}
    flat = left.pop("LossNotDecreasing", None)
    insights += overfitting(history, best_epoch, left)
    calm = ended_by is None and all(insight.severity == "note" for insight in insights)
    insights += stagnation(history, learnt, flat, calm)
    return [*insights, *unjudged(statuses, "debugger")]


def _urgency(name: str) -> int:
    """Return a rule's place in MEANINGS; rules of one's own come after it."""
    return list(MEANINGS).index(name) if name in MEANINGS else len(MEANINGS)


def _worded(status: Status, others: Sequence[str], meaning: Meaning | None, learnt: bool) -> Insight:
    name, advice = status["RuleConfigurationName"], str(status.get("Advice") or "")
    source = f"rule {name}" + (f" and {named(others)}, for the same cause" if others else "")
    if meaning is None:
        why = "It is a rule of your own: what it looks for is known to whoever wrote it."
        return Insight("warning", f"The rule {name} found an issue.", why, advice or "Look at what it saw.", evidence(status), source)
    severity = "note" if learnt and meaning.tells_of_learning else meaning.severity
    return Insight(severity, meaning.what, meaning.why, meaning.change or advice, evidence(status), source)
