"""The plan of an execution: what the later states put into their requests, computed once from the execution input and the photos.

Runs inside `prepare_execution`; standard library only. Objects with AWS's own member names are merged into the requests as they are. The
state machine reads the plan as one flat JSON object, `$plan`, which `to_json` writes.
"""

import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from lambdas.aws.run_names import run_name, tuning_job_prefix
from lambdas.planning.cost import Limits, Machines, job_costs, run_time_limits
from lambdas.planning.cost_notes import Cost, estimate_cost
from lambdas.planning.durations import expected_durations
from lambdas.planning.endpoint import Endpoint, plan_endpoint
from lambdas.planning.managed_rules import Judging, plan_rules
from lambdas.planning.photos import Photos
from lambdas.planning.prepared_dataset import PREFIX as PREPARED
from lambdas.planning.prices import Prices
from lambdas.planning.settings import Settings
from lambdas.planning.tuning_job import TuningJob, plan_tuning
from lambdas.request.deployment import Gate
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.request.instance_types import UNPROCESSED_FAMILY, uses_gpu
from training.contract.fields import shown
from training.contract.hyperparameters import ChosenHyperparameters, write_chosen
from training.contract.limits import LONGEST_SPOT_WAIT_SECONDS

LEAST_VOLUME_GB = 50
PREPARED_BYTES = 10_000
"""Disk that a job needs for each photo beside the photo: features, a thumbnail, its line in the manifest."""

WRITTEN = ("weights", PREPARED.rstrip("/"), "executions")
"""Folders of the bucket that executions write."""


@dataclass(frozen=True)
class Prepared:
    """Where the data set of an execution belongs, and where it is."""

    folder: str
    """`prepared-data-sets/<key>/`"""
    present: str
    """The folder in there that an earlier execution left, empty where it is to be made."""


@dataclass(frozen=True)
class Data:
    """Where the execution reads and writes."""

    photos: str
    weights: str
    output: str
    """`s3://<bucket>/executions/<run>`"""
    datasets: str
    """`s3://<bucket>/prepared-data-sets/<key>`, where each job that prepares the data set of this execution has a folder of its own."""
    prepared: str
    """The folder in there that an earlier execution left and this one reads; empty where there is none."""
    photo_files: str
    photo_bytes: str
    """How many objects the data prefix holds, and their total size: what PrepareDataset must find."""
    photos_sha256: str
    """Over their names, ETags and sizes; the registry keeps it, so that StartRetraining sees when they have changed."""


@dataclass(frozen=True)
class Job:
    """A kind of job: machines, image, and its longest run."""

    image: str
    instance_types: tuple[str, ...]
    """The requested one, then those to try where AWS has no capacity for it."""
    volume_gb: int
    """Disk of each machine: for the photos that the job downloads, and for what it writes."""
    seconds: int


@dataclass(frozen=True)
class SharedByTraining:
    """What all training jobs share beside their machines."""

    training_instance_count: int
    max_wait_seconds: int
    """Longest run of any training job and its longest wait for spot capacity together; only spot jobs have one."""
    torch_distributed: str
    """`true` where a training job is one process for each GPU or instance, which the training toolkit then starts."""
    spot: bool
    input_mode: str


@dataclass(frozen=True)
class Registration:
    """What decides whether the model is deployed, and where it is registered."""

    gate: Gate
    approval: str
    model_package_group: str


@dataclass(frozen=True)
class Money:
    """What the execution may cost, and what it should cost."""

    budget_usd: float | None
    cost: Cost


@dataclass(frozen=True)
class Plan:
    """What the later states put into their requests."""

    run: str
    """`<project>-<yymmddHHMMSS>-<4 hex>`: the folder under `executions/`, and the first part of the names of jobs and models."""
    tuning_job_prefix: str
    """`<project>-<yymmddHHMMSS>-`: 8 hex digits make it a tuning job's name of at most 32 characters."""
    data: Data
    prepare: Job
    """The processing job."""
    training: Job
    """Every training job; `seconds` are those of the final one."""
    shared: SharedByTraining
    hyperparameters: ChosenHyperparameters
    judging: Judging
    tuning: TuningJob
    registration: Registration
    endpoint: Endpoint
    money: Money

    def to_json(self) -> dict[str, Any]:
        """Return what the state machine reads: members of all parts side by side, those of jobs with the job's name before them."""
        return {name: value for part in fields(self) for name, value in write_part(part.name, getattr(self, part.name)).items()}


NAMED = ("prepare", "training", "tuning")
"""Parts whose members are the same: their names in the document begin with the part's."""


def write_part(name: str, part: Any) -> dict[str, Any]:
    """Return the members of one part, with their names in the document. Hyperparameters are strings, as SageMaker takes them."""
    if not is_dataclass(part) or isinstance(part, type):
        return {name: part}
    members = write_chosen(part) if isinstance(part, ChosenHyperparameters) else asdict(part)
    return {f"{name}_{key}" if name in NAMED else key: value for key, value in members.items()}


