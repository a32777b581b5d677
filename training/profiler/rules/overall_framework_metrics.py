"""OverallFrameworkMetrics: the time of the steps by phase. Never met; its result is for the report.

Runs in training jobs after the training.
"""

from dataclasses import dataclass
from typing import Any

from training.profiler.metrics import Metrics
from training.profiler.rules.profiler_rule import UNRECORDED, Finding, ProfilerRule, statistics


@dataclass(frozen=True)
class OverallFrameworkMetrics(ProfilerRule):
    """Time of steps by mode and phase, and the longest operators."""

    def judge(self, metrics: Metrics) -> Finding:
        """Put the numbers together."""
        if not metrics.steps:
            return Finding("not judged: no step was recorded", unjudged=True, advice=UNRECORDED)
        details: dict[str, Any] = {
            "phase": {mode: float(steps.seconds.sum()) for mode, steps in metrics.steps.items()},
            "ratio": {mode: dict(steps.phases) for mode, steps in metrics.steps.items()},
            "step_stats": {mode: statistics(steps.seconds) for mode, steps in metrics.steps.items()},
            "general": {"saving_between_steps": sum(seconds for _, seconds in metrics.between)},
            "operators": [dict(operator) for operator in metrics.operators[:10]],
        }
        train = metrics.steps.get("train")
        phases = sorted(train.phases.items(), key=lambda item: -item[1]) if train else []
        counted = ", ".join(f"{steps.count} {mode}" for mode, steps in metrics.steps.items())
        most = f"; {phases[0][0]} takes {100 * phases[0][1]:.0f} % of a training step" if phases else ""
        return Finding(f"{counted} steps{most}", sum(map(len, metrics.steps.values())), details=details)
