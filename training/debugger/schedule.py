"""When the collections of a hook are saved next, so that a step without a saved collection takes almost no time.

Runs in training jobs, under the hook.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from training.debugger.intervals import NEVER

WITHOUT_GRADIENTS = ("gradients", "optimizer_variables")
"""Collections that smdebug saves in no mode but TRAIN and GLOBAL."""
AHEAD = 64
"""Saved steps that are computed together: one by one takes several times as long."""


class Schedule:
    """The steps of one mode at which anything is saved."""

    def __init__(self, collections: Iterable[Any], mode: Any, step: int) -> None:
        """`collections`: smdebug's, with settled configurations. `mode`: a ModeKeys. `step`: of the mode, the first one."""
        evaluates = mode.name in ("EVAL", "PREDICT")
        saved = [each for each in collections if not (evaluates and each.name in WITHOUT_GRADIENTS)]
        self._coming = find_saved_steps([(each, each.save_config.get_save_config(mode)) for each in saved], step)
        self._found: list[tuple[int, frozenset[Any]]] = []
        self._go_on()

    def take(self) -> frozenset[Any]:
        """Return the collections that are saved at the step `next`, and move to the steps after it."""
        due = self._due
        self._go_on()
        return due

    def _go_on(self) -> None:
        if not self._found:
            self._found = list(islice(self._coming, AHEAD))[::-1]
        step, self._due = self._found.pop() if self._found else (NEVER, frozenset())
        self.next = step
        """The first step not yet taken at which anything is saved."""


def find_saved_steps(configurations: Sequence[tuple[Any, Any]], step: int) -> Iterator[tuple[int, frozenset[Any]]]:
    """Yield each step from one on at which anything is saved, and which of the collections, given with their SaveConfigModes, are."""
    coming = [find_next_saved_step(configuration, step) for _, configuration in configurations]
    while (step := min(coming, default=NEVER)) < NEVER:
        yield step, frozenset(collection for (collection, _), when in zip(configurations, coming, strict=True) if when == step)
        coming = [
            find_next_saved_step(configuration, step + 1) if when == step else when
            for (_, configuration), when in zip(configurations, coming, strict=True)
        ]


def find_next_saved_step(configuration: Any, step: int) -> int:
    """Return the first step from this one on that a SaveConfigMode saves; NEVER if there is none."""
    listed: list[int] = [each for each in configuration.save_steps if each >= step]
    multiple: int = -(-max(step, configuration.start_step) // configuration.save_interval) * configuration.save_interval
    within = configuration.end_step is None or multiple < configuration.end_step
    return min([*listed, multiple if within else NEVER])
