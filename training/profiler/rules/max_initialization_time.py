"""MaxInitializationTime: the first step begins late.

Runs in training jobs after the training.
"""

from dataclasses import dataclass

from training.profiler.advice_table import get_cure
from training.profiler.metrics import Metrics
from training.profiler.rules.profiler_rule import UNRECORDED, Finding, ProfilerRule, evidence


@dataclass(frozen=True)
class MaxInitializationTime(ProfilerRule):
    """Met if more than `threshold` minutes pass from the first measurement to the first step."""

    threshold: float = 20

    def judge(self, metrics: Metrics) -> Finding:
        """Compare one time with one threshold."""
        begin = metrics.loop[0] if metrics.loop else metrics.ended
        minutes = max(0.0, begin - metrics.started) / 60
        details = {"initialization_in_minutes": round(minutes, 4), "first_step_seen": metrics.loop is not None}
        if minutes > self.threshold:
            until = "before the first step" if metrics.loop else "without a single step"
            said = f"{minutes:.1f} minutes passed {until}: more than {self.threshold:g}"
            found = [evidence("minutes until the first step", minutes, self.threshold)]
            return Finding(said, 1, 1, 1, details, get_cure("MaxInitializationTime"), found)
        if not metrics.loop:
            return Finding("not judged: no step was recorded", details=details, unjudged=True, advice=UNRECORDED)
        return Finding(f"the first step began after {60 * minutes:.1f} s", 1, details=details)