def plan(
    requested: ExecutionInput,
    settings: Settings,
    photos: Photos,
    prepared: Prepared,
    execution_arn: str,
    start: datetime,
    prices: Prices | None = None,
) -> Plan:
    """Return the plan, always the same for one execution; a budget that is too small raises OverBudget."""
    run = run_name(settings.project, execution_arn, start)
    preparing, training = choose_machines(requested, photos)
    prices = prices or Prices(settings.region)
    durations = expected_durations(requested, photos)
    jobs = job_costs(requested.tuning.max_jobs, durations, None if prepared.present else preparing, training, prices)
    limits = run_time_limits(jobs, None if requested.budget_usd is None else Decimal(str(requested.budget_usd)))
    return Plan(
        run=run,
        tuning_job_prefix=tuning_job_prefix(settings.project, start),
        data=plan_data(requested, settings, photos, prepared, run),
        prepare=plan_job(settings, preparing, limits["prepare"]),
        training=plan_job(settings, training, limits["training"]),
        shared=plan_shared(requested, limits),
        hyperparameters=requested,
        judging=plan_rules(requested, settings.region, run),
        tuning=plan_tuning(requested, settings.project, limits["tuning"]),
        registration=Registration(requested.gate, requested.approval, settings.project),
        endpoint=plan_endpoint(requested.deployment, settings),
        money=Money(requested.budget_usd, estimate_cost(requested, jobs, limits, prices)),
    )


def choose_machines(requested: ExecutionInput, photos: Photos) -> tuple[Machines, Machines]:
    """Return those of the processing job and of training jobs."""
    downloaded = photos.bytes if downloads_photos(requested) else 0
    return (
        Machines(preparation_types(requested), 1, volume_gb(photos.files, photos.bytes)),
        Machines(training_types(requested), requested.instance_count, volume_gb(photos.files, downloaded)),
    )


def plan_data(requested: ExecutionInput, settings: Settings, photos: Photos, prepared: Prepared, run: str) -> Data:
    """Return where the execution reads and writes."""
    bucket = f"s3://{settings.bucket}"
    return Data(
        photos=f"{bucket}/{data_prefix(requested.data, settings.bucket)}",
        weights=f"{bucket}/weights/",
        output=f"{bucket}/executions/{run}",
        datasets=f"{bucket}/{prepared.folder.removesuffix('/')}",
        prepared=f"{bucket}/{prepared.present.removesuffix('/')}" if prepared.present else "",
        photo_files=str(photos.files),
        photo_bytes=str(photos.bytes),
        photos_sha256=photos.sha256,
    )


def plan_job(settings: Settings, machines: Machines, seconds: int) -> Job:
    """Return a job on these machines."""
    image = settings.training_image(machines.instance_types[0])
    return Job(image, machines.instance_types, machines.disk_gb, seconds)


def plan_shared(requested: ExecutionInput, limits: Limits) -> SharedByTraining:
    """Return what all training jobs share."""
    return SharedByTraining(
        training_instance_count=requested.instance_count,
        max_wait_seconds=max(limits["tuning"], limits["training"]) + LONGEST_SPOT_WAIT_SECONDS,
        torch_distributed=str(is_distributed(requested)).lower(),
        spot=requested.spot,
        input_mode=requested.input_mode,
    )


def training_types(requested: ExecutionInput) -> tuple[str, ...]:
    """Return the instance types of training jobs, the requested one first."""
    return (requested.instance_type, *requested.instance_fallbacks)


def preparation_types(requested: ExecutionInput) -> tuple[str, ...]:
    """Return the instance types of the processing job: of the others those with the same image that processing jobs are offered on."""
    chosen = requested.prepare.instance_type
    others = [each for each in requested.instance_fallbacks if uses_gpu(each) == uses_gpu(chosen) and not UNPROCESSED_FAMILY.match(each)]
    return tuple(dict.fromkeys((chosen, *others)))


def volume_gb(photos: int, photo_bytes: int) -> int:
    """Return room for the photos and a tenth more, for what is prepared of each, and 20 GB for all else; at least 50 GB.

    `photo_bytes`: of the photos that the job downloads, which can be none of them.
    """
    return max(LEAST_VOLUME_GB, math.ceil((11 * photo_bytes + 10 * PREPARED_BYTES * photos) / 10**10) + 20)


def downloads_photos(requested: ExecutionInput) -> bool:
    """Whether a training job holds all photos on its disk."""
    return requested.trainable != "head" and requested.input_mode == "File"


def is_distributed(requested: ExecutionInput) -> bool:
    """Whether several processes share a training job: a backbone that is trained uses every GPU and instance, one layer needs none."""
    return requested.trainable != "head" and (uses_gpu(requested.instance_type) or requested.instance_count > 1)


def data_prefix(data: str, bucket: str) -> str:
    """Return `data/` for `data`, `data/` or `s3://<bucket>/data`; another bucket or the whole bucket raises InvalidExecutionInput."""
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
