"""Steps and phases as JSON files in smdebug's timeline format, which its LocalAlgorithmMetricsReader and trace viewers read.

Runs in training jobs. Below the profiler's folder: framework/pevents/<YYYYMMDDHH>/<microseconds>_<process>-<host>_pythontimeline.json.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

SECONDS_A_FILE = 60
"""Seconds of events in a file: events reach S3 a file at a time, and a killed process loses one file."""

EVENTS_A_FILE = 4000
"""Events kept in memory at most: writing them takes about ten milliseconds."""


class Timeline:
    """Collects events and writes them a file at a time."""

    def __init__(self, folder: Path, device: str, node: str = "algo-1", clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`folder`: the profiler's. `device`: what the training computes on, "cpu" or "cuda". `node`: the host's name in the job."""
        self.folder, self.device, self.node = folder / "framework" / "pevents", device, node
        self.started_us = clock_ns() // 1000
        self._offset_ns = clock_ns() - time.perf_counter_ns()
        self._lines: list[tuple[str, int, int, int, str]] = []
        self._tracks: dict[str, int] = {}
        self._last_us = self._flushed_us = self.started_us

    def add(self, name: str, started_ns: int, ended_ns: int, step: int, mode: str) -> None:
        """Record an event: `name`, which has a track of its own; begin and end by time.perf_counter_ns; its step and mode."""
        started = (started_ns + self._offset_ns) // 1000
        self._lines.append((name, started - self.started_us, (ended_ns - started_ns) // 1000, step, mode))
        self._last_us = max(self._last_us, (ended_ns + self._offset_ns) // 1000)

    @property
    def is_due(self) -> bool:
        """Whether a file should be written now."""
        return len(self._lines) >= EVENTS_A_FILE or self._last_us - self._flushed_us > SECONDS_A_FILE * 1_000_000

    def flush(self) -> None:
        """Write the recorded events, if any, as one file, atomically.

        Raises:
            OSError: the file could not be written; what it would have held is dropped.
        """
        lines, self._lines, self._flushed_us = self._lines, [], self._last_us
        if not lines:
            return
        hour = time.strftime("%Y%m%d%H", time.gmtime(self._last_us / 1e6))
        file = self.folder / hour / f"{self._last_us}_{os.getpid()}-{self.node}_pythontimeline.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        unfinished.write_text("[\n" + ",\n".join([*self._heading(lines), *map(self._event, lines)]) + "\n]", encoding="utf-8")
        unfinished.replace(file)

    def _heading(self, lines: list[tuple[str, int, int, int, str]]) -> list[str]:
        """Return the first lines of each file: the origin of its times, and the names of its tracks."""
        for name, *_ in lines:
            self._tracks.setdefault(name, len(self._tracks) + 1)
        start = {"start_time_since_epoch_in_micros": self.started_us, "device": self.device}
        heading = [{"name": "process_name", "ph": "M", "pid": 0, "args": start}]
        heading += [{"name": "process_name", "ph": "M", "pid": number, "args": {"name": name}} for name, number in self._tracks.items()]
        return [json.dumps(line) for line in heading]

    def _event(self, line: tuple[str, int, int, int, str]) -> str:
        """Return an event's line; names are the profiler's own and need no escaping."""
        name, started, duration, step, mode = line
        return (
            f'{{"name": "{name}", "pid": {self._tracks[name]}, "ph": "X", "ts": {started}, "dur": {duration}, '
            f'"args": {{"step_num": "{step}", "mode": "{mode}"}}}}'
        )
