"""Hands saved steps to the process that writes them, so that a training with one busy thread of Python loses nothing to files.

Runs in training jobs, under the hook. Steps wait in memory for half a second, and are made ready together: a head's step takes 2 ms, and
code that has not run for so long takes several times what it takes when it runs again at once.
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

from training.compatibility import import_smdebug
from training.event_file import END, Shape, Step, Tensor, pack

import_smdebug()

from smdebug.core.tfevent.proto.types_pb2 import DataType  # noqa: E402 - smdebug imports only after its repairs
from smdebug.core.tfevent.util import _NP_DATATYPE_TO_PROTO_DATATYPE  # noqa: E402

Array = np.ndarray[Any, Any]

PROGRAM = Path(__file__).with_name("event_file.py")
WAIT_S = 0.5
"""For which steps are held back."""
MOST_WAITING = 2**20
"""Bytes that are held back."""
RECORD = 180
"""Most bytes of a tensor's record and its entry in the index, beside its numbers and its names."""


class StepFile:
    """Collects what is saved of one step; nothing is handed over before `close`."""

    def __init__(self, folder: str, step: int, worker: str, write: Callable[[Step], None]) -> None:
        """`step`: counted over all modes. `worker`: the name of the process in smdebug's words. `write`: what takes the step."""
        self._step, self._write = Step(folder, step, worker), write
        self.bytes = 0
        """Of both files so far, at most."""

    def write_tensor(self, tdata: Array, tname: str, mode: Any, mode_step: int, timestamp: float | None = None) -> None:
        """Add a tensor; smdebug's hook calls it, and names the arguments.

        Raises:
            KeyError: its numbers are of a type that smdebug does not know.
        """
        self._step.tensors.append(Tensor(tname, kind_of(tdata.dtype), tdata.shape, tdata.tobytes(), timestamp or time.time()))
        self.bytes += tdata.nbytes + (2 + tdata.ndim) * len(tname.encode()) + RECORD
        self._note(mode, mode_step)

    def write_shape(self, name: str, shape: tuple[int, ...], mode: Any, mode_step: int, original_name: str | None = None) -> None:
        """Add a tensor's shape alone; smdebug's hook calls it."""
        self._step.shapes.append(Shape(name, original_name or name, shape))
        self._note(mode, mode_step)

    def _note(self, mode: Any, mode_step: int) -> None:
        self._step.mode, self._step.mode_name, self._step.mode_step = mode.value, mode.name, mode_step

    def flush(self) -> None:
        """Nothing yet: a step that is read is whole."""

    def close(self) -> None:
        """Have the step written."""
        if self._step.tensors or self._step.shapes:
            self._write(self._step)


class EventWriter:
    """The process that writes the steps of one hook, in the order given; it is started by the first of them."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[Step] = []
        self._bytes = 0
        self._flushed = 0.0

    def write(self, step: Step) -> None:
        """Have a step written soon.

        Raises:
            OSError: see `flush`.
        """
        self._waiting.append(step)
        self._bytes += sum(len(tensor.content) for tensor in step.tensors)
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
        if select.select([errors], [], [], 0)[0]:
            raise said(errors.readline(), process)
        try:
            steps.write(b"".join(map(pack, waiting)))
            steps.flush()
        except BrokenPipeError:
            raise said(errors.readline(), process) from None

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


@lru_cache(maxsize=64)
def kind_of(dtype: "np.dtype[Any]") -> int:
    """Return smdebug's number for a type of numbers."""
    number: int = DataType.Value(_NP_DATATYPE_TO_PROTO_DATATYPE[dtype])
    return number
