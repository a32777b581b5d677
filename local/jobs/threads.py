"""The running jobs of one kind, each on a thread of its own: start, stop, wait.

Runs in the SageMaker plane.
"""

import threading
import time
from collections.abc import Callable

from local.jobs.container import Outcome
from local.jobs.job_run import JobRun

INTERRUPTED = "InternalServerError: local mode ended while the job ran; start it again"
RUNNING = ("InProgress", "Stopping")


class JobThreads:
    """Runs jobs; hold `lock` from a job's document to its start, so that a stop that finds the document finds the run too."""

    def __init__(self) -> None:
        """Run nothing yet."""
        self.lock = threading.Lock()
        self._runs: dict[str, JobRun] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str, run: JobRun, end: Callable[[str, Outcome], None]) -> None:
        """Run `run` on a thread; `end(name, outcome)` is called there when it has ended, then its `follow_up`. The caller holds `lock`."""
        thread = threading.Thread(target=self._run, args=(name, run, end), daemon=True, name=f"job-{name}")
        self._runs[name] = run
        self._threads[name] = thread
        thread.start()

    def stop(self, name: str) -> None:
        """Ask a job to end, if it runs."""
        with self.lock:
            run = self._runs.get(name)
        if run is not None:
            run.stop()

    def wait(self, name: str, timeout_s: float | None = None) -> None:
        """Wait for a job's end, if it was started here."""
        thread = self._threads.get(name)
        if thread is not None:
            thread.join(timeout_s)

    def stop_all(self, timeout_s: float) -> None:
        """End every running job, for the plane's own end."""
        with self.lock:
            running = dict(self._runs)
        for run in running.values():
            run.close()
        deadline = time.monotonic() + timeout_s
        for name in running:
            self._threads[name].join(max(0.0, deadline - time.monotonic()))

    def _run(self, name: str, run: JobRun, end: Callable[[str, Outcome], None]) -> None:
        outcome = Outcome("Failed", "InternalServerError: the job's thread ended early; the plane's log tells why")
        try:
            outcome = run.run()
        finally:
            try:
                end(name, outcome)
                run.follow_up(outcome)
            finally:
                with self.lock:
                    self._runs.pop(name, None)
