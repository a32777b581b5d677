"""The tuning job as CreateHyperParameterTuningJob takes it, made of the execution input: strategy, limits, ranges and when it may end.

Runs inside `prepare_execution`; standard library only. The objective is the same for every execution, so the request holds it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.request.tuning import Completion, Tuning
from training.contract.fields import shown
from training.contract.hyperparameters import TUNED_HYPERPARAMETERS

WARM_START_TYPE = "TransferLearning"
"""Photos, weights and code may have changed since the earlier tuning jobs. SageMaker refuses the other type, IdenticalDataAndAlgorithm,
where the training image or the data differ, and its best job may be one of another execution with other photos."""

LR, BATCH_SIZE = TUNED_HYPERPARAMETERS


@dataclass(frozen=True)
class TuningJob:
    """The plan's part on the tuning job."""

    epochs: str
    """Of each of its training jobs."""
    job_seconds: int
    """Longest run of each of its training jobs."""
    config: dict[str, Any]
    """HyperParameterTuningJobConfig without its objective."""
    extra: dict[str, Any]
    """WarmStartConfig, where the search starts from earlier ones; else nothing."""


def plan_tuning(requested: ExecutionInput, project: str, job_seconds: int) -> TuningJob:
    """Return the plan's part on the tuning job."""
    tuning = requested.tuning
    return TuningJob(str(tuning.epochs), job_seconds, make_config(tuning, requested.seed), make_warm_start(tuning, project))


def make_config(tuning: Tuning, seed: int) -> dict[str, Any]:
    """Return HyperParameterTuningJobConfig without its objective."""
    config = {
        "Strategy": tuning.strategy,
        "ResourceLimits": {"MaxNumberOfTrainingJobs": tuning.max_jobs, "MaxParallelTrainingJobs": tuning.max_parallel_jobs},
        "ParameterRanges": make_ranges(tuning),
        "TrainingJobEarlyStoppingType": "Auto" if tuning.early_stopping else "Off",
        "RandomSeed": seed,
    }
    if tuning.strategy == "Hyperband":  # it gives every job one epoch at least, and all epochs to those that do well
        config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": tuning.epochs}}
    if criteria := make_criteria(tuning.completion):
        config["TuningJobCompletionCriteria"] = criteria
    return config


def make_ranges(tuning: Tuning) -> dict[str, Any]:
    """Return learning rates on a logarithmic scale and batch sizes to choose from; a Grid takes only values to choose from."""
    sizes = {"Name": BATCH_SIZE, "Values": [str(size) for size in tuning.batch_size]}
    if tuning.strategy == "Grid":
        return {"CategoricalParameterRanges": [{"Name": LR, "Values": [write_decimal(rate) for rate in tuning.lr]}, sizes]}
    least, greatest = map(write_decimal, tuning.lr)
    rates = {"Name": LR, "MinValue": least, "MaxValue": greatest, "ScalingType": "Logarithmic"}
    return {"ContinuousParameterRanges": [rates], "CategoricalParameterRanges": [sizes]}


def make_criteria(completion: Completion) -> dict[str, Any]:
    """Return what ends the search early."""
    criteria: dict[str, Any] = {}
    if completion.target_loss is not None:
        criteria["TargetObjectiveMetricValue"] = completion.target_loss
    if completion.no_improvement_jobs is not None:
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": completion.no_improvement_jobs}
    if completion.converged:
        criteria["ConvergenceDetected"] = {"CompleteOnConvergence": "Enabled"}
    return criteria


def make_warm_start(tuning: Tuning, project: str) -> dict[str, Any]:
    """Return what the request holds beside its usual members."""
    if not tuning.warm_start:
        return {}
    require_own(tuning.warm_start, project)
    parents = [{"HyperParameterTuningJobName": name} for name in tuning.warm_start]
    return {"WarmStartConfig": {"ParentHyperParameterTuningJobs": parents, "WarmStartType": WARM_START_TYPE}}


def require_own(names: tuple[str, ...], project: str) -> None:
    """Refuse tuning jobs of other projects: they have other hyperparameters, and this project's role cannot read them."""
    for name in names:
        if not name.startswith(f"{project}-"):
            raise InvalidExecutionInput(
                f'tuning.warm_start must name tuning jobs of this project, which begin with "{project}-", got {shown(name)}; '
                "take `tuning_job` from the output of an earlier execution"
            )


def write_decimal(number: float) -> str:
    """Return `0.00001`, never `1e-05`, which a parameter range may not read."""
    return format(Decimal(repr(number)), "f")
