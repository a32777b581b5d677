"""Step Functions' optimised SageMaker integration: call an operation, and with `.sync` wait for its job.

Runs in the engine process, one call per task state, on the thread of its execution. Errors carry the names and causes
that AWS documents, so that Retry and Catch written for AWS match here too.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.plane_client import PlaneClient, PlaneUnreachableError

POLL_S = 0.5


@dataclass(frozen=True)
class Job:
    """How a kind of job is watched: its name's field, its status' field and the operations on it."""

    name_field: str
    status_field: str
    describe: str
    stop: str


JOBS = {
    "CreateTrainingJob": Job("TrainingJobName", "TrainingJobStatus", "DescribeTrainingJob", "StopTrainingJob"),
    "CreateHyperParameterTuningJob": Job(
        "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", "DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob"
    ),
}
# The optimised integrations that AWS lists and the plane has; all others are called as aws-sdk:sagemaker:<action>.
OPERATIONS = (*JOBS, "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint")


class TaskFailedError(Exception):
    """A task state's failure: `error` is the name that Retry and Catch see, `cause` the text beside it."""

    def __init__(self, error: str, cause: str) -> None:
        """Fail with this name and text."""
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


def error_name(code: str, sdk: bool = False) -> str:
    """The name Step Functions gives to a SageMaker error code, in the optimised or in the aws-sdk integration."""
    if code == "ValidationException":
        return "SageMaker.SageMakerException" if sdk else "SageMaker.AmazonSageMakerException"
    return f"SageMaker.{code.removesuffix('Exception')}Exception"


class SyncTasks:
    """Runs task states against the plane. Jobs being waited for are noted in a folder, so that a killed engine can stop them later."""

    def __init__(self, client: PlaneClient, notes: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        """Call through `client`; note running jobs in `notes`."""
        self._client = client
        self._notes = notes
        self._sleep = sleep

    def run(self, action: str, request: Mapping[str, Any], wants_to_stop: Callable[[], str | None]) -> dict[str, Any]:
        """One task: `action` is the ARN's last part, such as createTrainingJob.sync. Raises TaskFailedError."""
        name, _, pattern = action.partition(".")
        operation = name[:1].upper() + name[1:]
        if operation not in OPERATIONS or pattern not in ("", "sync") or (pattern and operation not in JOBS):
            raise TaskFailedError(
                "States.Runtime", f"sagemaker:{action} is none of {', '.join(OPERATIONS)}, of which {' and '.join(JOBS)} have .sync"
            )
        if reason := wants_to_stop():
            raise TaskFailedError("States.TaskFailed", f"{operation} was not called: {reason}")
        created = self._call(operation, request)
        return self._wait(JOBS[operation], str(request[JOBS[operation].name_field]), wants_to_stop) if pattern else created

    def stop_left_over(self) -> None:
        """Stop the jobs that an engine killed in the middle was waiting for: their executions ended with it."""
        for note in sorted(self._notes.glob("*.json")):
            noted = json.loads(note.read_text())
            try:
                self._client.call(noted["stop"], noted["request"])
            except PlaneUnreachableError:
                continue
            note.unlink(missing_ok=True)

    def _wait(self, job: Job, name: str, wants_to_stop: Callable[[], str | None]) -> dict[str, Any]:
        which = {job.name_field: name}
        note = self._notes / f"{job.name_field}-{name}.json"
        self._notes.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"stop": job.stop, "request": which}))
        try:
            while True:
                document = self._call(job.describe, which)
                if document[job.status_field] in ("Completed", "Failed", "Stopped"):
                    return self._ended(document, job)
                if reason := wants_to_stop():
                    self._call(job.stop, which)
                    raise TaskFailedError("States.TaskFailed", f"{name} was told to stop: {reason}")
                self._sleep(POLL_S)
        finally:
            note.unlink(missing_ok=True)

    def _ended(self, document: dict[str, Any], job: Job) -> dict[str, Any]:
        if document[job.status_field] == "Completed":
            return document
        raise TaskFailedError("States.TaskFailed", json.dumps(document))

    def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = self._client.call(operation, request)
        except PlaneUnreachableError as error:
            raise TaskFailedError(error_name("ValidationException"), str(error)) from error
        document = answer.document()
        if answer.status >= 400:
            code = str(document.get("__type", "ServiceException"))
            raise TaskFailedError(error_name(code), f"{document.get('message', '')} (Service: SageMaker, Status Code: {answer.status})")
        return document
