"""The search before the final training job, and when it may end: the `tuning` object of the execution input.

Runs inside `prepare_execution`; standard library only.

    Tuning.parse({})                                                     # the defaults
    Tuning.parse({"strategy": "Grid", "lr": [0.003, 0.01, 0.03]})        # 18 training jobs: three learning rates, six batch sizes
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from lambdas.request.input_values import InvalidExecutionInput, read, require_known_keys
from training.contract.choices import STRATEGIES, WARM_STRATEGIES
from training.contract.fields import Kind, choice, kind_of, number, several, shown, whole, yes_no
from training.contract.hyperparameters import BATCH_SIZES, LR_RANGE, Hyperparameters
from training.contract.limits import MOST_EPOCHS, MOST_PARENTS, MOST_RANGE_VALUES, MOST_TUNING_JOBS

TUNING_JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}")
NAMED_TUNING_JOB = Kind(
    schema={"type": "string", "pattern": f"^{TUNING_JOB_NAME.pattern}$"},
    allowed="the name of a tuning job, which is `tuning_job` in the output of an execution",
    cell="the name of a tuning job of this project",
    accepts=lambda value: isinstance(value, str) and TUNING_JOB_NAME.fullmatch(value) is not None,
    convert=str,
)


@dataclass(frozen=True)
class Completion:
    """What ends the search before its last training job: each of these conditions does, and none is set by default."""

    target_loss: float | None = number(None, 0, 1000, above=True, optional=True)
    """A validation loss that is low enough."""

    no_improvement_jobs: int | None = whole(None, 3, MOST_TUNING_JOBS, optional=True)
    """Number of training jobs in a row that are not better than the best one before them."""

    converged: bool = yes_no(False)
    """Whether the search ends when SageMaker finds that more training jobs would hardly be better."""

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read the `tuning.completion` object; raise InvalidExecutionInput."""
        return read(cls, document, "tuning.completion")


@dataclass(frozen=True)
class Tuning:
    """The search before the final training job."""

    max_jobs: int = whole(12, 1, MOST_TUNING_JOBS, also="left out where the strategy is `Grid`")
    """Training jobs of the tuning job; a Grid has one for each combination."""

    max_parallel_jobs: int = whole(3, 1, 10, also="at most `max_jobs`")
    """Training jobs that run at once; with fewer, each learns more from the jobs before it."""

    epochs: int = whole(20, 1, MOST_EPOCHS, also="2 or more where the strategy is `Hyperband`")
    """Epochs of each of these training jobs."""

    strategy: str = choice(STRATEGIES)
    """How the next values are chosen. `Bayesian`: by the results of earlier jobs; `Random`: at random; `Hyperband`: at random, and jobs
    that lag behind end early; `Grid`: every combination."""

    lr: tuple[float, ...] = several(
        LR_RANGE,
        kind_of(Hyperparameters, "lr"),
        least=1,
        most=MOST_RANGE_VALUES,
        such_as="[0.001, 0.1]",
        also="exactly two, in ascending order, except for a `Grid`, which needs them given",
    )
    """Least and greatest learning rate, searched on a logarithmic scale; with Grid the learning rates to try."""

    batch_size: tuple[int, ...] = several(
        BATCH_SIZES, kind_of(Hyperparameters, "batch_size"), least=1, most=MOST_RANGE_VALUES, such_as="[16, 32, 64]", ascending=True
    )
    """Batch sizes to choose from."""

    early_stopping: bool = yes_no(False, also="`false` where the strategy is `Hyperband`")
    """Whether a training job ends when its loss after an epoch is worse than the median of the jobs before it."""

    completion: Completion = field(default_factory=Completion)
    """What ends the search before its last training job."""

    warm_start: tuple[str, ...] = several(
        (), NAMED_TUNING_JOB, most=MOST_PARENTS, such_as='["whippet-261122160000-0a1b2c3d"]', also="`Bayesian` or `Random` only"
    )
    """Earlier tuning jobs whose results this one starts from: `tuning_job` in the output of their executions."""

    @classmethod
    def parse(cls, document: object) -> "Tuning":
        """Read the `tuning` object; raise InvalidExecutionInput."""
        given = require_known_keys(document, cls, "tuning")
        read_values = read(cls, given, "tuning", completion=Completion.parse(given.get("completion", {})))
        return limit_parallel_jobs(CHECKS.get(read_values.strategy, check_search)(read_values, given), given)


