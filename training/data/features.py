"""Photos to features: each file is read once, decoded by threads while the network computes, and goes through the frozen backbone once.

Runs in the processing job, on a GPU where there is one. Results come batch by batch, so memory does not grow with the number of photos.
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

from training.data.folders import FoundPhoto, LeftOut
from training.data.inspection import Seen, inspect
from training.data.preprocessing import Preprocessing
from training.network.resnet50 import FEATURES

In = TypeVar("In")
Out = TypeVar("Out")

BATCH = 16
"""Photos a forward pass: on a CPU larger ones are no faster, on a GPU the decoding is the limit."""
GPU_INSTANCES = ("ml.g", "ml.p")
"""How the names of instance types with a GPU begin."""
RESOURCES = Path("/opt/ml/config/resourceconfig.json")
"""Where a processing job reads its instance type; the training toolkit puts it into the environment."""
BATCHES_AHEAD = 4
"""How far the threads that decode may be ahead of the network."""


@dataclass(frozen=True)
class Processor:
    """What computes, and how."""

    device: torch.device
    bfloat16: bool
    """Whether convolutions run in bfloat16; features are float32 all the same."""

    def __str__(self) -> str:
        """Return words for the log."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{name}, {'bfloat16' if self.bfloat16 else 'float32'}"


def choose_processor() -> Processor:
    """Return the GPU where there is one, and say so where there should be one that cannot be used.

    bfloat16 only where the hardware multiplies it: elsewhere it is slower than float32.
    """
    if torch.cuda.is_available():
        return Processor(torch.device("cuda"), torch.cuda.is_bf16_supported(including_emulation=False))
    if warning := warn_of_unused_gpu():
        print(warning, flush=True)
    able = torch.cpu.get_capabilities()
    return Processor(torch.device("cpu"), bool(able.get("amx_bf16", False) or able.get("avx512_bf16", False)))


def warn_of_unused_gpu(environment: Mapping[str, str] = os.environ, resources: Path = RESOURCES) -> str:
    """Return the sentence for a machine whose GPU torch cannot use; nothing where none is promised."""
    text = environment.get("SM_RESOURCE_CONFIG") or (resources.read_text(encoding="utf-8") if resources.is_file() else "{}")
    instance = str(json.loads(text).get("current_instance_type", ""))
    if not instance.startswith(GPU_INSTANCES) and environment.get("SM_NUM_GPUS", "0") == "0":
        return ""
    return (
        f"warning: {instance or 'this machine'} has a GPU, but torch cannot use it, and the CPU computes: it takes far longer, and the "
        "GPU is paid for. Take a GPU image for this instance type, or an instance type without a GPU"
    )


@dataclass(frozen=True)
class Batch:
    """Some photos in their order, seen by the backbone."""

    photos: tuple[Seen, ...]
    features: torch.Tensor
    """float32 [n, FEATURES], on the CPU."""
    left_out: tuple[LeftOut, ...]
    """Files among them that are no usable photos."""


def extract_features(
    backbone: nn.Module, folder: Path, photos: Iterable[FoundPhoto], preprocessing: Preprocessing, processor: Processor
) -> Iterator[Batch]:
    """Yield the photos below the folder, BATCH files at a time, in the order given; `backbone` must be frozen and in eval mode."""
    backbone = backbone.to(processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def read(photo: FoundPhoto) -> Seen | LeftOut:
        return inspect(folder, photo, preprocessing)

    for batch in _batched(read_ahead(photos, read, BATCHES_AHEAD * BATCH), BATCH):
        photos_seen = tuple(item for item in batch if isinstance(item, Seen))
        left_out = tuple(item for item in batch if isinstance(item, LeftOut))
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
    """Yield read(item) in order, worked out by threads, at most so many items ahead; who ends early waits for none that has not begun."""
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
    """Return how many threads read: this process's part of the cores.

    torchrun tells each of several processes to compute with one thread: that says nothing of reading. What a process by itself is told
    counts, for other jobs may run beside it.
    """
    cores, processes = len(os.sched_getaffinity(0)), int(environment.get("LOCAL_WORLD_SIZE", "1"))
    told = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if processes == 1 and told.isdigit():
        cores = min(cores, int(told))
    return max(1, cores // processes)


def _batched(items: Iterator[Out], size: int) -> Iterator[Sequence[Out]]:
    while batch := list(islice(items, size)):
        yield batch
