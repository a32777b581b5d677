"""Instance types that AWS would lack, rehearsed: the words are AWS's, and nothing is rehearsed that was not asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError
from local.api.fault_injection import NO_CAPACITY, InjectedFaults
from local.jobs.processing_jobs import ProcessingJobs
from local.storage.store import Store
from tests.fixtures.local.fakes import FakeS3, fake_tools
from tests.fixtures.local.running import IMAGE, ROLE, training_fields
from tests.fixtures.local.tuning import running

REHEARSED = "ml.p5.48xlarge=CapacityError, ml.g5.xlarge = ResourceLimitExceeded,"


def machine(instance_type: str) -> dict[str, Any]:
    return {"ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 5}}


def request(name: str, instance_type: str) -> dict[str, Any]:
    return {"TrainingJobName": name, **training_fields("b", "s3://b/p"), "InputDataConfig": [], **machine(instance_type)}


def test_a_training_job_without_capacity_is_created_and_fails(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)", REHEARSED) as tuning:
        tuning.training.create(request("lacks-001-x", "ml.p5.48xlarge"))
        ended = tuning.training.wait("lacks-001-x", 20)
        assert ended["TrainingJobStatus"] == "Failed" and ended["FailureReason"] == NO_CAPACITY
        assert "FinalMetricDataList" not in ended
        tuning.training.create(request("has-001-x", "ml.m5.large"))
        assert tuning.training.wait("has-001-x", 20)["TrainingJobStatus"] == "Completed"


def test_a_training_job_without_quota_is_not_created(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)", REHEARSED) as tuning:
        with pytest.raises(ServiceError, match=r"service limit 'ml\.g5\.xlarge for training job usage' is 0 Instances") as caught:
            tuning.training.create(request("refused-1", "ml.g5.xlarge"))
        assert caught.value.code == "ResourceLimitExceeded"
        assert tuning.training.select(lambda _job: True) == []


def test_a_tuning_job_is_refused_or_fails_by_its_training_jobs(tmp_path: Path) -> None:
    with running(tmp_path, "tell(1.0)", REHEARSED) as tuning:
        with pytest.raises(ServiceError, match="a request delta of 2 Instances"):
            tuning.start("refused", parallel=2, definition=machine("ml.g5.xlarge"))
        ended = tuning.tune("lacks", definition=machine("ml.p5.48xlarge"))
        assert ended["FailureReason"].startswith("No training job succeeded after 5 attempts.")
        assert {each["FailureReason"] for each in tuning.summaries("lacks")} == {NO_CAPACITY}


def processing(name: str, instance_type: str) -> dict[str, Any]:
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["/bin/true"]},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 5}},
    }


def test_processing_jobs_lack_machines_too(tmp_path: Path) -> None:
    jobs = ProcessingJobs(Store(tmp_path / "state"), replace(fake_tools(tmp_path, FakeS3()), faults=InjectedFaults.parse(REHEARSED)))
    try:
        jobs.create(processing("lacks", "ml.p5.48xlarge"))
        assert jobs.wait("lacks", 20)["FailureReason"] == NO_CAPACITY
        jobs.create(processing("has", "ml.m5.large"))
        assert jobs.wait("has", 20)["ProcessingJobStatus"] == "Completed"
        with pytest.raises(ServiceError, match=r"'ml\.g5\.xlarge for processing job usage' is 0 Instances"):
            jobs.create(processing("refused", "ml.g5.xlarge"))
    finally:
        jobs.stop_all(20)


@pytest.mark.parametrize("text", ["ml.g5.xlarge", "g5=CapacityError", "ml.g5.xlarge=Slow", "ml.m5.large=CapacityError,="])
def test_what_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"WHIPPET_REHEARSE contains .*, which is not <instance type>="):
        InjectedFaults.parse(text)


def test_nothing_is_lacking_unless_it_is_rehearsed() -> None:
    nothing = InjectedFaults.parse("")
    nothing.check_quota("training", "ml.g5.xlarge", 1)
    assert nothing.find_failure("ml.p5.48xlarge") == ""