def check_search(tuning: Tuning, _given: Mapping[str, Any]) -> Tuning:
    """Require a range of learning rates."""
    if len(tuning.lr) != 2 or tuning.lr[0] >= tuning.lr[1]:
        raise InvalidExecutionInput(
            f"tuning.lr must be two numbers [least, greatest] with 0 < least < greatest <= 1, such as [0.001, 0.1], got "
            f'{shown(list(tuning.lr))}; to try single values, set tuning.strategy to "Grid"'
        )
    if tuning.warm_start and tuning.strategy not in WARM_STRATEGIES:
        refuse_warm_start(tuning)
    return tuning


def check_hyperband(tuning: Tuning, given: Mapping[str, Any]) -> Tuning:
    """Require epochs to compare, and no second rule that ends training jobs."""
    if tuning.epochs < 2:
        raise InvalidExecutionInput(
            f'tuning.epochs must be at least 2 where tuning.strategy is "Hyperband", got {tuning.epochs}: it compares training jobs '
            'by their first epochs, and ends those that lag behind; raise it, or set tuning.strategy to "Random"'
        )
    if tuning.early_stopping:
        raise InvalidExecutionInput(
            'tuning.early_stopping must be false where tuning.strategy is "Hyperband", got True: Hyperband itself ends training jobs that '
            "lag behind, and SageMaker takes no second rule beside it; leave it out"
        )
    return check_search(tuning, given)


def check_grid(tuning: Tuning, given: Mapping[str, Any]) -> Tuning:
    """Require learning rates, and return the search with one training job for each combination, as SageMaker demands."""
    if "lr" not in given:
        raise InvalidExecutionInput(
            'tuning.lr must be given where tuning.strategy is "Grid", got nothing: a Grid tries values and searches no range, so list '
            f"1 to {MOST_RANGE_VALUES} learning rates, such as [0.003, 0.01, 0.03]"
        )
    count = len(tuning.lr) * len(tuning.batch_size)
    if count > MOST_TUNING_JOBS:
        raise InvalidExecutionInput(
            f"tuning.lr and tuning.batch_size make {count} combinations, and a tuning job launches at most {MOST_TUNING_JOBS} training "
            'jobs; list fewer values, or set tuning.strategy to "Bayesian" or "Random"'
        )
    if "max_jobs" in given and tuning.max_jobs != count:
        raise InvalidExecutionInput(
            f'tuning.max_jobs must be left out where tuning.strategy is "Grid", got {tuning.max_jobs}: one training job tries each of the '
            f"{count} combinations of tuning.lr and tuning.batch_size; list fewer values to try fewer"
        )
    if tuning.warm_start:
        refuse_warm_start(tuning)
    return replace(tuning, max_jobs=count, lr=tuple(sorted(tuning.lr)))


CHECKS = {"Hyperband": check_hyperband, "Grid": check_grid}


def refuse_warm_start(tuning: Tuning) -> None:
    """Raise InvalidExecutionInput: the strategy does not choose by earlier results."""
    raise InvalidExecutionInput(
        f'tuning.warm_start must be left out where tuning.strategy is "{tuning.strategy}", got {shown(list(tuning.warm_start))}: only '
        f'{" and ".join(WARM_STRATEGIES)} choose by the results of other jobs; leave it out, or set tuning.strategy to "Bayesian"'
    )


def limit_parallel_jobs(tuning: Tuning, given: Mapping[str, Any]) -> Tuning:
    """Return the search with at most as many jobs at once as there are."""
    if "max_parallel_jobs" in given and tuning.max_parallel_jobs > tuning.max_jobs:
        raise InvalidExecutionInput(
            f"tuning.max_parallel_jobs must be a whole number from 1 to {tuning.max_jobs}, tuning.max_jobs, got {tuning.max_parallel_jobs}"
        )
    return replace(tuning, max_parallel_jobs=min(tuning.max_parallel_jobs, tuning.max_jobs))
