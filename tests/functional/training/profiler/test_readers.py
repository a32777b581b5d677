"""Tests that smdebug's own readers read what the profiler writes, and that ours reads what the service writes."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training.profiler.planted import write_samples
from training.profiler.metrics import read_metrics
from training.profiler.profiler import start_profiler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a job of a second filled."""
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
    path = tmp_path_factory.mktemp("profiler")
    profiler = start_profiler("embedded", path, torch.device("cpu"))
    for _ in range(8):
        for name in ("data", "forward", "backward", "optimizer"):
            with profiler.phase(name):
                time.sleep(0.03)
        profiler.step("train")
    profiler.close()
    return path


def test_smdebug_reads_the_samples(folder: Path) -> None:
    from smdebug.profiler.system_metrics_reader import LocalSystemMetricsReader

    events = LocalSystemMetricsReader(str(folder)).get_events(0, time.time() * 1e6)
    assert {(event.type, event.dimension) for event in events} >= {("cpu", "CPUUtilization"), ("cpu", "I/OWaitPercentage"), ("memory", "")}
    assert {event.node_id for event in events} == {"algo-1"}
    assert all(abs(event.timestamp - time.time()) < 600 for event in events)


def test_smdebug_reads_the_timeline(folder: Path) -> None:
    from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader

    events = LocalAlgorithmMetricsReader(str(folder)).get_events(0, time.time() * 1e6)
    steps = [event for event in events if event.event_name == "Step:ModeKeys.TRAIN"]
    assert [event.event_args["step_num"] for event in steps] == [str(number) for number in range(8)]
    assert all(event.event_phase == "Step:ModeKeys.TRAIN" and event.duration >= 120_000 for event in steps)
    assert {event.event_name for event in events} == {"Step:ModeKeys.TRAIN", "data", "forward", "backward", "optimizer"}
    assert all(abs(event.start_time / 1e6 - time.time()) < 600 for event in events)


def row(kind: str, name: str, dimension: str, value: float, at: float, node: str = "algo-1") -> dict[str, Any]:
    return {"Type": kind, "Name": name, "Dimension": dimension, "Value": value, "NodeId": node, "Timestamp": at}


SERVICE = [
    {"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": 1.36, "NodeId": "algo-1", "Timestamp": 1591748109.2321954},
    {"Type": "cpu", "Name": "cpu10", "Dimension": "CPUUtilization", "Value": 3.0, "NodeId": "algo-1", "Timestamp": 1591748109.2321954},
    {"Type": "cpu", "Name": "cpu2", "Dimension": "CPUUtilization", "Value": 2.0, "NodeId": "algo-1", "Timestamp": 1591748109.2321954},
    {"Type": "gpu", "Name": "gpu0", "Dimension": "GPUUtilization", "Value": 88.0, "NodeId": "algo-1", "Timestamp": 1591748109.3},
    {"Type": "gpu", "Name": "gpu0", "Dimension": "GPUMemoryUtilization", "Value": 40.0, "NodeId": "algo-1", "Timestamp": 1591748109.3},
    {"Type": "memory", "Name": "MemoryUsedPercent", "Dimension": "", "Value": 4.7, "NodeId": "algo-1", "Timestamp": 1591748109.4},
    {
        "Type": "network",
        "Name": "ReceiveBytesPerSecond",
        "Dimension": "Algorithm",
        "Value": 5.0,
        "NodeId": "algo-1",
        "Timestamp": 1591748109.4,
    },
    {
        "Type": "network",
        "Name": "ReceiveBytesPerSecond",
        "Dimension": "Platform",
        "Value": 9.0,
        "NodeId": "algo-1",
        "Timestamp": 1591748109.4,
    },
]


def test_the_services_rows_are_read(tmp_path: Path) -> None:
    write_samples(tmp_path, SERVICE)
    metrics = read_metrics(tmp_path)
    assert list(metrics.cores) == ["cpu0", "cpu2", "cpu10"]
    assert metrics.gpus["gpu0"].values.tolist() == [88.0]
    assert metrics.gpu_memory["gpu0"].values.tolist() == [40.0]
    assert metrics.network["ReceiveBytesPerSecond"].values.tolist() == [5.0]
    assert metrics.memory.values.tolist() == [4.7]
    assert (metrics.device, metrics.steps, metrics.loop) == ("", {}, None)


def test_hosts_are_told_apart(tmp_path: Path) -> None:
    write_samples(tmp_path, [row("cpu", "cpu0", "CPUUtilization", 10.0, 5.0)])
    write_samples(tmp_path, [row("cpu", "cpu0", "CPUUtilization", 30.0, 5.0, "algo-2")], "1795521240.algo-2.json")
    metrics = read_metrics(tmp_path)
    assert list(metrics.cores) == ["algo-1/cpu0", "algo-2/cpu0"]
    assert metrics.cpu().values.tolist() == [20.0]


def test_a_line_that_was_not_finished_is_left_out(tmp_path: Path) -> None:
    write_samples(tmp_path, [row("cpu", "cpu0", "CPUUtilization", 10.0, 5.0)])
    file = next(tmp_path.rglob("*.json"))
    file.write_text(file.read_text() + '{"Type": "cpu", "Name": "cp')
    assert read_metrics(tmp_path).cores["cpu0"].values.tolist() == [10.0]


def test_of_too_many_samples_a_part_is_read(tmp_path: Path) -> None:
    write_samples(tmp_path, [row("cpu", f"cpu{core}", "CPUUtilization", 1.0, float(at)) for at in range(90) for core in range(2)])
    size = next(tmp_path.rglob("*.json")).stat().st_size
    metrics = read_metrics(tmp_path, largest=size // 2 - 1)
    assert [values.times.tolist() for values in metrics.cores.values()] == [list(range(0, 90, 3))] * 2


def test_an_empty_folder_is_an_empty_profile(tmp_path: Path) -> None:
    metrics = read_metrics(tmp_path / "missing")
    assert (metrics.cores, metrics.steps, metrics.seconds, metrics.waited) == ({}, {}, 0.0, None)


def test_of_too_many_minutes_a_part_is_read(tmp_path: Path) -> None:
    """The first and the last of them always: they say how long the job was."""
    for minute in range(60):
        for node in ("algo-1", "algo-2"):
            sample = {**row("cpu", "cpu0", "CPUUtilization", 1.0, float(60 * minute)), "NodeId": node}
            write_samples(tmp_path, [sample], f"{60 * minute:010}.{node}.json")
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.json"))
    cores = read_metrics(tmp_path, largest=size // 3 - 1).cores
    assert sorted(cores) == ["algo-1/cpu0", "algo-2/cpu0"]
    for values in cores.values():
        assert values.times.tolist() == [60.0 * minute for minute in (*range(0, 59, 4), 59)]
