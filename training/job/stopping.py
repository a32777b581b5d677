"""SIGTERM means: end now, with the best model so far. Spot capacity that is taken back and a stopped job both begin with it.

Runs in training jobs. AWS kills a container 120 seconds later; torchrun, where it started several processes, its own after 30.
"""

import signal
from types import FrameType


class StoppedError(Exception):
    """The job has been told to end.

    Raised between two steps, by all processes at the same one; a process by itself raises it between the parts of a batch too. What the
    parameters are then does not count: the best epoch's take their place.
    """


class Stopping:
    """Knows whether the job has been told to end."""

    def __init__(self) -> None:
        """Nobody has said so yet."""
        self.asked = False

    def listen(self) -> None:
        """Take note of SIGTERM from now on, in place of ending at once."""
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True
