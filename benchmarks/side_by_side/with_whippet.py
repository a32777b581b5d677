"""Whippet's head mode with its default settings: PrepareDataset's program, then the training job's, in one process.

Runs in this repository's virtual environment, started by this folder's `__main__.py`. Nothing is kept from one run to the next.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.results import REPOSITORY
from benchmarks.side_by_side import RESULT
from benchmarks.side_by_side.shared_parts import Task, read_task
from benchmarks.training_job import read_metrics, training_environment


def main(task: Task) -> None:
    """Prepare, learn, report what the job measured on the test photos."""
    prepared = task.scratch / "dataset"
    folders = {"photos": task.photos, "weights": task.weights, "dataset": prepared, "report": task.scratch / "prepare"}
    options = [part for name, folder in folders.items() for part in (f"--{name}", str(folder))]
    start("training/prepare.py", *options, "--message", str(task.scratch / "message"), "--seed", str(task.seed))
    printed = start("training/train.py", "--seed", str(task.seed), "--evaluate_test", "true", scratch=task.scratch, weights=task.weights)
    metrics = read_metrics(printed)
    test = sum(json.loads(line)["split"] == "test" for line in (prepared / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    print(RESULT + json.dumps({"test_accuracy": metrics["test:accuracy"], "test_macro_f1": metrics["test:macro_f1"], "test_photos": test}))


def start(program: str, *arguments: str, scratch: Path | None = None, weights: Path | None = None) -> str:
    """Run one of the programs as its container does; return what it printed."""
    environment = training_environment(scratch, scratch / "dataset", weights) if scratch and weights else None
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / program), *arguments], env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    return done.stdout


if __name__ == "__main__":
    main(read_task())
