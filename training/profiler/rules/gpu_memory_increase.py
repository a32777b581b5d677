"""GPUMemoryIncrease: the memory of a GPU keeps growing until it is full.

Runs in training jobs after the training. See profiler_rule for which samples are judged.
"""

from dataclasses import dataclass

import numpy as np

from training.profiler.advice_table import get_cure
from training.profiler.metrics import Floats, Metrics
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, evidence, judged, too_few, without_gpus

STRETCHES = 6
"""Number of parts into which the samples are divided …"""

GROWING = 3
"""… and number of parts in which memory must grow: torch keeps allocated memory, so one larger batch is one step up, not a leak."""


@dataclass(frozen=True)
class GPUMemoryIncrease(ProfilerRule):
    """Met if a GPU's memory, as a moving average over `window` samples, rises by `increase` percentage points, and not all at once."""

    increase: float = 5
    patience: int = 1000
    window: int = 10

    def judge(self, metrics: Metrics) -> Finding:
        """Judge each GPU separately."""
        series = {name: judged(values, metrics, self.patience) for name, values in metrics.gpu_memory.items()}
        count = min(map(len, series.values()), default=0)
        if lacking := without_gpus(metrics) or too_few(count):
            return lacking
        details, found, violations = {}, [], 0
        for name, values in series.items():
            smooth = self._smooth(values.values)
            rise = float(smooth[-1] - smooth[0])
            growing = sum(float(part[-1] - part[0]) >= self.increase / STRETCHES for part in np.array_split(smooth, STRETCHES) if len(part))
            minutes = float(values.times[-1] - values.times[0]) / 60
            details[name] = {"first": float(smooth[0]), "last": float(smooth[-1]), "rise": rise, "growing_stretches": growing}
            if rise >= self.increase and growing >= min(GROWING, len(smooth) // 2):
                violations += int((smooth - smooth[0] >= self.increase).sum())
                found.append(
                    (rise, (100 - float(smooth[-1])) / rise * minutes, evidence(f"{name} GPUMemoryUtilization rise", rise, self.increase))
                )
        points = sum(map(len, series.values()))
        if not found:
            said = ", ".join(f"{name} from {value['first']:.0f} % to {value['last']:.0f} %" for name, value in details.items())
            return Finding(f"GPU memory does not keep growing: {said} in {points} samples", points, details=details)
        rise, left, first = max(found, key=lambda entry: entry[0])
        said = f"{first['tensor'].split()[0]}'s memory grew by {rise:.0f} percentage points and keeps growing: full in {left:.0f} minutes"
        return Finding(said, points, len(found), violations, details, get_cure("GPUMemoryIncrease"), [entry for *_, entry in found][:10])

    def _smooth(self, values: Floats) -> Floats:
        """Return the moving average, over fewer values in a short series."""
        width = max(1, min(int(self.window), len(values) // 4))
        smooth: Floats = np.convolve(values, np.ones(width) / width, mode="valid")
        return smooth
