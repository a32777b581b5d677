"""VerifyEndpoint, the state after an endpoint came into service: does it answer what the training job said it would?

Runs in AWS Lambda. Called by the state machine with

    {"endpoint": "whippet", "endpoint_config": "whippet-261122160000-1a2b-0f0f0f0f", "report": "s3://…/report/"}

and answers {"verified": true | false, "reasons": [sentence], "photos": n, "largest_difference": x, "milliseconds": median of the answers}.
The report holds a few test photos and what the artefact, read back as serving reads it, said of each: check.json, check/. Each photo is
sent to the endpoint, and each probability must be the promised one within TOLERANCE, from the model of that endpoint config and no other.
A data set may have no test photo that fits into a request; then only the config is checked, `photos` is 0 and a reason says so.
What keeps this function itself from asking, such as a missing permission, is raised: it says nothing of the model.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.aws.clients import client, code_of, message_of
from lambdas.aws.endpoint import look_at_endpoint, models_of
from lambdas.aws.jobs import run_of
from lambdas.aws.log import log
from training.contract.photos import content_type_of

TOLERANCE = 0.01
"""Between two versions of torch, Pillow and processors the same photo differs by some 1e-5; another model differs by more than this."""

TRIES = 5
PAUSE_S = 5.0
"""Between two tries of one photo: a server that has just started may still be busy, and a serverless one may have to start first."""

BUSY_CODES = {"ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException", "ThrottlingException", "Throttling"}

Timer = Callable[[], float]
Sleep = Callable[[float], None]


class NotVerified(Exception):  # noqa: N818 - it is an answer, not a fault
    """Ends the verification with a sentence about the endpoint or the report."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    answer = Verification(client("sagemaker"), runtime_client(), client("s3")).verify(event)
    log("Verified", execution=run_of(event["endpoint_config"]), **answer)
    return answer


