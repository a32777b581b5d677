"""CPUBottleneck: a GPU waits while a CPU core is at its limit.

Runs in training jobs after the training. See profiler_rule for which samples are judged.
"""

from dataclasses import dataclass

from training.profiler.advice_table import get_cure
from training.profiler.metrics import Metrics
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, evidence, hardly_waited, highest, judged, too_few, without_gpus


@dataclass(frozen=True)
class CPUBottleneck(ProfilerRule):
    """Met if in more than `threshold` percent of the samples a GPU is below gpu_threshold and some core above cpu_threshold.

    One core is enough: Python's main thread has no more than one.
    """

    threshold: float = 50
    gpu_threshold: float = 10
    cpu_threshold: float = 90
    patience: int = 1000

    def judge(self, metrics: Metrics) -> Finding:
        """Judge each GPU separately; the worst one counts."""
        series = {name: judged(values, metrics, self.patience) for name, values in metrics.gpus.items()}
        if lacking := without_gpus(metrics):
            return lacking
        if lacking := too_few(min(map(len, series.values()))):
            return hardly_waited(metrics) or lacking
        shares, violations, details = {}, 0, {}
        for name, values in series.items():
            idle = values.values < self.gpu_threshold
            held_up = idle & (highest(metrics.cores, values.times) > self.cpu_threshold)
            shares[name] = 100 * float(held_up.mean())
            violations += int(held_up.sum())
            details[name] = {"low_gpu_utilization": int(idle.sum()), "cpu_bottlenecks": int(held_up.sum())}
        worst, points = max(shares, key=lambda name: shares[name]), sum(map(len, series.values()))
        said = f"{worst} waited for a CPU core at its limit in {shares[worst]:.0f} % of {len(series[worst])} samples"
        triggered = sum(share > self.threshold for share in shares.values())
        advice = get_cure("CPUBottleneck") if triggered else ""
        found = [evidence(f"{worst} CPU bottleneck, percent of samples", shares[worst], self.threshold)] if triggered else []
        return Finding(said, points, triggered, violations, details, advice, found)
