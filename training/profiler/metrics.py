"""Reads a profile: samples of the machine, steps and phases, the table of operators. It also reads the service's own files.

Runs in training jobs after the training, and wherever a profile is judged.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MODES = {"Step:ModeKeys.TRAIN": "train", "Step:ModeKeys.EVAL": "eval"}
LARGEST = 120_000_000
"""Default for the bytes of samples that are read in full, in at most ten seconds. Of more only a part is read."""

MANY = 10
"""Minutes that are read at least when others are skipped."""

PHASES = ("data", "forward", "backward", "optimizer", "save")


@dataclass(frozen=True)
class Series:
    """Values over time."""

    times: Floats
    """Seconds since the epoch, rising."""
    values: Floats

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.times)

    def between(self, start: float, end: float) -> "Series":
        """Return the values in a time range, ends included."""
        inside = (self.times >= start) & (self.times <= end)
        return Series(self.times[inside], self.values[inside])


@dataclass(frozen=True)
class Steps:
    """The steps of one mode that were recorded."""

    numbers: NDArray[np.int64]
    """From 0, rising; of a long training not every step is recorded."""
    starts: Floats
    """Seconds since the epoch."""
    seconds: Floats
    phases: Mapping[str, float] = field(default_factory=dict)
    """Phase -> its share of the time of the steps whose phases were timed, and "rest"; empty if none were."""

    def __len__(self) -> int:
        """Return the number of recorded steps."""
        return len(self.numbers)

    @property
    def count(self) -> int:
        """Return the number of steps, recorded or not."""
        return int(self.numbers[-1]) + 1 if len(self.numbers) else 0


@dataclass(frozen=True)
class Metrics:
    """The measurements of one job on one machine."""

    cores: Mapping[str, Series]
    """Core -> percent of the time in which it was busy."""
    waits: Mapping[str, Series]
    """Core -> percent of the time in which it waited for a disk."""
    memory: Series
    """Percent of the machine's memory in use."""
    gpus: Mapping[str, Series]
    """GPU -> percent of the time in which a kernel ran."""
    gpu_memory: Mapping[str, Series]
    """GPU -> percent of its memory in use."""
    disk: Mapping[str, Series]
    """IOPS, ReadThroughputInBytesPerSecond, WriteThroughputInBytesPerSecond."""
    network: Mapping[str, Series]
    """ReceiveBytesPerSecond, TransmitBytesPerSecond."""
    steps: Mapping[str, Steps]
    """"train", "eval" -> steps; a mode without any is missing."""
    between: tuple[tuple[float, float], ...] = ()
    """Start, in seconds since the epoch, and seconds of each save between two steps."""
    device: str = ""
    """The device of the training, "cpu" or "cuda"; "" if it was not recorded."""
    started: float = 0.0
    """Seconds since the epoch: when the first measurement began."""
    ended: float = 0.0
    operators: tuple[Mapping[str, Any], ...] = ()
    """{"name", "cpu_ms", "cuda_ms", "calls"}, the longest first."""

    @property
    def seconds(self) -> float:
        """Return the duration of the measurements."""
        return self.ended - self.started

    @property
    def loop(self) -> tuple[float, float] | None:
        """Return when the first step began and the last one ended; None if no step was recorded."""
        recorded = [steps for steps in self.steps.values() if len(steps)]
        if not recorded:
            return None
        return min(float(steps.starts[0]) for steps in recorded), max(float(steps.starts[-1] + steps.seconds[-1]) for steps in recorded)

    @property
    def waited(self) -> float | None:
        """Return the total seconds that training steps waited for data; None if phases were not recorded."""
        steps = self.steps.get("train")
        if steps is None or not steps.phases:
            return None
        return steps.phases.get("data", 0.0) * float(steps.seconds.mean()) * steps.count

    def cpu(self) -> Series:
        """Return the mean over all cores."""
        return _mean(self.cores)

    def io_wait(self) -> Series:
        """Return the mean over all cores."""
        return _mean(self.waits)


NONE = Series(np.empty(0), np.empty(0))


def read_metrics(folder: Path, largest: int = LARGEST) -> Metrics:
    """Read all measurements below a profiler's folder; missing ones are empty.

    A line or file that is incomplete because its process died is left out. `largest`: bytes of samples that are read in full.
    """
    rows = _system_rows(sorted((folder / "system" / "incremental").glob("*/*.json")), largest)
    series = {key: _series(points) for key, points in rows.items()}
    timeline = _Timeline(folder)
    starts = [float(values.times[0]) for values in series.values()] + timeline.begins
    ends = [float(values.times[-1]) for values in series.values()] + timeline.ends
    return Metrics(
        cores=_named(series, "cpu", "CPUUtilization"),
        waits=_named(series, "cpu", "I/OWaitPercentage"),
        memory=next((values for (kind, *_), values in series.items() if kind == "memory"), NONE),
        gpus=_named(series, "gpu", "GPUUtilization"),
        gpu_memory=_named(series, "gpu", "GPUMemoryUtilization"),
        disk=_named(series, "i/o", ""),
        network=_named(series, "network", "Algorithm") or _named(series, "network", "Platform"),
        steps=timeline.steps(),
        between=tuple(timeline.between),
        device=timeline.device,
        started=min(starts, default=0.0),
        ended=max(ends, default=0.0),
        operators=_operators(folder),
    )


