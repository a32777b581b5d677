"""Training examples: cached features for a head, newly cropped photos in each epoch for fine-tuning.

Runs in training jobs. Both yield inputs for lists of indices, in that order, so that the loops need not know which they have.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch

from training.data.dataset import Features, Photo
from training.data.features import read_ahead
from training.data.preprocessing import PhotoError, Preprocessing, read_photo
from training.fit.augmentation import cut_at_random
from training.job.failure import InputRefusedError

PHOTOS_AHEAD = 64
"""How many photos beyond one batch are decoded while the network computes."""


class Examples(Protocol):
    """The photos of one split."""

    @property
    def labels(self) -> torch.Tensor:
        """int64 [n], in manifest order."""

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Yield the inputs of each list of indices, in its order; `epoch` counts from 1 and is part of every draw."""

    def channel_means(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return [float32 [n, 3]], the mean of each channel of each photo as the network sees it; empty if inputs are not photos."""


class CachedFeatures:
    """Features that the data set holds: float32 [n, FEATURES], the same in every epoch."""

    def __init__(self, features: Features) -> None:
        """`features`: of one split."""
        self.values, self.labels = features.values, features.labels

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:  # noqa: ARG002 - features are the same each epoch
        """Yield float32 [batch, FEATURES]."""
        return (self.values[batch] for batch in indices)

    def channel_means(self, inputs: torch.Tensor) -> list[torch.Tensor]:  # noqa: ARG002 - inputs are features
        """Return an empty list."""
        return []


class DecodedPhotos:
    """Photos read from their files, decoded by threads ahead of time: uint8 [n, side, side, 3]."""

    def __init__(self, folder: Path, photos: Sequence[Photo], preprocessing: Preprocessing, *, augmented_by: int | None = None) -> None:
        """`folder`: the photos channel. `augmented_by`: the seed of random crops and flips; None cuts the middle, as serving does."""
        self.folder, self.photos, self.preprocessing, self.seed = folder, photos, preprocessing, augmented_by
        self.labels = torch.tensor([photo.label for photo in photos], dtype=torch.int64)

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Yield uint8 [batch, side, side, 3].

        Raises:
            InputRefusedError: a photo has changed since the data set was prepared.
        """

        def read(index: int) -> torch.Tensor:
            return self._read(self.photos[index], epoch)

        ahead = PHOTOS_AHEAD + max((len(batch) for batch in indices), default=0)
        squares = read_ahead(chain.from_iterable(batch.tolist() for batch in indices), read, ahead)
        side = self.preprocessing.crop
        for batch in indices:
            yield torch.stack([next(squares) for _ in batch]) if len(batch) else torch.empty(0, side, side, 3, dtype=torch.uint8)

    def channel_means(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return [float32 [n, 3]], from every fourth pixel of every fourth row."""
        pixels = inputs[:, ::4, ::4].float().mean(dim=(1, 2), keepdim=True)
        return [self.preprocessing.scale(pixels).flatten(1)]

    def _read(self, photo: Photo, epoch: int) -> torch.Tensor:
        try:
            content = (self.folder / photo.name).read_bytes()
            if len(content) != photo.bytes or hashlib.sha256(content).hexdigest() != photo.sha256:
                raise InputRefusedError(
                    f"photo {photo.name!r} has changed since the data set was prepared ({photo.bytes} bytes then, {len(content)} now): "
                    "start a new execution, which prepares the photos again"
                )
            image = read_photo(content)
        except (PhotoError, OSError) as error:
            raise InputRefusedError(
                f"photo {photo.name!r} was usable when the data set was prepared, but now {error}: "
                "start a new execution, which prepares the photos again"
            ) from error
        if self.seed is None:
            return self.preprocessing.cut(image)
        return cut_at_random(image, self.preprocessing.crop, self.seed, epoch, photo.name)
