"""SIGTERM ends the job now, with the best model so far. A spot interruption and a stopped job both start with SIGTERM.

Runs in training jobs. AWS kills the container 120 seconds later; torchrun kills its processes after 30.
"""

import signal
from types import FrameType


class StoppedError(Exception):
    """The job has received SIGTERM.

    Raised between two steps, by all processes at the same step; a single process also raises it between the parts of a batch. The
    parameters at that moment do not matter: those of the best epoch replace them.
    """


class Stopping:
    """Knows whether the job has received SIGTERM."""

    def __init__(self) -> None:
        """Start without a request."""
        self.requested = False

    def listen(self) -> None:
        """Record SIGTERM from now on, instead of ending at once."""
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
