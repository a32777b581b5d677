"""Faults of small networks on real features, and of fine-tuning on real photos, trained by the job's own loop.

Used by `python -m benchmarks.faults`. What no job of ours has, a layer of tanh, is recorded by smdebug's own hook, as a script of one's own
would.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import smdebug.pytorch as smdebug
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW

from benchmarks.faults.fault import Fault, Workplace
from benchmarks.faults.heads import CHESS, features_of
from benchmarks.faults.healthy import SMALL, fine_tuned
from benchmarks.faults.part import Part, part_of
from benchmarks.faults.recorded import Judged, train_and_judge
from training.contract.hyperparameters import Hyperparameters
from training.contract.rules import configurations, default_rules
from training.data.dataset import Dataset, Features
from training.data.preprocessing import Preprocessing
from training.fit.examples import CachedFeatures
from training.fit.head import build_head_training
from training.fit.loop import Training
from training.job.micro_batches import Parts
from training.rule_evaluation.judge import judge

WIDTH = 64
NO_PHOTOS = ("ClassImbalance", "CheckInputImages")
"""Rules of fine-tuning that have nothing to do with faults of layers."""
NOT_IMAGES = tuple(name for name in default_rules("last_stage") if name not in NO_PHOTOS)
PHOTOS = {"train": 5, "valid": 5}
"""Of each class, where the network is trained."""


class Layer(nn.Module):
    """A dense layer and its activation, named `relu`, `tanh` or `sigmoid`."""

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        """`activation`: one of the three."""
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.add_module(activation, {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[activation]())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what is active."""
        for module in self.children():
            inputs = module(inputs)
        return inputs


class Layers(nn.Sequential):
    """float32 [n, 2048] -> float32 [n, classes]."""

    def __init__(self, classes: int, hidden: int, activation: str = "relu") -> None:
        """`hidden`: how many layers."""
        widths = [2048, *[WIDTH] * hidden]
        super().__init__(*(Layer(*pair, activation) for pair in pairwise(widths)), nn.Linear(WIDTH, classes))


def layers_training(dataset: Dataset, network: nn.Module, lr: float = 0.001) -> Training:
    """Return the training of a network of several layers, as if it were the backbone that is trained."""
    sound = build_head_training(dataset, Hyperparameters(batch_size=32, epochs=10, trainable="last_stage", debugger="off"))
    centre, size = sound.network.get_buffer("centre"), sound.network.get_buffer("size")

    def scaled(features: Features) -> CachedFeatures:
        return CachedFeatures(Features((features.values - centre) / size, features.labels))

    return replace(
        sound,
        network=network,
        optimizer=AdamW(network.parameters(), lr=lr),
        train=scaled(features_of(sound.train)),
        valid=scaled(features_of(sound.valid)),
        parts=Parts(4096),
    )


def in_layers(
    spoil: Callable[[Training], Training], hidden: int = 3, activation: str = "relu", seed: int = 0
) -> Callable[[Workplace], Judged]:
    """Return what trains a small network after `spoil`."""

    def run(place: Workplace) -> Judged:
        torch.manual_seed(seed)
        dataset = place.datasets[CHESS]
        training = layers_training(dataset, Layers(len(dataset.classes), hidden, activation))
        return train_and_judge(spoil(training), NOT_IMAGES)

    return run


@torch.no_grad()
def dead_layer(training: Training) -> Training:
    """The second layer's ReLUs are all below zero."""
    training.network.get_parameter("1.fc.bias").fill_(-1000)
    return training


@torch.no_grad()
def alike(training: Training) -> Training:
    """All weights are the same: so are all units of a layer."""
    for parameter in training.network.parameters():
        parameter.fill_(0.0)
    return training


@torch.no_grad()
def oversized_layer(training: Training) -> Training:
    """The second layer's weights are a thousand times too large."""
    training.network.get_parameter("1.fc.weight").mul_(1000)
    return training


