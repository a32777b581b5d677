"""Jobs, models and endpoint configs on SageMaker: which are ours, told by their names, and how each kind is listed and ended.

Runs inside the functions that tidy up. The state machine names what it makes

    <project>-<yymmddHHMMSS>-<4 hex>-prepare-<8 hex>    processing job; before `-prepare` stands the run
    <project>-<yymmddHHMMSS>-<4 hex>-train-<8 hex>      training job
    <project>-<yymmddHHMMSS>-<4 hex>-<8 hex>            model, endpoint config
    <project>-<yymmddHHMMSS>-<8 hex>                    tuning job, whose name has no room for the run: its tag `execution` says it

so another project whose name begins the same, and what somebody made by hand, are never taken for ours.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RUN = re.compile(r"(?P<project>[A-Za-z0-9](?:-*[A-Za-z0-9])*)-(?P<stamp>\d{12})-(?P<hash>[0-9a-f]{4})")
MADE = re.compile(rf"(?P<run>{RUN.pattern})-(?:prepare-|train-)?[0-9a-f]{{8}}")

Entry = Mapping[str, Any]
"""One thing of a listing."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing, in the words of its operations."""

    noun: str
    listing: str
    members: str
    """Where a listing's answer has the entries."""
    name: str
    """Where an entry has the name, and the parameter that other operations take it as."""
    end: str
    """What stops a job, or deletes what is no job."""


PROCESSING_JOB = Kind("processing job", "list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName", "stop_processing_job")
TUNING_JOB = Kind(
    "tuning job",
    "list_hyper_parameter_tuning_jobs",
    "HyperParameterTuningJobSummaries",
    "HyperParameterTuningJobName",
    "stop_hyper_parameter_tuning_job",
)
TRAINING_JOB = Kind("training job", "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", "stop_training_job")
MODEL = Kind("model", "list_models", "Models", "ModelName", "delete_model")
ENDPOINT_CONFIG = Kind("endpoint config", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", "delete_endpoint_config")


def listed(sagemaker: Any, kind: Kind, prefix: str, **which: str) -> Iterator[Entry]:
    """The entries whose names begin so; SageMaker itself can look only for a part of a name, in any case."""
    pages = sagemaker.get_paginator(kind.listing)
    for page in pages.paginate(NameContains=prefix, **which, PaginationConfig={"PageSize": 100}):
        yield from (entry for entry in page[kind.members] if entry[kind.name].startswith(prefix))


def end(sagemaker: Any, kind: Kind, name: str) -> None:
    """Stops the job, or deletes what is none."""
    getattr(sagemaker, kind.end)(**{kind.name: name})


def run_of(name: str) -> str:
    """The run that made a job, model or endpoint config of this name; empty where none did, and for a tuning job."""
    found = MADE.fullmatch(name)
    return found["run"] if found else ""


def is_ours(name: str, project: str) -> bool:
    """Whether an execution of exactly this project made it."""
    found = MADE.fullmatch(name)
    return found is not None and found["project"] == project


def tuning_job_prefix(run: str) -> str:
    """What the names of a run's tuning jobs begin with; those of another run that began in the same second do so too."""
    return run[: run.rindex("-") + 1]


def tuning_jobs_of(sagemaker: Any, run: str, **which: str) -> Iterator[Entry]:
    """The tuning jobs that bear the run in their tag `execution`."""
    for entry in listed(sagemaker, TUNING_JOB, tuning_job_prefix(run), **which):
        if tags_of(sagemaker, entry["HyperParameterTuningJobArn"]).get("execution") == run:
            yield entry


def tags_of(sagemaker: Any, arn: str) -> Mapping[str, str]:
    """Key -> value."""
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
