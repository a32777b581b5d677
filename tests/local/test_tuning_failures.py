"""A tuning job whose search breaks: its training jobs do not go on alone."""

from pathlib import Path
from typing import Any

import pytest

from local.store import Store
from local.training_jobs import TrainingJobs
from local.tuning_jobs import TuningJobs
from tests.local.conftest import training_fields, wait_until
from tests.local.fakes import FakeS3, fake_tools, toolkit
from tests.local.test_tuning_jobs import RANGES


class BrokenOnTheSecond(TrainingJobs):
    """Training jobs of which only the first can be created."""

    created = 0

    def create(self, request: Any, threads: int | None = None, **members: Any) -> dict[str, Any]:
        self.created += 1
        if self.created == 2:
            raise RuntimeError("the disk is full")
        return super().create(request, threads, **members)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_search_that_breaks_stops_the_jobs_it_has_started(tmp_path: Path) -> None:
    toolkit(tmp_path, "import time; time.sleep(600)")
    tools = fake_tools(tmp_path, FakeS3())
    store = Store(tmp_path / "state")
    training = BrokenOnTheSecond(store, tools)
    tuning = TuningJobs(store, training)
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "objective:valid_loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": RANGES,
    }
    definition = {**training_fields("b", "s3://b/p"), "InputDataConfig": []}
    try:
        tuning.create(
            {"HyperParameterTuningJobName": "breaks", "HyperParameterTuningJobConfig": config, "TrainingJobDefinition": definition}
        )
        ended = wait_until(lambda: tuning.describe("breaks"), lambda job: job["HyperParameterTuningJobStatus"] != "InProgress", 40)
        assert ended["HyperParameterTuningJobStatus"] == "Failed" and "thread ended early" in ended["FailureReason"]
        assert ended["TrainingJobStatusCounters"]["Stopped"] == 1 and ended["TrainingJobStatusCounters"]["InProgress"] == 0
        assert tools.processes.records("job-") == []
    finally:
        tuning.stop_all(20)
        training.stop_all(20)
