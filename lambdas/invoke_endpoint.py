"""POST /predict: hands one photo to the endpoint and its answer back, as API Gateway's proxy integration wants it.

Runs in AWS Lambda behind API Gateway. Answers 200 with the endpoint's JSON; where the client or the state of things is at fault, 400, 413,
415, 502 or 503 with {"error": "<one sentence>"}; nothing that the service says about itself reaches the client. With 503 goes Retry-After,
in seconds. Where MODEL_PACKAGE_GROUP is set, an endpoint that was deleted while nobody used it is woken: lambdas/aws/endpoint_waking.py.
"""

import base64
import binascii
import json
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from lambdas.aws.endpoint_waking import Alarm, Waking
from lambdas.aws.jobs import run_of
from lambdas.aws.log import log
from training.contract.photos import CONTENT_TYPES, LARGEST_PHOTO_BYTES

RETRY_AFTER_SECONDS = 30

BUSY = "the endpoint is busy; try again in a moment"

UNREACHABLE = (ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError)
BUSY_CODES = {"ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException", "ThrottlingException", "Throttling"}
ABSENT_CODES = {"ValidationError", "ValidationException"}
"""What InvokeEndpoint answers when there is no endpoint of that name, or none in service yet."""

Response = dict[str, Any]
Wake = Callable[[], Waking | None]
Timer = Callable[[], float]


def nothing_wakes() -> None:
    """Where no endpoint is ever stopped, none is woken either."""


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """Ends a request with a status and a sentence for the client."""

    def __init__(self, status: int, sentence: str, retry_after: int = RETRY_AFTER_SECONDS) -> None:
        """The HTTP status, and why; `retry_after`: seconds, which go with status 503."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after


def handler(event: Mapping[str, Any], _context: object) -> Response:
    """Entry point of the Lambda function."""
    endpoint, group = os.environ["ENDPOINT_NAME"], os.environ.get("MODEL_PACKAGE_GROUP", "")
    return predict(event, endpoint, runtime_client(), alarm(endpoint, group).wake if group else nothing_wakes)


def predict(event: Mapping[str, Any], endpoint: str, runtime: Any, wake: Wake = nothing_wakes, timer: Timer = time.monotonic) -> Response:
    """The response to one request; `wake` is called where there is no endpoint."""
    start, document, status, retry_after = timer(), {}, 200, 0
    try:
        photo, content_type = read_photo(event)
        document = ask(runtime, endpoint, photo, content_type, wake)
    except Refusal as refusal:
        status, document, retry_after = refusal.status, {"error": refusal.sentence}, refusal.retry_after
    model = str(document.get("model", "")) if status == 200 and isinstance(document, dict) else ""
    log("Predicted", execution=run_of(model), model=model, status=status, milliseconds=round((timer() - start) * 1000))
    return response(status, document, retry_after)


def read_photo(event: Mapping[str, Any]) -> tuple[bytes, str]:
    """The photo's bytes and type, or a Refusal: 415 for another type, 400 for no or broken bytes, 413 for too many."""
    content_type = header(event, "content-type").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise Refusal(
            415, f"send a photo as the body, with a Content-Type of {', '.join(CONTENT_TYPES)}; got {content_type or 'none'!r:.100}"
        )
    body = event.get("body") or ""
    photo = decoded(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogateescape")
    if not photo:
        raise Refusal(400, "the body is empty; send the photo's bytes as the body")
    if len(photo) > LARGEST_PHOTO_BYTES:
        raise Refusal(413, f"the photo has {len(photo)} bytes, and at most {LARGEST_PHOTO_BYTES} are taken; send a smaller copy")
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


def ask(runtime: Any, endpoint: str, photo: bytes, content_type: str, wake: Wake) -> Any:
    """The endpoint's answer as JSON, or a Refusal."""
    try:
        reply = runtime.invoke_endpoint(EndpointName=endpoint, Body=photo, ContentType=content_type, Accept="application/json")
        return json.loads(reply["Body"].read())
    except ClientError as error:
        raise refusal_for(error, endpoint, wake) from error
    except UNREACHABLE as error:
        log_fault(endpoint, error)
        raise Refusal(503, "the endpoint did not answer in time; try again in a moment") from error
    except ValueError as error:
        log_fault(endpoint, error)
        raise Refusal(502, "the endpoint answered with something that is not JSON; its log says more") from error


def refusal_for(error: ClientError, endpoint: str, wake: Wake) -> Refusal:
    """What the client is told about an error of InvokeEndpoint; this deployment's own faults, such as a missing permission, are raised."""
    code = error.response["Error"]["Code"]
    log_fault(endpoint, error)
    if code == "ModelError":
        return refusal_of_the_model(error.response)
    if code in ABSENT_CODES:
        return refusal_of_the_absent(endpoint, wake)
    if code in BUSY_CODES:
        return Refusal(503, BUSY)
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return Refusal(502, "the endpoint failed to answer; try again")
    raise error


def refusal_of_the_absent(endpoint: str, wake: Wake) -> Refusal:
    """The endpoint is asleep and is woken, or it is on its way, or there has never been one."""
    try:
        waking = wake()
    except ClientError as error:
        log_fault(endpoint, error)
        if error.response["Error"]["Code"] not in BUSY_CODES:
            raise
        return Refusal(503, BUSY)
    except UNREACHABLE as error:
        log_fault(endpoint, error)
        waking = None
    if waking:
        return Refusal(503, waking.sentence, waking.retry_after)
    return Refusal(
        503, f"the endpoint {endpoint} is not in service: none is deployed yet, or it is being created; try again when an execution is done"
    )


def refusal_of_the_model(answer: Mapping[str, Any]) -> Refusal:
    """A 4xx of the model server is the client's, with the server's own sentence; anything else stays between us and the log."""
    status = int(answer.get("OriginalStatusCode", 500))
    sentence = sentence_in(answer.get("OriginalMessage", ""))
    if status in (400, 413, 415) and sentence:
        return Refusal(status, sentence)
    if status in (429, 503):
        return Refusal(503, BUSY)
    return Refusal(502, "the model failed on this photo; the endpoint's log says why")


def sentence_in(message: str) -> str:
    """The `error` of the model server's JSON body, or nothing."""
    try:
        document = json.loads(message)
    except ValueError:
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def log_fault(endpoint: str, error: Exception) -> None:
    """What the service said, for the function's log: the client is told less."""
    answer = error.response if isinstance(error, ClientError) else {}
    told = {key: str(answer[key]) for key in ("OriginalStatusCode", "OriginalMessage", "LogStreamArn") if key in answer}
    log("EndpointFault", endpoint=endpoint, error=str(error), **told)


def response(status: int, document: Any, retry_after: int = 0) -> Response:
    """A JSON response in the form of the proxy integration."""
    headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(retry_after)
    return {"statusCode": status, "headers": headers, "body": json.dumps(document, ensure_ascii=False), "isBase64Encoded": False}


@cache
def runtime_client() -> Any:
    """One client for each warm worker; it gives up before API Gateway does, after 29 seconds."""
    return boto3.client("sagemaker-runtime", config=Config(connect_timeout=3, read_timeout=22, retries={"total_max_attempts": 1}))


@cache
def alarm(endpoint: str, group: str) -> Alarm:
    """One for each warm worker; it asks SageMaker within the few seconds that API Gateway leaves after the endpoint's own answer."""
    config = Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 2})
    return Alarm(boto3.client("sagemaker", config=config), endpoint, group)
