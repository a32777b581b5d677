"""Which training jobs of a tuning job are not worth going on with, by the objective that they print each epoch.

Runs in the SageMaker plane. Values are told as lower is better, whichever way the objective is. Two rules: the median rule of
TrainingJobEarlyStoppingType Auto as AWS documents it, and for the strategy Hyperband asynchronous successive halving, which AWS's
documentation points to without saying what it does itself.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Protocol

from local.api.errors import validation_error

REDUCTION = 3
"""Successive halving lets one job in three go on at each rung, and the next rung is three times as many epochs away."""
MOST_EPOCHS = 20_000
EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")


class Stopper(Protocol):
    """A rule that stops jobs early; `hear` each epoch's value of each job, and be told of each job's `end`."""

    def hear(self, job: str, value: float) -> bool:
        """Whether the job is to be stopped now that its next epoch brought `value`."""
        ...

    def end(self, job: str, completed: bool, /) -> None:
        """The job has ended: `completed`, or else stopped or failed."""
        ...


class MedianRule:
    """Stops a job whose value is worse than the median of the averages that the completed jobs had up to the same epoch."""

    def __init__(self) -> None:
        """Know no job yet: until one has completed, nothing is stopped."""
        self._running: dict[str, list[float]] = defaultdict(list)
        self._completed: list[list[float]] = []

    def hear(self, job: str, value: float) -> bool:
        """Compare with the jobs that have completed so far."""
        values = self._running[job]
        values.append(value)
        averages = [fmean(earlier[: len(values)]) for earlier in self._completed]
        return bool(averages) and value > median(averages)

    def end(self, job: str, completed: bool, /) -> None:
        """Only a job that went its whole way is a measure for others."""
        values = self._running.pop(job, [])
        if completed and values:
            self._completed.append(values)


@dataclass(frozen=True)
class Resources:
    """What Hyperband may spend on a job, in epochs."""

    least: int
    """MinResource: no job is stopped before."""

    most: int
    """MaxResource: no job is needed for longer."""

    ends_by_itself: bool = False
    """Whether jobs end there of their own accord, because that is how many epochs they were told to train."""

    @property
    def rungs(self) -> list[int]:
        """The epochs after which some go on and others do not."""
        epochs = []
        epoch = self.least
        while epoch < self.most:
            epochs.append(epoch)
            epoch *= REDUCTION
        return epochs


class SuccessiveHalving:
    """Asynchronous successive halving: at each rung a job goes on only among the best third of those that have come so far."""

    def __init__(self, resources: Resources) -> None:
        """Know no job yet: the first two to reach a rung go on."""
        self._resources = resources
        self._epochs: dict[str, int] = defaultdict(int)
        self._rungs: dict[int, list[float]] = {epoch: [] for epoch in resources.rungs}

    def hear(self, job: str, value: float) -> bool:
        """Compare with the jobs that have reached this rung so far, this one among them."""
        self._epochs[job] += 1
        epoch = self._epochs[job]
        if epoch >= self._resources.most:
            return not self._resources.ends_by_itself
        if epoch not in self._rungs:
            return False
        rung = self._rungs[epoch]
        rung.append(value)
        places = len(rung) // REDUCTION
        return places > 0 and sum(other < value for other in rung) >= places

    def end(self, job: str, _completed: bool, /) -> None:
        """A rung keeps what it has seen, however the jobs go on."""
        self._epochs.pop(job, None)


def make_stopper(config: Mapping[str, Any], static: Mapping[str, str]) -> Stopper | None:
    """The rule that a HyperParameterTuningJobConfig asks for, None where jobs run to their ends.

    Raises a ValidationException for a configuration that AWS's documentation excludes.
    """
    strategy, early = config["Strategy"], config.get("TrainingJobEarlyStoppingType", "Off")
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
    if strategy == "Hyperband":
        if early != "Off":
            raise validation_error(
                "HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType must be Off with the Strategy Hyperband, "
                f"which stops jobs early by itself; got {early!r}"
            )
        return SuccessiveHalving(read_resources(given or {}, static))
    if given is not None:
        raise validation_error(
            f"HyperParameterTuningJobConfig.StrategyConfig.HyperbandStrategyConfig is for the Strategy Hyperband alone, got {strategy!r}: "
            "leave it out"
        )
    return MedianRule() if early == "Auto" else None


def read_resources(given: Mapping[str, Any], static: Mapping[str, str]) -> Resources:
    """MinResource and MaxResource of a HyperbandStrategyConfig; without the latter, the epochs that the static hyperparameters name."""
    told = _epochs(static)
    most = given.get("MaxResource", told)
    if most is None:
        raise validation_error(
            "HyperbandStrategyConfig.MaxResource is left out, and none of StaticHyperParameters tells it: "
            f"give it, or one of {', '.join(EPOCH_NAMES)}"
        )
    least = given.get("MinResource", 1)
    if not 1 <= least <= most <= MOST_EPOCHS:
        raise validation_error(
            f"HyperbandStrategyConfig goes from MinResource {least} to MaxResource {most}; "
            f"both must be from 1 to {MOST_EPOCHS}, MinResource not above MaxResource"
        )
    return Resources(int(least), int(most), ends_by_itself=told is not None and told <= most)


def _epochs(static: Mapping[str, str]) -> int | None:
    """How many epochs a job trains by its static hyperparameters, by the first of the names that AWS looks for."""
    values: Sequence[str] = [static[name].strip('"') for name in EPOCH_NAMES if name in static]
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else None
