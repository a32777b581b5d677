"""Features, previews and thumbnails of all usable photos, on disk until it is decided which of them the data set keeps.

Runs in the processing job. Rows are numbered in order of arrival; a row takes some bytes of memory and kilobytes of disk.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import torch

from training.data.fingerprint import PREVIEW
from training.data.inspection import Seen
from training.network.resnet50 import FEATURES, WeightsError

ROWS_A_SHARD = 8192
"""Photos in a file of features: 32 MiB."""


class Spool:
    """A folder that exists while the data set is made."""

    def __init__(self, folder: Path) -> None:
        """`folder`: made when the spool is entered, removed when it is left."""
        self._folder = folder
        self._ends = [0]

    def __enter__(self) -> "Spool":
        """Make the folder."""
        self._folder.mkdir(parents=True)
        self._features = (self._folder / "features").open("wb+")
        self._previews = (self._folder / "previews").open("wb+")
        self._thumbnails = (self._folder / "thumbnails").open("wb+")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the folder with its files, even if a full disk prevents a file from being closed."""
        with ExitStack() as ending:
            ending.callback(shutil.rmtree, self._folder)
            for file in (self._features, self._previews, self._thumbnails):
                ending.callback(file.close)

    def add(self, features: torch.Tensor, photos: Sequence[Seen]) -> None:
        """Append float32 [n, FEATURES], as float16, and the pictures of n photos.

        Raises:
            WeightsError: float16 cannot hold a feature.
        """
        rows = features.half()
        if not torch.isfinite(rows).all():
            raise WeightsError(
                f"the backbone computes features up to {float(features.abs().max()):g}, above the limit of float16 (65,504), or NaN or "
                "infinite ones: its weights are damaged, or were trained for pixels on another scale"
            )
        self._features.write(rows.numpy().tobytes())
        for photo in photos:
            self._previews.write(photo.preview.numpy().tobytes())
            self._thumbnails.write(photo.thumbnail)
            self._ends.append(self._ends[-1] + len(photo.thumbnail))

    def shards(self, rows: Sequence[int]) -> Iterator[torch.Tensor]:
        """Yield the features of the rows, in their order: float16 [n, FEATURES], n at most ROWS_A_SHARD."""
        stored = self._stored(self._features, np.float16).reshape(-1, FEATURES)
        coming = iter(rows)
        while chosen := list(islice(coming, ROWS_A_SHARD)):
            yield torch.from_numpy(stored[chosen])

    def previews(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the previews of the rows: uint8 [n, PREVIEW, PREVIEW, 3]."""
        return torch.from_numpy(self._stored(self._previews, np.uint8).reshape(-1, PREVIEW, PREVIEW, 3)[list(rows)])

    def thumbnail(self, row: int) -> bytes:
        """Return a small JPEG of the row's photo."""
        self._thumbnails.seek(self._ends[row])
        return self._thumbnails.read(self._ends[row + 1] - self._ends[row])

    def _stored(self, file: BinaryIO, kind: type[np.generic]) -> np.ndarray:
        """Return a file's numbers, mapped into memory."""
        file.flush()
        return np.memmap(file, dtype=kind, mode="r") if len(self._ends) > 1 else np.empty(0, dtype=kind)
