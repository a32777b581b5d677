"""Training jobs of the SageMaker plane: create, describe, list, stop, and the thread that runs each.

Runs in the SageMaker plane. A job's document is its DescribeTrainingJob answer.
"""

import contextlib
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.api.account import build_arn
from local.api.errors import ServiceError, validation_error
from local.api.feature_support import reject_unsupported
from local.jobs.container import OPT_ML, JobTools, Outcome, count_cores
from local.jobs.rule_jobs import INTERRUPTED as RULE_INTERRUPTED
from local.jobs.rule_requests import check_debugger_request
from local.jobs.rule_statuses import DEBUG, PROFILER, end_statuses, make_statuses
from local.jobs.threads import INTERRUPTED, RUNNING, JobThreads
from local.jobs.training_run import TrainingJobRun
from local.storage.listing import Listing, list_documents
from local.storage.objects import is_inside
from local.storage.store import Document, Store

KIND = "training-job"
LISTING = Listing("TrainingJobSummaries", "TrainingJobName", "TrainingJobStatus", sort_order="Ascending")
LEFT_OUT_OF_DOCUMENT = ("Tags",)
# Optional in the model, for jobs with an algorithm of AWS or without instances.
NEEDED = {
    "AlgorithmSpecification": ("TrainingImage", "TrainingInputMode"),
    "ResourceConfig": ("InstanceType", "InstanceCount", "VolumeSizeInGB"),
}
log = logging.getLogger("training-jobs")


@dataclass(frozen=True)
class Listener:
    """Callbacks of a running training job, called on the job's thread; a tuning job uses them for the jobs that it launches."""

    on_metric: Callable[[str, float], None] = lambda _name, _value: None
    """Called with each metric and its value as soon as the job prints it."""

    on_end: Callable[[], None] = lambda: None
    """Called after the job has ended and its description was updated."""


class TrainingJobs:
    """All training jobs; each running one has a thread."""

    def __init__(self, store: Store, tools: JobTools) -> None:
        """Continue from `store`; a job that was running when an earlier plane ended becomes Failed, because its process is gone."""
        self._store = store
        self._tools = tools
        self._jobs = JobThreads()
        for job in store.list_all(KIND):
            if job["TrainingJobStatus"] in RUNNING:
                self._end(job["TrainingJobName"], Outcome("Failed", INTERRUPTED))
            for field in (DEBUG, PROFILER):
                if (statuses := end_statuses(job.get(field, ()), RULE_INTERRUPTED, tools.clock())) != job.get(field, []):
                    self._report_rules(job["TrainingJobName"], field, statuses)

    def create(
        self, request: Mapping[str, Any], threads: int | None = None, listener: Listener | None = None, **members: Any
    ) -> dict[str, Any]:
        """CreateTrainingJob; adds `members` (such as TuningJobArn) to the document, `threads` is the job's number of cores."""
        listener = listener or Listener()
        check_training_request(request)
        self.check_quota(request)
        tools = self._tools.assume_role(request["RoleArn"])
        name = request["TrainingJobName"]
        now = self._tools.clock()
        arn = build_arn(KIND, name)
        document = {
            **{key: value for key, value in request.items() if key not in LEFT_OUT_OF_DOCUMENT},
            **members,
            **make_statuses(request, now),
            "TrainingJobArn": arn,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "SecondaryStatusTransitions": [],
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with self._jobs.lock:
            if not self._store.create(KIND, name, document):
                raise ServiceError(
                    "ResourceInUse",
                    "Training job names must be unique within an AWS account and region, and a training job with this name "
                    f"already exists ({arn})",
                )
            run = TrainingJobRun(
                tools,
                document,
                threads or count_cores(),
                lambda status, message: self._report(name, status, message),
                lambda field, statuses: self._report_rules(name, field, statuses),
                lambda rule, details: self._stop_for_rule(name, rule, details),
                listener.on_metric,
            )
            self._jobs.start(name, run, lambda _name, outcome: self._end_and_notify(name, outcome, listener))
        return {"TrainingJobArn": arn}

    def check_quota(self, request: Mapping[str, Any], jobs: int = 1) -> None:
        """Raise ResourceLimitExceeded if the injected faults limit the quota for `jobs` parallel jobs of this kind."""
        machines = request["ResourceConfig"]
        self._tools.faults.check_quota("training", machines["InstanceType"], jobs * machines["InstanceCount"])

    def describe(self, name: str) -> Document:
        """Return the job's document; raises ValidationException for an unknown job, as AWS does."""
        document = self._store.get(KIND, name)
        if document is None:
            raise validation_error("Requested resource not found.")
        return document

    def list_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs."""
        return list_documents(self._store.list_all(KIND), request, LISTING)

    def select(self, where: Callable[[Document], bool]) -> list[Document]:
        """Return the documents, with internal members, of the jobs for which `where` is true."""
        return self._store.list_all(KIND, where)

    def stop(self, name: str) -> None:
        """StopTrainingJob; raises ValidationException for a job that has ended, as AWS does."""
        self.describe(name)
        changes = {"TrainingJobStatus": "Stopping", "SecondaryStatus": "Stopping", "LastModifiedTime": self._tools.clock()}
        if not self._store.update_if(KIND, name, "TrainingJobStatus", RUNNING, **changes):
            raise validation_error(
                f"The request was rejected because the training job is in status {self.describe(name)['TrainingJobStatus']}."
            )
        self._jobs.stop(name)

    def wait(self, name: str, timeout_s: float | None = None) -> Document:
        """Wait for the job's end; returns its document."""
        self._jobs.wait(name, timeout_s)
        return self.describe(name)

    def stop_all(self, timeout_s: float) -> None:
        """End every running job when the plane ends."""
        self._jobs.stop_all(timeout_s)

    def _report(self, name: str, status: str, message: str) -> None:
        """End the present secondary status and begin the next."""
        now = self._tools.clock()
        job = self.describe(name)
        transitions = job["SecondaryStatusTransitions"]
        if transitions:
            transitions[-1]["EndTime"] = now
        transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})
        started = {"TrainingStartTime": now} if status == "Downloading" else {}
        self._store.update(KIND, name, SecondaryStatus=status, SecondaryStatusTransitions=transitions, LastModifiedTime=now, **started)

    def _report_rules(self, name: str, field: str, statuses: list[Document]) -> None:
        self._store.update(KIND, name, **{field: statuses}, LastModifiedTime=self._tools.clock())

    def _stop_for_rule(self, name: str, rule: str, details: str) -> None:
        """Apply a rule's action StopTraining: stop its job, unless it has ended meanwhile."""
        log.info("the rule %s stops its training job %s: %s", rule, name, details)
        with contextlib.suppress(ServiceError):
            self.stop(name)

    def _end_and_notify(self, name: str, outcome: Outcome, listener: Listener) -> None:
        try:
            self._end(name, outcome)
        finally:
            listener.on_end()

    def _end(self, name: str, outcome: Outcome) -> None:
        secondary = "MaxRuntimeExceeded" if outcome.reason == "MaxRuntimeExceeded" else outcome.status
        self._report(name, secondary, outcome.reason or f"Training job {outcome.status.lower()}")
        now = self._tools.clock()
        seconds = math.ceil(now - self.describe(name).get("TrainingStartTime", now))
        metrics = [
            {"MetricName": key, "Value": value, "Timestamp": at} for key, (value, at) in outcome.metrics.items() if math.isfinite(value)
        ]
        self._store.update(
            KIND, name,
            TrainingJobStatus=outcome.status,
            FailureReason=outcome.reason if outcome.status == "Failed" else None,
            ModelArtifacts={"S3ModelArtifacts": outcome.artefact} if outcome.artefact else None,
            FinalMetricDataList=metrics or None,
            TrainingEndTime=now,
            TrainingTimeInSeconds=seconds,
            BillableTimeInSeconds=seconds,
        )  # fmt: skip


