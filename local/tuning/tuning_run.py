"""Runs one tuning job: launches its training jobs, listens to what they print, stops the hopeless, and knows when it is enough.

Runs in the SageMaker plane, on one thread for each running tuning job, which sleeps until a training job prints its objective or ends.
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
from local.tuning.tuning_summaries import FINAL, found_by, objective_of, sign_of

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
"""The end of a tuning job whose training jobs decide how it ended."""
log = logging.getLogger("tuning-jobs")


class TuningRun:
    """One tuning job from its first training job to its last."""

    def __init__(
        self,
        tuning: Document,
        plan: Plan,
        training_jobs: TrainingJobs,
        jobs: Callable[[], list[Document]],
        launched: Callable[[str], None],
        changed: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Run `tuning`, its Describe document, by `plan`; `jobs` are its training jobs' documents, each with its `_summary`.

        `launched` is told of the ARN of each new training job, `changed` when there is something new to describe.
        """
        self._tuning = tuning
        self._name = tuning["HyperParameterTuningJobName"]
        self._config = tuning["HyperParameterTuningJobConfig"]
        self._objective = self._config["HyperParameterTuningJobObjective"]["MetricName"]
        self._plan = plan
        self._training_jobs = training_jobs
        self._jobs = jobs
        self._launched = launched
        self._changed = changed
        self._monotonic = monotonic
        self._running: dict[str, int] = {}
        self._stopped_early: set[str] = set()
        self._most = plan.jobs
        self._count = 0
        self._has_news = True
        self._heard: queue.SimpleQueue[tuple[str, float | None]] = queue.SimpleQueue()
        self._is_stopped = False

    def stop(self) -> None:
        """Ask the tuning job to end: the tuning job is Stopped, and its training jobs with it."""
        self._is_stopped = True
        self._heard.put(("", None))

    def run(self) -> tuple[str, str]:
        """Search until the limits, the criteria, too many failures or a stop end it; returns status and reason. No job runs on after it."""
        deadline = self._monotonic() + self._plan.seconds
        try:
            while (ending := self._ending(deadline)) is None:
                self._launch_more()
                self._listen(min(PATIENCE_S, max(0.0, deadline - self._monotonic())))
        except ServiceError as error:
            ending = ("Failed", f"ClientError: a training job could not be launched: {error.message}"[:REASON_LIMIT])
        finally:
            self._stop_running()
        return self._verdict() if ending == _OVER else ending

    def _ending(self, deadline: float) -> tuple[str, str] | None:
        """Status and reason where the tuning job is over; None while it goes on."""
        if self._is_stopped:
            return "Stopped", ""
        # That there was no more time is a limit reached, like the number of jobs: AWS calls Stopped what somebody has stopped.
        if self._monotonic() >= deadline or (self._count >= self._most and not self._running):
            return _OVER
        return self._ending_by_results() if self._has_news else None

    def _ending_by_results(self) -> tuple[str, str] | None:
        """Whether so many jobs have failed, or so much has been found, that no other is needed."""
        self._has_news = False
        jobs = self._jobs()
        failed = sum(job["TrainingJobStatus"] == "Failed" for job in jobs)
        if failed >= MOST_ATTEMPTS and not any(job["TrainingJobStatus"] == "Completed" or FINAL in job["_summary"] for job in jobs):
            return "Failed", GIVEN_UP
        return _OVER if self._is_satisfied(jobs) else None

    def _is_satisfied(self, jobs: list[Document]) -> bool:
        criteria = self._config.get("TuningJobCompletionCriteria", {})
        return bool(criteria) and is_complete(criteria, found_by(jobs, self._tuning), sign_of(self._tuning))

    def _verdict(self) -> tuple[str, str]:
        jobs = self._jobs()
        if jobs and all(job["TrainingJobStatus"] == "Failed" for job in jobs):
            return "Failed", ALL_FAILED
        if not any(FINAL in job["_summary"] for job in jobs):
            return "Failed", NO_OBJECTIVE.format(count=len(jobs))
        return "Completed", ""

    def _launch_more(self) -> None:
        """Fill the free places, while there is something to try."""
        while len(self._running) < self._plan.parallel and self._count < self._most:
            asked = self._plan.search.ask()
            if asked is None:
                self._most = self._count
                return
            self._count += 1
            self._launch(*asked)
            self._changed()

    def _launch(self, number: int, tuned: dict[str, str]) -> None:
        """Start one training job with the tuned values on top of the static ones, on its share of the cores."""
        definition: Mapping[str, Any] = self._tuning["TrainingJobDefinition"]
        job = f"{self._name}-{self._count:03d}-{uuid.uuid4().hex[:8]}"
        fields = {key: value for key, value in definition.items() if key not in ("StaticHyperParameters", "DefinitionName")}
        fields["HyperParameters"] = {**definition.get("StaticHyperParameters", {}), **tuned, "_tuning_objective_metric": self._objective}
        listener = Listener(lambda metric, value: self._hear(job, metric, value), lambda: self._heard.put((job, None)))
        threads = max(1, count_cores() // self._plan.parallel)
        members = {"TuningJobArn": self._tuning["HyperParameterTuningJobArn"], "_tuning_job": self._name, "_tuned": tuned}
        answer = self._training_jobs.create({"TrainingJobName": job, **fields}, threads, listener=listener, **members)
        self._running[job] = number
        self._launched(answer["TrainingJobArn"])

    def _hear(self, job: str, metric: str, value: float) -> None:
        """Called by the training job's own thread. What is no number is no measurement, as for CloudWatch."""
        if metric == self._objective and math.isfinite(value):
            self._heard.put((job, value))

    def _listen(self, timeout_s: float) -> None:
        """Wait until a job says something, then take note of all that has been said."""
        with contextlib.suppress(queue.Empty):
            self._note(*self._heard.get(timeout=timeout_s))
            while True:
                self._note(*self._heard.get_nowait())

    def _note(self, job: str, value: float | None) -> None:
        if job not in self._running:
            return
        if value is None:
            self._collect(job)
        else:
            self._judge(job, value)

    def _judge(self, job: str, value: float) -> None:
        """Stop a job that is not worth going on with."""
        stopper = self._plan.stopper
        if stopper is None or job in self._stopped_early or not stopper.hear(job, sign_of(self._tuning) * value):
            return
        self._stopped_early.add(job)
        log.info("the training job %s is stopped early, at %s %s", job, self._objective, value)
        with contextlib.suppress(ServiceError):  # it has ended meanwhile
            self._training_jobs.stop(job)

    def _collect(self, job: str) -> None:
        """Tell the search about a job that has ended."""
        document = self._training_jobs.describe(job)
        self._plan.search.tell(self._running.pop(job), objective_of(document, self._tuning))
        if self._plan.stopper is not None:
            self._plan.stopper.end(job, document["TrainingJobStatus"] == "Completed")
        self._has_news = True
        self._changed()

    def _stop_running(self) -> None:
        for job in self._running:
            with contextlib.suppress(ServiceError):  # one that has ended meanwhile
                self._training_jobs.stop(job)
        for job in self._running:
            self._training_jobs.wait(job)
