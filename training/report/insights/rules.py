"""Insights from the verdicts of the debugger rules, weighed by the losses.

Runs in the final training job, called by training/report/insights/rank.py. Rules that find the same cause become one insight: a
learning rate that is far too high triggers four of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.report.insights.history import describe_overfitting, describe_stagnation, has_learnt
from training.rule_evaluation.insight import Insight, clean, describe_evidence, describe_unjudged, join_names

Status = Mapping[str, Any]

LOSS_RULES = ("Overfit", "Overtraining", "LossNotDecreasing")
"""Described from the losses, not by a fixed sentence."""


@dataclass(frozen=True)
class Meaning:
    """What a rule's finding means."""

    what: str
    why: str
    change: str
    severity: str = "warning"
    minor_if_learnt: bool = False
    """Whether the finding is a note if the losses show that the network has learnt."""
    explains: tuple[str, ...] = ()
    """Rules that find an issue with the same cause: they are named in this finding's source and not shown again."""


MEANINGS: dict[str, Meaning] = {
    "ExplodingTensor": Meaning(
        "Values in the network became NaN or infinite.",
        "A NaN or infinite weight does not recover: the network stops learning, and the saved model is unusable.",
        "Lower the learning rate: set tuning.lr to a range that ends lower, for example at a tenth of this job's lr.",
        "problem",
        explains=(
            *("LossNotDecreasing", "WeightUpdateRatio", "VanishingGradient", "TensorVariance"),
            *("SaturatedActivation", "DeadRelu", "Overfit", "Overtraining"),
        ),
    ),
    "UnchangedTensor": Meaning(
        "A part of the network that should learn did not change.",
        "Weights that do not change learn nothing from the photos.",
        "Check whether the named layers were frozen by mistake or left out of the optimizer, and whether lr is far too low.",
        "problem",
        explains=("VanishingGradient", "AllZero", "LossNotDecreasing", "WeightUpdateRatio"),
    ),
    "AllZero": Meaning(
        "Some tensors contain only zeros.",
        "A layer with zero gradients does not learn, and zero outputs are the same for every photo.",
        "Check whether the named layers are cut off from the loss (detached or masked); lower lr if the zeros appeared during training.",
        "problem",
        explains=("VanishingGradient", "DeadRelu", "LossNotDecreasing"),
    ),
    "DeadRelu": Meaning(
        "Many ReLUs are inactive for every photo.",
        "An inactive ReLU passes no gradient, so it cannot recover: that part of the network is lost.",
        "Lower the learning rate; if the ReLUs were inactive from the first step, check weights and preprocessing.",
        explains=("VanishingGradient", "PoorWeightInitialization"),
    ),
    "SaturatedActivation": Meaning(
        "Many activations are saturated.",
        "A saturated activation has a gradient near zero, so the layers before it do not learn.",
        "Lower the learning rate, and scale the inputs as the network expects them.",
        explains=("VanishingGradient",),
    ),
    "PoorWeightInitialization": Meaning(
        "The initial weights do not suit the network.",
        "Neurons that respond all the same, or thousands of times more strongly than others, learn slowly or not at all.",
        "Start from trained weights: check the weights channel and its stride variant.",
        minor_if_learnt=True,
    ),
    "VanishingGradient": Meaning(
        "Gradients became too small to learn from.",
        "A layer with a gradient near zero does not learn.",
        "Raise lr, or train fewer layers: trainable last_stage instead of all.",
        minor_if_learnt=True,
    ),
    "WeightUpdateRatio": Meaning(
        "The weight updates were too large or too small.",
        "With too large updates each step undoes the last one; with too small ones the network hardly learns.",
        "Lower lr if the ratio is too large, raise it if the ratio is too small; see the evidence.",
        minor_if_learnt=True,
    ),
    "TensorVariance": Meaning(
        "The variance of some tensors is outside its limits.",
        "A very small or very large variance often precedes vanishing or exploding gradients.",
        "Lower the learning rate, or set other limits in rules.parameters if these do not suit the network.",
        explains=("VanishingGradient", "WeightUpdateRatio"),
    ),
    "StalledTraining": Meaning(
        "The training stalled.",
        "The machine is billed while it waits.",
        "See in the job's log what happened at that time: a full disk, storage that does not respond, or a deadlock.",
        "problem",
    ),
    "ClassImbalance": Meaning(
        "The model favours frequent classes over rare ones.",
        "Predicting the frequent class when unsure lowers the loss; the overall accuracy hides this.",
        "Set class_weights to balanced, and add photos of the rare classes.",
    ),
    "Confusion": Meaning(
        "Some classes are confused too often.",
        "The predictions for these classes are less reliable than the overall accuracy suggests.",
        "Check the labels of these classes, add photos that show the difference, or merge classes whose difference does not matter.",
    ),
    "CheckInputImages": Meaning(
        "The photos are not normalised as the network expects.",
        "Pretrained weights need the normalisation that they were trained with.",
        "Use the preprocessing from model.json for every split.",
    ),
    "SimilarAcrossRuns": Meaning(
        "This training saved the same tensors as another training.",
        "Two runs that should differ but do not have used the same data, seed or settings.",
        "Check the data, seed and hyperparameters of both jobs.",
        "note",
    ),
}


