"""The profiler's interface to the training loop, which reports its phases and the end of each step.

Runs in training jobs. A failure here does not stop a training: it is logged once and kept in `problem`.

A phase costs about two microseconds. On a GPU, kernels run after the call that starts them has returned, so that a phase's time by the
clock would be that of starting them. There one training step in SYNCHRONISED waits for the GPU at both ends of each phase, and the phases
of that step alone are recorded; steps are timed always, for each of them ends by fetching its answers.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from time import perf_counter_ns
from typing import Literal, Protocol

import torch

from training.contract import DEGRADED
from training.profiler.sampling import SamplerProcess
from training.profiler.timeline import Timeline
from training.profiler.torch_window import TorchWindow, synchroniser

Phase = Literal["data", "forward", "backward", "optimizer", "save"]
PHASES: tuple[Phase, ...] = ("data", "forward", "backward", "optimizer", "save")
"""The phases of a step. Time outside of them is the rest of the step."""

SYNCHRONISED = 20
"""On a GPU the phases of one step in so many are timed; waiting for the GPU in each would keep the CPU from working ahead of it."""

FIRST_SYNCHRONISED = (1, 2)
"""Early steps that are timed too, for trainings of few steps; the very first, which chooses algorithms, is like no other."""

STEPS_BEFORE_THINNING = 4000
"""So many steps of a mode are recorded, then as many of every second one, of every fourth …: a long training takes megabytes."""

MODE_NAMES = {"train": "TRAIN", "eval": "EVAL"}


class Profiler(Protocol):
    """What the training loop and the job call."""

    problem: str | None
    """Why measurements are missing: a sentence; None if nothing is missing."""

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Time the block; a phase may occur several times per step, and phases are not nested."""

    def step(self, mode: str) -> None:
        """Record the end of a step, `mode`: "train" or "eval". It began with the first phase after the last step, other than "save"."""

    def close(self) -> None:
        """Write the remaining measurements and end the sampler; further calls do nothing."""


class NoProfiler:
    """Measures nothing: it is off, or could not be started."""

    def __init__(self, problem: str | None = None) -> None:
        """`problem`: why the requested profiler could not be started."""
        self.problem = problem

    def phase(self, _name: Phase) -> AbstractContextManager[object]:
        """Nothing to time."""
        return nullcontext()

    def step(self, mode: str) -> None:
        """Nothing to count."""

    def close(self) -> None:
        """Nothing to end."""


