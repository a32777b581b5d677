"""PrepareExecution, the first state: checks the execution input and the photos in the bucket, and plans the next states.

Runs in AWS Lambda. It refuses before anything billable starts, with one sentence. The state machine calls it with

    {"input": <the execution input>, "execution_arn": "arn:…", "start_time": "2026-11-22T16:00:00.123Z"}

and it returns the document that `Plan.to_json` writes.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache
from typing import IO, Any
from urllib.request import urlopen

import boto3

from lambdas.aws.log import log
from lambdas.planning.photos import NoUsableData, Photos, count_photos, require_usable
from lambdas.planning.plan import Plan, Prepared, data_prefix, plan, volume_gb
from lambdas.planning.prepared_dataset import Ingredients, find_prepared
from lambdas.planning.prices import read_prices
from lambdas.planning.rule_images import ACCOUNTS as RULE_ACCOUNTS
from lambdas.planning.rule_images import rules_image
from lambdas.planning.settings import Settings
from lambdas.planning.weights import TORCHVISION_RESNET50, stage_weights
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput

MOST_VOLUME_GB = 16_384
"""Largest disk that SageMaker gives a job."""

OpenUrl = Callable[[str], AbstractContextManager[IO[bytes]]]


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    planned = prepare(event, Settings.read(os.environ), s3_client(), open_url)
    log("ExecutionPlanned", execution=planned.run, execution_arn=str(event["execution_arn"]), prepared=planned.data.prepared)
    return planned.to_json()


def prepare(event: Mapping[str, Any], settings: Settings, s3: Any, open_url: OpenUrl) -> Plan:
    """Stage the weights and plan, or refuse with InvalidExecutionInput, NoUsableData, InvalidPrices, WeightsUnavailable or OverBudget."""
    requested = ExecutionInput.parse(event["input"])
    prefix = data_prefix(requested.data, settings.bucket)
    require_rules_image(requested, settings.region)
    photos = count_photos(s3, settings.bucket, prefix)
    require_usable(photos)
    require_room(photos)
    prices = read_prices(s3, settings.bucket, settings.region)
    weights = stage_weights(s3, settings.bucket, TORCHVISION_RESNET50, open_url)
    folder = ingredients(requested, settings, photos.sha256, weights).prefix
    start = datetime.fromisoformat(event["start_time"])
    present = find_prepared(s3, settings.bucket, folder, start)
    return plan(requested, settings, photos, Prepared(folder, present), str(event["execution_arn"]), start, prices)


def ingredients(requested: ExecutionInput, settings: Settings, photos_sha256: str, weights: Mapping[str, str]) -> Ingredients:
    """Return what the data set of this execution is made from."""
    return Ingredients(
        photos_sha256=photos_sha256,
        weights_sha256=weights["sha256"],
        weights_stride=weights["stride"],
        code=settings.preparation_code,
        image=settings.training_image(requested.prepare.instance_type),
        seed=requested.seed,
    )


def require_rules_image(requested: ExecutionInput, region: str) -> None:
    """Refuse a managed debugger where AWS has no image of the rules in the stack's region."""
    if requested.debugger == "managed" and rules_image(region) is None:
        raise InvalidExecutionInput(
            f'debugger must be "embedded" or "off" in {region}, got "managed": AWS\'s Debugger has no rules there, but in '
            f'{", ".join(RULE_ACCOUNTS)}; "embedded" evaluates the same rules inside the training job'
        )


def require_room(photos: Photos) -> None:
    """Refuse photos that are larger than the largest disk of a job; the processing job needs most."""
    needed = volume_gb(photos.files, photos.bytes)
    if needed > MOST_VOLUME_GB:
        raise NoUsableData(
            f"the {photos.files:,} files under {photos.where} are {photos.bytes / 10**9:,.0f} GB, so the processing job would need a disk "
            f"of {needed:,} GB, and SageMaker gives at most {MOST_VOLUME_GB:,}; scale the photos down (the network sees 224 pixels), "
            "or use fewer"
        )


def open_url(url: str) -> IO[bytes]:
    """Open the body of an https address, to be read as it arrives."""
    return urlopen(url, timeout=60)  # type: ignore[no-any-return]  # noqa: S310 - the one address is a constant of lambdas.planning.weights


@cache
def s3_client() -> Any:
    """Return one client for each warm worker."""
    return boto3.client("s3")
