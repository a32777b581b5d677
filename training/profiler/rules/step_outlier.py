"""StepOutlier: some steps take far longer than the others.

Runs in training jobs after the training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.profiler.advice_table import get_cure
from training.profiler.metrics import Metrics, Steps
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, evidence, statistics, too_few

WARMING = 3
"""First steps of each mode that are skipped: they build caches and choose algorithms."""

FEWEST_STEPS = 20
"""With fewer steps an outlier hardly exceeds three standard deviations."""

COSTS, LOST_SECONDS = 0.1, 5.0
"""Outliers must cost this share of the time of all steps, and this many seconds, beyond the median; otherwise little is gained."""

SHARE = 0.01
"""n_outliers is reduced to this share of the steps, at least one: a job of 260 steps may have 2 outliers, not 10."""


@dataclass(frozen=True)
class StepOutlier(ProfilerRule):
    """Met if more than n_outliers steps of a mode are `stddev` standard deviations above the mean and cost a tenth of the time."""

    stddev: float = 3
    mode: str | None = None
    """TRAIN or EVAL; both if it is unset."""
    n_outliers: int = 10

    def judge(self, metrics: Metrics) -> Finding:
        """Judge each mode separately."""
        modes = [self.mode.lower().removeprefix("modekeys.")] if self.mode else ["train", "eval"]
        steps = {mode: metrics.steps[mode] for mode in modes if mode in metrics.steps and len(metrics.steps[mode]) >= FEWEST_STEPS}
        if not steps:
            longest = max((len(steps) for steps in metrics.steps.values()), default=0)
            return too_few(longest, "steps") or Finding(f"nothing to judge: {longest} steps are too few for outliers", longest)
        findings = [self._look(mode, of_mode) for mode, of_mode in steps.items()]
        worst = max(findings, key=lambda finding: (finding.triggered, finding.datapoints))
        details = {"step_details": {mode: finding.details for mode, finding in zip(steps, findings, strict=True)}}
        return Finding(
            worst.said,
            sum(finding.datapoints for finding in findings),
            sum(finding.triggered for finding in findings),
            sum(finding.violations for finding in findings),
            details,
            worst.advice,
            worst.evidence,
        )

    def _look(self, mode: str, steps: Steps) -> Finding:
        seconds = steps.seconds[WARMING:]
        limit = float(seconds.mean() + self.stddev * seconds.std())
        places = np.flatnonzero(seconds > limit)
        lost = float((seconds[places] - np.median(seconds)).sum())
        cost = lost / float(seconds.sum()) if lost else 0.0
        allowed = min(self.n_outliers, max(1, int(SHARE * len(seconds))))
        details = {"step_stats": statistics(seconds), "number_of_outliers": len(places), "seconds_allowed": limit, "cost": round(cost, 4)}
        many = f"{len(places)} of {len(seconds)} {mode} steps took longer than {1000 * limit:.0f} ms"
        if len(places) <= allowed or cost < COSTS or lost < LOST_SECONDS:
            return Finding(f"{many}, {100 * cost:.0f} % of the time", len(seconds), 0, len(places), details)
        longest = places[np.argsort(seconds[places])[::-1]][:10]
        found = [evidence("seconds of the step", seconds[place], limit, mode, int(steps.numbers[place + WARMING])) for place in longest]
        said = f"{many}, up to {seconds.max() / np.median(seconds):.0f} times the median, and cost {100 * cost:.0f} % of the time"
        return Finding(said, len(seconds), 1, len(places), details, _advice(steps, places + WARMING), found)


def _advice(steps: Steps, places: NDArray[np.int64]) -> str:
    gaps = np.diff(steps.numbers[places])
    if len(gaps) > 1 and gaps.std() <= 0.1 * gaps.mean():
        return get_cure("StepOutlier", "regular", interval=gaps.mean())
    return get_cure("StepOutlier")
