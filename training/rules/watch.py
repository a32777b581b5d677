"""Starts the rules' process beside the training, and asks it what it found.

Runs in training jobs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.rules.status import RuleStatus, could_not_judge


class RuleWatch:
    """The process of one training's rules."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        self._configurations: Sequence[Mapping[str, Any]] = ()

    def start(self, tensors: Path, output: Path, configurations: Sequence[Mapping[str, Any]]) -> None:
        """Have rules follow the tensors in a folder, their verdicts written to `output`/statuses.json."""
        self._configurations = configurations

    def stop_reason(self) -> str | None:
        """Return which rule ends the training, and why; None while it goes on."""
        return None

    def finish(self, timeout_s: float) -> list[RuleStatus]:
        """Return the verdicts on all that was saved."""
        return could_not_judge("the rules' process was never started", configurations=self._configurations)
