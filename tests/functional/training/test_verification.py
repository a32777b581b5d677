"""What a training job promises in its report is what VerifyEndpoint finds the served model to answer, photo by photo."""

import io
from typing import Any

import pytest

from lambdas.verify_endpoint import Verification
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker
from tests.fixtures.training.jobs import Job
from training.serving.inference import input_fn, model_fn, output_fn, predict_fn
from training.serving.prediction import Model

CONFIG = "whippet-261122160000-1a2b-0f0f0f0f"


class Endpoint:
    """InvokeEndpoint, answered by the four functions of the serving image."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def invoke_endpoint(self, EndpointName: str, Body: bytes, ContentType: str, Accept: str) -> dict[str, Any]:  # noqa: N803
        return {"Body": io.BytesIO(output_fn(predict_fn(input_fn(Body, ContentType), self.model), Accept).encode())}


@pytest.fixture(scope="module")
def served(finished: Job) -> Model:
    return model_fn(str(finished.folders.model))


def verified(finished: Job, served: Model, called: str) -> dict[str, Any]:
    report = finished.folders.report
    s3 = FakeS3({f"report/{file.relative_to(report).as_posix()}": file.read_bytes() for file in report.rglob("*") if file.is_file()})
    sagemaker = FakeSageMaker()
    sagemaker.serve(sagemaker.config(CONFIG, sagemaker.model(called)))
    event = {"endpoint": PROJECT, "endpoint_config": CONFIG, "report": "s3://bucket/report/"}
    return Verification(sagemaker, Endpoint(served), s3, sleep=lambda _: None).verify(event)


def test_the_model_that_the_job_left_is_verified(finished: Job, served: Model) -> None:
    answer = verified(finished, served, served.name)
    assert answer["reasons"] == []
    assert (answer["verified"], answer["photos"] > 0) == (True, True)
    assert answer["largest_difference"] < 1e-5


def test_a_model_of_another_name_is_not(finished: Job, served: Model) -> None:
    assert verified(finished, served, "another")["verified"] is False
