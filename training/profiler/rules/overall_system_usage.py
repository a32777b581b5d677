"""OverallSystemUsage: the utilization of the machine. Never met; its result is for the report.

Runs in training jobs after the training.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from training.profiler.metrics import Floats, Metrics, Series
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, statistics, without_samples


@dataclass(frozen=True)
class OverallSystemUsage(ProfilerRule):
    """Percentiles of each resource over the whole job."""

    def judge(self, metrics: Metrics) -> Finding:
        """Put the numbers together."""
        if lacking := without_samples(metrics):
            return lacking
        resources = {
            "CPU": statistics(metrics.cpu().values),
            "I/O wait": statistics(metrics.io_wait().values),
            "CPU memory": statistics(metrics.memory.values),
            "GPU": statistics(_all(metrics.gpus.values())),
            "GPU memory": statistics(_all(metrics.gpu_memory.values())),
            "I/O": statistics(_sum(values for name, values in metrics.disk.items() if "Throughput" in name)),
            "Network": statistics(_sum(metrics.network.values())),
        }
        details = {name: values for name, values in resources.items() if values}
        points = len(metrics.cpu())
        said = f"{points} samples of {len(metrics.cores)} cores: CPU {details['CPU']['mean']:.0f} % on average"
        if "CPU memory" in details:
            said += f", memory {details['CPU memory']['max']:.0f} % at most"
        return Finding(said, points, details=details)


def _all(series: Iterable[Series]) -> Floats:
    return np.concatenate([np.empty(0), *(values.values for values in series)])


def _sum(series: Iterable[Series]) -> Floats:
    found = [values.values for values in series]
    shortest = min(map(len, found), default=0)
    return np.sum([values[:shortest] for values in found], axis=0) if found else np.empty(0)
