"""Photos to features: threads decode each file once while the network computes, and each photo passes the frozen backbone once.

Runs in the processing job, on a GPU if there is one. Results are yielded batch by batch, so memory does not grow with the number of photos.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from training.data.folders import FoundPhoto, UnusedFile
from training.data.inspection import Seen, inspect
from training.data.preprocessing import Preprocessing
from training.network.resnet50 import FEATURES

In = TypeVar("In")
Out = TypeVar("Out")

BATCH = 16
"""Photos per forward pass: on a CPU larger batches are not faster, on a GPU decoding is the limit."""
GPU_INSTANCES = ("ml.g", "ml.p")
"""Prefixes of instance types with a GPU."""
RESOURCES = Path("/opt/ml/config/resourceconfig.json")
"""Where a processing job reads its instance type; the training toolkit puts it into the environment."""
BATCHES_AHEAD = 4
"""How many batches the decoding threads may be ahead of the network."""


@dataclass(frozen=True)
class Processor:
    """The device and its number format."""

    device: torch.device
    bfloat16: bool
    """Whether convolutions run in bfloat16; features are float32 either way."""

    def __str__(self) -> str:
        """Return a description for the log."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{name}, {'bfloat16' if self.bfloat16 else 'float32'}"


def choose_processor() -> Processor:
    """Return the GPU if there is one, otherwise the CPU; print a warning if the machine has a GPU that torch cannot use.

    bfloat16 is used only if the hardware multiplies it: otherwise it is slower than float32.
    """
    if torch.cuda.is_available():
        return Processor(torch.device("cuda"), torch.cuda.is_bf16_supported(including_emulation=False))
    if warning := warn_of_unused_gpu():
        print(warning, flush=True)
    able = torch.cpu.get_capabilities()
    return Processor(torch.device("cpu"), bool(able.get("amx_bf16", False) or able.get("avx512_bf16", False)))


def warn_of_unused_gpu(environment: Mapping[str, str] = os.environ, resources: Path = RESOURCES) -> str:
    """Return the warning for a machine whose GPU torch cannot use; empty if the machine has no GPU."""
    text = environment.get("SM_RESOURCE_CONFIG") or (resources.read_text(encoding="utf-8") if resources.is_file() else "{}")
    instance = str(json.loads(text).get("current_instance_type", ""))
    if not instance.startswith(GPU_INSTANCES) and environment.get("SM_NUM_GPUS", "0") == "0":
        return ""
    return (
        f"warning: {instance or 'this machine'} has a GPU, but torch cannot use it, so the CPU computes: this takes far longer, and the "
        "GPU is paid for. Use a GPU image for this instance type, or an instance type without a GPU"
    )


@dataclass(frozen=True)
class Batch:
    """Consecutive photos with their features."""

    photos: tuple[Seen, ...]
    features: torch.Tensor
    """float32 [n, FEATURES], on the CPU."""
    left_out: tuple[UnusedFile, ...]
    """Files among them that are not usable photos."""


def extract_features(
    backbone: nn.Module, folder: Path, photos: Iterable[FoundPhoto], preprocessing: Preprocessing, processor: Processor
) -> Iterator[Batch]:
    """Yield the photos below the folder, BATCH files at a time, in the order given; `backbone` must be frozen and in eval mode."""
    backbone = backbone.to(processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def read(photo: FoundPhoto) -> Seen | UnusedFile:
        return inspect(folder, photo, preprocessing)

    for batch in _batched(read_ahead(photos, read, BATCHES_AHEAD * BATCH), BATCH):
        photos_seen = tuple(item for item in batch if isinstance(item, Seen))
        left_out = tuple(item for item in batch if isinstance(item, UnusedFile))
        if photos_seen:
            squares = torch.stack([photo.square for photo in photos_seen])
            features = forward(backbone, squares, preprocessing, processor)
        else:
            features = torch.empty(0, FEATURES)
        yield Batch(photos_seen, features, left_out)


@torch.inference_mode()
def forward(backbone: nn.Module, squares: torch.Tensor, preprocessing: Preprocessing, processor: Processor) -> torch.Tensor:
    """Return float32 [n, FEATURES], on the CPU, of uint8 [n, side, side, 3]."""
    pixels = preprocessing.scale(squares.to(processor.device)).contiguous(memory_format=torch.channels_last)
    with torch.autocast(processor.device.type, dtype=torch.bfloat16, enabled=processor.bfloat16):
        values: torch.Tensor = backbone(pixels)
    return values.float().cpu()


def read_ahead(items: Iterable[In], read: Callable[[In], Out], ahead: int) -> Iterator[Out]:
    """Yield read(item) in order, computed by threads, at most so many items ahead; an early end cancels items not yet begun."""
    waiting: deque[Future[Out]] = deque()
    coming = iter(items)
    readers = ThreadPoolExecutor(max_workers=reading_threads())
    try:
        waiting.extend(readers.submit(read, item) for item in islice(coming, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(readers.submit(read, item) for item in islice(coming, 1))
    finally:
        readers.shutdown(cancel_futures=True)


def reading_threads(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many threads read: this process's share of the cores.

    torchrun sets OMP_NUM_THREADS to 1 for each of several processes; this does not limit reading. A single process follows the variable,
    because other jobs may run on the machine.
    """
    cores, processes = len(os.sched_getaffinity(0)), int(environment.get("LOCAL_WORLD_SIZE", "1"))
    limit = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if processes == 1 and limit.isdigit():
        cores = min(cores, int(limit))
    return max(1, cores // processes)


def _batched(items: Iterator[Out], size: int) -> Iterator[Sequence[Out]]:
    while batch := list(islice(items, size)):
        yield batch
