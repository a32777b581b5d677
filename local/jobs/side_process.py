"""Runs one program of this repository beside a training job until the program's standard input ends.

Runs in the SageMaker plane, which starts the program with its own interpreter: the image environment lacks its packages, and its
errors must not affect the plane. The program's input also ends when the plane is killed.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from local.host.processes import ProcessRecord, end_processes, find_record, list_recorded_session
from local.jobs.container import JobTools
from local.jobs.logs import JobLog

POLL_S = 0.1
READ_S = 5.0


class SideProcess:
    """One program, with its output in a log. Call `start` first."""

    def __init__(self, tools: JobTools, record: str, module: str, arguments: Sequence[str], log: JobLog) -> None:
        """Run `python -m module arguments`, recorded as `record` while it runs."""
        self.module = module
        self._tools = tools
        self._record = record
        self._command = [sys.executable, "-m", module, *arguments]
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._known: ProcessRecord | None = None
        self._ending = threading.Lock()
        self._is_ended = False

    def start(self) -> None:
        """Start the program; raises OSError."""
        place = str(self._tools.programs)
        environment = {**os.environ, **self._tools.aws, "PYTHONPATH": place, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            self._command, env=environment, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        self._process = process
        # Before the first request for its exit code: after that the kernel may reuse its pid.
        self._known = find_record(self._record, process.pid)
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True, name=f"read-{self._record}")
        self._reader.start()
        try:
            self._tools.processes.record(self._record, process.pid)
        except OSError:
            self.kill()
            raise

    @property
    def code(self) -> int | None:
        """The exit code, 128 + n after signal n; None while the program runs."""
        code = self._process.poll() if self._process else None
        return 128 - code if code is not None and code < 0 else code

    def end_input(self) -> None:
        """End the program's input, which tells it that the training has ended."""
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def measure_work(self) -> float:
        """Return the CPU seconds that the program has used, as a sign of progress."""
        try:
            times = psutil.Process(self._process.pid).cpu_times() if self._process else None
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system) if times else 0.0

    def wait(self, patience_s: float, limit_s: float, is_cancelled: Callable[[], bool] = lambda: False) -> str:
        """Wait for the program's end, then end its remaining processes.

        Returns the problem, or an empty text: an exit code, `patience_s` seconds without CPU use, `limit_s` seconds in all, or
        `is_cancelled` returning true.
        """
        began = worked = time.monotonic()
        seen = self.measure_work()
        problem = ""
        while self.code is None and not problem:
            time.sleep(POLL_S)
            now = time.monotonic()
            if (work := self.measure_work()) > seen:
                seen, worked = work, now
            if is_cancelled():
                problem = "local mode ended while it ran"
            elif now - worked > patience_s:
                problem = f"{self.module} was idle for {patience_s:.0f} seconds after the training had ended"
            elif now - began > limit_s:
                problem = f"{self.module} had not finished {limit_s:.0f} seconds after the training had ended"
        self.kill()
        return problem or (f"{self.module} ended with exit code {self.code}" if self.code else "")

    def kill(self) -> None:
        """End the program and its children, once: later the kernel may reuse its pid and its session."""
        with self._ending:
            if self._process is None or self._is_ended:
                return
            if known := self._known:
                end_processes(lambda: list_recorded_session(known), 0.0)
            self._process.wait()
            self._is_ended = True
            self.end_input()
            if self._reader:
                self._reader.join(READ_S)
            self._tools.processes.forget(self._record)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        with contextlib.closing(process.stdout) if process.stdout else contextlib.nullcontext():
            for line in process.stdout or ():
                self._log.write(line)
