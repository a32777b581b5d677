"""What is searched before the final training job, how widely, and when the search may end: the `tuning` object of the execution input.

Runs inside `prepare_execution`; standard library only.

    Tuning.parse({})                                                     # the defaults
    Tuning.parse({"strategy": "Grid", "lr": [0.003, 0.01, 0.03]})        # 18 training jobs: three learning rates, six batch sizes
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lambdas.request.input_values import (
    InvalidExecutionInput,
    choice,
    declared,
    is_number,
    is_whole,
    known_keys,
    number,
    shown,
    value_of,
    values_of,
    whole,
    yes_no,
)

MOST_JOBS = 750
"""Training jobs that a tuning job may launch."""
MOST_VALUES = 30
"""Values that a parameter to choose from may have."""
LARGEST_BATCH = 4096
MOST_PARENTS = 5
TUNING_JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}")
LEARNS = ("Bayesian", "Random")
"""Strategies that can begin where earlier tuning jobs ended."""


@dataclass(frozen=True)
class Completion:
    """What ends the tuning job before it has launched all its training jobs; each of them does, and nothing does by default."""

    target_loss: float | None = number(None, 0, 1000, above=True, optional=True)
    """A validation loss that is good enough, above 0 and at most 1000."""

    no_improvement_jobs: int | None = whole(None, 3, MOST_JOBS, optional=True)
    """So many training jobs in a row that are no better than the best before them, 3 to 750."""

    converged: bool = yes_no(False)
    """SageMaker finds that more training jobs would hardly be better."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the `tuning.completion` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "tuning.completion")
        return cls(**values_of(given, cls, ("target_loss", "no_improvement_jobs", "converged"), "tuning.completion."))


@dataclass(frozen=True)
class Tuning:
    """The tuning job: what is searched, and how widely."""

    max_jobs: int = whole(12, 1, MOST_JOBS)
    """Training jobs in all, 1 to 750; with the strategy Grid as many as there are combinations."""

    max_parallel_jobs: int = whole(3, 1, 10)
    """Training jobs at a time, 1 to 10 and at most `max_jobs`."""

    epochs: int = whole(20, 1, 1000)
    """Epochs of each of these training jobs, 1 to 1000."""

    strategy: str = choice("Bayesian", "Bayesian", "Random", "Hyperband", "Grid")
    """`Bayesian` learns from the jobs before, `Random` does not, `Hyperband` stops those early that lag behind and gives their time to
    others, `Grid` tries every combination."""

    lr: tuple[float, ...] = declared(
        (0.001, 0.1),
        {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "minItems": 1,
            "maxItems": MOST_VALUES,
            "uniqueItems": True,
        },
    )
    """Least and greatest learning rate, searched on a logarithmic scale; with Grid the 1 to 30 learning rates to try. Above 0, at most
    1."""

    batch_size: tuple[int, ...] = declared(
        (16, 32, 64, 128, 256, 512),
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": LARGEST_BATCH},
            "minItems": 1,
            "maxItems": MOST_VALUES,
            "uniqueItems": True,
        },
    )
    """Batch sizes to choose from, each 1 to 4096."""

    early_stopping: bool = yes_no(False)
    """Whether a training job ends that is worse after an epoch than the median of those before it was."""

    completion: Completion = field(default_factory=Completion)
    """What ends the search before its last training job."""

    warm_start: tuple[str, ...] = declared(
        (),
        {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{TUNING_JOB_NAME.pattern}$"},
            "maxItems": MOST_PARENTS,
            "uniqueItems": True,
        },
    )
    """Names of up to five earlier tuning jobs of the project, whose results this one begins with."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Reads the `tuning` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "tuning")
        strategy = value_of(given, cls, "strategy", "tuning.")
        lr = learning_rates(given, strategy)
        sizes = batch_sizes(given.get("batch_size", cls.batch_size))
        max_jobs = combinations(given, len(lr) * len(sizes)) if strategy == "Grid" else value_of(given, cls, "max_jobs", "tuning.")
        return cls(
            max_jobs=max_jobs,
            max_parallel_jobs=parallel_jobs(given, max_jobs),
            epochs=resource(given, strategy),
            strategy=strategy,
            lr=lr,
            batch_size=sizes,
            early_stopping=early_stopping(given, strategy),
            completion=Completion.parse(given.get("completion", {})),
            warm_start=parents(given.get("warm_start", ()), strategy),
        )


def parallel_jobs(given: Mapping[str, Any], max_jobs: int) -> int:
    """How many at a time: never more than there are."""
    most = min(10, max_jobs)
    value = given.get("max_parallel_jobs", min(Tuning.max_parallel_jobs, max_jobs))
    if not is_whole(value) or not 1 <= value <= most:
        raise InvalidExecutionInput(f"tuning.max_parallel_jobs must be a whole number from 1 to {most}, got {shown(value)}")
    return int(value)


def combinations(given: Mapping[str, Any], count: int) -> int:
    """The training jobs of a Grid, which SageMaker wants to be one for each combination."""
    if count > MOST_JOBS:
        raise InvalidExecutionInput(
            f"tuning.lr and tuning.batch_size make {count} combinations, and a tuning job launches at most {MOST_JOBS} training jobs; "
            'list fewer values, or set tuning.strategy to "Bayesian" or "Random"'
        )
    asked = given.get("max_jobs", count)
    if value_of({"max_jobs": asked}, Tuning, "max_jobs", "tuning.") != count:
        raise InvalidExecutionInput(
            f'tuning.max_jobs must be left out where tuning.strategy is "Grid", got {shown(asked)}: one training job tries each of the '
            f"{count} combinations of tuning.lr and tuning.batch_size; list fewer values to try fewer"
        )
    return count


def resource(given: Mapping[str, Any], strategy: str) -> int:
    """Epochs of each training job, which Hyperband hands out little by little."""
    epochs = int(value_of(given, Tuning, "epochs", "tuning."))
    if strategy == "Hyperband" and epochs < 2:
        raise InvalidExecutionInput(
            f'tuning.epochs must be at least 2 where tuning.strategy is "Hyperband", got {epochs}: it compares training jobs '
            'by their first epochs, and ends those that lag behind; raise it, or set tuning.strategy to "Random"'
        )
    return epochs


def early_stopping(given: Mapping[str, Any], strategy: str) -> bool:
    """Whether lagging training jobs are stopped; Hyperband does it by its own rule."""
    stops = bool(value_of(given, Tuning, "early_stopping", "tuning."))
    if stops and strategy == "Hyperband":
        raise InvalidExecutionInput(
            'tuning.early_stopping must be false where tuning.strategy is "Hyperband", got True: Hyperband itself ends training jobs that '
            "lag behind, and SageMaker takes no second rule beside it; leave it out"
        )
    return stops


def learning_rates(given: Mapping[str, Any], strategy: str) -> tuple[float, ...]:
    """[least, greatest] learning rate with 0 < least < greatest <= 1, or the values that a Grid tries."""
    if strategy == "Grid" and "lr" not in given:
        raise InvalidExecutionInput(
            'tuning.lr must be given where tuning.strategy is "Grid", got nothing: a Grid tries values and searches no range, so list '
            "1 to 30 learning rates, such as [0.003, 0.01, 0.03]"
        )
    value = given.get("lr", Tuning.lr)
    return grid(value) if strategy == "Grid" else learning_rate_range(value)


def grid(value: object) -> tuple[float, ...]:
    """1 to 30 distinct learning rates, ascending."""
    if not isinstance(value, list | tuple) or not all(is_number(each) and 0 < each <= 1 for each in value):
        raise InvalidExecutionInput(
            'tuning.lr must list learning rates above 0 and at most 1 where tuning.strategy is "Grid", such as [0.003, 0.01, 0.03], '
            f"got {shown(value)}"
        )
    if not 1 <= len(value) <= MOST_VALUES or len(set(value)) != len(value):
        raise InvalidExecutionInput(f"tuning.lr must hold 1 to {MOST_VALUES} values, each once, got {shown(value)}")
    return tuple(sorted(float(each) for each in value))


def learning_rate_range(value: object) -> tuple[float, float]:
    """The range of every other strategy."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(is_number(each) for each in value):
        raise InvalidExecutionInput(
            f"tuning.lr must be two numbers [least, greatest], such as [0.001, 0.1], got {shown(value)}; "
            'to try single values, set tuning.strategy to "Grid"'
        )
    least, greatest = value
    if not 0 < least < greatest <= 1:
        raise InvalidExecutionInput(f"tuning.lr must be [least, greatest] with 0 < least < greatest <= 1, got {shown(value)}")
    return float(least), float(greatest)


