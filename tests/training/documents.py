"""The JSON documents of a training job's report, as real jobs write them. Used by the tests beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.assessment import wilson_interval

CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")

DEBUG_NAMES = (
    "ExplodingTensor",
    "LossNotDecreasing",
    "Overfit",
    "Overtraining",
    "UnchangedTensor",
    "VanishingGradient",
    "WeightUpdateRatio",
)
PROFILER_NAMES = ("BatchSize", "CPUBottleneck", "Dataloader", "IOBottleneck", "LowGPUUtilization", "StepOutlier")


def status(
    name: str, verdict: str = "NoIssuesFound", details: str = "40 of 40 saved steps had something to compare", **more: Any
) -> dict[str, Any]:
    """One entry of rule_statuses.json."""
    return {
        "RuleConfigurationName": name,
        "RuleEvaluationStatus": verdict,
        "StatusDetails": details,
        "LastModifiedTime": "2026-11-24T11:30:12.345678+00:00",
        "RuleParameters": {"rule_to_invoke": name},
        "Evidence": [],
        "Advice": "",
        **more,
    }


def found(name: str, said: str, **more: Any) -> dict[str, Any]:
    """The status of a rule that found an issue."""
    return status(name, "IssuesFound", f"RuleEvaluationConditionMet: {said}", **more)


def debug_rules(*changed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """rule_statuses.json: no issues but for the given verdicts."""
    return _with(DEBUG_NAMES, changed)


def profiler_rules(*changed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """profiler_rule_statuses.json: the same."""
    return _with(PROFILER_NAMES, changed)


def _with(names: Sequence[str], changed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    given = {each["RuleConfigurationName"]: dict(each) for each in changed}
    return [given.pop(name, status(name)) for name in names] + list(given.values())


def history(
    valid: Sequence[float], train: Sequence[float] | None = None, accuracy: tuple[float, float] = (0.95, 0.9)
) -> list[dict[str, Any]]:
    """history.json: the losses given, the accuracies the same in every epoch."""
    trained = train or [0.9 * loss for loss in valid]
    return [
        {
            "epoch": number,
            "train_loss": before,
            "train_accuracy": accuracy[0],
            "valid_loss": after,
            "valid_accuracy": accuracy[1],
            "seconds": 0.12,
        }
        for number, (before, after) in enumerate(zip(trained, valid, strict=True), start=1)
    ]


GOOD_HISTORY = history([1.1, 0.7, 0.5, 0.42, 0.36, 0.33, 0.31, 0.3, 0.297, 0.296])


def evaluation(right: int = 900, photos: int = 1000, baseline: float = 0.75, **more: Any) -> dict[str, Any]:
    """evaluation.json of a model that names so many test photos rightly, each class as often as the others."""
    classes = len(CLASSES)
    calibration = {"error": 0.02, "bins": [calibration_bin(number, photos if number == 13 else 0) for number in range(15)]}
    split = {
        "photos": photos,
        "loss": 0.31,
        "calibrated_loss": 0.3,
        "accuracy": right / photos,
        "accuracy_interval": list(wilson_interval(right, photos)),
        "top5_accuracy": 1.0,
        "macro_f1": right / photos,
        "uncalibrated": {**calibration, "error": 0.04},
        "calibrated": calibration,
    }
    per_class = [
        {"name": name, "photos": photos // classes, "precision": right / photos, "recall": right / photos, "f1": right / photos}
        for name in CLASSES
    ]
    wrong = (photos - right) // (classes * (classes - 1))
    matrix = [[right // classes if shown == called else wrong for called in range(classes)] for shown in range(classes)]
    return {
        "schema_version": 1,
        "classes": list(CLASSES),
        "temperature": 1.1,
        "test_accuracy": right / photos,
        "valid_accuracy": right / photos,
        "test": split,
        "valid": split,
        "baselines": {"biggest_class": 0.2, "nearest_centroid": baseline},
        "per_class": per_class,
        "most_confused": [{"shown": "rose", "called": "tulip", "photos": wrong}],
        "confusion_matrix": matrix,
        "worst_errors": [],
        **more,
    }


def calibration_bin(number: int, photos: int) -> dict[str, Any]:
    """One bin of the probabilities' histogram."""
    filled = {"confidence": 0.9, "accuracy": 0.9} if photos else {"confidence": None, "accuracy": None}
    return {"low": number / 15, "high": (number + 1) / 15, "photos": photos, **filled}


def data(**more: Any) -> dict[str, Any]:
    """data.json of five even classes."""
    return {
        "error": None,
        "classes": list(CLASSES),
        "seed": 42,
        "drawn_splits": ["valid", "test"],
        "photos": {split: dict.fromkeys(CLASSES, count) for split, count in (("train", 600), ("valid", 200), ("test", 200))},
        "balance": {"biggest": {"class": "daisy", "photos": 600}, "smallest": {"class": "tulip", "photos": 600}, "ratio": 1.0},
        "sizes": {"bytes": [9000, 90000], "width": [240, 1024], "height": [240, 1024]},
        "left_out": [],
        "excluded": [],
        "duplicates": {"exact": [], "near": [], "near_pairs": 0, "suspicious": []},
        "warnings": [],
        "test_photos": ["rose/1.jpg"],
        **more,
    }


def spread(mean: float) -> dict[str, float]:
    """Percentiles around a mean."""
    return {"mean": mean, "p50": mean, "p95": min(100.0, 1.2 * mean), "p99": min(100.0, 1.3 * mean), "max": min(100.0, 1.4 * mean)}


def profile(waiting: float = 0.1, seconds: float = 900.0, **more: Any) -> dict[str, Any]:
    """profile.json of a fine-tuning job on a machine with a GPU; `waiting`: part of a training step that goes to the photos."""
    phases = {"data": waiting, "forward": 0.3 * (1 - waiting), "backward": 0.6 * (1 - waiting), "optimizer": 0.1 * (1 - waiting)}
    return {
        "seconds": seconds,
        "initialization_s": 11.5,
        "cpu": {"cores": 4, **spread(55.0), "per_core": [70.0, 60.0, 50.0, 40.0]},
        "io_wait": spread(1.0),
        "memory": spread(40.0),
        "gpu": [{"name": "gpu0", "utilization": spread(80.0), "memory": spread(60.0)}],
        "network": {"receive": spread(1000.0), "transmit": spread(100.0)},
        "disk": {"read": spread(1e6), "write": spread(1e5)},
        "steps": {
            "train": {"count": 400, "p50_ms": 210.0, "p95_ms": 260.0, "max_ms": 900.0, "phases": phases},
            "eval": {"count": 20, "p50_ms": 800.0, "p95_ms": 900.0, "max_ms": 950.0, "phases": {"data": 0.2, "forward": 0.8}},
        },
        "operators": [
            {"name": "aten::convolution_backward", "cpu_ms": 12.5, "cuda_ms": 900.0, "calls": 530},
            {"name": "aten::cudnn_convolution", "cpu_ms": 9.0, "cuda_ms": 410.0, "calls": 530},
        ],
        "problem": None,
        **more,
    }
