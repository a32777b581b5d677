"""The running jobs of one kind, each on its own thread: start, stop, wait.

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
    """Runs jobs. Hold `lock` from the creation of a job's document to its start: a stop that finds the document then finds the run."""

    def __init__(self) -> None:
        """Start without jobs."""
        self.lock = threading.Lock()
        self._runs: dict[str, JobRun] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str, run: JobRun, end: Callable[[str, Outcome], None]) -> None:
        """Run `run` on a thread, then call `end(name, outcome)` and `follow_up` there. The caller holds `lock`."""
        thread = threading.Thread(target=self._run, args=(name, run, end), daemon=True, name=f"job-{name}")
        self._runs[name] = run
        self._threads[name] = thread
        thread.start()

    def stop(self, name: str) -> None:
        """Stop a job if it runs."""
        with self.lock:
            run = self._runs.get(name)
        if run is not None:
            run.stop()

    def wait(self, name: str, timeout_s: float | None = None) -> None:
        """Wait for the end of a job that was started here."""
        thread = self._threads.get(name)
        if thread is not None:
            thread.join(timeout_s)

    def stop_all(self, timeout_s: float) -> None:
        """End every running job when the plane ends."""
        with self.lock:
            running = dict(self._runs)
        for run in running.values():
            run.close()
        deadline = time.monotonic() + timeout_s
        for name in running:
            self._threads[name].join(max(0.0, deadline - time.monotonic()))

    def _run(self, name: str, run: JobRun, end: Callable[[str, Outcome], None]) -> None:
        outcome = Outcome("Failed", "InternalServerError: the job's thread ended early; see the plane's log")
        try:
            outcome = run.run()
        finally:
            try:
                end(name, outcome)
                run.follow_up(outcome)
            finally:
                with self.lock:
                    self._runs.pop(name, None)
