"""The completion criteria of a tuning job, and the TuningJobCompletionDetails of its description.

Runs in the SageMaker plane. An improvement is a change of more than 1 % of the best objective so far, as on AWS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIGNIFICANT = 0.01
CONVERGED_AFTER = 5
"""A search has converged after this many jobs in a row without an improvement; AWS does not publish its number."""


@dataclass(frozen=True)
class Result:
    """The result of one training job: its objective, with lower being better, and its end time."""

    value: float
    at: float


def describe_completion(found: Sequence[Result]) -> dict[str, Any]:
    """Make TuningJobCompletionDetails from the results `found`, in the order of the jobs' ends."""
    runs = count_without_improvement([each.value for each in found])
    details: dict[str, Any] = {"NumberOfTrainingJobsObjectiveNotImproving": runs[-1] if runs else 0}
    converged = [each.at for each, run in zip(found, runs, strict=True) if run >= CONVERGED_AFTER]
    return {**details, "ConvergenceDetectedTime": converged[0]} if converged else details


def is_complete(criteria: Mapping[str, Any], found: Sequence[Result], sign: float) -> bool:
    """Whether a criterion of TuningJobCompletionCriteria is met; `sign` is -1 where the objective is maximized."""
    details = describe_completion(found)
    target = criteria.get("TargetObjectiveMetricValue")
    if target is not None and any(each.value <= sign * target for each in found):
        return True
    patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if patience is not None and details["NumberOfTrainingJobsObjectiveNotImproving"] >= patience:
        return True
    wanted = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled"
    return wanted and "ConvergenceDetectedTime" in details


def count_without_improvement(values: Sequence[float]) -> list[int]:
    """Count, for each job, the jobs in a row that have not improved on the best before them; the first job counts as an improvement."""
    runs: list[int] = []
    best = float("inf")
    for value in values:
        improved = not runs or best - value > SIGNIFICANT * abs(best)
        runs.append(0 if improved else runs[-1] + 1)
        best = min(best, value)
    return runs
