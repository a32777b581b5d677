"""How near a search of 12 training jobs comes to an exhaustive grid: local mode's Bayesian search, beside a random one.

Runs on any machine; every head is really trained, on cached features:

    python -m benchmarks.regret [chess flowers5.zip dogs20.zip …] [--seeds 20] [--jobs 12]

For each seed the photos are dealt anew to train, valid and test, a whole grid is trained, and both searches are made. On one split alone
the luck of a few photos decides which point of a grid looks best, the same for every seed. The grid is 9 learning rates, evenly spaced on
the logarithmic scale, x the 6 batch sizes. A search asks and is told as the plane does it with two training jobs at a time. Twice: for the
lowest validation loss, which the product asks for, and for the highest validation accuracy.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import mean_and_spread, median, table
from benchmarks.heads import Trained, best_of, search_heads, train_head
from benchmarks.inputs import prepared_dataset, say, title
from benchmarks.results import write_result
from training.contract.hyperparameters import BATCH_SIZES, LR_RANGE

RATES = 9
STRATEGIES = ("Bayesian", "Random")
OBJECTIVES = ("loss", "accuracy")
GRID = "grid"

Chosen = dict[str, dict[str, Trained]]
"""Objective -> grid or strategy -> the training job that it names."""

WHAT = (
    "Each seed deals the photos anew to train, valid and test. Grid and search each name one training job by its objective on the "
    "validation photos. Test points: how much lower the test accuracy of the search's job is than that of the grid's, in points; negative "
    "where it is higher. Valid points: the same of validation accuracy, of which the grid chooses the luckiest of 54 where that is the "
    "objective. Mean with the standard error over seeds. Loss: how much higher the validation loss of the search's job is. Won, even, "
    "lost: seeds in which the Bayesian search's best objective is better than, equal to or worse than that of the random search of the "
    "same seed; p: one-sided sign-flip test that Bayesian is worse."
)


def main(arguments: Sequence[str]) -> None:
    """Measure each data set, write the result."""
    options = parse(arguments)
    measured = {title(name): measure(prepared_dataset(name).folder, options) for name in options.data}
    print(write_result("regret", {"seeds": options.seeds, "jobs": options.jobs, "data_sets": measured}, describe(measured, options)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regret")
    parser.add_argument("data", nargs="*", default=["chess"], help="chess, or a zip or folder of class folders")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=12)
    return parser.parse_args(arguments)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train every seed's grid and searches; spread over processes of one thread each."""
    chosen: list[Chosen] = []
    with multiprocessing.get_context("spawn").Pool(initializer=torch.set_num_threads, initargs=(1,)) as processes:
        for each in processes.imap(partial(choose, folder, options.jobs), range(options.seeds)):
            chosen.append(each)
            say(f"{folder.name}: seed {len(chosen)} of {options.seeds}")
    return {objective: compare(objective, [each[objective] for each in chosen]) for objective in OBJECTIVES}


def choose(folder: Path, jobs: int, seed: int) -> Chosen:
    """Train the grid of a seed, and search it; the best training job by each objective, of the grid and of each strategy."""
    grid = [train_head(folder, rate, size, seed) for rate in learning_rates() for size in BATCH_SIZES]
    return {
        objective: {
            GRID: best_of(grid, objective),
            **{each: best_of(search_heads(folder, each, objective, jobs, seed, draw=seed), objective) for each in STRATEGIES},
        }
        for objective in OBJECTIVES
    }


def learning_rates() -> list[float]:
    """Evenly spaced on the logarithmic scale, both ends included."""
    least, most = LR_RANGE
    return [least * (most / least) ** (step / (RATES - 1)) for step in range(RATES)]


def compare(objective: str, chosen: Sequence[dict[str, Trained]]) -> dict[str, Any]:
    """Regrets of both strategies, and one against the other seed by seed."""
    worse_by = [
        each["Bayesian"].loss - each["Random"].loss if objective == "loss" else each["Random"].accuracy - each["Bayesian"].accuracy
        for each in chosen
    ]
    return {
        **{strategy: regrets(chosen, strategy) for strategy in STRATEGIES},
        "paired": {
            "won": sum(each < 0 for each in worse_by),
            "even": sum(each == 0 for each in worse_by),
            "lost": sum(each > 0 for each in worse_by),
            "mean_difference": sum(worse_by) / len(worse_by),
            "p_bayesian_is_worse": sign_flip_p(worse_by),
        },
        "chosen": [{name: job.to_json() for name, job in each.items()} for each in chosen],
    }


def regrets(chosen: Sequence[dict[str, Trained]], strategy: str) -> dict[str, Any]:
    """One strategy's regrets over all seeds."""
    kinds = {
        "test_points": [100 * (each[GRID].test_accuracy - each[strategy].test_accuracy) for each in chosen],
        "valid_points": [100 * (each[GRID].accuracy - each[strategy].accuracy) for each in chosen],
        "loss": [each[strategy].loss - each[GRID].loss for each in chosen],
    }
    return {
        kind: {**mean_and_spread(values), "median": median(values), "worst": max(values), "each": values} for kind, values in kinds.items()
    }


def sign_flip_p(differences: Sequence[float], draws: int = 100_000) -> float:
    """How often random signs make the sum of the differences at least as large as it is: small where they are really above 0."""
    values = torch.tensor(differences, dtype=torch.float64)
    signs = torch.randint(0, 2, (draws, len(differences)), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    return float(((signs @ values) >= values.sum() - 1e-12).double().mean())


def describe(measured: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The result as a page."""
    rows = []
    for data, found in measured.items():
        for objective in OBJECTIVES:
            paired = found[objective]["paired"]
            against = f"{paired['won']}, {paired['even']}, {paired['lost']}; {paired['p_bayesian_is_worse']:.3f}"
            for strategy in STRATEGIES:
                part = found[objective][strategy]
                points = [
                    f"{part[kind]['mean']:.2f} ± {part[kind]['std'] / options.seeds**0.5:.2f}" for kind in ("test_points", "valid_points")
                ]
                loss = [f"{part['loss']['mean']:.4f}", f"{part['loss']['worst']:.4f}"]
                rows.append([data, objective, strategy, *points, *loss, against if strategy == "Bayesian" else ""])
    columns = ["data set", "objective", "search", "test points", "valid points", "loss", "loss, worst", "won, even, lost; p"]
    about = f"{options.jobs} training jobs, {options.seeds} seeds, a grid of {RATES * len(BATCH_SIZES)}."
    return f"{about} {WHAT}\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main(sys.argv[1:])
