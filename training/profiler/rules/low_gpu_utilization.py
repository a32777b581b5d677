"""LowGPUUtilization: a GPU computes little, or only at times.

Runs in training jobs after the training. See profiler_rule for which samples are judged.
"""

from dataclasses import dataclass

import numpy as np

from training.profiler.advice_table import TABLE, WAITING, get_cure
from training.profiler.metrics import Metrics
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, evidence, judged, too_few, windows, without_gpus


@dataclass(frozen=True)
class LowGPUUtilization(ProfilerRule):
    """Met in a window if a GPU's 95th percentile is below threshold_p95 (low), or else its 5th is below threshold_p5 (fluctuating)."""

    threshold_p95: float = 70
    threshold_p5: float = 10
    window: int = 500
    patience: int = 1000

    def judge(self, metrics: Metrics) -> Finding:
        """Judge each GPU separately."""
        series = {name: judged(values, metrics, self.patience) for name, values in metrics.gpus.items()}
        count = min(map(len, series.values()), default=0)
        if lacking := without_gpus(metrics) or too_few(count):
            return lacking
        details, found, low, fluctuating, violations, seen = {}, [], 0, 0, 0, 0
        for name, values in series.items():
            for window in windows(values, self.window):
                p5, p95 = np.percentile(window.values, (5, 95))
                seen += 1
                if p95 < self.threshold_p95:
                    low += 1
                    violations += int((window.values < self.threshold_p95).sum())
                    found.append(evidence(f"{name} GPUUtilization p95", p95, self.threshold_p95))
                elif p5 < self.threshold_p5:
                    fluctuating += 1
                    violations += int((window.values < self.threshold_p5).sum())
                    found.append(evidence(f"{name} GPUUtilization p5", p5, self.threshold_p5))
            details[name] = {"p95": float(np.percentile(values.values, 95)), "p5": float(np.percentile(values.values, 5))}
        points = sum(map(len, series.values()))
        if not found:
            said = ", ".join(f"{name} p95 {value['p95']:.0f} %, p5 {value['p5']:.0f} %" for name, value in details.items())
            return Finding(f"GPU utilization of {points} samples: {said}", points, details=details)
        what = "computes little" if low else "computes only at times"
        first = found[0]
        said = f"{first['tensor']} was {first['value']:.0f} %, below {first['threshold']:g} %, in {low + fluctuating} of {seen} windows"
        advice = get_cure("LowGPUUtilization", _find_cause(metrics, bool(low)))
        return Finding(f"a GPU {what}: {said}", points, low + fluctuating, violations, details, advice, found[:10])


def _find_cause(metrics: Metrics, low: bool) -> str:
    """Return why a GPU computes little or only at times: a cause in the table; "" if unknown."""
    if metrics.device == "cpu":
        return "CPU"
    if "train" in metrics.steps and metrics.steps["train"].phases.get("data", 0.0) > WAITING:
        return "waiting for photos"
    if not low:
        return "fluctuating"
    is_full = any(len(memory) and memory.values.max() > TABLE["full GPU memory"].threshold for memory in metrics.gpu_memory.values())
    return "full GPU memory" if is_full else ""
