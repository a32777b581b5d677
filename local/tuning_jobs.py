"""Tuning jobs of the SageMaker plane: each launches real training jobs, several at a time, and keeps the best.

Runs in the SageMaker plane, one thread for each running tuning job.
"""

import contextlib
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from local.fidelity import refuse_what_is_not_done
from local.job_threads import INTERRUPTED, RUNNING
from local.job_tools import usable_cores
from local.listing import Listing, list_documents
from local.mode import ACCOUNT, REGION
from local.search import GridSearch, Search, make_search, read_ranges
from local.shapes import ServiceError, invalid
from local.store import Document, Store
from local.training_jobs import TrainingJobs, check_training_request

KIND = "tuning-job"
LISTING = Listing("HyperParameterTuningJobSummaries", "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", "Name", "Ascending")
JOBS_LISTING = Listing("TrainingJobSummaries", "TrainingJobName", "TrainingJobStatus", "Name", "Ascending")
POLL_S = 0.2
DEFAULT_JOBS = 100
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {count} training jobs. Please ensure that the custom algorithm is emitting the "
    "objective metric as defined by the regular expression provided."
)
ENDED = ("Completed", "Failed", "Stopped")


class TuningJobs:
    """All tuning jobs, the running ones each on a thread."""

    def __init__(self, store: Store, training_jobs: TrainingJobs, clock: Any = time.time) -> None:
        """Continue from `store`; a tuning job that was running when an earlier plane ended is marked Failed."""
        self._store = store
        self._training_jobs = training_jobs
        self._clock = clock
        self._stopping: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}
        for job in store.all(KIND):
            if job["HyperParameterTuningJobStatus"] in RUNNING:
                name = job["HyperParameterTuningJobName"]
                self._store.update(KIND, name, **self._progress(name), HyperParameterTuningJobStatus="Failed", FailureReason=INTERRUPTED)

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateHyperParameterTuningJob."""
        search = check_tuning_request(request)
        name = request["HyperParameterTuningJobName"]
        now = self._clock()
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{name}"
        document = {
            **{key: value for key, value in request.items() if key != "Tags"},
            "HyperParameterTuningJobArn": arn,
            "HyperParameterTuningJobStatus": "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
            "TrainingJobStatusCounters": _counters([]),
            "ObjectiveStatusCounters": _objective_counters([]),
        }
        if not self._store.create(KIND, name, document):
            raise ServiceError(
                "ResourceInUse", f"Hyperparameter tuning job names must be unique within an AWS account and region ({arn} exists)"
            )
        self._stopping.setdefault(name, threading.Event())
        self._threads[name] = threading.Thread(target=self._run, args=(name, request, search), daemon=True, name=f"tuning-{name}")
        self._threads[name].start()
        return {"HyperParameterTuningJobArn": arn}

    def describe(self, name: str) -> Document:
        """The tuning job's document, counters and best job as they are now."""
        document = self._store.get(KIND, name)
        if document is None:
            raise ServiceError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with name {name}")
        return document

    def list_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListHyperParameterTuningJobs."""
        documents = [
            {
                **job,
                "Strategy": job["HyperParameterTuningJobConfig"]["Strategy"],
                "ResourceLimits": job["HyperParameterTuningJobConfig"]["ResourceLimits"],
            }
            for job in self._store.all(KIND)
        ]
        return list_documents(documents, request, LISTING)

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobsForHyperParameterTuningJob."""
        self.describe(request["HyperParameterTuningJobName"])
        return list_documents([job["_summary"] for job in self._jobs_of(request["HyperParameterTuningJobName"])], request, JOBS_LISTING)

    def stop(self, name: str) -> None:
        """StopHyperParameterTuningJob: stops its training jobs too."""
        self.describe(name)
        changes = {"HyperParameterTuningJobStatus": "Stopping", "LastModifiedTime": self._clock()}
        if not self._store.update_if(KIND, name, "HyperParameterTuningJobStatus", RUNNING, **changes):
            status = self.describe(name)["HyperParameterTuningJobStatus"]
            raise invalid(f"The request was rejected because the hyperparameter tuning job is in status {status}.")
        self._stopping.setdefault(name, threading.Event()).set()

    def stop_all(self, timeout_s: float) -> None:
        """End every running tuning job, for the plane's own end."""
        for event in self._stopping.values():
            event.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, name: str, request: Mapping[str, Any], search: Search) -> None:
        status, reason = "Failed", "InternalServerError: the tuning job's thread ended early; the plane's log tells why"
        running: dict[str, int] = {}
        try:
            status, reason = self._search(name, request, search, running)
        finally:
            self._stop_running(running)
            now = self._clock()
            self._store.update(
                KIND, name, **self._progress(name), HyperParameterTuningJobStatus=status, FailureReason=reason or None,
                HyperParameterTuningEndTime=now, LastModifiedTime=now,
            )  # fmt: skip

    def _search(self, name: str, request: Mapping[str, Any], search: Search, running: dict[str, int]) -> tuple[str, str]:
        """Keep as many training jobs running as asked until the limits, the criteria or a stop end it; returns status and reason.

        `running` holds the jobs that still run, with their trials, however it ends.
        """
        config = request["HyperParameterTuningJobConfig"]
        limits = config["ResourceLimits"]
        most = limits.get("MaxNumberOfTrainingJobs", search.size if isinstance(search, GridSearch) else DEFAULT_JOBS)
        parallel = min(limits["MaxParallelTrainingJobs"], most)
        deadline = time.monotonic() + limits.get("MaxRuntimeInSeconds", math.inf)
        launched, more = 0, True
        while running or (more and launched < most):
            self._collect(name, running, search)
            if self._stopping[name].is_set() or time.monotonic() > deadline:
                return "Stopped", ""
            more = more and not self._is_satisfied(name, config)
            while more and len(running) < parallel and launched < most:
                if (asked := search.ask()) is None:
                    more = False
                    break
                launched += 1
                running[self._launch(name, request, launched, asked[1], parallel)] = asked[0]
            time.sleep(POLL_S)
        return self._verdict(name)

    def _launch(self, name: str, request: Mapping[str, Any], number: int, tuned: dict[str, str], parallel: int) -> str:
        """Start one training job with the tuned values on top of the static ones, on its share of the cores."""
        definition = request["TrainingJobDefinition"]
        job = f"{name}-{number:03d}-{uuid.uuid4().hex[:8]}"
        objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        fields = {key: value for key, value in definition.items() if key not in ("StaticHyperParameters", "DefinitionName")}
        fields["HyperParameters"] = {**definition.get("StaticHyperParameters", {}), **tuned, "_tuning_objective_metric": objective}
        arn = self.describe(name)["HyperParameterTuningJobArn"]
        threads = max(1, usable_cores() // parallel)
        self._training_jobs.create({"TrainingJobName": job, **fields}, threads, TuningJobArn=arn, _tuning_job=name, _tuned=tuned)
        return job

    def _collect(self, name: str, running: dict[str, int], search: Search) -> None:
        """Tell the search about jobs that have ended, and bring the tuning job's document up to date."""
        for job in list(running):
            document = self._training_jobs.describe(job)
            if document["TrainingJobStatus"] in ENDED:
                search.tell(running.pop(job), _objective(document, self.describe(name)))
        progress, known = self._progress(name), self.describe(name)
        if any(known.get(key) != value for key, value in progress.items()):
            self._store.update(KIND, name, **progress, LastModifiedTime=self._clock())

    def _stop_running(self, running: Mapping[str, int]) -> None:
        for job in running:
            with contextlib.suppress(ServiceError):  # one that has ended meanwhile
                self._training_jobs.stop(job)
        for job in running:
            self._training_jobs.wait(job)

    def _is_satisfied(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether a completion criterion says that no further job is needed."""
        criteria = config.get("TuningJobCompletionCriteria", {})
        if not criteria:
            return False
        tuning = self.describe(name)
        jobs = sorted((job for job in self._jobs_of(name) if job["TrainingJobStatus"] in ENDED), key=lambda job: job["TrainingEndTime"])
        values = [value for job in jobs if (value := _objective(job, tuning)) is not None]
        sign = 1.0 if _is_minimized(tuning) else -1.0
        target = criteria.get("TargetObjectiveMetricValue")
        if target is not None and any(sign * value <= sign * target for value in values):
            return True
        patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        if patience is None or not values:
            return False
        signed = [sign * value for value in values]
        return len(signed) - 1 - signed.index(min(signed)) >= int(patience)

    def _verdict(self, name: str) -> tuple[str, str]:
        jobs = self._jobs_of(name)
        if all(job["TrainingJobStatus"] == "Failed" for job in jobs):
            return "Failed", ALL_FAILED
        if not any(job["_summary"].get("ObjectiveStatus") == "Succeeded" for job in jobs):
            return "Failed", NO_OBJECTIVE.format(count=len(jobs))
        return "Completed", ""

    def _progress(self, name: str) -> dict[str, Any]:
        """Counters, best job and consumed time as they are now."""
        jobs = self._jobs_of(name)
        tuning = self.describe(name)
        succeeded = [job["_summary"] for job in jobs if job["_summary"]["ObjectiveStatus"] == "Succeeded"]
        sign = 1.0 if _is_minimized(tuning) else -1.0
        best = min(succeeded, key=lambda job: sign * job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"], default=None)
        return {
            "TrainingJobStatusCounters": _counters(jobs),
            "ObjectiveStatusCounters": _objective_counters(jobs),
            "BestTrainingJob": best,
            "ConsumedResources": {"RuntimeInSeconds": sum(job.get("TrainingTimeInSeconds", 0) for job in jobs)},
        }

    def _jobs_of(self, name: str) -> list[Document]:
        """The tuning job's training jobs, each with its summary."""
        tuning = self.describe(name)
        jobs = self._training_jobs.documents(lambda job: job.get("_tuning_job") == name)
        return [{**job, "_summary": _summary(job, tuning)} for job in sorted(jobs, key=lambda job: job["TrainingJobName"])]


def check_tuning_request(request: Mapping[str, Any]) -> Search:
    """The search that a request asks for; raises a ValidationException for what local mode does not do and what contradicts itself."""
    refuse_what_is_not_done("CreateHyperParameterTuningJob", request)
    config, definition = request["HyperParameterTuningJobConfig"], request.get("TrainingJobDefinition")
    if definition is None or "HyperParameterTuningJobObjective" not in config or "ParameterRanges" not in config:
        raise invalid(
            "TrainingJobDefinition, HyperParameterTuningJobConfig.HyperParameterTuningJobObjective and .ParameterRanges are all needed"
        )
    check_training_request(definition, "TrainingJobDefinition.", "CreateHyperParameterTuningJob")
    ranges = read_ranges(config["ParameterRanges"])
    if both := sorted({each.name for each in ranges} & set(definition.get("StaticHyperParameters", {}))):
        raise invalid(f"{both[0]!r} is both in StaticHyperParameters and in ParameterRanges; give it in one of them")
    objective = config["HyperParameterTuningJobObjective"]
    metrics = [each["Name"] for each in definition["AlgorithmSpecification"].get("MetricDefinitions", ())]
    if objective["MetricName"] not in metrics:
        raise invalid(f"The objective metric {objective['MetricName']!r} is none of the defined metrics {metrics}")
    limits = config["ResourceLimits"]
    if limits.get("MaxNumberOfTrainingJobs", math.inf) < limits["MaxParallelTrainingJobs"]:
        raise invalid("ResourceLimits.MaxParallelTrainingJobs must not be above MaxNumberOfTrainingJobs")
    search = make_search(config.get("Strategy", "Bayesian"), ranges, objective["Type"] == "Minimize", config.get("RandomSeed"))
    if isinstance(search, GridSearch) and limits.get("MaxNumberOfTrainingJobs", search.size) != search.size:
        raise invalid(f"ResourceLimits.MaxNumberOfTrainingJobs must be {search.size}, the number of combinations of this grid, or left out")
    return search


def _is_minimized(tuning: Mapping[str, Any]) -> bool:
    return bool(tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] == "Minimize")


def _objective(job: Mapping[str, Any], tuning: Mapping[str, Any]) -> float | None:
    """The last value of the objective metric of a completed job, None where there is none."""
    wanted = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    values = [metric["Value"] for metric in job.get("FinalMetricDataList", ()) if metric["MetricName"] == wanted]
    return float(values[0]) if values and job["TrainingJobStatus"] != "Failed" else None


def _summary(job: Mapping[str, Any], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """The HyperParameterTrainingJobSummary of a training job."""
    value = _objective(job, tuning)
    kept = (
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingStartTime",
        "TrainingEndTime",
        "TrainingJobStatus",
        "FailureReason",
    )
    summary = {key: job[key] for key in kept if key in job}
    summary["TunedHyperParameters"] = job["_tuned"]
    ended = job["TrainingJobStatus"] in ENDED
    summary["ObjectiveStatus"] = ("Succeeded" if value is not None else "Failed") if ended else "Pending"
    if value is not None and ended:
        objective = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective, "Value": value}
    return summary


def _counters(jobs: list[Document]) -> dict[str, int]:
    statuses = Counter(job["TrainingJobStatus"] for job in jobs)
    return {
        "Completed": statuses["Completed"],
        "InProgress": statuses["InProgress"] + statuses["Stopping"],
        "RetryableError": 0,
        "NonRetryableError": statuses["Failed"],
        "Stopped": statuses["Stopped"],
    }


def _objective_counters(jobs: list[Document]) -> dict[str, int]:
    statuses = Counter(job["_summary"]["ObjectiveStatus"] for job in jobs)
    return {status: statuses[status] for status in ("Succeeded", "Pending", "Failed")}
