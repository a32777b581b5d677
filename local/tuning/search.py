"""Suggests the next hyperparameters of a tuning job: Bayesian, Random, Grid or Hyperband over SageMaker's parameter ranges.

Runs in the SageMaker plane. Suggestions map names to strings, as SageMaker's do; a result is one objective value per job.
Hyperband samples like Random; `local.tuning.early_stopping` decides which of its jobs stop.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from local.api.errors import validation_error
from training.contract.choices import STRATEGIES

# Automatic scaling is logarithmic if a range's maximum is this many times its minimum.
LOGARITHMIC_SPAN = 100.0


@dataclass(frozen=True)
class NumericRange:
    """Numbers from `least` to `most`, both included, searched on a Linear, Logarithmic or ReverseLogarithmic scale."""

    name: str
    least: float
    most: float
    scaling: str
    whole: bool


@dataclass(frozen=True)
class CategoricalRange:
    """One of `values`."""

    name: str
    values: tuple[str, ...]


Range = NumericRange | CategoricalRange
Known = Sequence[tuple[Mapping[str, str], float]]
"""The results of earlier jobs: hyperparameters and objective."""


def read_ranges(parameter_ranges: Mapping[str, Any]) -> list[Range]:
    """Read the ranges of a ParameterRanges structure; raises a ValidationException for an invalid range."""
    ranges: list[Range] = []
    for kind, whole in (("ContinuousParameterRanges", False), ("IntegerParameterRanges", True)):
        ranges += [_read_numeric(given, whole) for given in parameter_ranges.get(kind, ())]
    for given in parameter_ranges.get("CategoricalParameterRanges", ()):
        values = tuple(given["Values"])
        if not values or len(set(values)) != len(values):
            raise validation_error(f"ParameterRanges: the values of {given['Name']!r} are {list(values)}; give at least one, each once")
        ranges.append(CategoricalRange(given["Name"], values))
    names = [each.name for each in ranges]
    if not ranges or len(set(names)) != len(names):
        raise validation_error(f"ParameterRanges names {names}: give at least one range, each name once")
    return ranges


def _read_numeric(given: Mapping[str, Any], whole: bool) -> NumericRange:
    name, scaling = given["Name"], given.get("ScalingType", "Auto")
    try:
        least, most = float(given["MinValue"]), float(given["MaxValue"])
    except ValueError as error:
        raise validation_error(
            f"ParameterRanges: {name!r} goes from {given['MinValue']!r} to {given['MaxValue']!r}; both must be numbers"
        ) from error
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise validation_error(
            f"ParameterRanges: {name!r} has MinValue {given['MinValue']} and MaxValue {given['MaxValue']}; MinValue must be smaller"
        )
    if whole and not (least.is_integer() and most.is_integer()):
        raise validation_error(f"ParameterRanges: {name!r} is an integer range but goes from {given['MinValue']} to {given['MaxValue']}")
    if scaling == "Auto":
        scaling = "Logarithmic" if least > 0 and most / least >= LOGARITHMIC_SPAN else "Linear"
    if scaling == "Logarithmic" and least <= 0:
        raise validation_error(
            f"ParameterRanges: {name!r} has ScalingType Logarithmic and MinValue {given['MinValue']}; MinValue must be above 0"
        )
    if scaling == "ReverseLogarithmic" and (whole or least < 0 or most >= 1):
        raise validation_error(
            f"ParameterRanges: {name!r} has ScalingType ReverseLogarithmic, which takes continuous ranges from 0 to below 1"
        )
    return NumericRange(name, least, most, scaling, whole)


class Search(Protocol):
    """A search: `ask` returns the next hyperparameters (None at the end), `tell` takes the objective (None for a failure)."""

    size: int | None
    """The number of suggestions; None if it is unlimited."""

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """Return the suggestion's number, for `tell`, and its hyperparameters as strings."""
        ...

    def tell(self, number: int, objective: float | None) -> None:
        """Record the objective value of the suggestion `number`."""
        ...

    def learn(self, known: Known) -> None:
        """Take over the results of earlier jobs, before the first suggestion."""
        ...


