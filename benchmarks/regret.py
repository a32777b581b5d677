"""How near a search of 12 training jobs comes to the best of an exhaustive grid: local mode's Bayesian search, beside a random one.

Runs on any machine; every head is really trained, on cached features:

    python -m benchmarks.regret [chess flowers5.zip dogs20.zip …] [--seeds 20] [--jobs 12]

The grid is 9 learning rates, evenly spaced on the logarithmic scale, x the 6 batch sizes. A search asks and is told as the plane does it
with two training jobs at a time. Twice: for the lowest validation loss, which the product asks for, and for the highest accuracy.
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
from training.contract import BATCH_SIZES, LR_RANGE

RATES = 9
STRATEGIES = ("Bayesian", "Random")
OBJECTIVES = ("loss", "accuracy")
MAX_REGRET_POINTS = 0.5
WHAT = (
    "Regret, in points: how much lower the validation accuracy of the search's best training job is than that of the grid's best; negative "
    "where the search, whose learning rates lie between the grid's, is better. For the objective loss both bests are those of the lowest "
    "loss, and the regret of the loss itself stands beside. Won, even, lost: seeds in which the Bayesian search's best objective is better "
    "than, equal to or worse than that of the random search of the same seed; p: one-sided sign-flip test that Bayesian is worse."
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
    """Train the grid, then every search; spread over processes of one thread each."""
    points = [(rate, size) for rate in learning_rates() for size in BATCH_SIZES]
    with multiprocessing.get_context("spawn").Pool(initializer=torch.set_num_threads, initargs=(1,)) as processes:
        grid = processes.map(partial(train_point, folder), points, chunksize=1)
        say(f"{folder.name}: the grid is trained")
        searched = processes.map(partial(search_all, folder, options.jobs), range(options.seeds), chunksize=1)
    return {
        "grid": [each.to_json() for each in grid],
        **{objective: compare(objective, grid, [found[objective] for found in searched]) for objective in OBJECTIVES},
    }


def learning_rates() -> list[float]:
    """Evenly spaced on the logarithmic scale, both ends included."""
    least, most = LR_RANGE
    return [least * (most / least) ** (step / (RATES - 1)) for step in range(RATES)]


def train_point(folder: Path, point: tuple[float, int]) -> Trained:
    """One training job of the grid."""
    return train_head(folder, *point)


def search_all(folder: Path, jobs: int, seed: int) -> dict[str, dict[str, Trained]]:
    """The best training job by each objective and strategy."""
    return {
        objective: {strategy: best_of(search_heads(folder, strategy, objective, jobs, seed), objective) for strategy in STRATEGIES}
        for objective in OBJECTIVES
    }


def compare(objective: str, grid: Sequence[Trained], searched: Sequence[dict[str, Trained]]) -> dict[str, Any]:
    """Regrets of both strategies, and one against the other seed by seed."""
    best = best_of(grid, objective)
    points = {each: [100 * (best.accuracy - found[each].accuracy) for found in searched] for each in STRATEGIES}
    losses = {each: [found[each].loss - best.loss for found in searched] for each in STRATEGIES}
    worse_by = [
        found["Bayesian"].loss - found["Random"].loss if objective == "loss" else found["Random"].accuracy - found["Bayesian"].accuracy
        for found in searched
    ]
    return {
        "grid_best": best.to_json(),
        **{each: regrets(points[each], losses[each]) for each in STRATEGIES},
        "paired": {
            "won": sum(each < 0 for each in worse_by),
            "even": sum(each == 0 for each in worse_by),
            "lost": sum(each > 0 for each in worse_by),
            "mean_difference": sum(worse_by) / len(worse_by),
            "p_bayesian_is_worse": sign_flip_p(worse_by),
        },
    }


def regrets(points: Sequence[float], losses: Sequence[float]) -> dict[str, Any]:
    """One strategy's regrets over all seeds."""
    return {
        "regret_points": {**mean_and_spread(points), "median": median(points), "worst": max(points), "each": list(points)},
        "regret_loss": {**mean_and_spread(losses), "median": median(losses), "worst": max(losses), "each": list(losses)},
        "seeds_within_half_a_point": sum(each <= MAX_REGRET_POINTS + 1e-9 for each in points),
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
            part = found[objective]
            paired = part["paired"]
            for strategy in STRATEGIES:
                points, loss = part[strategy]["regret_points"], part[strategy]["regret_loss"]
                rows.append(
                    [
                        data,
                        objective,
                        strategy,
                        f"{points['median']:.2f}",
                        f"{points['mean']:.2f} ± {points['std']:.2f}",
                        f"{points['worst']:.2f}",
                        f"{part[strategy]['seeds_within_half_a_point']} of {options.seeds}",
                        f"{loss['mean']:.4f}",
                        f"{paired['won']}, {paired['even']}, {paired['lost']}; {paired['p_bayesian_is_worse']:.3f}"
                        if strategy == "Bayesian"
                        else "",
                    ]
                )
    columns = [
        "data set",
        "objective",
        "search",
        "median",
        "mean",
        "worst",
        f"within {MAX_REGRET_POINTS}",
        "loss, mean",
        "won, even, lost; p",
    ]
    return f"{options.jobs} training jobs, {options.seeds} seeds, a grid of {RATES * len(BATCH_SIZES)}. {WHAT}\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main(sys.argv[1:])
