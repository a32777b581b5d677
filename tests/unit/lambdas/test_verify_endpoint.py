"""VerifyEndpoint: the endpoint's answers are held against what the training job promised, photo by photo."""

import hashlib
import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from lambdas.verify_endpoint import PAUSE_S, TRIES, Verification, largest_difference
from tests.fixtures.lambdas.fake_s3 import FakeS3, error
from tests.fixtures.lambdas.fake_services import RUN
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker
from training.serving.inference import TOP

FOLDER = f"executions/{RUN}/training/job/report"
REPORT = f"s3://bucket/{FOLDER}/"
CLASSES = [f"class{number}" for number in range(8)]
CONFIG, MODEL = f"{RUN}-00001000", f"{RUN}-00000000"
EVENT = {"endpoint": PROJECT, "endpoint_config": CONFIG, "report": REPORT}
PHOTOS = {"check/0.jpg": b"a rook", "check/1.png": b"a king", "check/2.tif": b"a pawn"}
PROMISED = {
    "check/0.jpg": [0.9, 0.05, 0.03, 0.01, 0.006, 0.002, 0.001, 0.001],
    "check/1.png": [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05],
    "check/2.tif": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
}


def report() -> FakeS3:
    promises = [
        {"file": file, "sha256": hashlib.sha256(photo).hexdigest(), "probabilities": PROMISED[file]} for file, photo in PHOTOS.items()
    ]
    documents = {"check.json": promises, "data.json": {"classes": CLASSES}}
    written = {f"{FOLDER}/{name}": json.dumps(document).encode() for name, document in documents.items()}
    return FakeS3(written | {f"{FOLDER}/{file}": photo for file, photo in PHOTOS.items()})


class Server:
    """InvokeEndpoint: answers as the model server does, from what it was told of each photo; each answer takes 20 ms."""

    def __init__(self, **shifted: float) -> None:
        self.probabilities = {photo: dict(zip(CLASSES, PROMISED[file], strict=True)) for file, photo in PHOTOS.items()}
        for each in self.probabilities.values():
            each.update({name: each[name] + value for name, value in shifted.items()})
        self.model = MODEL
        self.faults: list[Exception] = []
        self.bodies: list[bytes] = []
        self.types: list[str] = []
        self.slept: list[float] = []
        self.now = 0.0

    def timer(self) -> float:
        self.now += 0.01
        return self.now

    def invoke_endpoint(self, EndpointName: str, Body: bytes, ContentType: str, Accept: str) -> dict[str, Any]:  # noqa: N803
        assert (EndpointName, Accept) == (PROJECT, "application/json")
        if self.faults:
            raise self.faults.pop(0)
        self.types.append(ContentType)
        self.now += 0.01
        return {"Body": io.BytesIO(self.bodies.pop(0) if self.bodies else json.dumps(self.answer(Body)).encode())}

    def answer(self, photo: bytes) -> dict[str, Any]:
        ordered = sorted(self.probabilities[photo].items(), key=lambda each: each[1], reverse=True)[:TOP]
        predictions = [{"class": name, "probability": round(value, 6)} for name, value in ordered]
        return {**predictions[0], "predictions": predictions, "model": self.model}


def account() -> FakeSageMaker:
    sagemaker = FakeSageMaker()
    sagemaker.serve(sagemaker.config(CONFIG, sagemaker.model(MODEL)))
    return sagemaker


def verified(server: Server, s3: FakeS3 | None = None, sagemaker: FakeSageMaker | None = None) -> dict[str, Any]:
    verification = Verification(sagemaker or account(), server, s3 or report(), server.timer, server.slept.append)
    return verification.verify(EVENT)


def reason(answer: dict[str, Any]) -> str:
    assert answer["verified"] is False
    (sentence,) = answer["reasons"]
    return str(sentence)


def test_an_endpoint_that_keeps_its_promises_is_verified() -> None:
    server = Server(class0=0.0001)
    assert verified(server) == {"verified": True, "reasons": [], "photos": 3, "largest_difference": 0.0001, "milliseconds": 20.0}
    assert server.types == ["image/jpeg", "image/png", "image/tiff"]


def test_a_probability_that_is_too_far_off_is_named() -> None:
    answer = verified(Server(class2=0.02))
    assert reason(answer).startswith("of the check photo check/0.jpg the endpoint's probability of 'class2' is 0.0200 away from the one")
    assert answer["largest_difference"] == 0.02


def test_a_class_that_should_be_among_the_most_probable_and_is_not_counts_too() -> None:
    server = Server()
    server.probabilities[b"a pawn"]["class7"] = 0.0
    assert "'class7' is 1.0000 away" in reason(verified(server))


def test_the_order_of_classes_that_are_about_as_probable_does_not_matter() -> None:
    assert verified(Server(class3=0.001, class4=-0.001, class5=0.0005))["verified"] is True


