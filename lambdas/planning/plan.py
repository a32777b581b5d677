"""The plan of an execution: what the later states put into their requests, worked out once from the execution input and the photos.

Runs inside `prepare_execution`; standard library only. Objects are in AWS's own words and are merged into the requests as they are.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from lambdas.aws.run_names import run_name, tuning_job_prefix
from lambdas.planning.cost import Limits, Machines, job_costs, run_time_limits
from lambdas.planning.cost_notes import cost_told
from lambdas.planning.durations import expected_durations
from lambdas.planning.endpoint import serving
from lambdas.planning.managed_rules import Configuration, debug_rule_configurations, profiler_rule_configurations
from lambdas.planning.photos import Photos
from lambdas.planning.prepared_dataset import PREFIX as PREPARED
from lambdas.planning.prices import Prices
from lambdas.planning.rule_images import rules_image
from lambdas.planning.settings import Settings
from lambdas.planning.tuning_job import tuning
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput, shown
from lambdas.request.instance_types import UNPROCESSED_FAMILY, uses_gpu

LEAST_VOLUME_GB = 50
PREPARED_BYTES = 10_000
"""What a job keeps on its disk of each photo beside the photo: features, a thumbnail, its line in the manifest."""

SPOT_WAIT_SECONDS = 6 * 3600
"""How long a job waits for spare machines, beside its longest run."""

WRITTEN = ("weights", PREPARED.rstrip("/"), "executions")
"""Folders of the bucket that are no photos."""


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
    photos_sha256: str
    """Over their names, ETags and sizes; the registry keeps it, so that StartRetraining sees when they have changed."""
    prepare_image: str
    prepare_instance_types: tuple[str, ...]
    """The one asked for, then those to try where AWS has no machine of it."""
    prepare_volume_gb: int
    """Disk of the processing job: the photos must lie on it, beside what the job writes."""
    prepare_seconds: int
    """Longest run of the processing job."""
    training_image: str
    training_instance_types: tuple[str, ...]
    training_instance_count: int
    training_volume_gb: int
    """Disk of a training job, which may need no photos, or read them as it goes."""
    tuning_job_seconds: int
    """Longest run of each training job of the search."""
    training_seconds: int
    """Longest run of the final training job."""
    max_wait_seconds: int
    """Longest run of any training job and its longest wait for spare machines together; only jobs on spare machines have one."""
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
    tuning_epochs: str
    tuning_config: dict[str, Any]
    """HyperParameterTuningJobConfig without its objective."""
    tuning_extra: dict[str, Any]
    """WarmStartConfig, where the search begins with what earlier ones found; else nothing."""
    gate: dict[str, Any]
    """What the model must be worth, as the execution input says it."""
    approval: str
    """`automatic` or `manual`."""
    model_package_group: str
    serving_image: str
    endpoint: str
    deployment_kind: str
    """`instance`, `serverless` or `none`."""
    variant: dict[str, Any]
    """What the production variant runs on."""
    network_isolation: bool
    """Of the model; SageMaker has none for serverless endpoints."""
    deployment_config: dict[str, Any]
    """How an update of the endpoint goes, and the alarms that take it back; nothing for what has no machines."""
    max_instance_count: int
    keep_versions: int
    """So many of the newest models and endpoint configs stay."""
    budget_usd: float | None
    cost: dict[str, Any]
    """What the execution should cost and can cost at most, for its output."""


def plan(
    asked: ExecutionInput,
    settings: Settings,
    photos: Photos,
    prepared: Prepared,
    execution_arn: str,
    start: datetime,
    prices: Prices | None = None,
) -> Plan:
    """The same execution always gets the same plan; one that its budget does not allow raises OverBudget."""
    run = run_name(settings.project, execution_arn, start)
    preparing = Machines(preparation_types(asked), 1, volume_gb(photos.files, photos.bytes))
    trained = Machines(training_types(asked), asked.instance_count, volume_gb(photos.files, photos.bytes if downloads_photos(asked) else 0))
    prices = prices or Prices(settings.region)
    durations = expected_durations(asked, photos)
    jobs = job_costs(asked.tuning.max_jobs, durations, None if prepared.present else preparing, trained, prices)
    limits = run_time_limits(jobs, None if asked.budget_usd is None else Decimal(str(asked.budget_usd)))
    return Plan(
        run=run,
        tuning_job_prefix=tuning_job_prefix(settings.project, start),
        **places(asked, settings, prepared, run),
        **preparation(asked, settings, photos, preparing),
        **training(asked, settings, trained),
        **run_times(limits),
        **judging(asked, settings.region, run),
        **tuning(asked, settings.project),
        **serving(asked, settings),
        gate=dict(vars(asked.gate)),
        budget_usd=asked.budget_usd,
        cost=cost_told(asked, jobs, limits, prices),
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


def preparation(asked: ExecutionInput, settings: Settings, photos: Photos, machines: Machines) -> dict[str, Any]:
    """The processing job."""
    return {
        "photo_files": str(photos.files),
        "photo_bytes": str(photos.bytes),
        "photos_sha256": photos.sha256,
        "prepare_image": settings.training_image(asked.prepare.instance_type),
        "prepare_instance_types": machines.instance_types,
        "prepare_volume_gb": machines.disk_gb,
    }


def training(asked: ExecutionInput, settings: Settings, machines: Machines) -> dict[str, Any]:
    """Every training job, and the hyperparameters that all have."""
    return {
        "training_image": settings.training_image(asked.instance_type),
        "training_instance_types": machines.instance_types,
        "training_instance_count": machines.count,
        "training_volume_gb": machines.disk_gb,
        "torch_distributed": str(is_distributed(asked)).lower(),
        "spot": asked.spot,
        "trainable": asked.trainable,
        "class_weights": asked.class_weights,
        "input_mode": asked.input_mode,
        "epochs": str(asked.epochs),
        "seed": str(asked.seed),
    }


def run_times(limits: Limits) -> dict[str, Any]:
    """How long the jobs may run."""
    return {
        "prepare_seconds": limits["prepare"],
        "tuning_job_seconds": limits["tuning"],
        "training_seconds": limits["training"],
        "max_wait_seconds": max(limits["tuning"], limits["training"]) + SPOT_WAIT_SECONDS,
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


def training_types(asked: ExecutionInput) -> tuple[str, ...]:
    """What training jobs may run on, the one asked for first."""
    return (asked.instance_type, *asked.instance_fallbacks)


def preparation_types(asked: ExecutionInput) -> tuple[str, ...]:
    """What the processing job may run on: of the others those that have its image and that processing jobs are offered on."""
    chosen = asked.prepare.instance_type
    others = [each for each in asked.instance_fallbacks if uses_gpu(each) == uses_gpu(chosen) and not UNPROCESSED_FAMILY.match(each)]
    return tuple(dict.fromkeys((chosen, *others)))


def volume_gb(photos: int, photo_bytes: int) -> int:
    """Room for the photos and a tenth more, for what is prepared of each, and 20 GB for all else; at least 50 GB.

    `photo_bytes`: of those that the job downloads, which may be none of them.
    """
    return max(LEAST_VOLUME_GB, math.ceil((11 * photo_bytes + 10 * PREPARED_BYTES * photos) / 10**10) + 20)


def downloads_photos(asked: ExecutionInput) -> bool:
    """Whether a training job holds all photos on its disk."""
    return asked.trainable != "head" and asked.input_mode == "File"


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