class Verification:
    """The clients, and a clock."""

    def __init__(self, sagemaker: Any, runtime: Any, s3: Any, timer: Timer = time.monotonic, sleep: Sleep = time.sleep) -> None:
        """Nothing is asked yet."""
        self.sagemaker, self.runtime, self.s3, self.timer, self.sleep = sagemaker, runtime, s3, timer, sleep
        self.milliseconds: list[float] = []
        self.largest = 0.0

    def verify(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The answer described above."""
        reasons: list[str] = []
        try:
            model = self.served_model(event["endpoint"], event["endpoint_config"])
            promises, classes = self.read_json(event["report"], "check.json"), self.read_json(event["report"], "data.json")["classes"]
            for promise in promises:
                self.check(event, promise, classes, model)
            if not promises:
                reasons = ["the data set has no test photo that fits into a request, so no answer of the endpoint was compared"]
            verified = True
        except NotVerified as error:
            reasons, verified = [str(error)], False
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reasons, verified = [f"the report in {event['report']} does not promise what an endpoint answers ({error!r})"], False
        return {
            "verified": verified,
            "reasons": reasons,
            "photos": len(self.milliseconds),
            "largest_difference": round(self.largest, 6),
            "milliseconds": round(median(self.milliseconds), 1) if self.milliseconds else 0,
        }

    def served_model(self, endpoint: str, config: str) -> str:
        """The model that answers; NotVerified where the endpoint serves another config, or none yet."""
        found = look_at_endpoint(self.sagemaker, endpoint)
        if found is None or found.status != "InService" or found.config != config:
            how = f"{found.status} with {found.config or 'no endpoint config'}" if found else "gone"
            raise NotVerified(f"the endpoint {endpoint} should be InService with {config}, and it is {how}")
        models = models_of(self.sagemaker, config)
        if not models:
            raise NotVerified(
                f"the endpoint config {config} is gone, so nobody can say which model the endpoint {endpoint} should answer with"
            )
        return min(models)

    def read_json(self, report: str, name: str) -> Any:
        """A document of the report."""
        return json.loads(self.read(report, name).decode("utf-8"))

    def read(self, report: str, name: str) -> bytes:
        """A file of the report; NotVerified where it is not there."""
        bucket, _, prefix = report.removeprefix("s3://").partition("/")
        key = f"{prefix.rstrip('/')}/{name}"
        try:
            content: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) != "NoSuchKey":
                raise
            raise NotVerified(f"s3://{bucket}/{key} is missing, so nothing says what the endpoint should answer") from error
        return content

    def check(self, event: Mapping[str, Any], promise: Mapping[str, Any], classes: Sequence[str], model: str) -> None:
        """Sends one photo; NotVerified where the answer is not the promised one."""
        photo, file = self.read(event["report"], promise["file"]), promise["file"]
        if hashlib.sha256(photo).hexdigest() != promise["sha256"]:
            raise NotVerified(f"the check photo {file} is no longer the one that the training job saw")
        answer = self.ask(event["endpoint"], file, photo)
        if answer.get("model") != model:
            raise NotVerified(f"the endpoint answered with the model {str(answer.get('model'))[:63]!r} instead of {model!r}")
        promised = dict(zip(classes, map(float, promise["probabilities"]), strict=True))
        difference, name = largest_difference(promised, given_probabilities(answer))
        self.largest = max(self.largest, difference)
        if difference > TOLERANCE:
            raise NotVerified(
                f"of the check photo {file} the endpoint's probability of {name!r} is {difference:.4f} away from the one that the training "
                f"job promised, and at most {TOLERANCE} is let pass: the serving image computes something else than the training image"
            )

    def ask(self, endpoint: str, file: str, photo: bytes) -> Mapping[str, Any]:
        """The answer to one photo, and in `milliseconds` how long it took; NotVerified where there is none."""
        kind = content_type_of(file)
        for tried in range(1, TRIES + 1):
            start = self.timer()
            try:
                reply = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=photo, ContentType=kind, Accept="application/json")
                answer = json.loads(reply["Body"].read())
            except (ClientError, BotoCoreError) as error:
                if not is_passing(error):
                    raise NotVerified(f"the endpoint failed on the check photo {file}: {message_of(error)}") from error
                if tried == TRIES:
                    raise NotVerified(f"the endpoint gave no answer to {file} in {TRIES} tries: {message_of(error)}") from error
                self.sleep(PAUSE_S)
            else:
                self.milliseconds.append((self.timer() - start) * 1000)
                return answer if isinstance(answer, dict) else {}
        raise AssertionError("every try returns, raises or is followed by another")


def is_passing(error: Exception) -> bool:
    """Whether asking again may help; a permission that this function lacks is raised, for it is no fault of the endpoint's."""
    if not isinstance(error, ClientError):
        return True
    code = code_of(error)
    if code == "AccessDeniedException":
        raise error
    if code == "ModelError":
        return int(error.response.get("OriginalStatusCode", 500)) in (0, 429, 502, 503, 504)
    return code in BUSY_CODES or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500


def given_probabilities(answer: Mapping[str, Any]) -> dict[str, float]:
    """Class -> probability, of the most probable classes, which are all that an endpoint names; NotVerified for another kind of answer."""
    try:
        return {each["class"]: float(each["probability"]) for each in answer["predictions"]}
    except (KeyError, TypeError, ValueError) as error:
        raise NotVerified(f"the endpoint's answer names no classes and probabilities ({error!r})") from error


def largest_difference(promised: Mapping[str, float], given: Mapping[str, float]) -> tuple[float, str]:
    """How far the answer is from what was promised, and at which class; one that the answer leaves out may not be above the least named."""
    least = min(given.values(), default=0.0)
    named = [(abs(value - promised.get(name, 0.0)), name) for name, value in given.items()]
    left_out = [(value - least, name) for name, value in promised.items() if name not in given]
    return max([*named, *left_out], default=(1.0, "any class"))


@cache
def runtime_client() -> Any:
    """One client for each warm worker; an answer may take as long as SageMaker lets it, and tries are counted here."""
    return boto3.client("sagemaker-runtime", config=Config(connect_timeout=5, read_timeout=65, retries={"total_max_attempts": 1}))
