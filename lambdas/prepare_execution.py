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
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import IO, Any, Self
from urllib.request import urlopen

import boto3

from lambdas.execution_input import ExecutionInput, uses_gpu
from lambdas.input_values import InvalidExecutionInput, shown
from lambdas.photos import NoUsableData, Photos, count_photos, require_usable
from lambdas.prepared import PREFIX as PREPARED
from lambdas.prepared import Ingredients, find_prepared
from lambdas.rule_configurations import Configuration, debug_rule_configurations, profiler_rule_configurations
from lambdas.rule_images import ACCOUNTS as RULE_ACCOUNTS
from lambdas.rule_images import rules_image
from lambdas.weights import TORCHVISION_RESNET50, stage_weights

GPU_SERVING_HOST = "al2-ami-sagemaker-inference-gpu-3-1"
"""Host image of a GPU endpoint: the serving image holds CUDA 12.9, which never starts on the CUDA 13 host."""

LEAST_VOLUME_GB = 50
MOST_VOLUME_GB = 16_384
"""Largest disk that SageMaker gives a job."""
PREPARED_BYTES = 10_000
"""What a job keeps on its disk of each photo beside the photo: features, a thumbnail, its line in the manifest."""

WRITTEN = ("weights", PREPARED.rstrip("/"), "executions")
"""Folders of the bucket that are no photos."""

OpenUrl = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Settings:
    """What the stack tells this function, through its environment."""

    bucket: str
    project: str
    preparation_code: str
    """Hash of the code that PrepareDataset runs."""
    training_image_cpu: str
    training_image_gpu: str
    serving_image_cpu: str
    serving_image_gpu: str
    region: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """BUCKET, PROJECT, PREPARATION_CODE and the four images; a missing one is a KeyError, a fault of the deployment. Lambda sets the
        region itself."""
        return cls(
            bucket=environment["BUCKET"],
            project=environment["PROJECT"],
            preparation_code=environment["PREPARATION_CODE"],
            training_image_cpu=environment["TRAINING_IMAGE_CPU"],
            training_image_gpu=environment["TRAINING_IMAGE_GPU"],
            serving_image_cpu=environment["SERVING_IMAGE_CPU"],
            serving_image_gpu=environment["SERVING_IMAGE_GPU"],
            region=environment["AWS_REGION"],
        )

    def training_image(self, instance_type: str) -> str:
        """The image of processing and training jobs on such a machine."""
        return self.training_image_gpu if uses_gpu(instance_type) else self.training_image_cpu


@dataclass(frozen=True)
class Prepared:
    """Where the data set of an execution belongs, and where it is."""

    folder: str
    """`prepared-data-sets/<key>/`"""
    present: str
    """The folder in there that an earlier execution left, empty where it is to be made."""


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
    datasets: str
    """`s3://<bucket>/prepared-data-sets/<key>`, where each job that prepares the data set of this execution has a folder of its own."""
    prepared: str
    """The folder in there that an earlier one left, which this execution then reads; empty where there is none."""
    photo_files: str
    photo_bytes: str
    """How many objects the data prefix holds, and their bytes together: what PrepareDataset must find."""
    prepare_image: str
    prepare_instance_type: str
    prepare_volume_gb: int
    """Disk of the processing job: the photos must lie on it, beside what the job writes."""
    training_image: str
    training_instance_type: str
    training_instance_count: int
    training_volume_gb: int
    """Disk of a training job, which may need no photos, or read them as it goes."""
    torch_distributed: str
    """`true` where a training job is one process for each GPU or machine, which the training toolkit then starts."""
    spot: bool
    trainable: str
    class_weights: str
    input_mode: str
    epochs: str
    seed: str
    debugger: str
    rules: str
    """The hyperparameter of that name."""
    debug_rule_configurations: tuple[Configuration, ...]
    profiler_rule_configurations: tuple[Configuration, ...]
    """Of the final training job, empty unless AWS's Debugger judges it."""
    block_deployment: tuple[str, ...]
    """Rules whose findings keep the model from being deployed."""
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
    require_rules_image(asked, settings.region)
    photos = count_photos(s3, settings.bucket, prefix)
    require_usable(photos)
    require_room(photos)
    weights = stage_weights(s3, settings.bucket, TORCHVISION_RESNET50, open_url)
    folder = ingredients(asked, settings, photos.sha256, weights).prefix
    start = datetime.fromisoformat(event["start_time"])
    present = find_prepared(s3, settings.bucket, folder, start)
    return plan(asked, settings, photos, Prepared(folder, present), str(event["execution_arn"]), start)


def ingredients(asked: ExecutionInput, settings: Settings, photos_sha256: str, weights: Mapping[str, str]) -> Ingredients:
    """What the data set of this execution is made from."""
    return Ingredients(
        photos_sha256=photos_sha256,
        weights_sha256=weights["sha256"],
        weights_stride=weights["stride"],
        code=settings.preparation_code,
        image=settings.training_image(asked.prepare.instance_type),
        seed=asked.seed,
    )


def plan(asked: ExecutionInput, settings: Settings, photos: Photos, prepared: Prepared, execution_arn: str, start: datetime) -> Plan:
    """The same execution always gets the same plan."""
    stamp = start.strftime("%y%m%d%H%M%S")
    run = f"{settings.project}-{stamp}-{hashlib.sha256(execution_arn.encode()).hexdigest()[:4]}"
    return Plan(
        run=run,
        tuning_job_prefix=f"{settings.project}-{stamp}-",
        **places(asked, settings, prepared, run),
        **preparation(asked, settings, photos),
        **training(asked, settings, photos),
        **judging(asked, settings.region, run),
        **tuning(asked),
        **serving(asked, settings),
    )


