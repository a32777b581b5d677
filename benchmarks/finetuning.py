"""An epoch of fine-tuning, and a bare torch loop on the same network. Used by `throughput.py`."""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.inputs import SEED, photos_of, prepared_dataset, weights_channel
from training.dataset import Dataset, Photo
from training.distributed import Processes
from training.examples import DecodedPhotos
from training.features import choose_processor
from training.finetune import PHOTOS_AT_ONCE, fine_tuning
from training.loop import Training, train_one_epoch
from training.model import load_backbone
from training.settings import Hyperparameters
from training.stopping import Stopping

LR = 1e-6
"""Low: what is measured is the time, over epochs without end."""


def finetuning_pair(name: str, trainable: str, photos: int) -> dict[str, Callable[[], int]]:
    """The training job's epoch over some photos, and a bare loop of as many; each returns how many photos went through."""
    dataset, processor = prepared_dataset(name), choose_processor()
    at_once = PHOTOS_AT_ONCE[processor.device.type]
    settings = Hyperparameters(lr=LR, batch_size=at_once, trainable=trainable, seed=SEED, debugger="off")
    backbone = load_backbone(weights_channel())[0]
    training = fine_tuning(dataset, photos_of(name), backbone, settings, processor, Processes(), Stopping())
    chosen = some_photos(dataset, photos, at_once)
    examples = DecodedPhotos(photos_of(name), chosen, dataset.preprocessing, augmented_by=SEED)
    ready = next(examples.batches([torch.arange(at_once)], epoch=1))
    return {
        f"Whippet, {at_once} at once": whippet_epoch(training, examples),
        f"bare, {at_once} at once": bare_epoch(training, ready, examples.labels[:at_once], len(chosen)),
    }


def some_photos(dataset: Dataset, photos: int, at_once: int) -> tuple[Photo, ...]:
    """Training photos spread over all classes, a whole number of batches of them."""
    train = dataset.split("train")
    wanted = max(at_once, min(photos, len(train)) // at_once * at_once)
    return train[:: max(1, len(train) // wanted)][:wanted]


def whippet_epoch(training: Training, examples: DecodedPhotos) -> Callable[[], int]:
    """The training job's own epoch, with the photos read, decoded and cut."""
    own = replace(training, train=examples)

    def epoch() -> int:
        train_one_epoch(own, epoch=1)
        return len(examples.labels)

    return epoch


def bare_epoch(training: Training, squares: torch.Tensor, labels: torch.Tensor, photos: int) -> Callable[[], int]:
    """Forward, backward, optimiser step on a copy of the network and one batch of pixels that lies ready."""
    network: nn.Module = copy.deepcopy(training.network)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=LR, momentum=0.9, nesterov=True)
    device = parameters[0].device
    squares, labels = squares.to(device), labels.to(device)

    def epoch() -> int:
        for _ in range(photos // len(labels)):
            optimizer.zero_grad()
            loss = cross_entropy(network(squares), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        loss.item()  # a GPU has only now done the work
        return photos // len(labels) * len(labels)

    return epoch
