"""PrepareExecution, the first state: checks what was asked and what lies in the bucket, and says what the next states need.

Runs in AWS Lambda. Nothing billable has been started when it refuses, and each refusal is one sentence. Called by the state machine with

    {"input": <the execution input>, "execution_arn": "arn:…", "start_time": "2026-11-22T16:00:00.123Z"}

and answers with the document that `Plan` describes.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import IO, Any, Self
from urllib.request import urlopen

import boto3

from lambdas.execution_input import ExecutionInput, InvalidExecutionInput, shown, uses_gpu
from lambdas.photos import count_photos, require_usable
from lambdas.weights import TORCHVISION_RESNET50, stage_weights

GPU_SERVING_HOST = "al2-ami-sagemaker-inference-gpu-3-1"
"""Host image of a GPU endpoint: the serving image holds CUDA 12.9, which never starts on the CUDA 13 host."""

OpenUrl = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Settings:
    """What the stack tells this function, through its environment."""

    bucket: str
    project: str
    training_image_cpu: str
    training_image_gpu: str
    serving_image_cpu: str
    serving_image_gpu: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """BUCKET, PROJECT and the four images; a missing one is a KeyError, a fault of the deployment."""
        return cls(
            bucket=environment["BUCKET"],
            project=environment["PROJECT"],
            training_image_cpu=environment["TRAINING_IMAGE_CPU"],
            training_image_gpu=environment["TRAINING_IMAGE_GPU"],
            serving_image_cpu=environment["SERVING_IMAGE_CPU"],
            serving_image_gpu=environment["SERVING_IMAGE_GPU"],
        )


@dataclass(frozen=True)
class Plan:
    """What the later states put into their requests; hyperparameters are strings, as SageMaker wants them."""

    run: str
    """`<project>-<yymmddHHMMSS>-<4 hex>`: the folder under `executions/`, and what the names of jobs and models begin with."""
    tuning_job_prefix: str
    """`<project>-<yymmddHHMMSS>-`: 8 hex digits make it a tuning job's name of at most 32 characters."""
    photos: str
    weights: str
    output: str
    """`s3://<bucket>/executions/<run>`"""
    training_image: str
    training_instance_type: str
    epochs: str
    seed: str
    debugger: str
    tuning_seed: int
    tuning_strategy: str
    tuning_max_jobs: int
    tuning_max_parallel_jobs: int
    tuning_epochs: str
    lr_min: str
    lr_max: str
    batch_sizes: tuple[str, ...]
    serving_image: str
    endpoint: str
    endpoint_instance_type: str
    endpoint_instance_count: int
    production_variant: dict[str, str]
    """Further members of the production variant, which only some instance types take."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    return asdict(prepare(event, Settings.read(os.environ), s3_client(), open_url))


def prepare(event: Mapping[str, Any], settings: Settings, s3: Any, open_url: OpenUrl) -> Plan:
    """Refuses with InvalidExecutionInput, NoUsableData or WeightsUnavailable, else stages the weights and plans the execution."""
    asked = ExecutionInput.parse(event["input"])
    prefix = data_prefix(asked.data, settings.bucket)
    require_usable(count_photos(s3, settings.bucket, prefix))
    stage_weights(s3, settings.bucket, TORCHVISION_RESNET50, open_url)
    return plan(asked, settings, prefix, str(event["execution_arn"]), started(event["start_time"]))


def plan(asked: ExecutionInput, settings: Settings, prefix: str, execution_arn: str, stamp: str) -> Plan:
    """The plan of an execution, from what was asked alone: the same execution always gets the same plan."""
    run = f"{settings.project}-{stamp}-{hashlib.sha256(execution_arn.encode()).hexdigest()[:4]}"
    return Plan(
        run=run,
        tuning_job_prefix=f"{settings.project}-{stamp}-",
        photos=f"s3://{settings.bucket}/{prefix}",
        weights=f"s3://{settings.bucket}/weights/",
        output=f"s3://{settings.bucket}/executions/{run}",
        training_image=settings.training_image_gpu if uses_gpu(asked.instance_type) else settings.training_image_cpu,
        training_instance_type=asked.instance_type,
        epochs=str(asked.epochs),
        seed=str(asked.seed),
        debugger=asked.debugger,
        tuning_seed=asked.seed,
        tuning_strategy=asked.tuning.strategy,
        tuning_max_jobs=asked.tuning.max_jobs,
        tuning_max_parallel_jobs=asked.tuning.max_parallel_jobs,
        tuning_epochs=str(asked.tuning.epochs),
        lr_min=plain(asked.tuning.lr[0]),
        lr_max=plain(asked.tuning.lr[1]),
        batch_sizes=tuple(str(size) for size in asked.tuning.batch_size),
        serving_image=settings.serving_image_gpu if uses_gpu(asked.endpoint.instance_type) else settings.serving_image_cpu,
        endpoint=settings.project,
        endpoint_instance_type=asked.endpoint.instance_type,
        endpoint_instance_count=asked.endpoint.instance_count,
        production_variant={"InferenceAmiVersion": GPU_SERVING_HOST} if uses_gpu(asked.endpoint.instance_type) else {},
    )


def data_prefix(data: str, bucket: str) -> str:
    """`data/` from `data`, `data/` or `s3://<bucket>/data`; another bucket or the whole bucket raises InvalidExecutionInput."""
    prefix = data
    if data.startswith("s3://"):
        named, _, prefix = data.removeprefix("s3://").partition("/")
        if named != bucket:
            raise InvalidExecutionInput(
                f"data must lie in the stack's own bucket, which the jobs may read: s3://{bucket}/<prefix>; got {shown(data)}. "
                "Copy the photos there with: whippet upload PATH"
            )
    prefix = prefix.strip("/")
    if not prefix or any(part in ("", ".", "..") for part in prefix.split("/")):
        raise InvalidExecutionInput(f'data must name a prefix in the bucket, such as "data/" or "s3://{bucket}/data/"; got {shown(data)}')
    if prefix.split("/")[0] in ("weights", "executions"):
        raise InvalidExecutionInput(f'data must not lie under "weights/" or "executions/", which the executions write; got {shown(data)}')
    return f"{prefix}/"


def started(start_time: str) -> str:
    """`261122160000` from an ISO 8601 time."""
    return datetime.fromisoformat(start_time).strftime("%y%m%d%H%M%S")


def plain(number: float) -> str:
    """`0.00001`, never `1e-05`: what a parameter range can be relied on to read."""
    return format(Decimal(repr(number)), "f")


def open_url(url: str) -> IO[bytes]:
    """The body behind an https address, to be read as it arrives."""
    return urlopen(url, timeout=60)  # type: ignore[no-any-return]  # noqa: S310 - the one address is a constant of lambdas.weights


@cache
def s3_client() -> Any:
    """One client for each warm worker."""
    return boto3.client("s3")
