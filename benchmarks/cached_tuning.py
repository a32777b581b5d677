"""What cached features save: 20 training jobs on them, beside the same 20 with the photos forwarded in every epoch.

Runs on any machine; nothing else should run meanwhile. The slow side goes through the network 400 times, so the data set is cut down:

    python -m benchmarks.cached_tuning [chess | flowers5.zip …] [--photos-a-class 10] [--jobs 20]

Both sides are the training job's own loop, on the same values that a random search drew; only where the inputs come from differs. The
cached side's time includes reading every photo and making the features. The start of a process, the same on both sides, is measured once
beside it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import table
from benchmarks.heads import ask, make_search_over_heads
from benchmarks.inputs import SEED, copy_used, photos_of, prepare_into, prepared_dataset, say, title, weights_channel
from benchmarks.results import REPOSITORY, write_result
from benchmarks.training_job import training_environment
from training.contract import PROGRAM
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset, open_dataset
from training.data.features import BATCH, choose_processor, forward
from training.fit.examples import DecodedPhotos
from training.fit.head import build_head_training
from training.fit.loop import Epoch, Training, fit
from training.network.resnet50 import fold_batch_norm, load_backbone

SPLITS = ("train", "valid")
WHAT = (
    "Wall seconds of the trainings alone, all jobs one after the other, in one process; the cached side with the reading of all photos and "
    "the making of their features (the network's loading included). The forwarding side decodes ahead in threads and uses the same "
    "network, precision and loop. Largest difference: over all jobs and epochs, training and validation."
)


class ForwardedPhotos(DecodedPhotos):
    """Photos read and put through the frozen backbone each time they are asked for: float32 [n, FEATURES]."""

    def __init__(self, dataset: Dataset, split: str, photos: Path, backbone: torch.nn.Module) -> None:
        """`photos`: the photos channel; `backbone`: frozen, in eval mode."""
        super().__init__(photos, dataset.split(split), dataset.preprocessing)
        self.forward = partial(forward, backbone, preprocessing=dataset.preprocessing, processor=choose_processor())

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Yield float32 [batch, FEATURES]."""
        for squares in super().batches(indices, epoch):
            yield torch.cat([self.forward(part) for part in squares.split(BATCH)])  # type: ignore[no-untyped-call]


def main(arguments: Sequence[str]) -> None:
    """Measure, write the result."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        photos = copy_used(prepared_dataset(options.data), photos_of(options.data), Path(scratch) / "photos", options.photos_a_class)
        measured = measure(photos, Path(scratch) / "prepared", options.jobs)
    about = {"data": title(options.data), "photos_a_class_and_split": options.photos_a_class, "jobs": options.jobs}
    print(write_result("cached_tuning", {**about, **measured}, describe({**about, **measured})))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cached_tuning")
    parser.add_argument("data", nargs="?", default="chess", help="chess, or a zip or folder of class folders")
    parser.add_argument("--photos-a-class", type=int, default=10, help="at most so many of each class in each split")
    parser.add_argument("--jobs", type=int, default=20)
    return parser.parse_args(arguments)


def measure(photos: Path, prepared: Path, jobs: int) -> dict[str, Any]:
    """Both sides, and how far their metrics lie apart."""
    weights = weights_channel()
    began = time.perf_counter()
    prepare_into(prepared, photos)
    preparing = time.perf_counter() - began
    dataset = open_dataset(prepared)
    values = drawn(jobs)
    cached, cached_seconds = train_all(values, partial(build_head_training, dataset))
    say(f"cached: {preparing:.1f} s preparing, {cached_seconds:.1f} s training")
    backbone = fold_batch_norm(load_backbone(weights)[0]).to(choose_processor().device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    forwarded, forwarded_seconds = train_all(values, partial(forwarding, dataset, photos, backbone))
    say(f"forwarding: {forwarded_seconds:.1f} s")
    return {
        "photos": {split: len(dataset.split(split)) for split in SPLITS},
        "processor": str(choose_processor()),
        "threads": torch.get_num_threads(),
        "preparing_s": preparing,
        "cached_training_s": cached_seconds,
        "forwarding_training_s": forwarded_seconds,
        "ratio": forwarded_seconds / (preparing + cached_seconds),
        "largest_metric_difference": largest_difference(cached, forwarded),
        "one_process_s": seconds_of_process(dataset, weights),
    }


def drawn(jobs: int) -> list[Hyperparameters]:
    """What a random search would have the jobs train with."""
    search = make_search_over_heads("Random", "loss", SEED)
    values = [ask(search)[1] for _ in range(jobs)]
    return [Hyperparameters(lr=lr, batch_size=batch_size, seed=SEED, debugger="off") for lr, batch_size in values]


def forwarding(dataset: Dataset, photos: Path, backbone: torch.nn.Module, settings: Hyperparameters) -> Training:
    """The training of a head that sees the photos through the backbone in every epoch."""
    train, valid = (ForwardedPhotos(dataset, split, photos, backbone) for split in SPLITS)
    return replace(build_head_training(dataset, settings), train=train, valid=valid)


def train_all(values: Sequence[Hyperparameters], build: "partial[Training]") -> tuple[list[list[Epoch]], float]:
    """The histories, and the wall seconds of all jobs."""
    began = time.perf_counter()
    histories = [fit(build(settings)).history for settings in values]
    return histories, time.perf_counter() - began


def largest_difference(some: Sequence[Sequence[Epoch]], others: Sequence[Sequence[Epoch]]) -> dict[str, float]:
    """How far each metric of the same job and epoch lies apart at most."""
    pairs = [pair for one, other in zip(some, others, strict=True) for pair in zip(one, other, strict=True)]
    names = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
    return {name: max(abs(getattr(one, name) - getattr(other, name)) for one, other in pairs) for name in names}


def seconds_of_process(dataset: Dataset, weights: Path) -> float:
    """Wall seconds of one training job's program on the cached features, start, checks and saving included."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = training_environment(Path(scratch), dataset.folder, weights)
        began = time.perf_counter()
        command = [sys.executable, str(REPOSITORY / PROGRAM), "--debugger", "off"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def describe(measured: dict[str, Any]) -> str:
    """The result as a page."""
    rows = [
        ["photos in train and valid", " + ".join(map(str, measured["photos"].values()))],
        ["preparing, once", f"{measured['preparing_s']:.2f} s"],
        [f"{measured['jobs']} trainings on cached features", f"{measured['cached_training_s']:.2f} s"],
        [f"{measured['jobs']} trainings that forward the photos in every epoch", f"{measured['forwarding_training_s']:.2f} s"],
        ["ratio", f"{measured['ratio']:.1f}"],
        *[[f"largest difference, {name}", f"{value:.2e}"] for name, value in measured["largest_metric_difference"].items()],
        ["one training job's process, start to exit", f"{measured['one_process_s']:.2f} s"],
    ]
    subset = f"{measured['data']}, at most {measured['photos_a_class_and_split']} photos of each class in each split; one run."
    return f"{subset} {measured['processor']}, {measured['threads']} threads. {WHAT}\n\n{table(['what', 'figure'], rows)}"


if __name__ == "__main__":
    main(sys.argv[1:])
