"""Tests of the sampler: the service's rows, its files, and a process that ends with its input."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from training.profiler import sampler
from training.profiler.gpus import GpuState
from training.profiler.sampler import Machine, MetricsFile, sample, stretched
from training.profiler.sampling import REPOSITORY, SamplerProcess


class FakeGpus:
    def states(self) -> list[GpuState | None]:
        return [GpuState(97.0, 75.0), None, GpuState(3.0, 6.25)]


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "system" / "incremental").glob("*/*.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def wait_times(count: int) -> Iterator[bool]:
    yield from [False] * count
    yield True


def sampled(folder: Path, count: int) -> list[dict[str, Any]]:
    waits = wait_times(count)

    def wait(_seconds: float) -> bool:
        time.sleep(0.02)
        return next(waits)

    sample(folder, "algo-1", 0.02, wait, Machine(FakeGpus()))
    return rows(folder)


def test_rows_are_those_of_the_service(tmp_path: Path) -> None:
    found = Counter((row["Type"], row["Name"], row["Dimension"]) for row in sampled(tmp_path, 3))
    cores = psutil.cpu_count() or 1
    assert {key for key in found if key[0] == "cpu"} == {
        ("cpu", f"cpu{core}", dimension) for core in range(cores) for dimension in ("CPUUtilization", "I/OWaitPercentage")
    }
    assert {key for key in found if key[0] != "cpu"} == {
        ("memory", "MemoryUsedPercent", ""),
        ("i/o", "IOPS", ""),
        ("i/o", "ReadThroughputInBytesPerSecond", ""),
        ("i/o", "WriteThroughputInBytesPerSecond", ""),
        ("network", "ReceiveBytesPerSecond", "Algorithm"),
        ("network", "TransmitBytesPerSecond", "Algorithm"),
        ("gpu", "gpu0", "GPUUtilization"),
        ("gpu", "gpu0", "GPUMemoryUtilization"),
        ("gpu", "gpu2", "GPUUtilization"),
        ("gpu", "gpu2", "GPUMemoryUtilization"),
    }
    assert set(found.values()) == {3}


def test_a_row_has_the_keys_and_kinds_of_the_service(tmp_path: Path) -> None:
    before = time.time()
    row = sampled(tmp_path, 1)[0]
    assert list(row) == ["Type", "Name", "Dimension", "Value", "NodeId", "Timestamp"]
    assert row["NodeId"] == "algo-1"
    assert before - 1 < row["Timestamp"] < time.time() + 1


def test_percentages_lie_between_0_and_100(tmp_path: Path) -> None:
    values = [row["Value"] for row in sampled(tmp_path, 5) if row["Type"] in ("cpu", "memory", "gpu")]
    assert all(0 <= value <= 100 for value in values)


def test_a_busy_core_is_seen() -> None:
    machine = Machine(FakeGpus())
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    busy = sum(value for kind, _, dimension, value in machine.look() if (kind, dimension) == ("cpu", "CPUUtilization"))
    assert busy > 20


def test_a_file_holds_a_minute_and_a_folder_an_hour(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path, "algo-2")
    for moment in (1591748109.2, 1591748159.9, 1591748160.1, 1591750800.0):
        file.write([("cpu", "cpu0", "CPUUtilization", 1.5)], moment)
    file.close()
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json"))
    assert names == [
        "system/incremental/2020061000/1591748100.algo-2.json",
        "system/incremental/2020061000/1591748160.algo-2.json",
        "system/incremental/2020061001/1591750800.algo-2.json",
    ]


@pytest.mark.parametrize(("cores", "most"), [(16, 75e6), (96, 110e6)])
def test_samples_of_ten_hours_stay_small(cores: int, most: float) -> None:
    """In the format's own bytes; the first ones come twice a second."""
    row = '{"Type": "cpu", "Name": "cpu10", "Dimension": "I/OWaitPercentage", "Value": 33.33, "NodeId": "algo-1", '
    row += '"Timestamp": 1591748109.2000}\n'
    size, seconds, written = len(row) * (2 * cores + 6), 0.0, 0
    while seconds < 36_000:
        written += size
        seconds += stretched(0.5, written)
    assert stretched(0.5, size) == 0.5
    assert written < most


def test_a_sampler_that_has_written_much_waits_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "PART", 1000)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) > 4

    sample(tmp_path, "algo-1", 60.0, wait, Machine(FakeGpus()))
    assert waited[0] == pytest.approx(60, abs=5)
    assert waited[3] > 5 * 60, "four times as long is what four equal intervals would be"


def test_the_process_ends_with_its_input_and_leaves_a_last_sample(tmp_path: Path) -> None:
    process = SamplerProcess(tmp_path, interval_ms=1000)
    wait_for(lambda: bool(rows(tmp_path)))
    time.sleep(0.3)
    assert process.finish() is None
    assert {row["Type"] for row in rows(tmp_path)} >= {"cpu", "memory", "i/o", "network"}
    assert len({row["Timestamp"] for row in rows(tmp_path)}) == 2
    assert (tmp_path / "system" / "training_job_end.ts").exists()


def test_the_process_is_ended_though_a_child_holds_its_input(tmp_path: Path) -> None:
    process = SamplerProcess(tmp_path, interval_ms=100)
    assert process._process is not None
    assert process._process.stdin is not None
    other = os.dup(process._process.stdin.fileno())
    wait_for(lambda: bool(rows(tmp_path)))
    assert process.finish() is None
    os.close(other)
    assert process._process.poll() == 0


def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import time; from pathlib import Path; from training.profiler.sampling import SamplerProcess; "
        f"print(SamplerProcess(Path({str(tmp_path)!r}), interval_ms=100)._process.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        sampler = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: bool(rows(tmp_path)))
        parent.kill()
    wait_for(lambda: not sampler.is_running() or sampler.status() == psutil.STATUS_ZOMBIE)


def test_a_sampler_that_died_is_told(tmp_path: Path) -> None:
    process = SamplerProcess(tmp_path, interval_ms=100)
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    assert process.finish() == "the machine was not sampled to the end: the sampler's process ended with status -9"


def test_a_sampler_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    assert "the machine is not sampled: " in str(SamplerProcess(tmp_path, python="/nonexistent/python").finish())


def test_a_folder_that_cannot_be_written_ends_the_sampler_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "system").write_text("a file")
    command = [sys.executable, "-m", "training.profiler.sampler", "--folder", str(tmp_path), "--interval-ms", "100"]
    done = subprocess.run(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("profiler degraded: samples of the machine cannot be written: ")


def test_the_sampler_imports_neither_torch_nor_numpy() -> None:
    program = "import sys, training.profiler.sampler; print([name for name in ('torch', 'numpy', 'smdebug') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=REPOSITORY, check=True, timeout=60)
    assert done.stdout.decode().strip() == "[]"


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"not so after {seconds} s")
        time.sleep(0.05)
