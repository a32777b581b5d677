"""LoadBalancing: one of several GPUs has less, or more, work than the others; on a machine without GPUs, one core.

Runs in training jobs after the training. See profiler_rule for which samples are judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.profiler.advice_table import get_cure
from training.profiler.metrics import Floats, Metrics, Series
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, evidence, judged, too_few, without_gpus, without_samples

BINS = np.linspace(0, 100, 11)
APART = 20.0
"""Percentage points by which medians must differ: 89 % and 91 % are in different bins but practically equal."""

CPU_SECONDS = 20.0
"""Seconds of training below which cores are not compared: threads start at different times and move between cores."""


@dataclass(frozen=True)
class LoadBalancing(ProfilerRule):
    """Met if the histogram of one GPU's utilization differs from that of each other GPU by more than `threshold`, 0 to 1.

    The distance of two histograms is the share of the samples that would have to move to make them equal. AWS compares only GPUs; if the
    CPU trains, its cores are compared.
    """

    threshold: float = 0.5
    patience: int = 1000

    def judge(self, metrics: Metrics) -> Finding:
        """Compare all with all."""
        if metrics.gpus or metrics.device == "cuda":
            return without_gpus(metrics) or self._compare(metrics.gpus, metrics, "GPU")
        if lacking := without_samples(metrics):
            return lacking
        if metrics.loop and metrics.loop[1] - metrics.loop[0] < CPU_SECONDS:
            return Finding(f"nothing to judge: the machine has no GPU, and cores are compared only from {CPU_SECONDS:.0f} s of training")
        return self._compare(metrics.cores, metrics, "core")

    def _compare(self, workers: Mapping[str, Series], metrics: Metrics, kind: str) -> Finding:
        if len(workers) < 2:
            return Finding(f"nothing to judge: the machine has one {kind}")
        series = {name: judged(values, metrics, self.patience) for name, values in workers.items()}
        if lacking := too_few(min(map(len, series.values()))):
            return lacking
        medians = {name: float(np.median(values.values)) for name, values in series.items()}
        shares = {name: np.histogram(values.values, BINS)[0] / len(values) for name, values in series.items()}
        distances = {name: _nearest(name, medians, shares) for name in series}
        points = sum(map(len, series.values()))
        worst = max(distances, key=lambda name: distances[name])
        details = {"distances": {name: round(distance, 4) for name, distance in distances.items()}}
        said = f"{worst} differs from the most similar {kind} by a histogram distance of {distances[worst]:.2f}, in {points} samples"
        violating = [name for name, distance in distances.items() if distance > self.threshold]
        if not violating:
            return Finding(f"the work is spread evenly: {said}", points, details=details)
        if alike := [value for name, value in medians.items() if name not in violating]:
            others = f"the others {float(np.median(alike)):.0f} %"
        else:
            worst = max(medians, key=lambda name: medians[name])
            others = f"the least busy {kind} {min(medians.values()):.0f} %"
        said = f"{worst} works {medians[worst]:.0f} % of the time and {others}, which exceeds the threshold of {self.threshold:g}"
        advice = get_cure("LoadBalancing", "core" if kind == "core" else "")
        found = [evidence(f"{name} distance of histograms", distances[name], self.threshold) for name in violating]
        return Finding(said, points, len(violating), sum(len(series[name]) for name in violating), details, advice, found[:10])


def _nearest(name: str, medians: Mapping[str, float], shares: Mapping[str, Floats]) -> float:
    """Return the distance of a worker's histogram to the most similar one; 0 if their medians are similar."""
    others = [other for other in shares if other != name]
    if any(abs(medians[name] - medians[other]) < APART for other in others):
        return 0.0
    return min(float(np.abs(shares[name] - shares[other]).sum() / 2) for other in others)
