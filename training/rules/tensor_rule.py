"""What the rules share: smdebug's Rule, stepped over saved tensors, saying what it found in a sentence.

Runs in training jobs after the training.
"""

from contextlib import suppress
from typing import Any

from training.compatibility import import_smdebug

modes: Any = import_smdebug().modes

from smdebug.exceptions import TensorUnavailable, TensorUnavailableForStep  # noqa: E402 - smdebug imports only after its repairs
from smdebug.rules.rule import Rule  # noqa: E402

REDUCTIONS = {"min": ("min", False), "max": ("max", False), "mean": ("mean", False), "abs_mean": ("mean", True)}
"""Name here -> smdebug's name, and whether it is that of absolute values."""


class TensorRule(Rule):  # type: ignore[misc]
    """A rule that looks at one step at a time."""

    needs: tuple[str, ...] = ()
    """Collections without which the rule cannot say anything."""
    compares: str
    """What the rule looks at, for the verdict where there was none of it."""

    def __init__(self, base_trial: Any) -> None:
        """`base_trial`: what smdebug.trials.create_trial returns."""
        super().__init__(base_trial, action_str="")
        self.findings: list[str] = []
        self.looks = 0
        """Steps at which there was something to compare."""

    def invoke_at_step(self, step: int) -> bool:
        """Return whether the condition is met at a global step; the sentence goes to `findings`."""
        mode = self.base_trial.mode(step)
        found = self.look(mode, self.base_trial.mode_step(step))
        self.looks += found is not None
        if found:
            self.findings.append(f"{mode.name} step {self.base_trial.mode_step(step)}: {found}")
        return bool(found)

    def look(self, mode: Any, step: int) -> str | None:
        """Return what is wrong at this step of this mode: "" when nothing is, None when there was nothing to compare."""
        raise NotImplementedError

    def names(self, collection: str) -> list[str]:
        """Return the names of the tensors in a collection, none where nothing of it was saved."""
        saved = set(self.base_trial.tensor_names())
        return sorted(saved & set(self.base_trial.tensor_names(collection=collection)))

    def steps(self, name: str, mode: Any) -> list[int]:
        """Return the steps of a mode at which a tensor was saved."""
        return list(self.base_trial.tensor(name).steps(mode=mode))

    def loss(self, name: str, mode: Any, step: int) -> float:
        """Return the mean of a saved loss."""
        return float(self.base_trial.tensor(name).value(step, mode=mode).mean())

    def reductions(self, name: str, mode: Any, step: int) -> dict[str, float]:
        """Return those of minimum, maximum, mean and mean of absolute values of a tensor that its saved value or reductions tell."""
        tensor = self.base_trial.tensor(name)
        try:
            value = tensor.value(step, mode=mode)
            return {"min": float(value.min()), "max": float(value.max()), "mean": float(value.mean()), "abs_mean": float(abs(value).mean())}
        except TensorUnavailableForStep:
            pass  # saved as reductions, or not at this step: both are looked for below
        saved = {}
        for key, (kind, absolute) in REDUCTIONS.items():
            with suppress(TensorUnavailable, TensorUnavailableForStep):
                saved[key] = float(tensor.reduction_value(step, kind, mode=mode, abs=absolute))
        return saved
