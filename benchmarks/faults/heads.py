"""Faults of heads on real cached features, trained by the job's own loop. Used by `python -m benchmarks.faults`."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from benchmarks.faults.fault import Fault, Workplace
from benchmarks.faults.part import part_of
from benchmarks.faults.recorded import Judged, folders_in, record, train_and_judge
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset, Features
from training.fit.examples import CachedFeatures, Examples
from training.fit.head import build_head_training
from training.fit.loop import Training

CHESS, FLOWERS, DOGS = range(3)
NOT_DEFAULT_CONFUSION = {"Confusion": {"min_diag": "0.7", "max_off_diag": "0.3"}}
"""Of 15 photos a class a healthy head takes two for another class."""
HOUR = 3600.0


def head(dataset: Dataset, **settings: Any) -> Training:
    """Return a sound training; faults are planted in it."""
    return build_head_training(dataset, Hyperparameters(**{"lr": 0.01, "batch_size": 32, "debugger": "off", **settings}))


def of_chess(spoil: Callable[[Training], Training] = lambda training: training, **settings: Any) -> Callable[[Workplace], Judged]:
    """Return what trains on chess after `spoil`, and has the default rules judge."""
    return lambda place: train_and_judge(spoil(head(place.datasets[CHESS], **settings)))


@dataclass(frozen=True)
class Spoilt:
    """Examples whose inputs are changed on their way: `change(inputs, epoch)`."""

    inner: Examples
    change: Callable[[torch.Tensor, int], torch.Tensor]

    @property
    def labels(self) -> torch.Tensor:
        """As they are."""
        return self.inner.labels

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Yield the changed inputs."""
        return (self.change(inputs, epoch) for inputs in self.inner.batches(indices, epoch))

    def channel_means(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """As they are."""
        return self.inner.channel_means(inputs)


def features_of(examples: Examples) -> Features:
    """Return all inputs of cached features."""
    return Features(next(iter(examples.batches([torch.arange(len(examples.labels))], epoch=0))), examples.labels)


def relabelled(examples: Examples, labels: torch.Tensor) -> CachedFeatures:
    """Return the same inputs with other labels."""
    return CachedFeatures(Features(features_of(examples).values, labels))


def shuffled_labels(training: Training) -> Training:
    """Labels that belong to other photos."""
    order = torch.randperm(len(training.train.labels), generator=torch.Generator().manual_seed(0))
    return replace(training, train=relabelled(training.train, training.train.labels[order]))


def other_class_order(training: Training) -> Training:
    """Validation labels count the classes in another order."""
    classes = len(training.class_weights)
    return replace(training, valid=relabelled(training.valid, (training.valid.labels + 1) % classes))


def frozen_weight(training: Training) -> Training:
    """The layer's weight is frozen, its bias alone learns."""
    training.network.get_parameter("fc.weight").requires_grad_(False)
    return training


def optimizer_of_another(training: Training) -> Training:
    """The network was made anew after the optimizer."""
    return replace(training, optimizer=AdamW([nn.Parameter(torch.zeros(1))], lr=0.01))


def ascending(training: Training) -> Training:
    """A sign is wrong: the loss is maximised."""
    for group in training.optimizer.param_groups:
        group["maximize"] = True
    return training


def black(inputs: torch.Tensor, _epoch: int) -> torch.Tensor:
    """Every photo gives the same features."""
    return inputs * 0


def broken_photo(value: float, inputs: torch.Tensor, epoch: int) -> torch.Tensor:
    """From the third epoch on, one photo of a batch is no number."""
    inputs = inputs.clone()
    inputs[:1] = value if epoch > 2 else inputs[:1]
    return inputs


def with_train(change: Callable[[torch.Tensor, int], torch.Tensor]) -> Callable[[Training], Training]:
    """Return what changes the training inputs."""
    return lambda training: replace(training, train=Spoilt(training.train, change))


def with_both(change: Callable[[torch.Tensor, int], torch.Tensor]) -> Callable[[Training], Training]:
    """Return what changes the inputs of both splits."""
    return lambda training: replace(training, train=Spoilt(training.train, change), valid=Spoilt(training.valid, change))


def other_features_in_validation(training: Training) -> Training:
    """Validation photos come from another backbone: the same numbers in another order."""
    order = torch.randperm(2048, generator=torch.Generator().manual_seed(0))
    return replace(training, valid=Spoilt(training.valid, lambda inputs, _epoch: inputs[:, order]))


class Detached(nn.Module):
    """A head whose answers are cut off from its weights."""

    def __init__(self, head: nn.Module) -> None:
        """`head`: a sound one."""
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return its logits, without what led to them."""
        logits: torch.Tensor = self.head(features)
        return logits.detach() + 0 * logits


def detached(training: Training) -> Training:
    """Logits are detached before the loss."""
    return replace(training, network=Detached(training.network))


class Growing(AdamW):
    """Multiplies the weights at some of its steps."""

    factor, after, every = 10.0, 30, 1
    taken = 0

    def step(self, closure: Any = None) -> Any:
        """Step, and multiply."""
        result = super().step(closure)
        self.taken += 1
        if self.taken > self.after and self.taken % self.every == 0:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.mul_(self.factor)
        return result


class Jumping(Growing):
    """Multiplies them by 30 every hundredth step."""

    factor, after, every = 30.0, 0, 100


def optimized_by(kind: type[AdamW]) -> Callable[[Training], Training]:
    """Return what gives the training another optimizer."""
    return lambda training: replace(training, optimizer=kind(training.network.parameters(), lr=0.01))


def twenty_photos(place: Workplace) -> Judged:
    """Four photos of each of five classes, at the upper end of the learning rates that are searched."""
    return train_and_judge(head(part_of(place.datasets[FLOWERS], range(5), {"train": (4,) * 5}), lr=0.1, batch_size=8))


def one_class_dominates(place: Workplace) -> Judged:
    """One class has many times the photos of the others."""
    few = {"train": (200, 5, 5), "valid": (60, 1, 1)}
    dataset = place.datasets[CHESS]
    counts = torch.bincount(dataset.labels("train"))
    order = counts.argsort(descending=True)[:3].tolist()
    return train_and_judge(head(part_of(dataset, order, few), lr=0.001, class_weights="none"))


def one_against_all(place: Workplace) -> Judged:
    """One breed against nineteen that are one class: few photos of it, and it is never answered."""
    dataset = place.datasets[DOGS]
    part = part_of(dataset, range(len(dataset.classes)))
    held = {split: Features(each.values, (each.labels > 0).long()) for split, each in part.held.items()}
    merged = replace(part, held=held, description=replace(part.description, classes=("first", "other")))
    return train_and_judge(head(merged, lr=0.001, batch_size=512, epochs=5, class_weights="none"))


def stalled(place: Workplace) -> Judged:
    """An hour passes between two steps: told by the files' times, which are set back."""

    def earlier(tensors: Path) -> None:
        files = sorted(file for file in tensors.joinpath("events").rglob("*") if file.is_file())
        for file in files[: len(files) // 2]:
            at = file.stat().st_mtime - HOUR
            os.utime(file, (at, at))

    return train_and_judge(head(place.datasets[CHESS]), spoil=earlier)


def confused(place: Workplace, *, planted: bool = True) -> Judged:
    """Half the photos of two breeds have the other's label."""
    training = head(place.datasets[DOGS], epochs=5)
    labels = training.train.labels.clone()
    for one, other in ((0, 1), (1, 0)) if planted else ():
        labels[(training.train.labels == one).nonzero()[::2]] = other
    return train_and_judge(replace(training, train=relabelled(training.train, labels)), ["Confusion"], NOT_DEFAULT_CONFUSION)


def same_again(place: Workplace, *, planted: bool = True) -> Judged:
    """A job that should try another seed runs with the same."""
    with tempfile.TemporaryDirectory() as scratch:
        first = record(head(place.datasets[CHESS], epochs=3), folders_in(Path(scratch)))
        again = head(place.datasets[CHESS], epochs=3, seed=42 if planted else 43)
        other = {"SimilarAcrossRuns": {"other_trials": str(first), "collection_names": "losses"}}
        return train_and_judge(again, ["SimilarAcrossRuns"], other)


def unscaled(place: Workplace, *, planted: bool = True) -> Judged:
    """Features are a thousand times too large: so is the spread of the gradients."""
    training = head(place.datasets[CHESS], epochs=3)
    spoilt = with_both(lambda inputs, _epoch: inputs * 1000)(training) if planted else training
    limits = {"TensorVariance": {"collection_names": "gradients", "max_threshold": "10"}}
    return train_and_judge(spoilt, ["TensorVariance"], limits)


HEADS = (
    Fault("learning rate 10", ("TensorVariance",), of_chess(lr=10.0)),
    Fault("learning rate 0", ("UnchangedTensor", "LossNotDecreasing"), of_chess(lr=0.0)),
    Fault("learning rate 1e-9", ("LossNotDecreasing",), of_chess(lr=1e-9)),
    Fault("training labels shuffled", ("ClassImbalance",), of_chess(shuffled_labels)),
    Fault("validation labels count the classes in another order", ("ClassImbalance",), of_chess(other_class_order)),
    Fault("the layer's weight is frozen by mistake", ("LossNotDecreasing",), of_chess(frozen_weight)),
    Fault("the optimizer holds another network's parameters", ("UnchangedTensor", "LossNotDecreasing"), of_chess(optimizer_of_another)),
    Fault("the loss is maximised", ("LossNotDecreasing",), of_chess(ascending)),
    Fault("NaN in one photo from the third epoch on", ("ExplodingTensor",), of_chess(with_train(partial(broken_photo, math.nan)))),
    Fault("infinity in one photo from the third epoch on", ("ExplodingTensor",), of_chess(with_train(partial(broken_photo, math.inf)))),
    Fault("logits detached: zero gradients", ("AllZero", "UnchangedTensor"), of_chess(detached)),
    Fault("weights grow tenfold with each step", ("ExplodingTensor", "WeightUpdateRatio"), of_chess(optimized_by(Growing))),
    Fault("weights are thirtyfold at every hundredth step", ("WeightUpdateRatio",), of_chess(optimized_by(Jumping))),
    Fault("photos are black: one class is answered, the others never", ("ClassImbalance",), of_chess(with_both(black))),
    Fault("validation photos through another backbone", ("ClassImbalance",), of_chess(other_features_in_validation)),
    Fault("twenty training photos learnt by heart", ("Overfit",), twenty_photos),
    Fault("120 epochs where 10 do", ("Overtraining",), of_chess(lr=0.03, batch_size=128, epochs=120)),
    Fault("one class has many times the photos of the others", ("ClassImbalance",), one_class_dominates),
    Fault("one breed against nineteen others, hardly trained", ("ClassImbalance",), one_against_all),
    Fault("an hour without a step", ("StalledTraining",), stalled),
    Fault("labels of two breeds mixed up", ("Confusion",), confused, partial(confused, planted=False)),
    Fault("the same job again instead of another seed", ("SimilarAcrossRuns",), same_again, partial(same_again, planted=False)),
    Fault("features a thousand times too large", ("TensorVariance",), unscaled, partial(unscaled, planted=False)),
)
