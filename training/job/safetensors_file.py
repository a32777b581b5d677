"""Named tensors in a file, in the safetensors format: reading a file runs no code and takes no more memory than its length.

Runs in the training and serving images. The format's own package is compiled and not in the training image, so the source archive cannot
bring it; the format is eight bytes, a JSON header and the numbers (https://huggingface.co/docs/safetensors). The tests compare both
directions with that package.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_TYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_HEADER_LIMIT_BYTES = 100_000_000


class TensorFileError(ValueError):
    """A file is not a whole safetensors file; the text says why."""


def write_tensors(file: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write CPU tensors and a text for each metadata name; the file is complete or missing, whenever the process is killed."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in flat.items():
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    unfinished = file.with_name(f".{file.name}.unfinished")
    with unfinished.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for tensor in flat.values():
            stream.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)


def read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors by name, and the metadata.

    Raises:
        TensorFileError: missing, cut short, or not in the format.
    """
    try:
        content = bytearray(file.read_bytes())
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 or length > min(_HEADER_LIMIT_BYTES, len(content) - 8):
            raise TensorFileError(f"{file.name} is cut short or not a safetensors file: its header would be {length} bytes long")
        header = json.loads(content[8 : 8 + length])
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        body = memoryview(content)[8 + length :]
        return {str(name): _tensor(body, **entry) for name, entry in header.items()}, metadata
    except OSError as error:
        raise TensorFileError(f"{file.name} cannot be read: {error}") from error
    except TensorFileError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise TensorFileError(f"{file.name} is not a safetensors file: {error!r}") from error


def _tensor(body: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> torch.Tensor:
    """Return one tensor of the body, checked against its entry."""
    start, end = data_offsets
    kind, count = _TYPES[dtype], 1
    for side in shape:
        count *= side
    if not 0 <= start <= end <= len(body) or min(shape, default=0) < 0 or end - start != count * kind.itemsize:
        raise TensorFileError(
            f"an entry of {shape} {dtype} does not fit its bytes {start} to {end} of {len(body)}: the file is damaged or cut short"
        )
    if not count:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(body[start:end], dtype=torch.uint8).clone().view(kind).reshape(shape)
