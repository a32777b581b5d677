"""The tuning job as CreateHyperParameterTuningJob takes it, made of the execution input: strategy, limits, ranges and when it may end.

Runs inside `prepare_execution`; standard library only. The objective is the request's own, for it never changes.
"""

from decimal import Decimal
from typing import Any

from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput, shown
from lambdas.request.tuning import Completion, Tuning

WARM_START_TYPE = "TransferLearning"
"""Photos, weights and code may have changed since the earlier tuning jobs. SageMaker refuses the other type, IdenticalDataAndAlgorithm,
where the training image or the data differ, and its best job may be one of another execution, whose photos were others."""


def tuning(asked: ExecutionInput, project: str) -> dict[str, Any]:
    """The plan's part on the tuning job."""
    return {
        "tuning_epochs": str(asked.tuning.epochs),
        "tuning_config": tuning_config(asked.tuning, asked.seed),
        "tuning_extra": warm_start(asked.tuning, project),
    }


def tuning_config(asked: Tuning, seed: int) -> dict[str, Any]:
    """HyperParameterTuningJobConfig, but for the objective."""
    return {
        "Strategy": asked.strategy,
        **strategy_config(asked),
        "ResourceLimits": {"MaxNumberOfTrainingJobs": asked.max_jobs, "MaxParallelTrainingJobs": asked.max_parallel_jobs},
        "ParameterRanges": parameter_ranges(asked),
        "TrainingJobEarlyStoppingType": "Auto" if asked.early_stopping else "Off",
        **completion(asked.completion),
        "RandomSeed": seed,
    }


def strategy_config(asked: Tuning) -> dict[str, Any]:
    """Hyperband hands out epochs: one at least, and to those that do well all of them."""
    if asked.strategy != "Hyperband":
        return {}
    return {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": asked.epochs}}}


def parameter_ranges(asked: Tuning) -> dict[str, Any]:
    """Learning rates by their order of magnitude and batch sizes to choose from; a Grid only ever chooses."""
    sizes = {"Name": "batch_size", "Values": [str(size) for size in asked.batch_size]}
    if asked.strategy == "Grid":
        return {"CategoricalParameterRanges": [{"Name": "lr", "Values": [plain(rate) for rate in asked.lr]}, sizes]}
    least, greatest = asked.lr
    rates = {"Name": "lr", "MinValue": plain(least), "MaxValue": plain(greatest), "ScalingType": "Logarithmic"}
    return {"ContinuousParameterRanges": [rates], "CategoricalParameterRanges": [sizes]}


def completion(asked: Completion) -> dict[str, Any]:
    """What ends the search early, where anything was asked for."""
    criteria: dict[str, Any] = {}
    if asked.target_loss is not None:
        criteria["TargetObjectiveMetricValue"] = asked.target_loss
    if asked.no_improvement_jobs is not None:
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": asked.no_improvement_jobs}
    if asked.converged:
        criteria["ConvergenceDetected"] = {"CompleteOnConvergence": "Enabled"}
    return {"TuningJobCompletionCriteria": criteria} if criteria else {}


def warm_start(asked: Tuning, project: str) -> dict[str, Any]:
    """What the request holds beside its usual members."""
    if not asked.warm_start:
        return {}
    parents = [{"HyperParameterTuningJobName": name} for name in asked.warm_start]
    require_own(asked.warm_start, project)
    return {"WarmStartConfig": {"ParentHyperParameterTuningJobs": parents, "WarmStartType": WARM_START_TYPE}}


def require_own(names: tuple[str, ...], project: str) -> None:
    """Other projects' jobs have other hyperparameters, and this one's role may not look at them."""
    for name in names:
        if not name.startswith(f"{project}-"):
            raise InvalidExecutionInput(
                f'tuning.warm_start must name tuning jobs of this project, which begin with "{project}-", got {shown(name)}; '
                "take `tuning_job` from the output of an earlier execution"
            )


def plain(number: float) -> str:
    """`0.00001`, never `1e-05`: what a parameter range can be relied on to read."""
    return format(Decimal(repr(number)), "f")
