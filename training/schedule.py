"""When the collections of a hook are saved next, so that a step at which none is costs next to nothing.

Runs in training jobs, under the hook.
"""

from collections.abc import Iterable
from typing import Any

from training.intervals import NEVER

WITHOUT_GRADIENTS = ("gradients", "optimizer_variables")
"""Collections that smdebug saves in no mode but TRAIN and GLOBAL."""


class Schedule:
    """The steps of one mode at which anything is saved."""

    def __init__(self, collections: Iterable[Any], mode: Any, step: int) -> None:
        """`collections`: smdebug's, with settled configurations. `mode`: a ModeKeys. `step`: of the mode, the first that is asked about."""
        judged = mode.name in ("EVAL", "PREDICT")
        self._saved = {
            each.name: (each, each.save_config.get_save_config(mode))
            for each in collections
            if not (judged and each.name in WITHOUT_GRADIENTS)
        }
        self._next = {name: next_saved(configuration, step) for name, (_, configuration) in self._saved.items()}
        self.next = min(self._next.values(), default=NEVER)
        """The first step, of those not yet taken, at which anything is saved."""

    def take(self, step: int) -> set[Any]:
        """Return the collections that are saved at a step, and go on to the steps after it."""
        due = [name for name, when in self._next.items() if when == step]
        for name, (_, configuration) in self._saved.items():
            if self._next[name] <= step:
                self._next[name] = next_saved(configuration, step + 1)
        self.next = min(self._next.values(), default=NEVER)
        return {self._saved[name][0] for name in due}


def next_saved(configuration: Any, step: int) -> int:
    """Return the first step from this one on that a SaveConfigMode saves; NEVER where there is none."""
    listed: list[int] = [each for each in configuration.save_steps if each >= step]
    multiple: int = -(-max(step, configuration.start_step) // configuration.save_interval) * configuration.save_interval
    within = configuration.end_step is None or multiple < configuration.end_step
    return min([*listed, multiple if within else NEVER])
