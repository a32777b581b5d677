"""How a tuning job's training jobs are told: their summaries, counters by status, the best of them.

Runs in the SageMaker plane. A job that was stopped counts by the last objective that it printed: SageMaker's documentation calls
"best" the job that returned the best objective, and leaves none out that was stopped.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from local.storage.store import Document
from local.tuning.completion import Found

ENDED = ("Completed", "Failed", "Stopped")
FINAL = "FinalHyperParameterTuningJobObjectiveMetric"
_KEPT = (
    "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime", "TrainingJobStatus", "FailureReason",
)  # fmt: skip


def sign_of(tuning: Mapping[str, Any]) -> float:
    """What an objective is multiplied with so that lower is better: 1 where it is minimized, else -1."""
    return 1.0 if tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] == "Minimize" else -1.0


def objective_of(job: Mapping[str, Any], tuning: Mapping[str, Any]) -> float | None:
    """The last value of the objective metric of a job that completed or was stopped, None where there is none."""
    wanted = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    values = [metric["Value"] for metric in job.get("FinalMetricDataList", ()) if metric["MetricName"] == wanted]
    return float(values[0]) if values and job["TrainingJobStatus"] in ("Completed", "Stopped") else None


def summarize(job: Mapping[str, Any], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """The HyperParameterTrainingJobSummary of a training job."""
    value = objective_of(job, tuning)
    summary = {key: job[key] for key in _KEPT if key in job}
    summary["TunedHyperParameters"] = job["_tuned"]
    if "DefinitionName" in tuning.get("TrainingJobDefinition", {}):
        summary["TrainingJobDefinitionName"] = tuning["TrainingJobDefinition"]["DefinitionName"]
    ended = job["TrainingJobStatus"] in ENDED
    summary["ObjectiveStatus"] = ("Succeeded" if value is not None else "Failed") if ended else "Pending"
    if value is not None:
        summary[FINAL] = {**tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"], "Value": value}
    return summary


def best_of(summaries: Iterable[Mapping[str, Any]], sign: float) -> dict[str, Any] | None:
    """The summary with the best final objective; None where no job has one."""
    return min((dict(each) for each in summaries if FINAL in each), key=lambda each: sign * each[FINAL]["Value"], default=None)


def found_by(jobs: Iterable[Document], tuning: Mapping[str, Any]) -> list[Found]:
    """What the ended ones among the jobs have found, in the order of their ends."""
    told = [(objective_of(job, tuning), job.get("TrainingEndTime", math.inf)) for job in jobs]
    found = [Found(sign_of(tuning) * value, at) for value, at in told if value is not None]
    return sorted(found, key=lambda each: each.at)


def status_counters(jobs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """TrainingJobStatusCounters; a failure is retryable where the service itself is to blame."""
    statuses = Counter(job["TrainingJobStatus"] for job in jobs)
    retryable = sum(job["TrainingJobStatus"] == "Failed" and job.get("FailureReason", "").startswith("InternalServerError") for job in jobs)
    return {
        "Completed": statuses["Completed"],
        "InProgress": statuses["InProgress"] + statuses["Stopping"],
        "RetryableError": retryable,
        "NonRetryableError": statuses["Failed"] - retryable,
        "Stopped": statuses["Stopped"],
    }


def objective_counters(summaries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """ObjectiveStatusCounters."""
    statuses = Counter(summary["ObjectiveStatus"] for summary in summaries)
    return {status: statuses[status] for status in ("Succeeded", "Pending", "Failed")}
