"""Steps are written in order by a process beside the training, and what fails there is said here. Run: `make test`."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from smdebug.core.modes import ModeKeys

from training.debugger.event_file import Step, Tensor
from training.debugger.event_writer import MOST_WAITING, EventWriter, StepFile


@pytest.fixture
def files() -> Iterator[EventWriter]:
    """A writer, whose process is gone afterwards."""
    before = psutil.Process().children()
    writer = EventWriter()
    yield writer
    writer.close()
    assert psutil.Process().children() == before


def write_step(files: EventWriter, folder: Path, number: int = 0, numbers: int = 1) -> None:
    """Give a writer a step of so many zeros."""
    step = StepFile(str(folder), number, "worker_0", files.write)
    step.write_tensor(np.zeros(numbers, np.float32), "loss", ModeKeys.TRAIN, number)
    step.close()


def saved(folder: Path) -> list[str]:
    """The steps whose index is there, by name."""
    return sorted(file.name.partition("_")[0] for file in folder.rglob("*.json"))


def until_saved(folder: Path) -> None:
    """Wait for a step."""
    deadline = time.monotonic() + 30
    while not saved(folder):
        assert time.monotonic() < deadline, "it was not written in time"
        time.sleep(0.01)


def test_steps_are_all_written_when_the_writer_is_closed(files: EventWriter, tmp_path: Path) -> None:
    for number in range(200):
        write_step(files, tmp_path, number)
    files.close()
    assert saved(tmp_path) == [f"{number:012d}" for number in range(200)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_steps_wait_until_they_are_flushed(files: EventWriter, tmp_path: Path) -> None:
    files.flush()  # the time until the next one by itself begins
    write_step(files, tmp_path)
    assert files._process is None
    files.flush()
    until_saved(tmp_path)


def test_large_steps_do_not_wait(files: EventWriter, tmp_path: Path) -> None:
    files.flush()
    write_step(files, tmp_path, numbers=MOST_WAITING // 4)
    until_saved(tmp_path)


def test_a_writer_that_gets_nothing_starts_no_process(files: EventWriter) -> None:
    files.flush()
    assert files._process is None


def test_what_could_not_be_written_is_said_at_a_later_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = EventWriter()
    deadline = time.monotonic() + 30
    with pytest.raises(NotADirectoryError, match="file"):
        while time.monotonic() < deadline:
            write_step(files, tmp_path / "file" / "inside")
            files.flush()
    with contextlib.suppress(NotADirectoryError):  # as many times as steps were given
        files.close()


def test_a_failure_keeps_no_later_step_from_being_written_and_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = EventWriter()
    for name in ("file/inside", "sound"):
        write_step(files, tmp_path / name)
    with pytest.raises(NotADirectoryError):
        files.close()
    files.close()
    assert saved(tmp_path / "sound")


def test_thousands_of_steps_that_fail_at_once_hold_nobody_up(tmp_path: Path) -> None:
    """More than both pipes hold: each side would wait for the other to read."""
    (tmp_path / "file").touch()
    files = EventWriter()
    folder, tensor = str(tmp_path / "file" / ("x" * 200)), Tensor("loss", 1, (), bytes(4), 1.7e9)
    with pytest.raises(NotADirectoryError):
        files.write([Step(folder, number, "worker_0", 1, "TRAIN", number, [tensor]) for number in range(3000)], MOST_WAITING)
        files.close()
    files.close()


@pytest.mark.parametrize("told", ["at a later step", "at the end"])
def test_a_process_that_was_killed_is_an_error(tmp_path: Path, told: str) -> None:
    files = EventWriter()
    write_step(files, tmp_path)
    files.flush()
    assert files._process is not None
    os.kill(files._process.pid, signal.SIGKILL)
    files._process.wait()
    if told == "at a later step":
        write_step(files, tmp_path, 1)
        with pytest.raises(OSError, match="ended with status -9"):
            files.flush()
    with pytest.raises(OSError, match="ended with status -9"):
        files.close()
    files.close()


@pytest.mark.parametrize("name", ["a", "gradient/ResNet_layer4.2.conv3.weight", "Größe"])
@pytest.mark.parametrize("shape", [(), (1,), (64, 3, 7, 7)])
@pytest.mark.parametrize("tensors", [1, 20])
def test_the_size_that_a_step_says_is_at_least_and_nearly_that_of_its_files(
    tmp_path: Path, name: str, shape: tuple[int, ...], tensors: int
) -> None:
    files = EventWriter()
    step = StepFile(str(tmp_path), 123_456, "worker_0", files.write)
    for _ in range(tensors):
        step.write_tensor(np.zeros(shape, np.float32), name, ModeKeys.EVAL, 9999)
        step.write_shape(name, shape, ModeKeys.EVAL, 9999)
    step.close()
    files.close()
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert 0.4 * step.bytes < size <= step.bytes
