"""Hands saved steps to the process that writes them, so that a training with one busy thread of Python loses nothing to files.

Runs in training jobs, under the hook. Steps wait in memory, and are made ready together twice a second: a head's step takes 2 ms, and code
that has not run for so long takes several times what it takes when it runs again at once.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from training.compatibility import import_smdebug
from training.event_file import END, Shape, Step, Tensor, pack

import_smdebug()

from smdebug.core.tfevent.proto.types_pb2 import DataType  # noqa: E402 - smdebug imports only after its repairs
from smdebug.core.tfevent.util import _NP_DATATYPE_TO_PROTO_DATATYPE  # noqa: E402

Array = np.ndarray[Any, Any]

PROGRAM = Path(__file__).with_name("event_file.py")
WAIT_S = 0.5
"""From one time that steps are handed over to the next, unless somebody asks for it."""
MOST_WAITING = 2**20
"""Bytes that are held back."""
RECORD = 180
"""Most bytes of a tensor's record and its entry in the index, beside its numbers and its names."""
INDEX = 200
"""Most bytes of an index beside its entries."""


class StepFile:
    """Collects what is saved of one step; nothing is handed over before `close`."""

    __slots__ = ("_folder", "_mode", "_mode_step", "_shapes", "_step", "_tensors", "_worker", "_write", "bytes")

    def __init__(self, folder: str, step: int, worker: str, write: Callable[["StepFile"], None]) -> None:
        """`step`: counted over all modes. `worker`: the name of the process in smdebug's words. `write`: what takes the step."""
        self._folder, self._step, self._worker, self._write = folder, step, worker, write
        self._tensors: list[tuple[str, Array | torch.Tensor, float]] = []
        self._shapes: list[Shape] = []
        self.bytes = INDEX
        """Of both files so far, at most."""

    def write_tensor(self, tdata: Array | torch.Tensor, tname: str, mode: Any, mode_step: int, timestamp: float | None = None) -> None:
        """Add a tensor, which nobody changes any more; smdebug's hook calls it, and names the arguments."""
        self._tensors.append((tname, tdata, timestamp or time.time()))
        self._mode, self._mode_step = mode, mode_step
        self.bytes += tdata.nbytes + (2 + tdata.ndim) * length_of(tname) + RECORD

    def write_shape(self, name: str, shape: tuple[int, ...], mode: Any, mode_step: int, original_name: str | None = None) -> None:
        """Add a tensor's shape alone; smdebug's hook calls it."""
        self._shapes.append(Shape(name, original_name or name, shape))
        self.bytes += 2 * length_of(original_name or name) + RECORD
        self._mode, self._mode_step = mode, mode_step

    def flush(self) -> None:
        """Nothing yet: a step that is read is whole."""

    def close(self) -> None:
        """Have the step written."""
        if self._tensors or self._shapes:
            self._write(self)

    def whole(self) -> Step:
        """Return the step with the numbers of its tensors.

        Raises:
            KeyError: numbers are of a type that smdebug does not know.
        """
        tensors = []
        for name, value, seconds in self._tensors:
            array = numbers_of(value)
            tensors.append(Tensor(name, kind_of(array.dtype), array.shape, array.tobytes(), seconds))
        return Step(self._folder, self._step, self._worker, self._mode.value, self._mode.name, self._mode_step, tensors, self._shapes)


class EventWriter:
    """The process that writes the steps of one hook, in the order given; it is started by the first of them."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[StepFile] = []
        self._bytes = 0
        self._flushed = 0.0

    def write(self, step: StepFile) -> None:
        """Have a step written soon.

        Raises:
            OSError: see `flush`.
        """
        self._waiting.append(step)
        self._bytes += step.bytes
        if self._bytes >= MOST_WAITING or time.monotonic() - self._flushed >= WAIT_S:
            self.flush()

    def flush(self) -> None:
        """Have all steps written now; waits only where the disk is so far behind that the pipe is full.

        Raises:
            OSError: the process cannot be started, or a step that was given earlier could not be written.
        """
        waiting, self._waiting, self._bytes, self._flushed = self._waiting, [], 0, time.monotonic()
        if not waiting:
            return
        process = self._process = self._process or start()
        steps, errors = pipes(process)
        try:
            steps.write(b"".join(pack(step.whole()) for step in waiting))
            steps.flush()
        except BrokenPipeError:
            raise said(errors.readline(), process) from None
        if select.select([errors], [], [], 0)[0]:
            raise said(errors.readline(), process)

    def close(self) -> None:
        """Wait until all is written; the process is gone afterwards.

        Raises:
            OSError: something could not be written, and nobody has been told yet.
        """
        try:
            self.flush()
        finally:
            process, self._process = self._process, None
            problem = end(process) if process else None
        if problem:
            raise problem


def start() -> "subprocess.Popen[bytes]":
    """Start the process, in a session of its own: what ends the training lets it write what it was given."""
    return subprocess.Popen([sys.executable, "-IS", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def end(process: "subprocess.Popen[bytes]") -> OSError | None:
    """Wait for the end of the process; return what it had not said yet."""
    steps, errors = pipes(process)
    with suppress(BrokenPipeError):
        steps.write(END)
        steps.flush()
    first, _ = errors.readline(), errors.read()
    code = process.wait()
    with errors, suppress(BrokenPipeError):
        steps.close()
    return said(first, process) if first or code else None


def pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    """Return what takes steps, and what says errors."""
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def said(line: bytes, process: "subprocess.Popen[bytes]") -> OSError:
    """Return the error of a line; one about the process itself where it ended without a word."""
    if not line:
        return OSError(f"the process that writes tensors ended with status {process.wait()}")
    number, text, file = json.loads(line)
    return OSError(number, text, file)


def numbers_of(value: object) -> Array:
    """Return the numbers of what torch takes for a tensor; bfloat16, which numpy does not know, as float32."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    tensor = torch.as_tensor(value).detach().cpu()
    array: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


@lru_cache(maxsize=4096)
def length_of(name: str) -> int:
    """Return the bytes of a name in an index, at least those in a record."""
    return len(json.dumps(name))


@lru_cache(maxsize=64)
def kind_of(dtype: "np.dtype[Any]") -> int:
    """Return smdebug's number for a type of numbers."""
    number: int = DataType.Value(_NP_DATATYPE_TO_PROTO_DATATYPE[dtype])
    return number
