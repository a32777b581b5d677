"""StartRetraining: photos that changed and came to rest get one execution, and no more than one."""

import json
from datetime import timedelta
from typing import Any

import pytest

from lambdas.planning.photos import count_photos
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.start_retraining import Retraining, retrain
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.lambdas.fake_services import NOW, FakeStepFunctions
from tests.fixtures.sagemaker.client import FakeSageMaker

PHOTOS = {f"data/{name}/{number}.jpg": b"x" for name in ("king", "rook") for number in range(3)}


class Account:
    def __init__(self, photos: dict[str, bytes] | None = None, execution_input: str = "{}") -> None:
        self.s3 = FakeS3(PHOTOS if photos is None else photos)
        self.s3.modified = NOW - timedelta(hours=2)
        self.sagemaker, self.stepfunctions = FakeSageMaker(), FakeStepFunctions()
        environment = {"BUCKET": "bucket", "PROJECT": "whippet", "STATE_MACHINE_ARN": FakeStepFunctions.MACHINE, "QUIET_MINUTES": "30"}
        self.asked = Retraining.read({**environment, "EXECUTION_INPUT": execution_input})

    @property
    def digest(self) -> str:
        return count_photos(self.s3, "bucket", "data/").sha256

    def retrain(self) -> dict[str, Any]:
        answer = retrain(self.asked, self.s3, self.sagemaker, self.stepfunctions, lambda: NOW)
        assert answer["started"] == bool(answer["execution_arn"])
        return answer

    def finish(self, **metadata: str) -> None:
        """The running execution ends, with a model that holds these."""
        self.stepfunctions.executions[-1]["status"] = "SUCCEEDED" if metadata else "FAILED"
        if metadata:
            self.sagemaker.registry.add("Rejected", **metadata)


def test_photos_that_nobody_trained_on_get_an_execution() -> None:
    account = Account()
    assert account.retrain()["reason"] == "the photos have changed since the newest model"
    assert account.stepfunctions.started == [{"name": f"photos-{account.digest[:40]}", "input": "{}"}]


def test_the_same_photos_get_no_second_one_even_where_the_model_was_rejected() -> None:
    account = Account()
    account.retrain()
    account.finish(photos_sha256=account.digest)
    assert account.retrain() == {"started": False, "reason": "the newest model was made from these photos", "execution_arn": ""}


@pytest.mark.parametrize("change", ["new", "gone", "other"])
def test_any_change_of_the_photos_counts(change: str) -> None:
    account = Account()
    account.retrain()
    account.finish(photos_sha256=account.digest)
    if change == "gone":
        del account.s3.objects["data/king/2.jpg"]
        account.s3.objects["data/king/9.jpg"] = b"x"
    else:
        account.s3.objects["data/king/2.jpg" if change == "other" else "data/king/3.jpg"] = b"y"
    assert account.retrain()["started"] is True


def test_a_model_of_before_this_digest_was_kept_counts_as_one_of_other_photos() -> None:
    account = Account()
    account.sagemaker.registry.add("Approved", run="an old one")
    assert account.retrain()["started"] is True


def test_nothing_is_started_beside_a_running_execution() -> None:
    account = Account()
    account.stepfunctions.execution("by-hand", "RUNNING", NOW)
    assert account.retrain()["reason"] == "an execution is running"


def test_photos_that_still_arrive_are_waited_for() -> None:
    account = Account()
    account.s3.modified_at["data/king/1.jpg"] = NOW - timedelta(minutes=29)
    assert account.retrain()["reason"] == "the newest photo came at 17:31:00 UTC, less than 30 minutes ago"
    account.s3.modified_at["data/king/1.jpg"] = NOW - timedelta(minutes=30)
    assert account.retrain()["started"] is True


def test_photos_on_which_an_execution_failed_are_not_tried_again_and_again() -> None:
    account = Account()
    account.retrain()
    account.finish()
    told = "an execution for exactly these photos was started before, within 90 days; start one by hand to try them again"
    assert account.retrain()["reason"] == told
    account.s3.objects["data/king/2.jpg"] = b"a better photo"
    assert account.retrain()["started"] is True


@pytest.mark.parametrize(
    ("photos", "reason"),
    [
        ({}, "no job could train on the photos: there are no photos under s3://bucket/data/"),
        ({"data/king/1.jpg": b"x"}, "no job could train on the photos: there is only one class under s3://bucket/data/"),
        ({**PHOTOS, "data/a//b.jpg": b"x"}, "no job could train on the photos: the object key 'data/a//b.jpg' cannot be"),
    ],
)
def test_photos_that_no_job_could_train_on_start_nothing(photos: dict[str, bytes], reason: str) -> None:
    assert Account(photos).retrain()["reason"].startswith(reason)


def test_the_execution_is_asked_for_as_the_stack_says() -> None:
    asked = json.dumps({"data": "photos", "epochs": 5})
    account = Account({key.replace("data/", "photos/"): body for key, body in PHOTOS.items()}, asked)
    account.retrain()
    assert account.stepfunctions.started[0]["input"] == asked


def test_an_execution_input_that_no_execution_would_take_is_said_at_once() -> None:
    with pytest.raises(InvalidExecutionInput, match="unknown key 'epoch'"):
        Account(execution_input='{"epoch": 5}').retrain()


def test_the_log_names_the_run_that_was_started(capsys: pytest.CaptureFixture[str]) -> None:
    Account().retrain()
    line = json.loads(capsys.readouterr().out)
    assert line["event"] == "RetrainingStarted"
    assert line["execution"].startswith("whippet-261122180000-")
