"""How long the jobs of an execution are expected to take: rough figures, good enough for a warning before the bill.

Runs inside `prepare_execution`; standard library only. The processors' rates were measured (benchmarks/results/throughput…), and
reduced for instances without bfloat16; those of GPUs are cautious guesses. The error can be a factor of two in either direction.
"""

from dataclasses import dataclass

from lambdas.planning.photos import Photos
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.instance_types import gpus, processors, uses_gpu

START_SECONDS = 90
"""Of every job: SageMaker bills the download of its inputs and the start of its container, not that of the instance."""
REPORT_SECONDS = 90
"""The final training job evaluates the test photos and writes its report."""
DOWNLOADED_BYTES = 100_000_000
"""Per second, from S3."""

EXTRACTED = {"processor": 5.0, "gpu": 500.0}
"""Photos per second through the frozen network."""
TRAINED = {"last_stage": {"processor": 5.0, "gpu": 400.0}, "all": {"processor": 2.5, "gpu": 200.0}}
"""Photos per second of an epoch that trains the backbone's last stage or the whole network."""
DECODED = 50.0
"""Photos per second that one processor decodes: a GPU waits for them."""
HEAD = 100_000.0
"""Features per second of one layer's training, on any instance."""


@dataclass(frozen=True)
class Durations:
    """Billed seconds of each instance."""

    prepare: int
    tuning_job: int
    """Each training job of the search."""
    training: int


def expected_durations(requested: ExecutionInput, photos: Photos) -> Durations:
    """Return those of this execution; the preparation as if no earlier execution had left the data set."""
    prepare = START_SECONDS + download(photos) + photos.files / rate(EXTRACTED, requested.prepare.instance_type, 1)
    start = START_SECONDS + (download(photos) if requested.trainable != "head" and requested.input_mode == "File" else 0)
    epoch = photos.files / epoch_rate(requested)
    return Durations(
        prepare=round(prepare),
        tuning_job=round(start + requested.tuning.epochs * epoch),
        training=round(start + requested.epochs * epoch + REPORT_SECONDS),
    )


def download(photos: Photos) -> float:
    """Return the seconds until all photos are on an instance's disk."""
    return photos.bytes / DOWNLOADED_BYTES


def epoch_rate(requested: ExecutionInput) -> float:
    """Return photos of an epoch per second."""
    return HEAD if requested.trainable == "head" else rate(TRAINED[requested.trainable], requested.instance_type, requested.instance_count)


def rate(rates: dict[str, float], instance: str, machines: int) -> float:
    """Return photos per second on so many instances of a type."""
    alone = rates["gpu"] * gpus(instance) if uses_gpu(instance) else rates["processor"] * processors(instance)
    return machines * min(alone, DECODED * processors(instance))