def _system_rows(files: list[Path], largest: int) -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """Return times and values by type, name and dimension; with several hosts each name is prefixed by its host.

    Of very many samples every second or third (…) is kept: a day on a machine with 96 cores has tens of millions of values.
    """
    several = len({file.name.split(".")[1] for file in files}) > 1
    stride = 1 + sum(file.stat().st_size for file in files) // largest
    minutes = sorted({file.name.split(".")[0] for file in files})
    if len(minutes) >= MANY * stride:  # skip whole minutes, the same on all hosts
        kept, stride = {*minutes[::stride], minutes[-1]}, 1
        files = [file for file in files if file.name.split(".")[0] in kept]
    rows: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    for row in chain.from_iterable(map(_rows_of, files)):
        name = f"{row.get('NodeId')}/{row.get('Name')}" if several else row.get("Name") or ""
        key = (row["Type"], name, row["Dimension"])
        if seen[key] % stride == 0:
            rows.setdefault(key, []).append((float(row["Timestamp"]), float(row["Value"])))
        seen[key] += 1
    return rows


def _rows_of(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line of a sampler that was killed
        if {"Type", "Dimension", "Value", "Timestamp"} <= row.keys():
            yield row


class _Timeline:
    """The events of all timeline files."""

    def __init__(self, folder: Path) -> None:
        self.device, self.begins, self.ends = "", [], []  # type: str, list[float], list[float]
        self.between: list[tuple[float, float]] = []
        self._steps: dict[str, dict[int, tuple[float, float]]] = {}
        self._phases: dict[str, dict[int, dict[str, float]]] = {}
        for file in sorted((folder / "framework" / "pevents").glob("*/*_pythontimeline.json")):
            self._read(file)

    def _read(self, file: Path) -> None:
        try:
            events = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            return  # of a process that was killed while it wrote
        begin = 0.0
        for event in events:
            arguments = event.get("args", {})
            if "start_time_since_epoch_in_micros" in arguments:
                begin = arguments["start_time_since_epoch_in_micros"] / 1e6
                self.begins.append(begin)
                self.device = arguments.get("device", self.device)
            if event.get("ph") == "X" and "step_num" in arguments:
                self._add(event["name"], begin + event["ts"] / 1e6, event["dur"] / 1e6, arguments)

    def _add(self, name: str, start: float, seconds: float, arguments: Mapping[str, str]) -> None:
        number, mode = int(arguments["step_num"]), arguments.get("mode", "")
        self.ends.append(start + seconds)
        if name in MODES:
            self._steps.setdefault(MODES[name], {})[number] = (start, seconds)
        elif mode == "between":
            self.between.append((start, seconds))
        elif name in PHASES:
            phases = self._phases.setdefault(mode, {}).setdefault(number, {})
            phases[name] = phases.get(name, 0.0) + seconds

    def steps(self) -> dict[str, Steps]:
        """Return the steps by mode, in their order."""
        return {mode: self._of(steps, self._phases.get(mode, {})) for mode, steps in self._steps.items()}

    @staticmethod
    def _of(steps: Mapping[int, tuple[float, float]], phases: Mapping[int, Mapping[str, float]]) -> Steps:
        numbers = sorted(steps)
        timed = [number for number in numbers if number in phases]
        total = sum(steps[number][1] for number in timed)
        sums = {name: sum(phases[number].get(name, 0.0) for number in timed) for name in PHASES}
        shares = {name: seconds / total for name, seconds in sums.items() if seconds} if total else {}
        if shares:
            shares["rest"] = max(0.0, 1 - sum(shares.values()))
        pairs = np.array([steps[number] for number in numbers], dtype=np.float64).reshape(-1, 2)
        return Steps(np.array(numbers, dtype=np.int64), pairs[:, 0], pairs[:, 1], shares)


def _operators(folder: Path) -> tuple[Mapping[str, Any], ...]:
    file = folder / "framework" / "torch-profiler" / "operators.json"
    try:
        return tuple(json.loads(file.read_text(encoding="utf-8"))["operators"])
    except (OSError, ValueError, KeyError):
        return ()  # the file is missing, or incomplete because the disk was full


def _series(points: list[tuple[float, float]]) -> Series:
    ordered = np.array(sorted(points), dtype=np.float64)
    return Series(ordered[:, 0], ordered[:, 1])


def _named(series: Mapping[tuple[str, str, str], Series], kind: str, dimension: str) -> dict[str, Series]:
    """Return the series by name, cpu2 before cpu10."""
    found = {name: values for (key, name, of), values in series.items() if key == kind and of == dimension}
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def _mean(series: Mapping[str, Series]) -> Series:
    """Return the mean over series that were sampled together; all are cut to the length of the shortest."""
    if not series:
        return NONE
    shortest = min(map(len, series.values()))
    first = next(iter(series.values()))
    return Series(first.times[:shortest], np.mean([values.values[:shortest] for values in series.values()], axis=0))
