"""Tuning jobs of the SageMaker plane: create, describe, list, stop, and the thread that runs each.

Runs in the SageMaker plane. A tuning job's document is its DescribeHyperParameterTuningJob answer; `local.tuning.tuning_run` does the
search.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.api.account import build_arn
from local.api.errors import ServiceError, validation_error
from local.jobs.threads import INTERRUPTED, RUNNING
from local.jobs.training_jobs import TrainingJobs
from local.storage.listing import Listing, list_documents
from local.storage.store import Document, Store
from local.storage.tags import Tags
from local.tuning.completion import describe_completion
from local.tuning.tuning_requests import Plan, plan_tuning
from local.tuning.tuning_run import TuningRun
from local.tuning.tuning_summaries import count_objectives, count_statuses, find_best, list_results, read_sign, summarize
from local.tuning.warm_starts import check_warm_start, collect_results, find_overall_best, list_parents

KIND = "tuning-job"
LISTING = Listing("HyperParameterTuningJobSummaries", "HyperParameterTuningJobName", "HyperParameterTuningJobStatus", "Name", "Ascending")
JOBS_LISTING = Listing("TrainingJobSummaries", "TrainingJobName", "TrainingJobStatus", "Name", "Ascending")


class TuningJobs:
    """All tuning jobs, the running ones each on a thread."""

    def __init__(
        self,
        store: Store,
        training_jobs: TrainingJobs,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Continue from `store`; a tuning job that was running when an earlier plane ended is marked Failed."""
        self._store = store
        self._training_jobs = training_jobs
        self._tags = Tags(store)
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._runs: dict[str, TuningRun] = {}
        self._threads: dict[str, threading.Thread] = {}
        for job in store.list_all(KIND):
            if job["HyperParameterTuningJobStatus"] in RUNNING:
                self._end(job["HyperParameterTuningJobName"], "Failed", INTERRUPTED)

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateHyperParameterTuningJob."""
        plan = self._make_plan(request)
        name = request["HyperParameterTuningJobName"]
        now = self._clock()
        arn = build_arn("hyper-parameter-tuning-job", name)
        document = {
            **{key: value for key, value in request.items() if key != "Tags"},
            "HyperParameterTuningJobArn": arn,
            "HyperParameterTuningJobStatus": "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
            "TrainingJobStatusCounters": count_statuses([]),
            "ObjectiveStatusCounters": count_objectives([]),
        }
        with self._lock:
            if not self._store.create(KIND, name, document):
                raise ServiceError(
                    "ResourceInUse", f"Hyperparameter tuning job names must be unique within an AWS account and region ({arn} exists)"
                )
            self._runs[name] = TuningRun(
                document, plan, self._training_jobs, lambda: self._list_jobs(name),
                lambda job: self._tags.keep_from_request(request, {"TrainingJobArn": job}), lambda: self._refresh(name), self._monotonic,
            )  # fmt: skip
            self._threads[name] = threading.Thread(target=self._run, args=(name,), daemon=True, name=f"tuning-{name}")
            self._threads[name].start()
        return {"HyperParameterTuningJobArn": arn}

    def describe(self, name: str) -> Document:
        """Return the tuning job's document with the present counters and best job."""
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
            for job in self._store.list_all(KIND)
        ]
        return list_documents(documents, request, LISTING)

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobsForHyperParameterTuningJob."""
        self.describe(request["HyperParameterTuningJobName"])
        return list_documents([job["_summary"] for job in self._list_jobs(request["HyperParameterTuningJobName"])], request, JOBS_LISTING)

    def stop(self, name: str) -> None:
        """StopHyperParameterTuningJob: stops its training jobs too."""
        self.describe(name)
        changes = {"HyperParameterTuningJobStatus": "Stopping", "LastModifiedTime": self._clock()}
        if not self._store.update_if(KIND, name, "HyperParameterTuningJobStatus", RUNNING, **changes):
            status = self.describe(name)["HyperParameterTuningJobStatus"]
            raise validation_error(f"The request was rejected because the hyperparameter tuning job is in status {status}.")
        with self._lock:
            run = self._runs.get(name)
        if run is not None:
            run.stop()

    def stop_all(self, timeout_s: float) -> None:
        """End every running tuning job when the plane ends."""
        with self._lock:
            runs, threads = list(self._runs.values()), list(self._threads.values())
        for run in runs:
            run.stop()
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _make_plan(self, request: Mapping[str, Any]) -> Plan:
        """Make the plan for a request; the search learns the results of a warm start's parents."""
        names = list_parents(request)
        documents = {name: self._store.get(KIND, name) for name in names}
        jobs = {name: self._list_jobs(name) for name, document in documents.items() if document is not None}
        plan = plan_tuning(request, sum(len(each) for each in jobs.values()))
        if "WarmStartConfig" in request:
            check_warm_start(request, documents)
            for each in jobs.values():
                plan.search.learn(collect_results(each, [job["_summary"] for job in each]))
        self._training_jobs.check_quota(request["TrainingJobDefinition"], plan.parallel)
        return plan

    def _run(self, name: str) -> None:
        status, reason = "Failed", "InternalServerError: the tuning job's thread ended early; see the plane's log"
        try:
            status, reason = self._runs[name].run()
        finally:
            self._end(name, status, reason)
            with self._lock:
                del self._runs[name], self._threads[name]

    def _end(self, name: str, status: str, reason: str) -> None:
        now = self._clock()
        self._store.update(
            KIND, name, **self._describe_progress(name), HyperParameterTuningJobStatus=status, FailureReason=reason or None,
            HyperParameterTuningEndTime=now, LastModifiedTime=now,
        )  # fmt: skip

    def _refresh(self, name: str) -> None:
        """Update the tuning job's document."""
        self._store.update(KIND, name, **self._describe_progress(name), LastModifiedTime=self._clock())

    def _describe_progress(self, name: str) -> dict[str, Any]:
        """Return the present counters, best jobs, completion details and consumed time."""
        jobs, tuning = self._list_jobs(name), self.describe(name)
        summaries = [job["_summary"] for job in jobs]
        best = find_best(summaries, read_sign(tuning))
        parents = [parent for each in list_parents(tuning) if (parent := self._store.get(KIND, each)) is not None]
        return {
            "TrainingJobStatusCounters": count_statuses(jobs),
            "ObjectiveStatusCounters": count_objectives(summaries),
            "BestTrainingJob": best,
            "OverallBestTrainingJob": find_overall_best(tuning, best, parents),
            "TuningJobCompletionDetails": describe_completion(list_results(jobs, tuning)),
            "ConsumedResources": {"RuntimeInSeconds": int(self._clock() - tuning["CreationTime"])},
        }

    def _list_jobs(self, name: str) -> list[Document]:
        """List the tuning job's training jobs, each with its summary."""
        tuning = self.describe(name)
        jobs = self._training_jobs.select(lambda job: job.get("_tuning_job") == name)
        return [{**job, "_summary": summarize(job, tuning)} for job in sorted(jobs, key=lambda job: job["TrainingJobName"])]
