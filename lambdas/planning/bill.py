"""The bill of an execution: every job that it started, how long each was billed, and what that costs at the prices that are known.

Runs inside PublishReport. Which seconds AWS bills:

    training job     DescribeTrainingJob.BillableTimeInSeconds, of each instance; each job that a tuning job launched is one
    on spare machines  the same field, which is then smaller than TrainingTimeInSeconds by what was saved
    processing job   from ProcessingStartTime to ProcessingEndTime, of each instance; SageMaker reports no billable time of it, and its
                     price list is by the second that a machine runs

With each machine goes its disk, at VolumeSizeInGB, as in the estimate. Jobs are found by the run, as CleanUp finds them, so that tries that
failed are paid here as they are on AWS's bill.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from lambdas.aws.jobs import PROCESSING_JOB, TRAINING_JOB, TUNING_JOB, listed, tuning_jobs_of
from lambdas.planning.prices import HOURS_PER_MONTH, STORAGE_PER_GB_MONTH

PriceOf = Callable[[str], Decimal | None]
"""Instance type -> US dollars an hour; None where nobody has said what it costs."""

WITHOUT = "machines and disks of jobs, at the prices that are known here: without S3, Step Functions, Lambda, CloudWatch and taxes"

GOING_ON = ("InProgress", "Stopping")
"""Statuses of jobs that have not ended."""


@dataclass(frozen=True)
class Line:
    """One job; a tuning job with all that it launched is one line, since it may launch hundreds."""

    name: str
    kind: str
    instance_type: str
    seconds: int
    """Billed, of all instances together."""
    on_demand_seconds: int
    """Billed had the job not run on spare machines."""
    price: Decimal | None
    """US dollars of a machine and its disk an hour."""
    jobs: int = 1
    going_on: int = 0
    """How many of them had not ended, so that nobody knows yet what they cost."""

    @property
    def usd(self) -> Decimal | None:
        """What it costs; nothing is nothing at any price."""
        return cost(self.seconds, self.price)

    @property
    def on_demand_usd(self) -> Decimal | None:
        """What it would have cost on machines of its own."""
        return cost(self.on_demand_seconds, self.price)

    def to_json(self) -> dict[str, Any]:
        """One entry of `jobs`."""
        told = {"name": self.name, "kind": self.kind, "instance_type": self.instance_type, "jobs": self.jobs, "seconds": self.seconds}
        return {**told, "usd": in_dollars(self.usd), "on_demand_usd": in_dollars(self.on_demand_usd)}


@dataclass(frozen=True)
class Bill:
    """All lines, and what keeps the total from being all."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """What the execution's output holds; a total that lacks a price is the least that it was, and a note says so."""
        return {
            "jobs": [line.to_json() for line in self.lines],
            "total_usd": in_dollars(total(line.usd for line in self.lines)),
            "on_demand_usd": in_dollars(total(line.on_demand_usd for line in self.lines)),
            "notes": list(self.notes),
        }


def bill_of(run: str, sagemaker: Any, price_of: PriceOf) -> Bill:
    """The bill of one run."""
    kinds = (processing_lines, tuning_lines, training_lines)
    lines = tuple(line for lines_of in kinds for line in lines_of(run, sagemaker, price_of))
    unpriced = sorted({line.instance_type or "a machine of no known type" for line in lines if line.usd is None})
    missing = "so what ran on it is not in the total; prices.json in the bucket can name it"
    return Bill(lines, (WITHOUT, *still_running(lines), *(f"no price of {name} is known, {missing}" for name in unpriced)))


def still_running(lines: Iterable[Line]) -> Iterator[str]:
    """A note on jobs that were just told to stop: an execution that fails is billed while they do."""
    if count := sum(line.going_on for line in lines):
        yield f"{count} {'jobs' if count > 1 else 'job'} had not ended when this was written, so what they cost is not in the total"


