"""Tuning jobs without an engine and without torch: training jobs are little programs that print an objective."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from local.api.rehearsal import Rehearsal
from local.jobs.training_jobs import TrainingJobs
from local.storage.store import Store
from local.tuning.tuning_jobs import TuningJobs
from tests.local.conftest import training_fields, wait_until
from tests.local.fakes import FakeS3, fake_tools, toolkit

OBJECTIVE = "objective:valid_loss"
START = f"""
import json, os, pathlib, signal, sys, time
number = int(os.environ["TRAINING_JOB_NAME"].split("-")[-2])
given = json.loads(pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "input/config/hyperparameters.json").read_text())
def tell(value):
    print(f"[metric] {OBJECTIVE}={{value}}", flush=True)
"""
LETTERS = {"CategoricalParameterRanges": [{"Name": "letter", "Values": list("abcdefgh")}]}
ENDED = ("Completed", "Failed", "Stopped")


class Tuning:
    """A plane's tuning jobs and training jobs, each training job running `program`, which finds `number`, `given` and `tell`."""

    def __init__(self, folder: Path, program: str, rehearsal: str = "", **options: Any) -> None:
        """Keep everything in `folder`; `options` are those of TuningJobs."""
        toolkit(folder, START + program)
        self.tools = replace(fake_tools(folder, FakeS3()), rehearsal=Rehearsal.parse(rehearsal))
        self.store = Store(folder / "state")
        self.training = TrainingJobs(self.store, self.tools)
        self.jobs = TuningJobs(self.store, self.training, **options)

    def start(self, name: str, jobs: int | None = 8, parallel: int = 1, more: Any = None, definition: Any = None, **config: Any) -> None:
        """Create a tuning job; `config` and `definition` go into its parts of these names, `more` into the request itself."""
        limits = {"MaxParallelTrainingJobs": parallel, **({"MaxNumberOfTrainingJobs": jobs} if jobs else {})}
        fields = {**training_fields("b", "s3://b/p"), "InputDataConfig": [], **(definition or {})}
        request = {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Grid",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": OBJECTIVE},
                "ResourceLimits": limits,
                "ParameterRanges": LETTERS,
                **config,
            },
            "TrainingJobDefinition": fields,
        }
        self.jobs.create({**request, **(more or {})})

    def wait(self, name: str, timeout_s: float = 40) -> dict[str, Any]:
        """The tuning job's description when it has ended."""
        described: dict[str, Any] = wait_until(
            lambda: self.jobs.describe(name), lambda job: job["HyperParameterTuningJobStatus"] in ENDED, timeout_s
        )
        return described

    def tune(self, name: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Run a tuning job, as `start` takes it, to its end."""
        self.start(name, *arguments, **options)
        return self.wait(name)

    def summaries(self, name: str) -> list[dict[str, Any]]:
        """The summaries of the tuning job's training jobs, in the order of their numbers."""
        request = {"HyperParameterTuningJobName": name, "MaxResults": 100, "SortBy": "Name", "SortOrder": "Ascending"}
        listed: list[dict[str, Any]] = self.jobs.list_training_jobs(request)["TrainingJobSummaries"]
        return listed


@contextlib.contextmanager
def running(folder: Path, program: str, rehearsal: str = "", **options: Any) -> Iterator[Tuning]:
    """A `Tuning` whose jobs are all ended afterwards."""
    tuning = Tuning(folder, program, rehearsal, **options)
    try:
        yield tuning
    finally:
        tuning.jobs.stop_all(20)
        tuning.training.stop_all(20)
