"""Tests of what the training loop talks to: steps and phases are recorded, and nothing stops the training."""

import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training.job.micro_batches import Parts
from training.profiler.metrics import read_metrics
from training.profiler.profiler import (
    FIRST_SYNCHRONISED,
    PHASES,
    STEPS_BEFORE_THINNING,
    SYNCHRONISED,
    JobProfiler,
    NoProfiler,
    Phase,
    Profiler,
    _stride,
    start_profiler,
)
from training.profiler.torch_window import BEGINS_AFTER, STEPS

CPU = torch.device("cpu")


class Clock:
    """Nanoseconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


def timed(folder: Path) -> tuple[JobProfiler, Clock]:
    clock = Clock()
    return JobProfiler(folder, CPU, sampler=None, clock=clock), clock


class Counting(JobProfiler):
    """A profiler of a GPU that is made up: it counts how often it was waited for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CPU, sampler=None)
        self.waits = 0
        self._synchronise, self._times_phases = self._count, False

    def _count(self) -> None:
        self.waits += 1


class BrokenGpu(JobProfiler):
    """A profiler of a GPU that is made up, and whose memory is at its end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CPU, sampler=None)
        self._synchronise, self._times_phases = self._fail, True

    def _fail(self) -> None:
        raise RuntimeError("CUDA error")


def run(
    profiler: Profiler, steps: int, phases: tuple[Phase, ...] = ("data", "forward", "backward", "optimizer"), seconds: float = 0
) -> None:
    for _ in range(steps):
        for name in phases:
            with profiler.phase(name):
                time.sleep(seconds)
        profiler.step("train")


def events(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "framework" / "pevents").glob("*/*.json"))
    return [event for file in files for event in json.loads(file.read_text()) if event["ph"] == "X"]


def test_steps_and_phases_are_recorded(tmp_path: Path) -> None:
    profiler, clock = timed(tmp_path)
    for _ in range(4):
        for name, seconds in zip(PHASES, (0.01, 0.03, 0.05, 0.005), strict=False):
            with profiler.phase(name):
                clock.pass_by(seconds)
        clock.pass_by(0.005)
        profiler.step("train")
    with profiler.phase("forward"):
        clock.pass_by(0.02)
    profiler.step("eval")
    profiler.close()
    metrics = read_metrics(tmp_path)
    assert {mode: steps.count for mode, steps in metrics.steps.items()} == {"train": 4, "eval": 1}
    assert metrics.steps["train"].seconds.tolist() == pytest.approx([0.1] * 4)
    assert metrics.steps["eval"].seconds.tolist() == pytest.approx([0.02])
    shares = {"data": 0.1, "forward": 0.3, "backward": 0.5, "optimizer": 0.05, "rest": 0.05}
    assert metrics.steps["train"].phases == pytest.approx(shares, abs=1e-3)
    assert metrics.waited == pytest.approx(0.04, abs=1e-3)
    assert profiler.problem is None


def test_phases_that_come_several_times_a_step_are_added_up(tmp_path: Path) -> None:
    profiler, clock = timed(tmp_path)
    for name in ("data", "forward", "backward", "forward", "backward"):
        with profiler.phase(name):
            clock.pass_by(0.01)
    profiler.step("train")
    profiler.close()
    assert read_metrics(tmp_path).steps["train"].phases["forward"] == pytest.approx(0.4)


def test_a_step_begins_with_its_first_phase(tmp_path: Path) -> None:
    profiler, clock = timed(tmp_path)
    run(profiler, 1)
    with profiler.phase("data"):
        clock.pass_by(0.001)  # the data were at their end
    with profiler.phase("save"):
        clock.pass_by(0.05)
    clock.pass_by(3)
    with profiler.phase("data"):
        clock.pass_by(0.1)
    profiler.step("train")
    profiler.close()
    metrics = read_metrics(tmp_path)
    assert metrics.steps["train"].seconds[1] == pytest.approx(0.1)
    assert [seconds for _, seconds in metrics.between] == [pytest.approx(0.05)]


def test_saving_inside_a_step_is_part_of_it(tmp_path: Path) -> None:
    profiler, clock = timed(tmp_path)
    for name in ("data", "backward", "save", "optimizer"):
        with profiler.phase(name):
            clock.pass_by(0.01)
    profiler.step("train")
    profiler.close()
    metrics = read_metrics(tmp_path)
    assert metrics.between == ()
    assert metrics.steps["train"].phases["save"] == pytest.approx(0.25)


def test_what_a_phase_raises_goes_through(tmp_path: Path) -> None:
    profiler = JobProfiler(tmp_path, CPU, sampler=None)
    with pytest.raises(KeyError), profiler.phase("forward"):
        raise KeyError
    profiler.close()
    assert profiler.problem is None


def test_a_shortage_in_a_phase_is_not_masked_by_the_wait_for_the_gpu(tmp_path: Path) -> None:
    """The batch is done again in smaller parts only where the shortage itself arrives."""
    profiler = BrokenGpu(tmp_path)

    def attempt(at_once: int) -> int:
        profiler._times_phases = True
        with profiler.phase("forward"):
            if at_once > 2:
                raise torch.OutOfMemoryError
        return at_once

    assert Parts(8).run(attempt) == 2
    profiler.step("train")
    profiler.close()
    assert profiler.problem == "phases are missing: RuntimeError: CUDA error"


def test_one_window_of_operators_is_recorded(tmp_path: Path) -> None:
    profiler = JobProfiler(tmp_path, CPU, sampler=None)
    left, right = torch.ones(64, 64), torch.ones(64, 64)
    for _ in range(BEGINS_AFTER + STEPS + 5):
        with profiler.phase("forward"):
            left @ right
        profiler.step("train")
    profiler.close()
    written = json.loads((tmp_path / "framework" / "torch-profiler" / "operators.json").read_text())
    calls = {operator["name"]: operator["calls"] for operator in written["operators"]}
    assert (written["steps"], written["device"], calls["aten::mm"]) == (STEPS, "cpu", STEPS)
    trace = json.loads(gzip.decompress((tmp_path / "framework" / "torch-profiler" / "trace.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::mm" for event in trace["traceEvents"])


def test_a_job_that_ends_inside_the_window_keeps_what_it_saw(tmp_path: Path) -> None:
    profiler = JobProfiler(tmp_path, CPU, sampler=None)
    for _ in range(BEGINS_AFTER + 1):
        torch.ones(8).sum()
        profiler.step("train")
    profiler.close()
    assert json.loads((tmp_path / "framework" / "torch-profiler" / "operators.json").read_text())["steps"] == 1


def test_on_a_gpu_the_phases_of_few_steps_are_timed_and_waited_for(tmp_path: Path) -> None:
    profiler = Counting(tmp_path)
    run(profiler, 1 + 10 * SYNCHRONISED)
    profiler.close()
    steps = Counter(event["args"]["step_num"] for event in events(tmp_path) if event["name"] == "forward")
    assert sorted(map(int, steps)) == [*FIRST_SYNCHRONISED, *range(SYNCHRONISED, 10 * SYNCHRONISED + 1, SYNCHRONISED)]
    assert profiler.waits == 8 * len(steps)
    assert len([event for event in events(tmp_path) if event["name"] == "Step:ModeKeys.TRAIN"]) == 1 + 10 * SYNCHRONISED


def test_a_cpu_is_never_waited_for(tmp_path: Path) -> None:
    assert JobProfiler(tmp_path, CPU, sampler=None)._synchronise is None


def test_a_long_training_is_thinned_out() -> None:
    kept = sum(number % _stride(number) == 0 for number in range(100 * STEPS_BEFORE_THINNING))
    assert _stride(STEPS_BEFORE_THINNING - 1) == 1
    assert _stride(STEPS_BEFORE_THINNING) == 2
    assert 5 * STEPS_BEFORE_THINNING < kept < 8 * STEPS_BEFORE_THINNING


def test_files_are_written_while_the_training_goes_on(tmp_path: Path) -> None:
    profiler = JobProfiler(tmp_path, CPU, sampler=None)
    run(profiler, 1000)
    assert len(events(tmp_path)) >= 4000
    assert not list(tmp_path.rglob("*.tmp"))


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def breaking(profiler: JobProfiler, what: Callable[..., None]) -> JobProfiler:
    profiler._timeline.flush = what  # type: ignore[method-assign]
    return profiler


def test_a_full_disk_is_said_once_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiler = breaking(JobProfiler(tmp_path, CPU, sampler=None), full)
    run(profiler, 3000)
    profiler.close()
    assert profiler.problem == "steps are missing: OSError: [Errno 28] No space left on device"
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("profiler degraded: ")]
    assert said == [f"profiler degraded: {profiler.problem}. The training itself is not affected."]
    assert (tmp_path / "degraded.txt").read_text() == f"{profiler.problem}\n"


def test_a_folder_that_cannot_be_made_gives_a_profiler_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    profiler = start_profiler("embedded", tmp_path / "file" / "profiler-output", CPU)
    run(profiler, 3)
    profiler.close()
    assert isinstance(profiler, NoProfiler)
    assert "it could not be started" in str(profiler.problem)
    assert "profiler degraded: it could not be started" in capsys.readouterr().out


def test_off_measures_nothing(tmp_path: Path) -> None:
    profiler = start_profiler("off", tmp_path / "out", CPU)
    run(profiler, 3)
    profiler.close()
    assert profiler.problem is None
    assert not (tmp_path / "out").exists()


def test_managed_times_steps_and_leaves_sampling_to_the_service(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "of-the-service").touch()
    (tmp_path / "degraded.txt").touch()
    profiler = start_profiler("managed", tmp_path, CPU)
    run(profiler, 3)
    profiler.close()
    assert read_metrics(tmp_path).steps["train"].count == 3
    assert [file.name for file in (tmp_path / "system").iterdir()] == ["of-the-service"]
    assert not (tmp_path / "degraded.txt").exists()


def test_embedded_measures_all_and_drops_an_earlier_run(tmp_path: Path) -> None:
    old = tmp_path / "system" / "incremental" / "2020010100" / "1577836800.algo-1.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    profiler = start_profiler("embedded", tmp_path, CPU)
    run(profiler, 20, seconds=0.02)
    profiler.close()
    profiler.close()
    metrics = read_metrics(tmp_path)
    assert not old.exists()
    assert len(metrics.cores) == os.cpu_count()
    assert metrics.steps["train"].count == 20
    assert (metrics.device, profiler.problem) == ("cpu", None)


def test_a_dead_sampler_is_a_problem(tmp_path: Path) -> None:
    profiler = start_profiler("embedded", tmp_path, CPU)
    assert isinstance(profiler, JobProfiler)
    assert profiler._sampler
    assert profiler._sampler._process
    profiler._sampler._process.kill()
    profiler._sampler._process.wait()
    run(profiler, 3)
    profiler.close()
    assert "the machine was not sampled to the end" in str(profiler.problem)
    assert read_metrics(tmp_path).steps["train"].count == 3


def test_a_step_with_its_phases_costs_microseconds(tmp_path: Path) -> None:
    profiler = JobProfiler(tmp_path, CPU, sampler=None)
    run(profiler, 500)
    began = time.process_time()
    run(profiler, 2000)
    assert (time.process_time() - began) / 2000 < 200e-6
    profiler.close()