def processing_lines(run: str, sagemaker: Any, price_of: PriceOf) -> Iterator[Line]:
    """One for each try of PrepareDataset; none where an earlier execution's data set was used."""
    for entry in listed(sagemaker, PROCESSING_JOB, f"{run}-prepare-"):
        name = entry["ProcessingJobName"]
        job = sagemaker.describe_processing_job(ProcessingJobName=name)
        cluster = job["ProcessingResources"]["ClusterConfig"]
        seconds = processing_seconds(job) * cluster["InstanceCount"]
        going_on = int(job["ProcessingJobStatus"] in GOING_ON)
        yield Line(name, PROCESSING_JOB.noun, cluster["InstanceType"], seconds, seconds, hourly(cluster, price_of), going_on=going_on)


def processing_seconds(job: Mapping[str, Any]) -> int:
    """None of a job that never got a machine."""
    if "ProcessingStartTime" not in job or "ProcessingEndTime" not in job:
        return 0
    ran: timedelta = job["ProcessingEndTime"] - job["ProcessingStartTime"]
    return round(ran.total_seconds())


def tuning_lines(run: str, sagemaker: Any, price_of: PriceOf) -> Iterator[Line]:
    """One for each tuning job and type of machine."""
    for entry in tuning_jobs_of(sagemaker, run):
        name = entry["HyperParameterTuningJobName"]
        pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        launched = pages.paginate(HyperParameterTuningJobName=name, PaginationConfig={"PageSize": 100})
        names = [job["TrainingJobName"] for page in launched for job in page["TrainingJobSummaries"]]
        yield from added_up(name, TUNING_JOB.noun, [training_line(each, sagemaker, price_of) for each in names])


def training_lines(run: str, sagemaker: Any, price_of: PriceOf) -> Iterator[Line]:
    """One for each try of TrainModel."""
    for entry in listed(sagemaker, TRAINING_JOB, f"{run}-train-"):
        yield training_line(entry["TrainingJobName"], sagemaker, price_of)


def training_line(name: str, sagemaker: Any, price_of: PriceOf) -> Line:
    """One training job; times that SageMaker does not tell are those of a job that never got a machine."""
    job = sagemaker.describe_training_job(TrainingJobName=name)
    machine = job["ResourceConfig"]
    count = machine.get("InstanceCount", 1)
    billed = job.get("BillableTimeInSeconds", 0)
    trained = max(job.get("TrainingTimeInSeconds", 0), billed) if job.get("EnableManagedSpotTraining") else billed
    kind, going_on = machine.get("InstanceType", ""), int(job["TrainingJobStatus"] in GOING_ON)
    return Line(name, TRAINING_JOB.noun, kind, billed * count, trained * count, hourly(machine, price_of), going_on=going_on)


def added_up(name: str, noun: str, lines: Iterable[Line]) -> Iterator[Line]:
    """The lines of each type of machine as one."""
    by_type: dict[str, list[Line]] = {}
    for line in lines:
        by_type.setdefault(line.instance_type, []).append(line)
    for kind, group in by_type.items():
        seconds, on_demand = sum(line.seconds for line in group), sum(line.on_demand_seconds for line in group)
        yield Line(name, noun, kind, seconds, on_demand, group[0].price, len(group), sum(line.going_on for line in group))


def hourly(machine: Mapping[str, Any], price_of: PriceOf) -> Decimal | None:
    """US dollars of one machine, as a job's description has it, and its disk."""
    price = price_of(machine.get("InstanceType", ""))
    return None if price is None else price + machine.get("VolumeSizeInGB", 0) * STORAGE_PER_GB_MONTH / HOURS_PER_MONTH


def cost(seconds: int, price: Decimal | None) -> Decimal | None:
    """US dollars; None where there is something to pay and no price."""
    if not seconds:
        return Decimal(0)
    return None if price is None else price * seconds / 3600


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """Of those that are known."""
    return sum((amount for amount in amounts if amount is not None), Decimal(0))


def in_dollars(amount: Decimal | None) -> float | None:
    """To a hundredth of a cent, as a number in JSON."""
    return None if amount is None else float(round(amount, 4))
