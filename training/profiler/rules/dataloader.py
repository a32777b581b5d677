"""Dataloader: the training waits for photos, because storage or the cores are too slow.

Runs in training jobs after the training.
"""

from dataclasses import dataclass

import numpy as np

from training.profiler.advice_table import WAITING, get_cure
from training.profiler.metrics import Metrics
from training.profiler.rules.profiler_rule import FEWEST, UNRECORDED, WORTH_SECONDS, Finding, ProfilerRule, evidence, judged, too_few


@dataclass(frozen=True)
class Dataloader(ProfilerRule):
    """Met if training steps wait for photos for more than a third of their time; min_threshold separates the two causes.

    AWS compares the number of loader processes with min_threshold to max_threshold percent of the cores. Here one thread per core loads, so
    the rule judges the effect: the training waits, and the cores are busy for less than min_threshold percent (storage is too slow) or for
    more (the cores are too slow). max_threshold is accepted for compatibility with the API.
    """

    min_threshold: float = 70
    max_threshold: float = 200

    def judge(self, metrics: Metrics) -> Finding:
        """Judge the phases of the training steps, and the load of the cores."""
        steps = metrics.steps.get("train")
        if lacking := too_few(len(steps) if steps else 0, "training steps"):
            return lacking
        if steps is None or not steps.phases:
            return Finding("not judged: the phases of the training's steps were not recorded", unjudged=True, advice=UNRECORDED)
        share, waited = steps.phases.get("data", 0.0), metrics.waited or 0.0
        cpu = judged(metrics.cpu(), metrics, 0)
        busy = float(np.mean(cpu.values)) if len(cpu) >= FEWEST else None
        details = {"waiting_share": round(share, 4), "waited_seconds": round(waited, 3), "cores": len(metrics.cores), "cpu_mean": busy}
        said = f"training steps waited {100 * share:.0f} % of their time for data, {waited:.1f} s in total"
        if share <= WAITING or waited < WORTH_SECONDS:
            return Finding(said, len(steps), details=details)
        found = [evidence("share of a training step that waits for data", share, round(WAITING, 4), "train")]
        violations = round(share * len(steps))
        if busy is None or busy < self.min_threshold:
            used = "" if busy is None else f", while the {len(metrics.cores)} cores were busy for {busy:.0f} % of it"
            advice = get_cure("Dataloader", "idle cores")
            return Finding(f"{said}{used}", len(steps), 1, violations, details, advice, found)
        advice = get_cure("Dataloader")
        return Finding(f"{said}, with all cores {busy:.0f} % busy", len(steps), 1, violations, details, advice, found)
