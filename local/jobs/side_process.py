"""One program of this repository that runs beside a training job until its standard input ends.

Runs in the SageMaker plane, which starts it with its own interpreter and never imports it: the image environment lacks what it needs,
and what goes wrong in it must not reach the plane. A plane that is killed ends its input too.
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
    """The program; its lines go to a log. `start` first."""

    def __init__(self, tools: JobTools, record: str, module: str, arguments: Sequence[str], log: JobLog) -> None:
        """Run `python -m module arguments`, recorded as `record` while it lives."""
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
        """Start it; raises OSError where the system cannot."""
        place = str(self._tools.programs)
        environment = {**os.environ, **self._tools.aws, "PYTHONPATH": place, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            self._command, env=environment, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        self._process = process
        # Before anybody asks for its exit code: from then on its pid may become another process's.
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
        """Its exit code, 128 + n where signal n ended it; None while it runs."""
        code = self._process.poll() if self._process else None
        return 128 - code if code is not None and code < 0 else code

    def end_input(self) -> None:
        """Tell it that the training has ended."""
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def work(self) -> float:
        """Seconds of processor time that it has used: of one that goes on they grow."""
        try:
            times = psutil.Process(self._process.pid).cpu_times() if self._process else None
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system) if times else 0.0

    def wait(self, patience_s: float, limit_s: float, given_up: Callable[[], bool] = lambda: False) -> str:
        """Wait for its end, then end all that is left of it.

        Returns what went wrong, or nothing: an exit code, `patience_s` seconds without any work, `limit_s` seconds in all, or
        `given_up` being true.
        """
        began = worked = time.monotonic()
        seen = self.work()
        problem = ""
        while self.code is None and not problem:
            time.sleep(POLL_S)
            now = time.monotonic()
            if (work := self.work()) > seen:
                seen, worked = work, now
            if given_up():
                problem = "local mode ended while it ran"
            elif now - worked > patience_s:
                problem = f"{self.module} did nothing for {patience_s:.0f} seconds after the training had ended"
            elif now - began > limit_s:
                problem = f"{self.module} was not done {limit_s:.0f} seconds after the training had ended"
        self.kill()
        return problem or (f"{self.module} ended with exit code {self.code}" if self.code else "")

    def kill(self) -> None:
        """End it and all that it started, now and only once: later its pid and its session may be somebody else's."""
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