def describe_ending(ended_by: str | None, statuses: Sequence[Status]) -> list[Insight]:
    """Return that a rule ended the training before its last epoch."""
    if not ended_by:
        return []
    advice = next((status["Advice"] for status in statuses if status["RuleConfigurationName"] in ended_by and status.get("Advice")), "")
    return [
        Insight(
            "problem",
            "A rule ended the training early, as requested in rules.stop_training.",
            "The model has learnt only from the epochs before; the remaining epochs were not run.",
            advice or "Fix what the rule found, then train again.",
            ended_by.replace(" RuleEvaluationConditionMet:", ""),
            "rules.stop_training",
        )
    ]


def describe_rules(
    statuses: Sequence[Status],
    history: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    best_epoch: int | None,
    ended_by: str | None,
) -> list[Insight]:
    """Return one insight for each cause that the rules found, what the losses show, and which rules could not judge."""
    found = {status["RuleConfigurationName"]: status for status in statuses if status["RuleEvaluationStatus"] == "IssuesFound"}
    learnt, covered, insights = has_learnt(history, evaluation), set[str](), []
    for name in sorted(found, key=_urgency):
        if name in covered or name in LOSS_RULES:
            continue
        meaning = MEANINGS.get(name)
        others = [other for other in (meaning.explains if meaning else ()) if other in found and other not in covered]
        covered.update((name, *others))
        insights.append(_worded(found[name], others, meaning, learnt))
    left = {name: clean(found[name]["StatusDetails"]) for name in LOSS_RULES if name in found and name not in covered}
    flat = left.pop("LossNotDecreasing", None)
    insights += describe_overfitting(history, best_epoch, left)
    calm = ended_by is None and all(insight.severity == "note" for insight in insights)
    insights += describe_stagnation(history, learnt, flat, calm)
    return [*insights, *describe_unjudged(statuses, "debugger")]


def _urgency(name: str) -> int:
    """Return a rule's place in MEANINGS; custom rules come last."""
    return list(MEANINGS).index(name) if name in MEANINGS else len(MEANINGS)


def _worded(status: Status, others: Sequence[str], meaning: Meaning | None, learnt: bool) -> Insight:
    name, advice = status["RuleConfigurationName"], str(status.get("Advice") or "")
    source = f"rule {name}" + (f" and {join_names(others)}, for the same cause" if others else "")
    if meaning is None:
        why = "This is a custom rule: see its author's description."
        return Insight("warning", f"The rule {name} found an issue.", why, advice or "See the evidence.", describe_evidence(status), source)
    severity = "note" if learnt and meaning.minor_if_learnt else meaning.severity
    return Insight(severity, meaning.what, meaning.why, meaning.change or advice, describe_evidence(status), source)
