"""IOBottleneck: the training waits for a disk.

Runs in training jobs after the training. See profiler_rule for which samples are judged.
"""

from dataclasses import dataclass

import numpy as np

from training.profiler.advice_table import get_cure
from training.profiler.metrics import Metrics
from training.profiler.rules.profiler_rule import (
    Finding,
    ProfilerRule,
    evidence,
    hardly_waited,
    highest,
    judged,
    too_few,
    without_gpus,
    without_samples,
)


@dataclass(frozen=True)
class IOBottleneck(ProfilerRule):
    """Met if in more than `threshold` percent of the samples a GPU is below gpu_threshold while some core waits more than io_threshold.

    AWS defines it for GPUs. If the CPU trains, it counts samples in which some core waits that long and the mean of all cores is below
    50 percent: otherwise other cores do the work.
    """

    threshold: float = 50
    gpu_threshold: float = 10
    io_threshold: float = 50
    patience: int = 1000

    def judge(self, metrics: Metrics) -> Finding:
        """Judge each GPU, or the CPU without a GPU; the worst one counts."""
        on_cpu = not metrics.gpus and metrics.device != "cuda"
        if lacking := without_samples(metrics) or (None if on_cpu else without_gpus(metrics)):
            return lacking
        workers = {"the CPU": metrics.cpu()} if on_cpu else metrics.gpus
        limit = 50.0 if on_cpu else self.gpu_threshold
        series = {name: judged(values, metrics, self.patience) for name, values in workers.items()}
        if lacking := too_few(min(map(len, series.values()))):
            return hardly_waited(metrics) or lacking
        held_up = {
            name: (values.values < limit) & (highest(metrics.waits, values.times) > self.io_threshold) for name, values in series.items()
        }
        shares = {name: 100 * float(np.mean(places)) for name, places in held_up.items()}
        worst, points = max(shares, key=lambda name: shares[name]), sum(map(len, series.values()))
        said = f"{worst} waited for a disk in {shares[worst]:.0f} % of {len(series[worst])} samples"
        details = {
            name: {"low_utilization": int((series[name].values < limit).sum()), "io_bottlenecks": int(places.sum())}
            for name, places in held_up.items()
        }
        triggered = sum(share > self.threshold for share in shares.values())
        advice = get_cure("IOBottleneck") if triggered else ""
        found = [evidence(f"{worst} I/O bottleneck, percent of samples", shares[worst], self.threshold)] if triggered else []
        return Finding(said, points, triggered, sum(int(places.sum()) for places in held_up.values()), details, advice, found)
