"""The measurements as one small document: report/profile.json, which the training report uses.

Runs in training jobs after the training.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.profiler.metrics import Metrics, Series, Steps
from training.profiler.rules.profiler_rule import statistics

MOST_OPERATORS = 10


def profile(metrics: Metrics) -> dict[str, Any]:
    """Return the document.

    {"seconds", "initialization_s" (None where no step was seen), "cpu": {"cores", "mean", "p50", "p95", "p99", "max", "min", "per_core"},
    "io_wait", "memory": percentiles in percent, "gpu": [{"name", "utilization", "memory"}], "network", "disk": {name: percentiles}, of
    bytes or operations per second, "steps": {mode: {"count", "p50_ms", "p95_ms", "max_ms", "phases": {phase: part of the time}}},
    "loop": {"device", "seconds", "saving_s", "between_steps_s" (without saving), "cpu_mean" (None without samples)},
    "operators": [{"name", "cpu_ms", "cuda_ms", "calls"}], "problem": why something is missing, or None}; what was not measured is empty.
    """
    per_core = [round(float(values.values.mean()), 2) for values in metrics.cores.values()]
    return {
        "seconds": round(metrics.seconds, 3),
        "initialization_s": round(max(0.0, metrics.loop[0] - metrics.started), 3) if metrics.loop else None,
        "cpu": {"cores": len(metrics.cores), **statistics(metrics.cpu().values), "per_core": per_core},
        "io_wait": statistics(metrics.io_wait().values),
        "memory": statistics(metrics.memory.values),
        "gpu": [
            {"name": name, "utilization": statistics(values.values), "memory": _of(metrics.gpu_memory, name)}
            for name, values in metrics.gpus.items()
        ],
        "network": {name: _of(metrics.network, name) for name in metrics.network},
        "disk": {name: _of(metrics.disk, name) for name in metrics.disk},
        "steps": {mode: _steps(steps) for mode, steps in metrics.steps.items()},
        "loop": _loop(metrics),
        "operators": [dict(operator) for operator in metrics.operators[:MOST_OPERATORS]],
        "problem": missing(metrics),
    }


def missing(metrics: Metrics) -> str | None:
    """Return a sentence on what was not measured; None if all was measured."""
    parts = [name for name, there in (("sample of the machine", metrics.cores), ("step", metrics.steps)) if not there]
    return f"no {' and no '.join(parts)} was recorded" if parts else None


def _of(series: Mapping[str, Series], name: str) -> dict[str, float]:
    return statistics(series[name].values) if name in series else {}


def _loop(metrics: Metrics) -> dict[str, Any]:
    """Return how the time from the first step to the end of the last one was spent."""
    if not metrics.loop:
        return {}
    seconds, train = metrics.loop[1] - metrics.loop[0], metrics.steps.get("train")
    between = sum(length for _, length in metrics.between)
    inside = train.phases.get("save", 0.0) * float(train.seconds.mean()) * train.count if train else 0.0
    in_steps = sum(float(steps.seconds.mean()) * steps.count for steps in metrics.steps.values())
    busy = metrics.cpu().between(*metrics.loop).values
    return {
        "device": metrics.device,
        "seconds": round(seconds, 3),
        "saving_s": round(inside + between, 3),
        "between_steps_s": round(max(0.0, seconds - in_steps - between), 3),
        "cpu_mean": round(float(busy.mean()), 2) if len(busy) else None,
    }


def _steps(steps: Steps) -> dict[str, Any]:
    p50, p95 = np.percentile(1000 * steps.seconds, (50, 95))
    phases = {name: round(share, 4) for name, share in steps.phases.items() if name != "rest"}
    longest = round(1000 * float(steps.seconds.max()), 3)
    return {"count": steps.count, "p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3), "max_ms": longest, "phases": phases}