def check_training_request(request: Mapping[str, Any], where: str = "", operation: str = "CreateTrainingJob") -> None:
    """Raise a ValidationException for what botocore's model cannot check: unsupported fields, channels, regular expressions."""
    if operation == "CreateTrainingJob":
        reject_unsupported(operation, request)
        check_debugger_request(request)
    for field, parts in NEEDED.items():
        if missing := [part for part in parts if request.get(field, {}).get(part) is None]:
            raise validation_error(f"{where}{field}.{missing[0]} is required for a training job in local mode")
    _check_spot(request, where)
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise validation_error(f"{where}InputDataConfig names the channel {twice[0]!r} twice; channel names must be unique")
    for channel in request.get("InputDataConfig", ()):
        reject_unsupported("Channel", channel, f"{where}InputDataConfig[{channel['ChannelName']}].")
        if "S3DataSource" not in channel["DataSource"]:
            raise validation_error(f"{where}InputDataConfig[{channel['ChannelName']}].DataSource has no S3DataSource")
    _check_metrics(request, where)
    _check_paths(request, where)


def _check_spot(request: Mapping[str, Any], where: str) -> None:
    """Require checkpoints for spot training (a rule of local mode), and MaxWaitTimeInSeconds with it only (a rule of AWS)."""
    spot, condition = request.get("EnableManagedSpotTraining"), request.get("StoppingCondition", {})
    if spot and not request.get("CheckpointConfig"):
        raise validation_error(
            f"{where}EnableManagedSpotTraining without CheckpointConfig is not supported in local mode: remove it, or add CheckpointConfig"
        )
    wait, runtime = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", 0)
    if spot and (wait is None or wait < runtime):
        raise validation_error(
            f"{where}MaxWaitTimeInSeconds {wait} must be present and be greater than or equal to MaxRuntimeInSeconds {runtime}"
        )
    if wait is not None and not spot:
        raise validation_error(f"{where}StoppingCondition.MaxWaitTimeInSeconds {wait} is only for EnableManagedSpotTraining: remove it")


def _check_metrics(request: Mapping[str, Any], where: str) -> None:
    for definition in request["AlgorithmSpecification"].get("MetricDefinitions", ()):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise validation_error(
                f"{where}AlgorithmSpecification.MetricDefinitions[{definition['Name']}].Regex is not a regular expression: {error}"
            ) from error


def _check_paths(request: Mapping[str, Any], where: str) -> None:
    """Require a LocalPath under /opt/ml for mirrored folders: local mode has only this part of a container."""
    for field in ("CheckpointConfig", "DebugHookConfig", "TensorBoardOutputConfig"):
        path = request.get(field, {}).get("LocalPath", f"{OPT_ML}/x")
        if not is_inside(path, [OPT_ML]):
            raise validation_error(f"{where}{field}.LocalPath {path!r} is not supported in local mode: supported: paths under {OPT_ML}")
