"""Photos to features: each photo goes through the frozen backbone once per job, decoded by threads while the network computes.

Runs in training jobs, on a GPU where there is one.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from training.data import LeftOut, Photo
from training.model import FEATURES
from training.preprocessing import PhotoError, Preprocessing, read_photo

BATCH = 16
"""Photos a forward pass: on a CPU larger ones are no faster, on a GPU the decoding is the limit."""


@dataclass(frozen=True)
class Features:
    """What the backbone makes of some photos."""

    values: torch.Tensor
    """float32 [n, FEATURES], on the CPU."""
    labels: torch.Tensor
    """int64 [n]."""
    photos: tuple[Photo, ...]
    """Those that could be read, in order."""


@dataclass(frozen=True)
class Processor:
    """What computes, and how."""

    device: torch.device
    bfloat16: bool
    """Whether convolutions run in bfloat16; features are float32 all the same."""

    def __str__(self) -> str:
        """Return words for the log."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        return f"{name}, {'bfloat16' if self.bfloat16 else 'float32'}"


def choose_processor() -> Processor:
    """Return the GPU where there is one; bfloat16 only where the hardware multiplies it: on a CPU without AMX it is slower than float32."""
    if torch.cuda.is_available():
        return Processor(torch.device("cuda"), torch.cuda.is_bf16_supported(including_emulation=False))
    return Processor(torch.device("cpu"), bool(torch.cpu.get_capabilities().get("amx_bf16", False)))


def extract_features(
    backbone: nn.Module,
    photos: Sequence[Photo],
    preprocessing: Preprocessing,
    processor: Processor,
    progress: Callable[[int, int, float], None] = lambda _done, _total, _seconds: None,
) -> tuple[Features, list[LeftOut]]:
    """Return the features of the readable photos, and the others with a reason; `progress` gets (done, total, seconds) after each batch."""
    backbone = backbone.to(processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    kept: list[Photo] = []
    left_out: list[LeftOut] = []
    values: list[torch.Tensor] = []
    started, done = time.monotonic(), 0
    for batch in _batched(_read_ahead(photos, preprocessing), BATCH):
        readable = [(photo, pixels) for photo, pixels in batch if isinstance(pixels, torch.Tensor)]
        left_out.extend(pixels for _, pixels in batch if isinstance(pixels, LeftOut))
        if readable:
            values.append(_forward(backbone, torch.stack([pixels for _, pixels in readable]), processor))
            kept.extend(photo for photo, _ in readable)
        done += len(batch)
        progress(done, len(photos), time.monotonic() - started)
    labels = torch.tensor([photo.label for photo in kept], dtype=torch.int64)
    return Features(torch.cat(values) if values else torch.empty(0, FEATURES), labels, tuple(kept)), left_out


@torch.inference_mode()
def _forward(backbone: nn.Module, pixels: torch.Tensor, processor: Processor) -> torch.Tensor:
    """Return float32 [n, FEATURES] of float32 [n, 3, side, side]."""
    placed = pixels.to(processor.device, memory_format=torch.channels_last, non_blocking=True)
    with torch.autocast(processor.device.type, dtype=torch.bfloat16, enabled=processor.bfloat16):
        values: torch.Tensor = backbone(placed)
    return values.float().cpu()


def _read_ahead(photos: Sequence[Photo], preprocessing: Preprocessing) -> Iterator[tuple[Photo, torch.Tensor | LeftOut]]:
    """Yield the photos in order, decoded by as many threads as torch computes with, at most four batches ahead."""
    waiting: deque[tuple[Photo, Future[torch.Tensor | LeftOut]]] = deque()
    coming = iter(photos)
    with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as readers:
        for photo in islice(coming, 4 * BATCH):
            waiting.append((photo, readers.submit(_read, photo, preprocessing)))
        while waiting:
            photo, pixels = waiting.popleft()
            yield photo, pixels.result()
            for following in islice(coming, 1):
                waiting.append((following, readers.submit(_read, following, preprocessing)))


def _read(photo: Photo, preprocessing: Preprocessing) -> torch.Tensor | LeftOut:
    try:
        return preprocessing(read_photo(photo.file))
    except PhotoError as error:
        return LeftOut(photo.name, str(error))


def _batched(items: Iterator[tuple[Photo, torch.Tensor | LeftOut]], size: int) -> Iterator[list[tuple[Photo, torch.Tensor | LeftOut]]]:
    while batch := list(islice(items, size)):
        yield batch
