"""The base of the rules: smdebug's Rule, which looks at saved steps one by one and records what met its condition.

Runs in training jobs, and wherever rules are evaluated; also under smdebug's own `invoke_rule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from smdebug.rules.rule import Rule

from training.rules.saved_tensors import SavedStep, read_step, split_names


@dataclass(frozen=True)
class Finding:
    """Something that met the condition of a rule."""

    tensor: str
    value: float
    threshold: float | None
    what: str
    """A sentence without its full stop."""
    mode: str = ""
    step: int = -1
    """Of the mode."""


class TensorRule(Rule):  # type: ignore[misc]
    """A rule that looks at one step at a time, in their order."""

    advice: ClassVar[str]
    """What to change when the condition is met, one sentence."""
    compares: str
    """What the rule looks at, for the verdict if there was none."""

    def __init__(self, base_trial: Any, other_trials: Sequence[Any] | None = None) -> None:
        """`base_trial`: what smdebug.trials.create_trial returns."""
        super().__init__(base_trial, action_str="", other_trials=other_trials)
        self.findings: list[Finding] = []
        """The first findings; `met` counts all."""
        self.met = 0
        """Steps at which the condition was met."""
        self.looks = 0
        """Steps at which there was something to compare."""

    def invoke_at_step(self, step: int) -> bool:
        """Return whether the condition is met at a step, counted over all modes."""
        saved = read_step(self.base_trial, step)
        return self.note(self.look(saved), saved)

    def note(self, found: Sequence[Finding] | None, at: SavedStep) -> bool:
        """Record the findings of a step; return whether there are any."""
        self.looks += found is not None
        self.met += bool(found)
        for each in found or ():
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(Finding(each.tensor, each.value, each.threshold, each.what, at.mode, at.number))
        return bool(found)

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Return what meets the condition at this step: an empty list if nothing does, None if there was nothing to compare."""
        raise NotImplementedError


MOST_FINDINGS = 10


class TensorFilter:
    """Which tensors a rule looks at: those of some collections and those with some names; all if neither is given."""

    def __init__(self, collection_names: str | Sequence[str] | None, tensor_regex: str | Sequence[str] | None) -> None:
        """Both as in RuleParameters, or as lists."""
        self._collections, self._patterns = split_names(collection_names), split_names(tensor_regex)

    def __str__(self) -> str:
        """Return words for a verdict."""
        return " and ".join((*self._collections, *(f"tensors named {pattern}" for pattern in self._patterns))) or "tensors"

    def of(self, step: SavedStep) -> list[str]:
        """Return the names of those saved at a step."""
        if not self._collections and not self._patterns:
            return list(step.names)
        return step.named(self._collections, self._patterns)
