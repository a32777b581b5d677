"""Tuning jobs whose training jobs fail, print nothing of use, or are stopped: status, counters and reason are those of AWS."""

from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError, validation_error
from local.jobs.training_jobs import TrainingJobs
from local.storage.store import Store
from local.tuning.tuning_jobs import TuningJobs
from tests.fixtures.local.running import wait_until
from tests.fixtures.local.tuning import Tuning, running

JOBS = 8
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
GIVEN_UP = (
    "No training job succeeded after 5 attempts. For additional details, please take a look at the training job failures by listing "
    "training jobs for the hyperparameter tuning job."
)
SLEEPS = "time.sleep(600)"


def counters(tuning: dict[str, Any]) -> tuple[int, int, int]:
    """How many training jobs completed, failed for good and were stopped; none runs."""
    told = tuning["TrainingJobStatusCounters"]
    assert told["InProgress"] == 0
    return told["Completed"], told["NonRetryableError"], told["Stopped"]


@pytest.mark.parametrize("failed", range(JOBS + 1))
def test_the_best_of_those_that_completed_however_many_failed(tmp_path: Path, failed: int) -> None:
    """The last ones fail, and would have been the best; where all do, five are enough to know."""
    with running(tmp_path, f"sys.exit('broken') if number > {JOBS - failed} else tell(100 - number)") as tuning:
        ended = tuning.tune("some-fail", jobs=JOBS)
        completed = JOBS - failed
        assert counters(ended) == ((completed, failed, 0) if completed else (0, 5, 0))
        assert ended["ObjectiveStatusCounters"] == {"Succeeded": completed, "Pending": 0, "Failed": failed if completed else 5}
        if completed:
            assert ended["HyperParameterTuningJobStatus"] == "Completed" and "FailureReason" not in ended
            assert ended["BestTrainingJob"] == tuning.summaries("some-fail")[completed - 1]
        else:
            assert ended["HyperParameterTuningJobStatus"] == "Failed" and ended["FailureReason"] == GIVEN_UP
            assert "BestTrainingJob" not in ended
        failures = [each for each in tuning.summaries("some-fail") if each["TrainingJobStatus"] == "Failed"]
        assert all("broken" in each["FailureReason"] and each["ObjectiveStatus"] == "Failed" for each in failures)


def test_one_that_completed_before_keeps_a_tuning_job_going_through_any_number_of_failures(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0) if number == 1 else sys.exit('broken')") as tuning:
        assert counters(tuning.tune("goes-on")) == (1, 7, 0)


def test_five_failures_end_what_runs_beside_them(tmp_path: Path) -> None:
    with running(tmp_path, f"sys.exit('broken') if number != 2 else {SLEEPS}") as tuning:
        ended = tuning.tune("gives-up", parallel=2)
        assert ended["FailureReason"] == GIVEN_UP and counters(ended) == (0, 5, 1)
        assert tuning.tools.processes.list_records("job-") == []


def test_fewer_than_five_jobs_that_all_fail(tmp_path: Path) -> None:
    with running(tmp_path, "sys.exit('broken')") as tuning:
        ended = tuning.tune("all-fail", jobs=4, Strategy="Random")
        assert ended["HyperParameterTuningJobStatus"] == "Failed" and ended["FailureReason"] == ALL_FAILED


