"""Samples the machine into files of the service's format until its standard input ends.

Runs in training jobs as a process of its own, beside the training: `python -m training.profiler.sampler --folder DIR --interval-ms 500`.
Imports neither torch nor numpy; takes about a thousandth of a core. Below the folder: system/incremental/<YYYYMMDDHH>/<minute>.<node>.json,
one JSON object a line: Type, Name, Dimension, Value, NodeId, Timestamp. Percentages are of the time since the sample before; bytes and
operations are a second's. Each time that 15 MB have been written the interval doubles: ten hours leave 70 MB of a machine with 16 cores,
and 105 MB with 96.
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

import psutil

from training.profiler.gpus import Gpus, GpuState

SHORTEST = 0.1
"""Shortest period of a sample: processor times count in hundredths of a second."""

PART = 15_000_000
"""Bytes of samples after which the interval doubles."""

Row = tuple[str, str, str, float]
"""Type, Name, Dimension, Value."""


class _AnyGpus(Protocol):
    def states(self) -> Sequence[GpuState | None]: ...


class Machine:
    """The machine's state from psutil and NVML, as differences between two samples."""

    def __init__(self, gpus: _AnyGpus, clock: Callable[[], float] = time.monotonic) -> None:
        """`gpus`: whose states are asked for. `clock`: seconds."""
        self._gpus, self._clock = gpus, clock
        self._at = clock()
        self._cores = psutil.cpu_times(percpu=True)
        self._disk, self._network = _disk(), _network()

    @property
    def age(self) -> float:
        """Seconds since the last sample."""
        return self._clock() - self._at

    def look(self) -> list[Row]:
        """Return the measurements since the last sample."""
        seconds, self._at = max(self.age, 1e-3), self._clock()
        cores, self._cores = self._cores, psutil.cpu_times(percpu=True)
        disk, self._disk = self._disk, _disk()
        network, self._network = self._network, _network()
        rows: list[Row] = []
        for number, (before, after) in enumerate(zip(cores, self._cores, strict=False)):
            rows += _core(f"cpu{number}", before, after)
        rows.append(("memory", "MemoryUsedPercent", "", psutil.virtual_memory().percent))
        names = ("IOPS", "ReadThroughputInBytesPerSecond", "WriteThroughputInBytesPerSecond")
        rows += [("i/o", name, "", (b - a) / seconds) for name, a, b in zip(names, disk, self._disk, strict=True)]
        cards = ("ReceiveBytesPerSecond", "TransmitBytesPerSecond")
        rows += [("network", name, "Algorithm", (b - a) / seconds) for name, a, b in zip(cards, network, self._network, strict=True)]
        return rows + list(self._gpu_rows())

    def _gpu_rows(self) -> Iterator[Row]:
        for number, state in enumerate(self._gpus.states()):
            if state:
                yield ("gpu", f"gpu{number}", "GPUUtilization", state.utilization)
                yield ("gpu", f"gpu{number}", "GPUMemoryUtilization", state.memory)


def _core(name: str, before: object, after: object) -> list[Row]:
    """Return the percentages of the time in which a core was busy and in which it waited for a disk."""
    spent = {field: max(0.0, getattr(after, field) - getattr(before, field)) for field in getattr(after, "_fields", ())}
    total = sum(seconds for field, seconds in spent.items() if field not in ("guest", "guest_nice"))  # these are part of user and nice
    waiting = spent.get("iowait", 0.0)
    busy = total - spent.get("idle", 0.0) - waiting
    share = 100 / total if total else 0.0
    return [("cpu", name, "CPUUtilization", busy * share), ("cpu", name, "I/OWaitPercentage", waiting * share)]


def _disk() -> tuple[float, float, float]:
    counters = psutil.disk_io_counters()
    if counters is None:  # a container without a disk of its own
        return 0.0, 0.0, 0.0
    return counters.read_count + counters.write_count, counters.read_bytes, counters.write_bytes


def _network() -> tuple[float, float]:
    cards = {name: counters for name, counters in psutil.net_io_counters(pernic=True).items() if name != "lo"}
    return float(sum(card.bytes_recv for card in cards.values())), float(sum(card.bytes_sent for card in cards.values()))


class MetricsFile:
    """The file of the current minute."""

    def __init__(self, folder: Path, node: str) -> None:
        """`folder`: the profiler's. `node`: the host's name in the job."""
        self._folder, self._node = folder / "system" / "incremental", node
        self._minute, self._file = -1, None  # type: tuple[int, IO[str] | None]
        self.written = 0
        """Bytes, of all minutes."""

    def write(self, rows: Sequence[Row], now: float) -> None:
        """Append the rows of a moment, in seconds since the epoch.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        file = self._at(int(now) // 60 * 60)
        node = self._node
        self.written += file.write(
            "".join(
                f'{{"Type": "{kind}", "Name": "{name}", "Dimension": "{dimension}", "Value": {value:.2f}, '
                f'"NodeId": "{node}", "Timestamp": {now:.4f}}}\n'
                for kind, name, dimension, value in rows
            )
        )
        file.flush()

    def _at(self, minute: int) -> IO[str]:
        if self._file is None or minute != self._minute:
            self.close()
            path = self._folder / time.strftime("%Y%m%d%H", time.gmtime(minute)) / f"{minute}.{self._node}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._minute, self._file = minute, path.open("a", encoding="utf-8")
        return self._file

    def close(self) -> None:
        """Close the file, if one is open."""
        if self._file:
            self._file.close()


def stretched(interval: float, written: int) -> float:
    """Return the seconds until the next sample once so many bytes have been written: a long job is looked at less and less often."""
    return interval * 2.0 ** (written // PART)


def sample(
    folder: Path,
    node: str,
    interval: float,
    wait: Callable[[float], bool],
    machine: Machine | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Write a sample each interval, a longer one as samples add up, until `wait(seconds)` says that it is enough, and a last one then.

    Raises:
        OSError: samples cannot be written.
    """
    machine, file = machine or Machine(Gpus()), MetricsFile(folder, node)
    due = time.monotonic() + interval
    while not wait(max(0.0, due - time.monotonic())):
        file.write(machine.look(), clock())
        due = max(
            due + stretched(interval, file.written), time.monotonic()
        )  # a machine that slept is not sampled once more for each moment that it missed
    if machine.age >= SHORTEST:
        file.write(machine.look(), clock())
    file.close()
    (folder / "system").mkdir(parents=True, exist_ok=True)
    (folder / "system" / "training_job_end.ts").touch()


def input_ended(seconds: float) -> bool:
    """Wait, and return whether the standard input came to its end meanwhile."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and not os.read(sys.stdin.fileno(), 1024):
            return True
    return False


def main(arguments: Sequence[str]) -> int:
    """Sample as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.profiler.sampler", description="Sample this machine until the standard input ends"
    )
    parser.add_argument("--folder", type=Path, required=True, help="the profiler's folder")
    parser.add_argument("--interval-ms", type=int, default=500, help="milliseconds between two samples")
    parser.add_argument("--node", default="algo-1", help="the host's name in the job")
    options = parser.parse_args(arguments)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the training too, which decides
    try:
        sample(options.folder, options.node, options.interval_ms / 1000, lambda seconds: input_ended(seconds) or bool(told))
    except OSError as error:
        print(f"profiler degraded: samples of the machine cannot be written: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
