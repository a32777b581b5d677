"""What the training loop tells the profiler: which phase it is in, and that a step has ended.

Runs in training jobs. Nothing here stops a training: what fails is said once in the log and kept in `problem`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Phase = Literal["data", "forward", "backward", "optimizer", "save"]
PHASES: tuple[Phase, ...] = ("data", "forward", "backward", "optimizer", "save")
"""What a step is made of. What no phase covers is the rest of the step."""


class Profiler(Protocol):
    """What the training loop tells the profiler, and what the job asks of it."""

    problem: str | None
    """Why measurements are missing, a sentence; None while all is well."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Time what happens inside; phases may come several times a step, and do not lie in one another."""

    def step(self, mode: str) -> None:
        """Say that a step has ended; `mode`: "train" or "eval". A step lasts from the end of the one before it."""

    def close(self) -> None:
        """Write what is left, and end what runs beside the training."""


class NoProfiler:
    """Measures nothing, by request or because it cannot."""

    def __init__(self, problem: str | None = None) -> None:
        """`problem`: why the profiler that was asked for is missing."""
        self.problem = problem

    def phase(self, _name: Phase) -> AbstractContextManager[object]:
        """Nothing to time."""
        return nullcontext()

    def step(self, mode: str) -> None:
        """Nothing to count."""

    def close(self) -> None:
        """Nothing to end."""
