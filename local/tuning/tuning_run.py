"""Runs one tuning job: launches its training jobs, reads their objectives, stops jobs early, and ends at a limit or a criterion.

Runs in the SageMaker plane, on one thread per running tuning job, which sleeps until a training job prints its objective or ends.
"""

import contextlib
import logging
import math
import queue
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from local.api.errors import ServiceError
from local.jobs.container import REASON_LIMIT, count_cores
from local.jobs.training_jobs import Listener, TrainingJobs
from local.storage.store import Document
from local.tuning.completion import is_complete
from local.tuning.tuning_requests import Plan
from local.tuning.tuning_summaries import FINAL, list_results, read_objective, read_sign

PATIENCE_S = 60.0
MOST_ATTEMPTS = 5
GIVEN_UP = (
    f"No training job succeeded after {MOST_ATTEMPTS} attempts. For additional details, please take a look at the training job failures by "
    "listing training jobs for the hyperparameter tuning job."
)
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {count} training jobs. Please ensure that the custom algorithm is emitting the "
    "objective metric as defined by the regular expression provided."
)
_OVER = ("", "")
"""The end of a tuning job whose status follows from its training jobs."""
log = logging.getLogger("tuning-jobs")


class TuningRun:
    """One tuning job from its first training job to its last."""

    def __init__(
        self,
        tuning: Document,
        plan: Plan,
        training_jobs: TrainingJobs,
        jobs: Callable[[], list[Document]],
        on_launch: Callable[[str], None],
        on_change: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Run `tuning`, its Describe document, by `plan`; `jobs` are its training jobs' documents, each with its `_summary`.

        Callbacks: `on_launch` with the ARN of each new training job, `on_change` when the description changes.
        """
        self._tuning = tuning
        self._name = tuning["HyperParameterTuningJobName"]
        self._config = tuning["HyperParameterTuningJobConfig"]
        self._objective = self._config["HyperParameterTuningJobObjective"]["MetricName"]
        self._plan = plan
        self._training_jobs = training_jobs
        self._jobs = jobs
        self._on_launch = on_launch
        self._on_change = on_change
        self._monotonic = monotonic
        self._running: dict[str, int] = {}
        self._stopped_early: set[str] = set()
        self._most = plan.jobs
        self._count = 0
        self._has_new_results = True
        self._events: queue.SimpleQueue[tuple[str, float | None]] = queue.SimpleQueue()
        self._is_stopped = False

    def stop(self) -> None:
        """Stop the tuning job and its training jobs."""
        self._is_stopped = True
        self._events.put(("", None))

    def run(self) -> tuple[str, str]:
        """Search until a limit, a criterion, too many failures or a stop; returns status and reason after all training jobs have ended."""
        deadline = self._monotonic() + self._plan.seconds
        try:
            while (ending := self._find_ending(deadline)) is None:
                self._launch_more()
                self._listen(min(PATIENCE_S, max(0.0, deadline - self._monotonic())))
        except ServiceError as error:
            ending = ("Failed", f"ClientError: a training job could not be launched: {error.message}"[:REASON_LIMIT])
        finally:
            self._stop_running()
        return self._judge_results() if ending == _OVER else ending

    def _find_ending(self, deadline: float) -> tuple[str, str] | None:
        """Return status and reason when the tuning job is over; None while it continues."""
        if self._is_stopped:
            return "Stopped", ""
        # A time limit ends a tuning job like the number of jobs does: on AWS, Stopped means a StopHyperParameterTuningJob call.
        if self._monotonic() >= deadline or (self._count >= self._most and not self._running):
            return _OVER
        return self._find_ending_by_results() if self._has_new_results else None

    def _find_ending_by_results(self) -> tuple[str, str] | None:
        """Return status and reason after too many failed jobs or a met criterion; None while the tuning job continues."""
        self._has_new_results = False
        jobs = self._jobs()
        failed = sum(job["TrainingJobStatus"] == "Failed" for job in jobs)
        if failed >= MOST_ATTEMPTS and not any(job["TrainingJobStatus"] == "Completed" or FINAL in job["_summary"] for job in jobs):
            return "Failed", GIVEN_UP
        return _OVER if self._is_satisfied(jobs) else None

    def _is_satisfied(self, jobs: list[Document]) -> bool:
        criteria = self._config.get("TuningJobCompletionCriteria", {})
        return bool(criteria) and is_complete(criteria, list_results(jobs, self._tuning), read_sign(self._tuning))

    def _judge_results(self) -> tuple[str, str]:
        jobs = self._jobs()
        if jobs and all(job["TrainingJobStatus"] == "Failed" for job in jobs):
            return "Failed", ALL_FAILED
        if not any(FINAL in job["_summary"] for job in jobs):
            return "Failed", NO_OBJECTIVE.format(count=len(jobs))
        return "Completed", ""

    def _launch_more(self) -> None:
        """Launch training jobs up to the parallel limit, while the search has suggestions."""
        while len(self._running) < self._plan.parallel and self._count < self._most:
            suggestion = self._plan.search.ask()
            if suggestion is None:
                self._most = self._count
                return
            self._count += 1
            self._launch(*suggestion)
            self._on_change()

    def _launch(self, number: int, tuned: dict[str, str]) -> None:
        """Start one training job with the static and the tuned hyperparameters, on its share of the cores."""
        definition: Mapping[str, Any] = self._tuning["TrainingJobDefinition"]
        job = f"{self._name}-{self._count:03d}-{uuid.uuid4().hex[:8]}"
        fields = {key: value for key, value in definition.items() if key not in ("StaticHyperParameters", "DefinitionName")}
        fields["HyperParameters"] = {**definition.get("StaticHyperParameters", {}), **tuned, "_tuning_objective_metric": self._objective}
        listener = Listener(lambda metric, value: self._on_metric(job, metric, value), lambda: self._events.put((job, None)))
        threads = max(1, count_cores() // self._plan.parallel)
        members = {"TuningJobArn": self._tuning["HyperParameterTuningJobArn"], "_tuning_job": self._name, "_tuned": tuned}
        answer = self._training_jobs.create({"TrainingJobName": job, **fields}, threads, listener=listener, **members)
        self._running[job] = number
        self._on_launch(answer["TrainingJobArn"])

    def _on_metric(self, job: str, metric: str, value: float) -> None:
        """Queue an objective, on the training job's thread. NaN and infinity do not count, as for CloudWatch."""
        if metric == self._objective and math.isfinite(value):
            self._events.put((job, value))

    def _listen(self, timeout_s: float) -> None:
        """Wait for an event of a job, then handle all queued events."""
        with contextlib.suppress(queue.Empty):
            self._note(*self._events.get(timeout=timeout_s))
            while True:
                self._note(*self._events.get_nowait())

    def _note(self, job: str, value: float | None) -> None:
        if job not in self._running:
            return
        if value is None:
            self._collect(job)
        else:
            self._judge(job, value)

    def _judge(self, job: str, value: float) -> None:
        """Stop an unpromising job."""
        stopper = self._plan.stopper
        if stopper is None or job in self._stopped_early or not stopper.hear(job, read_sign(self._tuning) * value):
            return
        self._stopped_early.add(job)
        log.info("the training job %s is stopped early, at %s %s", job, self._objective, value)
        with contextlib.suppress(ServiceError):  # it has ended meanwhile
            self._training_jobs.stop(job)

    def _collect(self, job: str) -> None:
        """Report the result of a job that has ended to the search."""
        document = self._training_jobs.describe(job)
        self._plan.search.tell(self._running.pop(job), read_objective(document, self._tuning))
        if self._plan.stopper is not None:
            self._plan.stopper.end(job, document["TrainingJobStatus"] == "Completed")
        self._has_new_results = True
        self._on_change()

    def _stop_running(self) -> None:
        for job in self._running:
            with contextlib.suppress(ServiceError):  # one that has ended meanwhile
                self._training_jobs.stop(job)
        for job in self._running:
            self._training_jobs.wait(job)
