"""Heads trained in this process, with the training job's own loop; and searches over them, as the plane runs a tuning job.

Used by the scripts beside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.inputs import SEED
from local.search import CategoricalRange, NumericRange, Range, Search, make_search
from training.contract import BATCH_SIZES, LR_RANGE, TUNED_HYPERPARAMETERS
from training.dataset import Dataset, open_dataset
from training.head import head_training
from training.loop import fit
from training.settings import Hyperparameters

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

    def to_json(self) -> dict[str, Any]:
        """Return what results hold."""
        return asdict(self)


@cache
def opened(folder: Path) -> Dataset:
    """The data set, its files checked once a process."""
    return open_dataset(folder)


@cache
def train_head(folder: Path, lr: float, batch_size: int) -> Trained:
    """One training job on the data set in the folder; the same values are trained once a process, for they give the same head."""
    settings = Hyperparameters(lr=lr, batch_size=batch_size, seed=SEED, debugger="off")
    best = fit(head_training(opened(folder), settings)).best
    if best is None:
        raise RuntimeError(f"{settings} left no epoch behind")
    return Trained(lr, batch_size, best.valid_loss, best.valid_accuracy)


def search_heads(folder: Path, strategy: str, objective: str, jobs: int, seed: int) -> list[Trained]:
    """Ask and tell with PARALLEL jobs under way, which end in the order in which they were started; return all, in that order.

    Args:
        folder: of the prepared data set.
        strategy: SageMaker's name of it.
        objective: `loss` is minimised, `accuracy` maximised.
        jobs: how many to train.
        seed: of the search.
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
        running.append((number, train_head(folder, *values)))
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
