"""POST /predict: hands one photo to the endpoint and its answer back, as API Gateway's proxy integration wants it.

Runs in AWS Lambda behind API Gateway. Answers 200 with the endpoint's JSON; where the client or the state of things is at fault, 400, 413,
415, 502 or 503 with {"error": "<one sentence>"}; nothing that the service says about itself reaches the client.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff")
"""What /predict takes; the stack declares the same types binary."""

LARGEST_PHOTO = 4_500_000
"""Bytes: base64 makes 6 MB of them, the most that a Lambda function receives."""

RETRY_AFTER_SECONDS = 30

UNREACHABLE = (ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError)
BUSY_CODES = {"ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException", "ThrottlingException", "Throttling"}
ABSENT_CODES = {"ValidationError", "ValidationException"}
"""What InvokeEndpoint answers when there is no endpoint of that name, or none in service yet."""

Response = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """Ends a request with a status and a sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        """The HTTP status, and why."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def handler(event: Mapping[str, Any], _context: object) -> Response:
    """Entry point of the Lambda function."""
    return predict(event, os.environ["ENDPOINT_NAME"], runtime_client())


def predict(event: Mapping[str, Any], endpoint: str, runtime: Any) -> Response:
    """The response to one request."""
    try:
        photo, content_type = read_photo(event)
        return response(200, ask(runtime, endpoint, photo, content_type))
    except Refusal as refusal:
        return response(refusal.status, {"error": refusal.sentence})


def read_photo(event: Mapping[str, Any]) -> tuple[bytes, str]:
    """The photo's bytes and type, or a Refusal: 415 for another type, 400 for no or broken bytes, 413 for too many."""
    content_type = header(event, "content-type").partition(";")[0].strip().lower()
    if content_type not in PHOTO_TYPES:
        raise Refusal(
            415, f"send a photo as the body, with a Content-Type of {', '.join(PHOTO_TYPES)}; got {content_type or 'none'!r:.100}"
        )
    body = event.get("body") or ""
    photo = decoded(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogateescape")
    if not photo:
        raise Refusal(400, "the body is empty; send the photo's bytes as the body")
    if len(photo) > LARGEST_PHOTO:
        raise Refusal(413, f"the photo has {len(photo)} bytes, and at most {LARGEST_PHOTO} are taken; send a smaller copy")
    return photo, content_type


def header(event: Mapping[str, Any], name: str) -> str:
    """A header whatever its case: HTTP/2 clients write it small, others do not, and API Gateway keeps what it got."""
    headers = event.get("headers") or {}
    return next((str(value) for key, value in headers.items() if key.lower() == name), "")


def decoded(body: str) -> bytes:
    """Bytes from base64."""
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise Refusal(400, "the body is not valid base64") from error


def ask(runtime: Any, endpoint: str, photo: bytes, content_type: str) -> Any:
    """The endpoint's answer as JSON, or a Refusal."""
    try:
        reply = runtime.invoke_endpoint(EndpointName=endpoint, Body=photo, ContentType=content_type, Accept="application/json")
        return json.loads(reply["Body"].read())
    except ClientError as error:
        raise refusal_for(error, endpoint) from error
    except UNREACHABLE as error:
        log(endpoint, error)
        raise Refusal(503, "the endpoint did not answer in time; try again in a moment") from error
    except ValueError as error:
        log(endpoint, error)
        raise Refusal(502, "the endpoint answered with something that is not JSON; its log says more") from error


def refusal_for(error: ClientError, endpoint: str) -> Refusal:
    """What the client is told about an error of InvokeEndpoint; this deployment's own faults, such as a missing permission, are raised."""
    code = error.response["Error"]["Code"]
    log(endpoint, error)
    if code == "ModelError":
        return refusal_of_the_model(error.response)
    if code in ABSENT_CODES:
        return Refusal(
            503,
            f"the endpoint {endpoint} is not in service: none is deployed yet, or it is being created; try again when an execution is done",
        )
    if code in BUSY_CODES:
        return Refusal(503, "the endpoint is busy; try again in a moment")
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return Refusal(502, "the endpoint failed to answer; try again")
    raise error


def refusal_of_the_model(answer: Mapping[str, Any]) -> Refusal:
    """A 4xx of the model server is the client's, with the server's own sentence; anything else stays between us and the log."""
    status = int(answer.get("OriginalStatusCode", 500))
    sentence = sentence_in(answer.get("OriginalMessage", ""))
    if status in (400, 413, 415) and sentence:
        return Refusal(status, sentence)
    if status in (429, 503):
        return Refusal(503, "the endpoint is busy; try again in a moment")
    return Refusal(502, "the model failed on this photo; the endpoint's log says why")


def sentence_in(message: str) -> str:
    """The `error` of the model server's JSON body, or nothing."""
    try:
        document = json.loads(message)
    except ValueError:
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def log(endpoint: str, error: Exception) -> None:
    """One JSON line for the function's log: the client is told less."""
    answer = error.response if isinstance(error, ClientError) else {}
    told = {key: answer[key] for key in ("OriginalStatusCode", "OriginalMessage", "LogStreamArn") if key in answer}
    print(json.dumps({"endpoint": endpoint, "error": str(error)[:1000], **told}))


def response(status: int, document: Any) -> Response:
    """A JSON response in the form of the proxy integration."""
    headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return {"statusCode": status, "headers": headers, "body": json.dumps(document, ensure_ascii=False), "isBase64Encoded": False}


@cache
def runtime_client() -> Any:
    """One client for each warm worker; it gives up before API Gateway does, after 29 seconds."""
    return boto3.client("sagemaker-runtime", config=Config(connect_timeout=3, read_timeout=22, retries={"total_max_attempts": 1}))