def make_search(strategy: str, ranges: Sequence[Range], minimize: bool, seed: int | None = None) -> Search:
    """Make the search for a SageMaker strategy; raises a ValidationException for an unsupported one."""
    if strategy not in STRATEGIES:
        raise validation_error(
            f"HyperParameterTuningJobConfig.Strategy {strategy!r} is not supported in local mode: supported: {', '.join(STRATEGIES)}"
        )
    if strategy == "Grid":
        return GridSearch(ranges)
    return OptunaSearch(strategy, ranges, minimize, seed)


class GridSearch:
    """Every combination of categorical values, in order."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        """Reject numeric ranges, as SageMaker does."""
        if numeric := [each.name for each in ranges if isinstance(each, NumericRange)]:
            raise validation_error(f"Strategy Grid takes categorical ranges only; {', '.join(numeric)} is numeric")
        categorical = [each for each in ranges if isinstance(each, CategoricalRange)]
        self._names = [each.name for each in categorical]
        self._combinations = itertools.product(*(each.values for each in categorical))
        self._numbers = itertools.count()
        self.size: int | None = math.prod(len(each.values) for each in categorical)

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """Return the next combination."""
        values = next(self._combinations, None)
        return None if values is None else (next(self._numbers), dict(zip(self._names, values, strict=True)))

    def tell(self, number: int, objective: float | None) -> None:
        """Ignore the result: a grid does not learn."""

    def learn(self, known: Known) -> None:
        """Ignore earlier results: a grid tries every combination."""


class OptunaSearch:
    """Bayesian (a tree-structured Parzen estimator) and random search, by Optuna's ask and tell."""

    size: int | None = None

    def __init__(self, strategy: str, ranges: Sequence[Range], minimize: bool, seed: int | None) -> None:
        """Search `ranges`; the suggestions depend only on the seed and on the results in their order."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler: optuna.samplers.BaseSampler
        if strategy == "Bayesian":
            # SageMaker's tuning jobs are short, so the sampler learns after three jobs instead of ten.
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        self._ranges = ranges
        self._study = optuna.create_study(sampler=sampler, direction="minimize" if minimize else "maximize")
        self._failed = optuna.trial.TrialState.FAIL

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """Return the sampler's next suggestion."""
        trial = self._study.ask()
        return trial.number, {each.name: _suggest(trial, each) for each in self._ranges}

    def tell(self, number: int, objective: float | None) -> None:
        """Record the objective; a missing or non-finite one counts as a failure, from which the sampler does not learn."""
        if objective is None or not math.isfinite(objective):
            self._study.tell(number, state=self._failed)
        else:
            self._study.tell(number, objective)

    def learn(self, known: Known) -> None:
        """Take over the jobs whose hyperparameters lie inside the ranges: the sampler cannot use others."""
        for hyperparameters, objective in known:
            if math.isfinite(objective) and all(_contains(each, hyperparameters.get(each.name)) for each in self._ranges):
                self._study.enqueue_trial({each.name: _to_position(each, hyperparameters[each.name]) for each in self._ranges})
                if (suggestion := self.ask()) is not None:
                    self.tell(suggestion[0], objective)


def _contains(each: Range, value: str | None) -> bool:
    """Whether `value` lies in the range."""
    if value is None:
        return False
    if isinstance(each, CategoricalRange):
        return value in each.values
    try:
        number = float(value)
    except ValueError:
        return False
    return each.least <= number <= each.most and (not each.whole or number.is_integer())


def _to_position(each: Range, value: str) -> str | int | float:
    """Convert `value` to the sampler's scale for this range."""
    if isinstance(each, CategoricalRange):
        return value
    if each.whole:
        return int(float(value))
    return 1.0 - float(value) if each.scaling == "ReverseLogarithmic" else float(value)


def _suggest(trial: Any, each: Range) -> str:
    if isinstance(each, CategoricalRange):
        return str(trial.suggest_categorical(each.name, each.values))
    if each.whole:
        return str(trial.suggest_int(each.name, int(each.least), int(each.most), log=each.scaling == "Logarithmic"))
    if each.scaling == "ReverseLogarithmic":
        return repr(1.0 - float(trial.suggest_float(each.name, 1.0 - each.most, 1.0 - each.least, log=True)))
    return repr(float(trial.suggest_float(each.name, each.least, each.most, log=each.scaling == "Logarithmic")))
