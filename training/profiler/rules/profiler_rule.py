"""The base of the profiler rules: parameters as the API sends them, the finding, and which samples are judged.

Runs in training jobs after the training, and in the process that judges a managed job's profile.

The judged samples are those of the training loop, from the first step to the end of the last one, if steps were recorded; outside of it a
GPU is idle. The first `patience` of them are skipped, but at most a fifth, so that short jobs are judged. With fewer than FEWEST remaining
samples the verdict is Error, with the reason. On a machine without a GPU the rules about GPUs return NoIssuesFound.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np

from training.profiler.metrics import Floats, Metrics, Series

FEWEST = 5
"""Samples needed for a verdict: two and a half seconds."""

LEFT_OUT = 5
"""At most one part in so many of the loop is skipped, however large `patience` is."""


WORTH_SECONDS = 1.0
"""Seconds of waiting in a job below which a change is not worth it."""


UNRECORDED = "Read the job's log for the line that begins with 'profiler degraded', and fix what it names."


class ParameterError(ValueError):
    """A rule does not accept its parameters."""


@dataclass(frozen=True)
class Finding:
    """The result of a rule."""

    said: str
    """A sentence: what was judged, with the result."""
    datapoints: int = 0
    """Number of judged values."""
    triggered: int = 0
    """How often the rule's condition was met; 0 without an issue."""
    violations: int = 0
    """Number of values that violate the threshold."""
    details: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    """What to change: a sentence; "" without an issue."""
    evidence: Sequence[Mapping[str, Any]] = ()
    """What was measured, {"mode", "step", "tensor", "value", "threshold"} each; `tensor` names the metric."""
    unjudged: bool = False
    """Whether the measurements allow no verdict."""


@dataclass(frozen=True)
class ProfilerRule(ABC):
    """A rule with its parameters as fields."""

    scan_interval_us: int = 60_000_000
    """Accepted for compatibility with the API: measurements are judged once, when they are complete."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Return the rule with these parameters, strings as the API has them; others keep their defaults.

        Raises:
            ParameterError: a parameter is unknown, or its value has the wrong type.
        """
        kinds = {parameter.name: parameter.default for parameter in fields(cls) if parameter.default is not MISSING}
        given = {name: value for name, value in parameters.items() if name not in ("rule_to_invoke", "action_json")}
        if unknown := sorted(given.keys() - kinds.keys()):
            raise ParameterError(f"{cls.__name__} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(kinds))}")
        try:
            return cls(**{name: _converted(value, kinds[name]) for name, value in given.items()})
        except ValueError as error:
            raise ParameterError(f"{cls.__name__}: parameters are numbers, got {dict(given)}: {error}") from error

    @abstractmethod
    def judge(self, metrics: Metrics) -> Finding:
        """Return the rule's result for these measurements."""

    def report(self, finding: Finding) -> dict[str, Any]:
        """Return the document that the service writes for a rule."""
        return {
            "RuleTriggered": finding.triggered,
            "Violations": finding.violations,
            "Details": dict(finding.details),
            "Datapoints": finding.datapoints,
            "RuleParameters": "\n".join(f"{name}:{value}" for name, value in asdict(self).items() if value is not None),
        }


def _converted(text: str, default: Any) -> Any:
    if isinstance(default, (int, float)):
        number = float(text)
        return int(number) if isinstance(default, int) and number.is_integer() else number
    return text or None


def evidence(metric: str, value: float, threshold: float, mode: str = "", step: int | None = None) -> dict[str, Any]:
    """Return a value against its threshold; percent, seconds or a share, as `metric` says."""
    return {"mode": mode, "step": step, "tensor": metric, "value": round(float(value), 4), "threshold": threshold}


def judged(series: Series, metrics: Metrics, patience: float) -> Series:
    """Return the samples of the training loop without the first `patience`, at most a fifth."""
    inside = series.between(*metrics.loop) if metrics.loop else series
    skipped = min(int(patience), len(inside) // LEFT_OUT)
    return Series(inside.times[skipped:], inside.values[skipped:])


def windows(series: Series, size: float) -> list[Series]:
    """Return the series in windows of about `size` values; one window if it is shorter than two."""
    parts = max(1, int(len(series) // max(1, size)))
    return [Series(series.times[places], series.values[places]) for places in np.array_split(np.arange(len(series)), parts)]


def nearest(series: Series, times: Floats) -> Floats:
    """Return the value sampled nearest to each time; the service samples its metrics at slightly different times."""
    if not len(series):
        return np.zeros(len(times))
    after = np.clip(np.searchsorted(series.times, times), 1, max(1, len(series) - 1))
    before = after - 1
    after = np.minimum(after, len(series) - 1)
    closer = np.where(times - series.times[before] <= series.times[after] - times, before, after)
    values: Floats = series.values[closer]
    return values


def highest(series: Mapping[str, Series], times: Floats) -> Floats:
    """Return the highest value of all series at each time."""
    if not series:
        return np.zeros(len(times))
    values: Floats = np.max([nearest(values, times) for values in series.values()], axis=0)
    return values


def without_gpus(metrics: Metrics) -> Finding | None:
    """Return the result of a rule about GPUs if no GPU was sampled; None if one was."""
    if metrics.gpus:
        return None
    if metrics.device == "cuda":
        return Finding(
            "not judged: the training computes on a GPU, but none was sampled; libnvidia-ml.so.1 is missing or does not respond",
            unjudged=True,
            advice="Make NVIDIA's management library (libnvidia-ml.so.1) available to the job, as the AWS images do.",
        )
    return without_samples(metrics) or Finding("nothing to judge: the machine has no GPU")


def without_samples(metrics: Metrics) -> Finding | None:
    """Return the result if the machine was not sampled; None if it was."""
    if metrics.cores:
        return None
    return Finding(
        "not judged: no sample of the machine was recorded",
        unjudged=True,
        advice=UNRECORDED,
    )


def too_few(count: int, what: str = "samples of the training loop") -> Finding | None:
    """Return the result of a job with too few measurements; None if there are enough."""
    if count >= FEWEST:
        return None
    return Finding(
        f"not judged: there are {count} {what}, and {FEWEST} are needed",
        datapoints=count,
        unjudged=True,
        advice="Nothing: a longer job is judged." if count else UNRECORDED,
    )


def hardly_waited(metrics: Metrics) -> Finding | None:
    """Return the result of a bottleneck rule for a job with few samples whose steps hardly waited; None if they waited."""
    waited = metrics.waited
    if waited is None or waited >= WORTH_SECONDS:
        return None
    return Finding(f"training steps waited {waited:.2f} s for data in total: nothing slowed them down")


def statistics(values: Floats) -> dict[str, float]:
    """Return maximum, percentiles, minimum and mean, as in the service's report; empty without values."""
    if not len(values):
        return {}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    found = {"max": values.max(), "p99": p99, "p95": p95, "p50": p50, "min": values.min(), "mean": values.mean()}
    return {name: round(float(value), 4) for name, value in found.items()}
