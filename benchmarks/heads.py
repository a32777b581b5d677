"""Heads trained in this process, with the training job's own loop; and searches over them, as the plane runs a tuning job.

Used by the scripts beside it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.inputs import SEED
from local.tuning.search import CategoricalRange, NumericRange, Range, Search, make_search
from training.contract.hyperparameters import BATCH_SIZES, LR_RANGE, TUNED_HYPERPARAMETERS, Hyperparameters
from training.data.dataset import Dataset, open_dataset
from training.fit.examples import CachedFeatures
from training.fit.head import build_head_training
from training.fit.loop import evaluate, fit

PARALLEL = 2
"""Training jobs under way at the same time."""


@dataclass(frozen=True)
class Trained:
    """What a training job reports of its best epoch."""

    lr: float
    batch_size: int
    loss: float
    """Lowest validation loss."""
    accuracy: float
    """Validation accuracy in that epoch."""
    test_accuracy: float
    """Of that epoch's head on the test photos, which no search sees."""

    def to_json(self) -> dict[str, Any]:
        """Return what results hold."""
        return asdict(self)


@cache
def opened(folder: Path) -> Dataset:
    """The data set, its files checked once a process."""
    return open_dataset(folder)


@lru_cache(maxsize=2)
def drawn(folder: Path, draw: int | None) -> Dataset:
    """The data set with its photos dealt anew to the splits, as many of each class to each as before; None leaves them as they are."""
    dataset = opened(folder)
    if draw is None:
        return dataset
    of_class: dict[int, list[int]] = defaultdict(list)
    for index, photo in enumerate(dataset.photos):
        of_class[photo.label].append(index)
    photos, generator = list(dataset.photos), torch.Generator().manual_seed(draw)
    for indices in of_class.values():
        order = torch.randperm(len(indices), generator=generator).tolist()
        for index, other in zip(indices, order, strict=True):
            photos[index] = replace(dataset.photos[index], split=dataset.photos[indices[other]].split)
    return replace(dataset, photos=tuple(photos))


@cache
def train_head(folder: Path, lr: float, batch_size: int, draw: int | None = None) -> Trained:
    """One training job on the data set in the folder; the same values are trained once a process, for they give the same head."""
    settings = Hyperparameters(lr=lr, batch_size=batch_size, seed=SEED if draw is None else draw, debugger="off")
    training = build_head_training(drawn(folder, draw), settings)
    best = fit(training).best
    if best is None:
        raise RuntimeError(f"{settings} left no epoch behind")
    _, test_accuracy = evaluate(training, CachedFeatures(drawn(folder, draw).features("test")))
    return Trained(lr, batch_size, best.valid_loss, best.valid_accuracy, test_accuracy)


def search_heads(folder: Path, strategy: str, objective: str, jobs: int, seed: int, draw: int | None = None) -> list[Trained]:
    """Ask and tell with PARALLEL jobs under way, which end in the order in which they were started; return all, in that order.

    Args:
        folder: of the prepared data set.
        strategy: SageMaker's name of it.
        objective: `loss` is minimised, `accuracy` maximised.
        jobs: how many to train.
        seed: of the search.
        draw: of the splits, see `drawn`.
    """
    search = make_search_over_heads(strategy, objective, seed)
    running: list[tuple[int, Trained]] = []
    done: list[Trained] = []
    for _ in range(jobs):
        if len(running) == PARALLEL:
            number, trained = running.pop(0)
            search.tell(number, getattr(trained, objective))
            done.append(trained)
        number, values = ask(search)
        running.append((number, train_head(folder, *values, draw)))
    return [*done, *(trained for _, trained in running)]


def make_search_over_heads(strategy: str, objective: str, seed: int) -> Search:
    """The search over the ranges that an execution has by default."""
    lr, batch_size = TUNED_HYPERPARAMETERS
    ranges: list[Range] = [
        NumericRange(lr, *LR_RANGE, scaling="Logarithmic", whole=False),
        CategoricalRange(batch_size, tuple(map(str, BATCH_SIZES))),
    ]
    return make_search(strategy, ranges, minimize=objective == "loss", seed=seed)


def ask(search: Search) -> tuple[int, tuple[float, int]]:
    """The next suggestion: its number, learning rate and batch size.

    Raises:
        RuntimeError: the search has none left, which these never say.
    """
    asked = search.ask()
    if asked is None:
        raise RuntimeError("the search has come to its end")
    lr, batch_size = (asked[1][name] for name in TUNED_HYPERPARAMETERS)
    return asked[0], (float(lr), int(batch_size))


def best_of(trained: Sequence[Trained], objective: str) -> Trained:
    """The job that the tuning job would name as its best."""
    return min(trained, key=lambda each: each.loss) if objective == "loss" else max(trained, key=lambda each: each.accuracy)
