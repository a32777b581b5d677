"""The rules that evaluate a training job, under AWS's names: their parameters, their statuses, and those that our jobs evaluate by default.

Runs anywhere, standard library only. Defaults are those of AWS's documentation, and of its SDK where that sends others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

FEW_EPOCHS = 5
"""Up to this number of epochs, the weights of a job are saved more often, so that rules have enough steps to compare."""

UNFINISHED_STATUSES = ("InProgress", "Stopping")
FINAL_STATUSES = ("NoIssuesFound", "IssuesFound", "Error", "Stopped")
"""Of a rule evaluation: RuleEvaluationStatus."""

LONGEST_DETAILS = 1024
"""Characters of a rule evaluation's StatusDetails."""

Parameters = Mapping[str, str | None]
"""Parameter -> AWS's default as the API has it, a string; None where it is unset."""

_ANY_TENSORS: dict[str, str | None] = {"collection_names": None, "tensor_regex": None}

DEBUG_RULES: dict[str, Parameters] = {
    "VanishingGradient": {"threshold": "0.0000001"},
    "ExplodingTensor": {**_ANY_TENSORS, "only_nan": "False"},
    "LossNotDecreasing": {
        **_ANY_TENSORS,
        "use_losses_collection": "True",
        "num_steps": "10",
        "diff_percent": "0.1",
        "increase_threshold_percent": "5",
        "mode": None,
    },
    "Overfit": {"tensor_regex": None, "start_step": "0", "patience": "1", "ratio_threshold": "0.1"},
    "Overtraining": {"patience_train": "5", "patience_validation": "10", "delta": "0.01"},
    "PoorWeightInitialization": {
        "activation_inputs_regex": ".*relu_input",
        "threshold": "10.0",
        "distribution_range": "0.001",
        "patience": "5",
        "steps": "10",
    },
    "DeadRelu": {"tensor_regex": ".*relu_output", "threshold_inactivity": "1.0", "threshold_layer": "50.0"},
    "SaturatedActivation": {
        "collection_names": None,
        "tensor_regex": ".*tanh_input|.*sigmoid_input",
        "threshold_tanh_min": "-9.4999",
        "threshold_tanh_max": "9.4999",
        "threshold_sigmoid_min": "-23",
        "threshold_sigmoid_max": "16.99999",
        "threshold_inactivity": "1.0",
        "threshold_layer": "50.0",
    },
    "WeightUpdateRatio": {"num_steps": None, "large_threshold": "10.0", "small_threshold": "0.00000001", "epsilon": "0.000000001"},
    "UnchangedTensor": {**_ANY_TENSORS, "num_steps": "3", "rtol": "1e-05", "atol": "1e-08", "equal_nan": "False"},
    "TensorVariance": {**_ANY_TENSORS, "max_threshold": None, "min_threshold": None},
    "AllZero": {**_ANY_TENSORS, "threshold": "100"},
    "ClassImbalance": {
        "threshold_imbalance": "10",
        "threshold_misprediction": "0.7",
        "samples": "500",
        "argmax": "False",
        "labels_regex": ".*labels",
        "predictions_regex": ".*predictions",
    },
    "Confusion": {
        "category_no": None,
        "labels": "labels",
        "predictions": "predictions",
        "labels_collection": "labels",
        "predictions_collection": "predictions",
        "min_diag": "0.9",
        "max_off_diag": "0.1",
    },
    "CheckInputImages": {
        "threshold_mean": "0.2",
        "threshold_samples": "500",
        "regex": ".*hybridsequential0_input_0",
        "channel": "1",
    },
    "StalledTraining": {"threshold": "1800", "stop_training_on_fire": "False", "training_job_name_prefix": None},
    "SimilarAcrossRuns": {"other_trials": None, **_ANY_TENSORS},
}

INVOKED = {"StalledTraining": "StalledTrainingRule"}
"""Rules whose name in RuleParameters, rule_to_invoke, differs from the documentation's."""

_SCAN: dict[str, str | None] = {"scan_interval_us": "60000000"}

