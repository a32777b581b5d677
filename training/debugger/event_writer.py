"""Sends saved steps to the process that writes them, so that the training does not wait for files.

Runs in training jobs, under the hook. Steps wait in memory and are sent together twice a second: a head's step takes a millisecond, and
code that runs rarely takes several times as long as code that runs repeatedly.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from smdebug.core.tfevent.proto.types_pb2 import DataType
from smdebug.core.tfevent.util import _NP_DATATYPE_TO_PROTO_DATATYPE

from training.debugger.event_file import END, Shape, Step, Tensor, pack

Array = np.ndarray[Any, Any]

PROGRAM = Path(__file__).with_name("event_file.py")
WAIT_S = 0.5
"""Seconds between two sends, unless `flush` is called."""
MOST_WAITING = 2**20
"""Bytes that may wait."""
RECORD = 180
"""Most bytes of a tensor's record and its entry in the index, beside its numbers and its names."""
INDEX = 200
"""Most bytes of an index beside its entries."""


class StepFile:
    """Collects the saved tensors of one step, and sends them on `close`."""

    __slots__ = ("_clock", "_folder", "_mode", "_mode_step", "_shapes", "_step", "_tensors", "_worker", "_write", "bytes")

    def __init__(
        self, folder: str, step: int, worker: str, write: Callable[[Sequence[Step], int], None], clock: Callable[[], float] = time.time
    ) -> None:
        """`step`: counted over all modes. `worker`: smdebug's name of the process. `write`: takes the step and its size."""
        self._folder, self._step, self._worker, self._write = folder, step, worker, write
        self._clock = clock
        self._tensors: list[Tensor] = []
        self._shapes: list[Shape] = []
        self.bytes = INDEX
        """Of both files so far, at most."""

    def write_tensor(self, tdata: Array | torch.Tensor, tname: str, mode: Any, mode_step: int, timestamp: float | None = None) -> None:
        """Add a tensor as it is now; smdebug's hook calls it, by these argument names.

        Raises:
            KeyError: smdebug does not know the type of its numbers.
        """
        array = to_numpy(tdata)
        self._tensors.append(Tensor(tname, kind_of(array.dtype), array.shape, array.tobytes(), timestamp or self._clock()))
        self._mode, self._mode_step = mode, mode_step
        self.bytes += array.nbytes + measure_overhead(tname, array.ndim)

    def write_numbers(self, names: Sequence[str], numbers: Array, mode: Any, mode_step: int) -> None:
        """Add numbers [n], each as a separate tensor; a saved step of a head has a dozen, which are prepared together."""
        now = self._clock()
        self._tensors += [Tensor(*each, now) for each in zip(names, *split_numbers(numbers), strict=True)]
        self._mode, self._mode_step = mode, mode_step
        self.bytes += numbers.nbytes + sum(map(measure_overhead, names))

    def write_shape(self, name: str, shape: tuple[int, ...], mode: Any, mode_step: int, original_name: str | None = None) -> None:
        """Add a tensor's shape alone; smdebug's hook calls it."""
        self._shapes.append(Shape(name, original_name or name, shape))
        self.bytes += measure_overhead(original_name or name)
        self._mode, self._mode_step = mode, mode_step

    def flush(self) -> None:
        """Do nothing: a step is written as a whole."""

    def close(self) -> None:
        """Send the step."""
        if self._tensors or self._shapes:
            place = (self._folder, self._step, self._worker)
            self._write([Step(*place, self._mode.value, self._mode.name, self._mode_step, self._tensors, self._shapes)], self.bytes)


class EventWriter:
    """The process that writes the steps of one hook, in order; the first step starts it."""

    def __init__(self) -> None:
        """Start without a process."""
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[Step] = []
        self._bytes = 0
        self._flushed = 0.0

    def write(self, steps: Sequence[Step], size: int) -> None:
        """Send steps soon; `size`: bytes of their files, at most.

        Raises:
            OSError: see `flush`.
        """
        self._waiting += steps
        self._bytes += size
        if self._bytes >= MOST_WAITING or self.is_due():
            self.flush()

    def is_due(self) -> bool:
        """Return whether the last send was half a second ago or more, so that new steps are sent at once."""
        return time.monotonic() - self._flushed >= WAIT_S

    def flush(self) -> None:
        """Send all steps now; this waits only if the disk is so slow that the pipe is full.

        Raises:
            OSError: the process cannot be started, or an earlier step could not be written.
        """
        waiting, self._waiting, self._bytes, self._flushed = self._waiting, [], 0, time.monotonic()
        if not waiting:
            return
        process = self._process = self._process or start()
        steps, errors = pipes(process)
        try:
            steps.write(pack(waiting))
            steps.flush()
        except BrokenPipeError:
            raise read_error(errors.readline(), process) from None
        if select.select([errors], [], [], 0)[0]:
            raise read_error(errors.readline(), process)

    def close(self) -> None:
        """Wait until all is written; the process is gone afterwards.

        Raises:
            OSError: something could not be written, and was not reported yet.
        """
        try:
            self.flush()
        finally:
            process, self._process = self._process, None
            problem = end(process) if process else None
        if problem:
            raise problem


def start() -> "subprocess.Popen[bytes]":
    """Start the process in its own session, so that it writes what it has received even if the training is ended."""
    return subprocess.Popen([sys.executable, "-IS", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def end(process: "subprocess.Popen[bytes]") -> OSError | None:
    """Wait for the end of the process; return the error that it had not reported yet."""
    steps, errors = pipes(process)
    with suppress(BrokenPipeError):
        steps.write(END)
        steps.flush()
    first, _ = errors.readline(), errors.read()
    code = process.wait()
    with errors, suppress(BrokenPipeError):
        steps.close()
    return read_error(first, process) if first or code else None


def pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    """Return the pipe for steps and the pipe for errors."""
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def read_error(line: bytes, process: "subprocess.Popen[bytes]") -> OSError:
    """Return the error that a line holds; an error about the process if it ended without one."""
    if not line:
        return OSError(f"the process that writes tensors ended with status {process.wait()}")
    number, text, file = json.loads(line)
    return OSError(number, text, file)


def to_numpy(value: object) -> Array:
    """Return the numbers of anything that torch accepts as a tensor; bfloat16, which numpy lacks, as float32."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    tensor = torch.as_tensor(value).detach().cpu()
    array: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def split_numbers(numbers: Array) -> tuple[Iterator[int], Iterator[tuple[()]], Iterator[bytes]]:
    """Return kind, shape and content of each of some numbers [n], as of separate tensors."""
    content, size = numbers.tobytes(), numbers.itemsize
    return (
        repeat(kind_of(numbers.dtype), numbers.size),
        repeat((), numbers.size),
        (content[at : at + size] for at in range(0, len(content), size)),
    )


@lru_cache(maxsize=4096)
def measure_overhead(name: str, dimensions: int = 0) -> int:
    """Return the most bytes that a tensor takes in both files beside its numbers."""
    return (2 + dimensions) * length_of(name) + RECORD


def length_of(name: str) -> int:
    """Return the bytes of a name in an index; a record has no more."""
    return len(json.dumps(name))


@lru_cache(maxsize=64)
def kind_of(dtype: "np.dtype[Any]") -> int:
    """Return smdebug's number for a type of numbers."""
    number: int = DataType.Value(_NP_DATATYPE_TO_PROTO_DATATYPE[dtype])
    return number
