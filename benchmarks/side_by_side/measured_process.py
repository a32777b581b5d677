"""Runs a command and measures it: wall and CPU seconds, and the peak memory of its whole process tree. Linux.

Used by the scripts beside it and above.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.side_by_side import RESULT

SAMPLE_S = 0.5


def run_measured(command: Sequence[str], directory: Path | None = None) -> dict[str, Any]:
    """Run to the end; what was measured, and what the command reported on its `[result]` line.

    Raises:
        RuntimeError: it failed, with the end of what it printed.
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **({"PYTHONPATH": str(directory)} if directory else {})}
    began, before = time.monotonic(), children_cpu()
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    ) as process:
        printed, peak = watch(process)
    measured = {
        "wall_s": round(time.monotonic() - began, 2),
        "cpu_s": round(children_cpu() - before, 2),
        "peak_mib": round(peak / 2**20, 1),
    }
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}:\n{printed[-3000:]}")
    reported = [line.partition(RESULT)[2] for line in printed.splitlines() if RESULT in line]
    return {**measured, **(json.loads(reported[-1]) if reported else {})}


def watch(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Wait for the end; all that was printed, and the peak memory in bytes."""
    peak = 0
    while True:
        try:
            return process.communicate(timeout=SAMPLE_S)[0], peak
        except subprocess.TimeoutExpired:
            peak = max(peak, tree_memory(process.pid))


def tree_memory(pid: int) -> int:
    """Proportional set size of a process and its descendants, in bytes: shared pages count once."""
    total = 0
    with contextlib.suppress(psutil.Error):  # what has just ended holds nothing any more
        root = psutil.Process(pid)
        for each in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total


def children_cpu() -> float:
    """CPU seconds of all that this process has started and that has ended, and of what that started."""
    times = os.times()
    return times.children_user + times.children_system