def test_an_answer_of_another_model_is_told() -> None:
    server = Server()
    server.model = "whippet-261101120000-0000-00000000"
    expected = f"the endpoint answered with the model 'whippet-261101120000-0000-00000000' instead of {MODEL!r}"
    assert reason(verified(server)) == expected


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "Failed"])
def test_an_endpoint_that_is_not_in_service_is_told(status: str) -> None:
    sagemaker = account()
    sagemaker.serve(CONFIG, status)
    assert (
        reason(verified(Server(), sagemaker=sagemaker))
        == f"the endpoint whippet should be InService with {CONFIG}, and it is {status} with {CONFIG}"
    )


def test_an_endpoint_that_serves_another_config_is_told() -> None:
    sagemaker = account()
    sagemaker.serve("whippet-older")
    assert "and it is InService with whippet-older" in reason(verified(Server(), sagemaker=sagemaker))
    sagemaker.endpoint = None
    assert reason(verified(Server(), sagemaker=sagemaker)).endswith("and it is gone")


@pytest.mark.parametrize(
    "fault",
    [
        error("ModelError", 424, OriginalStatusCode=503),
        error("ModelError", 424, OriginalStatusCode=0),
        error("ModelNotReadyException", 429),
        error("ThrottlingException", 400),
        error("InternalFailure", 500),
        ReadTimeoutError(endpoint_url="https://runtime"),
    ],
)
def test_a_server_that_is_busy_is_asked_again_a_few_times(fault: Exception) -> None:
    server = Server()
    server.faults = [fault] * (TRIES - 1)
    assert verified(server)["verified"] is True
    assert server.slept == [PAUSE_S] * (TRIES - 1)
    server.faults = [fault] * TRIES
    assert reason(verified(server)).startswith(f"the endpoint gave no answer to check/0.jpg in {TRIES} tries: ")


@pytest.mark.parametrize("fault", [error("ModelError", 424, OriginalStatusCode=500), error("ValidationError", 400)])
def test_an_endpoint_that_fails_on_a_photo_is_not_verified(fault: ClientError) -> None:
    server = Server()
    server.faults = [fault]
    assert reason(verified(server)).startswith("the endpoint failed on the check photo check/0.jpg: ")
    assert server.slept == []


def test_a_missing_permission_says_nothing_of_the_model() -> None:
    server = Server()
    server.faults = [error("AccessDeniedException", 403)]
    with pytest.raises(ClientError, match="AccessDenied"):
        verified(server)


@pytest.mark.parametrize(
    "body", [b"not JSON", b"[]", b"{}", b'{"model": "%s"}' % MODEL.encode(), b'{"model": "%s", "predictions": [1]}' % MODEL.encode()]
)
def test_an_answer_of_another_shape_is_not_verified(body: bytes) -> None:
    server = Server()
    server.bodies = [body]
    assert reason(verified(server))


@pytest.mark.parametrize("missing", ["check.json", "data.json", "check/1.png"])
def test_a_report_that_lacks_a_file_is_told(missing: str) -> None:
    s3 = report()
    del s3.objects[f"{FOLDER}/{missing}"]
    assert reason(verified(Server(), s3)) == f"{REPORT}{missing} is missing, so nothing says what the endpoint should answer"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("check.json", b"{"),
        ("check.json", b"[1]"),
        ("check.json", b'[{"file": "check/0.jpg"}]'),
        ("check.json", b"null"),
        ("check.json", b"\xff"),
        ("data.json", b"[]"),
        ("data.json", b'{"classes": ["one"]}'),
    ],
)
def test_a_damaged_report_is_told(name: str, content: bytes) -> None:
    s3 = report()
    s3.objects[f"{FOLDER}/{name}"] = content
    assert reason(verified(Server(), s3)).startswith(f"the report in {REPORT} does not promise what an endpoint answers (")


def test_a_photo_that_was_replaced_is_told() -> None:
    s3 = report()
    s3.objects[f"{FOLDER}/check/0.jpg"] = b"another rook"
    assert reason(verified(Server(), s3)) == "the check photo check/0.jpg is no longer the one that the training job saw"


def test_without_check_photos_only_the_config_is_checked_and_that_is_said() -> None:
    s3 = report()
    s3.objects[f"{FOLDER}/check.json"] = b"[]"
    answer = verified(Server(), s3)
    assert (answer["verified"], answer["photos"], answer["milliseconds"]) == (True, 0, 0)
    assert answer["reasons"] == ["the data set has no test photo that fits into a request, so no answer of the endpoint was compared"]


@pytest.mark.parametrize(
    ("promised", "given", "difference"),
    [
        ({"a": 0.7, "b": 0.3}, {"a": 0.7, "b": 0.3}, 0.0),
        ({"a": 0.7, "b": 0.3}, {"a": 0.7}, -0.4),
        ({"a": 0.7, "b": 0.3}, {"c": 0.7}, 0.7),
        ({"a": 0.7, "b": 0.3}, {}, 0.7),
        ({}, {}, 1.0),
    ],
)
def test_differences_are_those_of_all_classes(promised: dict[str, float], given: dict[str, float], difference: float) -> None:
    found, _ = largest_difference(promised, given)
    assert found == pytest.approx(max(difference, 0))
