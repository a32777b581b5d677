"""Files of saved steps are what smdebug's own writer makes, byte for byte. Run: `make test`."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smdebug.core import writer
from smdebug.core.locations import IndexFileLocationUtils, TensorFileLocation
from smdebug.core.modes import ModeKeys
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfevent.proto.summary_pb2 import Summary
from smdebug.core.tfrecord.record_writer import masked_crc32c

from training.debugger.event_file import (
    END,
    Shape,
    Step,
    Tensor,
    build_files,
    encode_event,
    masked_checksum,
    pack,
    unpack,
    write_files,
    write_steps,
)
from training.debugger.event_writer import StepFile, kind_of

ARRAYS: list[Any] = [
    np.asarray(np.float32(3.5)),
    np.arange(600, dtype=np.float32).reshape(3, 200),
    np.arange(5),
    np.zeros(0),
    np.array([True]),
    np.full((1, 1), np.nan, np.float16),
]


def tensor_of(array: Any, name: str) -> Tensor:
    """What a training hands over of an array."""
    return Tensor(name, kind_of(array.dtype), array.shape, array.tobytes(), 1.7e9)


def step_of(folder: Path, number: int, *tensors: Tensor) -> Step:
    """A step of an evaluation."""
    return Step(str(folder), number, "worker_0", ModeKeys.EVAL.value, "EVAL", 3, tensors)


def found(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
@pytest.mark.parametrize(("mode", "mode_step", "step"), [(ModeKeys.TRAIN, 0, 0), (ModeKeys.EVAL, 200, 300), (ModeKeys.TRAIN, 127, 70000)])
def test_a_record_is_what_protobuf_makes_of_it(array: Any, mode: Any, mode_step: int, step: int) -> None:
    name = "gradient/Größe.weight"
    tensor = writer.make_tensor_proto(nparray_data=array, tag=name)
    value = Summary.Value(tag=name, metadata=writer.FileWriter._get_metadata(mode, mode_step), tensor=tensor)
    event = Event(summary=Summary(value=[value]))
    event.wall_time, event.step = 1.7e9, step
    ours = Step("folder", step, "worker_0", mode.value, mode.name, mode_step)
    assert encode_event(ours, tensor_of(array, name)) == event.SerializeToString()


def test_both_files_of_a_step_are_smdebugs(tmp_path: Path) -> None:
    handed: list[Step] = []
    for folder, file in (
        ("ours", StepFile(str(tmp_path / "ours"), 12, "worker_0", lambda steps, _size: handed.extend(steps))),
        ("theirs", writer.FileWriter(trial_dir=str(tmp_path / "theirs"), step=12, worker="worker_0")),
    ):
        for number, array in enumerate(ARRAYS[:3]):
            file.write_tensor(tdata=array, tname=f"tensor_{number}", mode=ModeKeys.EVAL, mode_step=3, timestamp=1.7e9)
        assert not any((tmp_path / folder).rglob("*.json"))
        file.flush()
        file.close()
    write_files(build_files(handed[0]))
    ours, theirs = found(tmp_path / "ours"), found(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    assert len(ours) == 2
    for name, content in ours.items():
        assert content == theirs[name] if name.endswith(".tfevents") else json.loads(content) == json.loads(theirs[name])


@pytest.mark.parametrize("number", [0, 999, 1000, 1_234_567])
def test_files_lie_where_smdebug_looks_for_them(tmp_path: Path, number: int) -> None:
    files = [file for file, _ in build_files(step_of(tmp_path, number, tensor_of(ARRAYS[0], "loss")))]
    theirs = TensorFileLocation(number, "worker_0").get_file_location(str(tmp_path))
    assert files == [theirs, IndexFileLocationUtils.get_index_key_for_step(str(tmp_path), number, "worker_0")]


@pytest.mark.parametrize("content", [b"", b"0x12345678", bytes(8), bytes(range(8)), b"\xff" * 8])
def test_a_checksum_is_smdebugs(content: bytes) -> None:
    assert masked_checksum(content) == masked_crc32c(content).to_bytes(4, "little")


def test_a_step_without_tensors_has_no_file_and_one_of_shapes_has_an_index(tmp_path: Path) -> None:
    assert build_files(step_of(tmp_path, 1)) == []
    (file, content), *others = build_files(step_of(tmp_path, 1)._replace(shapes=[Shape("loss", "loss", (2, 3))]))
    assert file.endswith(".json")
    assert json.loads(content)["shape_payload"] == [{"tensorname": "loss", "originalname": "loss", "shape": [2, 3]}]
    assert others == []


def test_steps_are_handed_over_whole(tmp_path: Path) -> None:
    step = step_of(tmp_path, 5, *(tensor_of(array, f"Größe {number}") for number, array in enumerate(ARRAYS)))
    steps = [step._replace(shapes=[Shape("loss", "loss", (2, 3))]), step_of(tmp_path, 6, tensor_of(ARRAYS[1], "loss"))]
    packed = pack(steps)
    described, content = (int.from_bytes(packed[start : start + 4], "little") for start in (0, 4))
    assert len(packed) == 8 + described + content
    handed = unpack(packed[8 : 8 + described], packed[8 + described :])
    assert list(map(build_files, handed)) == list(map(build_files, steps))


def test_the_first_that_cannot_be_written_is_said_and_keeps_no_later_step_from_being_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    folders = (tmp_path / "file", tmp_path / "file" / "again", tmp_path / "sound")
    steps = [step_of(folder, 1, tensor_of(ARRAYS[0], "loss")) for folder in folders]
    errors = io.StringIO()
    write_steps(io.BytesIO(pack(steps) + END + b"nothing of this is read"), errors)
    (number, text, file), *others = map(json.loads, errors.getvalue().splitlines())
    assert isinstance(OSError(number, text), NotADirectoryError)
    assert file.startswith(str(tmp_path / "file/events"))
    assert others == []
    assert len(found(tmp_path / "sound")) == 2


class Gone(io.StringIO):
    """The errors of a training that was killed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


@pytest.mark.parametrize("name", ["file", "zero\0byte"])
def test_whatever_fails_after_the_training_is_gone_later_steps_are_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    steps = [step_of(folder, 1, tensor_of(ARRAYS[0], "loss")) for folder in (tmp_path / name, tmp_path / "sound")]
    write_steps(io.BytesIO(pack(steps)), Gone())
    assert len(found(tmp_path / "sound")) == 2


def test_of_a_training_that_was_killed_all_that_was_handed_over_whole_is_written(tmp_path: Path) -> None:
    steps = [pack([step_of(tmp_path, number, tensor_of(ARRAYS[1], "loss"))]) for number in (1, 2)]
    for cut in (len(steps[0]) + 4, len(steps[0]) + 20, len(steps[0] + steps[1]) - 1):
        write_steps(io.BytesIO(b"".join(steps)[:cut]), io.StringIO())
        assert {Path(name).name for name in found(tmp_path)} == {"000000000001_worker_0.tfevents", "000000000001_worker_0.json"}


def test_what_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "step").mkdir()
    with pytest.raises(IsADirectoryError):
        write_files([(str(tmp_path / "step"), b"content")])
    assert [file.name for file in tmp_path.iterdir()] == ["step"]
