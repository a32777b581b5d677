"""What Whippet's accuracy is worth: beside a converged logistic regression on the same features of the same split, and fine-tuned.

Runs the training job's program on each data set: head mode with the best of a search of 12 training jobs, as an execution does it,
and, where asked for, fine-tuning. Then fits scikit-learn's logistic regression, its strength chosen on the validation photos:

    python -m benchmarks.accuracy [chess flowers5.zip dogs20.zip …] [--seeds 5] [--finetune last_stage all] [--epochs 5] [--lr 0.01]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.figures import mean_and_spread, median, table
from benchmarks.heads import best_of, search_heads
from benchmarks.inputs import photos_of, prepared_dataset, say, title, weights_channel
from benchmarks.results import REPOSITORY, write_result
from benchmarks.training_job import read_metrics, training_environment
from training.contract import PROGRAM
from training.contract.photos import SPLITS
from training.data.dataset import Dataset

STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation strengths to choose from."""
JOBS = 12
METRICS = ("test:accuracy", "test:macro_f1", "test:loss", "best:valid_accuracy", "best:valid_loss")
WHAT = (
    "Each figure of Whippet is from runs of the training job's program on the prepared data set. Head mode: learning rate and batch size "
    "are the best of a Bayesian search of 12 training jobs by validation loss, a search and a training for each seed. The regression is "
    "scikit-learn's on the same features, standardised, converged, its strength chosen by validation accuracy. Points: how far Whippet's "
    "mean lies above it. Seconds: the program from start to exit, median."
)


def main(arguments: Sequence[str]) -> None:
    """Measure each data set, write the result."""
    options = parse(arguments)
    measured = {title(name): measure(name, options) for name in options.data}
    print(write_result("accuracy", {"seeds": options.seeds, "data_sets": measured}, describe(measured, options)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("data", nargs="*", default=["chess"], help="chess, or a zip or folder of class folders")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--finetune", nargs="*", choices=("last_stage", "all"), default=(), help="modes to run beside head")
    parser.add_argument("--finetune-seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5, help="of fine-tuning")
    parser.add_argument("--lr", type=float, default=0.01, help="of fine-tuning")
    parser.add_argument("--batch-size", type=int, default=32, help="of fine-tuning")
    return parser.parse_args(arguments)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All modes on one data set, and the regression."""
    dataset, photos = prepared_dataset(name), photos_of(name)
    tuned = {"lr": options.lr, "batch_size": options.batch_size, "epochs": options.epochs}
    runs = {"head": [train(dataset, photos, {"seed": seed, **tune(dataset.folder, seed)}) for seed in range(options.seeds)]}
    for mode in options.finetune:
        runs[mode] = [train(dataset, photos, {"seed": seed, **tuned, "trainable": mode}) for seed in range(options.finetune_seeds)]
    regression = logistic_regression(dataset)
    say(f"{title(name)}: regression {regression:.3f}")
    return {
        "test_photos": len(dataset.split("test")),
        "logistic_regression_test_accuracy": regression,
        "modes": {
            mode: {"test_accuracy": mean_and_spread([run["test:accuracy"] for run in found]), "runs": found} for mode, found in runs.items()
        },
    }


def tune(folder: Path, seed: int) -> dict[str, Any]:
    """The best values of a search, as a tuning job would find them."""
    best = best_of(search_heads(folder, "Bayesian", "loss", JOBS, seed), "loss")
    return {"lr": best.lr, "batch_size": best.batch_size}


def train(dataset: Dataset, photos: Path, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Run the training job's program; its settings, metrics and wall seconds."""
    arguments = [text for name, value in hyperparameters.items() for text in (f"--{name}", str(value))]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        environment = training_environment(Path(scratch), dataset.folder, weights_channel(), photos)
        command = [sys.executable, str(REPOSITORY / PROGRAM), *arguments, "--debugger", "off", "--evaluate_test", "true"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    metrics = read_metrics(done.stdout)
    measured = {**hyperparameters, **{name: metrics[name] for name in METRICS}, "wall_s": round(time.monotonic() - began, 1)}
    say(str(measured))
    return measured


def logistic_regression(dataset: Dataset) -> float:
    """Test accuracy of the regression that does best on the validation photos."""
    train, valid, test = (dataset.features(split) for split in SPLITS)
    fitted = [fit(strength, train.values.numpy(), train.labels.numpy()) for strength in STRENGTHS]
    best = max(fitted, key=lambda model: float(model.score(valid.values.numpy(), valid.labels.numpy())))
    return float(best.score(test.values.numpy(), test.labels.numpy()))


def fit(strength: float, values: Any, labels: Any) -> Any:
    """A converged regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000)).fit(values, labels)


def describe(measured: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The result as a page."""
    rows = []
    for data, found in measured.items():
        regression = found["logistic_regression_test_accuracy"]
        rows.append([data, "logistic regression", f"{regression:.3f}", "", "", ""])
        for mode, runs in found["modes"].items():
            spread = runs["test_accuracy"]
            points, seconds = 100 * (spread["mean"] - regression), median([run["wall_s"] for run in runs["runs"]])
            rows.append(
                [data, mode, f"{spread['mean']:.3f} ± {spread['std']:.3f}", str(len(runs["runs"])), f"{points:+.2f}", f"{seconds:.1f}"]
            )
    finetuned = f" Fine-tuning: {options.epochs} epochs, lr {options.lr:g}, batch {options.batch_size}." if options.finetune else ""
    return f"{WHAT}{finetuned}\n\n{table(['data set', 'model', 'test accuracy', 'seeds', 'points', 'seconds'], rows)}"


if __name__ == "__main__":
    main(sys.argv[1:])
