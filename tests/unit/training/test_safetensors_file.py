"""Tensors in a file: read and written as the safetensors package does it; damage is told, nothing is run. Run: `make test`."""

import json
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from training.job.safetensors_file import TensorFileError, read_tensors, write_tensors

TENSORS = {
    "half": torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).half(),
    "brain": torch.tensor([1.5, -2.0]).bfloat16(),
    "single": torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2)),
    "double": torch.tensor([1e300], dtype=torch.float64),
    "long": torch.tensor([-1, 2**62]),
    "int": torch.tensor([[1]], dtype=torch.int32),
    "byte": torch.tensor([0, 255], dtype=torch.uint8),
    "truth": torch.tensor([True, False]),
    "number": torch.tensor(7.0),
    "nothing": torch.empty(0, 5),
    "n\u00e4me with spaces": torch.zeros(1),
}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one)


def test_they_come_back(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", TENSORS, {"a": "1", "\u00e4": "{}"})
    tensors, metadata = read_tensors(tmp_path / "t")
    assert same(tensors, TENSORS)
    assert metadata == {"a": "1", "\u00e4": "{}"}


def test_the_package_reads_what_is_written_here(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", TENSORS, {"a": "1"})
    assert same(load_file(tmp_path / "t"), TENSORS)
    with safe_open(tmp_path / "t", "pt") as file:
        assert file.metadata() == {"a": "1"}


def test_what_the_package_writes_is_read_here(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "t", {"a": "1"})
    tensors, metadata = read_tensors(tmp_path / "t")
    assert same(tensors, TENSORS)
    assert metadata == {"a": "1"}


def test_views_are_written_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "t", {"turned": whole.T, "part": whole[:, 1:2]})
    assert torch.equal(read_tensors(tmp_path / "t")[0]["turned"], whole.T)
    assert torch.equal(read_tensors(tmp_path / "t")[0]["part"], whole[:, 1:2])


def test_nothing_unfinished_is_left(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", {"a": torch.zeros(1)})
    write_tensors(tmp_path / "t", {"a": torch.ones(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    assert read_tensors(tmp_path / "t")[0]["a"].item() == 1


def file_of(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(**changes: object) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 10**15) + b"{}",
        file_of(b"no json"),
        file_of([]),
        file_of({"a": 1}),
        file_of({"a": {}}),
        file_of(b"\xff\xfe{}"),
        file_of(entry(), bytes(7)),
        file_of(entry(dtype="F4"), bytes(8)),
        file_of(entry(shape=[3]), bytes(8)),
        file_of(entry(shape=[-2]), bytes(8)),
        file_of(entry(shape=["2"]), bytes(8)),
        file_of(entry(shape=[10**9, 10**9]), bytes(8)),
        file_of(entry(data_offsets=[8, 0]), bytes(8)),
        file_of(entry(data_offsets=[-8, 0]), bytes(8)),
        file_of(entry(data_offsets=[0, 10**15]), bytes(8)),
        file_of(entry(data_offsets=[0]), bytes(8)),
        file_of(entry(more=1), bytes(8)),
        file_of({"__metadata__": 1}),
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        b"PK\x03\x04" + bytes(60),
        file_of(b"[" * 100_000),
        file_of({"a": {"dtype": "F32", "shape": [], "data_offsets": {}}}),
    ],
)
def test_what_is_no_whole_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(TensorFileError):
        read_tensors(tmp_path / "t")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TensorFileError, match="nowhere"):
        read_tensors(tmp_path / "nowhere")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6), end=st.integers(0, 1500))
def test_changed_bytes_raise_nothing_else_and_take_no_memory(tmp_path: Path, changes: list[tuple[int, int]], end: int) -> None:
    write_tensors(tmp_path / "t", TENSORS, {"a": "1"})
    content = bytearray((tmp_path / "t").read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    (tmp_path / "t").write_bytes(content[:end] if end % 2 else content)
    tracemalloc.start()
    try:
        read_tensors(tmp_path / "t")
    except TensorFileError:
        pass
    finally:
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
