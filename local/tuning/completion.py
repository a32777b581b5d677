"""When a tuning job has found enough: its completion criteria, and the TuningJobCompletionDetails that it is described with.

Runs in the SageMaker plane. An improvement counts when it is more than 1 % of the best objective so far, AWS's own measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIGNIFICANT = 0.01
CONVERGED_AFTER = 5
"""Jobs in a row without an improvement after which local mode calls a search converged; AWS does not publish when it does."""


@dataclass(frozen=True)
class Found:
    """What one training job of the tuning job has found: its objective, as lower is better, and when it ended."""

    value: float
    at: float


def completion_details(found: Sequence[Found]) -> dict[str, Any]:
    """TuningJobCompletionDetails after the jobs `found`, in the order of their ends."""
    runs = runs_without_improvement([each.value for each in found])
    details: dict[str, Any] = {"NumberOfTrainingJobsObjectiveNotImproving": runs[-1] if runs else 0}
    converged = [each.at for each, run in zip(found, runs, strict=True) if run >= CONVERGED_AFTER]
    return {**details, "ConvergenceDetectedTime": converged[0]} if converged else details


def is_complete(criteria: Mapping[str, Any], found: Sequence[Found], sign: float) -> bool:
    """Whether a criterion of TuningJobCompletionCriteria is met; `sign` is -1 where the objective is maximized."""
    details = completion_details(found)
    target = criteria.get("TargetObjectiveMetricValue")
    if target is not None and any(each.value <= sign * target for each in found):
        return True
    patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if patience is not None and details["NumberOfTrainingJobsObjectiveNotImproving"] >= patience:
        return True
    wanted = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled"
    return wanted and "ConvergenceDetectedTime" in details


def runs_without_improvement(values: Sequence[float]) -> list[int]:
    """After each job, how many jobs in a row have not improved on the best before them; the first one does."""
    runs: list[int] = []
    best = float("inf")
    for value in values:
        improved = not runs or best - value > SIGNIFICANT * abs(best)
        runs.append(0 if improved else runs[-1] + 1)
        best = min(best, value)
    return runs