def left_out(training: Training) -> Training:
    """The first layer is not given to the optimizer."""
    trained = [parameter for name, parameter in training.network.named_parameters() if not name.startswith("0.")]
    return replace(training, optimizer=AdamW(trained, lr=0.001))


def by_sgd(lr: float) -> Callable[[Training], Training]:
    """Return what has plain gradient descent take steps of this length."""
    return lambda training: replace(training, optimizer=SGD(training.network.parameters(), lr=lr))


def as_it_is(training: Training) -> Training:
    """Nothing is planted but the network itself."""
    return training


def saturated(place: Workplace, *, planted: bool = True) -> Judged:
    """Features a thousand times too large before a tanh; a script with smdebug's own hook records it."""
    torch.manual_seed(0)
    dataset = place.datasets[CHESS]
    training = layers_training(dataset, network := Layers(len(dataset.classes), 2, "tanh"))
    features = features_of(training.train)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "tensors")
        hook = smdebug.Hook(str(folder), include_collections=["tanh"], save_config=smdebug.SaveConfig(save_interval=1))
        hook.get_collection("tanh").include(".*tanh_input")
        hook.register_module(network)
        for rows in torch.split(torch.arange(len(features.labels)), 64):
            training.optimizer.zero_grad()
            inputs = features.values[rows] * (1000 if planted else 1)
            torch.autograd.backward(cross_entropy(network(inputs), features.labels[rows]))
            training.optimizer.step()
        hook.close()
        return Judged(tuple(judge(str(folder), configurations("head", 1, ["SaturatedActivation"]))))


def photos_of_chess(place: Workplace) -> Part:
    """Return a few photos of each class."""
    dataset = place.datasets[CHESS]
    return part_of(dataset, range(len(dataset.classes)), {split: (count,) * len(dataset.classes) for split, count in PHOTOS.items()})


def fine_tuning_with(spoil: Callable[[Training], Training], preprocessing: Preprocessing = SMALL) -> Callable[[Workplace], Judged]:
    """Return what fine-tunes on photos after `spoil`."""
    return lambda place: train_and_judge(spoil(fine_tuned(place, CHESS, photos_of_chess(place), 0, preprocessing)))


def without_backbone(training: Training) -> Training:
    """The optimizer holds the head's parameters alone."""
    trained = [parameter for name, parameter in training.network.named_parameters() if name.startswith("head.")]
    return replace(training, optimizer=SGD(trained, lr=0.01, momentum=0.9))


@torch.no_grad()
def silent_stage(training: Training) -> Training:
    """The last block's first BatchNorm lets nothing through."""
    training.network.get_parameter("backbone.layer4.2.bn1.bias").fill_(-1000)
    return training


RAW = replace(SMALL, mean=(0.0,) * 3, std=(1 / 255,) * 3)
NETWORKS = (
    Fault("a layer of ReLUs is dead", ("DeadRelu", "AllZero", "VanishingGradient"), in_layers(dead_layer)),
    Fault("all first weights are zero", ("AllZero", "UnchangedTensor"), in_layers(alike)),
    Fault("one layer's first weights a thousand times too large", ("PoorWeightInitialization",), in_layers(oversized_layer)),
    Fault("one of four layers is left out of the optimizer", ("UnchangedTensor",), in_layers(left_out)),
    Fault("gradients vanish in 24 layers of sigmoids", ("VanishingGradient", "LossNotDecreasing"), in_layers(as_it_is, 24, "sigmoid")),
    Fault("plain gradient descent with steps of 10^6", ("ExplodingTensor",), in_layers(by_sgd(1e6))),
    Fault("tanh saturated by unscaled features", ("SaturatedActivation",), saturated, partial(saturated, planted=False)),
    Fault("photos not normalised: pixels from 0 to 255", ("CheckInputImages",), fine_tuning_with(as_it_is, RAW)),
    Fault("fine-tuning with the backbone left out of the optimizer", ("UnchangedTensor",), fine_tuning_with(without_backbone)),
    Fault("fine-tuning with a block's ReLUs dead", ("DeadRelu",), fine_tuning_with(silent_stage)),
)
