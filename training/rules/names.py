"""The built-in rules of Debugger and Profiler: AWS's names, parameters and defaults, and what our jobs ask of them.

Runs in training jobs and in the rule process, with the standard library alone. All values are strings, as in the API's RuleParameters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Parameters = dict[str, str | None]
"""Parameter -> AWS's default; None where it is unset."""

_TENSORS: Parameters = {"collection_names": None, "tensor_regex": None}

DEBUG_RULES: dict[str, Parameters] = {
    "VanishingGradient": {"threshold": "0.0000001"},
    "ExplodingTensor": {**_TENSORS, "only_nan": "False"},
    "LossNotDecreasing": {
        **_TENSORS,
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
        **_TENSORS,
        "threshold_tanh_min": "-9.4999",
        "threshold_tanh_max": "9.4999",
        "threshold_sigmoid_min": "-23",
        "threshold_sigmoid_max": "16.99999",
        "threshold_inactivity": "1.0",
        "threshold_layer": "50.0",
    },
    "WeightUpdateRatio": {"num_steps": None, "large_threshold": "10.0", "small_threshold": "0.00000001", "epsilon": "0.000000001"},
    "UnchangedTensor": {**_TENSORS, "num_steps": "3", "rtol": "1e-05", "atol": "1e-08", "equal_nan": "False"},
    "TensorVariance": {**_TENSORS, "max_threshold": None, "min_threshold": None},
    "AllZero": {**_TENSORS, "threshold": "100"},
    "ClassImbalance": {
        "threshold_imbalance": "10",
        "threshold_misprediction": "0.7",
        "samples": "500",
        "argmax": "True",
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
    "CheckInputImages": {"threshold_mean": "0.2", "threshold_samples": "500", "regex": ".*images", "channel": "1"},
    "StalledTrainingRule": {"threshold": "1800", "stop_training_on_fire": "False", "training_job_name_prefix": None},
    "SimilarAcrossRuns": {"other_trials": None, **_TENSORS},
}
"""As documented in AWS's list of built-in rules. CheckInputImages' own default expression is MXNet's: ours names what our hook saves."""

_SCAN: Parameters = {"scan_interval_us": "60000000"}

PROFILER_RULES: dict[str, Parameters] = {
    "ProfilerReport": {**_SCAN},
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
"""As smdebug_rulesconfig has them."""

_ALWAYS = (
    "LossNotDecreasing",
    "VanishingGradient",
    "ExplodingTensor",
    "Overfit",
    "Overtraining",
    "UnchangedTensor",
    "AllZero",
    "ClassImbalance",
    "StalledTrainingRule",
)
_FINE_TUNING = ("WeightUpdateRatio", "DeadRelu", "PoorWeightInitialization", "CheckInputImages")


STOP_TRAINING = '{"name": "stoptraining"}'
"""The action that ends the training, as the SDK names it."""


def default_rules(trainable: str) -> tuple[str, ...]:
    """The debugger rules that suit what is trained; a head has no ReLU, sees no image, and starts from zero weights.

    Left to those who ask: Confusion, SaturatedActivation (for tanh and sigmoid), TensorVariance (has no default threshold) and
    SimilarAcrossRuns (needs other jobs' tensors).
    """
    return _ALWAYS if trainable == "head" else _ALWAYS + _FINE_TUNING


def job_parameters(rule: str, epochs: int) -> dict[str, str]:
    """Parameters that our jobs pass where AWS's default does not suit them; the rules themselves keep AWS's defaults."""
    ours = {
        "AllZero": {"collection_names": "gradients"},  # a head starts from zero weights, on purpose
        "Overtraining": {"patience_validation": str(max(3, epochs // 2))},  # one evaluation an epoch
    }
    return ours.get(rule, {})


def configurations(
    rules: Sequence[str], epochs: int, parameters: Mapping[str, Mapping[str, str]], stop_training: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the rules in the API's shape, without an image: what embedded jobs hand to the rule process.

    Args:
        rules: debugger or profiler rules.
        epochs: of the training.
        parameters: rule -> parameter -> value, over those of our jobs.
        stop_training: rules that end the training where they find an issue.
    """
    return [
        {
            "RuleConfigurationName": rule,
            "RuleParameters": {
                "rule_to_invoke": rule,
                **job_parameters(rule, epochs),
                **parameters.get(rule, {}),
                **({"action_json": STOP_TRAINING} if rule in stop_training else {}),
            },
        }
        for rule in rules
    ]
