"""Runs one job like a container: a separate process that is watched, stopped, logged and mirrored to S3.

Runs in the SageMaker plane, with one call of `run` on one thread per job. The job's code is never imported: it is a process
of the image environment with its own folder and environment variables. `local.jobs.training_run` and
`local.jobs.processing_run` add the steps before and after that process.
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
from local.jobs.container import REASON_LIMIT, Document, JobTools, Outcome, translate_paths
from local.jobs.logs import JobLog
from local.storage.objects import DownloadError, Mirror

MIRROR_INTERVAL_S = 3.0
STOP_GRACE_S = 30.0
DEFAULT_LIMIT_S = 86400
LONGEST_TAIL = 600
LOG_FILE = "log.txt"
# A failed upload_file raises Boto3Error, which is not a subclass of the others.
S3_ERRORS = (Boto3Error, BotoCoreError, ClientError)


class JobRun(ABC):
    """One job from its first download to its last upload."""

    log_group: ClassVar[str]

    def __init__(self, tools: JobTools, name: str, record: str, folder: Path, job: Document) -> None:
        """Run `job`, the Describe document of the job `name`, in `folder`; record its process as `record`."""
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
        """End the job for `reason`, Stopped or MaxRuntimeExceeded: SIGTERM, and SIGKILL to the remaining processes after the grace time."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()
        self._wake.set()

    def run(self) -> Outcome:
        """Run the job to its end. A failure of the job is an outcome, not an exception."""
        stream = f"{self._name}/algo-1-{int(self._tools.clock() * 1000)}"
        with JobLog(self._tools.logs, self.log_group, stream, self.folder / LOG_FILE, self._tools.clock) as log:
            try:
                shutil.rmtree(self.base, ignore_errors=True)
                return self._run(log)
            except DownloadError as error:
                return self._fail(f"ClientError: {error}", log)
            except (*S3_ERRORS, OSError) as error:
                # An upload's error has only the text of its cause, not the error code.
                denied = "(AccessDenied)" in str(error)
                return self._fail(f"{'ClientError' if denied else 'InternalServerError: local mode could not run the job'}: {error}", log)
            finally:
                self._drop_folders()

    def close(self) -> None:
        """End the job and its follow-up when the plane ends."""
        self.stop()

    def follow_up(self, outcome: Outcome) -> None:  # noqa: B027 - optional for a kind of job
        """Continue after the job's end; called once, on the job's thread, after the end was reported."""

    @abstractmethod
    def _run(self, log: JobLog) -> Outcome:
        """Download, run the process, upload."""

    def translate(self, value: str) -> str:
        """Replace /opt/ml in `value` with the job's folder."""
        return translate_paths(value, self.base)

    def _run_process(
        self, command: Sequence[str], environment: Mapping[str, str], log: JobLog, read: Callable[[str], None] = lambda _line: None
    ) -> int:
        """Run the job's process, log its lines and pass them to `read`; returns the exit code, 128 + n after signal n."""
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
        """End the job on a stop request or at its time limit."""
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
                # As in a container, child processes end with the program; they would also keep its log open.
                end_processes(lambda: [] if ended.is_set() else list_session(process.pid), 0.0)
                return

    def _mirror(self, ended: threading.Event) -> None:
        """Mirror folders every few seconds, on a separate thread: a hanging upload must not delay a stop."""
        while not ended.wait(MIRROR_INTERVAL_S):
            for mirror in self._mirrors:
                # The next call sends the same files again; a failure of the last upload fails the job.
                with contextlib.suppress(*S3_ERRORS, OSError):
                    mirror.sync()

    def _fail(self, reason: str, log: JobLog) -> Outcome:
        log.write(f"{self._name} failed: {reason}")
        return Outcome("Failed", reason[:REASON_LIMIT])

    def _drop_folders(self) -> None:
        """Keep the logs and delete the rest: photos, code and artefacts are in S3."""
        for path in self.folder.iterdir():
            if path.suffix != Path(LOG_FILE).suffix:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
