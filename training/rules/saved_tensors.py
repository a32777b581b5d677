"""The tensors saved at one step: the rules' view of a trial, for whole tensors and for reductions.

Runs in training jobs, and wherever rules are evaluated. A step that was read is kept until the next one, because all rules look at it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from smdebug.exceptions import TensorUnavailable, TensorUnavailableForStep

Array = np.ndarray[Any, Any]

REDUCTIONS = {
    "min": ("min", False),
    "max": ("max", False),
    "mean": ("mean", False),
    "std": ("std", False),
    "variance": ("variance", False),
    "abs_mean": ("mean", True),
    "l1": ("l1", False),
    "l2": ("l2", False),
}
"""Name here -> smdebug's name, and whether it is that of absolute values."""


class SavedStep:
    """One step of a trial."""

    def __init__(self, trial: Any, step: int) -> None:
        """`step`: counted over all modes."""
        self.trial, self.global_step = trial, step
        mode, self.number = trial.mode_modestep(step)
        self.mode: str = mode.name
        """TRAIN, EVAL, PREDICT, or GLOBAL if the training sets none."""
        self.names: tuple[str, ...] = tuple(trial.tensor_names(step=step))
        """Tensors of which anything was saved at this step."""
        self.key = mode
        """As smdebug names it."""
        self._values: dict[str, Array | None] = {}
        self._summaries: dict[str, dict[str, float]] = {}

    @property
    def trains(self) -> bool:
        """Whether weights may change after it."""
        return self.mode in ("TRAIN", "GLOBAL")

    def named(self, collections: Iterable[str] = (), patterns: Iterable[str] = ()) -> list[str]:
        """Return the names in any of these collections or matching any of these regular expressions."""
        return [
            name
            for name in self.names
            if any(re.search(pattern, name) for pattern in patterns) or any(self._belongs(name, collection) for collection in collections)
        ]

    def value(self, name: str) -> Array | None:
        """Return a tensor, None if it was not saved whole."""
        if name not in self._values:
            self._values[name] = None
            with suppress(TensorUnavailable, TensorUnavailableForStep):
                self._values[name] = np.asarray(self.trial.tensor(name).value(self.number, mode=self.key))
        return self._values[name]

    def summary(self, name: str) -> Mapping[str, float]:
        """Return minimum, maximum, mean, std, variance, abs_mean, l1 and l2 of a tensor, as far as they were saved."""
        if name not in self._summaries:
            value = self.value(name)
            self._summaries[name] = self._reductions(name) if value is None else summarize(value)
        return self._summaries[name]

    def scalar(self, name: str) -> float | None:
        """Return the mean of a tensor, such as a loss; None if it was not saved."""
        return self.summary(name).get("mean")

    def _reductions(self, name: str) -> dict[str, float]:
        tensor, saved = self.trial.tensor(name), {}
        for key, (kind, absolute) in REDUCTIONS.items():
            with suppress(TensorUnavailable, TensorUnavailableForStep):
                saved[key] = float(tensor.reduction_value(self.number, kind, mode=self.key, abs=absolute))
        if "std" in saved:
            saved.setdefault("variance", saved["std"] ** 2)
        return saved

    def _belongs(self, name: str, collection: str) -> bool:
        found = self.trial.collections().get(collection)
        return found is not None and (name in found.tensor_names or any(re.search(each, name) for each in found.include_regex))


def summarize(value: Array) -> dict[str, float]:
    """Return all reductions of a whole tensor; none of an empty one."""
    if not value.size:
        return {}
    numbers = value.astype(np.float64)
    with np.errstate(all="ignore"):  # an overflow gives inf, which rules report
        return {
            "min": float(numbers.min()),
            "max": float(numbers.max()),
            "mean": float(numbers.mean()),
            "std": float(numbers.std()),
            "variance": float(numbers.var()),
            "abs_mean": float(abs(numbers).mean()),
            "l1": float(abs(numbers).sum()),
            "l2": float(np.sqrt((numbers**2).sum())),
        }


_last: list[SavedStep] = []


def read_step(trial: Any, step: int) -> SavedStep:
    """Return what was saved at a step; the same object for all rules that look at it one after the other."""
    if not _last or _last[0].trial is not trial or _last[0].global_step != step:
        _last[:] = [SavedStep(trial, step)]
    return _last[0]


def has_collections(tensors: str) -> bool:
    """Return whether a trial can be opened; on S3 smdebug itself waits for it."""
    return tensors.startswith("s3://") or any(Path(tensors, "collections").glob("*/*collections.json"))


def split_names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return names or regular expressions, which RuleParameters separate by commas."""
    parts = value.split(",") if isinstance(value, str) else value or ()
    return tuple(part.strip() for part in parts if part.strip())
