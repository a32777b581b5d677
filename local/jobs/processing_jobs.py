"""Processing jobs of the SageMaker plane: create, describe, list, stop.

Runs in the SageMaker plane. A job's document is its DescribeProcessingJob answer.
"""

from collections.abc import Mapping
from typing import Any

from local.api.account import build_arn
from local.api.errors import ServiceError, validation_error
from local.api.feature_support import reject_unsupported
from local.jobs.container import JobTools, Outcome, count_cores
from local.jobs.processing_run import ProcessingJobRun
from local.jobs.threads import INTERRUPTED, RUNNING, JobThreads
from local.storage.listing import Listing, list_documents
from local.storage.objects import is_inside
from local.storage.store import Document, Store

KIND = "processing-job"
LISTING = Listing("ProcessingJobSummaries", "ProcessingJobName", "ProcessingJobStatus", sort_order="Ascending")
LEFT_OUT_OF_DOCUMENT = ("Tags",)
PROCESSING = "/opt/ml/processing"
# Optional in the model, for clusters of several instance types and for images with an entry point.
NEEDED = (
    ("ProcessingResources.ClusterConfig", "InstanceType"),
    ("ProcessingResources.ClusterConfig", "InstanceCount"),
    ("AppSpecification", "ContainerEntrypoint"),
)


class ProcessingJobs:
    """All processing jobs; each running one has a thread and all cores."""

    def __init__(self, store: Store, tools: JobTools) -> None:
        """Continue from `store`; a job that was running when an earlier plane ended becomes Failed, because its process is gone."""
        self._store = store
        self._tools = tools
        self._jobs = JobThreads()
        for job in store.list_all(KIND):
            if job["ProcessingJobStatus"] in RUNNING:
                self._end(job["ProcessingJobName"], Outcome("Failed", INTERRUPTED))

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateProcessingJob."""
        check_processing_request(request)
        cluster = request["ProcessingResources"]["ClusterConfig"]
        self._tools.faults.check_quota("processing", cluster["InstanceType"], cluster["InstanceCount"])
        tools = self._tools.assume_role(request["RoleArn"])
        name = request["ProcessingJobName"]
        now = self._tools.clock()
        arn = build_arn(KIND, name)
        document = {
            **{key: value for key, value in request.items() if key not in LEFT_OUT_OF_DOCUMENT},
            "ProcessingJobArn": arn,
            "ProcessingJobStatus": "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with self._jobs.lock:
            if not self._store.create(KIND, name, document):
                raise ServiceError(
                    "ResourceInUse",
                    f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
                )
            self._jobs.start(name, ProcessingJobRun(tools, document, count_cores(), lambda: self._record_start(name)), self._end)
        return {"ProcessingJobArn": arn}

    def describe(self, name: str) -> Document:
        """Return the job's document; raises ValidationException for an unknown job, as AWS does."""
        document = self._store.get(KIND, name)
        if document is None:
            raise validation_error(f"Could not find requested job with name: {name}")
        return document

    def list_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListProcessingJobs."""
        return list_documents(self._store.list_all(KIND), request, LISTING)

    def stop(self, name: str) -> None:
        """StopProcessingJob; raises ValidationException for a job that has ended, as AWS does."""
        self.describe(name)
        changes = {"ProcessingJobStatus": "Stopping", "LastModifiedTime": self._tools.clock()}
        if not self._store.update_if(KIND, name, "ProcessingJobStatus", RUNNING, **changes):
            status = self.describe(name)["ProcessingJobStatus"]
            raise validation_error(f"The request was rejected because the processing job is in status {status}.")
        self._jobs.stop(name)

    def wait(self, name: str, timeout_s: float | None = None) -> Document:
        """Wait for the job's end; returns its document."""
        self._jobs.wait(name, timeout_s)
        return self.describe(name)

    def stop_all(self, timeout_s: float) -> None:
        """End every running job when the plane ends."""
        self._jobs.stop_all(timeout_s)

    def _record_start(self, name: str) -> None:
        now = self._tools.clock()
        self._store.update(KIND, name, ProcessingStartTime=now, LastModifiedTime=now)

    def _end(self, name: str, outcome: Outcome) -> None:
        now = self._tools.clock()
        self._store.update(
            KIND, name,
            ProcessingJobStatus=outcome.status,
            FailureReason=outcome.reason or None,
            ExitMessage=outcome.exit_message or None,
            ProcessingEndTime=now,
            LastModifiedTime=now,
        )  # fmt: skip


def check_processing_request(request: Mapping[str, Any]) -> None:
    """Raise a ValidationException for what botocore's model cannot check: unsupported fields, names, paths, URIs."""
    reject_unsupported("CreateProcessingJob", request)
    for where, field in NEEDED:
        part: Any = request
        for name in where.split("."):
            part = part[name]
        if not part.get(field):
            raise validation_error(f"{where}.{field} is required for a processing job in local mode")
    inputs, outputs = request.get("ProcessingInputs", ()), request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    for each in inputs:
        reject_unsupported("ProcessingInput", each, f"ProcessingInputs[{each['InputName']}].")
        _check_place(each, "S3Input", f"ProcessingInputs[{each['InputName']}].")
    for each in outputs:
        reject_unsupported("ProcessingOutput", each, f"ProcessingOutputConfig.Outputs[{each['OutputName']}].")
        _check_place(each, "S3Output", f"ProcessingOutputConfig.Outputs[{each['OutputName']}].")
    _check_no_twins("ProcessingInputs", "InputName", [each["InputName"] for each in inputs])
    _check_no_twins("ProcessingOutputConfig.Outputs", "OutputName", [each["OutputName"] for each in outputs])
    places = [each["S3Input"] for each in inputs] + [each["S3Output"] for each in outputs]
    _check_no_twins("ProcessingInputs and ProcessingOutputConfig", "LocalPath", [each["LocalPath"].rstrip("/") for each in places])


def _check_place(part: Mapping[str, Any], field: str, where: str) -> None:
    """Raise a ValidationException unless an input or output has an S3 prefix and a folder under /opt/ml/processing."""
    place = part.get(field)
    if place is None:
        raise validation_error(f"{where}{field} is required: an S3Uri and a LocalPath")
    if not place["S3Uri"].startswith("s3://"):
        raise validation_error(f"{where}{field}.S3Uri {place['S3Uri']!r} is not supported in local mode: supported: s3://bucket/prefix")
    path = place.get("LocalPath", "")
    if not is_inside(path, [PROCESSING]) or path.rstrip("/") == PROCESSING:
        raise validation_error(f"{where}{field}.LocalPath {path!r} is not supported in local mode: supported: folders under {PROCESSING}/")


def _check_no_twins(where: str, field: str, values: list[str]) -> None:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise validation_error(f"{where}: the {field} {twice[0]!r} is given twice; each must be unique")
