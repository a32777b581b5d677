"""Tests of BatchSize."""

import pytest

from tests.fixtures.training.profiler.planted import Course, job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.batch_size import BatchSize


def used(cpu: Course, gpu: Course, memory: Course) -> int:
    metrics = job(cores={"cpu0": cpu, "cpu1": cpu}, gpus={"gpu0": gpu}, gpu_memory={"gpu0": memory})
    return BatchSize().judge(metrics).triggered


def test_room_everywhere_is_found() -> None:
    assert used(level(30), level(40), level(20)) == 1


@pytest.mark.parametrize(("cpu", "gpu", "memory"), [(90, 40, 20), (30, 90, 20), (30, 40, 90)])
def test_one_that_is_well_used_is_enough(cpu: float, gpu: float, memory: float) -> None:
    assert used(level(cpu), level(gpu), level(memory)) == 0


def test_the_evidence_has_all_three() -> None:
    metrics = job(cores={"cpu0": level(30)}, gpus={"gpu0": level(40)}, gpu_memory={"gpu0": level(20)})
    finding = BatchSize().judge(metrics)
    assert [row["tensor"] for row in finding.evidence] == ["CPUUtilization p95", "gpu0 GPUUtilization p95", "gpu0 GPUMemoryUtilization p95"]
    assert finding.advice == get_cure("BatchSize")


def test_a_gpu_whose_memory_is_unknown_is_not_told_to_take_more() -> None:
    metrics = job(cores={"cpu0": level(30)}, gpus={"gpu0": level(40)}, gpu_memory={})
    assert BatchSize().judge(metrics).triggered == 0
