"""The two loops: one epoch of training, one evaluation; and the training that is made of them.

Runs in training jobs. The best epoch by validation loss is what is kept.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from training.debugger import Debugger
from training.features import Features
from training.head import Head
from training.settings import Hyperparameters

WEIGHT_DECAY = 0.1
LAST_LR = 0.01
"""Where the cosine ends, as a part of the first learning rate."""


@dataclass(frozen=True)
class Epoch:
    """One line of the training's history."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean a photo, over the steps of the epoch."""
    train_accuracy: float
    valid_loss: float
    """Mean a photo, after the epoch."""
    valid_accuracy: float
    seconds: float


def fit(
    head: Head,
    loss: nn.Module,
    train: Features,
    valid: Features,
    settings: Hyperparameters,
    debugger: Debugger,
    report: Callable[[Epoch, Epoch], None] = lambda _epoch, _best: None,
) -> tuple[list[Epoch], Epoch]:
    """Train the head in place and leave it as it was after its best epoch.

    Args:
        report: called after each epoch with it and the best so far.

    Returns:
        The history, and the best epoch.
    """
    optimizer = AdamW(head.parameters(), lr=settings.lr, weight_decay=WEIGHT_DECAY)
    steps = settings.epochs * steps_per_epoch(train, settings.batch_size)
    schedule = CosineAnnealingLR(optimizer, T_max=steps, eta_min=settings.lr * LAST_LR)
    order = torch.Generator().manual_seed(settings.seed)
    history: list[Epoch] = []
    best, best_state = None, head.state_dict()
    for number in range(1, settings.epochs + 1):
        started = time.monotonic()
        debugger.training()
        trained = train_one_epoch(head, loss, train, settings.batch_size, optimizer, schedule, order)
        debugger.evaluating()
        judged = evaluate(head, loss, valid)
        history.append(Epoch(number, *trained, *judged, seconds=time.monotonic() - started))
        if best is None or history[-1].valid_loss < best.valid_loss:
            best, best_state = history[-1], copy.deepcopy(head.state_dict())
        report(history[-1], best)
    head.load_state_dict(best_state)
    return history, best or history[-1]


def steps_per_epoch(train: Features, batch_size: int) -> int:
    """Return how many batches cover the training photos, the last one possibly smaller."""
    return math.ceil(len(train.labels) / batch_size)


def train_one_epoch(
    head: Head, loss: nn.Module, train: Features, batch_size: int, optimizer: Optimizer, schedule: LRScheduler, order: torch.Generator
) -> tuple[float, float]:
    """Go through all training photos once, shuffled; return the mean loss and the accuracy a photo, as they were at each step."""
    head.train()
    total, right = 0.0, 0
    for batch in torch.split(torch.randperm(len(train.labels), generator=order), batch_size):
        labels = train.labels[batch]
        optimizer.zero_grad()
        logits = head(train.values[batch])
        value = loss(logits, labels)
        value.backward()
        optimizer.step()
        schedule.step()
        total += value.item() * len(batch)
        right += int((logits.argmax(dim=1) == labels).sum())
    return total / len(train.labels), right / len(train.labels)


@torch.no_grad()
def evaluate(head: Head, loss: nn.Module, photos: Features) -> tuple[float, float]:
    """Return the mean loss and the accuracy a photo; in one forward pass, so that the debugger sees one value an evaluation."""
    head.eval()
    logits = head(photos.values)
    value: float = loss(logits, photos.labels).item()
    return value, int((logits.argmax(dim=1) == photos.labels).sum()) / len(photos.labels)