class JobProfiler:
    """Times steps and phases, records one window of operators, and samples the machine in a process beside the training."""

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        sampler: SamplerProcess | None,
        node: str = "algo-1",
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        """`folder`: where measurements go. `sampler`: what samples the machine, None where the service does. `clock`: nanoseconds."""
        self.problem: str | None = sampler.problem if sampler else None
        if self.problem:
            _say(self.problem)
            _note(folder, self.problem)
        self._clock = clock
        self._timeline = Timeline(folder, device.type, node)
        self._window = TorchWindow(folder, device.type)
        self._sampler = sampler
        self._synchronise: Callable[[], None] | None = synchroniser(device)
        self._phases = {name: _Phase(name, self) for name in PHASES}
        self._steps = dict.fromkeys(MODE_NAMES, 0)
        self._open: list[tuple[str, int, int]] = []
        self._times_phases = self._synchronise is None
        self._folder = folder
        self._end_file = folder / "framework" / "training_job_end.ts"
        self._closed = False

    def phase(self, name: Phase) -> AbstractContextManager[object]:
        """Return a context manager that times its block."""
        return self._phases[name]

    def step(self, mode: str) -> None:
        """Note the step that has ended, with its phases."""
        number = self._steps[mode]
        self._steps[mode] = number + 1
        try:
            self._note(mode, number, self._clock())
            if mode == "train" and not self._window.is_over:
                self._window.step()
            if self._timeline.is_due:
                self._timeline.flush()
        except Exception as error:  # noqa: BLE001 - whatever the profiler cannot do, the training goes on, and the log says so
            self._degrade(f"steps are missing: {type(error).__name__}: {error}")
        self._open.clear()
        self._times_phases = self._synchronise is None or number + 1 in FIRST_SYNCHRONISED or (number + 1) % SYNCHRONISED == 0

    def close(self) -> None:
        """Write the remaining measurements, and end the sampler."""
        if self._closed:
            return
        self._closed = True
        try:
            self._window.close()
            self._timeline.flush()
            self._end_file.parent.mkdir(parents=True, exist_ok=True)
            self._end_file.touch()
        except Exception as error:  # noqa: BLE001 - whatever the profiler cannot do, the training goes on, and the log says so
            self._degrade(f"steps are missing: {type(error).__name__}: {error}")
        if self._sampler and (problem := self._sampler.finish()):
            self._degrade(problem)

    def began(self, name: str) -> int:
        """Return the moment at which a phase begins."""
        if name == "data" and self._open and all(phase in ("data", "save") for phase, *_ in self._open):
            self._open.clear()  # the data were at their end: no step came of it
        self._wait()
        return self._clock()

    def ended(self, name: str, started: int, *, failed: bool = False) -> None:
        """Note a phase; `failed`: an error ends it. One of "save" between two steps belongs to neither."""
        if not failed:  # waiting would raise the GPU's own error in place of this one
            self._wait()
        now = self._clock()
        if name == "save" and not any(phase != "data" for phase, *_ in self._open):
            self._timeline.add(name, started, now, sum(self._steps.values()), "between")
        else:
            self._open.append((name, started, now))

    def _wait(self) -> None:
        """Wait for the GPU, where this step's phases are timed by it."""
        if self._synchronise and self._times_phases:
            try:
                self._synchronise()
            except Exception as error:  # noqa: BLE001 - it is the training's to meet what the GPU has, where it can do something about it
                self._times_phases = False
                self._degrade(f"phases are missing: {type(error).__name__}: {error}")

    def _note(self, mode: str, number: int, now: int) -> None:
        if not self._open or number % _stride(number):
            return
        track = f"Step:ModeKeys.{MODE_NAMES[mode]}"
        self._timeline.add(track, self._open[0][1], now, number, mode)
        if self._times_phases:
            for name, started, ended in self._open:
                self._timeline.add(name, started, ended, number, mode)

    def _degrade(self, problem: str) -> None:
        if self.problem is None:
            self.problem = problem
            _say(problem)
            _note(self._folder, problem)


class _Phase:
    """A reusable context manager: creating one per phase would cost as much as the timing."""

    __slots__ = ("_name", "_profiler", "_started")

    def __init__(self, name: str, profiler: JobProfiler) -> None:
        self._name, self._profiler, self._started = name, profiler, 0

    def __enter__(self) -> None:
        self._started = self._profiler.began(self._name)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._profiler.ended(self._name, self._started, failed=kind is not None)


def _stride(number: int) -> int:
    """Return the recording interval at a step: 1, 2, 4 …, each for the same number of recorded steps."""
    stride, begins = 1, 0
    while number >= begins + STEPS_BEFORE_THINNING * stride:
        begins += STEPS_BEFORE_THINNING * stride
        stride *= 2
    return stride


def _say(problem: str) -> None:
    print(f"profiler degraded: {problem}. The training itself is not affected.", flush=True)


def _note(folder: Path, problem: str) -> None:
    """Write the problem beside the measurements, for rules in another process; if the disk is full, the log has it."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(DEGRADED).write_text(" ".join(problem.split()) + "\n", encoding="utf-8", errors="replace")


def start_profiler(mode: str, folder: Path, device: torch.device) -> Profiler:
    """Start measuring, and return the profiler for the loop.

    Args:
        mode: "embedded"; "managed", where the service samples the machine and only steps are timed here; "off".
        folder: the profiler's; what an earlier run of the job left there is removed, but not what the service samples.
        device: what the training computes on.
    """
    if mode == "off":
        return NoProfiler()
    node = os.environ.get("SM_CURRENT_HOST", "algo-1")
    try:
        shutil.rmtree(folder if mode == "embedded" else folder / "framework", ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(DEGRADED).unlink(missing_ok=True)
        return JobProfiler(folder, device, SamplerProcess(folder, node) if mode == "embedded" else None, node)
    except Exception as error:  # noqa: BLE001 - whatever the profiler cannot do, the training goes on, and the log says so
        problem = f"it could not be started: {type(error).__name__}: {error}"
        _say(problem)
        _note(folder, problem)
        return NoProfiler(problem)
