"""Summaries of a tuning job's training jobs: their descriptions, counters by status, the best job.

Runs in the SageMaker plane. A stopped job counts with its last objective: SageMaker's documentation defines the best job as the one
with the best objective, and does not exclude stopped jobs.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from local.storage.store import Document
from local.tuning.completion import Result

ENDED = ("Completed", "Failed", "Stopped")
FINAL = "FinalHyperParameterTuningJobObjectiveMetric"
_KEPT = (
    "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime", "TrainingJobStatus", "FailureReason",
)  # fmt: skip


def read_sign(tuning: Mapping[str, Any]) -> float:
    """Return the factor that makes lower objectives better: 1 to minimize, -1 to maximize."""
    return 1.0 if tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] == "Minimize" else -1.0


def read_objective(job: Mapping[str, Any], tuning: Mapping[str, Any]) -> float | None:
    """Return the last objective value of a completed or stopped job, None if it has none."""
    wanted = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    values = [metric["Value"] for metric in job.get("FinalMetricDataList", ()) if metric["MetricName"] == wanted]
    return float(values[0]) if values and job["TrainingJobStatus"] in ("Completed", "Stopped") else None


def summarize(job: Mapping[str, Any], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """Make the HyperParameterTrainingJobSummary of a training job."""
    value = read_objective(job, tuning)
    summary = {key: job[key] for key in _KEPT if key in job}
    summary["TunedHyperParameters"] = job["_tuned"]
    if "DefinitionName" in tuning.get("TrainingJobDefinition", {}):
        summary["TrainingJobDefinitionName"] = tuning["TrainingJobDefinition"]["DefinitionName"]
    ended = job["TrainingJobStatus"] in ENDED
    summary["ObjectiveStatus"] = ("Succeeded" if value is not None else "Failed") if ended else "Pending"
    if value is not None:
        summary[FINAL] = {**tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"], "Value": value}
    return summary


def find_best(summaries: Iterable[Mapping[str, Any]], sign: float) -> dict[str, Any] | None:
    """Return the summary with the best final objective; None if there is none."""
    return min((dict(each) for each in summaries if FINAL in each), key=lambda each: sign * each[FINAL]["Value"], default=None)


def list_results(jobs: Iterable[Document], tuning: Mapping[str, Any]) -> list[Result]:
    """List the results of the jobs that have ended, in the order of their ends."""
    objectives = [(read_objective(job, tuning), job.get("TrainingEndTime", math.inf)) for job in jobs]
    found = [Result(read_sign(tuning) * value, at) for value, at in objectives if value is not None]
    return sorted(found, key=lambda each: each.at)


def count_statuses(jobs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count TrainingJobStatusCounters; a failure is retryable when the service caused it."""
    statuses = Counter(job["TrainingJobStatus"] for job in jobs)
    retryable = sum(job["TrainingJobStatus"] == "Failed" and job.get("FailureReason", "").startswith("InternalServerError") for job in jobs)
    return {
        "Completed": statuses["Completed"],
        "InProgress": statuses["InProgress"] + statuses["Stopping"],
        "RetryableError": retryable,
        "NonRetryableError": statuses["Failed"] - retryable,
        "Stopped": statuses["Stopped"],
    }


def count_objectives(summaries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count ObjectiveStatusCounters."""
    statuses = Counter(summary["ObjectiveStatus"] for summary in summaries)
    return {status: statuses[status] for status in ("Succeeded", "Pending", "Failed")}
