"""Healthy trainings: a short search for the learning rate, as a tuning job does it, and the final job with what it found.

Used by `python -m benchmarks.faults`. The rules must be silent about all of them. Each seed draws data set, classes, search and order of
the photos anew; one in FINE_TUNED_EVERY trains the network's last stage, on squares of the product's own size: with smaller ones the
network is so fast that it waits for large photos, and the rule that says so is right.
"""

import random

import torch

from benchmarks.faults.fault import Workplace
from benchmarks.faults.part import Part, part_of, shrunk
from benchmarks.faults.recorded import Judged, train_and_judge
from benchmarks.heads import ask, make_search_over_heads
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset
from training.data.features import choose_processor
from training.data.preprocessing import Preprocessing
from training.fit.finetune import build_fine_tuning
from training.fit.head import build_head_training
from training.fit.loop import Training, fit
from training.job.distributed import Processes
from training.job.stopping import Stopping
from training.network.resnet50 import load_backbone

SEARCHED, CLASSES = 4, 12
"""Training jobs of a search, a third of what an execution has by default; and most classes: more only take longer."""
FINE_TUNED_EVERY = 20
SMALL = Preprocessing(resize=110, crop=96)
PHOTOS = {"train": 12, "valid": 8}
"""Of each of three classes, where the network is trained."""


def healthy(place: Workplace, seed: int) -> Judged:
    """Train as the product does, and have the default rules judge, the profiler's too."""
    draw = random.Random(seed)
    number = seed % len(place.datasets)
    whole = place.datasets[number]
    torch.manual_seed(seed)
    if seed % FINE_TUNED_EVERY == FINE_TUNED_EVERY - 1:
        classes = draw.sample(range(len(whole.classes)), 3)
        few = part_of(whole, classes, {split: (count,) * 3 for split, count in PHOTOS.items()})
        return train_and_judge(fine_tuned(place, number, few, seed, Preprocessing()), profiled=True)
    classes = draw.sample(range(len(whole.classes)), draw.randint(3, min(CLASSES, len(whole.classes))))
    dataset = part_of(whole, classes)
    return train_and_judge(build_head_training(dataset, searched(dataset, seed)), profiled=True)


def searched(dataset: Dataset, seed: int) -> Hyperparameters:
    """Return the settings of lowest validation loss that a short search found."""
    search = make_search_over_heads("Bayesian", "loss", seed)
    tried: list[tuple[float, Hyperparameters]] = []
    for _ in range(SEARCHED):
        number, (lr, batch_size) = ask(search)
        settings = Hyperparameters(lr=lr, batch_size=batch_size, seed=seed, debugger="off")
        best = fit(build_head_training(dataset, settings)).best
        if best is None:
            raise RuntimeError(f"{settings} left no epoch behind")
        search.tell(number, best.valid_loss)
        tried.append((best.valid_loss, settings))
    return min(tried, key=lambda each: each[0])[1]


def fine_tuned(place: Workplace, number: int, part: Part, seed: int, preprocessing: Preprocessing = SMALL) -> Training:
    """Return the training of the last stage on a part of a data set."""
    settings = Hyperparameters(lr=0.01, batch_size=16, epochs=5, seed=seed, trainable="last_stage", debugger="off")
    small = shrunk(part, place.photos[number], place.weights, preprocessing)
    backbone, _ = load_backbone(place.weights)
    return build_fine_tuning(small, place.photos[number], backbone, settings, choose_processor(), Processes(), Stopping())