def places(asked: ExecutionInput, settings: Settings, prepared: Prepared, run: str) -> dict[str, Any]:
    """Where the execution reads and writes."""
    return {
        "photos": f"s3://{settings.bucket}/{data_prefix(asked.data, settings.bucket)}",
        "weights": f"s3://{settings.bucket}/weights/",
        "output": f"s3://{settings.bucket}/executions/{run}",
        "datasets": f"s3://{settings.bucket}/{prepared.folder.removesuffix('/')}",
        "prepared": f"s3://{settings.bucket}/{prepared.present.removesuffix('/')}" if prepared.present else "",
    }


def preparation(asked: ExecutionInput, settings: Settings, photos: Photos) -> dict[str, Any]:
    """The processing job."""
    return {
        "photo_files": str(photos.files),
        "photo_bytes": str(photos.bytes),
        "prepare_image": settings.training_image(asked.prepare.instance_type),
        "prepare_instance_type": asked.prepare.instance_type,
        "prepare_volume_gb": volume_gb(photos.files, photos.bytes),
    }


def training(asked: ExecutionInput, settings: Settings, photos: Photos) -> dict[str, Any]:
    """Every training job, and the hyperparameters that all have."""
    return {
        "training_image": settings.training_image(asked.instance_type),
        "training_instance_type": asked.instance_type,
        "training_instance_count": asked.instance_count,
        "training_volume_gb": volume_gb(photos.files, photos.bytes if downloads_photos(asked) else 0),
        "torch_distributed": str(is_distributed(asked)).lower(),
        "spot": asked.spot,
        "trainable": asked.trainable,
        "class_weights": asked.class_weights,
        "input_mode": asked.input_mode,
        "epochs": str(asked.epochs),
        "seed": str(asked.seed),
    }


def judging(asked: ExecutionInput, region: str, run: str) -> dict[str, Any]:
    """Who judges the final training job, by which rules, and what they may keep back."""
    image = rules_image(region) if asked.debugger == "managed" else None
    return {
        "debugger": asked.debugger,
        "rules": asked.rules.hyperparameter,
        "debug_rule_configurations": debug_rule_configurations(asked.rules, asked.epochs, image, f"{run}-train-") if image else (),
        "profiler_rule_configurations": profiler_rule_configurations(asked.rules, asked.epochs, image) if image else (),
        "block_deployment": asked.rules.block_deployment,
    }


def tuning(asked: ExecutionInput) -> dict[str, Any]:
    """The tuning job."""
    return {
        "tuning_seed": asked.seed,
        "tuning_strategy": asked.tuning.strategy,
        "tuning_max_jobs": asked.tuning.max_jobs,
        "tuning_max_parallel_jobs": asked.tuning.max_parallel_jobs,
        "tuning_epochs": str(asked.tuning.epochs),
        "lr_min": plain(asked.tuning.lr[0]),
        "lr_max": plain(asked.tuning.lr[1]),
        "batch_sizes": tuple(str(size) for size in asked.tuning.batch_size),
    }


def serving(asked: ExecutionInput, settings: Settings) -> dict[str, Any]:
    """The endpoint."""
    on_gpu = uses_gpu(asked.endpoint.instance_type)
    return {
        "serving_image": settings.serving_image_gpu if on_gpu else settings.serving_image_cpu,
        "endpoint": settings.project,
        "endpoint_instance_type": asked.endpoint.instance_type,
        "endpoint_instance_count": asked.endpoint.instance_count,
        "production_variant": {"InferenceAmiVersion": GPU_SERVING_HOST} if on_gpu else {},
    }


def require_rules_image(asked: ExecutionInput, region: str) -> None:
    """Raises InvalidExecutionInput where AWS is to judge the rules and has no image of them in the stack's region."""
    if asked.debugger == "managed" and rules_image(region) is None:
        raise InvalidExecutionInput(
            f'debugger must be "embedded" or "off" in {region}, got "managed": AWS\'s Debugger has no rules there, but in '
            f'{", ".join(RULE_ACCOUNTS)}; "embedded" evaluates the same rules inside the training job'
        )


def volume_gb(photos: int, photo_bytes: int) -> int:
    """Room for the photos and a tenth more, for what is prepared of each, and 20 GB for all else; at least 50 GB.

    `photo_bytes`: of those that the job downloads, which may be none of them.
    """
    return max(LEAST_VOLUME_GB, math.ceil((11 * photo_bytes + 10 * PREPARED_BYTES * photos) / 10**10) + 20)


def downloads_photos(asked: ExecutionInput) -> bool:
    """Whether a training job holds all photos on its disk."""
    return asked.trainable != "head" and asked.input_mode == "File"


def require_room(photos: Photos) -> None:
    """Raises NoUsableData for photos that no job's disk holds; the processing job's is the largest."""
    needed = volume_gb(photos.files, photos.bytes)
    if needed > MOST_VOLUME_GB:
        raise NoUsableData(
            f"the {photos.files:,} files under {photos.where} are {photos.bytes / 10**9:,.0f} GB, so the processing job would need a disk "
            f"of {needed:,} GB, and SageMaker gives at most {MOST_VOLUME_GB:,}; scale the photos down (the network sees 224 pixels), "
            "or use fewer"
        )


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
