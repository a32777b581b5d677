"""An epoch of fine-tuning, and bare torch loops on the same network. Used by `throughput.py`."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.inputs import SEED, photos_of, prepared_dataset, weights_channel
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset, Photo
from training.data.features import choose_processor
from training.fit.augmentation import AREA, SHAPE
from training.fit.examples import DecodedPhotos
from training.fit.finetune import PHOTOS_AT_ONCE, build_fine_tuning
from training.fit.loop import Training, train_one_epoch
from training.job.distributed import Processes
from training.job.stopping import Stopping
from training.network.resnet50 import load_backbone
from training.network.torchvision_repairs import import_torchvision

LR = 1e-6
"""Low: what is measured is the time, over epochs without end."""


WORKERS = (0, 1, 2)
"""Processes of a DataLoader that are tried; the best counts."""

Batches = Callable[[], Iterable[tuple[torch.Tensor, torch.Tensor]]]
"""Gives an epoch's batches: uint8 [n, side, side, 3] and int64 [n]."""


def finetuning_pairs(name: str, trainable: str, photos: int) -> dict[str, dict[str, Callable[[], int]]]:
    """Each returns how many photos went through. From files: the training job's epoch, and bare loops that a DataLoader feeds.

    The step alone: the training job's on pixels that are ready in memory, and a bare loop on the same.
    """
    dataset, processor = prepared_dataset(name), choose_processor()
    at_once = PHOTOS_AT_ONCE[processor.device.type]
    settings = Hyperparameters(lr=LR, batch_size=at_once, trainable=trainable, seed=SEED, debugger="off")
    backbone = load_backbone(weights_channel())[0]
    training = build_fine_tuning(dataset, photos_of(name), backbone, settings, processor, Processes(), Stopping())
    chosen = some_photos(dataset, photos, at_once)
    examples = DecodedPhotos(photos_of(name), chosen, dataset.preprocessing, augmented_by=SEED)
    ready = ReadyPhotos(examples, at_once)
    cut = CutPhotos(photos_of(name), chosen, dataset.preprocessing.crop)
    loaded = {
        f"bare, DataLoader with {workers} workers": bare_epoch(training, partial(iter, data_loader(cut, at_once, workers)))
        for workers in WORKERS
    }
    return {
        "from files": {f"Whippet, {at_once} at once": whippet_epoch(training, examples), **loaded},
        "step alone": {
            f"Whippet, {at_once} at once": whippet_epoch(training, ready),
            f"bare, {at_once} at once": bare_epoch(training, ready.pairs),
        },
    }


def some_photos(dataset: Dataset, photos: int, at_once: int) -> tuple[Photo, ...]:
    """Training photos spread over all classes, a whole number of batches of them."""
    train = dataset.split("train")
    wanted = max(at_once, min(photos, len(train)) // at_once * at_once)
    return train[:: max(1, len(train) // wanted)][:wanted]


class ReadyPhotos:
    """One batch of pixels, decoded once and handed out for every batch: what is left of an epoch is the step."""

    def __init__(self, examples: DecodedPhotos, at_once: int) -> None:
        """`examples`: whose first batch it is."""
        self.squares = next(iter(examples.batches([torch.arange(at_once)], epoch=1)))
        self.labels = examples.labels

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:  # noqa: ARG002 - the same in each epoch
        """Yield uint8 [batch, side, side, 3]."""
        return (self.squares[: len(batch)] for batch in indices)

    def channel_means(self, inputs: torch.Tensor) -> list[torch.Tensor]:  # noqa: ARG002 - nobody looks at the images here
        """Return nothing."""
        return []

    def pairs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the same batches with their labels, as a bare loop takes them."""
        for labels in torch.split(self.labels, len(self.squares)):
            yield self.squares[: len(labels)], labels


class CutPhotos(TorchDataset[tuple[np.ndarray[Any, Any], int]]):
    """The photos as a plain torch program reads them: PIL, torchvision's random cut and flip."""

    def __init__(self, folder: Path, photos: Sequence[Photo], side: int) -> None:
        """`side`: pixels of the square that is cut."""
        import_torchvision()
        from torchvision.transforms import v2

        self.folder, self.photos = folder, photos
        self.cut = v2.Compose([v2.RandomResizedCrop(side, scale=AREA, ratio=SHAPE), v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        """How many photos."""
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], int]:
        """One photo, uint8 [side, side, 3], and its label."""
        photo = self.photos[index]
        with Image.open(self.folder / photo.name) as image:
            return np.array(self.cut(image.convert("RGB"))), photo.label


def data_loader(photos: CutPhotos, at_once: int, workers: int) -> DataLoader[tuple[np.ndarray[Any, Any], int]]:
    """Shuffled batches; the processes stay from epoch to epoch."""
    return DataLoader(photos, at_once, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def whippet_epoch(training: Training, examples: DecodedPhotos | ReadyPhotos) -> Callable[[], int]:
    """The training job's own epoch."""
    own = replace(training, train=examples)

    def epoch() -> int:
        train_one_epoch(own, epoch=1)
        return len(examples.labels)

    return epoch


def bare_epoch(training: Training, batches: Batches) -> Callable[[], int]:
    """Forward, backward, optimiser step on a copy of the network."""
    network: nn.Module = copy.deepcopy(training.network)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=LR, momentum=0.9, nesterov=True)
    device = parameters[0].device

    def epoch() -> int:
        photos = 0
        for squares, labels in batches():
            optimizer.zero_grad()
            loss = cross_entropy(network(squares.to(device)), labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            photos += len(labels)
        loss.item()  # a GPU has only now done the work
        return photos

    return epoch
