"""Tests of GPUMemoryIncrease."""

import numpy as np
import pytest

from tests.fixtures.training.profiler.planted import Course, job, level
from training.profiler.advice_table import get_cure
from training.profiler.rules.gpu_memory_increase import GPUMemoryIncrease
from training.profiler.rules.profiler_rule import Finding


def judge(memory: Course, seconds: float = 200) -> Finding:
    return GPUMemoryIncrease().judge(job(seconds, gpus={"gpu0": level(90)}, gpu_memory={"gpu0": memory}))


@pytest.mark.parametrize("seconds", [20, 200, 3000])
def test_a_leak_is_found(seconds: float) -> None:
    finding = judge(lambda times: 30 + 50 * times / seconds + np.random.default_rng(0).normal(0, 0.2, len(times)), seconds)
    assert finding.triggered == 1
    assert "gpu0's memory grew by" in finding.said
    assert finding.advice == get_cure("GPUMemoryIncrease")


def test_a_leak_that_begins_late_is_found() -> None:
    assert judge(lambda times: 30 + np.maximum(0, times - 100) * 0.3).triggered == 1


def test_memory_that_stays_is_fine() -> None:
    finding = judge(level(60, 0.5))
    assert (finding.triggered, finding.violations) == (0, 0)


@pytest.mark.parametrize("moment", range(30, 190, 10))
def test_one_step_up_is_no_leak(moment: float) -> None:
    assert judge(lambda times: np.where(times > moment, 62.0, 40.0)).triggered == 0


def test_memory_that_comes_and_goes_is_fine() -> None:
    assert judge(lambda times: 50 + 10 * np.sin(times / 3)).triggered == 0


def test_a_small_rise_is_fine() -> None:
    assert judge(lambda times: 50 + times / 100).triggered == 0
