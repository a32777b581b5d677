"""Fine-tuning small enough for a test: the prepared photos, but 32 pixels a side. Also the program of one of several processes.

torchrun --nproc_per_node 2 tests/training/small.py <data set> <photos> <weights> <output>
"""

import contextlib
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from training.data.dataset import Dataset, open_dataset
from training.data.features import Processor
from training.data.preprocessing import Preprocessing
from training.fit.checkpoint import Checkpoints, spread
from training.fit.finetune import fine_tuning
from training.fit.loop import Progress, Training, fit
from training.job.distributed import Processes, end_program, join_processes, leave_processes
from training.job.safetensors_file import write_tensors
from training.job.stopping import Stopping
from training.network.resnet50 import load_backbone
from training.settings import Hyperparameters

SMALL = Preprocessing(resize=36, crop=32)
SETTINGS = Hyperparameters(lr=1e-4, batch_size=17, epochs=2, trainable="last_stage", debugger="off")
"""18 training photos: the last batch is one photo, so the second of two processes has none of it."""


def small_dataset(folder: Path) -> Dataset:
    dataset = open_dataset(folder)
    return replace(dataset, description=replace(dataset.description, preprocessing=SMALL.to_json()))


def small_training(dataset: Path, photos: Path, weights: Path, processes: Processes | None = None, **settings: Any) -> Training:
    return fine_tuning(
        small_dataset(dataset),
        photos,
        load_backbone(weights)[0],
        replace(SETTINGS, **settings),
        Processor(torch.device("cpu"), bfloat16=False),
        processes or Processes(),
        Stopping(),
    )


def losses(progress: Progress) -> list[dict[str, float]]:
    return [{name: value for name, value in asdict(epoch).items() if name != "seconds"} for epoch in progress.history]


class KilledError(Exception):
    """The processes are gone."""


def interrupted(training: Training, again: Training, checkpoints: Checkpoints) -> Progress:
    """Train one epoch, and from its checkpoint on with what knows nothing of it."""

    def after_epoch(progress: Progress) -> None:
        if training.processes.rank == 0:
            checkpoints.save(training, progress)
        raise KilledError

    with contextlib.suppress(KilledError):
        fit(training, spread(training, None), after_epoch)
    return fit(again, spread(again, checkpoints.load(again) if again.processes.rank == 0 else None))


def main(dataset: Path, photos: Path, weights: Path, output: Path) -> None:
    processes = join_processes()
    training = small_training(dataset, photos, weights, processes)
    if processes.rank > 0:  # what process 0 begins with counts
        training.restore({name: value + 1 for name, value in training.state().items()})
    progress = fit(training, spread(training, None))
    (output / f"{processes.rank}.json").write_text(json.dumps(losses(progress)), encoding="utf-8")
    write_tensors(output / f"{processes.rank}.safetensors", training.state())
    again = small_training(dataset, photos, weights, processes)
    progress = interrupted(small_training(dataset, photos, weights, processes), again, Checkpoints(output / "checkpoints", {}))
    (output / f"{processes.rank}-resumed.json").write_text(json.dumps(losses(progress)), encoding="utf-8")
    write_tensors(output / f"{processes.rank}-resumed.safetensors", again.state())
    if processes.rank == 0:  # as it judges and saves
        time.sleep(1)
        (output / "finished").touch()
    leave_processes(processes)
    if not (output / "finished").exists():
        sys.exit("it left before process 0 had finished")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
    end_program(0)
