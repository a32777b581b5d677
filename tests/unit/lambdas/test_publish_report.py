"""PublishReport and the bill: every job of the run and none of another, at the seconds that AWS bills, and what was not known is said."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.planning.bill import WITHOUT, bill_of
from lambdas.publish_report import publish
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.lambdas.fake_services import NOW, OTHER_RUN, RUN
from tests.fixtures.sagemaker.client import FakeSageMaker

START = datetime(2026, 11, 22, 16, tzinfo=UTC)
TUNING_JOB = "whippet-261122160000-000000aa"
PRICES = {"ml.m5.2xlarge": Decimal("0.5"), "ml.g5.xlarge": Decimal(2)}


def processed(sagemaker: FakeSageMaker, name: str, seconds: int | None, instance: str = "ml.m5.2xlarge", disk: int = 0) -> None:
    times = {} if seconds is None else {"ProcessingStartTime": START, "ProcessingEndTime": START + timedelta(seconds=seconds)}
    cluster = {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": disk}
    sagemaker.process(name, "Completed", ProcessingResources={"ClusterConfig": cluster}, **times)


def trained(sagemaker: FakeSageMaker, name: str, billed: int | None, count: int = 1, **more: Any) -> None:
    instance = more.pop("instance", "ml.m5.2xlarge")
    times = {} if billed is None else {"BillableTimeInSeconds": billed, "TrainingTimeInSeconds": billed}
    machine = {"InstanceType": instance, "InstanceCount": count, "VolumeSizeInGB": more.pop("disk", 0)}
    sagemaker.train(name, "Completed", ResourceConfig=machine, **{**times, **more})


def jobs_of(sagemaker: FakeSageMaker) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = bill_of(RUN, sagemaker, PRICES.get).to_json()["jobs"]
    return jobs


def whole_run() -> FakeSageMaker:
    sagemaker = FakeSageMaker()
    for run, tuning_job in ((RUN, TUNING_JOB), (OTHER_RUN, "whippet-261122160000-000000bb")):
        processed(sagemaker, f"{run}-prepare-00000001", 600)
        trials = [f"{tuning_job}-{number:03}-0123abcd" for number in range(1, 6)]
        for trial in trials:
            trained(sagemaker, trial, 100)
        sagemaker.tune(tuning_job, run, "Completed", tuple(trials))
        trained(sagemaker, f"{run}-train-00000001", 1200)
    return sagemaker


def test_the_bill_has_every_job_of_the_run_and_none_of_another() -> None:
    bill = bill_of(RUN, whole_run(), PRICES.get).to_json()
    assert [(job["name"], job["kind"], job["jobs"], job["seconds"], job["usd"]) for job in bill["jobs"]] == [
        (f"{RUN}-prepare-00000001", "processing job", 1, 600, 0.0833),
        (TUNING_JOB, "tuning job", 5, 500, 0.0694),
        (f"{RUN}-train-00000001", "training job", 1, 1200, 0.1667),
    ]
    assert bill["total_usd"] == round(2300 * 0.5 / 3600, 4) == bill["on_demand_usd"]
    assert bill["notes"] == [WITHOUT]


def test_every_try_is_paid() -> None:
    sagemaker = whole_run()
    trained(sagemaker, f"{RUN}-train-00000002", 60)
    processed(sagemaker, f"{RUN}-prepare-00000002", 30)
    assert [job["seconds"] for job in jobs_of(sagemaker)] == [600, 30, 500, 1200, 60]


def test_an_execution_that_used_an_earlier_data_set_pays_no_preparation() -> None:
    sagemaker = whole_run()
    del sagemaker.jobs[f"{RUN}-prepare-00000001"]
    assert [job["kind"] for job in jobs_of(sagemaker)] == ["tuning job", "training job"]


def test_a_job_that_never_got_a_machine_costs_nothing_whatever_the_price() -> None:
    sagemaker = FakeSageMaker()
    processed(sagemaker, f"{RUN}-prepare-00000001", None, "ml.unknown.large")
    trained(sagemaker, f"{RUN}-train-00000001", None, instance="ml.unknown.large")
    bill = bill_of(RUN, sagemaker, PRICES.get).to_json()
    assert [job["usd"] for job in bill["jobs"]] == [0, 0]
    assert bill["notes"] == [WITHOUT]


def test_jobs_that_were_just_told_to_stop_are_said_to_be_missing() -> None:
    """As after a failure, when CleanUp has come by a moment ago; what has ended by then is no reason to say so."""
    sagemaker = whole_run()
    for job in (sagemaker.jobs[f"{RUN}-prepare-00000001"], sagemaker.jobs[f"{TUNING_JOB}-001-0123abcd"]):
        job.outcome = "Stopping"
    bill = bill_of(RUN, sagemaker, PRICES.get).to_json()
    assert bill["notes"] == [WITHOUT, "2 jobs had not ended when this was written, so what they cost is not in the total"]


def test_every_instance_is_paid() -> None:
    sagemaker = FakeSageMaker()
    trained(sagemaker, f"{RUN}-train-00000001", 3600, count=3)
    (job,) = jobs_of(sagemaker)
    assert (job["seconds"], job["usd"]) == (3 * 3600, 1.5)


def test_spare_machines_are_paid_less_and_what_they_saved_is_told() -> None:
    sagemaker = FakeSageMaker()
    trained(sagemaker, f"{RUN}-train-00000001", 1080, TrainingTimeInSeconds=3600, EnableManagedSpotTraining=True)
    bill = bill_of(RUN, sagemaker, PRICES.get).to_json()
    assert (bill["total_usd"], bill["on_demand_usd"]) == (0.15, 0.5)


def test_a_tuning_job_on_two_types_of_machines_has_a_line_for_each() -> None:
    sagemaker = FakeSageMaker()
    trained(sagemaker, "one", 3600)
    trained(sagemaker, "two", 3600, instance="ml.g5.xlarge")
    trained(sagemaker, "three", 3600)
    sagemaker.tune(TUNING_JOB, RUN, "Completed", ("one", "two", "three"))
    assert [(job["instance_type"], job["jobs"], job["usd"]) for job in jobs_of(sagemaker)] == [
        ("ml.m5.2xlarge", 2, 1),
        ("ml.g5.xlarge", 1, 2),
    ]


def test_disks_are_paid_as_the_estimate_has_them() -> None:
    sagemaker = FakeSageMaker()
    trained(sagemaker, f"{RUN}-train-00000001", 3600, disk=730)
    processed(sagemaker, f"{RUN}-prepare-00000001", 3600, disk=730)
    assert [job["usd"] for job in jobs_of(sagemaker)] == [0.64, 0.64]


def test_a_price_that_nobody_knows_is_said_and_the_rest_is_added_up() -> None:
    sagemaker = whole_run()
    trained(sagemaker, f"{RUN}-train-00000002", 60, instance="ml.p9.large")
    bill = bill_of(RUN, sagemaker, PRICES.get).to_json()
    assert bill["jobs"][-1]["usd"] is None
    assert bill["total_usd"] == round(2300 * 0.5 / 3600, 4)
    assert bill["notes"][1].startswith("no price of ml.p9.large is known, so what ran on it is not in the total; prices.json")


EVENT: dict[str, Any] = {
    "run": RUN,
    "outcome": {"deployed": True, "report": f"s3://bucket/executions/{RUN}/training/job/report/", "reasons": ["größer"]},
    "plan": {"cost": {"currency": "USD", "estimate": {"total": 0.3}, "endpoint_per_hour": 0.115}},
}


def published(s3: FakeS3, event: dict[str, Any] = EVENT) -> dict[str, Any]:
    return publish(event, "bucket", "us-east-1", whole_run(), s3, lambda: NOW)


def test_the_document_lies_beside_what_the_execution_left() -> None:
    s3 = FakeS3()
    answer = published(s3)
    assert answer["uri"] == f"s3://bucket/executions/{RUN}/execution.json"
    assert answer["bill"]["endpoint_per_hour"] == 0.115
    assert json.loads(s3.objects[f"executions/{RUN}/execution.json"]) == {
        "schema_version": 1,
        "run": RUN,
        "written": "2026-11-22T18:00:00+00:00",
        "outcome": EVENT["outcome"],
        "estimate": EVENT["plan"]["cost"],
        "bill": answer["bill"],
    }


def test_prices_that_the_account_put_into_its_bucket_go_before_the_list() -> None:
    listed, own = published(FakeS3()), published(FakeS3({"prices.json": b'{"ml.m5.2xlarge": 36}'}))
    assert listed["bill"]["total_usd"] == round(2300 * 0.461 / 3600, 4)
    assert own["bill"]["total_usd"] == 23


def test_an_estimate_that_nobody_made_is_nothing_to_stop_for() -> None:
    answer = published(FakeS3(), {**EVENT, "plan": {}})
    assert answer["bill"]["endpoint_per_hour"] is None


def test_a_name_in_no_encoding_does_not_keep_the_document_from_being_written() -> None:
    s3 = FakeS3()
    published(s3, {**EVENT, "outcome": {"reasons": ["caf\udce9"]}})
    assert json.loads(s3.objects[f"executions/{RUN}/execution.json"])["outcome"]["reasons"] == ["caf\udce9"]


@pytest.mark.parametrize("jobs", [1, 750])
def test_the_answer_fits_into_an_execution(jobs: int) -> None:
    sagemaker = FakeSageMaker()
    trials = [f"{TUNING_JOB}-{number:03}-0123abcd" for number in range(jobs)]
    for trial in trials:
        trained(sagemaker, trial, 100)
    sagemaker.tune(TUNING_JOB, RUN, "Completed", tuple(trials))
    assert len(json.dumps(bill_of(RUN, sagemaker, PRICES.get).to_json())) < 1000