PROFILER_RULES: dict[str, Parameters] = {
    "ProfilerReport": {},
    "BatchSize": {
        "cpu_threshold_p95": "70",
        "gpu_threshold_p95": "70",
        "gpu_memory_threshold_p95": "70",
        "patience": "1000",
        "window": "500",
        **_SCAN,
    },
    "CPUBottleneck": {"threshold": "50", "gpu_threshold": "10", "cpu_threshold": "90", "patience": "1000", **_SCAN},
    "IOBottleneck": {"threshold": "50", "gpu_threshold": "10", "io_threshold": "50", "patience": "1000", **_SCAN},
    "LowGPUUtilization": {"threshold_p95": "70", "threshold_p5": "10", "window": "500", "patience": "1000", **_SCAN},
    "GPUMemoryIncrease": {"increase": "5", "patience": "1000", "window": "10", **_SCAN},
    "LoadBalancing": {"threshold": "0.5", "patience": "1000", **_SCAN},
    "MaxInitializationTime": {"threshold": "20", **_SCAN},
    "StepOutlier": {"stddev": "3", "mode": None, "n_outliers": "10", **_SCAN},
    "Dataloader": {"min_threshold": "70", "max_threshold": "200", **_SCAN},
    "OverallSystemUsage": {**_SCAN},
    "OverallFrameworkMetrics": {**_SCAN},
}

RULES = {**DEBUG_RULES, **PROFILER_RULES}

SUMMARIES = ("OverallSystemUsage", "OverallFrameworkMetrics")
"""Profiler rules that compute figures for the report and never find an issue."""

FINDING_RULES = tuple(rule for rule in RULES if rule not in SUMMARIES)

BLOCKING = ("ExplodingTensor", "UnchangedTensor")
"""Rules whose findings keep a model from being deployed by default: they are certain."""

