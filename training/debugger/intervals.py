"""The hook's save intervals: they follow from the number of steps, so that rules can judge a 13-step epoch and a long job stays small.

Runs in training jobs. They depend on nothing measured: the same job saves the same steps everywhere.
"""

import math
from dataclasses import dataclass

import torch

from training.contract.rules import FEW_EPOCHS

MIB = 2**20
BUDGET = 50 * MIB
"""Bytes that a run may save; tensors other than losses stop where the losses' reserve begins."""
FOR_PARAMETERS = 24 * MIB
FOR_ACTIVATIONS = 16 * MIB
FOR_PREDICTIONS = 4 * MIB
"""Of labels, predictions and images of the evaluations."""
MOST_ROWS = 10_000
"""Most photos of an evaluation whose label and prediction are saved."""
MOST_SHOWN = 512
"""Most photos of an evaluation whose brightness is saved: the rule that reads it needs 500."""
BYTES_A_REDUCTION = 340
"""Of one number in its record and index entry, with a name of usual length."""
LOSSES_PER_EPOCH = 26
"""Most training losses of an epoch of a head, whose step takes a millisecond: saving may take a fiftieth of an epoch. A step of
fine-tuning, which decodes photos and runs the network, takes at least a hundred times as long: each of its losses is saved."""
LOSSES_IN_RUN = 5000
"""Most training losses of a run: each saved step is two files, which are uploaded to S3."""
PARAMETERS_PER_EPOCH = 4
HEAD_PARAMETERS_PER_EPOCH = 2
"""Of more than FEW_EPOCHS; in a shorter job the rules need more saved steps, which cost little there."""
ACTIVATIONS_PER_EPOCH = 2
MOST_PHOTOS = 16
"""Photos whose activations are kept."""
NEVER = 10**9
"""An interval that no training reaches; starting there also skips step 0."""


@dataclass(frozen=True)
class Intervals:
    """Training steps from one saved step to the next; the loss of each evaluation is always saved."""

    losses: int
    parameters: int
    """Of weights and gradients; like `activations` a multiple of `losses`, so that they share the files of the losses."""
    activations: int
    photos: int
    """How many photos' activations are saved at such a step, at most."""
    predictions: int
    """Evaluations from one with saved labels, predictions and images to the next; losses are saved at each."""


def compute_intervals(
    *, head_only: bool, epochs: int, steps_per_epoch: int, reductions: int, channels: int, evaluated: int = 0, classes: int = 2
) -> Intervals:
    """Return the intervals of a training.

    Args:
        head_only: whether only a head is trained, on cached features.
        epochs: of the job.
        steps_per_epoch: training steps.
        reductions: numbers saved of all weights and gradients at one step.
        channels: numbers saved of one photo's activations.
        evaluated: photos of an evaluation.
        classes: of the model.
    """
    steps = epochs * steps_per_epoch
    losses = max(math.ceil(steps / LOSSES_IN_RUN), math.ceil(steps_per_epoch / LOSSES_PER_EPOCH) if head_only else 1)
    saves = max(1, FOR_PARAMETERS // (max(1, reductions) * BYTES_A_REDUCTION))
    per_epoch = HEAD_PARAMETERS_PER_EPOCH if head_only and epochs > FEW_EPOCHS else PARAMETERS_PER_EPOCH
    parameters = max(math.ceil(steps_per_epoch / per_epoch), math.ceil(steps / saves))
    predictions = 2 * (min(evaluated, MOST_ROWS) * class_type(classes).itemsize + BYTES_A_REDUCTION) + 12 * min(evaluated, MOST_SHOWN)
    photos = max(1, min(MOST_PHOTOS, FOR_ACTIVATIONS // max(1, 4 * channels * min(steps, epochs))))
    saves = max(1, FOR_ACTIVATIONS // max(1, 4 * channels * photos))
    activations = max(math.ceil(steps_per_epoch / ACTIVATIONS_PER_EPOCH), math.ceil(steps / saves))
    evaluations = math.ceil(epochs * predictions / FOR_PREDICTIONS)
    return Intervals(losses, _multiple(parameters, losses), _multiple(activations, losses), photos, evaluations)


def class_type(classes: int) -> torch.dtype:
    """Return the smallest type that holds so many classes; smdebug's reader takes no 16-bit integers."""
    return torch.uint8 if classes <= 2**8 else torch.int32


def _multiple(number: int, of: int) -> int:
    return math.ceil(number / of) * of
