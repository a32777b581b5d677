"""BatchSize: the batches are so small that the GPU, its memory and the CPU are all used little.

Runs in training jobs after the training. See profiler_rule for which samples are judged.
"""

from dataclasses import dataclass

import numpy as np

from training.profiler.advice_table import get_cure
from training.profiler.metrics import NONE, Metrics
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, evidence, judged, too_few, windows, without_gpus


@dataclass(frozen=True)
class BatchSize(ProfilerRule):
    """Met in a window where the 95th percentiles of CPU, GPU and GPU memory are all below their thresholds."""

    cpu_threshold_p95: float = 70
    gpu_threshold_p95: float = 70
    gpu_memory_threshold_p95: float = 70
    patience: int = 1000
    window: int = 500

    def judge(self, metrics: Metrics) -> Finding:
        """Judge each GPU separately, with the mean of all cores."""
        series = {name: judged(values, metrics, self.patience) for name, values in metrics.gpus.items()}
        if lacking := without_gpus(metrics) or too_few(min(map(len, series.values()), default=0)):
            return lacking
        cpu, triggered, violations, found, details = metrics.cpu(), 0, 0, [], {}
        limits = (self.cpu_threshold_p95, self.gpu_threshold_p95, self.gpu_memory_threshold_p95)
        for name, values in series.items():
            for window in windows(values, self.window):
                begin, end = window.times[0], window.times[-1]
                memory = metrics.gpu_memory.get(name, NONE).between(begin, end)
                measured = [
                    float(np.percentile(part.values, 95)) if len(part) else 100.0 for part in (cpu.between(begin, end), window, memory)
                ]
                details[name] = {"cpu_p95": measured[0], "gpu_p95": measured[1], "gpu_memory_p95": measured[2]}
                if all(value < limit for value, limit in zip(measured, limits, strict=True)):
                    triggered += 1
                    violations += len(window)
                    metric = ("CPUUtilization p95", f"{name} GPUUtilization p95", f"{name} GPUMemoryUtilization p95")
                    found += [evidence(*entry) for entry in zip(metric, measured, limits, strict=True)]
        points = sum(map(len, series.values()))
        if not triggered:
            return Finding(f"CPU, GPU or GPU memory was well used in {points} samples", points, details=details)
        said = ", ".join(f"{entry['tensor']} {entry['value']:.0f} %" for entry in found[:3])
        return Finding(
            f"the CPU, GPU and its memory are used little: {said}",
            points,
            triggered,
            violations,
            details,
            get_cure("BatchSize"),
            found[:10],
        )
