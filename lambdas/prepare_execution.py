"""PrepareExecution, the first state: checks what was asked and what lies in the bucket, and says what the next states need.

Runs in AWS Lambda. Nothing billable has been started when it refuses, and each refusal is one sentence. Called by the state machine with

    {"input": <the execution input>, "execution_arn": "arn:…", "start_time": "2026-11-22T16:00:00.123Z"}

and answers with the document that `Plan` describes.
"""

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import IO, Any, Self
from urllib.request import urlopen

import boto3

from lambdas.execution_input import ExecutionInput, InvalidExecutionInput, shown, uses_gpu
from lambdas.photos import count_photos, require_usable
from lambdas.prepared import Ingredients, is_prepared
from lambdas.weights import TORCHVISION_RESNET50, stage_weights

GPU_SERVING_HOST = "al2-ami-sagemaker-inference-gpu-3-1"
"""Host image of a GPU endpoint: the serving image holds CUDA 12.9, which never starts on the CUDA 13 host."""

LEAST_VOLUME_GB = 50

WRITTEN = ("weights", "prepared", "executions")
"""Folders of the bucket that are no photos."""

OpenUrl = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Settings:
    """What the stack tells this function, through its environment."""

    bucket: str
    project: str
    source_archive: str
    """Object key of what the jobs run."""
    training_image_cpu: str
    training_image_gpu: str
    serving_image_cpu: str
    serving_image_gpu: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """BUCKET, PROJECT, SOURCE_ARCHIVE and the four images; a missing one is a KeyError, a fault of the deployment."""
        return cls(
            bucket=environment["BUCKET"],
            project=environment["PROJECT"],
            source_archive=environment["SOURCE_ARCHIVE"],
            training_image_cpu=environment["TRAINING_IMAGE_CPU"],
            training_image_gpu=environment["TRAINING_IMAGE_GPU"],
            serving_image_cpu=environment["SERVING_IMAGE_CPU"],
            serving_image_gpu=environment["SERVING_IMAGE_GPU"],
        )

    def training_image(self, instance_type: str) -> str:
        """The image of processing and training jobs on such a machine."""
        return self.training_image_gpu if uses_gpu(instance_type) else self.training_image_cpu


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
    dataset: str
    """`s3://<bucket>/prepared/<key>`"""
    prepared: bool
    """Whether that is there already."""
    prepare_image: str
    prepare_instance_type: str
    volume_gb: int
    """Disk of processing and training jobs: the photos must lie on it, beside what the job writes."""
    training_image: str
    training_instance_type: str
    training_instance_count: int
    torch_distributed: str
    """`true` where a training job is one process for each GPU or machine, which the training toolkit then starts."""
    spot: bool
    trainable: str
    class_weights: str
    input_mode: str
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
    photos = count_photos(s3, settings.bucket, prefix)
    require_usable(photos)
    weights = stage_weights(s3, settings.bucket, TORCHVISION_RESNET50, open_url)
    dataset = ingredients(asked, settings, photos.sha256, weights).prefix
    start = datetime.fromisoformat(event["start_time"])
    planned = plan(asked, settings, prefix, dataset, str(event["execution_arn"]), start)
    return replace(planned, prepared=is_prepared(s3, settings.bucket, dataset, start), volume_gb=volume_gb(photos.bytes))


def ingredients(asked: ExecutionInput, settings: Settings, photos_sha256: str, weights: Mapping[str, str]) -> Ingredients:
    """What the data set of this execution is made from."""
    return Ingredients(
        photos_sha256=photos_sha256,
        weights_sha256=weights["sha256"],
        weights_stride=weights["stride"],
        source_archive=settings.source_archive,
        image=settings.training_image(asked.prepare.instance_type),
        seed=asked.seed,
    )


def plan(asked: ExecutionInput, settings: Settings, prefix: str, dataset: str, execution_arn: str, start: datetime) -> Plan:
    """The plan of an execution with few photos, not prepared: the same execution always gets the same plan."""
    stamp = start.strftime("%y%m%d%H%M%S")
    run = f"{settings.project}-{stamp}-{hashlib.sha256(execution_arn.encode()).hexdigest()[:4]}"
    return Plan(
        run=run,
        tuning_job_prefix=f"{settings.project}-{stamp}-",
        photos=f"s3://{settings.bucket}/{prefix}",
        weights=f"s3://{settings.bucket}/weights/",
        output=f"s3://{settings.bucket}/executions/{run}",
        dataset=f"s3://{settings.bucket}/{dataset.removesuffix('/')}",
        prepared=False,
        prepare_image=settings.training_image(asked.prepare.instance_type),
        prepare_instance_type=asked.prepare.instance_type,
        volume_gb=volume_gb(0),
        training_image=settings.training_image(asked.instance_type),
        training_instance_type=asked.instance_type,
        training_instance_count=asked.instance_count,
        torch_distributed=str(is_distributed(asked)).lower(),
        spot=asked.spot,
        trainable=asked.trainable,
        class_weights=asked.class_weights,
        input_mode=asked.input_mode,
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


def volume_gb(photo_bytes: int) -> int:
    """Room for the photos, a tenth more for features and file system, and 20 GB for weights, checkpoints and artefact; at least 50 GB."""
    return max(LEAST_VOLUME_GB, math.ceil(11 * photo_bytes / 10**10) + 20)


def is_distributed(asked: ExecutionInput) -> bool:
    """Whether several processes share a training job: a backbone that is trained uses every GPU and machine, one layer needs none."""
    return asked.trainable != "head" and (uses_gpu(asked.instance_type) or asked.instance_count > 1)


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
    if prefix.split("/")[0] in WRITTEN:
        folders = ", ".join(f'"{folder}/"' for folder in WRITTEN)
        raise InvalidExecutionInput(f"data must not lie under {folders}, which the executions write; got {shown(data)}")
    return f"{prefix}/"


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
