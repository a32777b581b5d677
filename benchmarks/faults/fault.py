"""What a planted fault is. Used by the modules beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.faults.recorded import Judged
from training.data.dataset import Dataset, open_dataset


@dataclass(frozen=True)
class Workplace:
    """What faults are planted in."""

    prepared: tuple[Path, ...]
    """Prepared data sets: chess, flowers5, dogs20 or others."""
    photos: tuple[Path, ...]
    """Where the photos of each are."""
    weights: Path
    """The weights channel."""

    @cached_property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data sets, opened."""
        return tuple(map(open_dataset, self.prepared))


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a training or its machine, and who must find it."""

    planted: str
    """What was done, some words."""
    found_by: tuple[str, ...]
    """Rules all of which must find an issue."""
    run: Callable[[Workplace], Judged]
    control: Callable[[Workplace], Judged] | None = None
    """The same without the fault, where the rules are none of the default ones: they must be silent then."""
