"""Validates a CreateHyperParameterTuningJob request and plans its search, its early stopping and its number of jobs.

Runs in the SageMaker plane.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.api.errors import validation_error
from local.api.feature_support import reject_unsupported
from local.jobs.training_jobs import check_training_request
from local.tuning.early_stopping import Stopper, make_stopper
from local.tuning.search import Search, make_search, read_ranges
from training.contract.limits import MOST_TUNING_JOBS

DEFAULT_JOBS = 100
MOST_PARALLEL = 100
"""AWS's default quotas for one tuning job; the parents of a warm start count for the first."""


@dataclass(frozen=True)
class Plan:
    """How a tuning job searches."""

    search: Search
    """The search that suggests hyperparameters."""

    stopper: Stopper | None
    """The rule that stops training jobs early; None without early stopping."""

    jobs: int
    """The maximum number of training jobs."""

    parallel: int
    """The maximum number of training jobs at a time."""

    seconds: float
    """The time limit of the tuning job."""


def plan_tuning(request: Mapping[str, Any], earlier_jobs: int = 0) -> Plan:
    """Plan a request whose parents launched `earlier_jobs`; raises a ValidationException for unsupported or contradictory fields."""
    reject_unsupported("CreateHyperParameterTuningJob", request)
    config, definition = request["HyperParameterTuningJobConfig"], request.get("TrainingJobDefinition")
    if definition is None or "HyperParameterTuningJobObjective" not in config or "ParameterRanges" not in config:
        raise validation_error(
            "TrainingJobDefinition, HyperParameterTuningJobConfig.HyperParameterTuningJobObjective and .ParameterRanges are all required"
        )
    check_training_request(definition, "TrainingJobDefinition.", "CreateHyperParameterTuningJob")
    _check_objective(config, definition)
    search = _make_search(config, definition, earlier_jobs)
    stopper = make_stopper(config, definition.get("StaticHyperParameters", {}))
    limits = config["ResourceLimits"]
    jobs = _count_jobs(limits, search.size, earlier_jobs)
    return Plan(search, stopper, jobs, min(limits["MaxParallelTrainingJobs"], jobs), limits.get("MaxRuntimeInSeconds", math.inf))


def _check_objective(config: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    name = config["HyperParameterTuningJobObjective"]["MetricName"]
    metrics = [each["Name"] for each in definition["AlgorithmSpecification"].get("MetricDefinitions", ())]
    if name not in metrics:
        raise validation_error(f"The objective metric {name!r} is not one of the defined metrics {metrics}")


def _make_search(config: Mapping[str, Any], definition: Mapping[str, Any], earlier_jobs: int) -> Search:
    """Make the search over the ranges; a warm start shifts the seed, so that it does not repeat its parents' suggestions."""
    ranges = read_ranges(config["ParameterRanges"])
    if both := sorted({each.name for each in ranges} & set(definition.get("StaticHyperParameters", {}))):
        raise validation_error(f"{both[0]!r} is both in StaticHyperParameters and in ParameterRanges; give it in one of them")
    minimize = config["HyperParameterTuningJobObjective"]["Type"] == "Minimize"
    seed = config.get("RandomSeed")
    return make_search(config["Strategy"], ranges, minimize, None if seed is None else seed + earlier_jobs)


def _count_jobs(limits: Mapping[str, Any], size: int | None, earlier_jobs: int) -> int:
    """Return MaxNumberOfTrainingJobs: as given, else a grid's combinations, else DEFAULT_JOBS; parents count against the quota."""
    given, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if size is not None and given is not None and given != size:
        raise validation_error(
            f"ResourceLimits.MaxNumberOfTrainingJobs must be {size}, the number of combinations of this grid, or left out"
        )
    if given is not None and given < parallel:
        raise validation_error("ResourceLimits.MaxParallelTrainingJobs must not be above MaxNumberOfTrainingJobs")
    if parallel > MOST_PARALLEL:
        raise validation_error(f"ResourceLimits.MaxParallelTrainingJobs is {parallel}; AWS's quota is {MOST_PARALLEL} at a time")
    jobs = int(given or size or DEFAULT_JOBS)
    if jobs + earlier_jobs > MOST_TUNING_JOBS:
        parents = f" beside the {earlier_jobs} of its parents" if earlier_jobs else ""
        raise validation_error(f"The tuning job would launch {jobs} training jobs{parents}; AWS's quota is {MOST_TUNING_JOBS} in all")
    return jobs
