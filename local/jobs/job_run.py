"""Runs one job, of whatever kind, as its container would: a process of its own that is watched, stopped, logged and mirrored.

Runs in the SageMaker plane, one call of `run` on one thread for each job. The job's code is never imported: it is a process
of the image environment, in its own folder, with an environment made for it alone. `local.jobs.training_run` and
`local.jobs.processing_run` say what comes before and after that process.
"""

import contextlib
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from local.host.processes import end_processes, list_session
from local.jobs.container import REASON_LIMIT, Document, JobTools, Outcome, translate
from local.jobs.logs import JobLog
from local.storage.objects import DownloadError, Mirror

MIRROR_INTERVAL_S = 3.0
STOP_GRACE_S = 30.0
DEFAULT_LIMIT_S = 86400
LONGEST_TAIL = 600
LOG_FILE = "log.txt"
# A failed upload_file is a Boto3Error, which neither of the others is.
S3_ERRORS = (Boto3Error, BotoCoreError, ClientError)


class JobRun(ABC):
    """One job from its first download to its last upload."""

    log_group: ClassVar[str]

    def __init__(self, tools: JobTools, name: str, record: str, folder: Path, job: Document) -> None:
        """Run `job`, the Describe document of the job `name`, in `folder`; its process is recorded as `record`."""
        self._tools = tools
        self._name = name
        self._record = record
        self._job = job
        self._stop_reason = ""
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._mirrors: list[Mirror] = []
        self.folder = folder
        self.base = folder / "ml"

    @property
    def limit_s(self) -> int:
        """The seconds that the job's process may run."""
        return int(self._job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_LIMIT_S))

    def stop(self, reason: str = "Stopped") -> None:
        """Ask the job to end, for `reason` Stopped or MaxRuntimeExceeded: SIGTERM, and SIGKILL to what is left after the grace time."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()
        self._wake.set()

    def run(self) -> Outcome:
        """Run it to its end. Every way a job can fail ends in the outcome, not in an exception."""
        stream = f"{self._name}/algo-1-{int(self._tools.clock() * 1000)}"
        with JobLog(self._tools.logs, self.log_group, stream, self.folder / LOG_FILE, self._tools.clock) as log:
            try:
                shutil.rmtree(self.base, ignore_errors=True)
                return self._run(log)
            except DownloadError as error:
                return self._failed(f"ClientError: {error}", log)
            except (*S3_ERRORS, OSError) as error:
                # An upload's error has swallowed the code of the error that it is about.
                denied = "(AccessDenied)" in str(error)
                return self._failed(f"{'ClientError' if denied else 'InternalServerError: local mode could not run the job'}: {error}", log)
            finally:
                self._drop_folders()

    def close(self) -> None:
        """End the job and whatever would go on after it, for the plane's own end."""
        self.stop()

    def follow_up(self, outcome: Outcome) -> None:  # noqa: B027 - most kinds of jobs have nothing to do then
        """What goes on after the job has ended so; called once, on the job's thread, when its end has been told."""

    @abstractmethod
    def _run(self, log: JobLog) -> Outcome:
        """Download, run the process, upload."""

    def translate(self, value: str) -> str:
        """`value` with /opt/ml replaced by the job's own folder."""
        return translate(value, self.base)

    def _run_process(
        self, command: Sequence[str], environment: Mapping[str, str], log: JobLog, read: Callable[[str], None] = lambda _line: None
    ) -> int:
        """Run the job's process, its lines logged and given to `read`; returns the exit code: 128 + n where signal n ended it."""
        with subprocess.Popen(
            list(command), env=dict(environment), cwd=self.base, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        ) as process:  # fmt: skip
            self._tools.processes.record(self._record, process.pid)
            ended = threading.Event()
            watcher = threading.Thread(target=self._watch, args=(process, ended), daemon=True, name=f"watch-{self._name}")
            mirrorer = threading.Thread(target=self._mirror, args=(ended,), daemon=True, name=f"mirror-{self._name}")
            watcher.start()
            mirrorer.start()
            try:
                for line in process.stdout or ():
                    log.write(line)
                    read(line)
                code = process.wait()
                return code if code >= 0 else 128 - code
            finally:
                ended.set()
                self._wake.set()
                watcher.join()
                end_processes(lambda: list_session(process.pid), 0.0)
                self._tools.processes.forget(self._record)
                mirrorer.join()

    def _watch(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        """End the job when it is told to stop or its time is up."""
        began = time.monotonic()
        while True:
            self._wake.wait(0.1)
            if ended.is_set():
                return
            if time.monotonic() - began > self.limit_s:
                self.stop("MaxRuntimeExceeded")
            if self._stopping.is_set():
                end_processes(lambda: [] if ended.is_set() else list_session(process.pid), STOP_GRACE_S)
                return
            if process.poll() is not None:
                # As with a container, nothing that the program left behind outlives it (and keeps its log open).
                end_processes(lambda: [] if ended.is_set() else list_session(process.pid), 0.0)
                return

    def _mirror(self, ended: threading.Event) -> None:
        """Mirror folders every few seconds, on a thread of its own: an upload that hangs must not keep a job from being stopped."""
        while not ended.wait(MIRROR_INTERVAL_S):
            for mirror in self._mirrors:
                # The same files are sent the next time, and the last time a failure ends the job.
                with contextlib.suppress(*S3_ERRORS, OSError):
                    mirror.sync()

    def _failed(self, reason: str, log: JobLog) -> Outcome:
        log.write(f"{self._name} failed: {reason}")
        return Outcome("Failed", reason[:REASON_LIMIT])

    def _drop_folders(self) -> None:
        """Keep the logs, drop everything else: photos, code and artefacts lie in S3."""
        for path in self.folder.iterdir():
            if path.suffix != Path(LOG_FILE).suffix:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
