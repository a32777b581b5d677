"""POST /predict as API Gateway calls it: the photo passes unchanged, and each fault is told to whom it belongs."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from lambdas.invoke_endpoint import predict
from tests.fixtures.lambdas.fake_runtime import ANSWER, PHOTO, FakeRuntime, request
from tests.fixtures.lambdas.fake_s3 import error
from training.contract.photos import CONTENT_TYPES, LARGEST_PHOTO_BYTES


def model_error(status: int, message: str) -> ClientError:
    return error("ModelError", 424, OriginalStatusCode=status, OriginalMessage=message, LogStreamArn="arn:aws:logs:secret")


def answered(event: dict[str, Any], answer: Any = None) -> tuple[int, dict[str, Any]]:
    response = predict(event, "whippet", FakeRuntime(answer))
    assert response["isBase64Encoded"] is False
    assert response["headers"]["Content-Type"] == "application/json"
    return response["statusCode"], json.loads(response["body"])


def test_a_photo_reaches_the_endpoint_unchanged() -> None:
    runtime = FakeRuntime()
    response = predict(request(), "whippet", runtime)
    assert runtime.asked == [{"EndpointName": "whippet", "Body": PHOTO, "ContentType": "image/jpeg", "Accept": "application/json"}]
    assert (response["statusCode"], json.loads(response["body"])) == (200, ANSWER)


@pytest.mark.parametrize("header", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_a_header_may_be_written_in_any_case(header: str) -> None:
    assert answered(request(header=header))[0] == 200


@pytest.mark.parametrize("content_type", [*CONTENT_TYPES, "image/jpeg; charset=binary", "IMAGE/PNG"])
def test_every_type_of_photo_is_taken(content_type: str) -> None:
    assert answered(request(content_type=content_type))[0] == 200


@pytest.mark.parametrize("content_type", ["application/pdf", "application/json", "text/plain", "image/svg+xml", "", None, "x" * 5000])
def test_anything_else_is_415(content_type: str | None) -> None:
    status, document = answered(request(content_type=content_type))
    assert status == 415
    assert "image/jpeg, image/png" in document["error"]
    assert len(document["error"]) < 300


def test_a_body_that_the_gateway_did_not_encode_is_passed_on_as_it_is() -> None:
    runtime = FakeRuntime()
    predict({"headers": {"content-type": "image/bmp"}, "body": "BM…", "isBase64Encoded": False}, "whippet", runtime)
    assert runtime.asked[0]["Body"] == "BM…".encode()


@pytest.mark.parametrize("event", [request(b""), {**request(), "body": None}, {**request(), "body": "", "isBase64Encoded": False}])
def test_an_empty_body_is_400(event: dict[str, Any]) -> None:
    assert answered(event) == (400, {"error": "the body is empty; send the photo's bytes as the body"})


def test_broken_base64_is_400() -> None:
    assert answered({**request(), "body": "%%%"}) == (400, {"error": "the body is not valid base64"})


def test_missing_headers_are_415_not_a_crash() -> None:
    assert answered({"headers": None, "body": None})[0] == 415


def test_the_largest_photo_passes_and_one_byte_more_is_413() -> None:
    assert answered(request(bytes(LARGEST_PHOTO_BYTES)))[0] == 200
    status, document = answered(request(bytes(LARGEST_PHOTO_BYTES + 1)))
    assert (status, document["error"]) == (413, "the photo has 4500001 bytes, and at most 4500000 are taken; send a smaller copy")


@pytest.mark.parametrize("status", [400, 413, 415])
def test_what_the_model_says_to_the_client_is_passed_on(status: int) -> None:
    told = json.dumps({"error": "the body is no photo that can be read"})
    assert answered(request(), model_error(status, told)) == (status, {"error": "the body is no photo that can be read"})


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (model_error(500, '{"error": "Traceback: secret"}'), 502),
        (model_error(400, "<html>secret</html>"), 502),
        (model_error(400, "[]"), 502),
        (model_error(404, '{"error": "secret"}'), 502),
        (model_error(503, '{"error": "secret"}'), 503),
        (error("ModelNotReadyException", 429), 503),
        (error("ThrottlingException", 400), 503),
        (error("ServiceUnavailable", 503), 503),
        (error("ValidationError", 400), 503),
        (error("InternalFailure", 500), 502),
        (error("InternalDependencyException", 530), 502),
        (ReadTimeoutError(endpoint_url="https://secret"), 503),
        (EndpointConnectionError(endpoint_url="https://secret"), 503),
        (b"secret, not JSON", 502),
    ],
)
def test_faults_behind_the_api_are_told_without_their_inside(fault: Any, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    got, document = answered(request(), fault)
    assert got == status
    assert "secret" not in json.dumps(document)
    assert document["error"]
    assert capsys.readouterr().out, "the log is told more"


def test_503_says_when_to_come_back() -> None:
    response = predict(request(), "whippet", FakeRuntime(error("ValidationError", 400)))
    assert response["headers"]["Retry-After"] == "30"
    assert "whippet is not in service" in json.loads(response["body"])["error"]


def test_a_fault_of_the_deployment_is_not_dressed_up() -> None:
    """API Gateway answers 500 for it, and the function's error metric counts it."""
    with pytest.raises(Exception, match="AccessDenied"):
        predict(request(), "whippet", FakeRuntime(error("AccessDeniedException", 403)))
