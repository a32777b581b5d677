"""How long the jobs of an execution are expected to take: rough figures, good for a warning before the bill and for nothing finer.

Runs inside `prepare_execution`; standard library only. The processors' rates were measured (benchmarks/results/throughput…), and
divided for machines without bfloat16; those of GPUs are guesses on the cautious side. Expect an error of a factor of two either way.
"""

from dataclasses import dataclass

from lambdas.planning.photos import Photos
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.instance_types import gpus, processors, uses_gpu

START_SECONDS = 90
"""Of every job: SageMaker bills the download of its inputs and its start, but not the machine's."""
REPORT_SECONDS = 90
"""The final training job opens the test photos and writes its report."""
DOWNLOADED_BYTES = 100_000_000
"""A second, from S3."""

EXTRACTED = {"processor": 5.0, "gpu": 500.0}
"""Photos a second through the frozen network."""
TRAINED = {"last_stage": {"processor": 5.0, "gpu": 400.0}, "all": {"processor": 2.5, "gpu": 200.0}}
"""Photos a second of an epoch, with the backbone's last stage or the whole network trained."""
DECODED = 50.0
"""Photos a second that one processor decodes: a GPU waits for them."""
HEAD = 100_000.0
"""Features a second of one layer's training, on any machine."""


@dataclass(frozen=True)
class Durations:
    """Seconds that are billed of each machine."""

    prepare: int
    tuning_job: int
    """Each training job of the search."""
    training: int


def expected_durations(asked: ExecutionInput, photos: Photos) -> Durations:
    """Of this execution; the preparation as if no earlier one had left the data set."""
    prepare = START_SECONDS + download(photos) + photos.files / rate(EXTRACTED, asked.prepare.instance_type, 1)
    start = START_SECONDS + (download(photos) if asked.trainable != "head" and asked.input_mode == "File" else 0)
    epoch = photos.files / epoch_rate(asked)
    return Durations(
        prepare=round(prepare),
        tuning_job=round(start + asked.tuning.epochs * epoch),
        training=round(start + asked.epochs * epoch + REPORT_SECONDS),
    )


def download(photos: Photos) -> float:
    """Seconds until all photos lie on a machine's disk."""
    return photos.bytes / DOWNLOADED_BYTES


def epoch_rate(asked: ExecutionInput) -> float:
    """Photos of an epoch a second."""
    return HEAD if asked.trainable == "head" else rate(TRAINED[asked.trainable], asked.instance_type, asked.instance_count)


def rate(rates: dict[str, float], instance: str, machines: int) -> float:
    """Photos a second that so many machines of a type get through."""
    alone = rates["gpu"] * gpus(instance) if uses_gpu(instance) else rates["processor"] * processors(instance)
    return machines * min(alone, DECODED * processors(instance))