def batch_sizes(value: object) -> tuple[int, ...]:
    """One to thirty distinct batch sizes, each 1 to 4096, ascending."""
    if not isinstance(value, list | tuple) or not all(is_whole(each) and 1 <= each <= LARGEST_BATCH for each in value):
        raise InvalidExecutionInput(
            f"tuning.batch_size must list whole numbers from 1 to {LARGEST_BATCH}, such as [16, 32, 64], got {shown(value)}"
        )
    if not 1 <= len(value) <= MOST_VALUES or len(set(value)) != len(value):
        raise InvalidExecutionInput(f"tuning.batch_size must hold 1 to {MOST_VALUES} values, each once, got {shown(value)}")
    return tuple(sorted(int(each) for each in value))


def parents(value: object, strategy: str) -> tuple[str, ...]:
    """The tuning jobs to begin with; that they are the project's own is seen where its name is known."""
    named = isinstance(value, list | tuple) and all(isinstance(each, str) and TUNING_JOB_NAME.fullmatch(each) for each in value)
    if not isinstance(value, list | tuple) or not named:
        raise InvalidExecutionInput(
            f"tuning.warm_start must list names of tuning jobs, as `tuning_job` in the output of an execution, got {shown(value)}"
        )
    if len(value) > MOST_PARENTS or len(set(value)) != len(value):
        raise InvalidExecutionInput(f"tuning.warm_start must hold at most {MOST_PARENTS} names, each once, got {shown(value)}")
    if value and strategy not in LEARNS:
        raise InvalidExecutionInput(
            f'tuning.warm_start must be left out where tuning.strategy is "{strategy}", got {shown(value)}: only Bayesian and Random '
            'choose by what other jobs found; leave it out, or set tuning.strategy to "Bayesian"'
        )
    return tuple(value)
