"""Step Functions' optimised SageMaker integration: calls an operation, and with `.sync` waits for its job.

Runs in the engine process, one call per task state, on the thread of its execution. Errors have the names and causes
that AWS documents, so that Retry and Catch match as on AWS.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.engine.plane_client import PlaneClient, PlaneNotListeningError, PlaneUnreachableError

POLL_S = 0.5
ENDED = ("Completed", "Failed", "Stopped")
log = logging.getLogger("sync-tasks")


@dataclass(frozen=True)
class Job:
    """How a kind of job is watched: the fields of its name and status, and the operations on it."""

    name_field: str
    status_field: str
    describe: str
    stop: str


JOBS = {
    "CreateProcessingJob": Job("ProcessingJobName", "ProcessingJobStatus", "DescribeProcessingJob", "StopProcessingJob"),
    "CreateTrainingJob": Job("TrainingJobName", "TrainingJobStatus", "DescribeTrainingJob", "StopTrainingJob"),
    "CreateHyperParameterTuningJob": Job(
        "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", "DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob"
    ),
}
# The optimised integrations of AWS that the plane supports; other operations are called as aws-sdk:sagemaker:<action>.
OPERATIONS = (*JOBS, "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint")


class TaskFailedError(Exception):
    """A task state's failure: `error` is the name that Retry and Catch see, `cause` the text beside it."""

    def __init__(self, error: str, cause: str) -> None:
        """Fail with this name and text."""
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


def make_error_name(code: str, sdk: bool = False) -> str:
    """Return Step Functions' name for a SageMaker error code, in the optimised or in the aws-sdk integration."""
    if code in ("ValidationException", "AccessDeniedException"):  # neither is in the service's model
        return "SageMaker.SageMakerException" if sdk else "SageMaker.AmazonSageMakerException"
    return f"SageMaker.{code.removesuffix('Exception')}Exception"


class SyncTasks:
    """Runs task states against the plane. A folder has notes of the jobs that it waits for, so that a killed engine stops them later."""

    def __init__(
        self,
        client: PlaneClient,
        notes: Path,
        sleep: Callable[[float], None] = time.sleep,
        denial: Callable[[str, Mapping[str, Any]], str | None] = lambda _operation, _request: None,
    ) -> None:
        """Call through `client`; note running jobs in `notes`; `denial` returns why a call is not allowed, None if it is."""
        self._client = client
        self._denial = denial
        self._notes = notes
        self._sleep = sleep

    def run(self, action: str, request: Mapping[str, Any], wants_to_stop: Callable[[], str | None]) -> dict[str, Any]:
        """One task: `action` is the ARN's last part, such as createTrainingJob.sync. Raises TaskFailedError."""
        name, _, pattern = action.partition(".")
        operation = name[:1].upper() + name[1:]
        if operation not in OPERATIONS or pattern not in ("", "sync") or (pattern and operation not in JOBS):
            raise TaskFailedError(
                "States.Runtime", f"sagemaker:{action} is not supported: supported: {', '.join(OPERATIONS)}; with .sync: {', '.join(JOBS)}"
            )
        if reason := wants_to_stop():
            raise TaskFailedError("States.TaskFailed", f"{operation} was not called: {reason}")
        if not pattern:
            return self._call(operation, request)
        job = JOBS[operation]
        which = {job.name_field: str(request.get(job.name_field))}
        try:
            self._call(operation, request)
        except TaskFailedError as failure:
            lost = failure.__cause__
            if isinstance(lost, PlaneUnreachableError) and not isinstance(lost, PlaneNotListeningError):
                self._stop(job, which)  # the job may run although the answer was lost
            raise
        return self._wait(job, which, wants_to_stop)

    def stop_left_over(self) -> None:
        """Stop the jobs that a killed engine was waiting for: their executions ended with it."""
        for note in sorted(self._notes.glob("*.json")):
            try:
                noted = json.loads(note.read_text())
                self._client.call(noted["stop"], noted["request"])
            except PlaneUnreachableError:
                continue
            except (ValueError, KeyError, TypeError):
                log.warning("%s is not a note of a running job and is deleted", note)
            note.unlink(missing_ok=True)

    def _wait(self, job: Job, which: dict[str, str], wants_to_stop: Callable[[], str | None]) -> dict[str, Any]:
        """Wait for a job's end; stops the job on a stop request or when it cannot be watched."""
        note = self._write_note(job, which)
        try:
            while (document := self._call(job.describe, which))[job.status_field] not in ENDED:
                if reason := wants_to_stop():
                    raise TaskFailedError("States.TaskFailed", f"{which[job.name_field]} was stopped: {reason}")
                self._sleep(POLL_S)
        except TaskFailedError:
            if self._stop(job, which):
                note.unlink(missing_ok=True)
            raise
        note.unlink(missing_ok=True)
        if document[job.status_field] != "Completed":
            raise TaskFailedError("States.TaskFailed", json.dumps(document))
        return document

    def _stop(self, job: Job, which: Mapping[str, str]) -> bool:
        """Stop a job, unless it has ended; returns False if the plane does not answer."""
        if denial := self._denial(job.stop, which):
            log.warning("%s continues: %s", which[job.name_field], denial)
            return True
        try:
            self._client.call(job.stop, which)
        except PlaneUnreachableError:
            return False
        return True

    def _write_note(self, job: Job, which: Mapping[str, str]) -> Path:
        """Write the note of a running job in one step."""
        note = self._notes / f"{job.name_field}-{which[job.name_field]}.json"
        self._notes.mkdir(parents=True, exist_ok=True)
        unfinished = note.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"stop": job.stop, "request": which}))
        unfinished.replace(note)
        return note

    def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if denial := self._denial(operation, request):
            code = "AccessDeniedException"
            raise TaskFailedError(make_error_name(code), f"{denial} (Service: SageMaker, Status Code: 400, Error Code: {code})")
        try:
            answer = self._client.call(operation, request)
        except PlaneUnreachableError as error:
            raise TaskFailedError(make_error_name("ValidationException"), str(error)) from error
        document = answer.document()
        if answer.status >= 400:
            code = str(document.get("__type", "ServiceException"))
            raise TaskFailedError(
                make_error_name(code), f"{document.get('message', '')} (Service: SageMaker, Status Code: {answer.status})"
            )
        return document
