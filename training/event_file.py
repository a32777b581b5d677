"""One saved step in smdebug's format: a file of tensor records, and the index that says where in it each tensor lies.

Runs in training jobs, under the hook. smdebug's own writer hands each record to a thread; where the disk is full that thread dies and the
training waits for it for ever. This one has both files written at once, when the step is over, and says at the next one what failed. It
puts the records together itself: through protobuf's Python code the reductions of a ResNet50 take a second, so a fiftieth.
"""

import json
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from training.compatibility import import_smdebug

import_smdebug()

from smdebug.core.locations import IndexFileLocationUtils, TensorFileLocation  # noqa: E402 - smdebug imports only after its repairs
from smdebug.core.tfevent.proto.types_pb2 import DataType  # noqa: E402
from smdebug.core.tfevent.util import _NP_DATATYPE_TO_PROTO_DATATYPE  # noqa: E402
from smdebug.core.tfrecord.record_writer import CHECKSUM_MAGIC_BYTES, masked_crc32c  # noqa: E402

Array = np.ndarray[Any, Any]

_FOOTER = struct.pack("<I", masked_crc32c(CHECKSUM_MAGIC_BYTES))
"""smdebug leaves the checksum of the content out, and its reader does not look."""
_ENTRY = 60
"""Bytes of a tensor's entry in the index, beside its name."""
MOST_WAITING = 64
"""Steps that wait to be written; beyond that the training waits for the disk."""

Files = Sequence[tuple[Path, bytes]]


class FilesWriter:
    """Writes beside the training, in the order given: a busy disk takes milliseconds to make a file."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="debugger")
        self._waiting: deque[Future[None]] = deque()

    def write(self, files: Files) -> None:
        """Have files written.

        Raises:
            OSError: files that were given earlier could not be.
        """
        while self._waiting and (self._waiting[0].done() or len(self._waiting) >= MOST_WAITING):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(write_files, files))

    def close(self) -> None:
        """Wait until all is written.

        Raises:
            OSError: something could not be.
        """
        self._thread.shutdown(wait=True)
        errors = [error for future in self._waiting if (error := future.exception())]
        self._waiting.clear()
        if errors:
            raise errors[0]


def write_files(files: Files) -> None:
    """Write files that are there whole or not at all, under the name for unfinished ones that smdebug's readers pass over."""
    for file, content in files:
        unfinished = file.with_name(f"{file.name}.tmp")
        try:
            _write(unfinished, content)
            unfinished.replace(file)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


class StepFile:
    """What is saved of one step; nothing is on the disk before `close`."""

    def __init__(self, folder: Path, step: int, worker: str, write: Callable[[Files], None] = write_files) -> None:
        """`step`: counted over all modes. `worker`: the name of the process in smdebug's words. `write`: what takes the files."""
        self._folder, self._step, self._worker, self._write = folder, step, worker, write
        self._meta: dict[str, Any] = {}
        self._records: list[bytes] = []
        self._index: list[dict[str, Any]] = []
        self._shapes: list[dict[str, Any]] = []
        self._length = 0
        self.bytes = 0
        """Of both files so far, nearly."""

    def write_tensor(self, tdata: Array, tname: str, mode: Any, mode_step: int, timestamp: float | None = None) -> None:
        """Add a tensor; smdebug's hook calls it, and names the arguments."""
        event = encode_event(tdata, tname, mode.value, mode_step, self._step, timestamp or time.time())
        header = struct.pack("<Q", len(event))
        record = header + _length_checksum(len(event)) + event + _FOOTER
        self._index.append({"tensorname": tname, "start_idx": self._length, "length": len(record)})
        self._records.append(record)
        self._length += len(record)
        self.bytes += len(record) + len(tname) + _ENTRY
        self._note(mode, mode_step)

    def write_shape(self, name: str, shape: tuple[int, ...], mode: Any, mode_step: int, original_name: str | None = None) -> None:
        """Add a tensor's shape alone; smdebug's hook calls it."""
        self._shapes.append({"tensorname": name, "originalname": original_name or name, "shape": shape})
        self._note(mode, mode_step)

    def _note(self, mode: Any, mode_step: int) -> None:
        self._meta = {"mode": mode.name, "mode_step": mode_step}

    def flush(self) -> None:
        """Nothing yet: a step that is read is whole."""

    def close(self) -> None:
        """Have both files written, the index last: it is what readers look for."""
        location, files = TensorFileLocation(self._step, self._worker), []
        if self._records:
            self._meta["event_file_name"] = location.get_file_location()
            files.append((Path(location.get_file_location(str(self._folder))), b"".join(self._records)))
        if self._records or self._shapes:
            index = {"meta": self._meta, "tensor_payload": self._index, "shape_payload": self._shapes}
            file = IndexFileLocationUtils.get_index_key_for_step(str(self._folder), self._step, self._worker)
            files.append((Path(file), json.dumps(index).encode()))
            self._write(files)


def encode_event(value: Array, name: str, mode: int, mode_step: int, step: int, seconds: float) -> bytes:
    """Return smdebug's Event message of one tensor, byte for byte as protobuf would.

    Raises:
        KeyError: of a type that smdebug does not know.
    """
    tensor = b"".join(
        (
            _number(1, DataType.Value(_NP_DATATYPE_TO_PROTO_DATATYPE[value.dtype])),
            _message(2, b"".join(_dimensions(value.shape, name))),
            _message(4, value.tobytes()) if value.size else b"",
        )
    )
    content = _message(1, name.encode()) + _message(8, tensor) + _message(9, _plugins(mode, mode_step))
    when = b"\x09" + struct.pack("<d", seconds)
    return when + _number(2, step) + _message(5, _message(1, content))


def _dimensions(shape: tuple[int, ...], name: str) -> Iterator[bytes]:
    for size in shape:
        yield _message(2, _number(1, size) + _message(2, f"{name}_{size}".encode()))


@lru_cache(maxsize=16)
def _plugins(mode: int, mode_step: int) -> bytes:
    """Return the metadata in which smdebug keeps the mode and its step."""
    named = ((b"mode_step", mode_step), (b"mode", mode))
    return b"".join(_message(1, _message(1, plugin) + _message(2, str(content).encode())) for plugin, content in named)


@lru_cache(maxsize=4096)
def _length_checksum(length: int) -> bytes:
    return struct.pack("<I", masked_crc32c(struct.pack("<Q", length)))


def _message(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    """Return a field; one that is 0 is left out."""
    return bytes((field << 3,)) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
