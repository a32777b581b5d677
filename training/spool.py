"""Features and thumbnails of all usable photos, on disk until it is known which of them the data set keeps.

Runs in the processing job. Rows are numbered in the order in which they come; a row takes some bytes of memory, and kilobytes of disk.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from training.model import FEATURES, WeightsError

ROWS_A_SHARD = 8192
"""Photos in a file of features: 32 MiB."""


class Spool:
    """A folder that is there while the data set is being made."""

    def __init__(self, folder: Path) -> None:
        """`folder`: made when the spool is entered, removed when it is left."""
        self._folder = folder
        self._ends = [0]

    def __enter__(self) -> "Spool":
        """Make the folder."""
        self._folder.mkdir(parents=True)
        self._features = (self._folder / "features").open("wb+")
        self._thumbnails = (self._folder / "thumbnails").open("wb+")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the folder and what is in it."""
        self._features.close()
        self._thumbnails.close()
        shutil.rmtree(self._folder)

    def add(self, features: torch.Tensor, thumbnails: Iterable[bytes]) -> None:
        """Append float32 [n, FEATURES], as float16, and n thumbnails.

        Raises:
            WeightsError: float16 cannot hold a feature.
        """
        rows = features.half()
        if not torch.isfinite(rows).all():
            raise WeightsError(
                f"the backbone makes features up to {float(features.abs().max()):g}, beyond what float16 holds (65,504), or none that are "
                "finite: its weights are damaged, or were trained for pixels on another scale"
            )
        self._features.write(rows.numpy().tobytes())
        for thumbnail in thumbnails:
            self._thumbnails.write(thumbnail)
            self._ends.append(self._ends[-1] + len(thumbnail))

    def shards(self, rows: Sequence[int]) -> Iterator[torch.Tensor]:
        """Yield the features of the rows, in their order: float16 [n, FEATURES], n at most ROWS_A_SHARD."""
        self._features.flush()
        if not rows:
            return
        stored = np.memmap(self._features, dtype=np.float16, mode="r").reshape(-1, FEATURES)
        coming = iter(rows)
        while chosen := list(islice(coming, ROWS_A_SHARD)):
            yield torch.from_numpy(stored[chosen])

    def thumbnail(self, row: int) -> bytes:
        """Return a small JPEG of the row's photo."""
        self._thumbnails.seek(self._ends[row])
        return self._thumbnails.read(self._ends[row + 1] - self._ends[row])
