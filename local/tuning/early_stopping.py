"""Stops unpromising training jobs of a tuning job early, by the objective that they print each epoch.

Runs in the SageMaker plane. Values have a sign with which lower is better. There are two rules: the median rule of
TrainingJobEarlyStoppingType Auto, as AWS documents it, and asynchronous successive halving for the strategy Hyperband, which AWS's
documentation refers to without details.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Protocol

from local.api.errors import validation_error

REDUCTION = 3
"""Successive halving continues one job in three at each rung; the next rung is at three times as many epochs."""
MOST_EPOCHS = 20_000
EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")


class Stopper(Protocol):
    """A rule that stops jobs early. Call `hear` with each epoch's value of each job, and `end` at each job's end."""

    def hear(self, job: str, value: float) -> bool:
        """Whether to stop the job after the `value` of its next epoch."""
        ...

    def end(self, job: str, completed: bool, /) -> None:
        """Record that the job has ended: `completed`, or stopped or failed."""
        ...


class MedianRule:
    """Stops a job whose value is worse than the median of the averages that the completed jobs had up to the same epoch."""

    def __init__(self) -> None:
        """Start without jobs; nothing is stopped until one job has completed."""
        self._running: dict[str, list[float]] = defaultdict(list)
        self._completed: list[list[float]] = []

    def hear(self, job: str, value: float) -> bool:
        """Compare with the jobs that have completed so far."""
        values = self._running[job]
        values.append(value)
        averages = [fmean(earlier[: len(values)]) for earlier in self._completed]
        return bool(averages) and value > median(averages)

    def end(self, job: str, completed: bool, /) -> None:
        """Keep the values of a completed job as a measure for other jobs."""
        values = self._running.pop(job, [])
        if completed and values:
            self._completed.append(values)


@dataclass(frozen=True)
class Resources:
    """The epochs that Hyperband may spend on a job."""

    least: int
    """MinResource: a job is not stopped earlier."""

    most: int
    """MaxResource: a job does not run longer."""

    ends_by_itself: bool = False
    """Whether jobs end there by themselves, because their hyperparameters set this number of epochs."""

    @property
    def rungs(self) -> list[int]:
        """The epochs after which only the best third of the jobs continues."""
        epochs = []
        epoch = self.least
        while epoch < self.most:
            epochs.append(epoch)
            epoch *= REDUCTION
        return epochs


class SuccessiveHalving:
    """Asynchronous successive halving: at each rung a job continues only if it is among the best third of the jobs so far."""

    def __init__(self, resources: Resources) -> None:
        """Start without jobs; the first two jobs at a rung continue."""
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
        """Forget the job's epochs; its values stay in the rungs."""
        self._epochs.pop(job, None)


def make_stopper(config: Mapping[str, Any], static: Mapping[str, str]) -> Stopper | None:
    """Make the rule of a HyperParameterTuningJobConfig, None if jobs run to their ends.

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
            f"HyperParameterTuningJobConfig.StrategyConfig.HyperbandStrategyConfig is only for the Strategy Hyperband, got {strategy!r}: "
            "remove it"
        )
    return MedianRule() if early == "Auto" else None


def read_resources(given: Mapping[str, Any], static: Mapping[str, str]) -> Resources:
    """Read MinResource and MaxResource of a HyperbandStrategyConfig; the default of the latter is the static hyperparameters' epochs."""
    epochs = _read_epochs(static)
    most = given.get("MaxResource", epochs)
    if most is None:
        raise validation_error(
            "HyperbandStrategyConfig.MaxResource is missing, and StaticHyperParameters do not set the epochs: "
            f"set it, or one of {', '.join(EPOCH_NAMES)}"
        )
    least = given.get("MinResource", 1)
    if not 1 <= least <= most <= MOST_EPOCHS:
        raise validation_error(
            f"HyperbandStrategyConfig goes from MinResource {least} to MaxResource {most}; "
            f"both must be from 1 to {MOST_EPOCHS}, MinResource not above MaxResource"
        )
    return Resources(int(least), int(most), ends_by_itself=epochs is not None and epochs <= most)


def _read_epochs(static: Mapping[str, str]) -> int | None:
    """Read a job's epochs from its static hyperparameters, by the first of AWS's names that is present."""
    values: Sequence[str] = [static[name].strip('"') for name in EPOCH_NAMES if name in static]
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else None
