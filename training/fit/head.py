"""The head: one linear layer on the backbone's features, its training, and the conversion of both into a plain ResNet50.

Runs in training jobs. Features are centred and scaled before the layer, so that one range of learning rates suits every data set
and backbone; when the model is saved, centre and scale are folded into the layer's weights.
"""

import torch
from torch import nn
from torch.optim import AdamW

from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset, Features
from training.fit.examples import CachedFeatures
from training.fit.loop import Training, decay_matrices, weigh_classes
from training.job.micro_batches import Parts
from training.job.stopping import Stopping
from training.network.resnet50 import FEATURES

TYPICAL_LENGTH = FEATURES**0.5 / 8
"""Length of an average feature vector as the layer sees it: chosen so that lr 0.001 still learns in few steps and 0.1 stays stable."""
WEIGHT_DECAY = 0.1
FEATURES_AT_ONCE = 4096
"""A batch of features is small: the largest batch fits as one part."""


class Head(nn.Module):
    """float32 [n, FEATURES] -> float32 [n, classes]."""

    def __init__(self, classes: int, centre: torch.Tensor, size: torch.Tensor) -> None:
        """Start from zero weights: every class is equally likely, and no random draw is needed."""
        super().__init__()
        self.centre = nn.Buffer(centre)
        self.size = nn.Buffer(size)
        self.fc = nn.Linear(FEATURES, classes)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return one logit per class."""
        logits: torch.Tensor = self.fc((features - self.centre) / self.size)
        return logits


def build_head(classes: int, train: Features) -> Head:
    """Return an untrained head fitted to the training features' centre and size."""
    centre = train.values.mean(dim=0)
    lengths = (train.values - centre).norm(dim=1)
    return Head(classes, centre, (lengths.mean() / TYPICAL_LENGTH).clamp_min(1e-6))


def build_head_training(dataset: Dataset, settings: Hyperparameters, stopping: Stopping | None = None) -> Training:
    """Return the training of an untrained head on the data set's cached features."""
    train, valid = dataset.features("train"), dataset.features("valid")
    head = build_head(len(dataset.classes), train)
    return Training(
        network=head,
        optimizer=AdamW(decay_matrices(head.parameters(), settings.lr, WEIGHT_DECAY)),
        train=CachedFeatures(train),
        valid=CachedFeatures(valid),
        class_weights=weigh_classes(train.labels, len(dataset.classes), settings.class_weights),
        settings=settings,
        parts=Parts(FEATURES_AT_ONCE),
        stopping=stopping or Stopping(),
    )


@torch.no_grad()
def join(backbone: nn.Module, head: Head) -> dict[str, torch.Tensor]:
    """Return the state_dict of a plain ResNet50 that computes the same as backbone and head."""
    weight = head.fc.weight / head.size
    bias = head.fc.bias - weight @ head.centre
    state = {key: value.detach().cpu().contiguous() for key, value in backbone.state_dict().items()}
    return {**state, "fc.weight": weight.detach().cpu(), "fc.bias": bias.detach().cpu()}
