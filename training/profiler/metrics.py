"""Reads what was measured back: samples of the machine, steps and phases, the table of operators. Also what the service itself wrote.

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
"""Bytes of samples that are read whole, unless told otherwise: a job's own, in ten seconds at most. Of more a part is read in that time."""

MANY = 10
"""Minutes that remain at least where others are not read."""

PHASES = ("data", "forward", "backward", "optimizer", "save")


@dataclass(frozen=True)
class Series:
    """Values over time."""

    times: Floats
    """Seconds since the epoch, rising."""
    values: Floats

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.times)

    def between(self, start: float, end: float) -> "Series":
        """Return those of a stretch of time, ends included."""
        inside = (self.times >= start) & (self.times <= end)
        return Series(self.times[inside], self.values[inside])


@dataclass(frozen=True)
class Steps:
    """The steps of one mode that were recorded."""

    numbers: NDArray[np.int64]
    """From 0, rising; where a training was long not each is there."""
    starts: Floats
    """Seconds since the epoch."""
    seconds: Floats
    phases: Mapping[str, float] = field(default_factory=dict)
    """Phase -> its part of the time of those steps whose phases were timed, and "rest"; empty where none were."""

    def __len__(self) -> int:
        """Return how many were recorded."""
        return len(self.numbers)

    @property
    def count(self) -> int:
        """Return how many there were."""
        return int(self.numbers[-1]) + 1 if len(self.numbers) else 0


@dataclass(frozen=True)
class Metrics:
    """What was measured of one job on one machine."""

    cores: Mapping[str, Series]
    """Core -> percent of its time that it worked."""
    waits: Mapping[str, Series]
    """Core -> percent of its time that it waited for a disk."""
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
    """Start, in seconds since the epoch, and seconds of what was saved between two steps."""
    device: str = ""
    """What the training computed on, "cpu" or "cuda"; "" where nobody said."""
    started: float = 0.0
    """Seconds since the epoch: when the first measurement began."""
    ended: float = 0.0
    operators: tuple[Mapping[str, Any], ...] = ()
    """{"name", "cpu_ms", "cuda_ms", "calls"}, those that took most time first."""

    @property
    def seconds(self) -> float:
        """Return how long was measured."""
        return self.ended - self.started

    @property
    def loop(self) -> tuple[float, float] | None:
        """Return when the first step began and the last one ended; None where no step was recorded."""
        recorded = [steps for steps in self.steps.values() if len(steps)]
        if not recorded:
            return None
        return min(float(steps.starts[0]) for steps in recorded), max(float(steps.starts[-1] + steps.seconds[-1]) for steps in recorded)

    @property
    def waited(self) -> float | None:
        """Return the seconds that training steps waited for data, all together; None where phases were not recorded."""
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
    """Read all there is below a profiler's folder; what is missing is empty.

    A line or a file that was being written when its process died is left out. `largest`: bytes of samples that are read whole.
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
    """Return times and values by type, name and dimension; of several hosts with the host's name before each name.

    Of very many samples every second one is kept, or every third …: a day on a machine of 96 cores has tens of millions of values.
    """
    several = len({file.name.split(".")[1] for file in files}) > 1
    stride = 1 + sum(file.stat().st_size for file in files) // largest
    minutes = sorted({file.name.split(".")[0] for file in files})
    if len(minutes) >= MANY * stride:  # whole minutes are left out unread, of all hosts alike
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
        return ()  # there is none, or the disk was full


def _series(points: list[tuple[float, float]]) -> Series:
    ordered = np.array(sorted(points), dtype=np.float64)
    return Series(ordered[:, 0], ordered[:, 1])


def _named(series: Mapping[tuple[str, str, str], Series], kind: str, dimension: str) -> dict[str, Series]:
    """Return by name, cpu2 before cpu10."""
    found = {name: values for (key, name, of), values in series.items() if key == kind and of == dimension}
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def _mean(series: Mapping[str, Series]) -> Series:
    """Return the mean over series that were sampled together; one that lacks moments is cut to the shortest."""
    if not series:
        return NONE
    shortest = min(map(len, series.values()))
    first = next(iter(series.values()))
    return Series(first.times[:shortest], np.mean([values.values[:shortest] for values in series.values()], axis=0))
