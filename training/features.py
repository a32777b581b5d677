"""Photos to features: each file is read once, decoded by threads while the network computes, and goes through the frozen backbone once.

Runs in the processing job, on a GPU where there is one. Results come batch by batch, so memory does not grow with the number of photos.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from training.data import FoundPhoto, LeftOut
from training.inspection import Seen, inspect
from training.model import FEATURES
from training.preprocessing import Preprocessing

In = TypeVar("In")
Out = TypeVar("Out")

BATCH = 16
"""Photos a forward pass: on a CPU larger ones are no faster, on a GPU the decoding is the limit."""
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
    """Return the GPU where there is one; bfloat16 only where the hardware multiplies it: elsewhere it is slower than float32."""
    if torch.cuda.is_available():
        return Processor(torch.device("cuda"), torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return Processor(torch.device("cpu"), bool(able.get("amx_bf16", False) or able.get("avx512_bf16", False)))


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
    """Yield read(item) in order, worked out by as many threads as torch computes with, at most so many items ahead."""
    waiting: deque[Future[Out]] = deque()
    coming = iter(items)
    with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as readers:
        waiting.extend(readers.submit(read, item) for item in islice(coming, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(readers.submit(read, item) for item in islice(coming, 1))


def _batched(items: Iterator[Out], size: int) -> Iterator[Sequence[Out]]:
    while batch := list(islice(items, size)):
        yield batch
