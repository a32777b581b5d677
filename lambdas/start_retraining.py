"""StartRetraining: starts an execution once the photos are others than those that the newest model learnt from, and have come to rest.

Runs in AWS Lambda, on a schedule, with any event. BUCKET, PROJECT, STATE_MACHINE_ARN, QUIET_MINUTES and EXECUTION_INPUT (JSON; `{}` takes
every default) stand in its environment. It starts nothing while an execution runs, while photos still arrive (the newest is younger than
QUIET_MINUTES), or where no job could train on what lies there, as PrepareExecution would find too.

The photos are told apart by PrepareExecution's own digest over their names, ETags and sizes, which the newest version in the registry holds
as `photos_sha256`, whether that model was deployed or not: the same photos would give the same model again. The execution's name holds
the digest too, and Step Functions takes a name once in 90 days: photos on which an execution of this function failed are not tried again
and again, at a price, every time that the schedule comes round. Start one by hand to try them again.

Answers {"started": true | false, "reason": sentence, "execution_arn": the new execution's, or empty}.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from botocore.exceptions import ClientError

from lambdas.aws.clients import client, code_of
from lambdas.aws.executions import running
from lambdas.aws.log import log
from lambdas.aws.model_registry import newest_package
from lambdas.aws.run_names import run_name
from lambdas.planning.photos import NoUsableData, Photos, count_photos, require_usable
from lambdas.planning.plan import data_prefix
from lambdas.request.execution_input import ExecutionInput

PHOTOS = "photos_sha256"
"""Key of CustomerMetadataProperties: the digest of the photos that a model was made from."""

STARTED_BEFORE = "an execution for exactly these photos was started before, within 90 days; start one by hand to try them again"
"""It failed, or was aborted, or the photos changed to and fro."""

Clock = Callable[[], datetime]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Retraining:
    """What the stack tells this function, through its environment."""

    bucket: str
    project: str
    state_machine_arn: str
    quiet: timedelta
    execution_input: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """A missing variable is a KeyError, a fault of the deployment."""
        return cls(
            bucket=environment["BUCKET"],
            project=environment["PROJECT"],
            state_machine_arn=environment["STATE_MACHINE_ARN"],
            quiet=timedelta(minutes=float(environment["QUIET_MINUTES"])),
            execution_input=environment.get("EXECUTION_INPUT", "{}"),
        )


def handler(_event: Mapping[str, Any], _context: object) -> Answer:
    """Entry point of the Lambda function."""
    asked, clock = Retraining.read(os.environ), lambda: datetime.now(UTC)
    return retrain(asked, client("s3"), client("sagemaker"), client("stepfunctions"), clock)


def retrain(asked: Retraining, s3: Any, sagemaker: Any, stepfunctions: Any, clock: Clock) -> Answer:
    """The answer described above."""
    if running(stepfunctions, asked.state_machine_arn):
        return told("an execution is running", photos="")
    prefix = data_prefix(ExecutionInput.parse(json.loads(asked.execution_input)).data, asked.bucket)
    try:
        photos = count_photos(s3, asked.bucket, prefix)
        require_usable(photos)
    except NoUsableData as error:
        return told(f"no job could train on the photos: {error}", photos="")
    reason = why_not(photos, asked, sagemaker, clock())
    return told(reason, photos=photos.sha256) if reason else start(asked, photos, stepfunctions)


def why_not(photos: Photos, asked: Retraining, sagemaker: Any, now: datetime) -> str:
    """A reason to leave the photos alone; empty where there is none."""
    if photos.newest is not None and now - photos.newest < asked.quiet:
        came, quiet = photos.newest.astimezone(UTC), asked.quiet.total_seconds() / 60
        return f"the newest photo came at {came:%H:%M:%S} UTC, less than {quiet:g} minutes ago"
    newest = newest_package(sagemaker, asked.project)
    if newest is not None and newest.metadata.get(PHOTOS) == photos.sha256:
        return "the newest model was made from these photos"
    return ""


def start(asked: Retraining, photos: Photos, stepfunctions: Any) -> Answer:
    """Starts the one execution that these photos get."""
    try:
        started = stepfunctions.start_execution(
            stateMachineArn=asked.state_machine_arn, name=f"photos-{photos.sha256[:40]}", input=asked.execution_input
        )
    except ClientError as error:
        if code_of(error) != "ExecutionAlreadyExists":
            raise
        return told(
            "an execution for exactly these photos was started before, within 90 days; start one by hand to try them again",
            photos=photos.sha256,
        )
    run = run_name(asked.project, started["executionArn"], started["startDate"])
    return told("the photos have changed since the newest model", photos=photos.sha256, started=started["executionArn"], run=run)


def told(reason: str, *, photos: str, started: str = "", run: str = "") -> Answer:
    """The answer, which the log gets too."""
    log("RetrainingStarted" if started else "RetrainingNotStarted", execution=run, reason=reason, photos_sha256=photos)
    return {"started": bool(started), "reason": reason, "execution_arn": started}
