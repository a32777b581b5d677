"""Small clustered data sets and trainings of a linear head on them."""

import dataclasses

import torch
from torch.optim import AdamW

from training.data.dataset import Features
from training.fit.examples import CachedFeatures
from training.fit.head import WEIGHT_DECAY, build_head
from training.fit.loop import (
    Training,
    weigh_classes,
)
from training.job.micro_batches import Parts
from training.network.resnet50 import FEATURES
from training.settings import Hyperparameters


def clusters(photos: int, seed: int, noise: float = 1.0) -> Features:
    """Three classes around three far points: features as a backbone might make them, all positive."""
    centres = torch.rand(3, FEATURES, generator=torch.Generator().manual_seed(99))
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(photos) % 3
    return Features((centres[labels] + noise * torch.rand(photos, FEATURES, generator=random)), labels)


def training_of(train: Features, valid: Features, parts: int = 4096, **settings: object) -> Training:
    head = build_head(3, train)
    hyperparameters = dataclasses.replace(Hyperparameters(), **settings)  # type: ignore[arg-type]
    return Training(
        network=head,
        optimizer=AdamW(head.parameters(), lr=hyperparameters.lr, weight_decay=WEIGHT_DECAY),
        train=CachedFeatures(train),
        valid=CachedFeatures(valid),
        class_weights=weigh_classes(train.labels, 3, hyperparameters.class_weights),
        settings=hyperparameters,
        parts=Parts(parts),
    )