@pytest.mark.parametrize("program", ["print('loss: 0.5')", "tell('nan')", "tell('-inf')", "tell('low')"])
def test_no_objective_at_all_is_a_failure_that_says_so(tmp_path: Path, program: str) -> None:
    with running(tmp_path, program) as tuning:
        ended = tuning.tune("silent", jobs=3, Strategy="Random")
        assert ended["HyperParameterTuningJobStatus"] == "Failed"
        assert ended["FailureReason"].startswith("No objective metrics found after running 3 training jobs.")
        assert counters(ended) == (3, 0, 0) and ended["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 3}
        assert "BestTrainingJob" not in ended


@pytest.mark.parametrize("objective", ["Minimize", "Maximize"])
def test_nan_and_failed_jobs_are_never_the_best(tmp_path: Path, objective: str) -> None:
    program = """
tell({1: 0.5, 2: "nan", 3: "inf", 4: "-inf", 5: 0.1, 6: 0.9}.get(number, 0.5))
sys.exit("broken" if number in (5, 6) else 0)
"""
    with running(tmp_path, program) as tuning:
        metric = {"Type": objective, "MetricName": "objective:valid_loss"}
        ended = tuning.tune("nan", HyperParameterTuningJobObjective=metric)
        assert ended["HyperParameterTuningJobStatus"] == "Completed" and counters(ended) == (6, 2, 0)
        assert ended["BestTrainingJob"] == tuning.summaries("nan")[0]
        assert ended["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 5}


def test_a_failure_of_the_service_itself_is_a_retryable_error(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)") as tuning:
        tuning.tools.image.train.unlink()
        told = tuning.tune("no-toolkit", jobs=2, Strategy="Random")["TrainingJobStatusCounters"]
        assert told["RetryableError"] == 2 and told["NonRetryableError"] == 0


def test_stopped_half_way_it_keeps_what_it_has_found(tmp_path: Path) -> None:
    with running(tmp_path, f"tell(number)\nif number > 2: {SLEEPS}") as tuning:
        tuning.start("stops", parallel=2)
        wait_until(lambda: tuning.jobs.describe("stops"), lambda job: job["TrainingJobStatusCounters"]["Completed"] == 2, 20)
        wait_until(lambda: tuning.summaries("stops"), lambda jobs: len(jobs) == 4, 20)
        tuning.jobs.stop("stops")
        ended = tuning.wait("stops")
        assert ended["HyperParameterTuningJobStatus"] == "Stopped" and "FailureReason" not in ended
        assert counters(ended) == (2, 0, 2)
        assert ended["BestTrainingJob"]["TrainingJobStatus"] == "Completed"
        assert tuning.tools.processes.list_records("job-") == []


def test_a_time_limit_stops_what_runs_and_counts_what_was_found(tmp_path: Path) -> None:
    now = [0.0]
    limits = {"MaxNumberOfTrainingJobs": JOBS, "MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 120}
    program = "tell(number)\nwhile number > 2:\n    time.sleep(0.05)\n    tell(number)"
    with running(tmp_path, program, monotonic=lambda: now[0]) as tuning:
        tuning.start("limited", ResourceLimits=limits)
        wait_until(lambda: tuning.summaries("limited"), lambda jobs: len(jobs) == 3, 20)
        assert tuning.jobs.describe("limited")["HyperParameterTuningJobStatus"] == "InProgress"
        now[0] = 120.0
        ended = tuning.wait("limited")
        assert ended["HyperParameterTuningJobStatus"] == "Completed" and "FailureReason" not in ended
        assert counters(ended) == (2, 0, 1)
        assert ended["BestTrainingJob"] == tuning.summaries("limited")[0]
        assert tuning.tools.processes.list_records("job-") == []


def test_a_time_limit_that_is_over_before_anything_was_found_is_a_failure(tmp_path: Path) -> None:
    clock = iter([0.0, 0.0, 119.9, *[121.0] * 100])
    limits = {"MaxNumberOfTrainingJobs": JOBS, "MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 120}
    with running(tmp_path, SLEEPS, monotonic=lambda: next(clock)) as tuning:
        ended = tuning.tune("too-short", ResourceLimits=limits)
        assert ended["HyperParameterTuningJobStatus"] == "Failed" and ended["FailureReason"].startswith("No objective metrics found")


class BrokenOnTheSecond(TrainingJobs):
    """Training jobs of which only the first can be created."""

    created = 0
    error: Exception = RuntimeError("the disk is full")

    def create(self, request: Any, *arguments: Any, **members: Any) -> dict[str, Any]:
        self.created += 1
        if self.created == 2:
            raise self.error
        return super().create(request, *arguments, **members)


def broken(tuning: Tuning, error: Exception) -> dict[str, Any]:
    """The description of a tuning job that ended when its second training job could not be created."""
    tuning.training = BrokenOnTheSecond(tuning.store, tuning.tools)
    tuning.training.error = error
    tuning.jobs = TuningJobs(tuning.store, tuning.training)
    ended = tuning.tune("breaks", jobs=2, parallel=2, Strategy="Random")
    assert ended["HyperParameterTuningJobStatus"] == "Failed" and counters(ended) == (0, 0, 1)
    assert tuning.tools.processes.list_records("job-") == []
    return ended


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_search_that_breaks_stops_the_jobs_it_has_started(tmp_path: Path) -> None:
    with running(tmp_path, SLEEPS) as tuning:
        assert "thread ended early" in broken(tuning, RuntimeError("the disk is full"))["FailureReason"]


def test_a_training_job_that_is_refused_ends_the_tuning_job_with_its_sentence(tmp_path: Path) -> None:
    with running(tmp_path, SLEEPS) as tuning:
        told = broken(tuning, validation_error("the role cannot be assumed"))["FailureReason"]
        assert told == "ClientError: a training job could not be launched: the role cannot be assumed"


def test_a_tuning_job_that_a_killed_plane_left_is_failed_by_the_next(tmp_path: Path) -> None:
    with running(tmp_path, f"tell(1.0)\nif number > 1: {SLEEPS}") as tuning:
        tuning.start("left")
        wait_until(lambda: tuning.summaries("left"), lambda jobs: len(jobs) == 2, 20)
        store = Store(tmp_path / "state")
        left = TuningJobs(store, TrainingJobs(store, tuning.tools)).describe("left")
        assert left["HyperParameterTuningJobStatus"] == "Failed" and "local mode ended while the job ran" in left["FailureReason"]
        assert left["BestTrainingJob"] == tuning.summaries("left")[0]


def test_a_stop_of_an_ended_tuning_job_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)") as tuning:
        tuning.tune("done", jobs=1, Strategy="Random")
        with pytest.raises(ServiceError, match="the hyperparameter tuning job is in status Completed"):
            tuning.jobs.stop("done")
