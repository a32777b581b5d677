"""Fine-tuning: trains the backbone's last stage, or all of it, starting with a head that was fitted on the cached features.

Runs in training jobs with `trainable` other than `head`, on a GPU if there is one. BatchNorm keeps the statistics of the
loaded weights, so photos do not affect each other: parts of a batch, and several processes, give the gradient of the whole batch.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim import SGD

from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset
from training.data.features import Processor
from training.data.preprocessing import Preprocessing
from training.fit.examples import DecodedPhotos
from training.fit.head import Head, build_head_training, join
from training.fit.loop import Training, decay_matrices, fit
from training.job.distributed import Processes
from training.job.micro_batches import Parts
from training.job.stopping import Stopping
from training.network.resnet50 import fold_batch_norm

STAGES = ("layer1", "layer2", "layer3", "layer4")
FIRST_LR, FIRST_BATCH_SIZE, FIRST_EPOCHS = 0.01, 64, 20
"""Hyperparameters of the head that the network starts with."""
BACKBONE_LR = 0.1
"""The backbone's learning rate, as a fraction of the head's, because its weights are trained already."""
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
PHOTOS_AT_ONCE = {"cpu": 16, "cuda": 128}
"""At first; fewer if they do not fit into memory."""


class FineTuned(nn.Module):
    """uint8 [n, side, side, 3] -> float32 [n, classes]; the same in training and evaluation."""

    def __init__(self, backbone: nn.Module, head: Head, trainable: str, preprocessing: Preprocessing, processor: Processor) -> None:
        """`backbone`: a ResNet50 in eval mode without its last layer. `trainable`: "last_stage" or "all"."""
        super().__init__()
        self.backbone = backbone.to(processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = head.to(processor.device)
        self.preprocessing, self.processor = preprocessing, processor
        trained = backbone if trainable == "all" else backbone.get_submodule(STAGES[-1])
        trained.requires_grad_(True)
        self._frozen = (
            (_frozen_part(self.backbone),) if trainable == "last_stage" else ()
        )  # in a tuple, so that it is not part of the state

    def forward(self, squares: torch.Tensor) -> torch.Tensor:
        """Return one logit per class."""
        device = self.processor.device
        pixels = self.preprocessing.scale(squares.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.processor.bfloat16):
            features = self._backbone(pixels)
        logits: torch.Tensor = self.head(features.float())
        return logits

    def _backbone(self, pixels: torch.Tensor) -> torch.Tensor:
        if not self._frozen:
            return cast("torch.Tensor", self.backbone(pixels))
        with torch.no_grad():
            pixels = self._frozen[0](pixels)
        stage, pool = (self.backbone.get_submodule(name) for name in (STAGES[-1], "avgpool"))
        return cast("torch.Tensor", pool(stage(pixels)).flatten(1))

    def plain_state(self) -> dict[str, torch.Tensor]:
        """Return the state_dict of a plain ResNet50 that computes the same."""
        return join(self.backbone, self.head)


def _frozen_part(backbone: nn.Module) -> nn.Module:
    """Return a copy of the layers before the last stage, with BatchNorm merged: it is never trained."""
    names = ("conv1", "bn1", "relu", "maxpool", *STAGES[:-1])
    parts = nn.ModuleDict({name: copy.deepcopy(backbone.get_submodule(name)) for name in names})
    fold_batch_norm(parts)
    return nn.Sequential(*(parts[name] for name in names)).requires_grad_(False)


def build_fine_tuning(
    dataset: Dataset,
    photos: Path,
    backbone: nn.Module,
    settings: Hyperparameters,
    processor: Processor,
    processes: Processes,
    stopping: Stopping,
) -> Training:
    """Return the training of a whole network whose head is already trained.

    Args:
        dataset: the prepared data set, with features.
        photos: the photos channel.
        backbone: a ResNet50 in eval mode without its last layer; it is trained in place.
        settings: `lr` is the head's; the backbone's follows from it.
        processor: where it runs.
        processes: the processes of the job.
        stopping: whether the job must end.
    """
    first = build_head_training(dataset, replace(settings, lr=FIRST_LR, batch_size=FIRST_BATCH_SIZE, epochs=FIRST_EPOCHS), stopping)
    fit(first)
    network = FineTuned(backbone, cast("Head", first.network), settings.trainable, dataset.preprocessing, processor)
    trained = [parameter for parameter in network.backbone.parameters() if parameter.requires_grad]
    groups = [
        *decay_matrices(trained, settings.lr * BACKBONE_LR, WEIGHT_DECAY),
        *decay_matrices(network.head.parameters(), settings.lr, WEIGHT_DECAY),
    ]
    train, valid = (dataset.split(name) for name in ("train", "valid"))
    return replace(
        first,
        network=network,
        optimizer=Parts(1).run(lambda _: _optimizer(groups)),
        train=DecodedPhotos(photos, train, dataset.preprocessing, augmented_by=settings.seed),
        valid=DecodedPhotos(photos, valid, dataset.preprocessing),
        settings=settings,
        parts=Parts(PHOTOS_AT_ONCE[processor.device.type]),
        processes=processes,
        stopping=stopping,
    )


def _optimizer(groups: list[dict[str, Any]]) -> SGD:
    """Return the optimizer with its memory already allocated, so that a shortage shows before the first step."""
    optimizer = SGD(groups, momentum=MOMENTUM, nesterov=True)
    for group in groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
