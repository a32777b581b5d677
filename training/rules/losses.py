"""Losses of training and validation: the means of the latest phase of each.

Used by the rules that compare both.
"""

from dataclasses import dataclass, field
from statistics import fmean


@dataclass
class Phases:
    """One loss; a phase is a run of consecutive saved steps of one mode."""

    _train: list[float] = field(default_factory=list)
    _valid: list[float] = field(default_factory=list)

    def add_train(self, value: float) -> None:
        """Add a training step's loss; the first after an evaluation begins a phase."""
        if self._valid:
            self._train, self._valid = [], []
        self._train.append(value)

    def add_valid(self, value: float) -> None:
        """Add an evaluation step's loss."""
        self._valid.append(value)

    def means(self) -> tuple[float, float] | None:
        """Return the means of the training steps and of the evaluation after them; None until both exist."""
        return (fmean(self._train), fmean(self._valid)) if self._train and self._valid else None
