"""Measurements that are made up: a healthy job of a given length, and the faults that rules look for, planted in it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.profiler.metrics import NONE, Floats, Metrics, Series, Steps

BEGIN = 1_795_521_240.0
"""Seconds since the epoch."""

PHASES = {"data": 0.04, "forward": 0.3, "backward": 0.55, "optimizer": 0.08, "save": 0.01, "rest": 0.02}

Course = Callable[[Floats], Floats]
"""Seconds since the begin -> percent."""


def steps(seconds: Floats, begin: float, phases: Mapping[str, float] = PHASES) -> Steps:
    """Return steps of these lengths, one after the other."""
    starts = begin + np.concatenate([[0.0], np.cumsum(seconds)[:-1]])
    return Steps(np.arange(len(seconds)), starts, np.asarray(seconds, dtype=float), dict(phases))


def level(mean: float, spread: float = 2.0, seed: int = 0) -> Course:
    """Return a course that wavers around a mean."""
    return lambda times: np.clip(np.random.default_rng(seed).normal(mean, spread, len(times)), 0, 100)


def job(
    seconds: float = 120.0,
    *,
    cores: Mapping[str, Course] | int = 4,
    waits: Course | None = None,
    gpus: Mapping[str, Course] | None = None,
    gpu_memory: Mapping[str, Course] | None = None,
    init: float = 4.0,
    step_seconds: Floats | None = None,
    phases: Mapping[str, float] = PHASES,
    device: str | None = None,
) -> Metrics:
    """Return what a job would have measured in which nothing is wrong but what is given.

    Args:
        seconds: from the begin to the end of the training loop; samples go on for a second more.
        cores: core -> course, or how many healthy ones.
        waits: of each core for disks.
        gpus: GPU -> course of its utilization.
        gpu_memory: GPU -> course of its memory; 60 % each where it is not given.
        init: seconds before the first step.
        step_seconds: length of each training step; 0.1 s each, and a little more or less, where it is not given.
        phases: parts of a training step's time.
        device: "cpu" or "cuda"; follows from `gpus` where it is not given.
    """
    times = np.arange(BEGIN + 0.5, BEGIN + seconds + 1.0, 0.5)
    since = times - BEGIN
    courses = cores if not isinstance(cores, int) else {f"cpu{core}": level(85, 5, core) for core in range(cores)}
    gpus = gpus or {}
    memory = gpu_memory if gpu_memory is not None else {name: level(60, 0.2) for name in gpus}
    if step_seconds is None:
        count = max(1, int((seconds - init) / 0.1))
        step_seconds = np.clip(np.random.default_rng(1).normal(0.1, 0.004, count), 0.05, 1)

    def series(course: Course) -> Series:
        return Series(times, course(since))

    return Metrics(
        cores={name: series(course) for name, course in courses.items()},
        waits={name: series(waits or level(0.5, 0.3)) for name in courses},
        memory=series(level(40, 0.5)),
        gpus={name: series(course) for name, course in gpus.items()},
        gpu_memory={name: series(course) for name, course in memory.items()},
        disk={"ReadThroughputInBytesPerSecond": Series(times, np.full(len(times), 2e6))},
        network={"ReceiveBytesPerSecond": Series(times, np.full(len(times), 1e5))},
        steps={"train": steps(step_seconds, BEGIN + init, phases)},
        device=device or ("cuda" if gpus else "cpu"),
        started=BEGIN,
        ended=float(times[-1]),
        operators=({"name": "aten::mm", "cpu_ms": 12.0, "cuda_ms": 0.0, "calls": 9},),
    )


EMPTY = Metrics({}, {}, NONE, {}, {}, {}, {}, {})
"""Of a job that measured nothing."""


def write_samples(folder: Path, rows: list[dict[str, Any]], name: str = "1795521240.algo-1.json") -> None:
    """Write rows as the service does."""
    file = folder / "system" / "incremental" / "2026112411" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
