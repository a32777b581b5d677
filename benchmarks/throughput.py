"""How near feature extraction and fine-tuning come to what the network alone does: the same network, precision and threads, in one run.

Runs on any machine; nothing else should run meanwhile:

    python -m benchmarks.throughput [chess flowers5.zip …] [--photos 320] [--rounds 7]

Extraction is all of PrepareDataset's reading: file, checksum, decoding, fingerprint, thumbnail, network. Beside it the bare forward pass on
pixels that are ready in memory, at several batch sizes. A fine-tuning epoch from files is the training job's own, beside bare loops
of forward, backward and optimiser step that a torch DataLoader feeds with the same photos, cut by torchvision; the step alone is that of
both on pixels that are ready. All of a row take turns.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import median, table
from benchmarks.finetuning import finetuning_pairs
from benchmarks.inputs import photos_of, say, title, weights_channel
from benchmarks.results import write_result
from training.data.features import BATCH, Processor, choose_processor, extract_features
from training.data.folders import FoundPhoto, find_photos
from training.data.preprocessing import Preprocessing
from training.network.resnet50 import fold_batch_norm, load_backbone

BARE_BATCHES = (8, 16, 32, 64)
TRAINABLE = ("last_stage", "all")
FINETUNING_PART = 4
"""Fine-tuning goes through this part of the photos, for a step takes several times as long as a forward pass."""

WHAT = (
    "Whippet's extraction is file to feature: reading, checksum, decoding, fingerprint, thumbnail, network; bare beside it is the same "
    "network alone on pixels that are ready in memory. Fine-tuning from files is an epoch of the training job, with reading, checksum, "
    "decoding and random cuts; beside it a bare torch loop with a DataLoader and torchvision's random cuts. The step alone is on pixels "
    "that are ready."
)

Measurement = Callable[[], int]
"""Does the work, and returns how many photos went through."""


def main(arguments: Sequence[str]) -> None:
    """Measure each data set, write the result."""
    options = parse(arguments)
    measured = {title(name): measure(name, options) for name in options.data}
    about = {"rounds": options.rounds, "processor": str(choose_processor()), "threads": torch.get_num_threads(), "data_sets": measured}
    print(write_result("throughput", about, describe(measured, options)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput")
    parser.add_argument("data", nargs="*", default=["chess"], help="chess, or a zip or folder of class folders")
    parser.add_argument("--photos", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(arguments)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All pairs on one data set."""
    found = find_photos(photos_of(name))
    photos = found.photos[:: max(1, len(found.photos) // options.photos)][: options.photos]
    measured = {"extraction": compare(extraction_pair(found.folder, photos), options.rounds)}
    for trainable in TRAINABLE:
        for what, pair in finetuning_pairs(name, trainable, max(1, options.photos // FINETUNING_PART)).items():
            measured[f"fine-tuning {trainable}, {what}"] = compare(pair, options.rounds)
    return measured


def extraction_pair(folder: Path, photos: Sequence[FoundPhoto]) -> dict[str, Measurement]:
    """Whippet's extraction, and the network alone at several batch sizes."""
    processor, preprocessing = choose_processor(), Preprocessing()
    backbone = fold_batch_norm(load_backbone(weights_channel())[0])

    def extract() -> int:
        return sum(len(batch.features) for batch in extract_features(backbone, folder, photos, preprocessing, processor))

    extract()  # moves the network to its device and layout, and the files into memory
    bare = {f"bare, batch {size}": bare_forward(backbone, size, len(photos), preprocessing.crop, processor) for size in BARE_BATCHES}
    return {f"Whippet, batch {BATCH}": extract, **bare}


def bare_forward(backbone: torch.nn.Module, size: int, photos: int, side: int, processor: Processor) -> Measurement:
    """The network alone on one batch, again and again."""
    pixels = torch.randn(size, 3, side, side, device=processor.device).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward() -> int:
        batches = max(1, photos // size)
        for _ in range(batches):
            with torch.autocast(processor.device.type, dtype=torch.bfloat16, enabled=processor.bfloat16):
                values = backbone(pixels)
        values.cpu()  # a GPU has only now done the work
        return batches * size

    return forward


def compare(measurements: dict[str, Measurement], rounds: int) -> dict[str, Any]:
    """Photos a second of each, taking turns; the first is held against the best of the others, by medians."""
    rates: dict[str, list[float]] = {name: [] for name in measurements}
    for measurement in measurements.values():
        measurement()  # warm
    for _ in range(rounds):
        for name, measurement in measurements.items():
            began = time.perf_counter()
            photos = measurement()
            rates[name].append(photos / (time.perf_counter() - began))
    medians = {name: median(values) for name, values in rates.items()}
    own, *others = medians.values()
    say(f"{ {name: round(value, 2) for name, value in medians.items()} }")
    return {"photos_a_second": rates, "medians": medians, "ratio": own / max(others)}


def describe(measured: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The result as a page."""
    rows = []
    for data, pairs in measured.items():
        for pair, found in pairs.items():
            (own, rate), *others = found["medians"].items()
            best, bare = max(others, key=lambda other: other[1])
            rows.append([data, pair, own, f"{rate:.2f}", best, f"{bare:.2f}", f"{found['ratio']:.3f}"])
    columns = ["data set", "what", "Whippet", "photos/s", "best bare", "photos/s", "ratio"]
    about = f"{choose_processor()}, {torch.get_num_threads()} threads; medians of {options.rounds} rounds in turns, after one to warm up."
    return f"{about} {WHAT}\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main(sys.argv[1:])