_EVERY_JOB = (
    "LossNotDecreasing",
    "ExplodingTensor",
    "Overfit",
    "Overtraining",
    "UnchangedTensor",
    "WeightUpdateRatio",
    "TensorVariance",
    "AllZero",
    "ClassImbalance",
    "StalledTraining",
)
JOB_PARAMETERS: dict[str, Callable[[int], dict[str, str]]] = {
    # Photos that are classified with certainty have almost no gradient because of their loss, not of the network's depth; what many layers
    # lose on the way is more than that.
    "VanishingGradient": lambda _: {"threshold": "1e-12"},
    # One evaluation per epoch: ten of them are half of a usual job, and its second half may well stand still. A job that learns lowers the
    # first epoch's loss by more than half a percent; a head whose layer is frozen, with only its bias to learn, does not. After a first
    # epoch that has learnt everything, the loss may rise from 0.06 to 0.09 and the best epoch is kept: only a doubling counts.
    "LossNotDecreasing": lambda epochs: {
        "num_steps": str(max(1, epochs - 1)),
        "diff_percent": "0.5",
        "increase_threshold_percent": "99",
        "mode": "EVAL",
    },
    # A head on good features brings its training loss near zero without harm: in every job the validation loss is ten percent above it, and
    # for an easy task a thousand times above. If it is beyond that from the first quarter on, a few photos are memorised.
    "Overfit": lambda epochs: {"ratio_threshold": "3000", "patience": str(max(1, 3 * epochs // 4))},
    # Twenty epochs of a head take seconds, and the best one is kept: only a longer job that stands still for half of its time matters.
    "Overtraining": lambda epochs: {"patience_validation": str(max(20, epochs // 2)), "delta": "0.001"},
    # The default is every tensor, but labels and images of an evaluation never change. When little is left to learn, BatchNorm's factors
    # move by less than 1e-5 in three steps; over half of a short job's saved steps, or over twenty of the 36 of a deep network, every
    # tensor that can move does.
    "UnchangedTensor": lambda epochs: {
        "collection_names": "weights",
        "num_steps": str(min(20, epochs) if epochs > FEW_EPOCHS else max(3, 2 * epochs)),
        "rtol": "1e-09",
        "atol": "0",
    },
    # For the same reason: UnchangedTensor finds weights that do not move at all, and with better evidence.
    "WeightUpdateRatio": lambda _: {"small_threshold": "0"},
    # The default has no limit. Features and pretrained weights are of one scale: the variance of weights exceeds 1 only at learning rates
    # ten times above the search range, where the loss still falls because the learning rate does.
    "TensorVariance": lambda _: {"collection_names": "weights", "max_threshold": "1"},
    # The default is every tensor, and a head's weights start from zero.
    "AllZero": lambda _: {"collection_names": "gradients"},
    # A small data set has fewer than 500 validation photos in all its epochs together, and the predictions of the first epochs count too.
    "ClassImbalance": lambda _: {"samples": "100", "threshold_misprediction": "0.9"},
    # Pretrained layers differ by a factor of 15 and learn well. Fine-tuning starts from a fitted head: for a long time no batch has a new
    # lowest loss, and gradients are small from the first step.
    "PoorWeightInitialization": lambda _: {"threshold": "1000", "distribution_range": "1e-20", "patience": "1000"},
    # Photos of chess pieces in front of a white wall are normalised to a mean of 1, not 0. No normalised pixel exceeds 2.7; pixels that
    # were not divided by 255 do. The default regex is the name of MXNet's input.
    "CheckInputImages": lambda _: {"regex": "^images$", "threshold_mean": "2.7", "threshold_samples": "1"},
}
_FINE_TUNING = ("VanishingGradient", "DeadRelu", "PoorWeightInitialization", "CheckInputImages")
"""Rules that read activations and images, which a head on cached features does not have, and gradients that pass through several layers:
in a head of one layer they fall to 1e-21 for photos that are classified with certainty, and AllZero reports those that are zero."""


def default_rules(trainable: str) -> tuple[str, ...]:
    """Return the debugger rules that suit what is trained: "head", or also a part of the backbone."""
    return _EVERY_JOB if trainable == "head" else _EVERY_JOB + _FINE_TUNING


def job_parameters(rule: str, epochs: int) -> dict[str, str]:
    """Return the parameters of our jobs where AWS's default does not suit a job of few short epochs."""
    return JOB_PARAMETERS[rule](epochs) if rule in JOB_PARAMETERS else {}


def configurations(
    trainable: str,
    epochs: int,
    evaluate: Sequence[str] | None = None,
    stop_training: Sequence[str] = (),
    parameters: Mapping[str, Mapping[str, str]] | None = None,
) -> list[dict[str, Any]]:
    """Return the debugger rules of a job in the API's shape, without the image.

    Args:
        trainable: what of the network is trained.
        epochs: that the job will train.
        evaluate: names of rules; None for those that suit what is trained.
        stop_training: those of them that stop the training when they find an issue.
        parameters: rule -> parameter -> value, where it differs from our jobs' default.
    """
    names = default_rules(trainable) if evaluate is None else evaluate
    actions = {name: {"action_json": STOP_TRAINING} for name in stop_training}
    return [_configuration(name, epochs, parameters or {}, actions.get(name, {})) for name in names]


def profiler_configurations(epochs: int, parameters: Mapping[str, Mapping[str, str]] | None = None) -> list[dict[str, Any]]:
    """Return the profiler rules of a job in the API's shape, without the image."""
    return [_configuration(name, epochs, parameters or {}, {}) for name in PROFILER_RULES]


def write_stop_action(job_prefix: str) -> str:
    """Return the action StopTraining as the SageMaker SDK writes it, quotes escaped: AWS's image reads it as a Python literal first."""
    return rf"{{\"name\": \"stoptraining\", \"training_job_prefix\": \"{job_prefix}\"}}"


STOP_TRAINING = write_stop_action("")
"""Of an embedded rule: it stops the job that it runs beside."""


def _configuration(name: str, epochs: int, given: Mapping[str, Mapping[str, str]], action: Mapping[str, str]) -> dict[str, Any]:
    values = {"rule_to_invoke": INVOKED.get(name, name), **job_parameters(name, epochs), **given.get(name, {}), **action}
    return {"RuleConfigurationName": name, "RuleParameters": values}
