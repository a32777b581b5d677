"""Files of saved steps are what smdebug's own writer makes, byte for byte. Run: `make test`."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.event_file import MOST_WAITING, FilesWriter, StepFile, encode_event, write_files

from smdebug.core import writer  # isort: skip - smdebug imports only after its repairs
from smdebug.core.modes import ModeKeys  # isort: skip
from smdebug.core.tfevent.proto.event_pb2 import Event  # isort: skip
from smdebug.core.tfevent.proto.summary_pb2 import Summary  # isort: skip

ARRAYS: list[Any] = [
    np.asarray(np.float32(3.5)),
    np.arange(600, dtype=np.float32).reshape(3, 200),
    np.arange(5),
    np.zeros(0),
    np.array([True]),
    np.full((1, 1), np.nan, np.float16),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
@pytest.mark.parametrize(("mode", "mode_step", "step"), [(ModeKeys.TRAIN, 0, 0), (ModeKeys.EVAL, 200, 300), (ModeKeys.TRAIN, 127, 70000)])
def test_a_record_is_what_protobuf_makes_of_it(array: Any, mode: Any, mode_step: int, step: int) -> None:
    name = "gradient/Größe.weight"
    tensor = writer.make_tensor_proto(nparray_data=array, tag=name)
    value = Summary.Value(tag=name, metadata=writer.FileWriter._get_metadata(mode, mode_step), tensor=tensor)
    event = Event(summary=Summary(value=[value]))
    event.wall_time, event.step = 1.7e9, step
    assert encode_event(array, name, mode.value, mode_step, step, 1.7e9) == event.SerializeToString()


def test_both_files_of_a_step_are_smdebugs(tmp_path: Path) -> None:
    for folder, file in (
        ("ours", StepFile(tmp_path / "ours", 12, "worker_0")),
        ("theirs", writer.FileWriter(trial_dir=str(tmp_path / "theirs"), step=12, worker="worker_0")),
    ):
        for number, array in enumerate(ARRAYS[:3]):
            file.write_tensor(tdata=array, tname=f"tensor_{number}", mode=ModeKeys.EVAL, mode_step=3, timestamp=1.7e9)
        assert not any((tmp_path / folder).rglob("*.json"))
        file.flush()
        file.close()
    ours, theirs = (
        {file.relative_to(tmp_path / name): file.read_bytes() for file in (tmp_path / name).rglob("*.*")} for name in ("ours", "theirs")
    )
    assert ours.keys() == theirs.keys()
    assert len(ours) == 2
    for name, content in ours.items():
        assert content == theirs[name] if name.suffix == ".tfevents" else json.loads(content) == json.loads(theirs[name])


def test_a_step_without_tensors_leaves_no_file(tmp_path: Path) -> None:
    StepFile(tmp_path, 1, "worker_0").close()
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_cannot_be_written_is_an_error_not_a_wait(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file where the folder should be")
    step = StepFile(tmp_path, 1, "worker_0")
    step.write_tensor(tdata=ARRAYS[0], tname="loss", mode=ModeKeys.TRAIN, mode_step=1)
    with pytest.raises(OSError, match="events"):
        step.close()


def test_files_are_written_in_order_beside_the_training(tmp_path: Path) -> None:
    files = FilesWriter()
    for number in range(3 * MOST_WAITING):
        files.write([(tmp_path / "folder" / "same", bytes([number]))])
    files.close()
    assert (tmp_path / "folder/same").read_bytes() == bytes([3 * MOST_WAITING - 1])


def test_what_could_not_be_written_is_said_at_a_later_step_and_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = FilesWriter()
    with pytest.raises(NotADirectoryError):
        for _ in range(2 * MOST_WAITING):
            files.write([(tmp_path / "file" / "inside", b"")])


def test_a_failure_keeps_no_later_file_from_being_written_and_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "held.tmp")  # the writer waits here until somebody reads, so that all that follows is given before any of it fails
    files = FilesWriter()
    for name in ("held", "file/inside", "sound"):
        files.write([(tmp_path / name, b"")])
    (tmp_path / "held.tmp").read_bytes()
    with pytest.raises(NotADirectoryError):
        files.close()
    files.close()
    assert (tmp_path / "sound").exists()


def test_what_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "step").mkdir()
    with pytest.raises(IsADirectoryError):
        write_files([(tmp_path / "step", b"content")])
    assert [file.name for file in tmp_path.iterdir()] == ["step"]
