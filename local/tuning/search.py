"""Which hyperparameters a tuning job tries next: Bayesian, Random, Grid or Hyperband over SageMaker's parameter ranges.

Runs in the SageMaker plane. Suggestions and results are SageMaker's: names to strings, and one objective value for each job.
Hyperband tries what Random would: its strength is which jobs it stops, and that is `local.tuning.early_stopping`'s.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from local.api.errors import validation_error
from training.contract.choices import STRATEGIES

# Automatic scaling takes the logarithm where a range spans this many times its minimum.
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
"""What earlier jobs have found: hyperparameters, and the objective that came of them."""


def read_ranges(parameter_ranges: Mapping[str, Any]) -> list[Range]:
    """The ranges of a ParameterRanges structure; raises a ValidationException that names what is wrong with one."""
    ranges: list[Range] = []
    for kind, whole in (("ContinuousParameterRanges", False), ("IntegerParameterRanges", True)):
        ranges += [_numeric(given, whole) for given in parameter_ranges.get(kind, ())]
    for given in parameter_ranges.get("CategoricalParameterRanges", ()):
        values = tuple(given["Values"])
        if not values or len(set(values)) != len(values):
            raise validation_error(f"ParameterRanges: the values of {given['Name']!r} are {list(values)}; give at least one, each once")
        ranges.append(CategoricalRange(given["Name"], values))
    names = [each.name for each in ranges]
    if not ranges or len(set(names)) != len(names):
        raise validation_error(f"ParameterRanges names {names}: give at least one range, each name once")
    return ranges


def _numeric(given: Mapping[str, Any], whole: bool) -> NumericRange:
    name, scaling = given["Name"], given.get("ScalingType", "Auto")
    try:
        least, most = float(given["MinValue"]), float(given["MaxValue"])
    except ValueError as error:
        raise validation_error(
            f"ParameterRanges: {name!r} goes from {given['MinValue']!r} to {given['MaxValue']!r}; both have to be numbers"
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
    """A search: `ask` for the next hyperparameters (None when there are no more), `tell` the objective (None for a failure)."""

    size: int | None
    """How many suggestions there are in all; None where there is always another."""

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """A number to tell the result by, and the hyperparameters as strings."""
        ...

    def tell(self, number: int, objective: float | None) -> None:
        """The objective value that came of the suggestion `number`."""
        ...

    def learn(self, known: Known) -> None:
        """Take over what earlier jobs have found, before the first suggestion."""
        ...


def make_search(strategy: str, ranges: Sequence[Range], minimize: bool, seed: int | None = None) -> Search:
    """The search for a SageMaker strategy; raises a ValidationException for one that local mode does not do."""
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
        """Refuses numeric ranges, as SageMaker does."""
        if numeric := [each.name for each in ranges if isinstance(each, NumericRange)]:
            raise validation_error(f"Strategy Grid takes categorical ranges only; {', '.join(numeric)} is numeric")
        categorical = [each for each in ranges if isinstance(each, CategoricalRange)]
        self._names = [each.name for each in categorical]
        self._left = itertools.product(*(each.values for each in categorical))
        self._asked = itertools.count()
        self.size: int | None = math.prod(len(each.values) for each in categorical)

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """The next combination."""
        values = next(self._left, None)
        return None if values is None else (next(self._asked), dict(zip(self._names, values, strict=True)))

    def tell(self, number: int, objective: float | None) -> None:
        """A grid does not learn."""

    def learn(self, known: Known) -> None:
        """A grid tries every combination, whatever is known of it."""


class OptunaSearch:
    """Bayesian (a tree-structured Parzen estimator) and random search, by Optuna's ask and tell."""

    size: int | None = None

    def __init__(self, strategy: str, ranges: Sequence[Range], minimize: bool, seed: int | None) -> None:
        """Search `ranges`; with the same seed and the same results told in the same order, the suggestions are the same."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler: optuna.samplers.BaseSampler
        if strategy == "Bayesian":
            # SageMaker's tuning jobs are short, so it starts to learn after a few jobs and not after ten.
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        self._ranges = ranges
        self._study = optuna.create_study(sampler=sampler, direction="minimize" if minimize else "maximize")
        self._failed = optuna.trial.TrialState.FAIL

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """The sampler's next suggestion."""
        trial = self._study.ask()
        return trial.number, {each.name: _suggest(trial, each) for each in self._ranges}

    def tell(self, number: int, objective: float | None) -> None:
        """A missing or non-finite objective is told as a failure, from which the sampler learns nothing."""
        if objective is None or not math.isfinite(objective):
            self._study.tell(number, state=self._failed)
        else:
            self._study.tell(number, objective)

    def learn(self, known: Known) -> None:
        """Takes over those jobs whose hyperparameters lie inside the ranges: of others the sampler would have nothing to say."""
        for hyperparameters, objective in known:
            if math.isfinite(objective) and all(_holds(each, hyperparameters.get(each.name)) for each in self._ranges):
                self._study.enqueue_trial({each.name: _position(each, hyperparameters[each.name]) for each in self._ranges})
                if (asked := self.ask()) is not None:
                    self.tell(asked[0], objective)


def _holds(each: Range, value: str | None) -> bool:
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


def _position(each: Range, value: str) -> str | int | float:
    """`value` as the sampler counts in this range."""
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
